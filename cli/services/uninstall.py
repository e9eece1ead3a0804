"""Leaving: lists what deleting a stack leaves or what blocks it, then removes what was listed, in order.

Nothing is removed that the listing did not name. What blocks the deletion of the stack goes first, then the stack, then
what it left. What shows what was done (the records and the exports) goes last, each only if asked for by name.
A removal that was cut off is continued by listing again: what is gone is not listed any more.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cli.clients.footprint import Footprint, FoundStack, Piece, Remnant
from cli.clients.stack import Stack
from cli.services import plans
from cli.services.overview import OrganizationView, Overview, overview
from cli.ui.errors import CliError, expected_error
from lifecycle.plans.application import Stage

_TALLYFY = "/sources/tallyfy"
"""The end of the name of the secret that `lifecycle tallyfy connect` stores and `disconnect` removes."""
_MATTERS = ("queue", "dead letters", "approvals", "sweeps", "plan")
"""The parts of the overview that show work under way."""
_NOT_WHOLE = ("DELETE_", "ROLLBACK_", "CREATE_FAILED", "REVIEW_")
"""How the status of a stack begins whose creation failed, or whose deletion has begun."""


class Fate(StrEnum):
    """What becomes of a piece when the stack is deleted."""

    BLOCKS = "blocks the deletion"
    GOES = "goes with the stack"
    STAYS = "stays"


_BLOCKING: Final = frozenset({Piece.PROTECTION, Piece.RULE, Piece.ATTACHMENT})
_RECORDS = "--with-records"
EVIDENCE: Final = {
    **dict.fromkeys((Piece.LEDGER, Piece.ID_KEY, Piece.AUDIT), _RECORDS),
    Piece.EXPORTS: "--with-exports",
}
"""What shows what was done, and the option that removes it.

The ledger goes with the audit trail: it holds the records of the last hours, which are not sealed yet, and the end of
the chain.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """How the stack is. ``busy`` findings are work that the deletion would lose."""

    text: str
    busy: bool = True


@dataclass(slots=True)
class Listing:
    """Everything that a stack is in the account. ``unknown`` names each part that could not be read, and why."""

    name: str
    status: str
    """Of the deployed stack in CloudFormation, or that of the newest one that was deleted."""
    is_deployed: bool
    findings: list[Finding] = field(default_factory=list)
    remnants: list[Remnant] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def busy(self) -> list[str]:
        """The work that the deletion would lose."""
        return [one.text for one in self.findings if one.busy]

    def fate(self, one: Remnant) -> Fate:
        """What becomes of a piece when the stack is deleted."""
        if one.piece in _BLOCKING:
            return Fate.BLOCKS
        logs = one.piece is Piece.LOGS and self.is_deployed
        return Fate.GOES if logs or one.piece in {Piece.STACK, Piece.SCHEDULES} else Fate.STAYS


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of one piece. ``reason`` says why it is still there."""

    remnant: Remnant
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether it is gone."""
        return not self.reason


def listing(name: str, footprint: Footprint, stack: Callable[[], Stack], clock: Callable[[], datetime]) -> Listing:
    """List everything. Only reads.

    Raises:
        CliError: CloudFormation knows no stack of this name, not even a deleted one.
    """
    stacks = footprint.stacks()
    if not stacks:
        raise CliError(
            f"CloudFormation knows no stack '{name}', not even as a deleted one (it forgets those after 90 days). "
            "Check --stack, --region and AWS_PROFILE."
        )
    newest = stacks[0]
    found = Listing(name, newest.status, is_deployed=not newest.is_deleted)
    for part, lists in footprint.parts().items():
        _read(found, part, lists)
    order = list(Piece)
    found.remnants.sort(key=lambda one: (order.index(one.piece), one.name))
    found.findings += _state(found, newest, stack, clock)
    return found


def _read(found: Listing, part: str, lists: Callable[[], list[Remnant]]) -> None:
    try:
        found.remnants += lists()
    except Exception as error:
        expected = expected_error(error)
        if expected is None:
            raise
        found.unknown[part] = str(expected)


