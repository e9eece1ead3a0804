"""What became of an intent, for whoever holds its id: status and reason, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lifecycle.domain.clock import millis, moment
from lifecycle.domain.errors import Code, Rejected, Throttled
from lifecycle.domain.intent import IntentRow, Status
from lifecycle.domain.intent_ids import is_ours
from lifecycle.execution.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Lookup:
    """Reads only."""

    ledger: Ledger
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]

    def status_of(self, intent_id: str) -> tuple[Status, str]:
        """Status and reason. Raises ``Rejected`` for an id that this stack never gave out, or has no record of."""
        if not is_ours(self.id_key(), intent_id):
            raise Rejected(Code.UNKNOWN_INTENT, "This stack has given out no such id. Check that it was copied whole.")
        try:
            row = self.ledger.find(intent_id)
        except Throttled as newer:
            return Status.WAITING, newer.reason
        if row is None:
            raise Rejected(
                Code.UNKNOWN_INTENT,
                "The ledger has no record of this command. It belongs to a plan and no worker has begun it, or it is "
                "older than the ledger keeps (LedgerDays).",
            )
        return row.status, row.reason or self._where(row)

    def _where(self, row: IntentRow) -> str:
        """Where a command lies that no worker has begun."""
        now = millis(self.clock())
        if row.due_at > now:
            return f"It waits in a schedule until {moment(row.due_at):%Y-%m-%d %H:%M} UTC."
        if row.not_after < now:
            return "No worker has begun it, and its time has passed. Ask again if it is still meant."
        return "It was accepted. No worker has begun it yet."
