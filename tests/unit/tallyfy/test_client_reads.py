"""Reads from Tallyfy: active resources, archived resources, and unknown facts."""

import pytest
import requests

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.errors import Ambiguous, Code, Rejected, Retryable, Throttled
from lifecycle.domain.resources import ResourceSnapshot
from sandbox.simulator import DefaultIds, Fault, Simulator, crowd, make_id
from sandbox.simulator.messages import Response
from sandbox.simulator.world import Run, Task, Template
from tests.harness.builders import NOW, THING, Clock
from tests.harness.tallyfy import ORG, CannedStand, SimulatorStand, answered, page

ids = DefaultIds
NOT_THERE = answered(404, {"error": True, "message": "Not found.", "code": 404})
NOTHING_ARCHIVED = answered(200, {"data": [], "meta": {"pagination": {"total": 0, "total_pages": 1, "links": []}}})


def look(stand: CannedStand, resource: Resource = Resource.RUN) -> ResourceSnapshot | None:
    return stand.client.look(ORG, resource, THING)


def listed(*things: str, pages: int = 1, **fields: object) -> Response:
    rows = [{"id": thing, "archived_at": "2026-01-01T00:00:00Z", **fields} for thing in things]
    links = {"next": "https://elsewhere.test/steal?page=2"}
    return answered(200, {"data": rows, "meta": {"pagination": {"total_pages": pages, "links": links}}})


@pytest.mark.parametrize(
    ("resource", "thing", "state"),
    [
        (Resource.RUN, ids.ACTIVE_RUN, State.ACTIVE),
        (Resource.RUN, ids.RUN_ARCHIVED_LONG_AGO, State.ARCHIVED),
        (Resource.TASK, ids.TASK, State.ACTIVE),
        (Resource.TASK, ids.ARCHIVED_TASK, State.ARCHIVED),
        (Resource.TEMPLATE, ids.TEMPLATE, State.ACTIVE),
        (Resource.TEMPLATE, ids.ARCHIVED_TEMPLATE, State.ARCHIVED),
        (Resource.TAG, ids.UNUSED_TAG, State.ACTIVE),
    ],
)
def test_a_resource_is_found_active_or_archived(resource: Resource, thing: str, state: State) -> None:
    seen = SimulatorStand().client.look(ORG, resource, thing)
    assert seen is not None
    assert (seen.id, seen.state, seen.resource) == (thing, state, resource)
    assert (seen.archived_at is not None) == (state is State.ARCHIVED)


@pytest.mark.parametrize("resource", Resource)
def test_a_resource_that_does_not_exist_is_none(resource: Resource) -> None:
    stand = SimulatorStand()
    assert stand.client.look(ORG, resource, THING) is None
    assert all(method == "GET" for method, _ in stand.calls)


def test_a_tag_shows_how_often_it_is_used() -> None:
    stand = SimulatorStand()
    used = stand.client.look(ORG, Resource.TAG, ids.USED_TAG)
    unused = stand.client.look(ORG, Resource.TAG, ids.UNUSED_TAG)
    assert used is not None
    assert unused is not None
    assert (used.uses, unused.uses) == (2, 0)
    assert stand.simulator.log.calls[0].query == {"with": "statistics"}


@pytest.mark.parametrize(
    ("resource", "thing", "owner"),
    [
        (Resource.RUN, ids.RUN, "1001"),
        (Resource.RUN, ids.RUN_ARCHIVED_LONG_AGO, "1001"),
        (Resource.TASK, ids.TASK, "1002"),
        (Resource.TASK, ids.ARCHIVED_TASK, None),
        (Resource.TEMPLATE, ids.TEMPLATE, "1001"),
        (Resource.TEMPLATE, ids.ARCHIVED_TEMPLATE, "1001"),
    ],
)
def test_active_and_archived_resources_show_their_tags_and_owners(
    resource: Resource, thing: str, owner: str | None
) -> None:
    stand = SimulatorStand()
    organization = stand.simulator.organization
    carriers: dict[str, Run | Task | Template] = {**organization.runs, **organization.tasks, **organization.templates}
    carriers[thing].tags |= {ids.USED_TAG, ids.UNUSED_TAG}
    seen = stand.client.look(ORG, resource, thing)
    assert seen is not None
    assert seen.tags == frozenset({"customers", "left over"})
    assert seen.owners == frozenset([owner] if owner else [])


