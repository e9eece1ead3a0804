"""Requests of senders, and the messages of the queues."""

import json
from datetime import UTC, datetime
from typing import Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict

from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.commands import Command, CommandRequest, Expect
from lifecycle.domain.errors import Code, Rejected
from tests.harness.builders import THING, body, command

UNSAFE_IDS = {
    "a path that permanently deletes": f"{THING}/delete",
    "an encoded path that permanently deletes": f"{THING}%2Fdelete",
    "another collection": f"../runs/{THING}",
    "the parent": "..",
    "upper case": THING.upper(),
    "too short": THING[:31],
    "too long": THING + "0",
    "a leading space": f" {THING}",
    "a trailing space": f"{THING} ",
    "a trailing newline": f"{THING}\n",
    "a trailing null": f"{THING}\x00",
    "full-width digits": "\uff15" * 32,
    "another alphabet": "g" * 32,
    "a query": f"{THING}?with=tasks",
    "a fragment": f"{THING}#",
    "empty": "",
    "a placeholder from the documentation": "PROCESS_RUN_ID_TO_ARCHIVE",
}


def refusal(raw: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        CommandRequest.parse(raw)
    assert caught.value.code is Code.INVALID
    return caught.value


@pytest.mark.parametrize("field", ["id", "org_id"])
@pytest.mark.parametrize("unsafe", UNSAFE_IDS.values(), ids=UNSAFE_IDS)
def test_the_error_for_an_unsafe_id_names_its_field(unsafe: str, field: str) -> None:
    assert refusal(body(**{field: unsafe})).reason.startswith(f"{field}: ")


@pytest.mark.parametrize("unsafe", UNSAFE_IDS.values(), ids=UNSAFE_IDS)
def test_a_message_with_an_unsafe_id_is_refused(unsafe: str) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        command(id=unsafe)


@pytest.mark.parametrize("value", [5, True, ["5e" * 16], {"id": THING}])
def test_an_id_that_is_not_text_is_refused(value: object) -> None:
    assert refusal(body(id=value)).reason.startswith("id: ")


def test_the_error_for_a_request_without_a_target_says_what_to_add() -> None:
    assert "write id or find" in refusal(body(id=None)).reason


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("run", Resource.RUN),
        ("process", Resource.RUN),
        ("task", Resource.TASK),
        ("tag", Resource.TAG),
        ("template", Resource.TEMPLATE),
        ("checklist", Resource.TEMPLATE),
        ("blueprint", Resource.TEMPLATE),
    ],
)
def test_the_names_of_people_and_those_of_the_api_are_both_accepted(said: str, meant: Resource) -> None:
    assert CommandRequest.parse(body(resource=said)).resource is meant


@pytest.mark.parametrize("action", Action)
def test_each_action_is_understood(action: Action) -> None:
    assert CommandRequest.parse(body(action=action.value)).action is action


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", "destroy"),
        ("action", "Archive"),
        ("resource", "organization"),
        ("resource", 1),
        ("allow_in_use", "yes"),
        ("allow_in_use", 1),
        ("reason", ""),
        ("reason", "   "),
        ("reason", "x" * 501),
        ("reason", "two\nlines"),
        ("reason", "a bell\x07"),
        ("requested_by", "x" * 201),
        ("delivery_id", "x" * 201),
        ("not_after", "2026-06-01T12:00:00"),
        ("not_after", "tomorrow"),
        ("not_after", 1780000000),
        ("not_after", "0001-01-01T00:00:00+14:00"),
        ("not_after", "9999-12-31T23:59:59-14:00"),
        ("expect", {}),
        ("expect", {"title": "x"}),
        ("expect", {"archived_at": "2026-06-01T12:00:00"}),
        ("expect", {"tags": "VIP"}),
        ("expect", {"tags": ["a", ""]}),
        ("expect", {"tags": ["a\nb"]}),
        ("expect", {"tags": ["x" * 201]}),
        ("expect", {"tags": [str(number) for number in range(101)]}),
        ("expect", {"owners": [4711]}),
        ("expect", {"owners": [str(number) for number in range(101)]}),
    ],
)
def test_the_error_for_a_wrong_value_names_its_field(field: str, value: object) -> None:
    assert refusal(body(**{field: value})).reason.startswith(field)


def test_the_error_for_an_unknown_field_names_it() -> None:
    assert refusal(body(permanently=True)).reason == "permanently: unknown key. The keys here are " + ", ".join(
        CommandRequest.model_fields
    )


