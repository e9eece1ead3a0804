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
from tests.unit.deletion.test_safeguards import OWNER, RUN, TEMPLATE, purge_run_of

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
    "a restore": (lambda purging, _: restored(purging.world), {"restored", "not_archived"}),
    "a hold": (lambda purging, _: held(purging.world), {"held"}),
    "a hold that is lifted again": (lambda purging, _: held_and_lifted(purging.world), {"held"}),
    "a hold on its template": (lambda purging, _: held(purging.world, Resource.TEMPLATE, TEMPLATE), {"held"}),
    "a hold on all of its owner": (
        lambda purging, _: purging.world.holds.add(ORG, "owner", str(OWNER), reason="she left", by="Grace"),
        {"held"},
    ),
    "an undo": (lambda purging, command: undone(purging.world, command), {"undone"}),
    "a rejection": (lambda purging, command: says(purging, "reject", command), {"not_approved"}),
    "a withdrawal": (
        lambda purging, command: says(purging, "withdraw", command),
        {"approval_expired", "awaiting_approval"},
    ),
}


def says(purging: PurgeRun, what: str, command: Command) -> None:
    """What a person does at the terminal, under their own identity."""
    route = f"POST /approvals/{{hash}}/{what}"
    operate(purging.world.operating(), route, BOB, {"why": ""}, hash=purging.wanted(command).hash)


def approved(fuse: FaultInjector) -> tuple[PurgeRun, Command]:
    """A delete that was approved, and of which the last delivery is still to come."""
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    purging.press("approve", purging.wanted(command).hash, "bob")
    purging.fuse = fuse
    return purging, command


def steps() -> list[str]:
    """What a delivery goes through from the approval to the delete."""
    fuse = FaultInjector()
    purging, _ = approved(fuse)
    purging.deliver()
    return fuse.taken[: fuse.taken.index("act") + 1]


@pytest.mark.parametrize("word", WORDS)
def test_a_later_restore_hold_undo_or_rejection_stops_an_approved_delete_before_each_step(word: str) -> None:
    say, codes = WORDS[word]
    path = steps()
    assert {"claim", "look", "put", "fetch", "mark"} <= set(path)
    assert path[-2:] == ["read", "act"]
    for number, point in enumerate(path[:-1]):
        purging, command, accepted = _interrupted(say, number)
        purging.advance(DEADLINE)
        purging.work()
        if not accepted:
            assert "mark" in path[:number]  # Whoever spoke was told that the call is being made.
            continue
        row = purging.world.intent(command.intent_id)
        assert purging.deletes(RUN) == [], (number, point)
        assert row.code in codes, (number, point, row)
        assert purging.world.state(Resource.RUN, RUN) is not State.GONE


def _interrupted(say: Word, number: int) -> tuple[PurgeRun, Command, bool]:
    """A delivery in which somebody speaks right before a step; whether that was accepted."""
    fuse = FaultInjector()
    purging, command = approved(fuse)
    heard: list[str] = []
    refused: list[Rejected] = []

    def meanwhile(point: str) -> None:
        heard.append(point)
        if len(heard) == number + 1:
            try:
                say(purging, command)
            except Rejected as error:
                refused.append(error)

    fuse.before_step = meanwhile
    purging.deliver()
    fuse.before_step = lambda _: None
    return purging, command, not refused


def test_a_restore_accepted_during_an_export_is_carried_out_and_both_outcomes_name_it() -> None:
    fuse = FaultInjector()
    purging, command = approved(fuse)
    restores: list[Command] = []

    def meanwhile(point: str) -> None:
        if point == "put" and not restores:
            restores.append(restored(purging.world))

    fuse.before_step = meanwhile
    purging.deliver()
    purging.work()
    purging.world.drain(purging.world.process())
    [restore] = restores
    assert purging.world.state(Resource.RUN, RUN) is State.ACTIVE
    stopped, done = purging.world.intent(command.intent_id), purging.world.intent(restore.intent_id)
    assert (stopped.status, stopped.code, restore.intent_id in stopped.reason) == (Status.SUPERSEDED, "restored", True)
    assert (done.status, command.intent_id in done.reason) == (Status.DONE, True)


def test_a_restore_ends_a_delete_that_waits_for_approval_and_the_outcome_names_the_restore() -> None:
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    restore = restored(purging.world)
    purging.world.drain(purging.world.process())
    assert purging.world.intent(command.intent_id).code == "restored"
    assert command.intent_id in purging.world.intent(restore.intent_id).reason


@pytest.mark.parametrize("day", [0, 1, 2, 20])
def test_a_hold_set_at_any_time_between_approval_and_delete_cancels_the_delete_permanently(day: int) -> None:
    purging = purge_run_of(days=5)
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    purging.approve(command)
    assert purging.world.intent(command.intent_id).code == Code.IN_GRACE
    purging.advance(timedelta(days=day))
    held_and_lifted(purging.world)
    purging.advance(timedelta(days=50))
    assert purging.deletes(RUN) == []
    row = purging.world.intent(command.intent_id)
    assert (row.code, "lifted" in row.reason) == (Code.HELD, True)


def test_a_hold_lifted_before_a_delete_was_requested_does_not_stop_the_delete() -> None:
    purging = purge_run_of()
    held_and_lifted(purging.world)
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    purging.approve(command)
    assert purging.world.intent(command.intent_id).status is Status.DONE


def test_a_restore_refused_by_intake_stops_nothing() -> None:
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    with pytest.raises(Exception, match="right_missing"):
        operate(purging.world.operating(), UNDO, "arn:aws:iam::123456789012:user/dan", intent_id=command.intent_id)
    purging.approve(command)
    assert purging.world.intent(command.intent_id).status is Status.DONE


