"""The writer of the audit trail: one intact chain with every record once, despite crashes and other writers."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.audit.chain import Head, Record, SegmentHeader, What, hour_of, key_of, segment_in, start_of, verify
from lifecycle.audit.sealer import LEASE, Sealer
from lifecycle.audit.store import KEEP, AuditStore
from lifecycle.aws.dynamodb import Contention, Key, MemoryTable, Put, Row, VersionedTable
from lifecycle.aws.metrics import MemoryMetrics, Metric
from lifecycle.aws.s3 import MemoryObjects, Objects
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Retryable
from tests.harness.builders import NOW, ORG, Clock
from tests.harness.fault_injection import ANY_WRITE, Crash, FaultInjector, FragileObjects, FragileRows, Harm, When

HOUR = timedelta(hours=1)
RUN = timedelta(minutes=20)
"""How many minutes after the hour the schedule starts a run."""


@dataclass
class Archive:
    """The state that outlives a process: the rows, the bucket and the records."""

    clock: Clock = field(default_factory=lambda: Clock(NOW))
    rows: MemoryTable = field(default_factory=MemoryTable)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    recorded: list[str] = field(default_factory=list)
    time_left: Callable[[], float] = lambda: 900.0

    def record(self, *moments: datetime) -> None:
        for moment in moments:
            made = Record(at=millis(moment) + len(self.recorded) % 997, what=What.PLAN_MADE, org_id=ORG, by="Ada")
            made = made.model_copy(update={"plan": str(len(self.recorded))})
            AuditStore(self.rows).record(made)
            self.recorded.append(made.to_line())

    def sealer(self, rows: VersionedTable | None = None, objects: Objects | None = None) -> Sealer:
        return Sealer(
            trail=AuditStore(rows or self.rows),
            objects=objects or self.objects,
            metrics=self.metrics,
            clock=self.clock,
            time_left=self.time_left,
        )

    def seal_at(self, moment: datetime) -> bool:
        self.clock.now = moment
        return self.sealer().seal()

    @property
    def bodies(self) -> list[bytes]:
        return [self.objects.bodies[key] for key in sorted(self.objects.bodies, key=segment_in)]

    @property
    def headings(self) -> list[SegmentHeader]:
        found = [SegmentHeader.parse(body.split(b"\n")[0]) for body in self.bodies]
        return [heading for heading in found if heading is not None]

    @property
    def head(self) -> Head:
        head, _ = AuditStore(self.rows).head()
        assert head is not None
        return head

    @property
    def sealed(self) -> list[str]:
        return [line for body in self.bodies for line in body.decode().splitlines()[1:]]

    def is_whole(self) -> None:
        """The sealed hours have every record once, and the chain has no break."""
        assert verify(self.bodies, self.head) == ()
        assert not self.head.pending
        assert Counter(self.sealed) == Counter(self.recorded)


@pytest.fixture
def archive() -> Archive:
    return Archive()


def test_an_hour_is_sealed_a_quarter_of_an_hour_after_its_end(archive: Archive) -> None:
    archive.record(NOW, NOW + timedelta(minutes=59, seconds=59))
    for minutes in (0, 60, 74, 75 - 1 / 60):
        assert archive.seal_at(NOW + timedelta(minutes=minutes))
        assert archive.bodies == []
    assert archive.seal_at(NOW + timedelta(minutes=75))
    archive.is_whole()
    assert list(archive.objects.bodies) == [key_of(hour_of(NOW), 1)]
    assert set(archive.objects.kinds.values()) == {"application/x-ndjson"}


def test_hours_are_sealed_in_order_and_an_empty_hour_makes_no_segment(archive: Archive) -> None:
    archive.record(NOW, NOW + HOUR, NOW + 4 * HOUR)
    for number in range(1, 7):
        assert archive.seal_at(NOW + number * HOUR + RUN)
    archive.is_whole()
    assert [heading.hour for heading in archive.headings] == [hour_of(NOW + n * HOUR) for n in (0, 1, 4)]
    assert archive.head.through == hour_of(NOW + 5 * HOUR)


def test_one_run_seals_all_missed_days_in_order(archive: Archive) -> None:
    archive.record(NOW)
    archive.seal_at(NOW + HOUR + RUN)
    rng = random.Random(4)
    archive.record(*(NOW + HOUR + timedelta(minutes=rng.randrange(5 * 24 * 60)) for _ in range(400)))
    assert archive.seal_at(NOW + timedelta(days=6))
    archive.is_whole()
    hours = [heading.hour for heading in archive.headings]
    assert hours == sorted(set(hours))
    assert len(hours) > 50


def test_a_second_run_changes_nothing(archive: Archive) -> None:
    archive.record(NOW)
    archive.seal_at(NOW + HOUR + RUN)
    before = (dict(archive.objects.bodies), dict(archive.rows.table))
    assert archive.seal_at(NOW + HOUR + RUN)
    assert before == (archive.objects.bodies, archive.rows.table)


def test_a_late_record_goes_into_the_next_segment_and_is_counted_as_late(archive: Archive) -> None:
    archive.record(NOW, NOW)
    archive.seal_at(NOW + HOUR + RUN)
    archive.record(NOW, NOW + HOUR)
    archive.seal_at(NOW + 2 * HOUR + RUN)
    archive.is_whole()
    assert [(heading.records, heading.late) for heading in archive.headings] == [(2, 0), (2, 1)]


def test_a_late_record_alone_makes_a_segment(archive: Archive) -> None:
    archive.record(NOW)
    archive.seal_at(NOW + HOUR + RUN)
    archive.record(NOW)
    archive.seal_at(NOW + 2 * HOUR + RUN)
    archive.record(NOW + 2 * HOUR)
    archive.seal_at(NOW + 3 * HOUR + RUN)
    archive.is_whole()
    assert [(heading.records, heading.late) for heading in archive.headings] == [(1, 0), (1, 1), (1, 0)]


def test_a_late_record_of_an_empty_hour_is_sealed(archive: Archive) -> None:
    archive.seal_at(NOW + HOUR + RUN)
    archive.record(NOW)
    archive.seal_at(NOW + 2 * HOUR + RUN)
    archive.is_whole()
    assert [(heading.hour, heading.late) for heading in archive.headings] == [(hour_of(NOW + HOUR), 1)]


def test_records_of_a_removed_segment_are_sealed_again(archive: Archive) -> None:
    archive.record(NOW, NOW)
    archive.seal_at(NOW + HOUR + RUN)
    archive.objects.bodies.clear()
    archive.record(NOW + HOUR)
    archive.seal_at(NOW + 2 * HOUR + RUN)
    assert Counter(archive.sealed) == Counter(archive.recorded)
    assert verify(archive.bodies, archive.head) == ("Segment 1 is missing.",)


def test_the_first_run_seals_all_records_before_it(archive: Archive) -> None:
    archive.record(NOW, NOW + timedelta(days=29))
    assert archive.seal_at(NOW + timedelta(days=29) + HOUR + RUN)
    archive.is_whole()
    assert archive.metrics.counts[Metric.AUDIT_SEALED] == 1


def test_after_a_year_without_runs_only_hours_with_unexpired_rows_are_read(archive: Archive) -> None:
    archive.record(NOW)
    archive.seal_at(NOW + HOUR + RUN)
    later = NOW + timedelta(days=365)
    archive.record(later)
    asked = Counting(archive.rows)
    archive.clock.now = later + HOUR + RUN
    assert archive.sealer(rows=asked).seal()
    archive.is_whole()
    assert asked.partitions <= 2 * (KEEP.days * 24 + 3)


@dataclass
class Counting:
    """Rows that count how often an hour is read."""

    rows: VersionedTable
    partitions: int = 0

    def read(self, *keys: Key) -> list[Row | None]:
        return self.rows.read(*keys)

    def write(self, *changes: Put) -> None:
        self.rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        self.partitions += 1
        return self.rows.partition(pk)


def test_an_unreadable_row_is_sealed_as_a_record_with_the_hash_of_its_content(archive: Archive) -> None:
    archive.record(NOW)
    partition = f"audit#{hour_of(NOW)}"
    by_hand: list[Mapping[str, str | int]] = [
        {},
        {"line": 5},
        {"line": "x"},
        {"line": '{"at":1764633600000,"what":"plan.made"}\n{"at":1}'},
        {"line": '{"what":"plan.made","at":1764633600000}'},
        {"line": '{"at":1764633600000,"what":5}'},
    ]
    for number, values in enumerate(by_hand):
        archive.rows.write(Put(Key(partition, f"odd {number}"), values, 0))
    archive.seal_at(NOW + HOUR + RUN)
    archive.seal_at(NOW + 2 * HOUR + RUN)
    assert verify(archive.bodies, archive.head) == ()
    kinds = Counter(record.what for line in archive.sealed if (record := Record.parse(line)))
    assert kinds == {What.PLAN_MADE: 1, What.UNREADABLE: len(by_hand)}


def test_a_record_of_a_later_release_is_sealed_unchanged(archive: Archive) -> None:
    line = f'{{"at":{millis(NOW)},"what":"thing.new","colour":"red"}}'
    archive.rows.write(Put(Key(f"audit#{hour_of(NOW)}", "x"), {"line": line}, 0))
    archive.seal_at(NOW + HOUR + RUN)
    assert archive.sealed == [line]


# --- death, and other writers ---------------------------------------------------------------------------------------


def prepared() -> Archive:
    """Four hours, of which the third is empty; the first is sealed."""
    archive = Archive()
    archive.record(*[NOW] * 3)
    archive.seal_at(NOW + HOUR + RUN)
    archive.record(NOW, *[NOW + HOUR] * 3, *[NOW + 3 * HOUR] * 2)
    archive.clock.now = NOW + 4 * HOUR + RUN
    return archive


def steps_of_a_run() -> int:
    archive = prepared()
    fuse = FaultInjector(ANY_WRITE, skip=10**6)
    archive.sealer(FragileRows(archive.rows, fuse), FragileObjects(archive.objects, fuse)).seal()
    return 10**6 - fuse.skip


STEPS = steps_of_a_run()


def test_a_run_writes_in_eight_steps() -> None:
    # Take the lease; for each of two segments: announce, write and record it; release the lease.
    assert STEPS == 8


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("harm", ["crash", "outage"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", range(STEPS))
def test_a_failure_at_any_step_leaves_a_chain_that_the_next_run_continues(
    step: int,
    when: When,
    harm: Harm,
    late: bool,  # noqa: FBT001 - a case
) -> None:
    archive = prepared()
    fuse = FaultInjector(ANY_WRITE, when=when, harm=harm, skip=step)
    with pytest.raises((Crash, Retryable)):
        archive.sealer(FragileRows(archive.rows, fuse), FragileObjects(archive.objects, fuse)).seal()
    if late:
        # The hour of the interrupted write has passed by now.
        archive.record(NOW + 3 * HOUR)
    archive.record(NOW + 4 * HOUR)
    # Until the next run a segment may be unfinished, which is not a break.
    assert verify(archive.bodies, archive.head) == ()
    assert archive.seal_at(NOW + 5 * HOUR + RUN)
    archive.is_whole()


def test_a_segment_that_was_written_is_adopted_and_never_rewritten() -> None:
    archive = prepared()
    fuse = FaultInjector("put", when="after")
    with pytest.raises(Crash):
        archive.sealer(FragileRows(archive.rows, fuse), FragileObjects(archive.objects, fuse)).seal()
    written = dict(archive.objects.bodies)
    archive.record(NOW + HOUR)
    archive.seal_at(NOW + 5 * HOUR + RUN)
    archive.is_whole()
    assert len(written) == 2
    assert {key: archive.objects.bodies[key] for key in written} == written


FOREIGN = (
    b"",
    b"x\n",
    b'{"segment":2,"hour":"2026-06-01T13","previous":"x","records":0,"late":0,"after":""}\n',
)


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_object_under_the_key_of_a_segment_is_not_adopted(foreign: bytes) -> None:
    archive = prepared()
    fuse = FaultInjector("put")
    with pytest.raises(Crash):
        archive.sealer(FragileRows(archive.rows, fuse), FragileObjects(archive.objects, fuse)).seal()
    archive.objects.bodies[key_of(hour_of(NOW + HOUR), 2)] = foreign
    archive.seal_at(NOW + 5 * HOUR + RUN)
    archive.is_whole()


@pytest.mark.parametrize("step", range(STEPS))
def test_runs_that_keep_crashing_finish_in_the_end(step: int) -> None:
    archive = prepared()
    for number in range(5, 5 + STEPS):
        fuse = FaultInjector(ANY_WRITE, when="after", skip=step)
        archive.clock.now = NOW + number * HOUR + RUN
        archive.record(NOW + (number - 1) * HOUR)
        with suppress(Crash):
            archive.sealer(FragileRows(archive.rows, fuse), FragileObjects(archive.objects, fuse)).seal()
        assert verify(archive.bodies, archive.head) == ()
    archive.seal_at(NOW + 20 * HOUR + RUN)
    archive.is_whole()


def test_a_retry_by_lambda_continues_where_the_run_failed() -> None:
    archive = prepared()
    with pytest.raises(Retryable):
        archive.sealer(objects=Refusing(archive.objects, reading=True)).seal()
    archive.clock.advance(timedelta(minutes=1))
    assert archive.sealer().seal()
    archive.is_whole()


@dataclass
class Refusing:
    """A bucket that refuses writes, or reads."""

    objects: Objects
    reading: bool = False

    def put(self, key: str, body: bytes, *, kind: str) -> None:
        raise AssertionError

    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        self.objects.put_file(key, path, kind=kind)
        raise Retryable(Code.UNAVAILABLE, "No answer came (made up).")

    def get(self, key: str) -> bytes | None:
        raise AssertionError

    def fetch(self, key: str, path: Path) -> bool:
        if self.reading:
            raise Retryable(Code.UNAVAILABLE, "It cannot be read (made up).")
        return self.objects.fetch(key, path)

    def keys(self, prefix: str) -> list[str]:
        raise AssertionError


def test_a_write_with_an_unknown_effect_is_waited_for() -> None:
    archive = prepared()
    with pytest.raises(Retryable):
        archive.sealer(objects=Refusing(archive.objects)).seal()
    archive.clock.advance(timedelta(minutes=2))
    assert not archive.sealer().seal()
    archive.record(NOW + HOUR)
    archive.clock.advance(LEASE)
    assert archive.sealer().seal()
    archive.is_whole()


class TestTwoWriters:
    @pytest.mark.parametrize("step", range(STEPS))
    def test_a_second_writer_stops_while_the_first_is_running(self, step: int) -> None:
        archive = prepared()
        given_way: list[bool] = []

        def other() -> None:
            given_way.append(archive.sealer().seal())

        meanwhile = Meanwhile(step, other)
        archive.sealer(MeanwhileRows(archive.rows, meanwhile), MeanwhileObjects(archive.objects, meanwhile)).seal()
        # Before the lease is taken, the other writer is the first; before its release, no work is left.
        assert given_way == [step in {0, STEPS - 1}]
        archive.is_whole()

    def test_threads_that_start_at_once_make_one_chain(self) -> None:
        archive = prepared()
        start = threading.Barrier(6)
        ended: list[bool] = []

        def write() -> None:
            start.wait()
            ended.append(archive.sealer().seal())

        threads = [threading.Thread(target=write) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(ended) == 6
        assert any(ended)
        archive.is_whole()

    def test_a_writer_that_meets_contention_stops(self) -> None:
        """As if AWS's client sent a write twice and got only the second answer."""
        archive = prepared()

        class Twice(MemoryTable):
            def write(self, *changes: Put) -> None:
                archive.rows.write(*changes)
                raise Contention

            def read(self, *keys: Key) -> list[Row | None]:
                return archive.rows.read(*keys)

        assert not archive.sealer(rows=Twice()).seal()
        assert archive.seal_at(NOW + 5 * HOUR + RUN)
        archive.is_whole()


