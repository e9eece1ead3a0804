"""Conditions of a rule: each is declared once, and everything that uses conditions finds it."""

import tomllib
from typing import get_args

import pytest

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.kinds import Fact
from lifecycle.policy.conditions import CONDITIONS, CompletedDays, Conditions

RUN, TASK, TAG, TEMPLATE = Resource.RUN, Resource.TASK, Resource.TAG, Resource.TEMPLATE

EVERY_KEY = pytest.mark.parametrize("key", CONDITIONS)


@EVERY_KEY
def test_a_condition_needs_a_fact_that_some_kind_shows(key: str) -> None:
    assert CONDITIONS[key].needs in get_args(Fact.__value__)
    assert any(CONDITIONS[key].fits(resource) for resource in Resource)


@EVERY_KEY
def test_every_condition_has_a_docstring(key: str) -> None:
    assert type(CONDITIONS[key]).__doc__


@EVERY_KEY
def test_the_example_of_a_condition_is_a_value_that_its_key_takes(key: str) -> None:
    value = tomllib.loads(f"value = {CONDITIONS[key].example}")["value"]
    assert Conditions.model_validate({key: value}).named == (key,)


def test_a_condition_on_a_fact_that_lists_do_not_show_fits_no_kind() -> None:
    condition = type("Tasks", (CompletedDays,), {"needs": "tasks"})()
    assert RUN.shows("tasks")
    assert not any(condition.fits(resource) for resource in Resource)


def test_each_condition_fits_the_kinds_that_tallyfy_can_answer_for() -> None:
    fitting = {key: {kind for kind in Resource if condition.fits(kind)} for key, condition in CONDITIONS.items()}
    assert fitting == {
        "status": {RUN, TASK},
        "templates": {RUN, TEMPLATE},
        "owners": {RUN, TASK, TEMPLATE},
        "tags": {RUN, TASK, TEMPLATE},
        "title": {RUN, TASK, TEMPLATE, TAG},
        "completed_days": {RUN, TASK},
        "created_days": {RUN, TASK, TEMPLATE, TAG},
        "archived_days": {RUN, TASK, TEMPLATE},
        "stalled_days": {RUN},
        "unused": {TAG},
    }


def test_only_ages_and_unused_bound_a_rule_that_acts() -> None:
    bounding = {key for key, condition in CONDITIONS.items() if condition.bounding}
    assert bounding == {"completed_days", "created_days", "archived_days", "stalled_days", "unused"}


def test_a_condition_that_can_never_hold_in_a_state_says_so() -> None:
    never = {
        key: set(State) - condition.states for key, condition in CONDITIONS.items() if condition.states != set(State)
    }
    assert never == {"archived_days": {State.ACTIVE}, "stalled_days": {State.ARCHIVED, State.GONE}}


@pytest.mark.parametrize(
    ("key", "value", "acting", "excluding"),
    [
        ("status", ("complete", "delayed"), "its status is complete or delayed", None),
        ("templates", ("a" * 32,), f"its template is {'a' * 32}", None),
        ("owners", (7, 8), "nobody owns it but 7 or 8", "one of its owners is 7 or 8"),
        ("tags", ("vip", "keep"), "it carries the tag 'vip' or 'keep'", None),
        ("title", ("Test *",), "its name fits 'Test *'", None),
        ("completed_days", 1, "it was completed more than 1 day ago", None),
        ("created_days", 30, "it was created more than 30 days ago", None),
        ("archived_days", 30, "it was archived more than 30 days ago", None),
        ("stalled_days", 30, "it is not complete, and was last touched more than 30 days ago", None),
        ("unused", True, "no template and no process carries it", None),
    ],
)
def test_a_condition_is_described_in_a_sentence(key: str, value: object, acting: str, excluding: str | None) -> None:
    said = Conditions.model_validate({key: value})
    assert said.sentence(key, excludes=False) == acting
    assert said.sentence(key, excludes=True) == (excluding or acting)
