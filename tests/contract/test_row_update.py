"""The loop that reads, decides and writes, in memory and in DynamoDB."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from lifecycle.audit.chain import Record, What
from lifecycle.audit.store import audit_row
from lifecycle.aws.dynamodb import Contention, Key, Put, Row, VersionedTable
from lifecycle.aws.row_codec import values_of
from lifecycle.aws.row_update import TRIES, RowDecision, update, update_rows
from lifecycle.domain.errors import Throttled

KEY, OTHER = Key("pace#a", "pace"), Key("pace#b", "pace")
AT = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp() * 1000)


@dataclass(frozen=True)
class Count:
    number: int = 0
    note: str | None = None


def add_one(before: Count | None) -> Count:
    known = before or Count()
    return replace(known, number=known.number + 1)


@dataclass
class Overtaken:
    """Another writer changes the row right before the next ``times`` writes."""

    rows: VersionedTable
    times: int

    def read(self, *keys: Key) -> list[Row | None]:
        return self.rows.read(*keys)

    def write(self, *changes: Put) -> None:
        if self.times:
            self.times -= 1
            [row] = self.rows.read(changes[0].key)
            self.rows.write(Put(changes[0].key, values_of(Count(100)), row.version if row else 0))
        self.rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        return self.rows.partition(pk)


def test_a_change_starts_from_the_stored_row(rows: VersionedTable) -> None:
    assert update(rows, KEY, Count, add_one) == Count(1)
    assert update(rows, KEY, Count, add_one) == Count(2)


def test_after_contention_a_change_is_decided_again_from_the_new_row(rows: VersionedTable) -> None:
    assert update(Overtaken(rows, 2), KEY, Count, add_one) == Count(101)


def test_after_too_many_tries_the_caller_is_told_to_wait(rows: VersionedTable) -> None:
    assert update(Overtaken(rows, TRIES - 1), KEY, Count, add_one) == Count(101)
    with pytest.raises(Throttled):
        update(Overtaken(rows, TRIES), KEY, Count, add_one)


def test_an_unchanged_row_is_not_written(rows: VersionedTable) -> None:
    update(rows, KEY, Count, add_one)
    assert update(rows, KEY, Count, lambda before: before) == Count(1)
    assert update(rows, OTHER, Count, lambda before: before) is None
    assert [row.version if row else 0 for row in rows.read(KEY, OTHER)] == [1, 0]


def test_none_is_stored_and_read_as_none(rows: VersionedTable) -> None:
    update(rows, KEY, Count, add_one)
    [row] = rows.read(KEY)
    assert row is not None
    assert row.values == {"number": 1, "note": None}


def test_the_audit_row_is_written_with_the_change_or_not_at_all(rows: VersionedTable) -> None:
    def audit(after: Count, attempt: int) -> Put:
        return audit_row(Record(at=AT + attempt, what=What.PAUSE_SET, org_id="a", reason=str(after.number)))

    update(Overtaken(rows, 1), KEY, Count, add_one, audit=audit)
    [line] = [str(row.values["line"]) for row in rows.partition("audit#2026-08-01T00").values()]
    assert '"101"' in line


def test_several_rows_are_decided_and_written_together(rows: VersionedTable) -> None:
    def decide(seen: list[Row | None], attempt: int) -> RowDecision[int]:
        if attempt == 0:
            raise Contention
        return RowDecision(attempt, [Put(key, {"number": 7}, 0) for key, _ in zip((KEY, OTHER), seen, strict=True)])

    assert update_rows(rows, [KEY, OTHER], decide, busy="Busy.") == 1
    assert [row.values["number"] for row in rows.read(KEY, OTHER) if row] == [7, 7]
