"""Reads rows, decides on a change and writes it if the versions are unchanged; otherwise it starts again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.aws.dynamodb import Contention, Key, Put, Row, VersionedTable
from lifecycle.aws.row_codec import record_of, values_of
from lifecycle.domain.errors import Code, Throttled

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TRIES = 8
"""How often a change is tried. Each failure means that another write succeeded."""


@dataclass(frozen=True, slots=True)
class RowDecision[T]:
    """The changes to write together, possibly none, and the result to return once they are written."""

    result: T
    changes: Sequence[Put] = ()


def update_rows[T](
    rows: VersionedTable,
    keys: Sequence[Key],
    decide: Callable[[list[Row | None], int], RowDecision[T]],
    *,
    busy: str,
    tries: int = TRIES,
) -> T:
    """Read ``keys``, call ``decide`` and write its changes. Returns the result of the decision.

    ``decide`` gets the rows in the order of ``keys`` and the number of the try, counted from 0. After each
    ``Contention`` it is called again with fresh rows. After ``tries`` tries, raises ``Throttled`` with ``busy``.
    """
    for attempt in range(tries):
        try:
            decision = decide(rows.read(*keys), attempt)
            if decision.changes:
                rows.write(*decision.changes)
        except Contention:
            continue
        return decision.result
    raise Throttled(Code.UNAVAILABLE, busy, retry_after=1)


def update[T: "DataclassInstance"](
    rows: VersionedTable,
    key: Key,
    kind: type[T],
    change: Callable[[T | None], T | None],
    *,
    audit: Callable[[T, int], Put] | None = None,
    expires_at: Callable[[T], int | None] = lambda _: None,
) -> T | None:
    """Change the record in one row. Returns the record afterwards; ``None`` if there is none.

    ``change`` gets the record or ``None`` and returns the new record. An unchanged record is not written. ``audit``
    makes the audit row for the same transaction from the new record and the number of the try. ``expires_at`` is in
    seconds, UTC. Raises ``Throttled`` if other writers keep changing the row.
    """

    def decide(seen: list[Row | None], attempt: int) -> RowDecision[T | None]:
        [row] = seen
        before = record_of(kind, row.values) if row is not None else None
        after = change(before)
        if after is None or after == before:
            return RowDecision(after if after is not None else before)
        put = Put(key, values_of(after), row.version if row else 0, expires_at(after))
        return RowDecision(after, [put] if audit is None else [put, audit(after, attempt)])

    return update_rows(rows, [key], decide, busy="Too many writers are changing the same row at the same time.")
