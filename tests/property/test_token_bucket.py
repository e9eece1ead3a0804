"""The rate limit for Tallyfy: never more calls than the limit in any 60 seconds, and nearly all of them when needed."""

from bisect import bisect_left
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.pacing.token_bucket import SECOND, Bucket, Lane, Rate, refund, take

MINUTE = 60 * SECOND
STARTS = 1_780_000_000 * SECOND
"""The bucket is idle before this time."""


@dataclass
class Callers:
    """Workers that share one bucket. Each call is made when its slot is granted."""

    rate: Rate
    now: int = STARTS
    bucket: Bucket = field(default_factory=Bucket)
    calls: list[int] = field(default_factory=list)

    def ask(self, wanted: int, unused: int, lane: Lane = Lane.PEOPLE) -> None:
        """One batch: take slots, make the calls, give back the slots that were not needed."""
        self.bucket, grant = take(self.bucket, self.rate, wanted, self.now, lane)
        returned = min(unused, grant.calls)
        self.calls += [self.now] * (grant.calls - returned)
        self.bucket = refund(self.bucket, self.rate, returned)

    def most_in_a_minute(self) -> int:
        """The most calls in any half-open window of 60 seconds."""
        return max(
            (number - bisect_left(self.calls, at - MINUTE + 1) + 1 for number, at in enumerate(self.calls)), default=0
        )


pauses = st.one_of(
    st.integers(0, SECOND),
    st.integers(0, 10 * SECOND),
    st.sampled_from([0, 1, 599_999, 625_000, 30 * SECOND, MINUTE - 1, MINUTE, 600 * SECOND]),
)
batches = st.lists(st.tuples(pauses, st.integers(1, 40), st.integers(0, 6), st.sampled_from(Lane)), max_size=200)


@given(limit=st.integers(2, 600), workers=st.sampled_from([1, 2, 10]), demand=batches)
def test_no_minute_holds_more_calls_than_the_limit(
    limit: int, workers: int, demand: list[tuple[int, int, int, Lane]]
) -> None:
    """Any demand: from idle, in the middle, with pauses, by several workers."""
    callers = Callers(Rate.within(limit))
    for pause, wanted, unused, lane in demand:
        callers.now += pause
        for _ in range(workers):
            callers.ask(wanted, unused, lane)
    assert callers.most_in_a_minute() <= limit


@pytest.mark.parametrize("limit", [10, 60, 100, 1000])
@pytest.mark.parametrize("idle", [0, 30, 3600])
def test_steady_demand_gets_nearly_the_limit(limit: int, idle: int) -> None:
    callers = Callers(Rate.within(limit), now=STARTS + idle * SECOND)
    for _ in range(20 * 600):
        callers.ask(20, 0)
        callers.now += SECOND // 10
    assert callers.most_in_a_minute() <= limit
    assert len(callers.calls) / 20 >= min(0.96, 1 - 2 / limit) * limit


def test_a_full_burst_after_each_pause_stays_within_the_limit() -> None:
    callers = Callers(Rate.within(100))
    for _ in range(100):
        callers.ask(20, 0)
        callers.now += 3 * SECOND
    assert callers.calls.count(STARTS) == callers.rate.burst
    assert callers.most_in_a_minute() <= 100