@dataclass
class Meanwhile:
    """Does something once, just before a step."""

    step: int
    do: Callable[[], None]

    def pass_by(self) -> None:
        if self.step == 0:
            self.step -= 1
            self.do()
        self.step -= 1


@dataclass
class MeanwhileRows:
    rows: VersionedTable
    meanwhile: Meanwhile

    def read(self, *keys: Key) -> list[Row | None]:
        return self.rows.read(*keys)

    def write(self, *changes: Put) -> None:
        self.meanwhile.pass_by()
        self.rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        return self.rows.partition(pk)


@dataclass
class MeanwhileObjects:
    objects: Objects
    meanwhile: Meanwhile

    def put(self, key: str, body: bytes, *, kind: str) -> None:
        raise AssertionError

    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        self.meanwhile.pass_by()
        self.objects.put_file(key, path, kind=kind)

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def fetch(self, key: str, path: Path) -> bool:
        return self.objects.fetch(key, path)

    def keys(self, prefix: str) -> list[str]:
        return self.objects.keys(prefix)


# --- time, and what is told -----------------------------------------------------------------------------------------


def test_the_next_run_continues_one_that_ran_out_of_time(archive: Archive) -> None:
    archive.seal_at(NOW)
    archive.record(*(NOW + number * HOUR for number in range(10)))
    times = iter([900.0, 500.0, 130.0, 119.0])
    archive.time_left = lambda: next(times)
    told = archive.metrics.counts[Metric.AUDIT_SEALED]
    assert not archive.seal_at(NOW + 11 * HOUR + RUN)
    assert len(archive.bodies) == 2
    assert archive.metrics.counts[Metric.AUDIT_SEALED] == told
    archive.time_left = lambda: 900.0
    assert archive.sealer().seal()
    archive.is_whole()


