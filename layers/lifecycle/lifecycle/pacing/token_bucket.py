"""The shared rate limit for Tallyfy: a GCRA token bucket (generic cell rate algorithm), as pure functions.

One number describes the bucket: the *theoretical arrival time* at which it would be full again. All times are whole
microseconds, UTC, so that every process computes the same.

The same row holds a circuit breaker. It opens when calls about several resources fail for a common cause, such as a
network error or a 5xx. While it is open, nobody calls Tallyfy except one probe from time to time. See decision 0026.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

SECOND = 1_000_000
LONGEST_QUEUE = 3600 * SECOND
"""The longest queue. A caller beyond it gets no position; it comes back within the hour and asks again."""


OUTAGE_THINGS = 3
"""The breaker opens once calls about this many resources have failed since the last success."""
PROBE_CALLS = 2
"""The slots of a probe: one command reads and writes."""
_FIRST_PROBE = 15 * SECOND
_LONGEST_PROBE = 300 * SECOND
"""The time between two probes starts at the first value and doubles up to the second."""
_PROBING = 60 * SECOND
"""How long other callers wait for the result of a probe, in case its worker crashed."""


class Lane(StrEnum):
    """The two queues for slots: commands of people never wait behind a sweep."""

    PEOPLE = "people"
    BULK = "bulk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The shared state. ``paused_by`` names who paused; empty means running."""

    full_at: int = 0
    blocked_until: int = 0
    people_until: int = 0
    bulk_until: int = 0
    """The end of each queue: the latest time that was given to a waiting caller."""
    paused_by: str = ""
    failing: str = ""
    """The resources whose calls failed since the last success, separated by blanks; at most ``OUTAGE_THINGS``."""
    outage_delay: int = 0
    """How long the breaker stays open before the next probe; zero while it is closed."""
    probe_at: int = 0
    """While the breaker is open: when the next probe may start."""

    @property
    def is_out(self) -> bool:
        """Whether the breaker is open."""
        return self.outage_delay > 0


