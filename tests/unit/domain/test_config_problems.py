"""Errors of a wrong file: the line, the key and what is allowed, without messages of pydantic."""

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_core._pydantic_core import list_all_errors

from lifecycle.approvals.people import People
from lifecycle.domain import validation
from lifecycle.domain.commands import PATTERNS, CommandRequest
from lifecycle.domain.config_file import OperatorsFile
from lifecycle.domain.config_problems import explain
from lifecycle.domain.errors import Rejected
from lifecycle.intake.sources import Sources
from lifecycle.policy.policy import Policy
from tests.harness.builders import ORG

POLICY = f"""
zone = "Europe/Berlin"
hold_tags = ["keep"]
growth_percent = 40
[caps]
count = 100
percent = 20
few = 5
[[rules]]
name = "old"
resource = "process"
action = "delete"
irreversible = true
caps = {{ count = 3, percent = 4 }}
unless = {{ title = ["b*"] }}
[rules.when]
status = ["complete"]
templates = ["{ORG}"]
owners = [7]
tags = ["x"]
title = ["a*"]
completed_days = 3
created_days = 4
archived_days = 5
[[rules]]
name = "tags"
resource = "tag"
action = "delete"
irreversible = true
when = {{ unused = true, created_days = 9 }}
"""
PEOPLE = """
[approvals]
single = 1
plan = 2
hours = 72
[roles.Operators]
session_name_fixed = true
[people.ada]
slack = "T012ABCDE/U034FGHIJ"
iam = "arn:aws:iam::123456789012:user/ada"
may = ["run.archive"]
approves = ["run.delete"]
"""
SOURCES = f"""
[sources.crm]
scheme = "hmac"
signature = {{ header = "x-sig", signed = "{{body}}" }}
may = ["run.archive"]
irreversible = false
organizations = ["{ORG}"]
when = "body.won"
after = "14d"
[[sources.crm.commands]]
each = "body.items"
when = "item.x"
action = "archive"
resource = "process"
org_id = "{ORG}"
find = {{ tag = "item.tag" }}
if_none = "ignore"
delivery = "item.key"
reason = "item.why"
requested_by = "item.who"
expect = {{ status = "item.status" }}
if_changed = "ignore"
"""
FILES: list[tuple[type[OperatorsFile], str]] = [(Policy, POLICY), (People, PEOPLE), (Sources, SOURCES)]
JUNK: tuple[object, ...] = (
    *(None, True, 0, -1, 10**30, 1.5, float("nan"), "", " ", "x", "X Y", "a\nb", "é" * 600, date(2026, 1, 1)),
    *([], [1], ["x"], [[]], [{}], {}, {"x": 1}, {"": {}}, [""], [True]),
)
PYDANTIC = re.compile(
    r"Input should|Extra inputs|Value error|Assertion failed|Field required|frozenset|tuple|instance of|pattern '|"
    r"at least 1 (item|character)|valid (string|integer|boolean|dictionary)|is not allowed here"
)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:  # noqa: ANN401 - TOML
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from _places(value[key], (*path, key))


def _spoilt(value: dict[str, Any], path: tuple[str | int, ...], junk: object) -> dict[str, Any]:
    made = copy.deepcopy(value)
    at: Any = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = junk
    return made


@pytest.mark.parametrize(("model", "text"), FILES, ids=lambda part: getattr(part, "file_name", ""))
def test_no_wrong_value_at_any_key_shows_a_message_of_pydantic(model: type[OperatorsFile], text: str) -> None:
    model.parse(text)
    right = tomllib.loads(text)
    seen: set[str] = set()
    for path in _places(right):
        for junk in JUNK:
            try:
                model.model_validate(_spoilt(right, path, junk))
            except ValidationError as error:
                seen |= {detail["type"] for detail in error.errors()}
                reason = explain(error, model, text, model.pattern_texts)
                assert not PYDANTIC.search(reason), (path, junk, reason)
                assert reason.isprintable()
            except Rejected:  # A resource that cannot be restored has its own message.
                continue
    assert {"value_error", "extra_forbidden", "missing"} <= seen


@pytest.mark.parametrize("kind", sorted({str(error["type"]) for error in list_all_errors()}))
def test_no_error_type_of_pydantic_shows_its_own_message(kind: str) -> None:
    example = next(error for error in list_all_errors() if error["type"] == kind)
    context = example.get("example_context") or {}
    detail = ErrorDetails(type=kind, loc=("key",), msg=example["message_template_python"], input=1, ctx=context)
    text = validation._text(detail, ("key",), PATTERNS, None)
    assert text
    assert not re.search(r"Input should|Extra inputs|Value error|Field required", text)