def test_an_error_is_one_line_of_plain_text_and_repeats_no_value() -> None:
    reason = refusal(body(**{"two\nlines\x1b[31m\u202e": 1, "action": "the secret value"})).reason
    assert reason.isprintable()
    assert reason.isascii()
    assert "the secret value" not in reason


def test_if_changed_is_for_what_is_compared_only() -> None:
    told = CommandRequest.parse(body(expect={"status": "complete"}, if_changed="ignore"))
    assert told.if_changed == "ignore"
    assert "goes with expect" in refusal(body(if_changed="ignore")).reason
    assert refusal(body(expect={"status": "complete"}, if_changed="archive")).code is Code.INVALID


def test_allow_in_use_is_for_tags_only() -> None:
    assert CommandRequest.parse(body(resource="tag", action="delete", allow_in_use=True)).allow_in_use
    assert "tags only" in refusal(body(allow_in_use=True)).reason


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b'"text"', b"\xff\xfe", b"{", b"NaN", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"],
    ids=["nothing", "null", "list", "text", "no UTF-8", "half", "NaN", "deep", "huge number"],
)
def test_anything_but_a_json_object_is_refused(raw: bytes) -> None:
    assert refusal(raw).reason.startswith("body: ")


def test_lone_surrogates_are_refused() -> None:
    refusal(body(reason="\ud800"))


def test_a_reason_in_any_script_is_read_back_unchanged() -> None:
    reason = "Kündigung 解約 🧾 \u2028 \u0085 \ufffe \U0010ffff שלום"
    made = command(reason=reason)
    assert made.reason == reason
    assert made.to_json().isascii()
    assert Command.model_validate_json(made.to_json()) == made


def test_times_are_kept_in_utc() -> None:
    asked = CommandRequest.parse(body(not_after="2026-06-01T14:00:00+02:00"))
    assert asked.not_after == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert asked.not_after is not None
    assert asked.not_after.tzinfo is UTC


def test_a_command_is_read_back_as_it_was_sent() -> None:
    made = command(
        resource="tag", action="delete", allow_in_use=True, expect={"name": "left over", "archived_at": None}
    )
    arrived = Command.model_validate_json(made.to_json())
    assert arrived.expect is not None
    assert arrived.expect.name == "left over"
    assert arrived.meaning == command(**json.loads(made.to_json())).meaning


@pytest.mark.parametrize("expect", [{"archived_at": None}, {"archived_at": None, "name": "Onboard Acme"}])
def test_an_expected_absence_is_read_back_as_it_was_sent(expect: dict[str, object]) -> None:
    made = command(expect=expect)
    arrived = Command.model_validate_json(made.to_json())
    assert arrived == made
    assert arrived.expect is not None
    assert arrived.expect.model_fields_set == set(expect)
    assert arrived.meaning != command().meaning


