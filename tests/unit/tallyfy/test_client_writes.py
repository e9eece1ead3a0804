"""Writes to Tallyfy: one call, once, and no guess about its effect."""

import json

import pytest
import requests

from lifecycle.domain.capabilities import ORDINARY, PERMANENT, TABLE, Action, Capability, Resource, capability
from lifecycle.domain.errors import Ambiguous, Code, LifecycleError, Rejected, Throttled
from lifecycle.tallyfy.client import Receipt
from sandbox.simulator import STANDARD_TOKEN, DefaultIds, Fault, Quirks
from sandbox.simulator.messages import Response
from tests.harness.builders import THING
from tests.harness.tallyfy import ORG, CannedStand, SimulatorStand, answered, page

ids = DefaultIds
THINGS = {
    "run.archive": ids.ACTIVE_RUN,
    "run.restore": ids.RUN_ARCHIVED_LONG_AGO,
    "run.delete": ids.RUN_ARCHIVED_LONG_AGO,
    "task.archive": ids.TASK,
    "task.restore": ids.ARCHIVED_TASK,
    "task.delete": ids.ARCHIVED_TASK,
    "template.archive": ids.TEMPLATE,
    "template.restore": ids.ARCHIVED_TEMPLATE,
    "template.delete": ids.ARCHIVED_TEMPLATE,
    "tag.delete": ids.UNUSED_TAG,
}
ARCHIVE = capability(Resource.RUN, Action.ARCHIVE)
RESTORE = capability(Resource.RUN, Action.RESTORE)
DELETE = capability(Resource.RUN, Action.DELETE)
NOW_ISO = "2026-06-01T12:00:00.000Z"


def act(stand: CannedStand, doing: Capability = ARCHIVE) -> Receipt:
    return stand.client.act(doing, ORG, THING)


@pytest.mark.parametrize("doing", TABLE, ids=[c.name for c in TABLE])
def test_each_of_the_ten_actions_is_one_call_with_one_effect(doing: Capability) -> None:
    stand, thing = SimulatorStand(), THINGS[doing.name]
    stand.client.act(doing, ORG, thing)
    assert stand.calls == [(doing.method, f"{doing.resource.collection}/{thing}{doing.suffix}")]
    assert stand.simulator.effects(doing.action.value, thing) == 1
    assert stand.spent == [ORG]


@pytest.mark.parametrize("doing", TABLE, ids=[c.name for c in TABLE])
def test_the_next_read_shows_the_effect_of_a_write(doing: Capability) -> None:
    stand, thing = SimulatorStand(), THINGS[doing.name]
    stand.client.act(doing, ORG, thing)
    seen = stand.client.look(ORG, doing.resource, thing)
    assert (seen.state if seen else "gone") == doing.reaches


@pytest.mark.parametrize(
    ("name", "quirks"),
    [
        ("run.delete", Quirks(run_delete="empty")),
        ("run.delete", Quirks(run_delete="no_content")),
        ("task.archive", Quirks(task_archive="data")),
        ("task.restore", Quirks(restore="no_content")),
        ("template.restore", Quirks(restore="no_content")),
        ("template.delete", Quirks(empty_references="object")),
        ("tag.delete", Quirks(tag_delete="soft")),
    ],
)
def test_every_documented_form_of_a_success_is_accepted(name: str, quirks: Quirks) -> None:
    stand = SimulatorStand()
    stand.simulator.quirks = quirks
    doing = next(c for c in TABLE if c.name == name)
    assert stand.client.act(doing, ORG, THINGS[name]) == Receipt("")
    assert stand.simulator.effects() == 1


def test_references_that_a_restore_does_not_bring_back_are_kept_as_evidence() -> None:
    stand = SimulatorStand()
    receipt = stand.client.act(capability(Resource.TEMPLATE, Action.ARCHIVE), ORG, ids.TEMPLATE)
    assert json.loads(receipt.evidence)["deleted_references"][0]["checklist_id"] == ids.REFERRING_TEMPLATE


@pytest.mark.parametrize("doing", [c for c in TABLE if c in PERMANENT])
def test_the_ordinary_client_cannot_express_a_permanent_delete(doing: Capability) -> None:
    stand = CannedStand(capabilities=ORDINARY)
    with pytest.raises(Rejected, match=f"{doing.name} cannot be carried out by this function") as refusal:
        act(stand, doing)
    assert refusal.value.code is Code.NOT_POSSIBLE
    assert stand.canned.asked == []
    assert stand.spent == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault.answer_status(500),
        Fault.answer_status(503),
        Fault.html(502),
        Fault.html(504),
        Fault.reset(),
        Fault.error_in_200(),
        Fault.delay(30),
        Fault.answer_status(408),
    ],
    ids=["500", "503", "502 html", "504 html", "reset", "error in 200", "timeout", "408"],
)
def test_a_write_with_an_unknown_effect_is_ambiguous_and_not_repeated(fault: Fault, when: str) -> None:
    stand = SimulatorStand()
    stand.simulator.add_fault(fault.model_copy(update={"when": when}))
    with pytest.raises(Ambiguous) as trouble:
        stand.client.act(ARCHIVE, ORG, ids.ACTIVE_RUN)
    assert trouble.value.code is Code.UNCERTAIN
    assert stand.spent == [ORG]
    stand.simulator.settle()
    assert len(stand.calls) == 1
    took_effect = when == "after" or fault.kind == "delay"
    assert stand.simulator.effects() == int(took_effect)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_a_redirect_is_neither_followed_nor_a_success(status: int) -> None:
    stand = CannedStand(answered(status, Location="https://elsewhere.test/steal"), answered(200, {"data": {}}))
    with pytest.raises(LifecycleError):
        act(stand)
    assert [asked.url for asked in stand.canned.asked] == [f"https://tallyfy.test/api/organizations/{ORG}/runs/{THING}"]


