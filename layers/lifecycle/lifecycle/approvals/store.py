"""Stores requests for approval: a row for each request, each vote, and the newest request of each subject.

The row of a request only names the rows of its votes: the right to write requests is not enough to approve one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from lifecycle.approvals import rules
from lifecycle.approvals.rules import About, ApprovalRequest, ApprovalStatus, Vote
from lifecycle.audit.chain import Record, What
from lifecycle.audit.store import audit_row
from lifecycle.aws import table_keys as keys
from lifecycle.aws.dynamodb import Key, Put, Row, Value, VersionedTable
from lifecycle.aws.row_codec import record_of, values_of
from lifecycle.aws.row_update import RowDecision, update_rows
from lifecycle.domain.clock import millis

_HASH = r"[0-9a-f]{64}"
_VOTES = "votes"
"""The field of a request's row with the names of its votes, oldest first."""
_OF_VOTES = frozenset({"approved_by", "approved_ids"})


class ApprovalStore:
    """Each change is one conditional write with its audit record, so two concurrent approvals both count.

    ``least`` has the least number of approvals for each subject (``About``); a row cannot require fewer.
    """

    def __init__(
        self,
        rows: VersionedTable,
        keep: timedelta,
        clock: Callable[[], datetime],
        *,
        least: Mapping[str, int] | None = None,
    ) -> None:
        self._rows = rows
        self._keep = keep
        self._clock = clock
        self._least = least or {}

    def find(self, org_id: str, name: str) -> ApprovalRequest | None:
        """The request of this hash; ``None`` if the text is not a hash, because the partition has other rows too."""
        if not re.fullmatch(_HASH, name):
            return None
        return self._requests(*self._rows.read(keys.request(org_id, name)))[0]

    def newest(self, org_id: str, subject: str) -> ApprovalRequest | None:
        """The newest request about an intent or a plan."""
        [row] = self._rows.read(keys.newest(org_id, subject))
        return self.find(org_id, str(row.values.get("hash"))) if row else None

    def ask(self, request: ApprovalRequest) -> ApprovalRequest:
        """Make a request, or return the existing one. An expired request is made again, without votes."""
        key, of = keys.request(request.org_id, request.hash), keys.newest(request.org_id, request.subject)

        def decide(rows: list[Row | None], attempt: int) -> RowDecision[ApprovalRequest]:
            present, pointer = rows
            [known] = self._requests(present)
            is_newest = known is not None and pointer is not None and pointer.values.get("hash") == known.hash
            if known is not None and is_newest and known.stands(millis(self._clock())) is not ApprovalStatus.EXPIRED:
                return RowDecision(known)
            at = millis(self._clock()) + attempt  # Equal audit records need different times.
            changes = [
                self._change(key, _values(request), present),
                self._change(of, {"hash": request.hash}, pointer),
                audit_row(_record(What.APPROVAL_ASKED, request, request.asked_by, at)),
            ]
            return RowDecision(self._at_least(request), changes)

        busy = "Too many requests for the same approval at the same time."
        return update_rows(self._rows, [key, of], decide, busy=busy)

    def change(
        self,
        org_id: str,
        name: str,
        change: Callable[[ApprovalRequest], ApprovalRequest],
        *,
        fence: Callable[[], Sequence[Put]] = tuple,
    ) -> ApprovalRequest | None:
        """Change a request by a rule of ``lifecycle.approvals.rules``; ``None`` if there is no request.

        ``fence`` returns changes for the same transaction, so that nothing else can happen in between.
        """
        if not re.fullmatch(_HASH, name):
            return None
        key = keys.request(org_id, name)

        def decide(rows: list[Row | None], attempt: int) -> RowDecision[ApprovalRequest | None]:
            [row] = rows
            [known] = self._requests(row)
            if known is None or row is None:
                return RowDecision(None)
            after = change(known)
            if after == known:
                return RowDecision(known)
            # The row keeps the number of the request, because votes are given for that number.
            kept = replace(after, needed=_plain(row).needed)
            audit = [audit_row(self._said(known, after, attempt))] if _has_spoken(known, after) else []
            changes = [self._change(key, _values(kept), row), *self._spoken(known, kept), *audit, *fence()]
            return RowDecision(after, changes)

        return update_rows(
            self._rows, [key], decide, busy="Too many people are approving the same request at the same time."
        )

    def open(self, org_id: str) -> list[ApprovalRequest]:
        """Every open request, oldest first."""
        now = millis(self._clock())
        # Votes cannot reopen a request that has ended or expired, so they are not read.
        may = [row for row in self._newest_rows(org_id) if _plain(row).stands(now) is ApprovalStatus.OPEN]
        waiting = [
            request for request in self._requests(*may) if request and request.stands(now) is ApprovalStatus.OPEN
        ]
        return sorted(waiting, key=lambda request: request.asked_at)

    def due_notices(self, org_id: str, since: datetime, until: datetime) -> list[ApprovalRequest]:
        """Every undecided request whose reminder or expiry came after ``since`` and not after ``until`` (UTC)."""

        def is_due(request: ApprovalRequest) -> bool:
            return rules.notice_between(request, millis(since), millis(until), millis(self._clock())) is not None

        may = [row for row in self._newest_rows(org_id) if is_due(_plain(row))]
        return [one for one in self._requests(*may) if one is not None and is_due(one)]

    def _newest_rows(self, org_id: str) -> list[Row]:
        """The rows of the newest request of each subject."""
        rows = self._rows.partition(keys.requests(org_id))
        newest = {str(row.values.get("hash")) for key, row in rows.items() if keys.is_newest(key)}
        return [row for key, row in rows.items() if key in newest]

    def _requests(self, *rows: Row | None) -> list[ApprovalRequest | None]:
        """Requests with the votes that count. All votes are read together."""
        plain = [_plain(row) if row else None for row in rows]
        places = [_places(one, row) if one and row else [] for one, row in zip(plain, rows, strict=True)]
        wanted = [place for some in places for place in some]
        read = dict(zip(wanted, self._rows.read(*wanted), strict=True)) if wanted else {}
        found: list[ApprovalRequest | None] = []
        for one, some in zip(plain, places, strict=True):
            given = [vote for place in some if one and (vote := _counted(one, place, read.get(place)))]
            found.append(self._at_least(rules.with_votes(one, tuple(given))) if one else None)
        return found

    def _at_least(self, request: ApprovalRequest) -> ApprovalRequest:
        return replace(request, needed=max(request.needed, self._least.get(str(request.about), 1)))

    def _spoken(self, before: ApprovalRequest, after: ApprovalRequest) -> list[Put]:
        """The changes for given or withdrawn votes; a withdrawn vote keeps its row."""
        past, now = rules.votes(before), rules.votes(after)
        changed = {vote: False for vote in now if vote not in past} | {vote: True for vote in past if vote not in now}
        if not changed:
            return []
        places = [keys.vote(after.org_id, rules.vote_name(after, vote)) for vote in changed]
        return [
            self._change(
                place,
                {"by": vote.by, "ids": vote.ids, "withdrawn": withdrawn, "deadline": after.deadline},
                present,
            )
            for (vote, withdrawn), place, present in zip(changed.items(), places, self._rows.read(*places), strict=True)
        ]

    def _said(self, before: ApprovalRequest, request: ApprovalRequest, attempt: int) -> Record:
        """The person who acted, for the audit trail."""
        now = millis(self._clock()) + attempt  # Equal audit records need different times.
        withdrawn = set(before.approved_by) - set(request.approved_by)
        if withdrawn:
            return _record(What.APPROVAL_WITHDRAWN, request, withdrawn.pop(), now)
        if request.rejected_by:
            return _record(What.APPROVAL_REJECTED, request, request.rejected_by, now)
        return _record(What.APPROVAL_GIVEN, request, request.approved_by[-1], now)

    def _change(self, key: Key, values: Mapping[str, Value], present: Row | None) -> Put:
        # It is kept for the ledger's retention after the last moment at which it can decide.
        deadline = values.get("deadline")
        last = max(self._clock().timestamp(), deadline / 1000 if isinstance(deadline, int) else 0)
        expires_at = int(last + self._keep.total_seconds())
        return Put(key, values, present.version if present else 0, expires_at)


