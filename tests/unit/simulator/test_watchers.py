"""The organization's webhook: its three calls as Tallyfy's own connector makes them, and what is sent to it."""

import json
from typing import Any, Literal

import pytest
import requests

from sandbox.simulator import (
    LIGHT_TOKEN,
    STANDARD_TOKEN,
    DefaultIds,
    Quirks,
    Simulator,
    SimulatorClient,
    SimulatorTransport,
    make_id,
)
from tests.unit.simulator.conftest import BASE_URL, Clock, TallyfyCaller

ORG = DefaultIds.ORGANIZATION
URL = "https://api.example/webhooks/tallyfy/key"
BODY = {
    "object_type": "organization",
    "object_id": ORG,
    "notification_type": "webhook",
    "frequency": "electric",
    "webhook": URL,
}


class Receiver:
    """Keeps what was sent to it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.status: int | None = 202

    def __call__(self, url: str, body: bytes) -> int | None:
        self.heard.append((url, json.loads(body)))
        return self.status


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def simulator(clock: Clock, receiver: Receiver) -> Simulator:
    return Simulator(clock=clock, send=receiver)


def add(tallyfy: TallyfyCaller, user: int = 1001, **changes: object) -> requests.Response:
    return tallyfy("POST", f"/users/{user}/add-watcher", json={**BODY, **changes})


def listed(tallyfy: TallyfyCaller) -> Any:  # noqa: ANN401 - JSON
    return tallyfy("GET", "/watchers", params={"notification": "webhook"}).json()


def test_a_webhook_is_registered_listed_and_removed(tallyfy: TallyfyCaller) -> None:
    made = add(tallyfy)
    assert (made.status_code, made.json()["data"]["webhook"]) == (201, URL)
    [row] = listed(tallyfy)["data"]
    assert (row["id"], row["webhook"], row["created_at"]) == (made.json()["data"]["id"], URL, "2026-11-21T12:00:00Z")
    assert tallyfy("DELETE", f"/remove-watcher/{row['id']}").status_code == 204
    assert listed(tallyfy) == {"data": []}
    assert tallyfy("DELETE", f"/remove-watcher/{row['id']}").status_code == 404


@pytest.mark.parametrize("token", [STANDARD_TOKEN, LIGHT_TOKEN])
def test_whoever_is_no_admin_is_refused(session: requests.Session, token: str) -> None:
    member = TallyfyCaller(BASE_URL, session, token)
    assert add(member, user=1002).status_code == 403
    assert member("GET", "/watchers", params={"notification": "webhook"}).status_code == 403
    assert member("DELETE", "/remove-watcher/1").status_code == 403


def test_an_organization_without_the_feature_answers_404(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    simulator.quirks = Quirks(watchers="missing")
    assert add(tallyfy).status_code == 404
    assert tallyfy("GET", "/watchers", params={"notification": "webhook"}).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"object_type": "run"},
        {"object_id": make_id("another")},
        {"notification_type": "email"},
        {"frequency": "daily"},
        {"webhook": "ftp://example.com"},
        {"secret": "x"},
    ],
)
def test_an_undocumented_registration_is_refused(tallyfy: TallyfyCaller, changes: dict[str, object]) -> None:
    assert add(tallyfy, 1001, **changes).status_code == 422
    assert listed(tallyfy)["data"] == []


def test_what_no_document_shows_is_refused(tallyfy: TallyfyCaller) -> None:
    assert add(tallyfy, user=1002).status_code == 403
    assert tallyfy("GET", "/watchers").status_code == 422
    assert tallyfy("GET", "/watchers", params={"notification": "webhook", "page": 2}).status_code == 422
    assert tallyfy("PUT", "/watchers").status_code == 405
    add(tallyfy)
    assert add(tallyfy).status_code == 422


@pytest.mark.parametrize("field", ["webhook", "webhook_url", "url"])
def test_the_url_stands_where_the_choice_puts_it(
    tallyfy: TallyfyCaller, simulator: Simulator, field: Literal["webhook", "webhook_url", "url"]
) -> None:
    simulator.quirks = Quirks(watcher_url=field, watcher_rows="bare")
    assert add(tallyfy).json()[field] == URL
    assert [row[field] for row in listed(tallyfy)] == [URL]


def test_a_second_webhook_stands_beside_the_first_or_replaces_it(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    add(tallyfy)
    add(tallyfy, webhook=f"{URL}2")
    assert [row["webhook"] for row in listed(tallyfy)["data"]] == [URL, f"{URL}2"]
    simulator.quirks = Quirks(second_watcher="replaces")
    add(tallyfy, webhook=f"{URL}3")
    assert [row["webhook"] for row in listed(tallyfy)["data"]] == [f"{URL}3"]


def test_each_event_is_sent_once_whatever_the_answer(
    tallyfy: TallyfyCaller, simulator: Simulator, receiver: Receiver, clock: Clock
) -> None:
    add(tallyfy)
    receiver.status = None
    run = make_id("launched")
    simulator.launch(run, "Onboard Tyrell")
    simulator.complete(run)
    simulator.reopen(run)
    clock.advance(3600)
    simulator.complete(run)
    tallyfy("DELETE", f"/runs/{run}")
    tallyfy("PUT", f"/runs/{run}/activate")
    simulator.deliveries.wait()
    told = [(body["event"], body["id"], body["completed_at"]) for _, body in receiver.heard]
    assert told == [
        ("process.launched", run, None),
        ("process.completed", run, "2026-11-21T12:00:00.250Z"),
        ("process.completed", run, "2026-11-21T13:00:00.250Z"),
    ]
    assert {url for url, _ in receiver.heard} == {URL}
    assert [one.status for one in simulator.deliveries.made()] == [None, None, None]


def test_each_task_that_is_completed_with_its_process_is_told_before_it(
    tallyfy: TallyfyCaller, simulator: Simulator, receiver: Receiver
) -> None:
    add(tallyfy)
    simulator.reopen(DefaultIds.RUN)
    simulator.complete(DefaultIds.RUN)
    simulator.deliveries.wait()
    assert [body["event"] for _, body in receiver.heard] == ["task.completed", "process.completed"]
    [_, (_, body)] = receiver.heard
    assert body["ko-form-fields"] == {"customer": "Acme"}
    assert set(body["process-tasks"]) == {"collect-the-signed-contract", "open-the-account"}


@pytest.mark.parametrize(("place", "key"), [("process", "process"), ("run", "run"), ("data", "data")])
def test_the_process_stands_where_the_choice_puts_it(
    tallyfy: TallyfyCaller, simulator: Simulator, receiver: Receiver, place: Literal["process", "run", "data"], key: str
) -> None:
    simulator.quirks = Quirks(webhook_payload=place)
    add(tallyfy)
    simulator.complete(DefaultIds.ACTIVE_RUN)
    simulator.deliveries.wait()
    [(_, body)] = receiver.heard
    assert set(body) == {"event", key}
    assert body[key]["id"] == DefaultIds.ACTIVE_RUN


def test_nothing_is_sent_where_nothing_is_registered(simulator: Simulator, receiver: Receiver) -> None:
    simulator.complete(DefaultIds.ACTIVE_RUN)
    simulator.deliveries.wait()
    assert receiver.heard == []


def test_other_processes_do_what_people_do_over_the_admin_interface(
    tallyfy: TallyfyCaller, simulator: Simulator, session: requests.Session
) -> None:
    session.mount("https://tallyfy.test", SimulatorTransport(simulator))
    admin = SimulatorClient(BASE_URL, session)
    add(tallyfy)
    admin.launch(make_id("new"), "New")
    admin.complete(make_id("new"))
    admin.reopen(make_id("new"))
    simulator.deliveries.wait()
    assert [(one.event, one.status) for one in admin.deliveries()] == [
        ("process.launched", 202),
        ("process.completed", 202),
    ]
    for wrong in (make_id("nobody"), DefaultIds.RUN_ARCHIVED_RECENTLY, DefaultIds.RUN):
        with pytest.raises(ValueError, match=r"404|422"):
            admin.complete(wrong)
    with pytest.raises(ValueError, match="not complete"):
        admin.reopen(DefaultIds.ACTIVE_RUN)
    admin.reset()
    assert admin.deliveries() == []
