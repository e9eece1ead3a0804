"""What should become of a thing that nobody asked about."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.judgement.decide import Decision, Policy, Rule, decide
from lifecycle.words.capabilities import Action, Resource, State
from lifecycle.words.things import Thing
from tests.builders import NOW, THING

UTC_ZONE = ZoneInfo("UTC")
RULE = Rule(name="completed", resource=Resource.RUN, action=Action.ARCHIVE, completed_days=30)


def policy(zone: str = "UTC", *, days: int = 30) -> Policy:
    rule = Rule(name="completed", resource=Resource.RUN, action=Action.ARCHIVE, completed_days=days)
    return Policy(rules=(rule,), zone=ZoneInfo(zone))


def run(completed_at: datetime | None, **changes: object) -> Thing:
    facts: dict[str, object] = {"status": "complete", "state": State.ACTIVE, "id": THING, "resource": Resource.RUN}
    return Thing(**{**facts, "completed_at": completed_at, **changes})  # type: ignore[arg-type]


def judged(thing: Thing, zone: str = "UTC", now: datetime = NOW, *, days: int = 30) -> Decision:
    return decide(thing, policy(zone, days=days), {}, now)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("thing", "kind", "acts"),
    [
        (run(NOW - timedelta(days=31)), "rule completed", True),
        (run(NOW - timedelta(days=31), status="completed"), "rule completed", True),
        (run(NOW - timedelta(days=31), status="Complete"), "rule completed", True),
        (run(datetime(2010, 1, 1, tzinfo=UTC)), "rule completed", True),
        (run(datetime(2010, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)), "odd date", False),
        (run(datetime(1970, 1, 1, tzinfo=UTC)), "odd date", False),
        (run(datetime(1, 1, 1, tzinfo=UTC)), "odd date", False),
        (run(NOW - timedelta(days=31), created_at=NOW - timedelta(days=31)), "rule completed", True),
        (run(NOW - timedelta(days=31), created_at=NOW - timedelta(days=32)), "rule completed", True),
        (run(NOW - timedelta(days=31), created_at=NOW - timedelta(days=31, microseconds=-1)), "odd date", False),
        (run(NOW - timedelta(days=31), created_at=NOW), "odd date", False),
        (run(NOW - timedelta(days=30)), "too young", False),
        (run(NOW), "too young", False),
        (run(NOW + timedelta(microseconds=1)), "future date", False),
        (run(datetime(9999, 12, 31, 23, 59, tzinfo=UTC)), "future date", False),
        (run(None), "no date", False),
        (run(NOW - timedelta(days=31), status=None), "not complete", False),
        (run(NOW - timedelta(days=31), status="active"), "not complete", False),
        (run(NOW - timedelta(days=31), status="complete?"), "not complete", False),
        (run(NOW - timedelta(days=31), state=State.ARCHIVED), "not active", False),
        (run(NOW - timedelta(days=31), resource=Resource.TEMPLATE), "no rule", False),
        (run(NOW - timedelta(days=31), resource=Resource.TASK), "no rule", False),
        (run(NOW - timedelta(days=31), id=""), "no id", False),
        (run(NOW - timedelta(days=31), id=f"{THING}/delete"), "no id", False),
    ],
)
def test_the_decision(thing: Thing, kind: str, *, acts: bool) -> None:
    decision = judged(thing)
    assert (decision.kind, decision.action) == (kind, Action.ARCHIVE if acts else None)
    assert decision.rule == ("completed" if acts else "")
    assert decision.reason.endswith(".")


def test_a_hold_beats_every_rule_and_says_why() -> None:
    decision = decide(run(NOW - timedelta(days=400)), policy(), {THING: "an audit"}, NOW)
    assert decision == Decision(None, "on hold", "It is on hold: an audit")
    assert decide(run(NOW - timedelta(days=400)), policy(), {"6f" * 16: "an audit"}, NOW).action is Action.ARCHIVE


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_a_date_older_than_tallyfy_keeps_the_thing_in_every_zone(zone: str) -> None:
    decision = judged(run(datetime(1, 1, 1, tzinfo=UTC)), zone)
    assert (decision.action, decision.kind) == (None, "odd date")


@pytest.mark.parametrize(
    ("zone", "completed", "now", "days"),
    [
        # a minute apart, a day apart
        ("UTC", "2026-05-31T23:59:30+00:00", "2026-06-01T00:00:30+00:00", 1),
        ("UTC", "2026-06-01T00:00:30+00:00", "2026-06-01T23:59:30+00:00", 0),
        # the same two moments lie on other days elsewhere
        ("Pacific/Kiritimati", "2026-05-31T23:59:30+00:00", "2026-06-01T00:00:30+00:00", 0),
        ("America/New_York", "2026-06-01T03:59:30+00:00", "2026-06-01T04:00:30+00:00", 1),
        # the night of 23 hours, the night of 25, counted in days all the same
        ("Europe/Berlin", "2026-03-28T22:30:00+00:00", "2026-03-29T22:30:00+00:00", 2),
        ("Europe/Berlin", "2026-03-28T23:30:00+00:00", "2026-03-29T21:30:00+00:00", 0),
        ("Europe/Berlin", "2026-10-24T22:00:00+00:00", "2026-10-25T22:30:00+00:00", 0),
        ("Europe/Berlin", "2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00", 1),
        # the 29th of February
        ("UTC", "2024-02-28T12:00:00+00:00", "2024-03-01T00:00:00+00:00", 2),
        ("UTC", "2023-02-28T12:00:00+00:00", "2023-03-01T00:00:00+00:00", 1),
        ("UTC", "2024-02-29T12:00:00+00:00", "2025-02-28T12:00:00+00:00", 365),
    ],
)
def test_days_are_those_of_the_calendar_in_the_zone(zone: str, completed: str, now: str, days: int) -> None:
    thing = run(at(completed))
    if days:
        assert judged(thing, zone, at(now), days=days).kind == "too young"
    if days > 1:
        assert judged(thing, zone, at(now), days=days - 1).action is Action.ARCHIVE
    decision = judged(thing, zone, at(now), days=999)
    assert decision.reason == f"Completed {days} days ago; more than 999 are needed."


def test_the_first_rule_of_its_kind_decides() -> None:
    never = Rule(name="never", resource=Resource.RUN, action=Action.ARCHIVE, completed_days=9999)
    tasks = Rule(name="tasks", resource=Resource.TASK, action=Action.ARCHIVE, completed_days=1)
    found = decide(run(NOW - timedelta(days=31)), Policy(rules=(tasks, never, RULE), zone=UTC_ZONE), {}, NOW)
    assert found.kind == "too young"


@pytest.mark.parametrize("days", [0, -1])
def test_a_rule_for_everything_cannot_be_made(days: int) -> None:
    with pytest.raises(ValueError, match="at least one day"):
        Rule(name="all", resource=Resource.RUN, action=Action.ARCHIVE, completed_days=days)


moments = st.datetimes(timezones=st.just(UTC))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Australia/Lord_Howe"])
present = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


@given(st.none() | moments, present, zones, st.integers(1, 5000), st.sampled_from(["complete", "active", None]))
def test_nothing_is_due_unless_it_was_complete_for_longer_than_that(
    completed: datetime | None, now: datetime, zone: str, days: int, status: str | None
) -> None:
    decision = judged(run(completed, status=status), zone, now, days=days)
    if decision.action is not None:
        assert status == "complete"
        assert completed is not None
        assert completed.year >= 2010
        assert now - completed > timedelta(days=days - 1)
    elif status == "complete" and completed is not None and completed.year >= 2010:
        assert now - completed < timedelta(days=days + 2)
