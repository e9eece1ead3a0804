"""Requests for approval, kept beside the ledger: a row for each, and one that names the newest of a subject."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from lifecycle.adapters.rows import Change, Contention, Key, Row, Rows, Value
from lifecycle.adapters.trail import entry
from lifecycle.judgement.approvals import About, Request, Stand
from lifecycle.judgement.audit import Record, What
from lifecycle.judgement.transitions import millis
from lifecycle.words.errors import Code, Throttled

_TRIES = 8
_OF = "of#"
_HASH = r"[0-9a-f]{64}"


class Approvals:
    """Every change is one conditional write, with its audit record; two people who approve at once are both counted."""

    def __init__(self, rows: Rows, keep: timedelta, clock: Callable[[], datetime]) -> None:
        self._rows = rows
        self._keep = keep
        self._clock = clock

    def find(self, org_id: str, name: str) -> Request | None:
        """The request of this hash; ``None`` for whatever is no hash: other rows lie beside the requests."""
        if not re.fullmatch(_HASH, name):
            return None
        [row] = self._rows.read(_key(org_id, name))
        return _request(row)

    def newest(self, org_id: str, subject: str) -> Request | None:
        """The request that was made last about an intent or a plan."""
        [row] = self._rows.read(_key(org_id, f"{_OF}{subject}"))
        return self.find(org_id, str(row.values.get("hash"))) if row else None

    def ask(self, request: Request) -> Request:
        """Make a request, or find the one that stands already. One that has lapsed is made anew."""
        key, of = _key(request.org_id, request.hash), _key(request.org_id, f"{_OF}{request.subject}")
        for attempt in range(_TRIES):
            at = millis(self._clock()) + attempt  # Two records of the same words are told apart by their time.
            present, pointer = self._rows.read(key, of)
            known = _request(present)
            stands = known is not None and known.stands(millis(self._clock())) is not Stand.LAPSED
            if stands and known is not None and pointer is not None and pointer.values.get("hash") == known.hash:
                return known
            try:
                self._rows.write(
                    self._change(key, _values(request), present),
                    self._change(of, {"hash": request.hash}, pointer),
                    entry(_record(What.APPROVAL_ASKED, request, request.asked_by, at)),
                )
            except Contention:
                continue
            return request
        raise Throttled(Code.UNAVAILABLE, "Too many ask for the same approval at once.", retry_after=1)

    def change(
        self,
        org_id: str,
        name: str,
        change: Callable[[Request], Request],
        *,
        fence: Callable[[], Sequence[Change]] = tuple,
    ) -> Request | None:
        """Change a request by the rules of ``lifecycle.judgement.approvals``; ``None`` if there is none.

        ``fence`` gives what must be written with it, so that nothing else can happen in between.
        """
        for attempt in range(_TRIES):
            [row] = self._rows.read(_key(org_id, name)) if re.fullmatch(_HASH, name) else [None]
            known = _request(row)
            if known is None:
                return None
            after = change(known)
            if after == known:
                return known
            try:
                said = [entry(self._said(known, after, attempt))] if _has_spoken(known, after) else []
                self._rows.write(self._change(_key(org_id, name), _values(after), row), *said, *fence())
            except Contention:
                continue
            return after
        raise Throttled(Code.UNAVAILABLE, "Too many people approve the same request at once.", retry_after=1)

    def _said(self, before: Request, request: Request, attempt: int) -> Record:
        """Who has just spoken, for the trail."""
        now = millis(self._clock()) + attempt  # Two records of the same words are told apart by their time.
        withdrawn = set(before.approved_by) - set(request.approved_by)
        if withdrawn:
            return _record(What.APPROVAL_WITHDRAWN, request, withdrawn.pop(), now)
        if request.refused_by:
            return _record(What.APPROVAL_REFUSED, request, request.refused_by, now)
        return _record(What.APPROVAL_GIVEN, request, request.approved_by[-1], now)

    def open(self, org_id: str) -> list[Request]:
        """Every request that waits for somebody, the oldest first."""
        now = millis(self._clock())
        rows = self._rows.partition(_partition(org_id))
        found = [_request(row) for key, row in rows.items() if not key.startswith(_OF)]
        waiting = [request for request in found if request is not None and request.stands(now) is Stand.OPEN]
        newest = {str(row.values.get("hash")) for key, row in rows.items() if key.startswith(_OF)}
        return sorted((one for one in waiting if one.hash in newest), key=lambda request: request.asked_at)

    def _change(self, key: Key, values: Mapping[str, Value], present: Row | None) -> Change:
        # It outlives what it may still decide by as long as the ledger keeps.
        lapses_at = values.get("lapses_at")
        last = max(self._clock().timestamp(), lapses_at / 1000 if isinstance(lapses_at, int) else 0)
        expires_at = int(last + self._keep.total_seconds())
        return Change(key, values, present.version if present else 0, expires_at)


def _has_spoken(before: Request, after: Request) -> bool:
    return (before.approved_by, before.refused_by) != (after.approved_by, after.refused_by)


def _record(what: What, request: Request, by: str, at: int) -> Record:
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


def _partition(org_id: str) -> str:
    return f"approval#{org_id}"


def _key(org_id: str, name: str) -> Key:
    return Key(_partition(org_id), name)


def _values(request: Request) -> Mapping[str, Value]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(request).items()}


def _request(row: Row | None) -> Request | None:
    if row is None:
        return None
    known = {name: value for name, value in row.values.items() if name in Request.__dataclass_fields__}
    lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    return Request(**{**known, **lists})  # type: ignore[arg-type]
