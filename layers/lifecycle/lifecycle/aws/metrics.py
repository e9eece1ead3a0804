"""What the operator sees: one log line and one count per thing that happened. Never a payload, header or secret."""

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
    """A dead letter whose code says that something is broken: see ``domain/failures.py``."""
    UNTRANSLATABLE = "Untranslatable"
    """A delivery that no rule of its source fits. One alarm for all of an hour: a source may send hundreds."""
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
    OUTAGE = "Outage"
    """The breaker of an organization opened: several things failed, and nothing is called but probes."""
    OUTAGE_OVER = "OutageOver"
    PAUSED = "Paused"
    PARKED = "Parked"
    WOKEN = "Woken"
    """A command that waited for its day and that nothing had brought back."""
    APPROVED = "Approved"
    APPROVAL_REJECTED = "ApprovalRejected"
    APPROVAL_WITHDRAWN = "ApprovalWithdrawn"
    DUPLICATE = "Duplicate"
    UNEXPECTED = "Unexpected"
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105 # nosec B105 - the name of a metric


class Measure(StrEnum):
    """The names of the metrics that are no counts; each says its unit."""

    DEAD_LETTER_AGE = "DeadLetterAge"
    """Seconds since the oldest dead letter was sent; once a day."""
    SWEEP_AGE = "SweepAge"
    """Hours since the last sweep of an organization finished; once a day for each. CloudWatch knows no hours."""


_UNITS = {Measure.DEAD_LETTER_AGE: MetricUnit.Seconds, Measure.SWEEP_AGE: MetricUnit.Count}


class Metrics(Protocol):
    """Where signals go."""

    def emit(self, signal: Metric, facts: Mapping[str, str | int]) -> None:
        """Log and count. ``facts`` are ids, codes and reasons only."""

    def measure(self, measure: Measure, value: float) -> None:
        """Emit one value of a metric."""


@dataclass(slots=True)
class MemoryMetrics:
    """Keeps what was signalled."""

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
