"""The rows of the audit trail: records that are not sealed yet, by hour, and the head of the chain.

A change writes ``audit_row(record)`` in the same transaction, so that no change is without its record. If no row
changes, ``AuditStore.record`` writes the record alone.
"""

import re
from datetime import UTC, datetime, timedelta

from lifecycle.audit.chain import Head, Record, What, digest, hour_of, start_of
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Contention, Key, Put, Row, VersionedTable
from lifecycle.aws.row_codec import record_of, values_of
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Throttled

KEEP = timedelta(days=30)
"""How long a row stays. Its hour is sealed long before."""
_LINE = re.compile(r'\{"at":[0-9]{13},[ -~]+\}')
"""The form of every line, so that lines sort by time. A line may have fields of a later release."""


def audit_row(record: Record) -> Put:
    """The row of a record, for a transaction.

    Its key follows from the record. Writing the same record twice raises ``Contention``, see ``with_unique_time``.
    """
    line = record.to_line()
    again = f".{record.redrive}" if record.redrive else ""
    name = f"{record.intent_id}{again}" if record.what == What.INTENT_CONCLUDED else digest(line)[:32]
    hour = hour_of(datetime.fromtimestamp(record.at / 1000, UTC))
    key = Key(table_keys.audit_hour(hour), f"{record.at:013}#{name}#{record.what}")
    return Put(key, {"line": line}, 0, record.at // 1000 + int(KEEP.total_seconds()))


def with_unique_time(rows: VersionedTable, record: Record) -> Record:
    """The record, with a later time if an equal record exists.

    For a caller that met contention and may have recorded the same, such as a hold set twice in a millisecond.
    """
    while rows.read(audit_row(record).key) != [None]:
        record = record.model_copy(update={"at": record.at + 1})
    return record


class AuditStore:
    """Records as they were written, and the versioned head."""

    def __init__(self, rows: VersionedTable) -> None:
        self._rows = rows

    def record(self, record: Record) -> None:
        """Write a record alone. Repeating the call changes nothing. Raises ``Retryable`` if it cannot be written."""
        change = audit_row(record)
        try:
            self._rows.write(change)
        except Contention:
            if self._rows.read(change.key) == [None]:
                raise Throttled(Code.UNAVAILABLE, "The audit record could not be written now.", retry_after=1) from None

    def lines(self, hour: str) -> list[str]:
        """The lines of an hour's records, unsorted."""
        return [_line_of(hour, name, row) for name, row in self._rows.partition(table_keys.audit_hour(hour)).items()]

    def head(self) -> tuple[Head | None, int]:
        """The head of the chain and the version of its row; ``None`` before the first segment."""
        [row] = self._rows.read(table_keys.AUDIT_HEAD)
        if row is None:
            return None, 0
        return record_of(Head, row.values), row.version

    def move(self, head: Head, seen: int) -> int:
        """Write the head and return its new version. Raises ``Contention`` if another writer did so first."""
        self._rows.write(Put(table_keys.AUDIT_HEAD, values_of(head), seen))
        return seen + 1


def _line_of(hour: str, name: str, row: Row) -> str:
    """The line of a row. An unreadable row gets a line with its hash, so that no row is skipped silently."""
    line = row.values.get("line")
    if isinstance(line, str) and _LINE.fullmatch(line) and Record.parse(line) is not None:
        return line
    evidence = digest(repr(sorted(row.values.items())))
    return Record(at=millis(start_of(hour)), what=What.UNREADABLE, id=name, evidence=evidence).to_line()