def test_an_approval_that_was_withdrawn_can_be_given_again() -> None:
    purging = purge_run_of(days=5)
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    purging.approve(command)
    says(purging, "withdraw", command)
    purging.work()
    assert purging.world.intent(command.intent_id).code == Code.AWAITING_APPROVAL
    purging.approve(command)
    purging.advance(timedelta(days=40))
    assert len(purging.deletes(RUN)) == 1


def test_an_approval_cannot_be_withdrawn_after_the_call() -> None:
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    purging.approve(command)
    for what in ("withdraw", "reject"):
        with pytest.raises(Rejected, match="has ended"):
            says(purging, what, command)


@pytest.mark.parametrize("word", ["a restore", "a hold", "a hold that is lifted again", "an undo"])
def test_an_impossible_delete_is_not_offered_for_approval_and_approving_it_says_why(word: str) -> None:
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    say, _ = WORDS[word]
    say(purging, command)
    _, told = operate(purging.world.operating(), "GET /approvals", BOB)
    assert told == {"approvals": []}
    with pytest.raises(Rejected, match="would have no effect") as refused:
        says(purging, "approve", command)
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
def test_a_restore_a_hold_or_an_undo_stops_an_archive_before_its_call(world: World, word: str, step: str) -> None:
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


def test_a_newer_archive_does_not_stop_a_restore(world: World) -> None:
    archive(world, "first")
    world.drain(world.process())
    restore = restored(world)
    world.clock.advance(SECOND)
    later = world.command(Resource.RUN, RUN, Action.ARCHIVE, "later")
    world.ledger.accept(later)
    world.drain(world.process())
    assert world.intent(restore.intent_id).status is Status.DONE


def test_an_undo_of_a_queued_archive_keeps_a_process_archived_by_hand_meanwhile(world: World) -> None:
    command = archive(world)
    world.simulator.organization.runs[RUN].archive(world.clock())
    undo = undone(world, command)
    world.drain(world.process())
    assert world.state(Resource.RUN, RUN) is State.ARCHIVED
    assert (world.intent(undo).status, world.intent(undo).code) == (Status.DONE, "undone")


def test_a_pause_stops_a_batch_after_the_current_call(world: World) -> None:
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


def test_an_undo_keeps_a_process_that_somebody_archived_again_by_hand(world: World) -> None:
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


def test_an_undo_keeps_a_process_that_a_newer_command_archived_again(world: World) -> None:
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


def test_an_undo_that_was_itself_undone_is_refused_with_the_reason(world: World) -> None:
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


def test_an_undo_is_not_lost_when_tallyfy_still_returns_the_old_state(world: World) -> None:
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


def test_after_a_minute_the_state_that_tallyfy_returns_is_trusted(world: World) -> None:
    command = archive(world)
    world.drain(world.process())
    world.simulator.organization.runs[RUN].restore(world.clock())
    undo = undone(world, command)
    world.drain(world.process())
    assert world.intent(undo).status is Status.UNCHANGED
    assert world.clock() - NOW >= timedelta(milliseconds=READ_LAG)


# --- what nobody began ------------------------------------------------------------------------------------------------


def test_a_delete_that_died_before_its_call_is_not_found_if_somebody_else_deleted_the_resource() -> None:
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, RUN)
    purging.fuse = FaultInjector("look", "after")
    purging.deliver()
    purging.fuse = FaultInjector()
    del purging.world.simulator.organization.runs[RUN]
    purging.work()
    row = purging.world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.REJECTED, Code.NOT_FOUND)


def test_a_delete_of_a_resource_that_never_existed_is_not_found_after_any_crash() -> None:
    purging = purge_run_of()
    command = purging.ask(Resource.RUN, "ab" * 16)
    for point in ("claim", "look"):
        purging.fuse = FaultInjector(point, "after")
        purging.deliver()
        purging.world.clock.advance(timedelta(minutes=10))
    purging.fuse = FaultInjector()
    purging.work()
    assert purging.world.intent(command.intent_id).code == Code.NOT_FOUND


def test_a_row_that_this_release_cannot_read_keeps_the_resource(world: World) -> None:
    command = archive(world)
    world.rows.write(Put(Key(f"word#{ORG}#run#{RUN}", "word"), {"at": "soon", "by": "Grace"}, 0))
    world.drain(world.process())
    assert world.intent(command.intent_id).code == "restored"
    assert world.writes() == []


def test_a_pause_between_look_and_call_is_not_counted_as_a_failed_attempt(world: World) -> None:
    command = archive(world)
    process = world.process()
    pacing: Pacing = world.pacing
    process.fuse.before_step = lambda point: pacing.pause(ORG, "Grace") if point == "look" else None
    process.deliver()
    row = world.intent(command.intent_id)
    assert (row.status, row.code, row.attempts, row.maybe_acted) == (Status.WAITING, Code.PAUSED, 0, False)


def test_an_outage_after_the_mark_leaves_the_command_in_doubt_and_the_next_attempt_looks_again(world: World) -> None:
    command = archive(world)
    world.simulator.add_fault(Fault.reset("after", method="DELETE"))
    world.drain(world.process())
    assert len([call for call in world.writes() if call.action == "archive"]) == 1
    assert world.intent(command.intent_id).status is Status.DONE


@pytest.mark.parametrize("action", [Action.ARCHIVE, Action.RESTORE])
def test_a_command_without_an_answer_is_not_repeated_after_a_person_reverted_it(world: World, action: Action) -> None:
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
