"""The daily check for commands that are overdue and that no schedule will enqueue."""

from dataclasses import dataclass
from datetime import datetime

from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Queue
from lifecycle.execution.wakeups import Wakeups


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeupService:
    """The rows of waiting commands, and the queues for them."""

    wakeups: Wakeups
    ordinary: Queue
    permanent: Queue
    metrics: Metrics

    def wake(self, org_id: str, now: datetime) -> int:
        """Enqueue each command that is open and overdue, and return how many. Idempotent: the ledger ignores copies."""
        woken = 0
        for command in self.wakeups.overdue(org_id, now):
            queue = self.permanent if command.capability.permanent else self.ordinary
            queue.send(command.to_json())
            self.metrics.emit(Metric.WOKEN, {"intent_id": command.intent_id, "org_id": org_id})
            woken += 1
        return woken
