"""Reports sweeps and plans as events, metrics and audit records."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lifecycle.audit.chain import Record, What
from lifecycle.audit.store import AuditStore
from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.domain.clock import millis
from lifecycle.domain.events import SCHEMA_VERSION
from lifecycle.plans.application import ApplicationStore
from lifecycle.plans.plan_file import Plan
from lifecycle.policy.evaluate import Mode

_EVENTS = {
    Metric.SWEEP_FINISHED: "lifecycle.sweep.finished",
    Metric.PLAN_APPLIED: "lifecycle.plan.applied",
    Metric.PLAN_REVERTED: "lifecycle.plan.reverted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOutcome:
    """How a job about a plan ended. ``sent`` counts commands; ``stopped`` says why it stopped, if it did."""

    signal: Metric
    plan: Plan
    by: str
    sent: int = 0
    stopped: tuple[str, ...] = ()
    detail: str = ""
    """What the audit record says, where it is more than the number of commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReports:
    """Writes and publishes the reports."""

    audit: AuditStore
    applications: ApplicationStore
    bus: Bus
    metrics: Metrics
    mode: Mode
    clock: Callable[[], datetime]

    def record(self, what: What, org_id: str, plan: str, reason: str, *, by: str) -> None:
        """Write an audit record about a plan."""
        at = millis(self.clock())
        self.audit.record(Record(at=at, what=what, org_id=org_id, plan=plan, by=by, reason=reason))

    def stopped_by_people(self, org_id: str, plan: str, reason: str, *, by: str) -> None:
        """Report that people decided against a plan. This writes no dead letter, because nobody has to follow up."""
        self.record(What.PLAN_STOPPED, org_id, plan, reason, by=by)
        self.metrics.emit(Metric.SUPERSEDED, {"org_id": org_id, "plan": plan, "reason": reason})

    def finished(self, outcome: PlanOutcome) -> None:
        """Announce how a job about a plan ended. Raises ``Retryable`` if the bus is out."""
        plan = outcome.plan
        facts = {
            "sweep_id": plan.sweep_id,
            "org_id": plan.org_id,
            "plan": plan.hash,
            "mode": self.mode.value,
            "by_reason": json.dumps(plan.kept_by),
            "stopped_by": " ".join(outcome.stopped),
        }
        counts = {
            "seen": plan.seen,
            "due": plan.due,
            "kept": plan.kept,
            "failed": plan.failed,
            "sent": outcome.sent,
            "estimated_minutes": plan.estimated_minutes,
        }
        payload = {"schema_version": SCHEMA_VERSION, **facts, **{name: str(count) for name, count in counts.items()}}
        self.bus.announce(_EVENTS[outcome.signal], payload)
        self._record_outcome(outcome, facts)
        self.metrics.emit(outcome.signal, {**facts, **counts})

    def _record_outcome(self, outcome: PlanOutcome, facts: dict[str, str]) -> None:
        plan, stopped_by = outcome.plan, facts["stopped_by"]
        if outcome.signal is Metric.PLAN_REVERTED:
            self.record(What.PLAN_REVERTED, plan.org_id, plan.hash, outcome.detail or stopped_by, by=outcome.by)
        elif outcome.stopped:
            self.record(What.PLAN_STOPPED, plan.org_id, plan.hash, stopped_by, by=outcome.by)
            if self.applications.reverted_by(plan) is None:
                # A plan that people reverted raises no alarm.
                self.metrics.emit(Metric.PLAN_STOPPED, facts)
        elif outcome.sent:
            reason = outcome.detail or f"{outcome.sent} commands sent"
            self.record(What.PLAN_APPLIED, plan.org_id, plan.hash, reason, by=outcome.by)
