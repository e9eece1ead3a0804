"""A batch announces its outcomes together: one call, one row, and again after a crash between the two."""

from datetime import timedelta
from typing import override

import pytest

from lifecycle.aws.eventbridge import Event, MemoryBus
from lifecycle.aws.metrics import Metric
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.commands import Command
from lifecycle.domain.intent import Status
from tests.harness.fault_injection import When
from tests.harness.world import LEASE, VISIBILITY, Process, World

RUNS = tuple(f"{number:032x}" for number in range(1, 5))


def asked(world: World) -> list[Command]:
    """Four processes that are to be archived."""
    commands = []
    for run in RUNS:
        world.add(Resource.RUN, run)
        commands.append(world.command(Resource.RUN, run, Action.ARCHIVE, run))
        world.send(commands[-1])
    return commands


def announced(world: World, commands: list[Command]) -> list[int]:
    """How often each command was announced, always as done."""
    told = [world.announced(command.intent_id) for command in commands]
    assert {status for statuses in told for status in statuses} <= {"done"}
    return [len(statuses) for statuses in told]


@pytest.fixture
def world() -> World:
    return World()


def test_the_outcomes_of_a_batch_are_announced_in_one_call_and_recorded_in_one_write(world: World) -> None:
    commands, worker = asked(world), world.process()
    assert worker.deliver(4) == 4
    assert announced(world, commands) == [1, 1, 1, 1]
    assert (worker.fuse.taken.count("announce"), worker.fuse.taken.count("mark_delivered")) == (1, 1)
    assert worker.fuse.taken[-2:] == ["announce", "mark_delivered"]
    assert {world.intent(command.intent_id).pending for command in commands} == {()}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["announce", "mark_delivered"])
def test_a_crash_between_the_effects_and_the_end_of_the_batch_announces_again_and_acts_once(
    world: World, point: str, when: When
) -> None:
    commands, dying = asked(world), world.process()
    dying.fuse.point, dying.fuse.when = point, when
    assert dying.deliver(4) == 0
    assert [world.intent(command.intent_id).status for command in commands] == [Status.DONE] * 4
    told = announced(world, commands)
    world.clock.advance(timedelta(seconds=VISIBILITY))
    world.drain(world.process())
    recorded = (point, when) == ("mark_delivered", "after")
    assert announced(world, commands) == [count + (0 if recorded else 1) for count in told]
    assert len(world.writes()) == 4
    assert world.metrics.counts[Metric.DUPLICATE] == (4 if recorded else 0)


@pytest.mark.parametrize("point", ["announce", "mark_delivered"])
def test_messages_come_back_while_aws_cannot_take_the_announcement(world: World, point: str) -> None:
    commands, worker = asked(world), world.process()
    worker.fuse.point, worker.fuse.harm = point, "outage"
    assert worker.deliver(4) == 0
    assert world.queue.depth() == 4
    world.drain(worker)
    assert min(announced(world, commands)) >= 1
    assert {world.intent(command.intent_id).pending for command in commands} == {()}
    assert len(world.writes()) == 4


class PickyBus(MemoryBus):
    """Takes all but one event of the first call."""

    @override
    def announce_all(self, events: list[Event]) -> dict[int, str]:  # type: ignore[override]
        if self.announced:
            return super().announce_all(events)
        super().announce_all([events[0], *events[2:]])
        return {1: "ThrottlingException"}


def test_an_event_that_the_bus_refused_comes_back_alone() -> None:
    world = World(bus=PickyBus())
    commands, worker = asked(world), world.process()
    assert worker.deliver(4) == 3
    assert announced(world, commands) == [1, 0, 1, 1]
    world.drain(worker)
    assert announced(world, commands) == [1, 1, 1, 1]
    assert {world.intent(command.intent_id).pending for command in commands} == {()}


def test_a_late_copy_finds_in_the_row_of_the_batch_that_it_was_announced(world: World) -> None:
    commands, worker = asked(world), world.process()
    worker.deliver(4)
    world.clock.advance(timedelta(seconds=LEASE + 1))
    for command in commands:
        world.queue.send(command.to_json())
    world.drain(worker)
    assert announced(world, commands) == [1, 1, 1, 1]
    assert world.metrics.counts[Metric.DUPLICATE] == 4


def test_outcomes_left_by_a_crashed_process_are_not_announced_with_the_next_batch(world: World) -> None:
    """Lambda goes on with a process whose invocation failed; those messages come back by themselves."""
    asked(world)
    worker: Process = world.process()
    messages = world.queue.receive(1, hidden_for=VISIBILITY)
    with worker.worker.for_batch(messages):
        worker.worker.handle(messages[0])
    with worker.worker.for_batch(messages):
        assert worker.worker.finish() == []
    assert world.bus.announced == []