@dataclass(frozen=True, slots=True)
class Rate:
    """How many calls a minute, and how many of them may come at once."""

    per_minute: int
    burst: int

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a rate that would stop everything or limit nothing."""
        if self.per_minute < 1 or self.burst < 1:
            msg = f"a rate needs at least one call a minute and a burst of one, not {self}"
            raise ValueError(msg)

    @classmethod
    def within(cls, limit: int) -> "Rate":
        """The fastest rate that makes at most ``limit`` calls in any 60 seconds, the burst included.

        From an idle start, 60 seconds hold the whole burst and a minute at full pace, so the burst is taken off the
        pace: 100 calls a minute are a burst of 4 and a pace of 96. The burst is at least 2, because a command reads and
        writes; a limit of 1 can therefore be exceeded by one call.
        """
        burst = max(PROBE_CALLS, limit * 2 // 50)
        return cls(max(1, limit - burst), burst)

    @property
    def interval(self) -> int:
        """Microseconds between two calls at full pace."""
        return max(1, 60 * SECOND // self.per_minute)


@dataclass(frozen=True, slots=True)
class Grant:
    """``calls`` may be made now. The others have a queue position ``wait`` seconds from now."""

    calls: int
    wait: float
    outage: bool = False
    """The breaker is open. With ``calls`` this is the probe; otherwise the next probe may start in ``wait`` seconds."""


def take(bucket: Bucket, rate: Rate, calls: int, now: int, lane: Lane = Lane.PEOPLE) -> tuple[Bucket, Grant]:
    """Take as many of ``calls`` slots as are free now, and a queue position for the rest.

    A queue position is a time to come back, not a slot. Positions prevent callers from returning all at once, and from
    waiting while slots are free.
    """
    if bucket.is_out:
        return _probe(bucket, rate, calls, now)
    if now < bucket.blocked_until:
        blocked, wait = _queue(bucket, rate, lane, calls, bucket.blocked_until, now)
        return blocked, Grant(0, wait)
    base = max(bucket.full_at, now)
    capacity = rate.burst * rate.interval
    free = max(0, (capacity - (base - now)) // rate.interval)
    granted = min(calls, free)
    after = replace(bucket, full_at=base + granted * rate.interval)
    free_at = max(now, after.full_at + rate.interval - capacity)
    queued, wait = _queue(after, rate, lane, calls - granted, free_at, now)
    return queued, Grant(granted, wait)


def _probe(bucket: Bucket, rate: Rate, calls: int, now: int) -> tuple[Bucket, Grant]:
    """While the breaker is open: when a probe is due, the first caller gets the slots of one command, others none."""
    free_at = max(bucket.probe_at, bucket.blocked_until)
    if now < free_at:
        return bucket, Grant(0, (free_at - now) / SECOND, outage=True)
    probing = min(calls, PROBE_CALLS)
    # A probe does not queue: nobody else calls at the same time, and its slots are counted.
    after = replace(overdraw(bucket, rate, probing, now), probe_at=now + _PROBING)
    return after, Grant(probing, 0.0, outage=True)


def failed(bucket: Bucket, thing: str, now: int, roll: float, *, probe: bool = False) -> Bucket:
    """Record that a call about ``thing`` failed, for a cause that may be common to all calls.

    ``probe``: it was the probe of an open breaker. ``roll`` in [0, 1) spreads the time of the next one.
    """
    if bucket.is_out:
        return _open(bucket, min(2 * bucket.outage_delay, _LONGEST_PROBE), now, roll) if probe else bucket
    failing = sorted({*bucket.failing.split(), thing})
    if len(failing) < OUTAGE_THINGS:
        return replace(bucket, failing=" ".join(failing))
    return _open(replace(bucket, failing=" ".join(failing)), _FIRST_PROBE, now, roll)


def _open(bucket: Bucket, delay: int, now: int, roll: float) -> Bucket:
    return replace(bucket, outage_delay=delay, probe_at=now + int(delay * (0.5 + roll / 2)))


def worked(bucket: Bucket) -> Bucket:
    """Record a successful call: earlier failures had causes of their own. Closes the breaker."""
    return replace(bucket, failing="", outage_delay=0, probe_at=0)


def _queue(bucket: Bucket, rate: Rate, lane: Lane, waiting: int, free_at: int, now: int) -> tuple[Bucket, float]:
    """Give ``waiting`` calls positions in their lane's queue. Returns how many seconds the first of them waits."""
    if not waiting:
        return bucket, (free_at - now) / SECOND
    start = max(free_at, bucket.bulk_until if lane is Lane.BULK else bucket.people_until)
    if start - now > LONGEST_QUEUE:
        return bucket, LONGEST_QUEUE / SECOND
    end = start + waiting * rate.interval
    queued = replace(bucket, bulk_until=end) if lane is Lane.BULK else replace(bucket, people_until=end)
    return queued, (start - now) / SECOND


def overdraw(bucket: Bucket, rate: Rate, calls: int, now: int) -> Bucket:
    """Record calls that are made without a free slot; later callers wait for them."""
    return replace(bucket, full_at=max(bucket.full_at, now) + calls * rate.interval)


def refund(bucket: Bucket, rate: Rate, calls: int) -> Bucket:
    """Return slots that were taken and not used."""
    # A refund does not undo a block: after a 429, calls start again one at a time.
    floor = bucket.blocked_until + (rate.burst - 1) * rate.interval if bucket.blocked_until else 0
    return replace(bucket, full_at=max(min(bucket.full_at, floor), bucket.full_at - calls * rate.interval))


def block(bucket: Bucket, rate: Rate, seconds: float, now: int) -> Bucket:
    """Tallyfy asked to wait: nobody gets a slot for ``seconds``, and then calls start again one at a time."""
    until = max(bucket.blocked_until, now + int(seconds * SECOND))
    return replace(bucket, blocked_until=until, full_at=max(bucket.full_at, until + (rate.burst - 1) * rate.interval))
