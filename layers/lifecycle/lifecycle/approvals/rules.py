"""Decides whether a request has enough approvals of other people, for exactly its content and before it expires.

A request is named by the hash of the facts that its approvers see, so a changed fact makes another request. Pure.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from lifecycle.domain.errors import Code, Rejected


class About(StrEnum):
    """The subject of a request."""

    COMMAND = "command"
    PLAN = "plan"


class ApprovalStatus(StrEnum):
    """The status of a request."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class ApprovalNotice(StrEnum):
    """What a notice tells the approvers about a request."""

    ASKED = "asked"
    REMINDED = "reminded"
    EXPIRED = "expired"


_MAY_CHANGE = frozenset({"approved_by", "approved_ids", "rejected_by", "why"})
"""The fields of a request that change. People approve all other fields."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's approval: the name in people.toml, and the proven identities, separated by blanks."""

    by: str
    ids: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """One request for approval. Times are milliseconds, UTC.

    ``shown`` is JSON of the facts that approvers see. ``message`` is sent after the approval, to the queue that follows
    from ``about``. ``capabilities`` names all that would be done. ``asked_by`` is the requester's name, if known.
    """

    hash: str
    about: str
    org_id: str
    subject: str
    """The id of the intent, or the hash of the plan."""
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
    """The identities of the requester that AWS or Slack proved. Names in people.toml may change."""
    approved_ids: tuple[str, ...] = ()
    """For each approval, in order, the identities of the approver, separated by blanks."""

    @property
    def half_time(self) -> int:
        """When approvers are reminded."""
        return (self.asked_at + self.deadline) // 2

    def notice(self, now: int) -> ApprovalNotice | None:
        """The notice that approvers should get now; ``None`` if the request was decided."""
        match self.stands(now):
            case ApprovalStatus.OPEN:
                return ApprovalNotice.REMINDED if now >= self.half_time else ApprovalNotice.ASKED
            case ApprovalStatus.EXPIRED:
                return ApprovalNotice.EXPIRED
            case _:
                return None

    def stands(self, now: int) -> ApprovalStatus:
        """The status. A complete approval does not expire, a refusal is final, and zero approvals are never enough."""
        if self.rejected_by:
            return ApprovalStatus.REJECTED
        if len(self.approved_by) >= max(1, self.needed):
            return ApprovalStatus.APPROVED
        return ApprovalStatus.EXPIRED if now >= self.deadline else ApprovalStatus.OPEN


def notice_between(request: ApprovalRequest, since: int, until: int, now: int) -> ApprovalNotice | None:
    """The notice that became due after ``since`` and not after ``until``: a reminder, or the expiry."""
    due = request.notice(now)
    moment = (
        {ApprovalNotice.REMINDED: request.half_time, ApprovalNotice.EXPIRED: request.deadline}.get(due) if due else None
    )
    return due if moment is not None and since < moment <= until else None


def name(shown: Mapping[str, object]) -> str:
    """The hash that names a request for exactly this."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def seal(request: ApprovalRequest) -> str:
    """A hash of everything that a vote is for: the facts, the effects, the requester and the number of approvals."""
    return name({key: value for key, value in asdict(request).items() if key not in _MAY_CHANGE})


def vote_name(request: ApprovalRequest, vote: Vote) -> str:
    """The name of a vote's row. If anything in the request changes, the name is another one."""
    voter = hashlib.sha256((vote.ids or vote.by).encode()).hexdigest()
    return f"{request.hash}#{seal(request)[:32]}#{voter[:32]}"


def votes(request: ApprovalRequest) -> tuple[Vote, ...]:
    """The approvals that count, oldest first."""
    return tuple(map(Vote, request.approved_by, _ids_of_all(request)))


def with_votes(request: ApprovalRequest, given: tuple[Vote, ...]) -> ApprovalRequest:
    """The request with these approvals and no others."""
    return replace(request, approved_by=tuple(v.by for v in given), approved_ids=tuple(v.ids for v in given))


def approve(request: ApprovalRequest, person: str, now: int, ids: frozenset[str] = frozenset()) -> ApprovalRequest:
    """Add one person's approval; repeating it changes nothing. Raises ``Rejected`` if it must not count.

    ``ids`` are the proven identities of that person.
    """
    if _is_same(person, ids, request.asked_by, frozenset(request.asked_ids)):
        raise Rejected(Code.OWN_REQUEST, "You requested this yourself. Somebody else must approve it.")
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
    """Withdraw one person's approval. Raises ``Rejected`` if that person has none that counts."""
    number = _vote_of(request, person, ids)
    if number is None or request.rejected_by:
        raise Rejected(Code.UNKNOWN_APPROVAL, "You have no approval of this request to withdraw.")
    given, known = list(request.approved_by), list(_ids_of_all(request))
    del given[number], known[number]
    return replace(request, approved_by=tuple(given), approved_ids=tuple(known))


def reject(request: ApprovalRequest, person: str, why: str, now: int) -> ApprovalRequest:
    """End a request, approved or not. The requester may do so as well. Repeating it changes nothing."""
    if request.rejected_by == person:
        return request
    if request.stands(now) in {ApprovalStatus.REJECTED, ApprovalStatus.EXPIRED}:
        raise Rejected(Code.UNKNOWN_APPROVAL, f"This request is {request.stands(now)} already.")
    return replace(request, rejected_by=person, why=why)


def cancel(request: ApprovalRequest, person: str, why: str) -> ApprovalRequest:
    """Refuse a request even if it was approved. Anything not done yet will not be done."""
    return request if request.rejected_by else replace(request, rejected_by=person, why=why)


def _vote_of(request: ApprovalRequest, person: str, ids: frozenset[str]) -> int | None:
    """The position of a person's approval; ``None`` if there is none."""
    votes = enumerate(zip(request.approved_by, _ids_of_all(request), strict=True))
    return next((n for n, (name, known) in votes if _is_same(person, ids, name, frozenset(known.split()))), None)


def _ids_of_all(request: ApprovalRequest) -> tuple[str, ...]:
    """The identities of each approver; blank if an earlier release recorded none."""
    missing = len(request.approved_by) - len(request.approved_ids)
    return (*request.approved_ids, *[""] * missing)


def _is_same(person: str, ids: frozenset[str], other: str, known: frozenset[str]) -> bool:
    """Whether two people are the same: by proven identities, or by name if there are none."""
    return bool(ids & known) if ids and known else person == other
