"""The shared rate limit for Tallyfy."""

import pytest

from lifecycle.pacing.token_bucket import (
    LONGEST_QUEUE,
    SECOND,
    Bucket,
    Grant,
    Lane,
    Rate,
    block,
    failed,
    overdraw,
    refund,
    take,
    worked,
)

RATE = Rate(60, 5)
AT = 1_000 * SECOND


def test_a_full_bucket_gives_its_burst_at_once_and_then_one_a_second() -> None:
    bucket, grant = take(Bucket(), RATE, 8, AT)
    assert grant == Grant(5, 1.0)
    assert take(bucket, RATE, 8, AT + SECOND - 1)[1].calls == 0
    assert take(bucket, RATE, 8, AT + SECOND)[1].calls == 1
    assert take(bucket, RATE, 8, AT + 60 * SECOND)[1].calls == 5


def test_only_the_slots_asked_for_are_taken() -> None:
    bucket, grant = take(Bucket(), RATE, 2, AT)
    assert grant == Grant(2, 0.0)
    assert take(bucket, RATE, 8, AT)[1].calls == 3


def test_overdrawn_calls_delay_the_next_ones() -> None:
    assert take(overdraw(Bucket(), RATE, 7, AT), RATE, 1, AT)[1] == Grant(0, 3.0)


def test_refunded_slots_are_free_again() -> None:
    bucket, _ = take(Bucket(), RATE, 5, AT)
    assert take(refund(bucket, RATE, 2), RATE, 8, AT)[1].calls == 2


def test_after_a_429_nobody_gets_a_slot_before_retry_after() -> None:
    blocked = block(Bucket(), RATE, 30, AT)
    assert take(blocked, RATE, 1, AT)[1] == Grant(0, 30.0)
    assert take(blocked, RATE, 8, AT + 30 * SECOND)[1].calls == 1, "it starts again one call at a time"


def test_a_shorter_block_does_not_lift_a_longer_one() -> None:
    assert block(block(Bucket(), RATE, 30, AT), RATE, 5, AT).blocked_until == AT + 30 * SECOND


def test_a_pause_stays_while_slots_are_taken() -> None:
    assert take(Bucket(paused_by="Ada"), RATE, 1, AT)[0].paused_by == "Ada"


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (1, 0), (-1, 1)])
def test_a_rate_that_would_stop_everything_is_refused(per_minute: int, burst: int) -> None:
    with pytest.raises(ValueError, match="at least one call"):
        Rate(per_minute, burst)


def test_callers_without_a_slot_get_queue_positions_one_after_another() -> None:
    rate = Rate(per_minute=60, burst=2)
    bucket, first = take(Bucket(), rate, 6, 0)
    bucket, second = take(bucket, rate, 4, 0)
    _, third = take(bucket, rate, 2, 0)
    assert [grant.calls for grant in (first, second, third)] == [2, 0, 0]
    # Four calls of the first caller are queued from second 1 on, four of the second behind them.
    assert [grant.wait for grant in (first, second, third)] == [1, 5, 9]


def test_a_person_does_not_queue_behind_a_sweep() -> None:
    rate = Rate(per_minute=60, burst=2)
    bucket, _ = take(Bucket(), rate, 10_000, 0, Lane.BULK)
    _, grant = take(bucket, rate, 2, 0, Lane.PEOPLE)
    assert grant.wait == 1


@pytest.mark.parametrize("lane", Lane)
def test_a_queue_is_never_longer_than_an_hour(lane: Lane) -> None:
    bucket, waits = Bucket(), []
    for _ in range(1000):
        bucket, grant = take(bucket, RATE, 20, AT, lane)
        waits.append(grant.wait)
    assert max(waits) == LONGEST_QUEUE / SECOND == 3600
    assert waits[:180] == sorted(waits[:180])
    assert set(waits[-800:]) == {3600}
    line = bucket.bulk_until if lane is Lane.BULK else bucket.people_until
    assert line - AT <= LONGEST_QUEUE + 20 * RATE.interval, "who is sent away for an hour takes no place"