@pytest.mark.parametrize(
    "change",
    [
        {"action": "restore"},
        {"resource": "task"},
        {"id": "6f" * 16},
        {"org_id": "6f" * 16},
        {"requested_by": "Grace"},
        {"reason": "Another one."},
        {"expect": {"name": "x"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_different_commands_have_different_meanings(change: dict[str, object]) -> None:
    assert command(**change).meaning != command().meaning


def test_the_times_of_intake_do_not_change_the_meaning() -> None:
    later = command(issued_at="2026-06-02T12:00:00Z", not_after="2026-06-09T12:00:00Z")
    assert later.meaning == command().meaning


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", 2), ("intent_id", "int_short"), ("source", "No Such"), ("surprise", 1), ("issued_at", "2026-06-01")],
)
def test_a_message_with_wrong_fields_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        command(**{field: value})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": None, "find": {}}, "find needs either tag, or name together with template"),
        ({"id": None, "find": {"name": "a"}}, "find needs either tag"),
        ({"id": None, "find": {"template": THING}}, "find needs either tag"),
        ({"id": None, "find": {"tag": "a", "name": "b", "template": THING}}, "find needs either tag"),
        ({"id": None, "find": {"tag": "a", "page": 2}}, "find.page"),
        ({"id": None, "find": {"tag": ""}}, "find.tag"),
        ({"id": None, "find": {"tag": "a\nb"}}, "find.tag"),
        ({"id": None, "find": {"name": "a", "template": "x"}}, "find.template"),
        ({"id": THING, "find": {"tag": "a"}}, "write either id or find, not both"),
        ({"id": None, "find": {"tag": "a"}, "action": "delete"}, "anything else needs an id"),
        ({"id": None, "find": {"tag": "a"}, "resource": "task"}, "anything else needs an id"),
        ({"id": None, "find": {"tag": "a"}, "resource": "template"}, "anything else needs an id"),
        ({"id": None, "find": {"tag": "a"}, "resource": "tag"}, "anything else needs an id"),
    ],
)
def test_the_error_for_an_invalid_find_says_what_is_wrong(changes: dict[str, object], said: str) -> None:
    assert said in refusal(body(**changes)).reason


def test_the_meaning_of_a_find_does_not_depend_on_what_it_found() -> None:
    searching = command(id=None, find={"tag": "deal-7"})
    found = searching.model_copy(update={"id": THING})
    assert searching.meaning == found.meaning != command(id=None, find={"tag": "deal-8"}).meaning
    assert found.thing_id == THING
    assert Command.model_validate_json(found.to_json()) == found
    with pytest.raises(Rejected, match="not been found yet"):
        searching.thing_id  # noqa: B018 - asking is what is tested


def test_a_command_of_an_earlier_release_keeps_its_meaning() -> None:
    """Rows written before `find` existed must not conflict with copies of their own command."""
    plain = json.loads(command().meaning)
    assert set(plain) == {"action", "resource", "org_id", "id", "requested_by", "reason", "expect", "allow_in_use"}


class _Before(BaseModel):
    """The command model of the previous release."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    version: Literal[1] = 1
    action: Action
    resource: Resource
    org_id: str
    id: str
    requested_by: str
    source: str
    reason: str
    issued_at: AwareDatetime
    not_after: AwareDatetime
    intent_id: str
    expect: Expect | None = None
    allow_in_use: bool = False


def test_a_command_at_its_defaults_can_be_read_by_the_previous_release() -> None:
    said = json.loads(command().to_json())
    assert set(said) == {
        "version", "action", "resource", "org_id", "id", "requested_by", "source", "reason", "issued_at", "not_after",
        "intent_id",
    }  # fmt: skip
    read = _Before.model_validate_json(command().to_json())
    assert (read.id, read.allow_in_use, read.expect, read.version) == (THING, False, None, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"expect": {"archived_at": None}},
        {"expect": {"name": None, "status": "complete", "completed_at": "2026-06-01T12:00:00Z"}},
        {"resource": "tag", "action": "delete", "allow_in_use": True},
    ],
)
def test_the_previous_release_reads_the_fields_that_it_knows(changes: dict[str, object]) -> None:
    made = command(**changes)
    read = _Before.model_validate_json(made.to_json())
    assert (read.expect, read.allow_in_use) == (made.expect, made.allow_in_use)
    assert read.expect is None or read.expect.model_fields_set == set(changes["expect"])  # type: ignore[call-overload]


def test_an_expected_absence_is_kept_in_the_message() -> None:
    said = json.loads(command(expect={"archived_at": None, "name": None}).to_json())
    assert said["expect"] == {"archived_at": None, "name": None}


def test_expected_names_are_compared_without_order_and_duplicates() -> None:
    asked = command(expect={"tags": ["b", "a", "b"], "owners": ["4711"]})
    assert asked.meaning == command(expect={"tags": ["a", "b"], "owners": ["4711", "4711"]}).meaning
    assert asked.meaning != command(expect={"tags": ["a"], "owners": ["4711"]}).meaning
    assert asked.meaning != command(expect={"tags": ["4711"], "owners": ["a", "b"]}).meaning
    assert json.loads(asked.to_json())["expect"] == {"tags": ["a", "b"], "owners": ["4711"]}
    assert Command.model_validate_json(asked.to_json()) == asked


def test_expecting_no_tags_is_read_back_as_it_was_sent() -> None:
    arrived = Command.model_validate_json(command(expect={"tags": []}).to_json())
    assert arrived.expect is not None
    assert (arrived.expect.tags, arrived.expect.model_fields_set) == ((), {"tags"})


def test_a_newer_field_is_sent_where_it_is_used() -> None:
    url = "https://hooks.slack.com/commands/T0/1/x"
    said = json.loads(command(id=None, find={"tag": "deal-7"}, reply_to=url).to_json())
    assert (said["find"]["tag"], said["reply_to"]) == ("deal-7", url)
    assert "id" not in said
