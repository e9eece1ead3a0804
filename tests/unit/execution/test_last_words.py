"""A word for keeping counts from the moment it is accepted: it reaches whatever has not made its call yet."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from lifecycle.aws.dynamodb import Key, Put
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import Status
from lifecycle.execution.state_machine import READ_LAG
from lifecycle.pacing.rate_limiter import Pacing
from sandbox.simulator import Fault
from tests.harness.builders import NOW, ORG
from tests.harness.fault_injection import FaultInjector
from tests.harness.purge_run import PurgeRun, operate
from tests.harness.world import World
from tests.unit.deletion.test_safeguards import OWNER, RUN, TEMPLATE, burial

SECOND = timedelta(seconds=1)
ADA = "arn:aws:iam::123456789012:user/ada"
BOB = "arn:aws:sts::123456789012:assumed-role/Operators/bob"
UNDO = "POST /commands/{intent_id}/undo"
DEADLINE = timedelta(days=70)


def restored(world: World, thing: str = RUN) -> Command:
    """Somebody asks for a restore, and it is accepted."""
    world.clock.advance(SECOND)
    command = world.command(Resource.RUN, thing, Action.RESTORE, f"restore-{world.clock()}")
    world.send(command)
    return command


def undone(world: World, target: Command) -> str:
    world.clock.advance(SECOND)
    _, told = operate(world.operating(), UNDO, ADA, intent_id=target.intent_id)
    return str(told["intent_id"])


def held(world: World, kind: Resource = Resource.RUN, name: str = RUN) -> None:
    world.clock.advance(SECOND)
    world.holds.add(ORG, kind, name, reason="a lawsuit", by="Grace")


def held_and_lifted(world: World) -> None:
    held(world)
    world.clock.advance(SECOND)
    assert world.holds.lift(ORG, Resource.RUN, RUN, by="Grace")


# --- while a permanent delete is on its way ---------------------------------------------------------------------------

type Word = Callable[[PurgeRun, Command], object]

WORDS: dict[str, tuple[Word, set[str]]] = {
    "a restore": (lambda burying, _: restored(burying.world), {"restored", "not_archived"}),
    "a hold": (lambda burying, _: held(burying.world), {"held"}),
    "a hold that is lifted again": (lambda burying, _: held_and_lifted(burying.world), {"held"}),
    "a hold on its template": (lambda burying, _: held(burying.world, Resource.TEMPLATE, TEMPLATE), {"held"}),
    "a hold on all of its owner": (
        lambda burying, _: burying.world.holds.add(ORG, "owner", str(OWNER), reason="she left", by="Grace"),
        {"held"},
    ),
    "an undo": (lambda burying, command: undone(burying.world, command), {"undone"}),
    "a rejection": (lambda burying, command: says(burying, "reject", command), {"not_approved"}),
    "a withdrawal": (
        lambda burying, command: says(burying, "withdraw", command),
        {"approval_expired", "awaiting_approval"},
    ),
}


def says(burying: PurgeRun, what: str, command: Command) -> None:
    """What a person does at the terminal, under their own identity."""
    route = f"POST /approvals/{{hash}}/{what}"
    operate(burying.world.operating(), route, BOB, {"why": ""}, hash=burying.wanted(command).hash)


def approved(fuse: FaultInjector) -> tuple[PurgeRun, Command]:
    """A delete that was approved, and of which the last delivery is still to come."""
    burying = burial()
    command = burying.ask(Resource.RUN, RUN)
    burying.work()
    burying.press("approve", burying.wanted(command).hash, "bob")
    burying.fuse = fuse
    return burying, command


def steps() -> list[str]:
    """What a delivery goes through from the approval to the delete."""
    fuse = FaultInjector()
    burying, _ = approved(fuse)
    burying.deliver()
    return fuse.taken[: fuse.taken.index("act") + 1]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_keeping_stops_an_approved_delete_before_each_of_its_steps(word: str) -> None:
    say, codes = WORDS[word]
    path = steps()
    assert {"claim", "look", "put", "fetch", "mark"} <= set(path)
    assert path[-2:] == ["read", "act"]
    for number, point in enumerate(path[:-1]):
        burying, command, accepted = _interrupted(say, number)
        burying.advance(DEADLINE)
        burying.work()
        if not accepted:
            assert "mark" in path[:number]  # Whoever spoke was told that the call is being made.
            continue
        row = burying.world.intent(command.intent_id)
        assert burying.deletes(RUN) == [], (number, point)
        assert row.code in codes, (number, point, row)
        assert burying.world.state(Resource.RUN, RUN) is not State.GONE


def _interrupted(say: Word, number: int) -> tuple[PurgeRun, Command, bool]:
    """A delivery in which somebody speaks right before a step; whether that was accepted."""
    fuse = FaultInjector()
    burying, command = approved(fuse)
    heard: list[str] = []
    refused: list[Rejected] = []

    def meanwhile(point: str) -> None:
        heard.append(point)
        if len(heard) == number + 1:
            try:
                say(burying, command)
            except Rejected as error:
                refused.append(error)

    fuse.before_step = meanwhile
    burying.deliver()
    fuse.before_step = lambda _: None
    return burying, command, not refused


def test_a_restore_that_was_accepted_while_a_delete_exports_is_done_and_both_say_so() -> None:
    fuse = FaultInjector()
    burying, command = approved(fuse)
    restores: list[Command] = []

    def meanwhile(point: str) -> None:
        if point == "put" and not restores:
            restores.append(restored(burying.world))

    fuse.before_step = meanwhile
    burying.deliver()
    burying.work()
    burying.world.drain(burying.world.process())
    [restore] = restores
    assert burying.world.state(Resource.RUN, RUN) is State.ACTIVE
    stopped, done = burying.world.intent(command.intent_id), burying.world.intent(restore.intent_id)
    assert (stopped.status, stopped.code, restore.intent_id in stopped.reason) == (Status.SUPERSEDED, "restored", True)
    assert (done.status, command.intent_id in done.reason) == (Status.DONE, True)


def test_a_restore_ends_a_delete_that_waits_for_its_approval_and_says_so() -> None:
    burying = burial()
    command = burying.ask(Resource.RUN, RUN)
    burying.work()
    restore = restored(burying.world)
    burying.world.drain(burying.world.process())
    assert burying.world.intent(command.intent_id).code == "restored"
    assert command.intent_id in burying.world.intent(restore.intent_id).reason


@pytest.mark.parametrize("day", [0, 1, 2, 20])
def test_a_hold_at_any_time_between_approval_and_delete_cancels_it_for_good(day: int) -> None:
    burying = burial(days=5)
    command = burying.ask(Resource.RUN, RUN)
    burying.work()
    burying.approve(command)
    assert burying.world.intent(command.intent_id).code == Code.IN_GRACE
    burying.advance(timedelta(days=day))
    held_and_lifted(burying.world)
    burying.advance(timedelta(days=50))
    assert burying.deletes(RUN) == []
    row = burying.world.intent(command.intent_id)
    assert (row.code, "lifted" in row.reason) == (Code.HELD, True)


def test_a_hold_that_was_lifted_before_a_delete_was_asked_for_does_not_bear_on_it() -> None:
    burying = burial()
    held_and_lifted(burying.world)
    command = burying.ask(Resource.RUN, RUN)
    burying.work()
    burying.approve(command)
    assert burying.world.intent(command.intent_id).status is Status.DONE


def test_a_restore_that_was_refused_at_the_door_stops_nothing() -> None:
    burying = burial()
    command = burying.ask(Resource.RUN, RUN)
    burying.work()
    with pytest.raises(Exception, match="right_missing"):
        operate(burying.world.operating(), UNDO, "arn:aws:iam::123456789012:user/dan", intent_id=command.intent_id)
    burying.approve(command)
    assert burying.world.intent(command.intent_id).status is Status.DONE


def test_an_approval_that_was_withdrawn_can_be_given_again() -> None:
    burying = burial(days=5)
    command = burying.ask(Resource.RUN, RUN)
    burying.work()
    burying.approve(command)
    says(burying, "withdraw", command)
    burying.work()
    assert burying.world.intent(command.intent_id).code == Code.AWAITING_APPROVAL
    burying.approve(command)
    burying.advance(timedelta(days=40))
    assert len(burying.deletes(RUN)) == 1


def test_after_the_call_nothing_is_withdrawn() -> None:
    burying = burial()
    command = burying.ask(Resource.RUN, RUN)
    burying.work()
    burying.approve(command)
    for what in ("withdraw", "reject"):
        with pytest.raises(Rejected, match="has ended"):
            says(burying, what, command)


@pytest.mark.parametrize("word", ["a restore", "a hold", "a hold that is lifted again", "an undo"])
def test_what_can_no_longer_happen_is_not_offered_and_an_approval_of_it_says_why(word: str) -> None:
    burying = burial()
    command = burying.ask(Resource.RUN, RUN)
    burying.work()
    say, _ = WORDS[word]
    say(burying, command)
    _, told = operate(burying.world.operating(), "GET /approvals", BOB)
    assert told == {"approvals": []}
    with pytest.raises(Rejected, match="would have no effect") as refused:
        says(burying, "approve", command)
    assert refused.value.code is Code.UNKNOWN_APPROVAL


# --- while an archive is on its way -----------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    made = World()
    made.add(Resource.RUN, RUN)
    return made


def archive(world: World, delivery: str = "archive") -> Command:
    world.clock.advance(SECOND)
    command = world.command(Resource.RUN, RUN, Action.ARCHIVE, delivery)
    world.send(command)
    return command


ARCHIVE_WORDS: dict[str, tuple[Callable[[World, Command], object], str]] = {
    "a restore": (lambda world, _: restored(world), "restored"),
    "an undo": (undone, "undone"),
    "a hold": (lambda world, _: held(world), "held"),
    "a hold that is lifted again": (lambda world, _: held_and_lifted(world), "held"),
}


@pytest.mark.parametrize("word", ARCHIVE_WORDS)
@pytest.mark.parametrize("step", ["queued", "pace", "read", "claim", "look", "mark"])
def test_a_word_for_keeping_stops_an_archive_that_has_not_made_its_call(world: World, word: str, step: str) -> None:
    say, code = ARCHIVE_WORDS[word]
    command = archive(world)
    process = world.process()
    said: list[str] = []

    def meanwhile(point: str) -> None:
        if point == step and not said:
            said.append(point)
            say(world, command)

    if step == "queued":
        say(world, command)
    process.fuse.before_step = meanwhile
    process.deliver()
    process.fuse.before_step = lambda _: None
    world.drain(world.process())
    assert [call for call in world.writes() if call.action == "archive"] == []
    assert world.state(Resource.RUN, RUN) is State.ACTIVE
    assert world.intent(command.intent_id).code == code


def test_a_newer_archive_stops_no_restore(world: World) -> None:
    archive(world, "first")
    world.drain(world.process())
    restore = restored(world)
    world.clock.advance(SECOND)
    later = world.command(Resource.RUN, RUN, Action.ARCHIVE, "later")
    world.ledger.accept(later)
    world.drain(world.process())
    assert world.intent(restore.intent_id).status is Status.DONE


def test_an_undo_of_a_queued_archive_leaves_alone_what_somebody_archived_by_hand_meanwhile(world: World) -> None:
    command = archive(world)
    world.simulator.organization.runs[RUN].archive(world.clock())
    undo = undone(world, command)
    world.drain(world.process())
    assert world.state(Resource.RUN, RUN) is State.ARCHIVED
    assert (world.intent(undo).status, world.intent(undo).code) == (Status.DONE, "undone")


def test_a_pause_stops_a_batch_after_the_call_it_is_in(world: World) -> None:
    things = [f"{number:032x}" for number in range(1, 11)]
    for thing in things:
        world.add(Resource.RUN, thing)
        world.send(world.command(Resource.RUN, thing, Action.ARCHIVE, thing))
    process = world.process()
    calls: list[str] = []

    def meanwhile(point: str) -> None:
        if point == "act":
            calls.append(point)
            if len(calls) == 3:
                world.pacing.pause(ORG, "Grace: an audit")

    process.fuse.before_step = meanwhile
    process.deliver(10)
    assert len([call for call in world.writes() if call.action == "archive"]) == 3
    world.pacing.resume(ORG)
    world.drain(world.process())
    assert all(world.state(Resource.RUN, thing) is State.ARCHIVED for thing in things)


# --- undo -------------------------------------------------------------------------------------------------------------


def test_an_undo_leaves_alone_what_somebody_archived_again_by_hand_since(world: World) -> None:
    command = archive(world)
    world.drain(world.process())
    run = world.simulator.organization.runs[RUN]
    run.restore(world.clock())
    world.clock.advance(timedelta(minutes=10))
    run.archive(world.clock())
    undo = undone(world, command)
    world.drain(world.process())
    assert world.state(Resource.RUN, RUN) is State.ARCHIVED
    assert world.intent(undo).status is Status.SUPERSEDED
    assert "archived it again" in world.intent(undo).reason
    assert world.letters(undo) == []


def test_an_undo_leaves_alone_what_a_newer_command_archived_again(world: World) -> None:
    command = archive(world)
    world.drain(world.process())
    restored(world)
    world.drain(world.process())
    world.clock.advance(timedelta(minutes=2))
    newer = archive(world, "again")
    world.drain(world.process())
    undo = undone(world, command)
    world.drain(world.process())
    assert world.state(Resource.RUN, RUN) is State.ARCHIVED
    assert newer.intent_id in world.intent(undo).reason


def test_an_undo_that_was_itself_undone_says_that_it_does_nothing(world: World) -> None:
    command = archive(world)
    world.drain(world.process())
    undo = undone(world, command)
    world.drain(world.process())
    world.clock.advance(timedelta(minutes=2))
    _, told = operate(world.operating(), UNDO, ADA, intent_id=undo)
    world.drain(world.process())
    assert world.state(Resource.RUN, RUN) is State.ARCHIVED
    with pytest.raises(Exception, match="was itself undone") as refused:
        undone(world, command)
    assert str(told["intent_id"]) in str(refused.value)


# --- time -------------------------------------------------------------------------------------------------------------


def test_an_undo_is_not_lost_where_tallyfy_still_shows_what_was_before(world: World) -> None:
    """Tallyfy answers reads for ten seconds as if the archive had not been."""
    command = archive(world)
    world.drain(world.process())
    run = world.simulator.organization.runs[RUN]
    run.restore(world.clock())  # as it still looks
    undo = undone(world, command)
    world.process().deliver()
    assert world.intent(undo).code == Code.READ_LAG
    world.clock.advance(timedelta(seconds=10))
    run.archive(world.clock() - timedelta(seconds=12))
    world.drain(world.process())
    assert world.state(Resource.RUN, RUN) is State.ACTIVE
    assert world.intent(undo).status is Status.DONE


def test_after_a_minute_what_tallyfy_shows_is_believed(world: World) -> None:
    command = archive(world)
    world.drain(world.process())
    world.simulator.organization.runs[RUN].restore(world.clock())
    undo = undone(world, command)
    world.drain(world.process())
    assert world.intent(undo).status is Status.UNCHANGED
    assert world.clock() - NOW >= timedelta(milliseconds=READ_LAG)


# --- what nobody began ------------------------------------------------------------------------------------------------


def test_a_delete_whose_first_attempt_died_at_its_look_and_that_is_gone_by_another_hand_was_not_found() -> None:
    burying = burial()
    command = burying.ask(Resource.RUN, RUN)
    burying.fuse = FaultInjector("look", "after")
    burying.deliver()
    burying.fuse = FaultInjector()
    del burying.world.simulator.organization.runs[RUN]
    burying.work()
    row = burying.world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.REJECTED, Code.NOT_FOUND)


def test_a_delete_of_what_never_was_is_not_found_whatever_died_before() -> None:
    burying = burial()
    command = burying.ask(Resource.RUN, "ab" * 16)
    for point in ("claim", "look"):
        burying.fuse = FaultInjector(point, "after")
        burying.deliver()
        burying.world.clock.advance(timedelta(minutes=10))
    burying.fuse = FaultInjector()
    burying.work()
    assert burying.world.intent(command.intent_id).code == Code.NOT_FOUND


def test_a_word_that_this_release_cannot_read_keeps(world: World) -> None:
    command = archive(world)
    world.rows.write(Put(Key(f"word#{ORG}#run#{RUN}", "word"), {"at": "soon", "by": "Grace"}, 0))
    world.drain(world.process())
    assert world.intent(command.intent_id).code == "restored"
    assert world.writes() == []


def test_a_pause_between_look_and_call_is_no_failed_attempt(world: World) -> None:
    command = archive(world)
    process = world.process()
    pacing: Pacing = world.pacing
    process.fuse.before_step = lambda point: pacing.pause(ORG, "Grace") if point == "look" else None
    process.deliver()
    row = world.intent(command.intent_id)
    assert (row.status, row.code, row.attempts, row.maybe_acted) == (Status.WAITING, Code.PAUSED, 0, False)


def test_an_outage_after_the_mark_leaves_the_doubt_and_is_looked_at_again(world: World) -> None:
    command = archive(world)
    world.simulator.add_fault(Fault.reset("after", method="DELETE"))
    world.drain(world.process())
    assert len([call for call in world.writes() if call.action == "archive"]) == 1
    assert world.intent(command.intent_id).status is Status.DONE


@pytest.mark.parametrize("action", [Action.ARCHIVE, Action.RESTORE])
def test_what_a_person_took_back_after_a_call_without_an_answer_is_not_done_again(world: World, action: Action) -> None:
    run = world.simulator.organization.runs[RUN]
    if action is Action.RESTORE:
        run.archive(world.clock())
    world.clock.advance(SECOND)
    command = world.command(Resource.RUN, RUN, action, "in doubt")
    world.send(command)
    process = world.process()
    process.fuse.point, process.fuse.when, process.fuse.harm = "conclude", "before", "outage"
    process.deliver()
    world.clock.advance(timedelta(minutes=5))
    if action is Action.ARCHIVE:
        run.restore(world.clock())
    else:
        run.archive(world.clock())
    world.drain(world.process())
    assert len(world.effects[command.intent_id]) == 1
    row = world.intent(command.intent_id)
    assert (row.status, row.code, row.maybe_acted) == (Status.REJECTED, Code.CHANGED, True)
    assert world.send_again() == 1
    world.drain(world.process())
    assert len(world.effects[command.intent_id]) == 1
