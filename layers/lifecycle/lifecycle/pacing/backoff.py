"""How long a message stays hidden before the next try. Seconds throughout; ``roll`` is a random number in [0, 1)."""

MOST_RECEIVES = 90
"""After this many receives a message is dead-lettered with a reason. SQS would do it after 100, without a reason."""
MANY_RECEIVES = 60
"""After this many receives without a slot a message waits longer: other messages need the slots for hours."""
MANY_IN_OUTAGE = 24
"""After this many receives an outage has lasted for hours: a message returns once an hour, so that it outlasts days."""
LONGEST = 12 * 3600
"""SQS hides a message for at most 12 hours (API reference: ChangeMessageVisibility)."""


def exponential(attempts: int, *, base: float, roll: float) -> int:
    """After a failed attempt: exponential, capped at 15 minutes, with half of it jittered."""
    full = min(900.0, base * 2.0 ** min(max(attempts - 1, 0), 20))
    return clamp(full / 2 + full / 2 * roll)


def human_delay(receives: int) -> int:
    """While a person must act (a pause, a refused token): 5 minutes at first, growing to an hour."""
    return clamp(300.0 * min(max(receives, 1), 12))


def outage_delay(until_probe: float, receives: int, roll: float) -> int:
    """While the breaker is open: at least until the next probe, and longer with each receive.

    15 seconds at first, 15 minutes after seven receives, an hour after ``MANY_IN_OUTAGE``: 90 receives outlast
    nearly three days. ``roll`` adds up to a quarter, so that messages do not all ask for the same probe.
    """
    growing = 3600.0 if receives > MANY_IN_OUTAGE else min(900.0, 15.0 * 2.0 ** min(max(receives - 1, 0), 6))
    return clamp(max(until_probe, growing) * (1 + roll / 4))


def poll_delay(until_free: float, receives: int) -> int:
    """While another worker holds the lease: check again soon, because most calls end long before their lease."""
    return clamp(min(until_free, 2.0 ** min(max(receives, 1), 6)))


def retry_delay(retry_after: float | None, receives: int, *, base: float, roll: float) -> int:
    """After a 429 or another wait: at least ``retry_after`` seconds, and longer each time, so that receives last."""
    return max(clamp(retry_after or 0.0), exponential(receives, base=base, roll=roll))


def clamp(seconds: float) -> int:
    """Whole seconds that SQS accepts, at least one."""
    return int(min(max(1.0, seconds + 0.999), LONGEST))
