"""Tells people what a plan will act on once they were warned. It never acts, and no plan waits for it.

The job hands each message over to the chat queue. Whoever posts it records that it was delivered; only that counts.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from lifecycle.aws.dynamodb import Contention
from lifecycle.domain.errors import Code, Throttled
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.warning_marks import SentWarnings, WarningMarks
from lifecycle.policy.policy import Rule
from lifecycle.policy.warnings import WarningMark
from lifecycle.sweep.jobs import SweepJob
from lifecycle.sweep.state import NewestPlan, SweepState

_TRIES = 8
SHOWN = 20
"""How many things a warning lists. It counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningNotice:
    """One message to one recipient about everything that a sweep warns them of."""

    org_id: str
    plan: str
    sweep_id: str
    not_before: datetime
    """Nothing happens to any of them earlier (UTC). ``things`` say how many days each of them has."""
    things: tuple[WarningMark, ...]
    """The first ``SHOWN``."""
    count: int
    """Of all of them."""


class Warner(Protocol):
    """Knows who hears of a thing, and hands messages over to be posted."""

    def recipients(self, org_id: str, rule: Rule, thing: ResourceSnapshot) -> frozenset[str]:
        """Who is to hear of a thing before this rule acts on it. Empty if nobody can be reached."""

    def warn(self, recipient: str, notice: WarningNotice) -> None:
        """Hand one message over. Raises ``Retryable`` if that may work later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarnJob:
    """Hands over the warnings of one sweep: everything for one recipient is one message."""

    state: SweepState
    marks: WarningMarks
    warner: Warner
    clock: Callable[[], datetime]
    after_step: Callable[[], None] = field(default=lambda: None)
    """Called after each message was handed over; tests end the process there."""

    def run(self, job: SweepJob, org_id: str) -> None:
        """Hand over what was not delivered yet. Raises ``Retryable`` if it has to come back.

        A newer sweep takes over what an older one could not deliver.
        """
        newest = self.state.newest(org_id)
        if newest is None or newest.plan != job.plan:
            return
        for recipient, marks in self._by_recipient(org_id, newest).items():
            # First the record: what the message promises binds even if nobody records its delivery.
            self.marks.sent.try_to(org_id, newest.sweep_id, recipient, self.clock())
            self.warner.warn(recipient, self._notice(org_id, newest, marks))
            self.after_step()

    def _by_recipient(self, org_id: str, newest: NewestPlan) -> dict[str, list[WarningMark]]:
        told = self.marks.sent.deliveries(org_id, newest.sweep_id).told
        found: defaultdict[str, list[WarningMark]] = defaultdict(list)
        for mark in self.marks.of_plan(org_id, newest.plan):
            if mark.sweep_id == newest.sweep_id:
                for recipient in mark.pending - told.keys():
                    found[recipient].append(mark)
        return found

    def _notice(self, org_id: str, newest: NewestPlan, marks: list[WarningMark]) -> WarningNotice:
        return WarningNotice(
            org_id=org_id,
            plan=newest.plan,
            sweep_id=newest.sweep_id,
            not_before=self.clock() + timedelta(days=min(mark.days for mark in marks)),
            things=tuple(marks[:SHOWN]),
            count=len(marks),
        )


@dataclass(frozen=True, slots=True)
class WarningDeliveries:
    """For whoever posts warnings: whether a message is still wanted, and that it arrived."""

    state: SweepState
    sent: SentWarnings

    def is_wanted(self, org_id: str, plan: str, sweep_id: str, recipient: str) -> bool:
        """Whether to post it: no newer sweep has taken over, and the recipient does not have it yet."""
        newest = self.state.newest(org_id)
        current = newest is not None and newest.plan == plan
        return current and recipient not in self.sent.deliveries(org_id, sweep_id).told

    def record(self, org_id: str, sweep_id: str, recipient: str) -> None:
        """Record that the recipient has it. The days count from now. Raises ``Throttled`` if others write as well."""
        for _ in range(_TRIES):
            try:
                self.sent.deliver(org_id, sweep_id, recipient, self.state.clock())
            except Contention:
                continue
            return
        raise Throttled(Code.BUSY, "Too many deliveries of one sweep are recorded at once.", retry_after=1)
