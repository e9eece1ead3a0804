"""One declaration per kind of resource, and all that follows from it."""

from dataclasses import fields
from typing import get_args

import pytest

from lifecycle.domain.capabilities import Resource
from lifecycle.domain.kinds import KINDS, OTHER_NAMES, WORDS, Fact, ResourceKind
from lifecycle.domain.resources import ResourceSnapshot

EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def test_every_kind_is_a_resource_and_every_resource_a_kind() -> None:
    assert set(KINDS) == set(Resource)
    assert all(resource.kind.name == resource for resource in Resource)


def test_every_fact_is_a_field_of_a_snapshot() -> None:
    known = {field.name for field in fields(ResourceSnapshot)}
    assert set(get_args(Fact.__value__)) == known - {"resource", "id", "state"}


@EVERY_KIND
def test_no_fact_of_a_kind_is_also_declared_as_never_shown(kind: ResourceKind) -> None:
    assert kind.facts.isdisjoint(kind.never_shows)


@EVERY_KIND
def test_a_fact_that_proves_another_kind_belongs_to_exactly_one_kind(kind: ResourceKind) -> None:
    for fact in kind.never_shows:
        assert len([other for other in KINDS.values() if fact in other.facts]) == 1


def test_no_name_stands_for_two_kinds() -> None:
    assert len(WORDS) == len(set(WORDS))
    assert not set(OTHER_NAMES) & set(KINDS)


@pytest.mark.parametrize(
    ("word", "resource"),
    [
        ("run", Resource.RUN),
        ("process", Resource.RUN),
        (" Blueprint ", Resource.TEMPLATE),
        ("checklist", Resource.TEMPLATE),
        ("tag", Resource.TAG),
        ("folder", None),
        ("", None),
    ],
)
def test_a_kind_is_found_by_any_of_its_names(word: str, resource: Resource | None) -> None:
    assert Resource.named(word) is resource


@EVERY_KIND
def test_a_kind_whose_delete_needs_an_archive_can_be_archived_and_restored(kind: ResourceKind) -> None:
    assert kind.delete is None or not kind.delete.archived_first or kind.archive is not None
    assert kind.archive is None or kind.restore is not None
