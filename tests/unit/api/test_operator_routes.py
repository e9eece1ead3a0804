"""What a person does under their own AWS identity: each route, and whoever may not take it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.approvals.people import People
from lifecycle.approvals.rules import ApprovalRequest
from lifecycle.aws.api_gateway import MOST_BYTES, HttpRequest
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import Status
from tests.harness.builders import ORG
from tests.harness.fault_injection import FaultInjector
from tests.harness.purge_run import PurgeRun, operate
from tests.harness.world import PEOPLE

RUN, TAG = "a1" * 16, "b1" * 16
ARN = "arn:aws:iam::123456789012"
BOB = "arn:aws:sts::123456789012:assumed-role/Operators/bob"
ADA, DAN, EVE = f"{ARN}:user/ada", f"{ARN}:user/dan", f"{ARN}:user/eve"
LIST, SHOW = "GET /approvals", "GET /approvals/{hash}"
APPROVE, REJECT = "POST /approvals/{hash}/approve", "POST /approvals/{hash}/reject"
UNDO = "POST /commands/{intent_id}/undo"
ROUTES = (LIST, SHOW, APPROVE, REJECT, UNDO)


@pytest.fixture
def purging() -> PurgeRun:
    made = PurgeRun()
    made.world.add(Resource.RUN, RUN, archived_days=40)
    made.world.add(Resource.TAG, TAG)
    return made


@pytest.fixture
def command(purging: PurgeRun) -> Command:
    asked = purging.ask(Resource.RUN, RUN)
    purging.work()
    return asked


def told(purging: PurgeRun, route: str, caller: str, body: object = None, **parameters: str) -> dict[str, object]:
    status, answer = operate(purging.world.operating(), route, caller, body, **parameters)
    assert status == 200
    return dict(answer)


def listed(purging: PurgeRun, caller: str) -> list[dict[str, object]]:
    """What waits for this person."""
    found = told(purging, LIST, caller)["approvals"]
    assert isinstance(found, list)
    return found


def refused(purging: PurgeRun, route: str, caller: str, body: object = None, **parameters: str) -> Code:
    """Turned away, and nothing went on."""
    before = dict(purging.world.rows.table)
    with pytest.raises(Rejected) as error:
        operate(purging.world.operating(), route, caller, body, **parameters)
    assert purging.world.rows.table == before
    assert purging.world.purge_queue.depth() == purging.world.queue.depth() == 0
    return error.value.code


# --- each route ---


def test_an_open_request_is_listed_with_everything_that_an_approver_needs(purging: PurgeRun, command: Command) -> None:
    wanted = purging.wanted(command)
    [one] = listed(purging, BOB)
    shown = one.pop("shown")
    assert isinstance(shown, dict)
    assert one == {
        "hash": wanted.hash,
        "stands": "open",
        "about": "command",
        "org_id": ORG,
        "subject": command.intent_id,
        "asked_by": "ada",
        "asked_at": "2026-06-01T12:00:01+00:00",
        "deadline": "2026-06-04T12:00:01+00:00",
        "needed": 1,
        "approved_by": [],
        "rejected_by": "",
        "would_do": ["run.delete"],
    }
    assert isinstance(shown, dict)
    assert shown["title"] == "Process a1a1"
    assert shown == json.loads(wanted.shown)
    assert told(purging, SHOW, BOB, hash=wanted.hash) == {**one, "shown": shown}


def test_a_person_only_sees_requests_that_concern_them(purging: PurgeRun, command: Command) -> None:
    tag = purging.ask(Resource.TAG, TAG)
    purging.work()
    theirs = {who: [one["subject"] for one in listed(purging, who)] for who in (ADA, BOB, DAN, EVE)}
    both = [command.intent_id, tag.intent_id]
    assert theirs == {ADA: both, BOB: both, DAN: [tag.intent_id], EVE: []}
    assert refused(purging, SHOW, DAN, hash=purging.wanted(command).hash) is Code.UNKNOWN_APPROVAL
    assert refused(purging, SHOW, EVE, hash=purging.wanted(tag).hash) is Code.UNKNOWN_APPROVAL


def test_an_approval_enqueues_the_command_at_once(purging: PurgeRun, command: Command) -> None:
    answer = told(purging, APPROVE, BOB, hash=purging.wanted(command).hash)
    assert (answer["stands"], answer["approved_by"]) == ("approved", ["bob"])
    assert purging.world.purge_queue.depth() == 1
    purging.work()
    assert purging.world.intent(command.intent_id).status is Status.DONE
    assert told(purging, LIST, BOB) == {"approvals": []}
    assert told(purging, SHOW, BOB, hash=purging.wanted(command).hash)["stands"] == "approved"


def test_a_rejection_ends_the_command_with_its_reason(purging: PurgeRun, command: Command) -> None:
    answer = told(purging, REJECT, BOB, {"why": "The customer\ncame back."}, hash=purging.wanted(command).hash)
    assert (answer["stands"], answer["rejected_by"]) == ("rejected", "bob")
    purging.work()
    row = purging.world.intent(command.intent_id)
    assert (row.status, row.code, row.reason) == (
        Status.REJECTED,
        Code.NOT_APPROVED,
        "bob rejected it: The customer came back.",
    )


def test_a_second_rejection_sends_the_message_that_was_lost(purging: PurgeRun, command: Command) -> None:
    name = purging.wanted(command).hash
    fuse = FaultInjector("dead_letter", harm="outage")
    with pytest.raises(Exception, match="injected"):
        operate(purging.world.operating(fuse), REJECT, BOB, hash=name)
    assert purging.world.purge_queue.depth() == 0
    told(purging, REJECT, BOB, hash=name)
    purging.work()
    assert purging.world.intent(command.intent_id).code == Code.NOT_APPROVED


@pytest.mark.parametrize("body", ["", "  ", "{}", '{"why": ""}', '{"why": "' + "x" * 500 + '"}', '{"more": 1}'])
def test_a_rejection_needs_no_reason(purging: PurgeRun, command: Command, body: str) -> None:
    assert told(purging, REJECT, BOB, body, hash=purging.wanted(command).hash)["stands"] == "rejected"


# --- who ---


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "caller",
    [
        "",
        f"{ARN}:user/mallory",
        f"{ARN}:user/ada/",
        f"{ARN}:user/ADA",
        "arn:aws:sts::123456789012:assumed-role/Operators",
        "arn:aws:sts::123456789012:assumed-role/Operators/bob2",
        "arn:aws:sts::999999999999:assumed-role/Operators/bob",
        "bob",
        "T012ABCDE/U034FGHIK",
    ],
)
def test_a_caller_that_people_toml_does_not_name_is_refused(
    purging: PurgeRun, command: Command, route: str, caller: str
) -> None:
    name = purging.wanted(command).hash
    assert refused(purging, route, caller, hash=name, intent_id=command.intent_id) is Code.RIGHT_MISSING


@pytest.mark.parametrize("route", ROUTES)
def test_a_role_session_with_a_free_name_is_refused_even_if_people_toml_names_it(
    purging: PurgeRun, command: Command, route: str
) -> None:
    purging.world.people = People.parse(PEOPLE.replace("session_name_fixed = true", "session_name_fixed = false"))
    name = purging.wanted(command).hash
    with pytest.raises(Rejected, match="may choose that name") as refusal:
        told(purging, route, BOB, hash=name, intent_id=command.intent_id)
    assert refusal.value.code is Code.RIGHT_MISSING


@pytest.mark.parametrize("route", ROUTES)
def test_a_name_in_the_request_proves_nothing(purging: PurgeRun, command: Command, route: str) -> None:
    """In every place but the one that API Gateway fills."""
    forged = {
        "routeKey": route,
        "pathParameters": {"hash": purging.wanted(command).hash, "intent_id": command.intent_id, "userArn": BOB},
        "headers": {"x-amz-user-arn": BOB, "userArn": BOB, "caller": BOB, "authorization": BOB},
        "queryStringParameters": {"userArn": BOB, "caller": BOB},
        "body": json.dumps({"why": "", "caller": BOB, "userArn": BOB, "requested_by": "bob"}),
        "caller": BOB,
        "userArn": BOB,
        "requestContext": {
            "identity": {"userArn": BOB, "caller": BOB},
            "authorizer": {"userArn": BOB, "jwt": {"userArn": BOB}, "lambda": {"userArn": BOB}, "iam": {"caller": BOB}},
        },
    }
    operating = purging.world.operating()
    with pytest.raises(Rejected) as error:
        operating.answer(HttpRequest.of(forged))
    assert error.value.code is Code.RIGHT_MISSING
    assert "AWS has not said who you are" in error.value.reason
    assert purging.wanted(command).approved_by == ()


@pytest.mark.parametrize("route", [APPROVE, REJECT, SHOW])
@pytest.mark.parametrize("name", ["", "0" * 64, "7" * 63, "of#x", "OF", "../x", "0" * 64 + "\n", "é" * 64])
def test_a_request_that_does_not_exist_is_not_found(purging: PurgeRun, command: Command, route: str, name: str) -> None:
    assert refused(purging, route, BOB, hash=name) is Code.UNKNOWN_APPROVAL


@pytest.mark.parametrize("route", [APPROVE, REJECT, SHOW])
def test_the_row_of_the_newest_request_is_not_a_request(purging: PurgeRun, command: Command, route: str) -> None:
    assert refused(purging, route, BOB, hash=f"of#{command.intent_id}") is Code.UNKNOWN_APPROVAL


def test_nobody_can_approve_their_own_request(purging: PurgeRun, command: Command) -> None:
    assert refused(purging, APPROVE, ADA, hash=purging.wanted(command).hash) is Code.OWN_REQUEST
    assert told(purging, REJECT, ADA, hash=purging.wanted(command).hash)["rejected_by"] == "ada"


@pytest.mark.parametrize("route", [APPROVE, REJECT])
def test_a_request_that_changed_is_neither_approved_nor_rejected(
    purging: PurgeRun, command: Command, route: str
) -> None:
    old = purging.wanted(command)
    purging.world.simulator.organization.runs[RUN].name = "Another"
    purging.world.purge_queue.send(command.to_json())
    purging.work()
    new = purging.wanted(command)
    assert new.hash != old.hash
    with pytest.raises(Rejected, match=new.hash):
        operate(purging.world.operating(), route, BOB, hash=old.hash)
    assert purging.world.approvals.find(ORG, old.hash) == old
    assert told(purging, SHOW, BOB, hash=old.hash)["stands"] == "open"
    [one] = listed(purging, BOB)
    assert one["hash"] == new.hash


@pytest.mark.parametrize("more", [("run.delete", "run.shred"), ("run.shred",), ()])
def test_a_request_unknown_to_this_release_cannot_be_approved(purging: PurgeRun, more: tuple[str, ...]) -> None:
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    strange: ApprovalRequest = replace(purging.wanted(command), hash="9" * 64, capabilities=more)
    purging.world.approvals.ask(strange)
    assert refused(purging, APPROVE, BOB, hash=strange.hash) is Code.UNKNOWN_APPROVAL
    assert told(purging, LIST, BOB) == {"approvals": []}


# --- what is wrong with a request ---


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[]",
        '"why"',
        "null",
        '{"why": 1}',
        '{"why": null}',
        '{"why": ["x"]}',
        '{"why": "' + "x" * 501 + '"}',
        "[" * 100_000,
        '{"why":' * 20_000,
        "\ud800",
    ],
    ids=lambda body: body[:12].encode("ascii", "replace").decode(),
)
def test_a_body_that_is_not_a_reason_is_refused(purging: PurgeRun, command: Command, body: str) -> None:
    assert refused(purging, REJECT, BOB, body, hash=purging.wanted(command).hash) is Code.INVALID
    assert purging.wanted(command).rejected_by == ""


def test_a_body_that_is_too_large_is_refused(purging: PurgeRun, command: Command) -> None:
    body = json.dumps({"why": "x" * MOST_BYTES})
    assert refused(purging, REJECT, BOB, body, hash=purging.wanted(command).hash) is Code.TOO_LARGE


@pytest.mark.parametrize(
    "route", ["", "GET /", "POST /approvals", "DELETE /approvals/{hash}", "POST /approvals/{hash}/undo", "$default"]
)
def test_an_unknown_route_is_refused(purging: PurgeRun, command: Command, route: str) -> None:
    assert refused(purging, route, BOB, hash=purging.wanted(command).hash) is Code.UNKNOWN_ROUTE


@pytest.mark.parametrize("target", ["", "int_", "x" * 5000, "int_" + "0" * 48])
def test_an_undo_of_an_unknown_intent_is_refused(purging: PurgeRun, target: str) -> None:
    assert refused(purging, UNDO, BOB, intent_id=target) is Code.UNKNOWN_INTENT


def test_an_undo_of_a_finished_delete_is_refused(purging: PurgeRun, command: Command) -> None:
    purging.approve(command)
    assert refused(purging, UNDO, BOB, intent_id=command.intent_id) is Code.NOT_POSSIBLE


def test_an_undo_cancels_a_waiting_delete(purging: PurgeRun, command: Command) -> None:
    status, _ = operate(purging.world.operating(), UNDO, BOB, intent_id=command.intent_id)
    assert status == 202
    purging.advance(timedelta(days=60))
    row = purging.world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.SUPERSEDED, Code.UNDONE)
    assert purging.deletes(command.thing_id) == []


def test_an_undo_without_the_right_is_refused(purging: PurgeRun) -> None:
    purging.world.add(Resource.RUN, "a2" * 16)
    archive = purging.world.command(Resource.RUN, "a2" * 16, Action.ARCHIVE, "x")
    purging.world.send(archive)
    purging.world.drain(purging.world.process())
    for who in (DAN, EVE):
        assert refused(purging, UNDO, who, intent_id=archive.intent_id) is Code.RIGHT_MISSING
    purging.world.clock.advance(timedelta(days=1))
    assert operate(purging.world.operating(), UNDO, BOB, intent_id=archive.intent_id)[0] == 202