def _has_spoken(before: ApprovalRequest, after: ApprovalRequest) -> bool:
    return (before.approved_by, before.rejected_by) != (after.approved_by, after.rejected_by)


def _record(what: What, request: ApprovalRequest, by: str, at: int) -> Record:
    plan = request.about == About.PLAN
    return Record(
        at=at,
        what=what,
        org_id=request.org_id,
        action=", ".join(request.capabilities),
        by=by,
        intent_id="" if plan else request.subject,
        plan=request.subject if plan else "",
        reason=request.why,
        evidence=request.hash,
    )


def _values(request: ApprovalRequest) -> Mapping[str, Value]:
    """The values of a request's row: it names its votes and has nothing of their content."""
    names = [rules.vote_name(request, vote) for vote in rules.votes(request)]
    kept = {key: value for key, value in values_of(request).items() if key not in _OF_VOTES}
    return kept | {_VOTES: names}


def _plain(row: Row) -> ApprovalRequest:
    """The request of a row, without votes."""
    return record_of(ApprovalRequest, {key: value for key, value in row.values.items() if key not in _OF_VOTES})


def _places(request: ApprovalRequest, row: Row) -> list[Key]:
    """The keys of the votes that the row names, without duplicates."""
    names = row.values.get(_VOTES)
    return [keys.vote(request.org_id, name) for name in dict.fromkeys(names)] if isinstance(names, list) else []


def _counted(request: ApprovalRequest, place: Key, row: Row | None) -> Vote | None:
    """The vote of a row, if it is for exactly this request and not withdrawn; otherwise ``None``."""
    if row is None or row.values.get("withdrawn") is not False:
        return None
    vote = Vote(str(row.values.get("by")), str(row.values.get("ids")))
    return vote if place == keys.vote(request.org_id, rules.vote_name(request, vote)) else None
