"""What became of an intent, for whoever holds its id: status and reason, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from lifecycle.adapters.ledger import Ledger
from lifecycle.judgement.transitions import Status
from lifecycle.words.errors import Code, Rejected
from lifecycle.words.intents import is_ours


@dataclass(frozen=True, slots=True)
class Lookup:
    """Reads only."""

    ledger: Ledger
    id_key: Callable[[], bytes]

    def status_of(self, intent_id: str) -> tuple[Status, str]:
        """Status and reason. Raises ``Rejected`` for an id that this stack never gave out."""
        if not is_ours(self.id_key(), intent_id):
            raise Rejected(Code.UNKNOWN_INTENT, "This stack has given out no such id. Check that it was copied whole.")
        row = self.ledger.find(intent_id)
        if row is None:
            return Status.ACCEPTED, "It is in the queue."
        return row.status, row.reason