def test_a_run_that_stopped_or_failed_is_not_reported_as_sealed() -> None:
    archive = prepared()
    told = archive.metrics.counts[Metric.AUDIT_SEALED]
    head, version = AuditStore(archive.rows).head()
    assert head is not None
    AuditStore(archive.rows).move(replace(head, lease_until=millis(archive.clock() + LEASE)), version)
    assert not archive.sealer().seal()
    assert archive.metrics.counts[Metric.AUDIT_SEALED] == told
    archive.clock.advance(LEASE)
    assert archive.sealer().seal()
    assert archive.metrics.counts[Metric.AUDIT_SEALED] == told + 1


def test_a_chain_is_intact_after_any_mix_of_failures() -> None:
    """Random records, late records, crashes and days without runs."""
    rng = random.Random(20)
    for _ in range(60):
        archive = Archive()
        AuditStore(archive.rows).move(Head(through=hour_of(NOW - HOUR)), 0)
        hour = 0
        for _ in range(12):
            hour += rng.choice((1, 1, 1, 2, 30))
            now = NOW + hour * HOUR + RUN
            for _ in range(rng.randrange(4)):
                back = timedelta(minutes=20 + rng.randrange(60))
                # At most one hour late, because the writer looks back that far.
                archive.record(max(now - back, start_of(hour_of(now - HOUR))))
            fuse = FaultInjector(ANY_WRITE, when=rng.choice(("before", "after")), skip=rng.randrange(12))
            archive.clock.now = now
            with suppress(Crash):
                archive.sealer(FragileRows(archive.rows, fuse), FragileObjects(archive.objects, fuse)).seal()
            if rng.random() < 0.3:
                archive.record(now - RUN - timedelta(minutes=1))  # late
        archive.seal_at(NOW + (hour + 2) * HOUR + RUN)
        archive.is_whole()
