"""What people are told once a day: how many dead letters wait, of what kind, how old; and when each sweep finished."""

import json
from datetime import timedelta

import pytest

from lifecycle.approvals.rules import About, ApprovalRequest
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.dynamodb import Key, MemoryTable, Row
from lifecycle.aws.eventbridge import MemoryBus
from lifecycle.aws.metrics import Measure, MemoryMetrics, Metric
from lifecycle.aws.s3 import MemoryObjects
from lifecycle.aws.sqs import MemoryQueue, Message
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Poison
from lifecycle.pacing.token_bucket import Rate
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_store import PlanStore, key_of
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.sweep.daily_news import DailyNews
from lifecycle.sweep.digest import Digest, hours_since_finished, record_finished
from tests.harness.builders import NOW, ORG, Clock
from tests.harness.sweep_run import POLICY, SweepRun
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


# --- approvals and plans ---


def _digests(night: SweepRun) -> list[dict[str, str]]:
    return [dict(detail) for name, detail in night.world.bus.announced if name == "lifecycle.digest"]  # type: ignore[arg-type]


def _told_after(night: SweepRun, *, hours: float = 1) -> list[dict[str, str]]:
    night.world.clock.advance(timedelta(hours=hours))
    night.queue.send(json.dumps({"sweep_id": "digest-1", "kind": "digest"}))
    night.drain()
    return _digests(night)


def _swept(mode: Mode, *, due: int = 2, young: int = 3, policy: str = POLICY) -> tuple[SweepRun, Plan]:
    night = SweepRun(World(rate=Rate(6000, 6000)), mode=mode, policy=Policy.parse(policy))
    for number in range(due + young):
        run = night.world.simulator.organization.runs[night.world.add(Resource.RUN, f"{number:032x}")]
        run.status, run.completed_at = "complete", night.world.clock() - timedelta(days=45 if number < due else 5)
    night.begin()
    night.drain()
    [plan] = night.plans()
    return night, plan


def test_the_digest_reports_the_plan_of_the_day_with_kept_resources_by_reason() -> None:
    night, plan = _swept(Mode.REPORT)
    [told] = _told_after(night)
    assert told["plans_text"] == (
        f"Organization {ORG}, plan {plan.hash[:12]}: 5 seen = 2 due + 3 kept + 0 not readable. "
        "Kept: too young 3. Not applied."
    )
    assert json.loads(told["plans"]) == [
        {
            "org_id": ORG,
            "plan": plan.hash,
            "seen": 5,
            "due": 2,
            "kept": 3,
            "failed": 0,
            "kept_by": {"too young": 3},
            "state": "Not applied.",
        }
    ]
    assert (told["total"], told["queues"], told["codes"], told["approvals_text"]) == ("0", "none", "none", "none")


def test_the_rows_of_sweeps_are_read_one_at_a_time_as_the_permissions_of_the_function_allow() -> None:
    asked: list[int] = []

    class Counted(MemoryTable):
        def read(self, *keys: Key) -> list[Row | None]:
            asked.append(len(keys))
            return super().read(*keys)

    rows, clock = Counted(), Clock(NOW)
    news = DailyNews(
        org_ids=frozenset({ORG, "1b" * 16}),
        rows=rows,
        approvals=ApprovalStore(rows, timedelta(days=9), clock),
        plans=PlanStore(MemoryObjects()),
        clock=clock,
    )
    assert not news.read()
    assert asked == [1, 1]


def test_the_digest_reports_an_applied_plan_with_its_commands() -> None:
    night, _ = _swept(Mode.APPLY)
    [told] = _told_after(night)
    assert told["plans_text"].endswith("Applied: 2 commands sent.")


@pytest.mark.parametrize(
    ("part", "ending"),
    [
        ("stops", "Not applied: Over a cap: 'x'."),
        ("unseen", "Not applied, because it is incomplete: Over a cap: 'x'."),
        ("person", "Not applied; a person must do it: Over a cap: 'x'."),
    ],
)
def test_the_digest_reports_why_a_plan_was_not_applied_without_quotes(part: str, ending: str) -> None:
    night, plan = _swept(Mode.REPORT)
    body = plan.model_copy(update={part: ('Over a cap:\n"x".',)}).model_dump_json().encode()
    night.objects.put(key_of(ORG, plan.hash, "plan.json"), body, kind="application/json")
    [told] = _told_after(night)
    assert told["plans_text"].endswith(ending)


def test_the_digest_names_who_reverted_a_plan() -> None:
    night, plan = _swept(Mode.APPLY)
    night.take_back(plan.hash, by="bob")
    night.drain()
    [told] = _told_after(night)
    assert told["plans_text"].endswith("bob reverted it.")


def test_a_plan_that_keeps_everything_or_is_older_than_a_day_is_not_in_the_digest() -> None:
    night, _ = _swept(Mode.REPORT, due=0)
    assert _told_after(night) == []
    night, _ = _swept(Mode.REPORT)
    assert _told_after(night, hours=25) == []


def test_a_plan_that_cannot_be_read_any_more_is_left_out() -> None:
    night, plan = _swept(Mode.REPORT)
    night.objects.put(key_of(ORG, plan.hash, "plan.json"), b"{}", kind="application/json")
    assert _told_after(night) == []


def test_the_digest_lists_waiting_requests_with_their_hashes_and_deadlines() -> None:
    night, plan = _swept(Mode.REPORT, due=0, policy=POLICY)
    night.world.clock.advance(timedelta(days=2))
    approvals = ApprovalStore(night.world.rows, timedelta(days=9), night.world.clock)
    now = millis(night.world.clock())
    for number in range(12):
        approvals.ask(
            ApprovalRequest(
                hash=f"{number:064x}",
                about=About.PLAN,
                org_id=ORG,
                subject=f"{number:064x}",
                asked_by="ada",
                asked_at=now + number,
                deadline=now + 3_600_000 * 72,
                needed=2,
                shown="{}",
                message="{}",
                capabilities=("run.delete", "tag.delete"),
            )
        )
    [told] = _told_after(night)
    assert told["approvals"] == "12"
    first = f"{0:064x}"[:12] + " (plan, run.delete, tag.delete: 0 of 2 until 2026-06-06 "
    assert told["approvals_text"].startswith(first)
    assert told["approvals_text"].endswith("; and 2 more")
    assert (plan.due, told["plans"], told["plans_text"]) == (0, "[]", "none.")


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
