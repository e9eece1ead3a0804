"""Warnings: one message to each recipient of a sweep, and nothing earlier than it says."""

import gzip
from datetime import timedelta

import pytest

from lifecycle.domain.capabilities import Resource
from lifecycle.plans.warning_marks import WARNINGS
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.policy.warnings import NOBODY, WARN_FIRST, WARNED
from tests.harness.sweep_run import POLICY, SweepRun
from tests.harness.world import World

WARNING = POLICY.replace('action = "archive"', 'action = "archive"\nwarn_days = 7\nwarn = ["channel"]')
CHANNEL = "operations/all"


@pytest.fixture
def night() -> SweepRun:
    """Three processes that are due, under a rule that warns first."""
    run = SweepRun(World(), policy=Policy.parse(WARNING))
    for number in (1, 2, 3):
        name = run.world.add(Resource.RUN, f"{number:032x}")
        process = run.world.simulator.organization.runs[name]
        process.status = "complete"
        process.completed_at = run.world.clock() - timedelta(days=60)
    return run


def sweep(night: SweepRun, name: str) -> None:
    night.begin(name)
    night.drain()
    night.deliver_warnings()


def later(night: SweepRun, **time: float) -> None:
    night.world.clock.advance(timedelta(**time))


def kinds(night: SweepRun) -> dict[str, int]:
    return dict(night.plans()[-1].kept_by)


def test_people_are_warned_once_and_the_things_go_after_the_promised_days(night: SweepRun) -> None:
    sweep(night, "night-1")
    assert (kinds(night), night.archived()) == ({WARN_FIRST: 3}, set())
    [(recipient, notice)] = night.warner.sent
    assert (recipient, notice.count, notice.plan) == (CHANNEL, 3, night.plans()[-1].hash)
    assert notice.not_before >= night.plans()[-1].made_at + timedelta(days=7)

    later(night, days=6.9)
    sweep(night, "night-2")
    assert (kinds(night), night.archived()) == ({WARNED: 3}, set())

    later(night, days=0.2)
    sweep(night, "night-3")
    assert len(night.archived()) == 3
    assert len(night.warner.sent) == 1


def test_a_chat_tool_that_is_out_postpones(night: SweepRun) -> None:
    night.warner.out = {CHANNEL}
    sweep(night, "night-1")
    later(night, days=3)
    night.warner.out = set()
    night.deliver_warnings()
    assert len(night.warner.sent) == 1
    later(night, days=6)
    sweep(night, "night-2")
    assert night.archived() == set()
    later(night, days=1)
    sweep(night, "night-3")
    assert len(night.archived()) == 3


def test_the_next_sweep_takes_over_a_warning_that_was_lost(night: SweepRun) -> None:
    night.warner.gone = {CHANNEL}
    sweep(night, "night-1")
    night.warner.gone = set()
    later(night, days=30)
    sweep(night, "night-2")
    assert (kinds(night), night.archived()) == ({WARN_FIRST: 3}, set())
    assert [notice.count for _, notice in night.warner.sent] == [3]
    later(night, days=8)
    sweep(night, "night-3")
    assert len(night.archived()) == 3


def test_the_message_of_an_older_sweep_is_not_posted_any_more(night: SweepRun) -> None:
    night.warner.out = {CHANNEL}
    sweep(night, "night-1")
    later(night, days=1)
    sweep(night, "night-2")
    assert len(night.warner.waiting) == 2
    night.warner.out = set()
    night.deliver_warnings()
    assert len(night.warner.sent) == 1


def test_a_job_that_died_hands_its_messages_over_again_and_one_is_posted(night: SweepRun) -> None:
    night.begin("night-1")
    while not night.warner.waiting:
        if any('"warn"' in entry.message.body for entry in night.queue.entries.values()):
            night.kill_after(1)
        night.turn()
    night.drain()
    assert len(night.warner.waiting) == 2
    night.deliver_warnings()
    assert len(night.warner.sent) == 1


def test_a_delivery_that_nobody_recorded_is_a_promise_and_is_made_again(night: SweepRun) -> None:
    night.begin("night-1")
    night.drain()
    night.deliver_warnings(recorded=False)
    [(_, notice)] = night.warner.sent
    later(night, days=1)
    sweep(night, "night-2")
    assert len(night.warner.sent) == 2
    night.world.clock.advance(notice.not_before - night.world.clock() - timedelta(hours=1))
    sweep(night, "night-3")
    assert night.archived() == set()


def test_a_report_warns_nobody(night: SweepRun) -> None:
    night.mode = Mode.REPORT
    sweep(night, "night-1")
    assert (kinds(night), night.warner.sent) == ({WARN_FIRST: 3}, [])


def test_where_nobody_can_be_reached_the_things_are_kept(night: SweepRun) -> None:
    night.warner.names = lambda _: frozenset()
    sweep(night, "night-1")
    assert (kinds(night), night.archived(), night.warner.sent) == ({NOBODY: 3}, set(), [])


def test_each_owner_gets_one_message_about_their_own_things(night: SweepRun) -> None:
    night.warner.names = lambda thing: frozenset({f"operations/owner/{'ada' if thing.id.endswith('1') else 'bob'}"})
    sweep(night, "night-1")
    assert sorted((recipient, notice.count) for recipient, notice in night.warner.sent) == [
        ("operations/owner/ada", 1),
        ("operations/owner/bob", 2),
    ]


@pytest.mark.parametrize(
    "damaged", [b"junk", gzip.compress(b"{}\n"), gzip.compress(b"junk"), gzip.compress(b"{}")[:-9]]
)
def test_marks_that_cannot_be_read_end_the_sweep_with_a_reason_and_nothing_is_done(
    night: SweepRun, damaged: bytes
) -> None:
    sweep(night, "night-1")
    key = next(key for key in night.objects.keys("plans/") if key.endswith(WARNINGS))
    night.objects.put(key, damaged, kind="application/gzip")
    later(night, days=30)
    sweep(night, "night-2")
    assert night.archived() == set()
    [letter] = [entry.message for entry in night.world.dead_letters.entries.values()]
    assert letter.attributes["code"] == "plan_stopped"
    assert key in letter.attributes["reason"]
