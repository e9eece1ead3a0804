"""What the daily check reports: the waiting dead letters, and the hours since each organization's last sweep."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put, VersionedTable
from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.metrics import Measure, Metrics
from lifecycle.aws.sqs import Message, Queue
from lifecycle.domain.events import SCHEMA_VERSION
from lifecycle.domain.failures import SET_ASIDE_BY_AWS
from lifecycle.sweep.daily_news import DailyNews, News, listed

EVENT = "lifecycle.digest"
_HIDDEN_SECONDS = 60
_MOST = 1000
"""How many dead letters of each queue are read. All of them are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The dead-letter queues by name, and where their contents are reported."""

    queues: Mapping[str, Queue]
    bus: Bus
    metrics: Metrics
    clock: Callable[[], datetime]
    news: DailyNews | None = None

    def tell(self) -> None:
        """Emit the age of the oldest dead letter, and announce the digest unless it is empty.

        Raises ``Retryable`` if a queue, the table, the store of plans or the bus is out.
        """
        letters = {name: _peek(queue) for name, queue in self.queues.items()}
        # SQS's count is approximate; the letters that were read certainly exist.
        counts = {name: max(queue.depth(), len(letters[name])) for name, queue in self.queues.items()}
        seen = [message for some in letters.values() for message in some]
        # SentTimestamp and not failed_at: SQS counts the 14 days from it, and every letter has one. It stays the first
        # one where SQS itself moves a message.
        oldest = max((self.clock() - message.sent_at for message in seen), default=timedelta())
        self.metrics.measure(Measure.DEAD_LETTER_AGE, max(0.0, oldest.total_seconds()))
        news = self.news.read() if self.news else News()
        if not any(counts.values()) and not news:
            return
        codes = Counter(message.attributes.get("code") or SET_ASIDE_BY_AWS for message in seen)
        self.bus.announce(
            EVENT,
            {
                "schema_version": SCHEMA_VERSION,
                "counted_at": self.clock().isoformat(),
                "total": str(sum(counts.values())),
                "queues": listed(counts) or "none",
                "codes": listed(codes) or ("not seen" if any(counts.values()) else "none"),
                "oldest": str(oldest.days),
                **news.facts(),
            },
        )


def record_finished(rows: VersionedTable, org_id: str, at: datetime) -> None:
    """Record when a sweep of an organization finished. Raises ``Contention`` if another caller wrote meanwhile."""
    key = _finished_key(org_id)
    [row] = rows.read(key)
    rows.write(Put(key, {"at": at.isoformat()}, row.version if row else 0))


def hours_since_finished(rows: VersionedTable, org_id: str, now: datetime) -> float:
    """How many hours ago the last sweep of an organization finished.

    If none ever did, the hours are counted from the first call of this function.
    """
    [row] = rows.read(_finished_key(org_id))
    if row is None:
        record_finished(rows, org_id, now)
        return 0.0
    return (now - datetime.fromisoformat(str(row.values["at"]))) / timedelta(hours=1)


def _finished_key(org_id: str) -> Key:
    return table_keys.sweeps(org_id, "finished")


def _peek(queue: Queue) -> list[Message]:
    """Read dead letters without deleting them. Each is hidden for a minute, so that the next read returns others."""
    seen: dict[str, Message] = {}
    while len(seen) < _MOST:
        new = {message.id: message for message in queue.receive(hidden_for=_HIDDEN_SECONDS) if message.id not in seen}
        if not new:
            break
        seen |= new
    return list(seen.values())
