"""How long a message stays hidden."""

import pytest

from lifecycle.pacing.backoff import (
    LONGEST,
    MOST_RECEIVES,
    clamp,
    exponential,
    human_delay,
    outage_delay,
    poll_delay,
    retry_delay,
)


@pytest.mark.parametrize(
    ("attempts", "least", "most"),
    [(1, 15, 30), (2, 30, 60), (3, 60, 120), (5, 240, 480), (6, 450, 900), (100, 450, 900), (0, 15, 30), (-5, 15, 30)],
)
def test_backoff_doubles_up_to_a_quarter_of_an_hour(attempts: int, least: int, most: int) -> None:
    assert exponential(attempts, base=30, roll=0) == least
    assert most - 1 <= exponential(attempts, base=30, roll=0.999999) <= most


def test_backoff_is_never_less_than_a_second() -> None:
    assert exponential(1, base=0.001, roll=0) == 1


@pytest.mark.parametrize(("receives", "seconds"), [(0, 300), (1, 300), (2, 600), (12, 3600), (1000, 3600)])
def test_the_delay_for_a_person_grows_from_five_minutes_to_an_hour(receives: int, seconds: int) -> None:
    assert human_delay(receives) == seconds


@pytest.mark.parametrize(
    ("until_free", "receives", "seconds"), [(90, 0, 2), (90, 1, 2), (90, 3, 8), (90, 500, 64), (5, 500, 5), (-5, 1, 1)]
)
def test_a_leased_resource_is_polled_soon(until_free: float, receives: int, seconds: int) -> None:
    assert poll_delay(until_free, receives) == seconds


@pytest.mark.parametrize(
    ("seconds", "hidden"),
    [(-5, 1), (0, 1), (0.1, 1), (1, 1), (1.5, 2), (60, 60), (1e12, LONGEST), (float("inf"), LONGEST)],
)
def test_a_wait_is_whole_seconds_that_sqs_accepts(seconds: float, hidden: int) -> None:
    assert clamp(seconds) == hidden


def test_any_number_becomes_a_delay_that_sqs_accepts() -> None:
    assert 1 <= clamp(float("nan")) <= LONGEST


@pytest.mark.parametrize(
    ("told", "receives", "least", "most"),
    [
        (None, 1, 15, 30),
        (1, 1, 15, 30),
        (100, 1, 100, 100),
        (1, 6, 450, 900),
        (1, 90, 450, 900),
        (3600, 90, 3600, 3600),
    ],
)
def test_a_retry_delay_grows_and_is_never_shorter_than_retry_after(
    told: float | None, receives: int, least: int, most: int
) -> None:
    assert retry_delay(told, receives, base=30, roll=0) == least
    assert most - 1 <= retry_delay(told, receives, base=30, roll=0.999999) <= most


@pytest.mark.parametrize(
    ("until_probe", "receives", "seconds"),
    [(0, 0, 15), (0, 1, 15), (0, 3, 60), (0, 7, 900), (0, 24, 900), (0, 25, 3600), (0, 89, 3600), (200, 1, 200)],
)
def test_the_delay_in_an_outage_grows_and_is_never_shorter_than_until_the_next_probe(
    until_probe: float, receives: int, seconds: int
) -> None:
    assert outage_delay(until_probe, receives, 0) == seconds
    assert seconds <= outage_delay(until_probe, receives, 0.999) <= seconds * 1.25 + 1


def test_ninety_receives_outlast_an_outage_of_nearly_three_days_with_any_jitter() -> None:
    assert sum(outage_delay(0, receives, 0) for receives in range(1, MOST_RECEIVES)) > 2.9 * 86400
