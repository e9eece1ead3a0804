"""Undo: one command, younger than every copy of what it takes back, for whoever may ask for the way back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from lifecycle.aws.dynamodb import Row
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import IntentRow, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.undo import UndoService, undo_command, undo_of
from sandbox.simulator import Fault
from sandbox.simulator.world import Run, Task, Thread
from tests.harness.builders import ID_KEY, NOW, ORG
from tests.harness.fault_injection import ANY_STEP, FaultInjector, Harm, When
from tests.harness.purge_run import PurgeRun, operate
from tests.harness.world import World

RUN = "a1" * 16
DAY = timedelta(days=1)


def _id(number: int) -> str:
    return f"{number:032x}"


@dataclass
class Desk:
    """A world in which people archive and undo."""

    world: World = field(default_factory=World)

    @property
    def undoing(self) -> UndoService:
        return self.world.operating().undoing

    def ask(self, thing: str = RUN, action: Action = Action.ARCHIVE, resource: Resource = Resource.RUN) -> Command:
        self.world.clock.advance(timedelta(seconds=1))
        command = self.world.command(resource, thing, action, f"{action}-{thing}-{self.world.clock()}")
        self.world.send(command)
        return command

    def work(self) -> None:
        self.world.drain(self.world.process())

    def archived(self, thing: str = RUN) -> Command:
        command = self.ask(thing)
        self.work()
        return command

    def undo(self, target: str, who: str = "bob") -> str:
        self.world.clock.advance(timedelta(seconds=1))
        return self.undoing.undo(target, by=who, person=self.world.people.people[who])

    def refused(self, target: str, who: str = "bob") -> Code:
        before = self.world.queue.depth()
        with pytest.raises(Rejected) as refused:
            self.undo(target, who)
        assert self.world.queue.depth() == before, "something was sent"
        return refused.value.code

    def is_at(self, intent: str, status: Status, code: Code) -> None:
        row = self.world.intent(intent)
        assert (row.status, row.code) == (status, code), row

    def state(self, thing: str = RUN) -> State:
        return self.world.state(Resource.RUN, thing)


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.world.add(Resource.RUN, RUN)
    return made


def full(desk: Desk, tasks: int = 3) -> Run:
    """Give the process tasks with a comment each."""
    run = desk.world.simulator.organization.runs[RUN]
    run.tasks = [
        Task(_id(n), f"Task {n}", NOW, run_id=RUN, threads=[Thread(_id(n + 100), "Done.")]) for n in range(1, tasks + 1)
    ]
    desk.world.simulator.organization.add_run(run)
    return run


# --- it wins ----------------------------------------------------------------------------------------------------------


LATER = (timedelta(hours=1), DAY, 13 * DAY)


@pytest.mark.parametrize("later", LATER, ids=str)
@pytest.mark.parametrize("late", [None, {"redrive": "2"}], ids=["copy", "sent again"])
def test_a_thousand_undone_archives_stay_undone_when_late_copies_arrive(
    later: timedelta, late: Mapping[str, str] | None
) -> None:
    """A sixth of them in each of the six ways."""
    desk = Desk()
    ids = [_id(number) for number in range(1, 168)]
    for thing in ids:
        desk.world.add(Resource.RUN, thing)
    commands = [desk.ask(thing) for thing in ids]
    desk.work()
    assert {desk.state(thing) for thing in ids} == {State.ARCHIVED}
    undone = [desk.undo(command.intent_id) for command in commands]
    desk.work()
    assert {desk.state(thing) for thing in ids} == {State.ACTIVE}
    desk.world.clock.advance(later)
    for command in commands:
        desk.world.queue.send(command.to_json(), late)
    desk.work()
    assert {desk.state(thing) for thing in ids} == {State.ACTIVE}
    assert len(desk.world.writes()) == 2 * len(ids)
    assert {desk.world.intent(name).status for name in undone} == {Status.DONE}
    assert {desk.world.intent(command.intent_id).status for command in commands} == {Status.DONE}
    assert desk.world.depth == (0, 0)


@pytest.mark.parametrize("later", LATER, ids=str)
def test_a_late_copy_with_another_intent_id_is_superseded(desk: Desk, later: timedelta) -> None:
    """As another delivery of the same wish, made before the undo."""
    command = desk.ask()
    twin = desk.world.command(Resource.RUN, RUN, Action.ARCHIVE, "twin")
    desk.work()
    desk.undo(command.intent_id)
    desk.work()
    desk.world.clock.advance(later)
    desk.world.send(twin)
    desk.work()
    assert desk.state() is State.ACTIVE
    desk.is_at(twin.intent_id, Status.SUPERSEDED, Code.SUPERSEDED)


@pytest.mark.parametrize("later", LATER, ids=str)
def test_a_command_undone_before_it_started_is_never_carried_out(desk: Desk, later: timedelta) -> None:
    """Its first attempt was turned away; the undo comes before the second."""
    desk.world.simulator.add_fault(Fault.answer_status(503, method="GET"))
    command = desk.ask()
    desk.world.process().deliver()
    body = command.to_json()
    assert desk.world.intent(command.intent_id).status is Status.WAITING
    undo = desk.undo(command.intent_id)
    desk.is_at(undo, Status.DONE, Code.UNDONE)
    desk.world.queue.entries.clear()
    desk.world.clock.advance(later)
    desk.world.queue.send(body)
    desk.work()
    assert desk.state() is State.ACTIVE
    assert desk.world.writes() == []
    desk.is_at(command.intent_id, Status.SUPERSEDED, Code.UNDONE)
    assert desk.world.announced(command.intent_id) == ["superseded"]


def test_a_redriven_dead_letter_does_not_reverse_the_undo(desk: Desk) -> None:
    desk.world.simulator.add_fault(Fault.answer_status(503, method="GET", times=-1))
    command = desk.archived()
    assert desk.world.intent(command.intent_id).status is Status.DEAD_LETTERED
    desk.world.simulator.faults.clear()
    undo = desk.undo(command.intent_id)
    desk.work()
    assert desk.world.intent(undo).status is Status.UNCHANGED
    assert desk.world.send_again() == 1
    desk.work()
    assert desk.state() is State.ACTIVE
    desk.is_at(command.intent_id, Status.SUPERSEDED, Code.SUPERSEDED)


def test_an_undo_is_newer_than_its_command_even_if_the_accepting_clock_was_ahead(desk: Desk) -> None:
    command = desk.world.command(
        Resource.RUN, RUN, Action.ARCHIVE, "ahead", issued_at=desk.world.clock() + timedelta(minutes=5)
    )
    body = desk.world.send(command)
    desk.work()
    undo = desk.undo(command.intent_id)
    desk.work()
    assert desk.state() is State.ACTIVE
    assert desk.world.intent(undo).status is Status.DONE
    assert desk.world.intent(undo).issued_at == millis(command.issued_at) + 1
    desk.world.queue.send(body)
    desk.work()
    assert desk.state() is State.ACTIVE


def test_times_are_converted_to_milliseconds_exactly() -> None:
    moments = [NOW + timedelta(milliseconds=number) for number in range(1000)]
    assert [millis(moment) - millis(NOW) for moment in moments] == list(range(1000))


def test_neither_a_pause_nor_a_hold_stops_an_undo(desk: Desk) -> None:
    command = desk.archived()
    desk.world.pacing.pause(ORG, by="Grace")
    desk.world.holds.add(ORG, Resource.RUN, RUN, reason="the auditors", by="Grace")
    undo = desk.undo(command.intent_id)
    desk.world.process().deliver()
    assert desk.world.intent(undo).status is Status.DONE
    assert desk.state() is State.ACTIVE


@pytest.mark.parametrize("harm", ["crash", "outage"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_undo_killed_at_any_step_is_done_once(when: When, harm: Harm) -> None:
    def program(fuse: FaultInjector) -> tuple[Desk, str]:
        desk = Desk()
        desk.world.add(Resource.RUN, RUN)
        full(desk)
        command = desk.archived()
        undo = desk.undo(command.intent_id)
        process = desk.world.process()
        process.fuse.point, process.fuse.when, process.fuse.harm, process.fuse.skip = (
            fuse.point,
            fuse.when,
            fuse.harm,
            fuse.skip,
        )
        process.deliver()
        fuse.taken, fuse.blown = process.fuse.taken, process.fuse.blown
        desk.work()
        return desk, undo

    steps = FaultInjector()
    program(steps)
    for step, point in enumerate(steps.taken):
        if harm == "outage" and point in {"look", "act"}:
            continue
        desk, undo = program(FaultInjector(ANY_STEP, when, harm, skip=step))
        where = f"{harm} {when} step {step}, {point}"
        assert desk.state() is State.ACTIVE, where
        assert len(desk.world.effects[undo]) == 1, where
        # A restore is found done if it was cut off just after; never is it doubted because counting failed.
        assert desk.world.intent(undo).status is Status.DONE, where
        assert desk.world.letters(undo) == [], where


# --- twice, and by two ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["bob", "ada"])
@pytest.mark.parametrize("between", ["at once", "later"])
def test_an_undo_requested_twice_or_by_two_people_is_done_once(desk: Desk, second: str, between: str) -> None:
    command = desk.archived()
    undo = desk.undo(command.intent_id, "bob")
    if between == "later":
        desk.work()
    assert desk.undo(command.intent_id, second) == undo
    assert desk.world.queue.depth() == (0 if between == "later" else 2)
    desk.work()
    desk.is_at(undo, Status.DONE, Code.ACTED)
    assert desk.world.intent(undo).requested_by == "bob"
    assert len(desk.world.effects[undo]) == 1
    assert desk.world.depth == (0, 0), "no conflict between the two"
    assert desk.world.announced(undo) == ["done"]


def test_a_failed_undo_can_be_requested_again(desk: Desk) -> None:
    command = desk.archived()
    desk.world.simulator.add_fault(Fault.answer_status(403, method="PUT"))
    undo = desk.undo(command.intent_id)
    desk.work()
    desk.is_at(undo, Status.REJECTED, Code.FORBIDDEN)
    assert desk.undo(command.intent_id) == undo
    desk.work()
    desk.is_at(undo, Status.DONE, Code.ACTED)
    assert desk.state() is State.ACTIVE
    # Its dead letter lies there still, and does no harm.
    assert desk.world.send_again() == 1
    desk.work()
    assert len(desk.world.effects[undo]) == 1
    assert desk.state() is State.ACTIVE


def test_a_failed_undo_can_be_requested_again_after_its_deadline(desk: Desk) -> None:
    command = desk.archived()
    desk.world.simulator.add_fault(Fault.answer_status(403, method="PUT"))
    undo = desk.undo(command.intent_id)
    desk.work()
    desk.is_at(undo, Status.REJECTED, Code.FORBIDDEN)
    desk.world.clock.advance(15 * DAY)
    assert desk.undo(command.intent_id) == undo
    desk.work()
    desk.is_at(undo, Status.DONE, Code.ACTED)
    assert desk.state() is State.ACTIVE


@pytest.mark.parametrize("action", [Action.ARCHIVE, Action.DELETE])
def test_two_people_who_stop_a_command_at_once_get_the_same_answer(desk: Desk, action: Action) -> None:
    world = desk.world
    command = world.command(Resource.RUN, RUN, action, "at once")
    world.ledger.accept(command)
    ada: list[str] = []

    def meanwhile() -> datetime:
        if not ada:
            ada.append("")
            ada[0] = desk.undo(command.intent_id, "ada")
        return world.clock()

    bob = replace(desk.undoing, clock=meanwhile).undo(command.intent_id, by="bob", person=world.people.people["bob"])
    assert [bob] == ada
    desk.is_at(command.intent_id, Status.SUPERSEDED, Code.UNDONE)


def test_an_undo_of_an_undo_reverses_it_and_the_first_command_stays_superseded(desk: Desk) -> None:
    command = desk.archived()
    undo = desk.undo(command.intent_id)
    desk.work()
    again = desk.undo(undo)
    desk.work()
    assert desk.state() is State.ARCHIVED
    desk.is_at(again, Status.DONE, Code.ACTED)
    assert again not in {undo, command.intent_id}
    third = desk.undo(again)
    desk.work()
    assert desk.state() is State.ACTIVE
    assert len({command.intent_id, undo, again, third}) == 4
    for row in (command.intent_id, undo, again):
        assert desk.world.intent(row).status is Status.DONE


def test_an_undo_of_an_undo_reports_no_missing_tasks(desk: Desk) -> None:
    """A Tallyfy that shows the tasks of what is archived, and hides them when it is archived again."""
    full(desk)
    command = desk.archived()
    undo = desk.undo(command.intent_id)
    desk.work()
    key = next(key for key in desk.world.rows.table if undo in key.pk)
    row = desk.world.rows.table[key]
    desk.world.rows.table[key] = Row({**row.values, "evidence": '{"tasks": 3, "comments": 3}'}, row.version)
    again = desk.undo(undo)
    desk.work()
    desk.is_at(again, Status.DONE, Code.ACTED)


# --- what cannot, and who may not -------------------------------------------------------------------------------------


def test_nobody_can_undo_a_delete() -> None:
    purging = PurgeRun()
    purging.world.add(Resource.RUN, RUN, archived_days=40)
    command = purging.ask(Resource.RUN, RUN)
    purging.work()
    desk = Desk(purging.world)
    purging.approve(command)
    assert desk.state() is State.GONE
    for who in ("ada", "bob", "eve"):
        with pytest.raises(Rejected, match="cannot be undone by anyone") as refused:
            desk.undo(command.intent_id, who)
        assert refused.value.code is Code.NOT_POSSIBLE


def _changed_nothing(desk: Desk) -> str:
    desk.archived()
    return desk.archived().intent_id


def _superseded(desk: Desk) -> str:
    old = desk.world.command(Resource.RUN, RUN, Action.ARCHIVE, "old")
    undo = desk.undo(desk.archived().intent_id)
    desk.work()
    desk.world.send(old)
    desk.work()
    assert desk.world.intent(undo).status is Status.DONE
    return old.intent_id


@pytest.mark.parametrize("made", [_changed_nothing, _superseded])
def test_a_command_that_changed_nothing_cannot_be_undone(desk: Desk, made: Callable[[Desk], str]) -> None:
    """Its undo would restore what somebody else archived."""
    target = made(desk)
    state = desk.state()
    assert desk.refused(target) is Code.NOT_POSSIBLE
    desk.work()
    assert desk.state() is state


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("dan", Code.RIGHT_MISSING),  # may archive, not restore
        ("cleo", Code.RIGHT_MISSING),  # may approve only
        ("eve", Code.RIGHT_MISSING),  # of another organization
    ],
)
def test_a_person_without_the_right_to_the_opposite_action_cannot_undo(desk: Desk, who: str, code: Code) -> None:
    command = desk.archived()
    assert desk.refused(command.intent_id, who) is code
    desk.work()
    assert desk.state() is State.ARCHIVED


@pytest.mark.parametrize(
    "target", ["", "int_", "int_" + "0" * 48, "../x", intent_id(ID_KEY, "operator", "never sent"), "of#x"]
)
def test_an_intent_unknown_to_the_ledger_cannot_be_undone(desk: Desk, target: str) -> None:
    assert desk.refused(target) is Code.UNKNOWN_INTENT


def test_an_intent_of_another_organization_is_not_known_here(desk: Desk) -> None:
    command = desk.archived()
    elsewhere = replace(desk.undoing, org_ids=frozenset({"e0" * 16}))
    with pytest.raises(Rejected) as refused:
        elsewhere.undo(command.intent_id, by="eve", person=desk.world.people.people["eve"])
    assert refused.value.code is Code.UNKNOWN_INTENT


def test_a_template_restore_cannot_be_undone_by_archiving_the_template() -> None:
    """Archiving it again costs references, and that is nothing to ask for as an undo."""
    desk = Desk()
    desk.world.add(Resource.TEMPLATE, RUN)
    command = desk.ask(RUN, Action.ARCHIVE, Resource.TEMPLATE)
    desk.work()
    undo = desk.undo(command.intent_id, "ada")
    desk.work()
    assert desk.world.state(Resource.TEMPLATE, RUN) is State.ACTIVE
    assert desk.refused(undo, "ada") is Code.RIGHT_MISSING


@pytest.mark.parametrize(
    ("resource", "action", "back"),
    [
        (Resource.RUN, Action.ARCHIVE, "run.restore"),
        (Resource.RUN, Action.RESTORE, "run.archive"),
        (Resource.TASK, Action.ARCHIVE, "task.restore"),
        (Resource.TEMPLATE, Action.ARCHIVE, "template.restore"),
    ],
)
def test_each_capability_has_the_expected_undo(resource: Resource, action: Action, back: str) -> None:
    row = _row(resource, action)
    assert undo_of(row).name == back
    made = undo_command(row, name=intent_id(ID_KEY, "undo", row.intent_id), by="bob", now=NOW)
    assert (made.capability.name, made.source, made.undoes) == (back, "undo", row.intent_id)
    assert made.org_id == ORG
    assert Command.model_validate_json(made.to_json()) == made


@pytest.mark.parametrize("resource", list(Resource))
def test_no_delete_has_an_undo(resource: Resource) -> None:
    with pytest.raises(Rejected) as refused:
        undo_of(_row(resource, Action.DELETE))
    assert refused.value.code is Code.NOT_POSSIBLE


def _row(resource: Resource, action: Action) -> IntentRow:
    return IntentRow(
        intent_id=intent_id(ID_KEY, "operator", "x"),
        meaning="",
        action=action,
        resource=resource,
        org_id=ORG,
        id=RUN,
        source="operator",
        requested_by="Ada",
        why="",
        issued_at=millis(NOW),
    )


# --- what came back ---------------------------------------------------------------------------------------------------


def _undone(desk: Desk, change: Callable[[Run], object]) -> str:
    """Archive, let something happen to it there, undo."""
    run = full(desk)
    command = desk.archived()
    assert json.loads(desk.world.intent(command.intent_id).evidence).items() >= {"tasks": 3, "comments": 3}.items()
    change(run)
    undo = desk.undo(command.intent_id)
    desk.work()
    return undo


def test_a_complete_restore_reports_no_loss(desk: Desk) -> None:
    undo = _undone(desk, lambda run: None)
    desk.is_at(undo, Status.DONE, Code.ACTED)
    assert desk.world.intent(undo).reason == "The process is active."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: run.tasks.pop(), "3 tasks were archived and 2 came back and 3 comments were archived and 2 came"),
        (lambda run: run.tasks.clear(), "3 tasks were archived and 0 came back"),
        (lambda run: run.tasks[0].threads.clear(), "but 3 comments were archived and 2 came back."),
    ],
)
def test_tasks_missing_after_a_restore_are_reported(desk: Desk, change: Callable[[Run], object], said: str) -> None:
    undo = _undone(desk, change)
    desk.is_at(undo, Status.DONE, Code.RESTORED_IN_PART)
    assert said in desk.world.intent(undo).reason
    assert desk.world.announced(undo) == ["done"]
    assert desk.state() is State.ACTIVE


def test_more_tasks_than_were_archived_are_not_reported_as_a_loss(desk: Desk) -> None:
    undo = _undone(desk, lambda run: run.tasks.append(Task(_id(9), "Another", NOW, run_id=RUN)))
    desk.is_at(undo, Status.DONE, Code.ACTED)


@pytest.mark.parametrize("fault", [Fault.reset("after", method="PUT"), Fault.html(502, "after", method="PUT")])
def test_missing_tasks_are_reported_even_if_the_answer_was_lost(desk: Desk, fault: Fault) -> None:
    desk.world.simulator.add_fault(fault)
    undo = _undone(desk, lambda run: run.tasks.pop())
    desk.is_at(undo, Status.DONE, Code.RESTORED_IN_PART)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["act", "conclude"])
def test_missing_tasks_are_reported_even_if_the_worker_died_after_the_call(desk: Desk, point: str, when: When) -> None:
    run = full(desk)
    command = desk.archived()
    run.tasks.pop()
    undo = desk.undo(command.intent_id)
    process = desk.world.process()
    process.fuse.point, process.fuse.when = point, when
    process.deliver()
    assert process.fuse.dead
    desk.work()
    desk.is_at(undo, Status.DONE, Code.RESTORED_IN_PART)


def test_a_failed_count_does_not_put_a_restore_in_doubt(desk: Desk) -> None:
    full(desk)
    command = desk.archived()
    desk.world.simulator.add_fault(Fault.answer_status(503, method="GET", skip=1, times=-1))
    undo = desk.undo(command.intent_id)
    desk.world.process().deliver()
    desk.is_at(undo, Status.DONE, Code.ACTED)


# --- the route --------------------------------------------------------------------------------------------------------


def test_the_undo_route_takes_the_caller_from_aws_and_returns_the_undo(desk: Desk) -> None:
    command = desk.archived()
    bob = str(desk.world.people.people["bob"].iam)
    status, told = operate(desk.world.operating(), "POST /commands/{intent_id}/undo", bob, intent_id=command.intent_id)
    assert status == 202
    undo = intent_id(ID_KEY, "undo", command.intent_id)
    assert told == _accepted(undo)
    desk.work()
    row = desk.world.intent(undo)
    assert (row.status, row.requested_by, row.source) == (Status.DONE, "bob", "undo")
    assert row.why == f"Undo of {command.intent_id}."


def _accepted(undo: str) -> Mapping[str, object]:
    return {"status": "accepted", "intent_id": undo, "status_url": f"/commands/{undo}"}
