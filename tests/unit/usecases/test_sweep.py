"""The nightly sweep: what it reports, what it asks for, and what it does when it is cut off."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import override

import pytest

from cli.local.simulator import DEFAULT_TOKEN, Fault, crowd, make_id
from cli.local.simulator.world import Run
from lifecycle.adapters.queues import MemoryQueue
from lifecycle.adapters.signals import Signal
from lifecycle.judgement.decide import Mode
from lifecycle.judgement.pace import Rate
from lifecycle.judgement.transitions import Status
from lifecycle.words.capabilities import Action, Resource, State
from lifecycle.words.commands import Command
from lifecycle.words.errors import Code
from tests.builders import NOW, ORG, PREFIX
from tests.worlds import Crash, Night, World

SWEEP = "2026-06-01T04:10:00Z"


@pytest.fixture
def night() -> Night:
    """Five processes: two are due."""
    made = Night(World())
    _complete(made.world, 1, days=31)
    _complete(made.world, 2, days=400)
    _complete(made.world, 3, days=30)
    _complete(made.world, 4, days=31, status="active")
    _complete(made.world, 5, days=None)
    return made


def _id(number: int) -> str:
    return f"{number:032x}"


def _complete(world: World, number: int, *, days: float | None, status: str = "complete") -> Run:
    world.add(Resource.RUN, _id(number))
    run = world.simulator.organization.runs[_id(number)]
    run.status = status
    run.completed_at = None if days is None else world.clock() - timedelta(days=days)
    return run


def _start(night: Night) -> None:
    """Deliver the schedule's message, which becomes one for the organization."""
    night.begin()
    assert night.deliver()


def _kinds(night: Night) -> dict[str, int]:
    [report] = night.reports()
    found: dict[str, int] = json.loads(str(report["by_reason"]))
    return found


# --- what it does ---


def test_a_report_counts_and_sends_nothing(night: Night) -> None:
    night.mode = Mode.REPORT
    _start(night)
    assert night.deliver()
    assert night.asked() == []
    assert night.world.writes() == []
    [report] = night.reports()
    assert {name: text for name, text in report.items() if name != "by_reason"} == {
        "schema_version": "1",
        "sweep_id": SWEEP,
        "org_id": ORG,
        "mode": "report",
        "seen": "5",
        "due": "2",
        "kept": "3",
        "estimated_minutes": "1",
    }
    assert _kinds(night) == {"rule completed": 2, "too young": 1, "not complete": 1, "no date": 1}
    assert night.world.signals.counts[Signal.SWEEP_FINISHED] == 1


def test_what_is_due_is_asked_for_with_its_reason_and_what_was_seen(night: Night) -> None:
    _start(night)
    assert night.deliver()
    asked = {command.id: command for command in night.asked()}
    assert set(asked) == {_id(1), _id(2)}
    one = asked[_id(1)]
    assert (one.action, one.resource, one.source, one.requested_by) == (
        Action.ARCHIVE,
        Resource.RUN,
        "sweep",
        "schedule",
    )
    assert one.reason == "It was completed 31 days ago, more than 30 (rule 'completed')."
    assert one.not_after == NOW + timedelta(days=2)
    assert one.expect is not None
    assert (one.expect.status, one.expect.completed_at) == ("complete", NOW - timedelta(days=31))


def test_what_is_due_is_archived_through_the_worker(night: Night) -> None:
    _start(night)
    night.deliver()
    for command in night.asked():
        night.world.send(command)
    night.world.drain(night.world.process())
    assert {number for number in range(1, 6) if night.world.state(Resource.RUN, _id(number)) is State.ARCHIVED} == {
        1,
        2,
    }
    assert len(night.world.writes()) == 2


def test_what_changed_since_the_listing_is_not_archived(night: Night) -> None:
    _start(night)
    night.deliver()
    runs = night.world.simulator.organization.runs
    runs[_id(1)].status = "active"
    runs[_id(2)].completed_at = NOW
    for command in night.asked():
        night.world.send(command)
    night.world.drain(night.world.process())
    assert night.world.writes() == []
    assert {letter["code"] for command in night.asked() for letter in night.world.letters(command.intent_id)} == {
        "changed"
    }


