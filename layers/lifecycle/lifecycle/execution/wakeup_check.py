"""The daily check for commands that are overdue and that no schedule will enqueue."""

from dataclasses import dataclass
from datetime import datetime

from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Queue
from lifecycle.domain.intent import OPEN
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.wakeups import Wakeups


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeupService:
    """The rows of waiting commands, and the queues for them."""

    wakeups: Wakeups
    ledger: Ledger
    ordinary: Queue
    permanent: Queue
    metrics: Metrics

    def wake(self, org_id: str, now: datetime) -> int:
        """Enqueue each command that is open and overdue, and return how many. Idempotent: the ledger ignores copies."""
        woken = 0
        for command in self.wakeups.overdue(org_id, now):
            intent = self.ledger.find(command.intent_id)
            # A command of a plan that waits for its grace period has no row until a worker starts it.
            if intent is not None and intent.status not in OPEN:
                continue
            queue = self.permanent if command.capability.permanent else self.ordinary
            queue.send(command.to_json())
            self.metrics.emit(Metric.WOKEN, {"intent_id": command.intent_id, "org_id": org_id})
            woken += 1
        return woken
