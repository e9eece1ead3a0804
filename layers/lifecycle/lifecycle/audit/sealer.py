"""The writer of the audit trail: it turns the records of each hour into a segment.

It may run late, twice or after days without a run. A writer holds a lease on the head, longer than a process can live.
The head names the hour before the segment is written, and the segment once it exists. After a crash between the two,
the next run adopts the segment as it is, and newer records go into the next segment.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from lifecycle.audit.chain import Head, Segment, SegmentHeader, hour_of, key_of, start_of
from lifecycle.audit.store import KEEP, AuditStore
from lifecycle.aws.dynamodb import Contention
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.s3 import Objects
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Retryable

LEASE = timedelta(minutes=20)
"""Longer than the timeout of the function, so a writer whose lease expired is not running."""
PATIENCE = timedelta(minutes=15)
"""How long after its end an hour is sealed. AWS refuses calls from a clock that is five minutes off."""
_HOUR = timedelta(hours=1)
_RESERVE = 120.0
"""In seconds. With less time left no hour is started: a hundred thousand records take about a minute."""


@dataclass(slots=True)
class _Chain:
    """The head, held by this writer, with its version."""

    trail: AuditStore
    head: Head
    version: int

    def move(self, head: Head) -> None:
        self.version = self.trail.move(head, self.version)
        self.head = head


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Seals every hour that is complete and not sealed yet, in order."""

    trail: AuditStore
    objects: Objects
    metrics: Metrics
    clock: Callable[[], datetime]
    time_left: Callable[[], float]

    def seal(self) -> bool:
        """Seal all hours that are due. ``False`` if work is left: another writer is running, or the time ran out."""
        head, version = self.trail.head()
        now = self.clock()
        newest = hour_of(now - PATIENCE - _HOUR)
        if head is None:
            head = Head(through=hour_of(now - KEEP - _HOUR))
        if head.through >= newest:
            self._tell(head)
            return True
        if head.lease_until > millis(now):
            return False
        chain = _Chain(self.trail, head, version)
        try:
            chain.move(replace(head, lease_until=millis(now + LEASE)))
            with self._letting_go(chain), TemporaryDirectory() as scratch:
                complete = self._seal_until(newest, chain, Path(scratch))
        except Contention:
            # Another writer was first, or AWS's client wrote twice. The head has the progress; the next run continues.
            return False
        if complete:
            self._tell(chain.head)
        return complete

    def _seal_until(self, newest: str, chain: _Chain, scratch: Path) -> bool:
        self._take_up(chain, scratch)
        # Older rows have expired.
        hour = max(start_of(chain.head.through) + _HOUR, self.clock() - KEEP - _HOUR)
        while hour_of(hour) <= newest:
            if self.time_left() < _RESERVE:
                return False
            self._seal(hour_of(hour), chain, scratch)
            hour += _HOUR
        return True

    def _seal(self, hour: str, chain: _Chain, scratch: Path) -> None:
        late = self._late(hour_of(start_of(hour) - _HOUR), chain.head, scratch)
        segment = Segment.following(chain.head, hour, self.trail.lines(hour), late)
        if not segment.lines:
            chain.head = replace(chain.head, through=hour)
            return
        chain.move(replace(chain.head, pending=hour))
        path, sha256 = scratch / "segment", hashlib.sha256()
        with path.open("wb") as file:
            for line in segment.encoded():
                file.write(line)
                sha256.update(line)
        self.objects.put_file(key_of(hour, segment.heading.segment), path, kind="application/x-ndjson")
        chain.move(_named(chain.head, segment.heading, sha256.hexdigest()))

    def _late(self, hour: str, head: Head, scratch: Path) -> list[str]:
        """The records of an hour that arrived after it was sealed; all of them if its segment is missing."""
        lines = self.trail.lines(hour)
        path = scratch / "before"
        if not lines or not self.objects.fetch(key_of(hour, head.segment), path):
            return lines
        with path.open("rb") as file:
            sealed = {hashlib.sha256(line.rstrip(b"\n")).digest() for line in file}
        return [line for line in lines if hashlib.sha256(line.encode()).digest() not in sealed]

    def _take_up(self, chain: _Chain, scratch: Path) -> None:
        """Record in the head a segment that an earlier writer wrote before it crashed."""
        head, path = chain.head, scratch / "pending"
        if not head.pending or not self.objects.fetch(key_of(head.pending, head.segment + 1), path):
            return
        with path.open("rb") as file:
            heading = SegmentHeader.parse(file.readline())
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if heading is not None and (heading.segment, heading.previous) == (head.segment + 1, head.sha256):
            chain.move(_named(head, heading, sha256))

    @contextmanager
    def _letting_go(self, chain: _Chain) -> Iterator[None]:
        """End the lease, so that the next writer need not wait for it.

        After a crash, or a write with an unknown effect, the lease is left to expire: the write may still arrive.
        """
        try:
            yield
        except Retryable:
            if not chain.head.pending:
                with suppress(Retryable, Contention):
                    chain.move(replace(chain.head, lease_until=0))
            raise
        chain.move(replace(chain.head, lease_until=0))

    def _tell(self, head: Head) -> None:
        self.metrics.emit(Metric.AUDIT_SEALED, {"segment": head.segment, "hour": head.hour, "through": head.through})


def _named(head: Head, heading: SegmentHeader, sha256: str) -> Head:
    return replace(head, segment=heading.segment, sha256=sha256, hour=heading.hour, through=heading.hour, pending="")
