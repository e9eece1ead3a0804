"""A look before a sweep: against the simulated Tallyfy, with every ending told to those who should hear of it."""

import json
from datetime import datetime, timedelta
from typing import override

import pytest
import requests

from lifecycle.aws.eventbridge import MemoryBus
from lifecycle.aws.metrics import MemoryMetrics, Metric
from lifecycle.aws.secrets import MemorySecrets, Secrets
from lifecycle.domain.errors import Code, Retryable, Throttled
from lifecycle.intake.sources import Sources
from lifecycle.policy.policy import Policy
from lifecycle.sweep.preflight import Preflight, reasons
from lifecycle.sweep.preflight_rules import Finding, Mark
from sandbox.simulator import DEFAULT_TOKEN, LIGHT_TOKEN, STANDARD_TOKEN, Fault
from tests.harness.builders import CONFIG, NOW, PREFIX, SOURCES
from tests.harness.tallyfy import ORG, CannedStand, SimulatorStand, Stand, answered

MODEST = Sources.parse('[sources.crm]\nscheme = "hmac"\nmay = ["run.archive", "run.restore"]\n')


class Bench:
    """A look and all that hears of it."""

    def __init__(self, stand: Stand, *, sources: Sources | None = None, secrets: Secrets | None = None) -> None:
        stand.secrets.stored[stand.secret] = NOW - timedelta(days=10)
        self.metrics, self.bus = MemoryMetrics(), MemoryBus()
        self.preflight = Preflight(
            tallyfy=stand.client,
            secrets=secrets or stand.secrets,
            prefix=PREFIX,
            policy=Policy.parse((CONFIG / "policy.toml").read_text()),
            sources=sources or Sources.parse(SOURCES),
            metrics=self.metrics,
            bus=self.bus,
            clock=lambda: NOW,
        )

    def look(self) -> tuple[Finding, ...]:
        """Look, and tell of it."""
        found = self.preflight.look(ORG)
        self.preflight.tell(ORG, found)
        return found

    def heard(self) -> str:
        """Everything that left the house, as text."""
        return json.dumps([[note for _, note in self.metrics.notes], self.bus.announced])


@pytest.fixture
def stand() -> SimulatorStand:
    return SimulatorStand()


def test_a_clean_preflight_raises_no_alarm_and_only_reads(stand: SimulatorStand) -> None:
    bench = Bench(stand)
    found = bench.look()
    assert {finding.mark for finding in found} == {Mark.YES}
    assert reasons(found) == ()
    assert (bench.metrics.notes, bench.bus.announced) == ([], [])
    assert stand.calls == [("GET", "me"), ("GET", f"/api/organizations/{ORG}")]
    assert stand.spent == [ORG, ORG]


def test_a_standard_member_is_not_enough_if_a_source_may_delete_permanently(stand: SimulatorStand) -> None:
    stand.secrets.texts[stand.secret] = STANDARD_TOKEN
    [why] = reasons(Bench(stand).look())
    assert why == (
        "Role of the token's user: standard, which may archive and restore, but not run.delete, tag.delete, "
        "task.delete, template.delete. Make the user an Admin in Tallyfy, or take these out of sources.toml and "
        "policy.toml."
    )
    assert reasons(Bench(stand, sources=MODEST).look()) == ()


def test_a_light_member_is_never_enough(stand: SimulatorStand) -> None:
    stand.secrets.texts[stand.secret] = LIGHT_TOKEN
    [why] = reasons(Bench(stand, sources=MODEST).look())
    assert "light, which may not archive" in why


def test_a_refused_token_is_a_reason_and_its_age_is_reported(stand: SimulatorStand) -> None:
    bench = Bench(stand)
    stand.secrets.texts[stand.secret] = "of somebody who logged out"
    stand.secrets.stored[stand.secret] = NOW - timedelta(days=200)
    found = bench.look()
    [why] = reasons(found)
    assert "refused the token" in why
    assert [finding.what for finding in found if finding.aging] == ["age of the token"]
    assert "layers/config/policy.toml" in {finding.what for finding in found}
    assert bench.metrics.counts == {Metric.TOKEN_AGING: 1, Metric.PREFLIGHT_FAILED: 1}


def test_a_missing_token_is_a_reason(stand: SimulatorStand) -> None:
    bench = Bench(stand)
    stand.secrets.texts.clear()
    [why] = reasons(bench.look())
    assert f"Secret '{stand.secret}' does not exist" in why
    assert stand.calls == []
    assert bench.metrics.counts == {Metric.PREFLIGHT_FAILED: 1}


def test_an_organization_outside_the_stack_is_a_reason(stand: SimulatorStand) -> None:
    [why] = reasons(Bench(stand).preflight.look("9f" * 16))
    assert "is not one of this stack's" in why
    assert stand.calls == []


@pytest.mark.parametrize("status", [403, 404, 400])
def test_a_hidden_organization_is_a_reason(stand: SimulatorStand, status: int) -> None:
    stand.simulator.add_fault(Fault.answer_status(status, times=-1))
    bench = Bench(stand)
    [why] = reasons(bench.look())
    assert why.startswith(f"Organization {ORG}: ")
    assert [name for name, _ in bench.bus.announced] == ["lifecycle.preflight.failed"]


def test_an_answer_for_another_organization_is_a_reason() -> None:
    member = {"data": {"id": 1, "role": "admin"}}
    stand = CannedStand(answered(200, member), answered(200, {"data": {"id": "9f" * 16, "auto_archive": False}}))
    [why] = reasons(Bench(stand).look())
    assert f"Tallyfy answered for {'9f' * 16}" in why


