"""The admin interface and its client, the server, and seed files."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from sandbox.simulator import (
    DefaultIds,
    Fault,
    Limit,
    Quirks,
    Seed,
    SeedOrganization,
    SeedRun,
    Simulator,
    SimulatorClient,
    SimulatorServer,
    default_seed,
    load_seed,
    make_id,
)
from sandbox.simulator.server import describe
from tests.unit.simulator.conftest import Clock, TallyfyCaller

IDS = DefaultIds
EXAMPLE = Path(__file__).parents[3] / "events" / "simulator-seed.json"


@pytest.fixture(params=["in process", "http"])
def admin(request: pytest.FixtureRequest, session: requests.Session) -> SimulatorClient:
    if request.param == "in process":
        return SimulatorClient("https://tallyfy.test/api", session)
    server: SimulatorServer = request.getfixturevalue("server")
    return server.client()


def test_the_log_is_read_and_cleared(admin: SimulatorClient, tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    tallyfy("GET", "/runs")
    tallyfy("DELETE", f"/runs/{IDS.RUN}")
    assert admin.log() == simulator.log.calls
    assert [call.id for call in admin.log(acted=True)] == [IDS.RUN]
    assert (admin.effects(), admin.effects("archive", IDS.RUN), admin.effects("delete")) == (1, 1, 0)
    admin.clear_log()
    assert admin.log() == []


def test_faults_limits_quirks_and_the_clock_are_set(
    admin: SimulatorClient, tallyfy: TallyfyCaller, clock: Clock
) -> None:
    admin.add_fault(Fault.reset("after", id=IDS.RUN))
    assert admin.faults() == [Fault.reset("after", id=IDS.RUN)]
    admin.clear_faults()
    assert admin.faults() == []
    admin.set_limit(Limit(requests=1))
    assert [tallyfy("GET", "/me").status_code for _ in range(2)] == [200, 429]
    assert admin.limit() == Limit(requests=1)
    admin.set_limit(None)
    assert admin.limit() is None
    admin.set_quirks(Quirks(tag_delete="soft"))
    assert admin.quirks().tag_delete == "soft"
    admin.advance(3600)
    assert (admin.now() - clock.time).total_seconds() == 3600


def test_the_admin_client_reads_the_state_of_each_object(admin: SimulatorClient, tallyfy: TallyfyCaller) -> None:
    tallyfy("DELETE", f"/runs/{IDS.RUN}")
    tallyfy("DELETE", f"/runs/{IDS.RUN_ARCHIVED_LONG_AGO}/delete")
    tallyfy("DELETE", f"/tags/{IDS.USED_TAG}")
    states = [admin.state(id).state for id in (IDS.RUN, IDS.RUN_ARCHIVED_LONG_AGO, IDS.USED_TAG, IDS.TASK, "x")]
    assert states == ["archived", "deleted", "deleted", "active", "unknown"]
    task = admin.state(IDS.PROCESS_TASK).row
    assert task is not None
    assert task["threads"][0]["deleted_at"] is not None
    assert (admin.state(IDS.TEMPLATE).resource, admin.state(IDS.UNUSED_TAG).resource) == ("template", "tag")
    (summary,) = admin.summary()["organizations"]
    assert (summary["runs"][IDS.RUN], IDS.RUN_ARCHIVED_LONG_AGO in summary["deleted"]) == ("archived", True)


def test_objects_are_added_replaced_and_reset_to_the_seed(admin: SimulatorClient, tallyfy: TallyfyCaller) -> None:
    more = Seed(organizations=[SeedOrganization(id=IDS.ORGANIZATION, runs=[SeedRun(id=make_id("more"))])])
    admin.merge(more)
    assert tallyfy.ids("/runs") == {IDS.RUN, IDS.ACTIVE_RUN, make_id("more")}
    admin.rotate_token(IDS.ORGANIZATION, 1001, "another")
    assert tallyfy("GET", "/me").status_code == 401
    admin.load(default_seed())
    assert tallyfy.ids("/runs") == {IDS.RUN, IDS.ACTIVE_RUN}
    tallyfy("DELETE", f"/runs/{IDS.RUN}")
    admin.reset()
    assert tallyfy.ids("/runs") == {IDS.RUN, IDS.ACTIVE_RUN}
    assert admin.effects() == 0


def test_replacing_a_run_removes_its_former_tasks(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    simulator.merge(Seed(organizations=[SeedOrganization(id=IDS.ORGANIZATION, runs=[SeedRun(id=IDS.RUN)])]))
    assert tallyfy.ids("/tasks") == {IDS.TASK}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "nothing", 404), ("PATCH", "log", 405), ("POST", "faults", 422), ("PUT", "token", 422)],
)
def test_a_wrong_admin_call_is_refused(session: requests.Session, method: str, path: str, status: int) -> None:
    answer = session.request(method, f"https://tallyfy.test/_simulator/{path}", data="{}")
    assert answer.status_code == status


def test_the_client_raises_an_error_with_the_reason_of_a_refusal(admin: SimulatorClient) -> None:
    with pytest.raises(ValueError, match="No such member"):
        admin.rotate_token(IDS.ORGANIZATION, 7, "another")


def test_admin_calls_are_neither_logged_nor_limited(admin: SimulatorClient, simulator: Simulator) -> None:
    admin.add_fault(Fault.answer_status(500, times=-1))
    admin.set_limit(Limit(requests=1))
    assert [admin.effects() for _ in range(3)] == [0, 0, 0]
    assert simulator.log.calls == []


def test_twenty_concurrent_archives_of_one_run_change_it_once(server: SimulatorServer, simulator: Simulator) -> None:
    url = f"{server.base_url}/organizations/{IDS.ORGANIZATION}/runs/{IDS.RUN}"
    headers = {"Authorization": "Bearer simulator-admin-token", "X-Tallyfy-Client": "APIClient"}
    threads = [threading.Thread(target=requests.delete, args=(url,), kwargs={"headers": headers}) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(simulator.log.calls), simulator.effects("archive", IDS.RUN)) == (20, 1)


def test_a_stopped_server_refuses_connections(simulator: Simulator) -> None:
    with SimulatorServer(simulator) as server:
        client = server.client()
        assert client.effects() == 0
    with pytest.raises(requests.exceptions.ConnectionError):
        client.effects()


def test_the_server_refuses_an_address_that_is_not_loopback() -> None:
    with pytest.raises(ValueError, match="loopback"):
        SimulatorServer(host="0.0.0.0")  # noqa: S104 - the server must refuse it


def test_a_taken_port_raises_an_error_and_does_not_end_the_process(server: SimulatorServer) -> None:
    with pytest.raises(OSError, match="in use"):
        SimulatorServer(port=server.port)


def test_the_server_prints_the_base_url_organization_and_token(server: SimulatorServer) -> None:
    text = describe(server)
    assert server.base_url in text
    assert IDS.ORGANIZATION in text
    assert "simulator-admin-token" in text


def test_the_example_seed_file_equals_the_default_seed() -> None:
    assert load_seed(EXAMPLE) == default_seed()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda seed: seed["organizations"][0].update(id="short"),
        lambda seed: seed["organizations"][0]["runs"][0].update(archived_at="yesterday"),
        lambda seed: seed["organizations"][0]["runs"][0].update(archived_at="2026-01-01T00:00:00"),
        lambda seed: seed["organizations"][0]["members"][1].update(token="simulator-admin-token"),
        lambda seed: seed.update(organisations=[]),
    ],
)
def test_an_invalid_seed_file_is_refused(spoil: Callable[[dict[str, Any]], None]) -> None:
    seed = default_seed().model_dump(mode="json")
    spoil(seed)
    with pytest.raises(ValidationError):
        Seed.model_validate(seed)
