"""May this command act on what was just seen? Every code, by example."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.errors import Code
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution.guards import GuardContext, Undone, Verdict, rule
from tests.harness.builders import NOW, THING, command

MONTH = timedelta(days=30)
FACTS = GuardContext(now=NOW, minimum_archive_age=MONTH, may_be_irreversible=True)
LONG_AGO = NOW - timedelta(days=400)


def seen(resource: Resource = Resource.RUN, state: State = State.ACTIVE, **changes: object) -> ResourceSnapshot:
    known = ResourceSnapshot(resource=resource, id=THING, state=state, name="Onboard Acme", status="complete")
    return replace(known, **changes)  # type: ignore[arg-type] # each case gives the fields of Thing


def archived(resource: Resource = Resource.RUN, at: datetime | None = LONG_AGO) -> ResourceSnapshot:
    return seen(resource, State.ARCHIVED, archived_at=at)


@dataclass(frozen=True)
class Case:
    thing: ResourceSnapshot | None
    verdict: Verdict
    code: Code
    asked: Mapping[str, object] = field(default_factory=dict)
    facts: GuardContext = FACTS


ARCHIVE: Mapping[str, object] = {"action": "archive"}
RESTORE: Mapping[str, object] = {"action": "restore"}
DELETE: Mapping[str, object] = {"action": "delete"}
DELETE_TAG: Mapping[str, object] = {"action": "delete", "resource": "tag"}
NO_RIGHT = replace(FACTS, may_be_irreversible=False)
IN_DOUBT = replace(FACTS, in_doubt=True)
SECOND = timedelta(seconds=1)
TAGS = frozenset({"VIP", "test"})
LAST = Undone("", LONG_AGO)

CASES = {
    # what may be done
    "an active process is archived": Case(seen(), Verdict.ACT, Code.ACTED, ARCHIVE),
    "an archived process is restored": Case(archived(), Verdict.ACT, Code.ACTED, RESTORE),
    "a process archived long ago is deleted": Case(archived(), Verdict.ACT, Code.ACTED, DELETE),
    "a process is deleted exactly when it is old enough": Case(
        archived(at=NOW - MONTH), Verdict.ACT, Code.ACTED, DELETE
    ),
    "a one-off task is archived": Case(
        seen(Resource.TASK, one_off=True), Verdict.ACT, Code.ACTED, {**ARCHIVE, "resource": "task"}
    ),
    "a template is archived by a source with the right": Case(
        seen(Resource.TEMPLATE), Verdict.ACT, Code.ACTED, {**ARCHIVE, "resource": "template"}
    ),
    "a template is restored without any right": Case(
        archived(Resource.TEMPLATE), Verdict.ACT, Code.ACTED, {**RESTORE, "resource": "template"}, NO_RIGHT
    ),
    "an unused tag is deleted": Case(seen(Resource.TAG, uses=0), Verdict.ACT, Code.ACTED, DELETE_TAG),
    "a used tag is deleted when that is meant": Case(
        seen(Resource.TAG, uses=3), Verdict.ACT, Code.ACTED, {**DELETE_TAG, "allow_in_use": True}
    ),
    "a tag of unknown use is deleted when that is meant": Case(
        seen(Resource.TAG), Verdict.ACT, Code.ACTED, {**DELETE_TAG, "allow_in_use": True}
    ),
    # what is so already
    "archiving an archived process changes nothing": Case(archived(), Verdict.NOTHING, Code.NOTHING_TO_DO, ARCHIVE),
    "restoring an active process changes nothing": Case(seen(), Verdict.NOTHING, Code.NOTHING_TO_DO, RESTORE),
    "what is so already needs no right": Case(
        archived(Resource.TEMPLATE),
        Verdict.NOTHING,
        Code.NOTHING_TO_DO,
        {**ARCHIVE, "resource": "template", "expect": {"name": "other"}},
        NO_RIGHT,
    ),
    "a tag that shows its deletion is gone": Case(
        seen(Resource.TAG, State.GONE), Verdict.NOTHING, Code.NOTHING_TO_DO, DELETE_TAG
    ),
    "what we deleted before stays deleted": Case(
        None, Verdict.NOTHING, Code.NOTHING_TO_DO, DELETE, replace(FACTS, deleted_before=True)
    ),
    # what an earlier attempt did
    "an archive in doubt is found done": Case(archived(), Verdict.REACHED, Code.CONFIRMED, ARCHIVE, IN_DOUBT),
    "a restore in doubt is found done": Case(seen(), Verdict.REACHED, Code.CONFIRMED, RESTORE, IN_DOUBT),
    "a delete in doubt is found done": Case(None, Verdict.REACHED, Code.CONFIRMED, DELETE, IN_DOUBT),
    "an archive in doubt is done if it did not happen": Case(seen(), Verdict.ACT, Code.ACTED, ARCHIVE, IN_DOUBT),
    "a delete in doubt is guarded like the first": Case(
        archived(), Verdict.REJECT, Code.RIGHT_MISSING, DELETE, replace(NO_RIGHT, in_doubt=True)
    ),
    # what is not there
    "archiving what is not there": Case(None, Verdict.REJECT, Code.NOT_FOUND, ARCHIVE),
    "restoring what is not there": Case(None, Verdict.REJECT, Code.NOT_FOUND, RESTORE),
    "restoring what was deleted before": Case(
        None, Verdict.REJECT, Code.NOT_FOUND, RESTORE, replace(FACTS, deleted_before=True)
    ),
    "deleting what is not there": Case(None, Verdict.REJECT, Code.NOT_FOUND, DELETE),
    "an archive in doubt of what is not there": Case(None, Verdict.REJECT, Code.NOT_FOUND, ARCHIVE, IN_DOUBT),
    # tasks of a process
    "a task with a process": Case(
        seen(Resource.TASK, run_id="1b" * 16, one_off=True),
        Verdict.REJECT,
        Code.PROCESS_TASK,
        {**ARCHIVE, "resource": "task"},
    ),
    "a task that says it is not one-off": Case(
        seen(Resource.TASK, one_off=False), Verdict.REJECT, Code.PROCESS_TASK, {**ARCHIVE, "resource": "task"}
    ),
    "a task of which nobody knows": Case(
        seen(Resource.TASK), Verdict.REJECT, Code.UNDETERMINED, {**ARCHIVE, "resource": "task"}
    ),
    "an archived task of which nobody knows": Case(
        archived(Resource.TASK), Verdict.REJECT, Code.UNDETERMINED, {**DELETE, "resource": "task"}
    ),
    "an archived task of a process": Case(
        seen(Resource.TASK, State.ARCHIVED, run_id="1b" * 16, archived_at=LONG_AGO),
        Verdict.REJECT,
        Code.PROCESS_TASK,
        {**DELETE, "resource": "task"},
    ),
    # words that nobody here knows
    "a status that is not known, as it was seen": Case(
        seen(status="postponed"), Verdict.REJECT, Code.CHANGED, {**ARCHIVE, "expect": {"status": "postponed"}}
    ),
    # undo
    "an undo of what was done last": Case(archived(), Verdict.ACT, Code.ACTED, RESTORE, replace(FACTS, undone=LAST)),
    "an undo where a newer command was carried out since": Case(
        archived(), Verdict.OVERTAKEN, Code.SUPERSEDED, RESTORE, replace(FACTS, undone=replace(LAST, newer="int_newer"))
    ),
    "an undo of what somebody archived again by hand": Case(
        archived(at=LONG_AGO + SECOND), Verdict.OVERTAKEN, Code.SUPERSEDED, RESTORE, replace(FACTS, undone=LAST)
    ),
    "an undo of what has not ended yet": Case(
        archived(), Verdict.ACT, Code.ACTED, RESTORE, replace(FACTS, undone=Undone("", None))
    ),
    "an undo in doubt that did not happen is not overtaken by itself": Case(
        archived(),
        Verdict.ACT,
        Code.ACTED,
        RESTORE,
        replace(FACTS, in_doubt=True, undone=replace(LAST, newer="int_itself")),
    ),
    # rights
    "deleting without the right": Case(archived(), Verdict.REJECT, Code.RIGHT_MISSING, DELETE, NO_RIGHT),
    "archiving a template without the right": Case(
        seen(Resource.TEMPLATE), Verdict.REJECT, Code.RIGHT_MISSING, {**ARCHIVE, "resource": "template"}, NO_RIGHT
    ),
    "deleting a tag without the right": Case(
        seen(Resource.TAG, uses=0), Verdict.REJECT, Code.RIGHT_MISSING, DELETE_TAG, NO_RIGHT
    ),
    "archiving a process needs no such right": Case(seen(), Verdict.ACT, Code.ACTED, ARCHIVE, NO_RIGHT),
    # what the asker saw
    "another name": Case(seen(), Verdict.REJECT, Code.CHANGED, {"expect": {"name": "Onboard Globex"}}),
    "another status": Case(seen(), Verdict.REJECT, Code.CHANGED, {"expect": {"status": "active"}}),
    "another status, which the asker says to ignore": Case(
        seen(), Verdict.OVERTAKEN, Code.SUPERSEDED, {"expect": {"status": "active"}, "if_changed": "ignore"}
    ),
    "the same status, whatever the asker says of another": Case(
        seen(), Verdict.ACT, Code.ACTED, {"expect": {"status": "complete"}, "if_changed": "ignore"}
    ),
    "a date where none was expected": Case(
        seen(completed_at=LONG_AGO), Verdict.REJECT, Code.CHANGED, {"expect": {"completed_at": None}}
    ),
    "no date where one was expected": Case(
        seen(),
        Verdict.REJECT,
        Code.CHANGED,
        {"expect": {"completed_at": LONG_AGO.isoformat(sep=" ", timespec="minutes")}},
    ),
    "one of two things changed": Case(
        seen(), Verdict.REJECT, Code.CHANGED, {"expect": {"name": "Onboard Acme", "status": "active"}}
    ),
    "an edit since": Case(
        seen(last_updated=NOW), Verdict.REJECT, Code.CHANGED, {"expect": {"last_updated": LONG_AGO.isoformat()}}
    ),
    "all as expected": Case(
        seen(last_updated=NOW),
        Verdict.ACT,
        Code.ACTED,
        {
            "expect": {
                "name": "Onboard Acme",
                "status": "complete",
                "last_updated": NOW.isoformat(),
                "archived_at": None,
            }
        },
    ),
    "the same moment in another zone": Case(
        seen(completed_at=datetime(2026, 1, 1, 12, tzinfo=UTC)),
        Verdict.ACT,
        Code.ACTED,
        {"expect": {"completed_at": "2026-01-01T14:00:00+02:00"}},
    ),
    "another tag": Case(seen(tags=TAGS), Verdict.REJECT, Code.CHANGED, {"expect": {"tags": ["VIP", "test", "new"]}}),
    "a tag too many": Case(seen(tags=TAGS), Verdict.REJECT, Code.CHANGED, {"expect": {"tags": ["VIP"]}}),
    "a tag where none was expected": Case(seen(tags=TAGS), Verdict.REJECT, Code.CHANGED, {"expect": {"tags": []}}),
    "tags that are not shown": Case(seen(tags=None), Verdict.REJECT, Code.CHANGED, {"expect": {"tags": []}}),
    "no answer was expected and none is shown": Case(
        seen(tags=None), Verdict.REJECT, Code.CHANGED, {"expect": {"tags": None}}
    ),
    "the same tags in another order": Case(
        seen(tags=TAGS), Verdict.ACT, Code.ACTED, {"expect": {"tags": ["test", "VIP", "test"]}}
    ),
    "a tag with a space around it": Case(
        seen(tags=frozenset({" VIP "})), Verdict.ACT, Code.ACTED, {"expect": {"tags": ["VIP"]}}
    ),
    "no tags, as expected": Case(seen(tags=frozenset()), Verdict.ACT, Code.ACTED, {"expect": {"tags": []}}),
    "another owner": Case(
        seen(owners=frozenset({"4711"})), Verdict.REJECT, Code.CHANGED, {"expect": {"owners": ["4712"]}}
    ),
    "owners that are not shown": Case(seen(), Verdict.REJECT, Code.CHANGED, {"expect": {"owners": ["4711"]}}),
    "the same owners": Case(
        seen(owners=frozenset({"4711", "9"})), Verdict.ACT, Code.ACTED, {"expect": {"owners": ["9", "4711"]}}
    ),
    # age
    "deleting an active process": Case(seen(), Verdict.REJECT, Code.NOT_ARCHIVED, DELETE),
    "deleting an active task": Case(
        seen(Resource.TASK, one_off=True), Verdict.REJECT, Code.NOT_ARCHIVED, {**DELETE, "resource": "task"}
    ),
    "deleting an active template": Case(
        seen(Resource.TEMPLATE), Verdict.REJECT, Code.NOT_ARCHIVED, {**DELETE, "resource": "template"}
    ),
    "a missing or unreadable date keeps": Case(archived(at=None), Verdict.REJECT, Code.AGE_UNKNOWN, DELETE),
    "a future date keeps": Case(archived(at=NOW + SECOND), Verdict.REJECT, Code.AGE_UNKNOWN, DELETE),
    "archived a moment ago": Case(archived(at=NOW), Verdict.REJECT, Code.TOO_YOUNG, DELETE),
    "a second too young": Case(archived(at=NOW - MONTH + SECOND), Verdict.REJECT, Code.TOO_YOUNG, DELETE),
    # use of tags
    "a tag in use": Case(seen(Resource.TAG, uses=1), Verdict.REJECT, Code.IN_USE, DELETE_TAG),
    "a tag of unknown use": Case(seen(Resource.TAG), Verdict.REJECT, Code.USE_UNKNOWN, DELETE_TAG),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_look_leads_to_the_expected_guard_result(case: Case) -> None:
    asked = command(**{"resource": "run", **case.asked})
    ruling = rule(asked, case.thing, case.facts)
    assert (ruling.verdict, ruling.code) == (case.verdict, case.code)
    assert ruling.reason.endswith((".", "!")) or ": " in ruling.reason
    assert len(ruling.reason) > 20, "a person has to understand it"


def test_every_code_of_the_guards_has_a_case() -> None:
    judged = {
        Code.ACTED,
        Code.CONFIRMED,
        Code.NOTHING_TO_DO,
        Code.NOT_FOUND,
        Code.PROCESS_TASK,
        Code.UNDETERMINED,
        Code.CHANGED,
        Code.SUPERSEDED,
        Code.NOT_ARCHIVED,
        Code.TOO_YOUNG,
        Code.AGE_UNKNOWN,
        Code.IN_USE,
        Code.USE_UNKNOWN,
        Code.RIGHT_MISSING,
    }
    assert {case.code for case in CASES.values()} == judged


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.asked is DELETE_TAG])
def test_archiving_a_tag_is_guarded_like_deleting_it(name: str) -> None:
    case = CASES[name]
    as_archive = command(**{**case.asked, "action": "archive"})
    assert rule(as_archive, case.thing, case.facts) == rule(command(**case.asked), case.thing, case.facts)


def test_a_refusal_says_when_the_action_becomes_possible() -> None:
    ruling = rule(command(**DELETE), archived(at=NOW), FACTS)
    assert (NOW + MONTH).isoformat(sep=" ", timespec="minutes") in ruling.reason


def test_a_refusal_names_the_changed_fields_but_not_their_values() -> None:
    ruling = rule(command(expect={"name": "Onboard Globex"}), seen(), FACTS)
    assert "name changed" in ruling.reason
    assert "Acme" not in ruling.reason


def test_a_time_with_and_without_milliseconds_is_the_same() -> None:
    moment = NOW - timedelta(days=40)
    asked = command(expect={"completed_at": moment.isoformat()})
    looked = seen(completed_at=moment + timedelta(milliseconds=431))
    assert rule(asked, looked, FACTS).verdict is Verdict.ACT
