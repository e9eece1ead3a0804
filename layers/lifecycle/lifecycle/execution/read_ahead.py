"""The rows that the claims of a batch need, read in one call instead of one call for each command.

A claim may be decided on rows that were read some seconds ago, because whatever it writes states their versions: if
somebody has written since, the write fails and the claim is decided again on new rows.
"""

import json
from collections.abc import Sequence
from contextlib import suppress

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put, Row, VersionedTable
from lifecycle.aws.sqs import Message

type _Pair = tuple[Key, ...]
"""What one claim reads: the row of its intent and the row of its resource."""


class ReadAhead:
    """A table for the ledger. Each pair of rows that was read ahead is used once, and not after it was written."""

    def __init__(self, rows: VersionedTable) -> None:
        self._rows = rows
        self._expected: list[_Pair] = []
        self._known: dict[_Pair, list[Row | None]] = {}
        self._most = 0

    def begin(self, messages: Sequence[Message]) -> None:
        """Start a batch. What was read for an earlier batch is forgotten."""
        self._known, self._most = {}, 0
        self._expected = [pair for message in messages if (pair := _pair_of(message)) is not None]

    def allow(self, commands: int) -> None:
        """How many commands may still start. Rows of others are not read ahead: their messages come back later."""
        self._most = commands

    def read(self, *keys: Key) -> list[Row | None]:
        """See ``VersionedTable``."""
        if keys in self._expected:
            self._fetch(keys)
        return self._known.pop(keys, None) or self._rows.read(*keys)

    def write(self, *changes: Put) -> None:
        """See ``VersionedTable``."""
        self._rows.write(*changes)
        changed = {change.key for change in changes}
        self._known = {pair: rows for pair, rows in self._known.items() if changed.isdisjoint(pair)}

    def insert(self, change: Put) -> Row | None:
        """See ``VersionedTable``."""
        return self._rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        """See ``VersionedTable``."""
        return self._rows.partition(pk)

    def _fetch(self, asked: _Pair) -> None:
        """Read a pair and those that are likely to be read next."""
        rest = [pair for pair in self._expected if pair != asked]
        pairs = [asked, *rest[: max(0, self._most - 1)]]
        self._expected = rest[len(pairs) - 1 :]
        rows = iter(self._rows.read(*(key for pair in pairs for key in pair)))
        self._known |= {pair: [next(rows) for _ in pair] for pair in pairs}


def _pair_of(message: Message) -> _Pair | None:
    """The rows that the command of a message needs; ``None`` where its resource must be searched first."""
    with suppress(ValueError, KeyError, TypeError):
        body = json.loads(message.body)
        org_id, kind, thing, intent = (body[name] for name in ("org_id", "resource", "id", "intent_id"))
        return table_keys.intent(intent), table_keys.resource(org_id, kind, thing)
    return None