def test_what_is_held_is_kept_and_counted(night: Night) -> None:
    night.world.ledger.hold(ORG, Resource.RUN, _id(1), reason="an audit", by="Ada")
    _start(night)
    night.deliver()
    assert [command.id for command in night.asked()] == [_id(2)]
    assert _kinds(night)["on hold"] == 1


def test_a_command_that_was_not_carried_out_within_two_days_is_left_to_another_night(night: Night) -> None:
    _start(night)
    night.deliver()
    [command, _] = night.asked()
    night.world.clock.advance(timedelta(days=2, seconds=1))
    night.world.send(command)
    night.world.drain(night.world.process())
    row = night.world.intent(command.intent_id)
    assert (row.status, row.code, row.owed) == (Status.SUPERSEDED, Code.EXPIRED, ())
    assert night.world.announced(command.intent_id) == ["superseded"]
    assert night.world.dead_letters.depth() == 0
    assert night.world.writes() == []


def test_two_nights_ask_for_two_intents_and_have_one_effect(night: Night) -> None:
    for sweep_id in ("first", "second"):
        night.begin(sweep_id)
        night.drain()
    intents = [command.intent_id for command in night.asked()]
    assert len(set(intents)) == 4
    for command in night.asked():
        night.world.send(command)
    night.world.drain(night.world.process())
    assert len(night.world.writes()) == 2


def test_the_same_start_again_asks_for_nothing_new(night: Night) -> None:
    for _ in range(3):
        night.begin()
    night.drain()
    assert len(night.asked()) == 2
    assert len(night.reports()) == 1


# --- what it is told ---


def test_a_message_that_starts_no_sweep_is_buried(night: Night) -> None:
    bodies = [
        "",
        "{}",
        "[]",
        '{"sweep_id": 5}',
        '{"sweep_id": "a", "mode": "apply"}',
        '{"version": 2, "sweep_id": "a"}',
    ]
    for body in bodies:
        night.queue.send(body)
        assert night.deliver()
    letters = [entry.message.attributes for entry in night.world.dead_letters.entries.values()]
    assert [letter["code"] for letter in letters] == ["poison"] * len(bodies)
    assert night.world.simulator.log.calls == []


def test_a_sweep_of_a_strange_organization_is_none_of_ours(night: Night) -> None:
    night.queue.send(json.dumps({"sweep_id": "a", "org_id": "1b" * 16}))
    assert night.deliver()
    assert night.world.simulator.log.calls == []
    assert night.reports() == []


# --- what is in its way ---


def test_a_pause_stops_it_and_it_goes_on_afterwards(night: Night) -> None:
    _start(night)
    night.world.pacing.pause(ORG, "Ada")
    assert not night.deliver()
    assert night.world.simulator.log.calls == []
    night.world.pacing.resume(ORG)
    assert night.drain() == 1
    assert len(night.asked()) == 2


def test_a_pause_costs_no_slot_of_the_pace(night: Night) -> None:
    night.world.rate = Rate(60, 2)
    night.world.pacing.rate = Rate(60, 2)
    _start(night)
    night.world.pacing.pause(ORG, "Ada")
    for _ in range(5):
        assert not night.deliver()
        night.world.clock.advance(timedelta(seconds=900))
    assert night.world.pacing.reserve(ORG, 2).calls == 2


def test_a_short_wait_for_the_pace_is_slept_and_a_long_one_hidden(night: Night) -> None:
    night.world.pacing.rate = Rate(60, 1)
    night.world.pacing.overdraw(ORG, 5)
    _start(night)
    assert night.deliver()
    assert night.slept == [pytest.approx(5.0, abs=1.1)]
    night.world.pacing.overdraw(ORG, 300)
    night.begin("second")
    night.deliver()
    calls = len(night.world.simulator.log.calls)
    assert not night.deliver()
    assert len(night.world.simulator.log.calls) == calls
    assert len(night.slept) == 1


def test_with_little_time_left_no_page_is_begun_and_the_sweep_goes_on_later(night: Night) -> None:
    _start(night)
    night.time_left = 29.0
    assert not night.deliver()
    assert night.world.simulator.log.calls == []
    night.time_left = 900.0
    assert night.drain() == 1
    assert len(night.asked()) == 2


