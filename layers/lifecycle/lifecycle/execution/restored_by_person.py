"""A process that a person restored stays restored until it is completed again. Pure; planner and worker share it.

A sweep acts without a person's request, so it must not repeat an archive that somebody reverted. A person reverts one
through this stack, or in Tallyfy itself. The ledger shows the latter: our archive was the last action, and the process
is active.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from lifecycle.domain.capabilities import Action, State
from lifecycle.domain.resources import ResourceSnapshot

KIND = "restored by a person"
"""The name of this reason in plans and reports."""


class Newest(NamedTuple):
    """The newest command concluded on a resource: its action, its time (milliseconds, UTC), and its intent id."""

    action: str
    at: int
    intent_id: str


def restored(completed_at: datetime | None, newest: Newest) -> bool:
    """Whether a restore was the newest command, and the resource was not completed again since.

    An unknown time of completion counts as not completed again.
    """
    return newest.action == Action.RESTORE and not _completed_since(completed_at, newest)


def by_a_person(thing: ResourceSnapshot, newest: Newest | None) -> str:
    """Why a sweep must not archive an active resource, as a sentence; empty if there is no such reason."""
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
