"""May what cannot be undone be done? Only if enough other people said so, of exactly this, in time.

A request is named by the hash of what its approvers are shown. Whatever changes is another request. Pure.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from lifecycle.domain.errors import Code, Rejected


class About(StrEnum):
    """What a request is about."""

    COMMAND = "command"
    PLAN = "plan"


class ApprovalStatus(StrEnum):
    """Where a request stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class ApprovalNotice(StrEnum):
    """What approvers are told about a request."""

    ASKED = "asked"
    REMINDED = "reminded"
    EXPIRED = "expired"


_MAY_CHANGE = frozenset({"approved_by", "approved_ids", "rejected_by", "why"})
"""What becomes of a request. All else is what people approve."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's approval: their name in people.toml, and their proven identities with blanks between them."""

    by: str
    ids: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
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
    deadline: int
    needed: int
    shown: str
    message: str
    capabilities: tuple[str, ...]
    approved_by: tuple[str, ...] = ()
    rejected_by: str = ""
    why: str = ""
    asked_ids: tuple[str, ...] = ()
    """What is known of who asked: each identity that AWS or Slack proves. Names in people.toml may move on."""
    approved_ids: tuple[str, ...] = ()
    """For each approval, in order, the identities of who gave it, with blanks between them."""

    @property
    def half_time(self) -> int:
        """When approvers are reminded."""
        return (self.asked_at + self.deadline) // 2

    def notice(self, now: int) -> ApprovalNotice | None:
        """What approvers should know of it now; ``None`` where it was decided."""
        match self.stands(now):
            case ApprovalStatus.OPEN:
                return ApprovalNotice.REMINDED if now >= self.half_time else ApprovalNotice.ASKED
            case ApprovalStatus.EXPIRED:
                return ApprovalNotice.EXPIRED
            case _:
                return None

    def stands(self, now: int) -> ApprovalStatus:
        """Where it stands. An approval that is complete does not expire; a refusal is final. Nobody is never enough."""
        if self.rejected_by:
            return ApprovalStatus.REJECTED
        if len(self.approved_by) >= max(1, self.needed):
            return ApprovalStatus.APPROVED
        return ApprovalStatus.EXPIRED if now >= self.deadline else ApprovalStatus.OPEN


def notice_between(request: ApprovalRequest, since: int, until: int, now: int) -> ApprovalNotice | None:
    """What became due to be told after ``since`` and not after ``until``: a reminder, or that it has expired."""
    due = request.notice(now)
    moment = (
        {ApprovalNotice.REMINDED: request.half_time, ApprovalNotice.EXPIRED: request.deadline}.get(due) if due else None
    )
    return due if moment is not None and since < moment <= until else None


def name(shown: Mapping[str, object]) -> str:
    """The hash that names a request for exactly this."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def seal(request: ApprovalRequest) -> str:
    """A hash over everything that a vote is for: what is shown, what would be done, who asked, how many it needs."""
    return name({key: value for key, value in asdict(request).items() if key not in _MAY_CHANGE})


def vote_name(request: ApprovalRequest, vote: Vote) -> str:
    """Under which name a vote is kept. If anything about the request changes, the vote is under another name."""
    voter = hashlib.sha256((vote.ids or vote.by).encode()).hexdigest()
    return f"{request.hash}#{seal(request)[:32]}#{voter[:32]}"


def votes(request: ApprovalRequest) -> tuple[Vote, ...]:
    """The approvals that count, in the order in which they were given."""
    return tuple(map(Vote, request.approved_by, _ids_of_all(request)))


def with_votes(request: ApprovalRequest, given: tuple[Vote, ...]) -> ApprovalRequest:
    """The request with these approvals and no others."""
    return replace(request, approved_by=tuple(v.by for v in given), approved_ids=tuple(v.ids for v in given))


def approve(request: ApprovalRequest, person: str, now: int, ids: frozenset[str] = frozenset()) -> ApprovalRequest:
    """Add one person's approval; a second one of theirs changes nothing. Raises ``Rejected`` if it must not count.

    ``ids`` are the identities that were proven of them.
    """
    if _is_same(person, ids, request.asked_by, frozenset(request.asked_ids)):
        raise Rejected(Code.OWN_REQUEST, "You asked for this yourself; somebody else must approve it.")
    stand, given = request.stands(now), _vote_of(request, person, ids) is not None
    if given and stand in {ApprovalStatus.OPEN, ApprovalStatus.APPROVED}:
        return request
    if stand is not ApprovalStatus.OPEN:
        raise Rejected(Code.UNKNOWN_APPROVAL, f"This request is {stand} already.")
    return replace(
        request,
        approved_by=(*request.approved_by, person),
        approved_ids=(*_ids_of_all(request), " ".join(sorted(ids))),
    )


def withdraw_approval(request: ApprovalRequest, person: str, ids: frozenset[str] = frozenset()) -> ApprovalRequest:
    """Take one person's approval back. Raises ``Rejected`` where they gave none that still counts."""
    number = _vote_of(request, person, ids)
    if number is None or request.rejected_by:
        raise Rejected(Code.UNKNOWN_APPROVAL, "There is no approval of yours that could be withdrawn.")
    given, known = list(request.approved_by), list(_ids_of_all(request))
    del given[number], known[number]
    return replace(request, approved_by=tuple(given), approved_ids=tuple(known))


def reject(request: ApprovalRequest, person: str, why: str, now: int) -> ApprovalRequest:
    """End a request, approved or not. Whoever asked may do so as well. Twice is as once."""
    if request.rejected_by == person:
        return request
    if request.stands(now) in {ApprovalStatus.REJECTED, ApprovalStatus.EXPIRED}:
        raise Rejected(Code.UNKNOWN_APPROVAL, f"This request is {request.stands(now)} already.")
    return replace(request, rejected_by=person, why=why)


def cancel(request: ApprovalRequest, person: str, why: str) -> ApprovalRequest:
    """Refuse it even where it was approved: what was not done by then is not done any more."""
    return request if request.rejected_by else replace(request, rejected_by=person, why=why)


def _vote_of(request: ApprovalRequest, person: str, ids: frozenset[str]) -> int | None:
    """The number of a person's approval."""
    votes = enumerate(zip(request.approved_by, _ids_of_all(request), strict=True))
    return next((n for n, (name, known) in votes if _is_same(person, ids, name, frozenset(known.split()))), None)


def _ids_of_all(request: ApprovalRequest) -> tuple[str, ...]:
    """The identities of each approver; blank where an earlier release recorded none."""
    missing = len(request.approved_by) - len(request.approved_ids)
    return (*request.approved_ids, *[""] * missing)


def _is_same(person: str, ids: frozenset[str], other: str, known: frozenset[str]) -> bool:
    """Whether two are one person: by what was proven of both, and by name only where that is not known."""
    return bool(ids & known) if ids and known else person == other