def test_a_429_is_everybodys(night: Night) -> None:
    _start(night)
    night.world.simulator.add_fault(Fault.rate_limit(120))
    assert not night.deliver()
    assert night.world.pacing.reserve(ORG, 1).calls == 0
    night.world.clock.advance(timedelta(seconds=121))
    night.drain()
    assert len(night.asked()) == 2


def test_a_refused_token_waits_for_a_person_and_rings(night: Night) -> None:
    night.world.secrets.texts[f"{PREFIX}/tokens/{ORG}"] = "dead"
    _start(night)
    assert not night.deliver()
    assert night.world.signals.counts[Signal.TOKEN_REFUSED] == 1
    assert night.reports() == []
    night.world.secrets.texts[f"{PREFIX}/tokens/{ORG}"] = DEFAULT_TOKEN
    night.drain()
    assert len(night.asked()) == 2


def test_a_forbidden_listing_stops_the_sweep_with_a_dead_letter(night: Night) -> None:
    night.world.simulator.add_fault(Fault.answer_status(403))
    _start(night)
    assert night.deliver()
    [entry] = night.world.dead_letters.entries.values()
    assert entry.message.attributes["code"] == Code.FORBIDDEN
    assert json.loads(entry.message.body)["org_id"] == ORG
    assert night.reports() == []


def test_a_failing_listing_comes_back(night: Night) -> None:
    night.world.simulator.add_fault(Fault.answer_status(503, times=3), Fault.html(502), Fault.reset())
    _start(night)
    assert night.drain() == 6
    assert len(night.asked()) == 2


def test_a_row_without_a_readable_id_stops_nothing(night: Night) -> None:
    run = night.world.simulator.organization.runs.pop(_id(1))
    run.id = f"{_id(1)}/delete"
    night.world.simulator.organization.runs[run.id] = run
    _start(night)
    assert night.deliver()
    assert [command.id for command in night.asked()] == [_id(2)]


# --- cut off ---

DUE = 3217


def _many(*, mode: Mode = Mode.APPLY) -> tuple[Night, set[str]]:
    """5,000 processes of which 3,217 are due."""
    world = World(rate=Rate(6000, 6000))
    world.simulator.merge(crowd(5000, status="complete", completed_at="-45d"))
    runs = world.simulator.organization.runs
    ids = [make_id("run", number) for number in range(5000)]
    for run_id in ids[DUE:4000]:
        runs[run_id].completed_at = world.clock() - timedelta(days=3)
    for run_id in ids[4000:]:
        runs[run_id].status, runs[run_id].completed_at = "active", None
    for number, run_id in enumerate(ids):  # due ones on every page
        runs[run_id].created_at = world.clock() - timedelta(days=90, seconds=number * 7919 % 5000)
    return Night(world, mode=mode), set(ids[:DUE])


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_of_5000_killed_at_random_pages_asks_for_every_due_one_and_each_is_done_once(seed: int) -> None:
    night, due = _many()
    dice, kills = random.Random(seed), 0

    def perhaps_die() -> None:
        nonlocal kills
        if dice.random() < 0.25:
            kills += 1
            raise Crash

    night.after_page = perhaps_die
    night.begin()
    taken = night.drain()
    assert kills > 10
    assert taken == kills + 2
    asked = night.asked()
    assert {command.id for command in asked} == due
    assert len({command.intent_id for command in asked}) == DUE
    [report] = night.reports()
    assert (report["seen"], report["due"], report["kept"]) == ("5000", str(DUE), str(5000 - DUE))
    assert _kinds(night) == {"rule completed": DUE, "too young": 783, "not complete": 1000}
    if seed:
        return
    bodies = [entry.message.body for entry in night.bulk.entries.values()]
    dice.shuffle(bodies)
    for body in [*bodies, *bodies[:500]]:  # and late copies of some
        night.world.queue.send(body)
    night.world.drain(night.world.process(), most=5000)
    effects = Counter(call.id for call in night.world.simulator.log.calls if call.acted)
    assert set(effects) == due
    assert set(effects.values()) == {1}


