"""What a person restored is left to people until it is completed again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.clock import millis
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution.restored_by_person import Newest, by_a_person

THEN = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
INTENT = f"int_{'0' * 48}"


def thing(completed_at: datetime | None, state: State = State.ACTIVE) -> ResourceSnapshot:
    return ResourceSnapshot(resource=Resource.RUN, id="5e" * 16, state=state, completed_at=completed_at)


def newest(action: str) -> Newest:
    return Newest(action, millis(THEN), INTENT)


@pytest.mark.parametrize("completed_at", [None, THEN - timedelta(days=40), THEN])
@pytest.mark.parametrize(
    ("action", "says"),
    [(Action.RESTORE, "It was restored on 2026-05-01"), (Action.ARCHIVE, "somebody restored it in Tallyfy")],
)
def test_a_restored_process_is_kept_until_it_is_completed_again_and_the_intent_is_named(
    action: Action, says: str, completed_at: datetime | None
) -> None:
    why = by_a_person(thing(completed_at), newest(action))
    assert says in why
    assert INTENT in why


@pytest.mark.parametrize("action", [Action.RESTORE, Action.ARCHIVE])
def test_a_restored_process_that_was_completed_again_is_not_kept(action: Action) -> None:
    assert by_a_person(thing(THEN + timedelta(milliseconds=1)), newest(action)) == ""


@pytest.mark.parametrize("known", [None, newest(""), newest(Action.DELETE), newest("of a later release")])
def test_a_process_unknown_to_the_ledger_is_not_kept(known: Newest | None) -> None:
    assert by_a_person(thing(None), known) == ""


@given(
    st.sampled_from(Action),
    st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_an_archived_process_does_not_count_as_restored(action: Action, completed_at: datetime | None) -> None:
    assert by_a_person(thing(completed_at, State.ARCHIVED), newest(action)) == ""


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_any_completion_date_can_be_compared(completed_at: datetime) -> None:
    assert bool(by_a_person(thing(completed_at), newest(Action.RESTORE))) is (completed_at <= THEN)
