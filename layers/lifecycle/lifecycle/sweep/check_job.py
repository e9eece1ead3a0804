"""The daily check: runs the preflight, wakes overdue commands and reminds approvers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle.approvals.rules import About
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Put, Value, VersionedTable
from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.metrics import Measure, Metrics
from lifecycle.deletion.safeguards import announce_request
from lifecycle.domain.clock import millis
from lifecycle.execution.wakeup_check import WakeupService
from lifecycle.sweep.digest import hours_since_finished
from lifecycle.sweep.plan_job import PlanJob

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckJob:
    """Checks one organization."""

    rows: VersionedTable
    plan_job: PlanJob
    waking: WakeupService
    approvals: ApprovalStore
    bus: Bus
    metrics: Metrics
    clock: Callable[[], datetime]

    def run(self, org_id: str, check: str) -> None:
        """Do the housekeeping once, then retry the preflight until it succeeds or the next check takes over.

        ``check`` names this check; the schedule uses its own time.
        """
        scheduled, now = _scheduled(check), self.clock()
        self._housekeeping(org_id, check, scheduled or now)
        if scheduled is None or now - scheduled < _DAY:
            self.plan_job.preflight.tell(org_id, self.plan_job.look(org_id))

    def _housekeeping(self, org_id: str, check: str, until: datetime) -> None:
        """Wake overdue commands and remind approvers of what became due since the last completed check.

        The record is written last: a check that is cut off in between repeats this, and no other check does.
        """
        key = table_keys.sweeps(org_id, "checked")
        [row] = self.rows.read(key)
        if row is not None and row.values.get("check") == check:
            return
        since = datetime.fromisoformat(str(row.values["until"])) if row is not None else until - _DAY
        self.waking.wake(org_id, self.clock())
        self.metrics.measure(Measure.SWEEP_AGE, hours_since_finished(self.rows, org_id, self.clock()))
        self._tell_approvers(org_id, since, until)
        values: dict[str, Value] = {"check": check, "until": max(since, until).isoformat()}
        self.rows.write(Put(key, values, row.version if row is not None else 0))

    def _tell_approvers(self, org_id: str, since: datetime, until: datetime) -> None:
        """Remind people of plans and announce expired requests. A single delete does this itself when it comes back."""
        for request in self.approvals.due_notices(org_id, since, until):
            if request.about == About.PLAN:
                announce_request(self.bus, request, millis(self.clock()))


def _scheduled(name: str) -> datetime | None:
    """The time in the name that the schedule gave the message; ``None`` if a person named it."""
    try:
        moment = datetime.fromisoformat(name)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
