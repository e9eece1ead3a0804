"""Keeping a limit: how much of the permitted rate workers use together, and whether the server has to say 429.

1,000 processes are archived (two calls each) by 1, 2 and 4 of the real workers that share one bucket, against a
simulated Tallyfy that keeps the same rate, as a bucket and as a window. The clock is made up: a call takes 80 ms, and
whoever is due next works next.
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
"""Calls in any 60 seconds."""
RATE = Rate.within(PERMITTED)


@dataclass(frozen=True, slots=True)
class Result:
    """One run. `share` is of the calls that the server permitted in the time it took."""

    server: str
    workers: int
    share: float
    refused: int
    lost: int
    minutes: float


def measure(workers: int, limit: Limit, rate: Rate, *, items: int = ITEMS) -> Result:
    """Let so many workers archive everything, each taking a batch whenever it has finished one."""
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
            # Lambda polls: a worker takes up a message as soon as it shows.
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
def test_workers_that_share_a_bucket_keep_the_rate_and_lose_none_of_it() -> None:
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