def test_a_caller_that_waited_an_hour_finds_a_shorter_queue() -> None:
    bucket = Bucket()
    for _ in range(1000):
        bucket, _ = take(bucket, RATE, 20, AT)
    _, grant = take(bucket, RATE, 20, AT + 1800 * SECOND)
    assert grant.wait <= 1830


@pytest.mark.parametrize("taken", range(6))
@pytest.mark.parametrize("returned", [1, 2, 5, 50])
def test_a_refund_after_a_429_lets_no_second_call_through(taken: int, returned: int) -> None:
    bucket, _ = take(Bucket(), RATE, taken, AT)
    blocked = block(bucket, RATE, 30, AT)
    for _ in range(3):
        blocked = refund(blocked, RATE, returned)
    assert take(blocked, RATE, 8, AT + 30 * SECOND - 1)[1].calls == 0
    assert take(blocked, RATE, 8, AT + 30 * SECOND)[1].calls == 1


def test_long_after_a_429_refunded_slots_are_free_again() -> None:
    bucket, _ = take(block(Bucket(), RATE, 30, AT), RATE, 5, AT + 3600 * SECOND)
    assert take(refund(bucket, RATE, 5), RATE, 8, AT + 3600 * SECOND)[1].calls == 5


def test_a_sweep_has_its_own_queue_and_shares_the_slots_with_people() -> None:
    rate = Rate(per_minute=60, burst=2)
    bucket, _ = take(Bucket(), rate, 10, 0, Lane.PEOPLE)
    bucket, first = take(bucket, rate, 4, 0, Lane.BULK)
    _, second = take(bucket, rate, 4, 0, Lane.BULK)
    assert (first.wait, second.wait) == (1, 5)


def _out(now: int = AT) -> Bucket:
    """An open breaker, whose first probe may start after 15 seconds."""
    bucket = Bucket()
    for thing in "abc":
        bucket = failed(bucket, thing, now, 1.0)
    return bucket


def test_the_third_thing_that_fails_opens_the_breaker() -> None:
    bucket = failed(failed(failed(Bucket(), "a", AT, 0.5), "b", AT, 0.5), "a", AT, 0.5)
    assert not bucket.is_out
    assert failed(bucket, "c", AT, 0.5).is_out


def test_a_call_that_works_between_failures_keeps_the_breaker_closed() -> None:
    bucket = worked(failed(failed(Bucket(), "a", AT, 0.5), "b", AT, 0.5))
    assert not failed(bucket, "c", AT, 0.5).is_out


def test_while_the_breaker_is_open_nobody_calls_and_everybody_is_told_the_time_of_the_next_probe() -> None:
    assert take(_out(), RATE, 20, AT + 5 * SECOND)[1] == Grant(0, 10.0, outage=True)


def test_one_probe_gets_the_slots_of_one_command_and_the_others_wait_a_minute_for_its_result() -> None:
    now = AT + 15 * SECOND
    bucket, grant = take(_out(), RATE, 20, now)
    assert grant == Grant(2, 0.0, outage=True)
    assert take(bucket, RATE, 20, now)[1] == Grant(0, 60.0, outage=True)


def test_a_probe_waits_for_the_end_of_a_429() -> None:
    assert take(block(_out(), RATE, 90, AT), RATE, 2, AT + 15 * SECOND)[1] == Grant(0, 75.0, outage=True)


def test_a_probe_that_fails_doubles_the_time_to_the_next_up_to_five_minutes() -> None:
    bucket, waits = _out(), []
    for _ in range(6):
        bucket = failed(bucket, "a", AT, 1.0, probe=True)
        waits.append((bucket.probe_at - AT) // SECOND)
    assert waits == [30, 60, 120, 240, 300, 300]


def test_a_late_failure_of_another_command_does_not_move_the_probe() -> None:
    assert failed(_out(), "d", AT + 14 * SECOND, 1.0) == _out()


def test_a_call_that_works_closes_the_breaker() -> None:
    bucket = worked(_out())
    assert bucket == Bucket()
    assert take(bucket, RATE, 5, AT)[1].calls == 5
