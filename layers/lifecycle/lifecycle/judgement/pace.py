"""The shared pace towards Tallyfy: a GCRA token bucket (generic cell rate algorithm), as pure functions.

One number describes the bucket: the *theoretical arrival time* at which it would be full again. All times are whole
microseconds, UTC, so that every process computes the same.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

SECOND = 1_000_000
LONGEST_LINE = 3600 * SECOND
"""Who would stand in line for longer gets no place, but comes back within the hour and asks again."""


class Lane(StrEnum):
    """Who waits in which line: what a person asked for never stands behind the bulk of a sweep."""

    PEOPLE = "people"
    BULK = "bulk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The shared state. ``paused_by`` names who paused; empty means running."""

    full_at: int = 0
    blocked_until: int = 0
    people_until: int = 0
    bulk_until: int = 0
    """The end of each line: until then whoever was turned away has been told when to come back."""
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many calls a minute, and how many of them may come at once."""

    per_minute: int
    burst: int

    def __post_init__(self) -> None:
        """Refuse a rate that would stop everything or let everything through."""
        if self.per_minute < 1 or self.burst < 1:
            msg = f"a rate needs at least one call a minute and a burst of one, not {self}"
            raise ValueError(msg)

    @property
    def interval(self) -> int:
        """Microseconds between two calls at full pace."""
        return max(1, 60 * SECOND // self.per_minute)


@dataclass(frozen=True, slots=True)
class Grant:
    """``calls`` may be made now; for the others there is a place in line ``wait`` seconds from now."""

    calls: int
    wait: float


def take(bucket: Bucket, rate: Rate, calls: int, now: int, lane: Lane = Lane.PEOPLE) -> tuple[Bucket, Grant]:
    """Take as many of ``calls`` slots as are free now, and a place in line for the rest.

    A place is the time to come back, not a slot: slots are taken, and lines only keep those who wait from coming all at
    once, or from staying away while slots are free.
    """
    if now < bucket.blocked_until:
        return _line_up(bucket, rate, lane, calls, bucket.blocked_until, now, 0)
    base = max(bucket.full_at, now)
    capacity = rate.burst * rate.interval
    free = max(0, (capacity - (base - now)) // rate.interval)
    granted = min(calls, free)
    after = replace(bucket, full_at=base + granted * rate.interval)
    free_at = max(now, after.full_at + rate.interval - capacity)
    return _line_up(after, rate, lane, calls - granted, free_at, now, granted)


def _line_up(
    bucket: Bucket, rate: Rate, lane: Lane, waiting: int, free_at: int, now: int, granted: int
) -> tuple[Bucket, Grant]:
    if not waiting:
        return bucket, Grant(granted, (free_at - now) / SECOND)
    start = max(free_at, bucket.bulk_until if lane is Lane.BULK else bucket.people_until)
    if start - now > LONGEST_LINE:
        return bucket, Grant(granted, LONGEST_LINE / SECOND)
    end = start + waiting * rate.interval
    lined = replace(bucket, bulk_until=end) if lane is Lane.BULK else replace(bucket, people_until=end)
    return lined, Grant(granted, (start - now) / SECOND)


def overdraw(bucket: Bucket, rate: Rate, calls: int, now: int) -> Bucket:
    """Record calls that must be made now; whoever comes next waits for them too."""
    return replace(bucket, full_at=max(bucket.full_at, now) + calls * rate.interval)


def give_back(bucket: Bucket, rate: Rate, calls: int) -> Bucket:
    """Return slots that were taken and not used."""
    # Not below what a block left: after a 429 calls start again one at a time, whatever comes back.
    floor = bucket.blocked_until + (rate.burst - 1) * rate.interval if bucket.blocked_until else 0
    return replace(bucket, full_at=max(min(bucket.full_at, floor), bucket.full_at - calls * rate.interval))


def block(bucket: Bucket, rate: Rate, seconds: float, now: int) -> Bucket:
    """Tallyfy said "not before": move everyone's next slot past that, and start again one call at a time."""
    until = max(bucket.blocked_until, now + int(seconds * SECOND))
    return replace(bucket, blocked_until=until, full_at=max(bucket.full_at, until + (rate.burst - 1) * rate.interval))
