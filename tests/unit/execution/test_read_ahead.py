"""The rows of a batch are read in one call, and what somebody wrote since is never overwritten."""

from lifecycle.aws.dynamodb import Key, MemoryTable, Put, Row
from lifecycle.aws.metrics import Metric
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import Outcome, Status
from lifecycle.execution.read_ahead import ReadAhead
from lifecycle.pacing.token_bucket import Rate
from tests.harness.world import World

RUNS = tuple(f"{number:032x}" for number in range(1, 5))


class CountingTable(MemoryTable):
    """Notes how many rows each call reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []

    def read(self, *keys: Key) -> list[Row | None]:
        self.reads.append(len(keys))
        return super().read(*keys)


def batch(world: World) -> list[str]:
    """The intents of four archives that lie in the queue."""
    intents = []
    for run in RUNS:
        world.add(Resource.RUN, run)
        command = world.command(Resource.RUN, run, Action.ARCHIVE, run)
        world.send(command)
        intents.append(command.intent_id)
    return intents


def test_the_claims_of_a_batch_read_their_rows_in_one_call() -> None:
    rows = CountingTable()
    world = World(rows=rows)
    batch(world)
    rows.reads.clear()
    assert world.process().deliver(4) == 4
    assert rows.reads.count(8) == 1
    assert rows.reads.count(2) == 0


def test_only_rows_of_commands_that_the_rate_admits_are_read_ahead() -> None:
    rows = CountingTable()
    world = World(rows=rows, rate=Rate(60, 4))
    batch(world)
    rows.reads.clear()
    assert world.process().deliver(4) == 2
    assert rows.reads.count(4) >= 1
    assert rows.reads.count(8) == 0


def test_a_command_that_was_stopped_after_its_row_was_read_is_not_carried_out() -> None:
    world = World()
    intents = batch(world)
    worker = world.process()
    stopped = Outcome(Status.SUPERSEDED, Code.UNDONE, "Ada undid it.")

    def meanwhile() -> None:
        assert world.ledger.stop(intents[3], stopped) is not None

    worker.transport.after_look = meanwhile
    assert worker.deliver(4) == 3
    world.drain(worker)
    assert len(world.writes()) == 3
    assert world.intent(intents[3]).status is Status.SUPERSEDED


def test_two_commands_for_one_thing_in_a_batch_are_carried_out_one_after_the_other() -> None:
    world = World()
    world.add(Resource.RUN, RUNS[0])
    for delivery in ("one", "two"):
        world.send(world.command(Resource.RUN, RUNS[0], Action.ARCHIVE, delivery))
    assert world.process().deliver(2) == 2
    assert [world.metrics.counts[metric] for metric in (Metric.DONE, Metric.UNCHANGED)] == [1, 1]
    assert len(world.writes()) == 1


def test_a_pair_that_was_written_or_used_is_read_again() -> None:
    rows = MemoryTable()
    world = World(rows=rows)
    batch(world)
    messages = world.queue.receive(4)
    ahead = ReadAhead(rows)
    ahead.begin(messages)
    ahead.allow(4)
    [first, second, *_] = ahead._expected
    assert ahead.read(*first)[1] is None
    rows.write(Put(first[1], {"by": "another process"}, 0))
    assert ahead.read(*first)[1] == Row({"by": "another process"}, 1), "it was used"
    ahead.write(Put(second[1], {"by": "this process"}, 0))
    assert ahead.read(*second)[1] == Row({"by": "this process"}, 1), "it was written"
