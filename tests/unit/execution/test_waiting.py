"""However somebody is told to wait, and however often: nothing vanishes at the queue's backstop without a reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, override

import pytest

from lifecycle.aws.dynamodb import Contention, MemoryTable, Put
from lifecycle.aws.metrics import Metric
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import Status
from lifecycle.execution.ledger import Claim, Ledger, LedgerTerms
from lifecycle.pacing.backoff import MOST_RECEIVES
from lifecycle.pacing.token_bucket import Rate
from sandbox.simulator import Fault
from tests.harness.builders import ORG
from tests.harness.sweep_run import SweepRun
from tests.harness.world import Process, World

RUN = "a1" * 16
BACKSTOP = 100
"""SQS itself drops a message to the dead-letter queue after so many receives, without a reason."""
HALF = timedelta(days=2)
"""Half of the queue's retention of four days."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of waiting. ``arrange`` is done once, ``again`` before each delivery; ``least`` is what 89 waits add up to,
    however the dice fall."""

    arrange: Callable[[World, Process], None] = lambda _, __: None
    again: Callable[[World], None] = lambda _: None
    signal: Metric = Metric.THROTTLED
    least: timedelta = timedelta(hours=9)
    told: tuple[str, ...] = ()
    """What the world hears of it before the end."""
    rate: Rate = field(default_factory=lambda: Rate(6000, 600))


def _hold_the_thing(world: World, _: Process) -> None:
    """Another worker holds it, and never lets go."""
    ledger = Ledger(world.rows, LedgerTerms(timedelta(days=30), timedelta(days=400), 6), world.clock)
    assert isinstance(ledger.claim(world.command(Resource.RUN, RUN, Action.ARCHIVE, "another delivery")), Claim)


def _run_out_of_time(world: World, process: Process) -> None:
    process.transport.on_call = lambda: world.clock.advance(timedelta(seconds=58.5))


WAITS = {
    "429, Retry-After 1": Kind(lambda world, _: world.simulator.add_fault(Fault.rate_limit(1, times=-1))),
    "our own line": Kind(again=lambda world: world.pacing.overdraw(ORG, 3), rate=Rate(60, 2), least=timedelta(hours=3)),
    "a pause": Kind(lambda world, _: world.pacing.pause(ORG, "Ada"), signal=Metric.PAUSED, least=HALF),
    "a refused token": Kind(
        lambda world, _: world.simulator.world.rotate_token(ORG, 1001, "a new token"),
        signal=Metric.TOKEN_REFUSED,
        least=HALF,
    ),
    "a busy thing": Kind(_hold_the_thing, least=timedelta(hours=1)),
    "out of time": Kind(_run_out_of_time),
}


def _until_it_is_over(world: World, process: Process, again: Callable[[World], None]) -> int:
    """Deliver one message until it is gone; how often it was received."""
    receives = 0
    while (wait := world.next_visible()) is not None:
        world.clock.advance(timedelta(seconds=wait))
        again(world)
        process.deliver()
        receives += 1
        assert receives < BACKSTOP, "SQS would have dropped it without a reason"
    return receives


@pytest.mark.parametrize("roll", [0.0, 0.999])
@pytest.mark.parametrize("kind", WAITS.values(), ids=WAITS)
def test_a_waiting_command_survives_two_days_or_is_dead_lettered_at_the_90th_receive(kind: Kind, roll: float) -> None:
    world = World(rate=kind.rate, roll=lambda: roll)
    world.add(Resource.RUN, RUN)
    process = world.process()
    kind.arrange(world, process)
    command = world.command(Resource.RUN, RUN, Action.ARCHIVE, "delivery-1")
    world.send(command)
    receives = _until_it_is_over(world, process, kind.again)
    waited = world.clock() - command.issued_at
    row = world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.DEAD_LETTERED, Code.WAITED_TOO_LONG)
    assert receives == MOST_RECEIVES or waited > HALF
    assert waited >= kind.least
    assert waited < timedelta(days=4)
    [letter] = world.letters(command.intent_id)
    assert letter["code"] == "waited_too_long"
    assert letter["reason"].startswith("It waited until shortly before SQS would drop it.")
    assert world.announced(command.intent_id) == ["dead_lettered"]
    assert world.metrics.counts[kind.signal] >= receives - 1
    assert world.writes() == []


@pytest.mark.parametrize("fault", [Fault.answer_status(503, times=-1), Fault.html(502, times=-1)], ids=["503", "502"])
def test_a_command_that_always_fails_is_dead_lettered_after_six_attempts(fault: Fault) -> None:
    world = World(roll=lambda: 0.0)
    world.add(Resource.RUN, RUN)
    world.simulator.add_fault(fault)
    command = world.command(Resource.RUN, RUN, Action.ARCHIVE, "delivery-1")
    world.send(command)
    assert _until_it_is_over(world, world.process(), lambda _: None) == 6
    assert world.intent(command.intent_id).code == Code.ATTEMPTS_EXHAUSTED
    assert world.announced(command.intent_id) == ["dead_lettered"]


def test_a_command_that_waited_too_long_is_carried_out_when_redriven() -> None:
    world = World()
    world.add(Resource.RUN, RUN)
    world.simulator.add_fault(Fault.rate_limit(1, times=-1))
    command = world.command(Resource.RUN, RUN, Action.ARCHIVE, "delivery-1")
    world.send(command)
    _until_it_is_over(world, world.process(), lambda _: None)
    world.simulator.faults.clear()
    assert world.send_again() == 1
    world.drain(world.process())
    assert world.intent(command.intent_id).status is Status.DONE
    assert world.announced(command.intent_id) == ["dead_lettered", "done"]


def test_a_retry_after_is_obeyed_however_often_the_message_was_received() -> None:
    world = World(roll=lambda: 0.0)
    world.add(Resource.RUN, RUN)
    world.simulator.add_fault(Fault.rate_limit(700, times=2))
    world.send(world.command(Resource.RUN, RUN, Action.ARCHIVE, "delivery-1"))
    process = world.process()
    process.deliver()
    wait = world.next_visible()
    assert wait is not None
    assert wait >= 700


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_that_was_answered_with_a_retry_after_is_followed_by_none_before_that_time(
    when: Literal["before", "after"],
) -> None:
    """Neither by the look that a doubtful answer otherwise causes at once: the server asked everybody to wait."""
    world = World(roll=lambda: 0.0)
    world.add(Resource.RUN, RUN)
    world.simulator.add_fault(Fault.answer_status(503, when, retry_after=700, method="DELETE"))
    command = world.command(Resource.RUN, RUN, Action.ARCHIVE, "delivery-1")
    world.send(command)
    process = world.process()
    process.deliver()
    assert [call.method for call in world.simulator.log.calls] == ["GET", "DELETE"]
    wait = world.next_visible()
    assert wait is not None
    assert wait >= 700
    world.drain(process)
    assert world.intent(command.intent_id).status is Status.DONE
    assert len(world.effects[command.intent_id]) == 1


# --- sweeps ---


class ContendedRows(MemoryTable):
    """Somebody else always writes the sweep's state first."""

    @override
    def write(self, *changes: Put) -> None:
        if any(change.key.pk.startswith("sweep#") for change in changes):
            raise Contention
        MemoryTable.write(self, *changes)