@pytest.mark.parametrize("resource", [Resource.RUN, Resource.TASK, Resource.TEMPLATE])
def test_an_empty_list_of_tags_differs_from_tags_that_are_not_shown(resource: Resource) -> None:
    silent = look(CannedStand(answered(200, {"data": {"id": THING}})), resource)
    none = look(CannedStand(answered(200, {"data": {"id": THING, "tags": []}})), resource)
    assert silent is not None
    assert none is not None
    assert (silent.tags, none.tags) == (None, frozenset())


@pytest.mark.parametrize("resource", Resource)
def test_a_page_asks_for_the_same_facts_as_a_single_read(resource: Resource) -> None:
    stand = SimulatorStand()
    stand.client.look(ORG, resource, THING)
    stand.client.page(ORG, resource, 1, {})
    look, *listed = ({*str(call.query.get("with")).split(",")} for call in stand.simulator.log.calls)
    page = listed[-1]
    assert all(one == page for one in listed)
    assert page == {"statistics" if resource is Resource.TAG else "tags"}
    # A single read also counts tasks and comments, because an undo is compared with them.
    assert look - page == ({"tasks", "tasks.threads", "threads"} if resource is Resource.RUN else set())


def test_a_task_of_a_process_differs_from_a_one_off_task() -> None:
    stand = SimulatorStand()
    of_process = stand.client.look(ORG, Resource.TASK, ids.PROCESS_TASK)
    one_off = stand.client.look(ORG, Resource.TASK, ids.TASK)
    assert of_process is not None
    assert one_off is not None
    assert (of_process.run_id, of_process.one_off) == (ids.RUN, False)
    assert (one_off.run_id, one_off.one_off) == (None, True)


def test_after_a_404_the_archived_list_is_read_page_by_page() -> None:
    others = [make_id("other", n) for n in range(3)]
    stand = CannedStand(NOT_THERE, listed(*others, pages=2), listed(THING, pages=2))
    seen = look(stand)
    assert seen is not None
    assert seen.state is State.ARCHIVED
    urls = [str(asked.url) for asked in stand.canned.asked]
    assert all(url.startswith(f"https://tallyfy.test/api/organizations/{ORG}/runs") for url in urls)
    assert ["page=1" in urls[1], "page=2" in urls[2]] == [True, True]
    assert all("archived=only" in url and "per_page=100" in url for url in urls[1:])


def test_pages_are_read_by_number_and_never_by_the_link_to_another_host() -> None:
    archived = crowd(250, archived_at="-40d")
    stand = SimulatorStand(Simulator(archived, clock=Clock(NOW)))
    stand.simulator.add_fault(Fault.answer_status(404, path=r"/runs/[0-9a-f]{32}$", times=-1))
    seen = stand.client.look(ORG, Resource.RUN, make_id("run", 249))
    assert seen is not None
    assert seen.state is State.ARCHIVED
    assert [call.query.get("page") for call in stand.simulator.log.calls] == [None, "1", "2", "3"]
    assert stand.spent == [ORG] * 4


def test_only_one_off_tasks_are_listed() -> None:
    stand = CannedStand(NOT_THERE, NOTHING_ARCHIVED)
    assert look(stand, Resource.TASK) is None
    assert "is_oneoff=true" in str(stand.canned.asked[1].url)


def test_a_deleted_tag_is_not_looked_for_in_a_list_that_does_not_exist() -> None:
    stand = CannedStand(NOT_THERE)
    assert look(stand, Resource.TAG) is None


def test_too_many_archived_resources_to_search_are_refused() -> None:
    stand = CannedStand(NOT_THERE, *[listed("6f" * 16, pages=999) for _ in range(20)])
    with pytest.raises(Rejected, match="cannot be judged") as refusal:
        look(stand)
    assert refusal.value.code is Code.UNDETERMINED
    assert len(stand.canned.asked) == 21


