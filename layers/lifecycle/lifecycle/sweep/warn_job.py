"""Tells people what a plan will act on once they were warned. It never acts, and no plan waits for it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.warning_marks import WarningMarks
from lifecycle.policy.policy import Rule
from lifecycle.policy.warnings import WarningMark
from lifecycle.sweep.jobs import SweepJob
from lifecycle.sweep.state import NewestPlan, SweepState

SHOWN = 20
"""How many things a warning lists. It counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningNotice:
    """One message to one recipient about everything that a sweep warns them of."""

    org_id: str
    plan: str
    not_before: datetime
    """Nothing happens to any of them earlier (UTC). ``things`` say how many days each of them has."""
    things: tuple[WarningMark, ...]
    """The first ``SHOWN``."""
    count: int
    """Of all of them."""


class Warner(Protocol):
    """Knows who hears of a thing, and delivers."""

    def recipients(self, org_id: str, rule: Rule, thing: ResourceSnapshot) -> frozenset[str]:
        """Who is to hear of a thing before this rule acts on it. Empty if nobody can be reached."""

    def warn(self, recipient: str, notice: WarningNotice) -> None:
        """Deliver one message. Raises ``Retryable`` if that may work later, ``Rejected`` if it cannot."""


class NoWarner:
    """Where no chat tool is connected: nobody can be reached, so a rule that warns first keeps everything."""

    def recipients(self, org_id: str, rule: Rule, thing: ResourceSnapshot) -> frozenset[str]:  # noqa: ARG002 - nobody
        """Nobody."""
        return frozenset()

    def warn(self, recipient: str, notice: WarningNotice) -> None:  # noqa: ARG002 - nobody
        """Raise ``Rejected``."""
        raise Rejected(Code.INVALID, f"No chat tool is connected, so {recipient} cannot be warned.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WarnJob:
    """Sends the warnings of one sweep, each recipient's in one message, and records who got theirs."""

    state: SweepState
    marks: WarningMarks
    warner: Warner
    metrics: Metrics
    clock: Callable[[], datetime]
    after_step: Callable[[], None] = field(default=lambda: None)
    """Called after each message was sent, and again after it was recorded; tests end the process there."""

    def run(self, job: SweepJob, org_id: str) -> None:
        """Send what was not delivered yet. Raises ``Retryable`` if some recipients have to be tried again.

        A newer sweep takes over what an older one could not deliver.
        """
        self.state.lock(job, org_id)
        try:
            failed = self._send(job, org_id)
        finally:
            # No sweep waits for a chat tool that is out.
            self.state.unlock(job)
        if failed is not None:
            raise failed

    def _send(self, job: SweepJob, org_id: str) -> Retryable | None:
        newest = self.state.newest(org_id)
        if newest is None or newest.plan != job.plan:
            return None
        failed: Retryable | None = None
        for recipient, marks in self._by_recipient(org_id, newest).items():
            self.marks.try_to(org_id, newest.sweep_id, recipient, self.clock())
            try:
                self.warner.warn(recipient, self._notice(org_id, newest.plan, marks))
            except (Retryable, Rejected) as error:
                failed = error if isinstance(error, Retryable) else failed
                facts = {"org_id": org_id, "recipient": recipient, "code": error.code, "reason": error.reason}
                self.metrics.emit(Metric.NOTICE_FAILED, facts)
                continue
            self.after_step()
            self.marks.deliver(org_id, newest.sweep_id, recipient, self.clock())
            self.after_step()
        return failed

    def _by_recipient(self, org_id: str, newest: NewestPlan) -> dict[str, list[WarningMark]]:
        told = self.marks.deliveries(org_id, newest.sweep_id).told
        found: defaultdict[str, list[WarningMark]] = defaultdict(list)
        for mark in self.marks.of_plan(org_id, newest.plan):
            if mark.sweep_id == newest.sweep_id:
                for recipient in mark.pending - told.keys():
                    found[recipient].append(mark)
        return found

    def _notice(self, org_id: str, plan: str, marks: list[WarningMark]) -> WarningNotice:
        return WarningNotice(
            org_id=org_id,
            plan=plan,
            not_before=self.clock() + timedelta(days=min(mark.days for mark in marks)),
            things=tuple(marks[:SHOWN]),
            count=len(marks),
        )
