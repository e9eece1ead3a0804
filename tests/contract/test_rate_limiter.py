"""The shared rate limit in memory and in DynamoDB: any number of callers keep one rate."""

import threading
from datetime import timedelta

import pytest

from lifecycle.aws.dynamodb import Key, Put, VersionedTable
from lifecycle.aws.metrics import MemoryMetrics, Metric
from lifecycle.domain.errors import Throttled
from lifecycle.pacing.rate_limiter import Admission, Pacing
from lifecycle.pacing.token_bucket import Rate
from tests.harness.builders import ORG, Clock

RATE = Rate(per_minute=60, burst=10)


@pytest.fixture
def workers(rows: VersionedTable, clock: Clock) -> tuple[Pacing, Pacing]:
    """Two workers that share only the rows."""
    return Pacing(rows, RATE, clock), Pacing(rows, RATE, clock)


def test_a_full_bucket_grants_its_burst_and_then_a_waiting_time(workers: tuple[Pacing, Pacing]) -> None:
    one, other = workers
    assert one.reserve(ORG, 4) == Admission(4, 0.0, "")
    assert other.reserve(ORG, 10) == Admission(6, 1.0, "")
    # The four calls without a slot are in the queue already.
    assert one.reserve(ORG, 1) == Admission(0, 5.0, "")


def test_two_workers_together_never_exceed_the_rate(workers: tuple[Pacing, Pacing], clock: Clock) -> None:
    given = 0
    for second in range(120):
        given += sum(worker.reserve(ORG, 3).calls for worker in workers)
        assert given <= RATE.burst + second
        clock.advance(timedelta(seconds=1))
    assert given == RATE.burst + 119


def test_each_organization_has_its_own_rate(workers: tuple[Pacing, Pacing]) -> None:
    one, other = workers
    one.reserve(ORG, 10)
    assert other.reserve("0b" * 16, 10).calls == 10


def test_refunded_slots_are_free_for_the_other_worker(workers: tuple[Pacing, Pacing]) -> None:
    one, other = workers
    one.reserve(ORG, 10)
    one.refund(ORG, 7)
    one.refund(ORG, 0)
    assert other.reserve(ORG, 10).calls == 7


def test_a_late_refund_makes_no_larger_burst(workers: tuple[Pacing, Pacing], clock: Clock) -> None:
    one, other = workers
    one.reserve(ORG, 10)
    clock.advance(timedelta(hours=1))
    one.refund(ORG, 10)
    assert other.reserve(ORG, 99).calls == RATE.burst


def test_a_call_beyond_the_reservation_delays_the_next_caller(workers: tuple[Pacing, Pacing]) -> None:
    one, other = workers
    one.reserve(ORG, 10)
    one.overdraw(ORG)
    one.overdraw(ORG, 2)
    assert other.reserve(ORG, 1) == Admission(0, 4.0, "")


def test_a_block_stops_everybody_and_then_lets_one_call_through(workers: tuple[Pacing, Pacing], clock: Clock) -> None:
    one, other = workers
    one.block(ORG, 30)
    assert other.reserve(ORG, 5) == Admission(0, 30.0, "")
    one.block(ORG, 10)  # the longer block stays
    clock.advance(timedelta(seconds=29))
    waiting = other.reserve(ORG, 5)
    assert waiting.calls == 0
    assert waiting.wait >= 1.0
    clock.advance(timedelta(seconds=1))
    assert other.reserve(ORG, 5).calls == 1
    assert one.reserve(ORG, 5).calls == 0


def test_a_pause_names_the_person_until_it_ends(workers: tuple[Pacing, Pacing]) -> None:
    one, other = workers
    one.pause(ORG, by="Ada")
    assert other.reserve(ORG, 1).paused_by == "Ada"
    one.block(ORG, 5)
    assert other.reserve(ORG, 1).paused_by == "Ada"
    other.resume(ORG)
    assert one.reserve(ORG, 1).paused_by == ""


def test_attributes_of_a_newer_release_are_ignored(workers: tuple[Pacing, Pacing], rows: VersionedTable) -> None:
    rows.write(Put(Key(f"pace#{ORG}", "pace"), {"full_at": 0, "of_a_newer_release": "x"}, 0))
    assert workers[0].reserve(ORG, 1).calls == 1


def test_threads_that_ask_at_once_share_one_burst(workers: tuple[Pacing, Pacing]) -> None:
    given: list[int] = []
    start = threading.Barrier(6)

    def ask(worker: Pacing) -> None:
        start.wait()
        for _ in range(4):
            try:
                given.append(worker.reserve(ORG, 1).calls)
            except Throttled:  # too much contention: the caller would try again later
                given.append(0)

    threads = [threading.Thread(target=ask, args=(workers[number % 2],)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(given) == 24
    assert sum(given) == RATE.burst


def test_each_answer_that_asks_to_wait_is_counted(rows: VersionedTable, clock: Clock) -> None:
    metrics = MemoryMetrics()
    pacing = Pacing(rows, RATE, clock, metrics=metrics)
    pacing.reserve(ORG, 99)
    assert metrics.counts[Metric.ASKED_TO_WAIT] == 0, "waiting for our own rate is none"
    for _ in range(3):
        pacing.block(ORG, 9)
    assert metrics.counts[Metric.ASKED_TO_WAIT] == 3