def test_a_list_without_a_total_does_not_prove_absence() -> None:
    rows = answered(200, {"data": [{"id": "6f" * 16}, "no row"]})
    stand = CannedStand(NOT_THERE, *[rows, answered(200, {"data": []})] * 3)
    with pytest.raises(Retryable, match="an unknown number"):
        look(stand)


@pytest.mark.parametrize(
    "answer",
    [NOT_THERE, answered(200, {"meta": {}}), answered(200, {"data": "x"}), answered(200, {"data": {"id": THING}})],
    ids=["404", "no data", "text", "object"],
)
def test_an_archived_list_that_cannot_be_read_does_not_prove_absence(answer: Response) -> None:
    with pytest.raises(Retryable) as trouble:
        look(CannedStand(NOT_THERE, answer))
    assert trouble.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    "answer",
    [
        answered(500, {"error": True, "message": "PRIVATE"}),
        answered(503),
        page(502),
        page(200),
        answered(200),
        answered(204),
        answered(200, {}),
        answered(200, ["list"]),
        answered(200, {"error": True, "data": {"id": THING}}),
        answered(408),
        answered(302, {"data": {"id": THING}}, Location="https://elsewhere.test/steal"),
        answered(302, Location="https://elsewhere.test/steal"),
        answered(304),
        answered(200, {"data": {"id": "6f" * 16}}),
        answered(200, {"data": {}}),
        answered(200, {"data": [{"id": THING}]}),
        answered(200, {"data": {"id": 5}}),
        requests.ConnectionError("reset"),
        requests.ReadTimeout("slow"),
    ],
)
def test_an_answer_without_the_resource_is_retried_later(answer: Response | Exception) -> None:
    stand = CannedStand(answer)
    with pytest.raises(Retryable) as trouble:
        look(stand)
    assert trouble.value.code is Code.UNAVAILABLE
    assert not isinstance(trouble.value, Ambiguous), "nothing was written, so nothing is in doubt"
    assert trouble.value.counted
    assert "PRIVATE" not in trouble.value.reason
    assert len(stand.canned.asked) == 1


@pytest.mark.parametrize("fault", [Fault.answer_status(500), Fault.reset(), Fault.html(502), Fault.delay(30)])
@pytest.mark.parametrize("resource", Resource)
def test_faults_on_reading_are_retryable_for_every_kind(fault: Fault, resource: Resource) -> None:
    stand = SimulatorStand()
    stand.simulator.add_fault(fault)
    with pytest.raises(Retryable):
        stand.client.look(ORG, resource, THING)


@pytest.mark.parametrize(("status", "code"), [(403, Code.FORBIDDEN), (400, Code.REFUSED), (422, Code.REFUSED)])
def test_a_refused_read_is_final(status: int, code: Code) -> None:
    with pytest.raises(Rejected) as refusal:
        look(CannedStand(answered(status, {"error": True})))
    assert refusal.value.code is code


def test_a_429_on_a_read_makes_the_command_wait() -> None:
    with pytest.raises(Throttled) as wait:
        look(CannedStand(answered(429, {"code": "RATE_LIMIT_EXCEEDED"}, Retry_After="9")))
    assert wait.value.retry_after == 9


@pytest.mark.parametrize("progress", [70, {"complete": 7, "total": 10, "percent": 70}, None, "70%"])
def test_progress_of_any_shape_is_accepted(progress: object) -> None:
    seen = look(CannedStand(answered(200, {"data": {"id": THING, "progress": progress, "unknown": [1]}})))
    assert seen is not None
    assert seen.state is State.ACTIVE


def test_the_account_shows_role_and_organization() -> None:
    member, organization = SimulatorStand().client.account(ORG)
    assert member["role"] == "admin"
    assert organization["id"] == ORG


@pytest.mark.parametrize(
    "answers", [(NOT_THERE, answered(200, {"data": {"id": ORG}})), (answered(200, {"a": 1}), NOT_THERE)]
)
def test_an_organization_that_is_not_shown_is_refused(answers: tuple[Response, Response]) -> None:
    with pytest.raises(Rejected, match="does not show organization"):
        CannedStand(*answers).client.account(ORG)
