"""The commands that ended last, from the audit rows of each hour. No table is scanned."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle.audit.chain import Record, What, hour_of
from lifecycle.audit.store import AuditStore
from lifecycle.aws.dynamodb import VersionedTable
from lifecycle.domain.clock import moment
from lifecycle.execution.wakeups import Wakeups

HOUR = timedelta(hours=1)
_HOURS = 48


@dataclass(frozen=True, slots=True)
class Filter:
    """Which commands are wanted. A blank field allows everything."""

    org_id: str = ""
    source: str = ""
    status: str = ""
    thing: str = ""
    by: str = ""

    def allows(self, record: Record) -> bool:
        """Whether a record is the outcome of such a command."""
        return (
            record.what == What.INTENT_CONCLUDED
            and self.org_id in {"", record.org_id}
            and self.source in {"", record.source}
            and self.status in {"", record.status, record.code}
            and self.thing in {"", record.id, record.intent_id}
            and self.by.casefold() in record.by.casefold()
        )


def newest(store: AuditStore, wanted: Filter, now: datetime, *, most: int, hours: int) -> list[Record]:
    """The ``most`` commands that ended last within so many hours, the oldest of them first."""
    found: list[Record] = []
    for back in range(hours):
        found = [*_of_hour(store, wanted, now - back * HOUR), *found]
        if len(found) >= most:
            break
    return found[-most:]


def since(store: AuditStore, wanted: Filter, begin: datetime, now: datetime) -> Iterator[Record]:
    """The commands that ended in the hours from ``begin`` to ``now``, the oldest first."""
    while hour_of(begin) <= hour_of(now):
        yield from _of_hour(store, wanted, begin)
        begin += HOUR


def last_of_source(rows: VersionedTable, org_id: str, source: str, now: datetime, *, waits: bool) -> datetime | None:
    """When the newest known command of a source came in, in UTC.

    ``waits``: its commands wait for their day, so each has a row of its own. Otherwise those that ended within two days
    are known, by the time of their end.
    """
    if waits:
        return max((one.issued_at for one in Wakeups(rows).commands(org_id) if one.source == source), default=None)
    found = newest(AuditStore(rows), Filter(org_id=org_id, source=source), now, most=1, hours=_HOURS)
    return moment(found[-1].at) if found else None


def _of_hour(store: AuditStore, wanted: Filter, at: datetime) -> list[Record]:
    records = [record for line in store.lines(hour_of(at)) if (record := Record.parse(line)) is not None]
    return sorted((one for one in records if wanted.allows(one)), key=lambda one: (one.at, one.intent_id))