def remove(footprint: Footprint, found: Listing, evidence: Collection[Piece]) -> Iterator[Removal]:
    """Remove what was listed, in order; ``evidence`` says what of ``EVIDENCE`` is removed, too.

    If something that blocks the stack stays, or the stack itself, nothing else is removed.
    """
    blocked = ""
    for one in found.remnants:
        if one.piece in EVIDENCE and one.piece not in evidence:
            yield Removal(one, f"It is kept. {EVIDENCE[one.piece]} removes it.")
        elif blocked:
            yield Removal(one, f"It was not removed, because the {blocked} is still there.")
        else:
            result = _removal(footprint, one)
            if not result.done and (one.piece in _BLOCKING or one.piece is Piece.STACK):
                blocked = one.piece.value
            yield result


def _removal(footprint: Footprint, one: Remnant) -> Removal:
    try:
        footprint.remove(one)
    except Exception as error:
        expected = expected_error(error)
        if expected is None:
            raise
        return Removal(one, str(expected))
    return Removal(one)


# --- work under way ---------------------------------------------------------------------------------------------------


def _state(
    found: Listing, newest: FoundStack, stack: Callable[[], Stack], clock: Callable[[], datetime]
) -> Iterator[Finding]:
    """What a person should know first. A stack that was never whole, or is so no more, has no work."""
    if newest.status.startswith(_NOT_WHOLE):
        return
    if newest.status.endswith("_IN_PROGRESS"):
        yield Finding(f"CloudFormation changes the stack just now ({newest.status}).")
    try:
        deployed = stack()
        seen = overview(deployed, clock)
    except Exception as error:
        expected = expected_error(error)
        if expected is None:
            raise
        yield Finding(f"Whether work is under way is not known. {expected}")
        return
    for org in seen.organizations:
        yield from _of_organization(org, deployed)
    yield from _of_queues(seen)
    for one in found.remnants:
        if one.piece is Piece.SCHEDULES:
            yield Finding(f"{one.count} commands are scheduled for later. They will not be carried out.")
    if any(one.piece is Piece.SECRET and one.name.endswith(_TALLYFY) for one in found.remnants):
        for org in seen.organizations:
            yield Finding(
                f"Tallyfy may still call this stack. To end it: lifecycle tallyfy disconnect --org {org.org_id}"
            )
    for part, reason in seen.unknown.items():
        if part.startswith(_MATTERS):
            yield Finding(f"{part}: not known. {reason}")


def _of_organization(org: OrganizationView, stack: Stack) -> Iterator[Finding]:
    if org.paused_by:
        yield Finding(f"Organization {org.org_id} is paused by {org.paused_by}.", busy=False)
    else:
        yield Finding(f"Organization {org.org_id} is not paused. To stop new work: lifecycle pause", busy=False)
    if org.approvals:
        yield Finding(f"{org.approvals} requests for approval of organization {org.org_id} are open.")
    if org.sweep_in_progress:
        yield Finding(f"Sweep {org.sweep_in_progress} of organization {org.org_id} is in progress.")
    plan = plans.newest_of(stack, org.org_id) if org.plan else None
    stages = {state.stage for state in plans.states_of(stack, plan).values()} if plan else set()
    if plan and stages & {Stage.CANARY, Stage.REST}:
        yield Finding(f"Plan {plan.hash[:12]} of organization {org.org_id} is being applied.")


def _of_queues(seen: Overview) -> Iterator[Finding]:
    for queue in seen.queues:
        if queue.waiting:
            oldest = f", the oldest for {queue.oldest}" if queue.oldest and queue.oldest > timedelta(0) else ""
            yield Finding(f"Messages that wait or are in flight in the queue {queue.name}: {queue.waiting}{oldest}.")
        if queue.dead_letters:
            yield Finding(f"{queue.dead_letters} dead letters of the queue {queue.name} wait for a person.")
