"""The status of an intent, for a caller who has its id. It says nothing about the resource itself."""

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
    """The state of a command, and why. ``code`` is ``None`` until a worker has decided on the command."""

    status: Status
    reason: str
    code: str | None = None
    until: datetime | None = None
    """For a command that waits: until when at most; ``None`` if that is unknown."""
    approval: str | None = None
    """For a command that waits for an approval: the hash of the approval request."""


@dataclass(frozen=True, slots=True)
class StatusService:
    """Reads only."""

    ledger: Ledger
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]

    def status_of(self, intent_id: str) -> CommandState:
        """The status of a command. Raises ``Rejected`` for an id that this stack never issued or has no record of."""
        if not is_ours(self.id_key(), intent_id):
            raise Rejected(Code.UNKNOWN_INTENT, "This stack never issued this id. Check that you copied all of it.")
        try:
            row = self.ledger.find(intent_id)
        except Throttled as newer:
            return CommandState(Status.WAITING, newer.reason, newer.code.value)
        if row is None:
            raise Rejected(
                Code.UNKNOWN_INTENT,
                "The ledger has no record of this command. It belongs to a plan and no worker has started it, or it is "
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
            return CommandState(row.status, f"It is scheduled for {until:%Y-%m-%d %H:%M} UTC.", until=until)
        return CommandState(row.status, self._where(row, now))

    def _where(self, row: IntentRow, now: int) -> str:
        if row.not_after < now:
            return "No worker started it before its deadline. To carry it out, send it again with a new delivery id."
        return "It was accepted. No worker has started it yet."