def test_a_sweep_killed_between_sending_a_page_and_recording_it_repeats_intents_and_not_effects() -> None:
    night, due = _many()
    night.begin()
    night.deliver()
    sent = 0

    class Deadly(MemoryQueue):
        """It takes every third page, and the process dies before that can be recorded."""

        @override
        def send_all(self, bodies: Sequence[str]) -> None:
            nonlocal sent
            MemoryQueue.send_all(self, bodies)
            sent += 1
            if sent % 3 == 0:
                raise Crash

    night.bulk = Deadly(night.world.clock)
    night.drain()
    asked = night.asked()
    assert len(asked) > DUE
    assert {command.id for command in asked} == due
    assert len({command.intent_id for command in asked}) == DUE


def test_two_concurrent_deliveries_of_one_sweep_ask_for_each_thing_under_one_name() -> None:
    night, due = _many()
    night.begin()
    night.deliver()
    night.queue.send(next(iter(night.queue.entries.values())).message.body)
    pages = 0

    def other_comes_in() -> None:
        nonlocal pages
        pages += 1
        if pages in {5, 30, 60, 80}:
            night.after_page, mine = (lambda: None), night.after_page
            night.deliver()
            night.after_page = mine

    night.after_page = other_comes_in
    night.drain()
    asked = night.asked()
    assert {command.id for command in asked} == due
    assert len({command.intent_id for command in asked}) == DUE
    assert {report["due"] for report in night.reports()} == {str(DUE)}


def test_a_report_of_5000_estimates_its_duration_at_the_configured_rate() -> None:
    night, _ = _many(mode=Mode.REPORT)
    night.world.pacing.rate = Rate(100, 100)
    night.begin()
    night.drain()
    [report] = night.reports()
    assert report["estimated_minutes"] == "65"  # 3,217 processes, two calls each, 100 calls a minute
    assert night.asked() == []


def test_all_is_listed_before_the_first_command_is_sent() -> None:
    night, _ = _many()
    sent_at: list[int] = []
    night.after_page = lambda: sent_at.append(night.bulk.depth())
    night.begin()
    night.drain()
    assert sent_at[:50] == [0] * 50
    assert len(sent_at) == 100


def test_commands_travel_whole(night: Night) -> None:
    _start(night)
    night.deliver()
    for entry in night.bulk.entries.values():
        assert Command.model_validate_json(entry.message.body).to_json() == entry.message.body
        assert entry.message.body.isascii()


# --- what was changed, and what is over ---


def _changes_its_mode(night: Night) -> None:
    night.mode = Mode.REPORT


def _changes_its_age(night: Night) -> None:
    night.days = 7


def _changes_its_zone(night: Night) -> None:
    night.zone = "Europe/Berlin"


@pytest.mark.parametrize("change", [_changes_its_mode, _changes_its_age, _changes_its_zone])
@pytest.mark.parametrize("pages", [1, 20, 50, 51, 80])
def test_a_sweep_whose_terms_were_changed_on_its_way_stops_with_a_reason(
    pages: int, change: Callable[[Night], None]
) -> None:
    night, _ = _many()
    left = pages

    def die() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Crash

    night.after_page = die
    _start(night)
    assert not night.deliver()
    night.after_page = lambda: None
    asked = len(night.asked())
    change(night)
    night.drain()
    [entry] = night.world.dead_letters.entries.values()
    assert entry.message.attributes["code"] == "changed"
    assert entry.message.attributes["reason"].startswith("The sweep stopped: The mode or the policy was changed")
    assert len(night.asked()) == asked
    assert night.reports() == []
    assert night.world.signals.counts[Signal.SWEEP_FINISHED] == 0
    night.begin("the next night")
    night.drain()
    assert len(night.reports()) == 1, "the next sweep follows the new terms"


@pytest.mark.parametrize("change", [lambda _: None, _changes_its_mode, _changes_its_age])
@pytest.mark.parametrize("mode", Mode)
def test_a_finished_sweep_delivered_again_does_nothing(
    night: Night, mode: Mode, change: Callable[[Night], None]
) -> None:
    night.mode = mode
    _start(night)
    night.deliver()
    asked, calls = night.asked(), len(night.world.simulator.log.calls)
    change(night)
    night.begin()
    night.drain()
    night.queue.send(json.dumps({"sweep_id": SWEEP, "org_id": ORG}))
    night.drain()
    assert night.asked() == asked
    assert len(night.world.simulator.log.calls) == calls
    assert len(night.reports()) == night.world.signals.counts[Signal.SWEEP_FINISHED] == 1
    assert night.world.dead_letters.depth() == 0


