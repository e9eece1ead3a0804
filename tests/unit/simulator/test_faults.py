"""Faults, limits, the log and the clock."""

from typing import Any

import pytest
import requests
from pydantic import ValidationError

from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, Fault, Limit, Simulator, SimulatorServer
from sandbox.simulator.faults import When
from tests.unit.simulator.conftest import Clock, TallyfyCaller

IDS = DefaultIds
ARCHIVE = ("DELETE", f"/runs/{IDS.RUN}")


@pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
def test_an_error_status_can_come_before_or_after_the_effect(
    either: TallyfyCaller, simulator: Simulator, when: When, effects: int
) -> None:
    simulator.add_fault(Fault.answer_status(503, when, retry_after=7))
    answer = either(*ARCHIVE)
    assert (answer.status_code, answer.headers["Retry-After"], simulator.effects()) == (503, "7", effects)
    assert either("GET", f"/runs/{IDS.RUN}").ok
    assert (simulator.log.calls[0].acted, simulator.log.calls[0].action) == (when == "after", "archive")


@pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
def test_a_reset_can_come_before_or_after_the_effect(
    either: TallyfyCaller, simulator: Simulator, when: When, effects: int
) -> None:
    simulator.add_fault(Fault.reset(when))
    with pytest.raises(requests.exceptions.ConnectionError, match="reset"):
        either(*ARCHIVE)
    assert simulator.effects() == effects
    assert (simulator.log.calls[0].status, simulator.log.calls[0].fault) == (None, f"reset/{when}")
    assert either("GET", f"/runs/{IDS.RUN}").ok


@pytest.mark.parametrize("fault", [Fault.html(502), Fault.html(502, "after")])
def test_a_fault_can_answer_with_an_html_page(either: TallyfyCaller, simulator: Simulator, fault: Fault) -> None:
    simulator.add_fault(fault)
    answer = either(*ARCHIVE)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html; charset=UTF-8")
    assert answer.text.startswith("<html>")


def test_a_fault_can_answer_200_with_an_error_in_the_body(either: TallyfyCaller, simulator: Simulator) -> None:
    simulator.add_fault(Fault.error_in_200())
    answer = either(*ARCHIVE)
    assert (answer.status_code, answer.json()["error"], simulator.effects()) == (200, True, 0)


