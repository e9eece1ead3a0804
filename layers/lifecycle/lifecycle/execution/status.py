"""What became of an intent, for whoever holds its id: nothing of the thing itself."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from lifecycle.domain.clock import millis, moment
from lifecycle.domain.errors import Code, Rejected, Throttled
from lifecycle.domain.intent import IntentRow, Status
from lifecycle.domain.intent_ids import is_ours
from lifecycle.execution.ledger import Ledger


class CommandState(NamedTuple):
    """Where a command is, and why. ``code`` is ``None`` until a worker has judged it."""

    status: Status
    reason: str
    code: str | None = None
    until: datetime | None = None
    """While it waits: until when at most, where that is known."""
    approval: str | None = None
    """While it waits for an approval: the hash of that request."""


@dataclass(frozen=True, slots=True)
class StatusService:
    """Reads only."""

    ledger: Ledger
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]

    def status_of(self, intent_id: str) -> CommandState:
        """Where a command is. Raises ``Rejected`` for an id that this stack never gave out, or has no record of."""
        if not is_ours(self.id_key(), intent_id):
            raise Rejected(Code.UNKNOWN_INTENT, "This stack has given out no such id. Check that it was copied whole.")
        try:
            row = self.ledger.find(intent_id)
        except Throttled as newer:
            return CommandState(Status.WAITING, newer.reason, newer.code.value)
        if row is None:
            raise Rejected(
                Code.UNKNOWN_INTENT,
                "The ledger has no record of this command. It belongs to a plan and no worker has begun it, or it is "
                "older than the ledger keeps (LedgerDays).",
            )
        if not row.reason:
            return self._not_begun(row)
        state = CommandState(row.status, row.reason, row.code or None)
        if row.status is not Status.WAITING:
            return state
        until = moment(row.waits_until) if row.waits_until else None
        return state._replace(until=until, approval=row.waits_for or None)

    def _not_begun(self, row: IntentRow) -> CommandState:
        now = millis(self.clock())
        if row.due_at > now:
            until = moment(row.due_at)
            return CommandState(row.status, f"It waits in a schedule until {until:%Y-%m-%d %H:%M} UTC.", until=until)
        return CommandState(row.status, self._where(row, now))

    def _where(self, row: IntentRow, now: int) -> str:
        if row.not_after < now:
            return "No worker has begun it, and its time has passed. Ask again if it is still meant."
        return "It was accepted. No worker has begun it yet."
