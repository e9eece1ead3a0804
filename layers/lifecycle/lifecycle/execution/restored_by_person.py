"""What a person restored stays restored, until it is completed again. Pure; the planner and the worker ask the same.

A sweep looks at what nobody asked about, so it must not repeat an archive that somebody took back: through this stack,
or in Tallyfy itself, which the ledger shows as "our archive was the last thing done, and the thing is active".
"""

from datetime import UTC, datetime
from typing import NamedTuple

from lifecycle.domain.capabilities import Action, State
from lifecycle.domain.resources import ResourceSnapshot

KIND = "restored by a person"
"""How plans and reports group what is kept for this reason."""


class Newest(NamedTuple):
    """The newest command concluded on a thing: what it did, when (milliseconds, UTC), and its intent id."""

    action: str
    at: int
    intent_id: str


def restored(completed_at: datetime | None, newest: Newest) -> bool:
    """Whether a restore was the newest command, and the thing was not completed again since.

    A completion that is not known is no completion since.
    """
    return newest.action == Action.RESTORE and not _completed_since(completed_at, newest)


def by_a_person(thing: ResourceSnapshot, newest: Newest | None) -> str:
    """Why an active thing must not be archived by a sweep, as a sentence; empty if nothing is known against it."""
    if newest is None or thing.state is not State.ACTIVE:
        return ""
    if restored(thing.completed_at, newest):
        return f"It was restored on {_day(newest.at)} ({newest.intent_id}) and not completed again since."
    if newest.action == Action.ARCHIVE and not _completed_since(thing.completed_at, newest):
        return (
            f"It was archived on {_day(newest.at)} ({newest.intent_id}) and is not archived any more: somebody "
            "restored it in Tallyfy, and it was not completed again since."
        )
    return ""


def _completed_since(completed_at: datetime | None, newest: Newest) -> bool:
    return completed_at is not None and completed_at.timestamp() * 1000 > newest.at


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}"
