"""What people are told once a day: how many dead letters wait, of what kind, how old; and when each sweep finished."""

import json
from datetime import timedelta

import pytest

from lifecycle.aws.dynamodb import MemoryTable
from lifecycle.aws.eventbridge import MemoryBus
from lifecycle.aws.metrics import Measure, MemoryMetrics, Metric
from lifecycle.aws.sqs import MemoryQueue, Message
from lifecycle.domain.errors import Code, Poison
from lifecycle.sweep.digest import Digest, hours_since_finished, record_finished
from tests.harness.builders import NOW, ORG, Clock
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


def _digest(clock: Clock, **queues: MemoryQueue) -> Digest:
    return Digest(queues=queues, bus=MemoryBus(), metrics=MemoryMetrics(), clock=clock)


def _told(digest: Digest) -> list[tuple[str, dict[str, object]]]:
    assert isinstance(digest.bus, MemoryBus)
    return [(name, dict(detail)) for name, detail in digest.bus.announced]


def _measured(digest: Digest) -> list[tuple[Measure, float]]:
    assert isinstance(digest.metrics, MemoryMetrics)
    return digest.metrics.measures


def test_empty_dead_letter_queues_are_not_announced(clock: Clock) -> None:
    digest = _digest(clock, commands=MemoryQueue(clock), purge=MemoryQueue(clock))
    digest.tell()
    assert _told(digest) == []
    assert _measured(digest) == [(Measure.DEAD_LETTER_AGE, 0.0)]


def test_dead_letters_are_counted_by_queue_and_code_and_stay_in_place(clock: Clock) -> None:
    commands, purge, events = MemoryQueue(clock), MemoryQueue(clock), MemoryQueue(clock)
    commands.send("{}")  # SQS, EventBridge or Scheduler set it aside: it has no code.
    clock.advance(timedelta(days=8, hours=1))
    for _ in range(25):
        commands.send("{}", {"code": "untranslatable", "failed_at": clock().isoformat()})
    purge.send("{}", {"code": "held"})
    digest = _digest(clock, commands=commands, purge=purge, events=events)
    digest.tell()
    [(name, detail)] = _told(digest)
    assert name == "lifecycle.digest"
    assert detail["total"] == "27"
    assert detail["queues"] == "commands 26, purge 1"
    assert detail["codes"] == "untranslatable 25, held 1, set_aside_by_aws 1"
    assert detail["oldest"] == "8"
    assert _measured(digest) == [(Measure.DEAD_LETTER_AGE, timedelta(days=8, hours=1).total_seconds())]
    clock.advance(timedelta(minutes=2))
    assert len(commands.receive(10)) == 10
    assert (commands.depth(), purge.depth()) == (26, 1)


def test_dead_letters_that_somebody_else_reads_are_counted_as_well(clock: Clock) -> None:
    queue = MemoryQueue(clock)
    queue.send("{}", {"code": "held"})
    queue.receive()
    digest = _digest(clock, commands=queue)
    digest.tell()
    [(_, detail)] = _told(digest)
    assert (detail["total"], detail["codes"]) == ("1", "not seen")


def test_the_hours_since_a_sweep_are_counted_for_each_organization(clock: Clock) -> None:
    rows = MemoryTable()
    record_finished(rows, ORG, clock())
    clock.advance(timedelta(hours=30))
    other = "f" * 32
    assert hours_since_finished(rows, ORG, clock()) == 30
    assert hours_since_finished(rows, other, clock()) == 0
    clock.advance(timedelta(hours=24))
    assert hours_since_finished(rows, other, clock()) == 24  # It never finished one.
    record_finished(rows, other, clock())
    assert hours_since_finished(rows, other, clock()) == 0


def test_the_daily_check_reports_both_and_a_finished_sweep_resets_the_age() -> None:
    night = SweepRun(World())
    night.begin()
    night.drain()
    night.world.clock.advance(timedelta(hours=50))
    night.world.dead_letters.send("{}", {"code": "held"})
    night.world.metrics.measures.clear()
    night.queue.send(json.dumps({"sweep_id": "check-1", "kind": "check"}))
    night.drain()
    measured = dict(night.world.metrics.measures)
    assert measured[Measure.SWEEP_AGE] == pytest.approx(50, abs=0.2)
    assert measured[Measure.DEAD_LETTER_AGE] == pytest.approx(0, abs=600)
    assert [name for name, _ in night.world.bus.announced].count("lifecycle.digest") == 1


def test_a_failed_digest_is_retried_without_repeating_the_checks() -> None:
    night = SweepRun(World())
    night.queue.send(json.dumps({"sweep_id": "check-1", "kind": "check"}))
    assert night.deliver(), "it starts both"
    kinds = [json.loads(entry.message.body)["kind"] for entry in night.queue.entries.values()]
    assert sorted(kinds) == ["check", "digest"]


@pytest.mark.parametrize(
    ("code", "metrics"),
    [
        (Code.UNTRANSLATABLE, {Metric.POISON, Metric.UNTRANSLATABLE}),
        (Code.POISON, {Metric.POISON, Metric.PAGED}),
        (Code.RIGHT_MISSING, {Metric.POISON}),
    ],
)
def test_only_codes_of_failures_count_for_the_alarm(code: Code, metrics: set[Metric]) -> None:
    world = World()
    world.process().worker.outcomes.dead_letter(Message(body="?", sent_at=NOW), Poison(code, "Why."))
    assert set(world.metrics.counts) == metrics
