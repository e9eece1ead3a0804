"""May what cannot be undone be done? Only if enough other people said so, of exactly this, in time.

A request is named by the hash of what its approvers are shown. Whatever changes is another request. Pure.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from lifecycle.words.errors import Code, Rejected


class About(StrEnum):
    """What a request is about."""

    COMMAND = "command"
    PLAN = "plan"


class Stand(StrEnum):
    """Where a request stands."""

    OPEN = "open"
    APPROVED = "approved"
    REFUSED = "refused"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request for approval. Times are milliseconds, UTC.

    ``shown`` is JSON of what approvers see and approve; ``message`` is what goes on once they have, into the queue that
    ``about`` says. ``capabilities`` names all that would be done. ``asked_by`` is a person's name where one is known.
    """

    hash: str
    about: str
    org_id: str
    subject: str
    """The intent, or the plan."""
    asked_by: str
    asked_at: int
    lapses_at: int
    needed: int
    shown: str
    message: str
    capabilities: tuple[str, ...]
    approved_by: tuple[str, ...] = ()
    refused_by: str = ""
    why: str = ""

    def stands(self, now: int) -> Stand:
        """Where it stands. An approval that is complete does not lapse; a refusal is final."""
        if self.refused_by:
            return Stand.REFUSED
        if len(self.approved_by) >= self.needed:
            return Stand.APPROVED
        return Stand.LAPSED if now >= self.lapses_at else Stand.OPEN


def name(shown: Mapping[str, object]) -> str:
    """The hash that names a request for exactly this."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def approve(request: Request, person: str, now: int) -> Request:
    """Add one person's approval; a second one of theirs changes nothing. Raises ``Rejected`` if it must not count."""
    _may_speak(request, person, now)
    if person in request.approved_by:
        return request
    return replace(request, approved_by=(*request.approved_by, person))


def refuse(request: Request, person: str, why: str, now: int) -> Request:
    """End a request. Whoever asked may do so as well: it takes nothing from anyone. Twice is as once."""
    if request.refused_by == person:
        return request
    if request.stands(now) is not Stand.OPEN:
        raise Rejected(Code.UNKNOWN_APPROVAL, f"This request is {request.stands(now)} already.")
    return replace(request, refused_by=person, why=why)


def withdraw(request: Request, person: str, why: str) -> Request:
    """Refuse it even where it was approved: what was not done by then is not done any more."""
    return request if request.refused_by else replace(request, refused_by=person, why=why)


def _may_speak(request: Request, person: str, now: int) -> None:
    if person == request.asked_by:
        raise Rejected(Code.OWN_REQUEST, "You asked for this yourself; somebody else must approve it.")
    stand = request.stands(now)
    if stand is Stand.APPROVED and person in request.approved_by:
        return
    if stand is not Stand.OPEN:
        raise Rejected(Code.UNKNOWN_APPROVAL, f"This request is {stand} already.")
