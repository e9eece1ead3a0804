"""The daily look for commands that should have come back by now and that nothing will wake."""

from dataclasses import dataclass
from datetime import datetime

from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Queue
from lifecycle.domain.intent import OPEN
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.wakeups import Wakeups


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeupService:
    """Where what waits is remembered, and the queues it belongs into."""

    wakeups: Wakeups
    ledger: Ledger
    ordinary: Queue
    permanent: Queue
    metrics: Metrics

    def wake(self, org_id: str, now: datetime) -> int:
        """Enqueue each command that is open and overdue; how many. Twice does nothing twice: the ledger decides."""
        woken = 0
        for command in self.wakeups.overdue(org_id, now):
            intent = self.ledger.find(command.intent_id)
            # One that has never been begun may have no row of its own: a command of a plan that waits for its grace.
            if intent is not None and intent.status not in OPEN:
                continue
            queue = self.permanent if command.capability.permanent else self.ordinary
            queue.send(command.to_json())
            self.metrics.emit(Metric.WOKEN, {"intent_id": command.intent_id, "org_id": org_id})
            woken += 1
        return woken