@pytest.mark.parametrize("data", [[], None, "text", {}])
def test_an_empty_answer_is_a_reason(data: object) -> None:
    stand = CannedStand(answered(200, {"data": data}), answered(200, {"data": data}))
    [why] = reasons(Bench(stand).look())
    assert "does not say which organization" in why


def test_auto_archive_is_only_noted(stand: SimulatorStand) -> None:
    stand.simulator.organization.auto_archive = True
    stand.simulator.organization.auto_archive_processes_after = 14
    bench = Bench(stand)
    found = bench.look()
    assert [finding.found for finding in found if finding.mark is Mark.NOTE] == [
        "on, after 14 days: Tallyfy archives first, before rule 'completed' (30 days)"
    ]
    assert (reasons(found), bench.metrics.notes, bench.bus.announced) == ((), [], [])


# --- what goes on upward ---


@pytest.mark.parametrize(
    "fault", [Fault.answer_status(503, times=-1), Fault.reset(times=-1), Fault.html(times=-1)], ids=str
)
@pytest.mark.parametrize("path", [r"/me$", rf"/organizations/{ORG}$"])
def test_an_outage_of_tallyfy_is_not_a_finding(stand: SimulatorStand, fault: Fault, path: str) -> None:
    stand.simulator.add_fault(fault.model_copy(update={"path": path}))
    with pytest.raises(Retryable) as trouble:
        Bench(stand).look()
    assert trouble.value.code is Code.UNAVAILABLE


def test_a_429_is_not_a_finding(stand: SimulatorStand) -> None:
    stand.simulator.add_fault(Fault.rate_limit(40))
    with pytest.raises(Throttled) as wait:
        Bench(stand).look()
    assert wait.value.retry_after == 40


def test_a_missing_network_is_not_a_finding() -> None:
    with pytest.raises(Retryable) as trouble:
        Bench(CannedStand(requests.ConnectionError("gone"))).look()
    assert trouble.value.code is Code.UNAVAILABLE


def test_an_outage_of_secrets_manager_is_not_a_finding(stand: SimulatorStand) -> None:
    class Out(MemorySecrets):
        @override
        def get(self, name: str, *, fresh: bool = False) -> str:
            raise Retryable(Code.UNAVAILABLE, "Secrets Manager is out (made up).")

    stand.client._tokens._secrets = Out()
    with pytest.raises(Retryable, match="is out"):
        Bench(stand).look()


def test_an_unknown_age_of_the_token_is_only_noted(stand: SimulatorStand) -> None:
    class Mute(MemorySecrets):
        @override
        def stored_at(self, name: str) -> datetime | None:
            raise Retryable(Code.UNAVAILABLE, "Secrets Manager is out (made up).")

    bench = Bench(stand, secrets=Mute())
    found = bench.look()
    assert [(finding.what, finding.found) for finding in found if finding.mark is Mark.NOTE] == [
        ("age of the token", "unknown")
    ]
    assert (reasons(found), bench.metrics.notes) == ((), [])


# --- who is told ---


def test_a_failed_preflight_raises_one_alarm_and_is_announced(stand: SimulatorStand) -> None:
    bench = Bench(stand)
    two = [Finding(Mark.NO, "one", "is wrong.", "Mend it."), Finding(Mark.NO, "another", "too")]
    bench.preflight.tell(ORG, [Finding(Mark.YES, "this", "is well"), *two, Finding(Mark.NOTE, "that", "is odd")])
    facts = {"org_id": ORG, "reason": "One: is wrong. Mend it. Another: too."}
    assert bench.metrics.notes == [(Metric.PREFLIGHT_FAILED, facts)]
    assert bench.bus.announced == [
        ("lifecycle.preflight.failed", {"schema_version": "1", "looked_at": NOW.isoformat(), **facts})
    ]


def test_an_aging_token_emits_a_metric_and_is_no_failure(stand: SimulatorStand) -> None:
    bench = Bench(stand)
    stand.secrets.stored[stand.secret] = NOW - timedelta(days=160)
    found = bench.look()
    assert reasons(found) == ()
    reason = "Age of the token: aging, stored 160 days ago: 23 days left. Store a new one; no deploy is needed."
    assert bench.metrics.notes == [(Metric.TOKEN_AGING, {"org_id": ORG, "reason": reason})]
    assert bench.bus.announced == []


def test_an_unavailable_bus_raises_after_the_metric_was_emitted(stand: SimulatorStand) -> None:
    class Out(MemoryBus):
        @override
        def announce(self, detail_type: str, detail: object) -> None:
            raise Retryable(Code.UNAVAILABLE, "EventBridge is out (made up).")

    metrics = MemoryMetrics()
    bench = Bench(stand)
    silent = Preflight(
        tallyfy=stand.client,
        secrets=stand.secrets,
        prefix=PREFIX,
        policy=bench.preflight.policy,
        sources=MODEST,
        metrics=metrics,
        bus=Out(),
        clock=lambda: NOW,
    )
    with pytest.raises(Retryable, match="is out"):
        silent.tell(ORG, [Finding(Mark.NO, "one", "is wrong")])
    assert metrics.counts == {Metric.PREFLIGHT_FAILED: 1}


@pytest.mark.parametrize("token", [DEFAULT_TOKEN, STANDARD_TOKEN, LIGHT_TOKEN, "of somebody who logged out"])
def test_a_report_contains_no_secret(stand: SimulatorStand, token: str) -> None:
    bench = Bench(stand)
    stand.secrets.texts[stand.secret] = token
    stand.secrets.stored[stand.secret] = NOW - timedelta(days=170)
    found = bench.look()
    assert bench.metrics.counts[Metric.TOKEN_AGING] == 1
    assert token not in bench.heard() + repr(found)
    assert {call.method for call in stand.simulator.log.calls} == {"GET"}
