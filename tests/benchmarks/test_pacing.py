"""Pacing: the share of the permitted rate that workers use together, and whether the server answers 429.

1, 2 and 10 real workers that share one bucket archive 1,000 processes (two calls each) in a simulated Tallyfy that
enforces the same rate, as a bucket and as a window. Time is simulated: a call takes 80 ms, and the worker that is due
next works next.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pytest
from rich.console import Console
from rich.table import Table

from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.intent import Status
from lifecycle.pacing.token_bucket import Rate
from sandbox.simulator import Limit
from tests.harness.world import World

CALL_SECONDS = 0.08
ITEMS = 1000
BATCH = 10
PERMITTED = 100
"""The permitted calls in any 60 seconds."""
RATE = Rate.within(PERMITTED)


@dataclass(frozen=True, slots=True)
class Result:
    """One run. `share` is the fraction of the calls that the server permitted in that time."""

    server: str
    workers: int
    share: float
    refused: int
    lost: int
    minutes: float


def measure(workers: int, limit: Limit, rate: Rate, *, items: int = ITEMS) -> Result:
    """Let the workers archive every item. Each takes the next batch when it has finished one."""
    world = World(rate=rate, roll=random.Random(1).random)
    commands = []
    for number in range(items):
        thing = world.add(Resource.RUN, f"{number:032x}")
        commands.append(world.command(Resource.RUN, thing, Action.ARCHIVE, f"delivery {number}"))
        world.send(commands[-1])
    world.simulator.set_limit(limit)
    began = world.clock()
    processes = [world.process() for _ in range(workers)]
    for process in processes:
        process.transport.on_call = _takes_time(world)
    order = itertools.count()
    due = [(began, next(order), process) for process in processes]
    heapq.heapify(due)
    while world.queue.entries:
        when, _, process = heapq.heappop(due)
        world.clock.now = when
        wait = world.next_visible()
        if wait:
            # Lambda polls: a worker receives a message as soon as it is visible.
            heapq.heappush(due, (when + timedelta(seconds=wait), next(order), process))
            continue
        process.deliver(BATCH)
        heapq.heappush(due, (world.clock(), next(order), process))
    seconds = (max(call.time for call in world.simulator.log.calls) - began).total_seconds()
    calls = world.simulator.log.calls
    refused = sum(call.status == 429 for call in calls)
    permitted = seconds * PERMITTED / 60
    done = sum(world.intent(command.intent_id).status is Status.DONE for command in commands)
    assert world.simulator.effects() == done
    return Result(limit.kind, workers, (len(calls) - refused) / permitted, refused, items - done, seconds / 60)


def _takes_time(world: World) -> Callable[[], None]:
    return lambda: world.clock.advance(timedelta(seconds=CALL_SECONDS))


def _limit(kind: Literal["bucket", "window"]) -> Limit:
    if kind == "bucket":
        return Limit(requests=RATE.burst, seconds=RATE.burst * 60 / PERMITTED, kind="bucket")
    return Limit(requests=PERMITTED, seconds=60, kind="window")


@pytest.mark.benchmark
def test_workers_that_share_a_bucket_use_the_whole_rate_without_a_429() -> None:
    results = [measure(workers, _limit(kind), RATE) for kind in ("bucket", "window") for workers in (1, 2, 10)]
    table = Table(title=f"{ITEMS:,} items, {PERMITTED} calls a minute permitted, {RATE.burst} at once")
    for name in ("server", "workers", "share of permitted", "429s", "lost", "minutes"):
        table.add_column(name, justify="right")
    for found in results:
        numbers = (f"{found.share:.3f}", str(found.refused), str(found.lost), f"{found.minutes:.1f}")
        table.add_row(found.server, str(found.workers), *numbers)
    Console(width=100).print(table)
    alone = {found.server: found.share for found in results if found.workers == 1}
    for found in results:
        assert (found.refused, found.lost) == (0, 0)
        assert found.share > 0.9
        assert found.share > 0.95 * alone[found.server]


def test_two_workers_share_one_rate_without_a_429() -> None:
    found = measure(2, _limit("bucket"), RATE, items=60)
    assert (found.refused, found.lost) == (0, 0)
    assert found.share > 0.9