def test_a_delay_after_acting_times_out_with_the_effect(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    simulator.add_fault(Fault.delay(30, "after"))
    with pytest.raises(requests.exceptions.ReadTimeout):
        tallyfy(*ARCHIVE, timeout=(3, 10))
    assert simulator.effects() == 1


def test_a_delay_before_acting_times_out_and_takes_effect_late(
    tallyfy: TallyfyCaller, simulator: Simulator, clock: Clock
) -> None:
    simulator.add_fault(Fault.delay(30))
    with pytest.raises(requests.exceptions.ReadTimeout):
        tallyfy(*ARCHIVE, timeout=10)
    assert tallyfy.read(f"/runs/{IDS.RUN}")["archived_at"] is None
    clock.advance(30)
    assert tallyfy.read(f"/runs/{IDS.RUN}")["archived_at"] is not None


def test_late_calls_can_be_settled_at_once(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    simulator.add_fault(Fault.delay(30))
    with pytest.raises(requests.exceptions.ReadTimeout):
        tallyfy(*ARCHIVE, timeout=10)
    simulator.settle()
    simulator.settle()
    assert simulator.effects("archive", IDS.RUN) == 1


def test_a_delay_within_the_time_out_only_delays(either: TallyfyCaller, simulator: Simulator) -> None:
    simulator.add_fault(Fault.delay(0.005), Fault.delay(0.005, "after"))
    assert either(*ARCHIVE, timeout=5).ok
    assert simulator.log.calls[0].fault == "delay/before"


def test_a_delay_and_another_fault_apply_to_the_same_call(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    simulator.add_fault(Fault.delay(30, "after"), Fault.answer_status(500, "after"))
    with pytest.raises(requests.exceptions.ReadTimeout):
        tallyfy(*ARCHIVE, timeout=10)
    assert simulator.log.calls[0].fault == "delay/after status/after"


def test_over_http_a_delay_beyond_the_time_out_still_takes_effect(
    server: SimulatorServer, simulator: Simulator
) -> None:
    simulator.add_fault(Fault.delay(0.05, "after"))
    headers = {"Authorization": f"Bearer {DEFAULT_TOKEN}", "X-Tallyfy-Client": "APIClient"}
    url = f"{server.base_url}/organizations/{IDS.ORGANIZATION}/runs/{IDS.RUN}"
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.delete(url, headers=headers, timeout=(1, 0.02))
    assert server.client().effects("archive", IDS.RUN) == 1


def test_a_fault_applies_as_often_as_configured_and_only_to_matching_calls(
    tallyfy: TallyfyCaller, simulator: Simulator
) -> None:
    simulator.add_fault(
        Fault.answer_status(500, method="GET", path=r"/runs/[0-9a-f]{32}$", id=IDS.RUN, times=2, skip=1)
    )
    assert tallyfy("GET", f"/runs/{IDS.ACTIVE_RUN}").ok
    assert [tallyfy("GET", f"/runs/{IDS.RUN}").status_code for _ in range(4)] == [200, 500, 500, 200]
    assert simulator.faults.pending() == []


def test_a_fault_can_last_until_it_is_cleared(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    simulator.add_fault(Fault.answer_status(503, times=-1))
    assert {tallyfy("GET", "/runs").status_code for _ in range(5)} == {503}
    simulator.faults.clear()
    assert tallyfy("GET", "/runs").ok


@pytest.mark.parametrize("wrong", [{"path": "("}, {"kind": "flood"}, {"times": -2}, {"status": 200}, {"colour": "red"}])
def test_an_invalid_fault_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate({"kind": "status", **wrong})


def test_a_window_admits_its_limit_of_calls_and_says_when_to_retry(
    either: TallyfyCaller, simulator: Simulator, clock: Clock
) -> None:
    simulator.set_limit(Limit(requests=2, seconds=10))
    clock_says = [either("GET", "/runs").status_code for _ in range(2)]
    clock.advance(3.5)
    refused = either(*ARCHIVE)
    assert clock_says == [200, 200]
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert refused.json()["code"] == "RATE_LIMIT_EXCEEDED"
    assert (simulator.effects(), simulator.log.calls[-1].action) == (0, "archive")
    clock.advance(7)
    assert either(*ARCHIVE).ok


def test_a_bucket_refills_evenly(tallyfy: TallyfyCaller, simulator: Simulator, clock: Clock) -> None:
    simulator.set_limit(Limit(requests=3, seconds=6, kind="bucket"))
    assert [tallyfy("GET", "/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    clock.advance(2)
    assert [tallyfy("GET", "/me").status_code for _ in range(2)] == [200, 429]


def test_a_fault_can_answer_429(tallyfy: TallyfyCaller, simulator: Simulator) -> None:
    simulator.add_fault(Fault.rate_limit(3))
    refused = tallyfy(*ARCHIVE)
    assert (refused.status_code, refused.headers["Retry-After"], refused.json()["code"]) == (
        429,
        "3",
        "RATE_LIMIT_EXCEEDED",
    )


def test_the_log_records_each_call_but_not_the_token(either: TallyfyCaller, simulator: Simulator) -> None:
    either("GET", "/runs", params={"archived": "only"})
    either(*ARCHIVE)
    either(*ARCHIVE)
    read, first, second = simulator.log.calls
    assert (read.resource, read.action, read.query, read.acted) == ("run", "list", {"archived": "only"}, False)
    assert (first.id, first.action, first.status, first.acted) == (IDS.RUN, "archive", 200, True)
    assert (second.status, second.acted) == (404, False)
    assert DEFAULT_TOKEN not in repr(simulator.log)
    assert first.token == second.token is not None
