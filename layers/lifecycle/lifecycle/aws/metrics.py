"""Log lines and metrics for operators: one of each for every event. Never a payload, header or secret."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from aws_lambda_powertools.metrics import MetricUnit

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools import Metrics as EmfMetrics


class Metric(StrEnum):
    """The names of the metrics; alarms in ``template.yaml`` refer to them."""

    ACCEPTED = "Accepted"
    REFUSED = "Refused"
    IGNORED = "Ignored"
    SIGNATURE_REFUSED = "SignatureRefused"
    DONE = "Done"
    UNCHANGED = "Unchanged"
    REJECTED = "Rejected"
    SUPERSEDED = "Superseded"
    EXPIRED = "Expired"
    DEAD_LETTERED = "DeadLettered"
    POISON = "Poison"
    PAGED = "Paged"
    """A dead letter whose code means that something is broken: see ``domain/failures.py``."""
    UNTRANSLATABLE = "Untranslatable"
    """A delivery that fits no rule of its source. One alarm covers an hour, because a source may send hundreds."""
    SWEEP_FINISHED = "SweepFinished"
    AUDIT_SEALED = "AuditSealed"
    PLAN_APPLIED = "PlanApplied"
    PLAN_REVERTED = "PlanReverted"
    PLAN_STOPPED = "PlanStopped"
    PREFLIGHT_FAILED = "PreflightFailed"
    TOKEN_AGING = "TokenAging"  # noqa: S105 # nosec B105 - the name of a metric
    REPLY_FAILED = "ReplyFailed"
    NOTICE_FAILED = "NoticeFailed"
    RETRIED = "Retried"
    THROTTLED = "Throttled"
    ASKED_TO_WAIT = "AskedToWait"
    """Tallyfy answered 429, or 503 with ``Retry-After``. ``Throttled`` also counts waits for our own rate."""
    OUTAGE = "Outage"
    """The breaker of an organization opened: calls about several resources failed, and only probes are sent."""
    OUTAGE_OVER = "OutageOver"
    PAUSED = "Paused"
    PARKED = "Parked"
    WOKEN = "Woken"
    """A scheduled command that its schedule did not enqueue."""
    APPROVED = "Approved"
    APPROVAL_REJECTED = "ApprovalRejected"
    APPROVAL_WITHDRAWN = "ApprovalWithdrawn"
    DUPLICATE = "Duplicate"
    UNEXPECTED = "Unexpected"
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105 # nosec B105 - the name of a metric


class Measure(StrEnum):
    """The names of the metrics with a unit; each name contains it."""

    DEAD_LETTER_AGE = "DeadLetterAge"
    """Seconds since the oldest dead letter was sent. Emitted once a day."""
    SWEEP_AGE = "SweepAge"
    """Hours since the last sweep of an organization finished. Emitted once a day. CloudWatch has no unit for hours."""


_UNITS = {Measure.DEAD_LETTER_AGE: MetricUnit.Seconds, Measure.SWEEP_AGE: MetricUnit.Count}


class Metrics(Protocol):
    """Emits log lines and metrics."""

    def emit(self, signal: Metric, facts: Mapping[str, str | int]) -> None:
        """Log and count an event. ``facts`` may contain only ids, codes and reasons."""

    def measure(self, measure: Measure, value: float) -> None:
        """Emit one value of a metric."""


@dataclass(slots=True)
class MemoryMetrics:
    """Keeps emitted signals in memory, for tests."""

    counts: Counter[Metric] = field(default_factory=Counter)
    notes: list[tuple[Metric, Mapping[str, str | int]]] = field(default_factory=list)
    measures: list[tuple[Measure, float]] = field(default_factory=list)

    def emit(self, signal: Metric, facts: Mapping[str, str | int]) -> None:
        """See ``Metrics``."""
        self.counts[signal] += 1
        self.notes.append((signal, facts))

    def measure(self, measure: Measure, value: float) -> None:
        """See ``Metrics``."""
        self.measures.append((measure, value))


class PowertoolsMetrics:
    """Structured logs and CloudWatch's embedded metric format, through Powertools."""

    def __init__(self, logger: "Logger", emf: "EmfMetrics") -> None:
        self._logger = logger
        self._emf = emf

    def emit(self, signal: Metric, facts: Mapping[str, str | int]) -> None:
        """See ``Metrics``."""
        self._emf.add_metric(name=signal.value, unit=MetricUnit.Count, value=1)
        self._logger.info(signal.value, extra=dict(facts))

    def measure(self, measure: Measure, value: float) -> None:
        """See ``Metrics``."""
        self._emf.add_metric(name=measure.value, unit=_UNITS[measure], value=value)