@dataclass(frozen=True, slots=True)
class Stop:
    """What keeps a sweep from going on."""

    arrange: Callable[[SweepRun], None] = lambda _: None
    again: Callable[[SweepRun], None] = lambda _: None
    rows: Callable[[], MemoryTable] = MemoryTable
    rate: Rate = field(default_factory=lambda: Rate(6000, 600))
    least: timedelta = timedelta(hours=9)
    told: tuple[str, ...] = ()
    """What the world hears of it before the end."""


def _nearly_over(night: SweepRun) -> None:
    night.time_left = 29.0


_WARNED = ("lifecycle.preflight.failed",)
STOPS: Mapping[str, Stop] = {
    "429, Retry-After 1": Stop(lambda night: night.world.simulator.add_fault(Fault.rate_limit(1, times=-1))),
    "our own line": Stop(again=lambda night: night.world.pacing.overdraw(ORG, 30), rate=Rate(60, 2)),
    "a pause": Stop(lambda night: night.world.pacing.pause(ORG, "Ada"), least=HALF),
    "a refused token": Stop(
        lambda night: night.world.simulator.world.rotate_token(ORG, 1001, "new"), least=HALF, told=_WARNED
    ),
    "another invocation": Stop(rows=ContendedRows),
    "5xx": Stop(lambda night: night.world.simulator.add_fault(Fault.answer_status(503, times=-1))),
    # Each of these receives was fifteen minutes of work.
    "out of time": Stop(_nearly_over, least=timedelta(seconds=80)),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_waiting_sweep_is_dead_lettered_with_a_reason_at_the_90th_receive(stop: Stop) -> None:
    world = World(rate=stop.rate, rows=stop.rows())
    world.add(Resource.RUN, RUN)
    night = SweepRun(world)
    night.begin()
    assert night.deliver()
    began, receives = world.clock(), 0
    stop.arrange(night)
    while night.queue.entries:
        visible_at = min(entry.visible_at for entry in night.queue.entries.values())
        world.clock.advance(timedelta(seconds=max(0.0, visible_at - world.clock().timestamp())))
        stop.again(night)
        night.deliver()
        receives += 1
        assert receives < BACKSTOP
    assert receives == MOST_RECEIVES
    assert world.clock() - began >= stop.least
    [entry] = world.dead_letters.entries.values()
    assert entry.message.attributes["code"] == "waited_too_long"
    assert entry.message.attributes["reason"] == "The sweep did not finish within 90 deliveries."
    assert [name for name, _ in world.bus.announced] == [*stop.told, "lifecycle.command.poison"]
    assert night.asked() == []


def test_a_waiting_start_of_a_sweep_is_dead_lettered_with_a_reason() -> None:
    world = World()
    night = SweepRun(world)

    class Full(MemoryQueue):
        """It takes nothing new."""

        taking = True

        @override
        def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
            if not self.taking:
                raise Contention
            MemoryQueue.send(self, body, attributes)

    full = Full(world.clock)
    night.queue = full
    night.begin()
    full.taking = False
    assert night.drain() == MOST_RECEIVES
    assert world.dead_letters.depth() == 1