# --- what people took back ---


def _carry_out(night: Night) -> list[Command]:
    """Let the worker do what the sweep asked for; the commands."""
    asked = night.asked()
    night.bulk.entries.clear()
    for command in asked:
        night.world.send(command)
    night.world.drain(night.world.process())
    return asked


def _by_hand(night: Night, action: Action) -> None:
    """A person archives or restores the first process through us."""
    night.world.clock.advance(timedelta(minutes=1))
    command = night.world.command(Resource.RUN, _id(1), action, f"by hand {night.world.clock()}")
    night.world.send(command)
    night.world.drain(night.world.process())
    assert night.world.intent(command.intent_id).status is Status.DONE
    night.world.clock.advance(timedelta(minutes=1))


def _night(night: Night, sweep_id: str) -> Command | None:
    """A whole night; what it asked for the first process."""
    night.begin(sweep_id)
    night.drain()
    return next((command for command in _carry_out(night) if command.id == _id(1)), None)


@pytest.fixture
def restored(night: Night) -> Night:
    """A sweep archived the first process, and a person restored it through us."""
    _night(night, "the first night")
    assert night.world.state(Resource.RUN, _id(1)) is State.ARCHIVED
    _by_hand(night, Action.RESTORE)
    return night


def test_what_was_restored_is_left_to_people_every_night_without_a_dead_letter(restored: Night) -> None:
    writes = len(restored.world.writes())
    for number in range(40):
        restored.world.clock.advance(timedelta(days=1))
        asked = _night(restored, f"night {number}")
        assert asked is not None
        row = restored.world.intent(asked.intent_id)
        assert (row.status, row.code, row.owed) == (Status.SUPERSEDED, Code.TAKEN_BACK, ())
        assert "restored after it had been completed" in row.reason
        assert restored.world.announced(asked.intent_id) == ["superseded"]
    assert restored.world.state(Resource.RUN, _id(1)) is State.ACTIVE
    assert len([call for call in restored.world.writes() if call.id == _id(1)]) == 2
    assert len(restored.world.writes()) >= writes
    assert restored.world.dead_letters.depth() == 0


def test_what_was_completed_again_after_it_was_restored_is_archived_again(restored: Night) -> None:
    restored.world.clock.advance(timedelta(days=3))
    restored.world.simulator.organization.runs[_id(1)].completed_at = restored.world.clock()
    restored.world.clock.advance(timedelta(days=31))
    asked = _night(restored, "a later night")
    assert asked is not None
    assert restored.world.intent(asked.intent_id).code == Code.ACTED
    assert restored.world.state(Resource.RUN, _id(1)) is State.ARCHIVED


def test_what_a_person_archived_after_restoring_it_is_no_longer_left_to_people(restored: Night) -> None:
    _by_hand(restored, Action.ARCHIVE)
    restored.world.simulator.organization.runs[_id(1)].restore(restored.world.clock())  # in Tallyfy itself
    asked = _night(restored, "the second night")
    assert asked is not None
    assert restored.world.intent(asked.intent_id).code == Code.ACTED


def test_a_person_may_archive_what_a_person_restored(restored: Night) -> None:
    _by_hand(restored, Action.ARCHIVE)
    assert restored.world.state(Resource.RUN, _id(1)) is State.ARCHIVED


def test_a_restore_while_the_command_of_the_sweep_waits_is_heeded(night: Night) -> None:
    night.world.simulator.organization.runs[_id(1)].archive(NOW - timedelta(days=1))
    _by_hand(night, Action.RESTORE)
    _start(night)
    night.deliver()
    night.world.clock.advance(timedelta(hours=1))
    asked = next(command for command in _carry_out(night) if command.id == _id(1))
    assert night.world.intent(asked.intent_id).code == Code.TAKEN_BACK
    assert night.world.state(Resource.RUN, _id(1)) is State.ACTIVE
