"""Which outcomes a batch of messages has announced, in one row instead of one write for each command.

A command that ends stores the name of its batch. The row of that name is written once the bus has taken the outcomes,
and lists the commands. A command whose batch has no row, or is not in it, is announced again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Put, VersionedTable
from lifecycle.domain.intent import IntentRow


class AnnouncementBatch:
    """The batch that this process works on. ``keep`` is how long its row stays."""

    def __init__(self, rows: VersionedTable, keep: timedelta, clock: Callable[[], datetime]) -> None:
        self._rows = rows
        self._keep = keep
        self._clock = clock
        self.name = _new_name()

    def begin(self) -> None:
        """Start another batch."""
        self.name = _new_name()

    def record(self, intent_ids: Sequence[str]) -> None:
        """Record that these commands were announced. Raises ``Retryable`` if the row cannot be written."""
        expires_at = int((self._clock() + self._keep).timestamp())
        self._rows.write(Put(table_keys.announced(self.name), {"intents": list(intent_ids)}, 0, expires_at))

    def has_announced(self, batch: str, intent_id: str) -> bool:
        """Whether a batch has announced a command. Raises ``Retryable`` if the row cannot be read."""
        [row] = self._rows.read(table_keys.announced(batch))
        listed = row.values.get("intents") if row is not None else None
        return isinstance(listed, Sequence) and intent_id in listed


def in_batch(intent: IntentRow, batch: AnnouncementBatch | None) -> IntentRow:
    """A command that has just ended, with the name of the batch that will announce it."""
    return replace(intent, announced_in=batch.name if batch is not None else "")


def _new_name() -> str:
    return uuid4().hex