@pytest.mark.parametrize(
    ("model", "before", "after", "expected"),
    [
        (
            Policy,
            "growth_percent",
            "growth_precent",
            "line 4: growth_precent: unknown key. Did you mean growth_percent?",
        ),
        (
            Policy,
            "growth_percent = 40",
            'growth_percent = "40"',
            "line 4: growth_percent: must be a whole number, without quotes",
        ),
        (Policy, "percent = 20", "percent = 200", "line 7: caps.percent: must be at most 100"),
        (Policy, 'hold_tags = ["keep"]', 'hold_tags = "keep"', "line 3: hold_tags: must be a list in square brackets"),
        (Policy, 'resource = "process"', 'resource = "proces"', "Did you mean process?"),
        (Policy, "completed_days = 3", "compleated_days = 3", "unknown key. Did you mean completed_days?"),
        (
            Policy,
            'action = "delete"\nirreversible = true\ncaps',
            "irreversible = true\ncaps",
            "line 9: rules[old].action: this key is missing",
        ),
        (
            Policy,
            'name = "tags"',
            'name = "tags"\ncreated_days = 3',
            "line 27: rules[tags].created_days: unknown key. It belongs to the table 'when'",
        ),
        (Policy, '["complete"]', '["complet"]', "Did you mean complete?"),
        (Policy, "zone = ", "zone = 3 #", "line 2: zone: write the name of a time zone, such as Europe/Berlin"),
        (Policy, "unused = true", "unused = 1", "must be true or false, without quotes"),
        (Policy, f'["{ORG}"]', '["x"]', "an id is 32 characters of 0-9 and a-f"),
        (People, "T012ABCDE/", "", "must name a person in Slack, such as T012ABCDE/U034FGHIJ"),
        (People, "arn:aws:iam", "aws:iam", "must be the whole ARN"),
        (People, "[people.ada]", "[people.Ada]", "line 8: people.Ada: a name is up to 48 characters"),
        (People, "[roles.Operators]", '[roles."a:b"]', "must be the name of an IAM role, not its ARN"),
        (People, '"run.archive"', '"run.archived"', "not run.archived. Did you mean run.archive?"),
        (People, "approves", "aproves", "line 12: people.ada.aproves: unknown key. Did you mean approves?"),
        (
            Sources,
            'action = "archive"',
            'action = "archiv"',
            "sources.crm.commands[no. 1].action: must be one of archive, restore, delete. Did you mean archive?",
        ),
        (
            Sources,
            'header = "x-sig"',
            'headers = "x-sig"',
            "line 4: sources.crm.signature.headers: unknown key. Did you mean header?",
        ),
        (Sources, '"14d"', '"400d"', "line 9: sources.crm.after: must be at most 366 days"),
        (Sources, "requested_by", "requester_by", "unknown key. Did you mean requested_by?"),
        (
            Sources,
            'may = ["run.archive"]',
            "may = []",
            "line 5: sources.crm.may: name at least one, or leave the key out",
        ),
    ],
)
def test_a_problem_names_its_line_its_key_and_what_is_allowed(
    model: type[OperatorsFile], before: str, after: str, expected: str
) -> None:
    [text] = [text for one, text in FILES if one is model]
    assert before in text
    with pytest.raises(Rejected) as refused:
        model.parse(text.replace(before, after, 1))
    assert expected in refused.value.reason


def test_the_file_is_named_as_the_user_gave_it() -> None:
    for text in ("zone", "zone = 1", "rules = [{}]"):
        with pytest.raises(Rejected) as refused:
            Policy.parse(text, name="./mine/new-policy.toml")
        assert refused.value.reason.startswith("./mine/new-policy.toml")


def test_at_most_five_problems_are_listed_and_the_rest_are_counted() -> None:
    with pytest.raises(Rejected) as refused:
        Policy.parse("\n".join(f"x{number} = 1" for number in range(9)))
    assert refused.value.reason.count("line ") == 5
    assert refused.value.reason.endswith("; and 6 more")


def test_a_value_that_a_sender_sent_is_never_quoted() -> None:
    with pytest.raises(Rejected) as refused:
        CommandRequest.parse(json.dumps({"action": "archiv", "resource": "proces", "org_id": "secret"}).encode())
    assert "must be one of archive, restore, delete" in refused.value.reason
    assert not {"archiv.", "proces.", "secret"} & set(re.split(r"[ ;]", refused.value.reason))
    assert "Did you mean" not in refused.value.reason


def test_keys_are_found_through_lists_tables_and_aliases() -> None:
    assert "stalled_days" in validation.keys_at(Policy, ("rules", 3, "unless"))
    assert "slack" in validation.keys_at(People, ("people", "ada"))
    assert "each" in validation.keys_at(Sources, ("sources", "crm", "commands", 0))
    assert validation.keys_at(Policy, ("rules", 0, "name", "x")) == ()


def test_a_list_item_is_named_by_its_name_or_else_by_its_number_counted_from_one() -> None:
    text = POLICY
    renamed = text.replace('name = "tags"', 'name = "two words"')
    with pytest.raises(Rejected, match=r"line [0-9]+: rules\[no\. 2\]\.name: "):
        Policy.parse(renamed)
    with pytest.raises(Rejected, match=r"rules\[tags\]\.when\.unused: "):
        Policy.parse(text.replace("unused = true", "unused = 1"))
    assert validation.key_text(("people", "ada", "may", 0)) == "people.ada.may[no. 1]"