@pytest.mark.parametrize(
    "answer",
    [
        page(200, "<html>Please log in</html>"),
        answered(200, ["a list"]),
        answered(200, "text"),
        answered(200, {"error": True, "message": "No."}),
        answered(200, {"error": {"code": 1}}),
        answered(200, {"data": {"id": THING, "archived_at": None}}),
        answered(200, {"data": {"id": "6f" * 16, "archived_at": NOW_ISO}}),
        Response(200, b"{", {"Content-Type": "application/json"}),
    ],
    ids=["html", "list", "text", "error", "error object", "not archived", "another thing", "half"],
)
def test_a_200_that_shows_another_state_is_ambiguous(answer: Response) -> None:
    with pytest.raises(Ambiguous):
        act(CannedStand(answer))


def test_a_restore_that_answers_with_an_archived_thing_is_ambiguous() -> None:
    with pytest.raises(Ambiguous):
        act(CannedStand(answered(200, {"data": {"id": THING, "archived_at": NOW_ISO}})), RESTORE)


@pytest.mark.parametrize(
    "answer",
    [
        answered(200),
        answered(204),
        answered(202),
        answered(200, {}),
        answered(200, {"data": {"id": THING, "archived_at": NOW_ISO, "progress": 100}}),
        answered(200, {"data": {"id": THING, "archived_at": NOW_ISO, "progress": {"percent": 100}}}),
        answered(200, {"data": {"id": THING}}),
        answered(200, {"data": None}),
        answered(200, {"data": []}),
        answered(200, {"error": False, "message": "Archived."}),
    ],
)
def test_any_other_2xx_is_success(answer: Response) -> None:
    assert act(CannedStand(answer)) == Receipt("")


@pytest.mark.parametrize("body", [{"data": {"id": THING, "archived_at": NOW_ISO}}, {"message": "Deleted."}, None])
def test_a_delete_may_answer_with_what_it_deleted(body: object) -> None:
    assert act(CannedStand(answered(200, body)), DELETE) == Receipt("")


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 422])
@pytest.mark.parametrize("html", [True, False])
def test_a_4xx_is_rejected_without_the_text_of_tallyfy(status: int, html: bool) -> None:  # noqa: FBT001 - a case
    answer = page(status, "PRIVATE") if html else answered(status, {"message": "PRIVATE", "errors": {"id": ["x"]}})
    with pytest.raises(Rejected, match=str(status)) as refusal:
        act(CannedStand(answer))
    assert refusal.value.code is Code.REFUSED
    assert "PRIVATE" not in refusal.value.reason


def test_a_403_says_which_role_is_needed() -> None:
    stand = SimulatorStand()
    stand.secrets.texts[stand.secret] = STANDARD_TOKEN
    with pytest.raises(Rejected, match="needs an Admin") as refusal:
        stand.client.act(DELETE, ORG, ids.RUN_ARCHIVED_LONG_AGO)
    assert refusal.value.code is Code.FORBIDDEN
    assert stand.simulator.effects() == 0


@pytest.mark.parametrize("quirks", [Quirks(delete_unarchived=404), Quirks(delete_unarchived=422)])
def test_deleting_what_is_not_archived_is_refused_by_tallyfy_too(quirks: Quirks) -> None:
    stand = SimulatorStand()
    stand.simulator.quirks = quirks
    with pytest.raises(Rejected):
        stand.client.act(DELETE, ORG, ids.ACTIVE_RUN)


def test_a_429_on_a_write_is_a_wait_and_not_ambiguous() -> None:
    stand = SimulatorStand()
    stand.simulator.add_fault(Fault.rate_limit(17))
    with pytest.raises(Throttled) as wait:
        stand.client.act(ARCHIVE, ORG, ids.ACTIVE_RUN)
    assert (wait.value.code, wait.value.retry_after, wait.value.counted) == (Code.THROTTLED, 17, False)
    assert stand.simulator.effects() == 0


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("refused"),
        requests.ConnectTimeout("slow"),
        requests.ReadTimeout("slow"),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests.exceptions.SSLError("certificate"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_cut_off_call_is_ambiguous_and_names_the_cause(error: Exception) -> None:
    with pytest.raises(Ambiguous, match=type(error).__name__):
        act(CannedStand(error))
