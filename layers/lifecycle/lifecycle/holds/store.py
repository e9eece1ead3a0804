"""Stores holds in the ledger's table: one row per hold, in one partition per organization.

The key of a row names what is held, see ``lifecycle.holds.rules``. Its values are ``reason``, ``by`` and ``at`` (in
milliseconds, UTC); once the hold is lifted, ``lifted_at`` and ``lifted_by`` as well. ``cases`` is JSON: the reason of
each case that holds it, and of the hold without a case under an empty name. A row is never deleted: a lifted hold still
stops commands that were issued before it was set. Each change is written together with its audit record.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from lifecycle.audit.chain import Record, What
from lifecycle.audit.store import audit_row, with_unique_time
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Contention, Key, Put, Row, Value, VersionedTable
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Throttled
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds, keys_of

type HoldKind = Resource | Literal["owner"]
"""What a hold can be put on: one resource, or everything that a user owns."""

_TRIES = 8
_UNREADABLE = "which this release cannot read"
_NO_REASON = "no reason was given"


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold in force. ``key`` names what is held, see ``lifecycle.holds.rules``."""

    key: str
    reason: str
    by: str
    """Who set it. Empty if the row does not say."""
    since: datetime | None
    """``None`` if the row does not say."""
    cases: tuple[str, ...] = ("",)
    """The cases that hold it, sorted; an empty name stands for the hold without a case."""


class HoldStore:
    """Reads, sets and lifts holds. Every method raises ``Retryable`` if the table cannot be read or written."""

    def __init__(self, rows: VersionedTable, clock: Callable[[], datetime]) -> None:
        self._rows = rows
        self._clock = clock

    def reason_for(
        self, org_id: str, thing: ResourceSnapshot, *, tags: frozenset[str], since: int | None = None
    ) -> str | None:
        """Why a resource is held, as a sentence; ``None`` if it is not held.

        ``tags`` are the policy's hold tags. ``since`` (milliseconds, UTC) is when a command was issued: a hold that was
        set after it and lifted again still stops that command.
        """
        keys = hold_row_keys(org_id, thing)
        if keys is None:
            rows = self.rows_of(org_id)
        else:
            found = self._rows.read(*keys)
            rows = {key.sk: row for key, row in zip(keys, found, strict=True) if row is not None}
        return reason_among(rows, thing, tags, since=since)

    def rows_of(self, org_id: str) -> Mapping[str, Row]:
        """All hold rows of an organization by their sort key, lifted holds included."""
        return self._rows.partition(table_keys.holds(org_id))

    def reasons(self, org_id: str) -> dict[str, str]:
        """The reason of each hold in force in an organization, by key."""
        return {key: _reason(row) for key, row in self.rows_of(org_id).items() if _stands(row)}

    def holds(self, org_id: str) -> list[Hold]:
        """Every hold in force in an organization, sorted by key."""
        rows = sorted(self.rows_of(org_id).items())
        return [
            Hold(key, _reason(row), str(row.values.get("by") or ""), _since(row), tuple(sorted(_cases(row))))
            for key, row in rows
            if _stands(row)
        ]

    def add(self, org_id: str, kind: HoldKind, name: str, *, reason: str, by: str, case: str = "") -> None:
        """Put a hold on a resource or an owner, or renew an existing one. Holds do not expire.

        Other cases that hold it stay. Raises ``Throttled`` if other callers keep changing the same hold.
        """
        key = table_keys.hold(org_id, f"{kind}#{name}")
        for attempt in range(_TRIES):
            [row] = self._rows.read(key)
            at = millis(self._clock())
            said = _in_case(reason, case)
            record = Record(at=at, what=What.HOLD_SET, org_id=org_id, resource=kind, id=name, by=by, reason=said)
            record = with_unique_time(self._rows, record) if attempt else record
            version = row.version if row else 0
            cases = {**(_cases(row) if row and _stands(row) else {}), case: reason}
            values: dict[str, Value] = {"reason": said, "by": by, "at": at, "cases": json.dumps(cases)}
            try:
                self._rows.write(Put(key, values, version), audit_row(record))
            except Contention:
                continue
            return
        raise Throttled(Code.UNAVAILABLE, "Too many callers are changing this hold. Try again.", retry_after=1)

    def lift(self, org_id: str, kind: HoldKind, name: str, *, by: str = "", case: str = "") -> bool:
        """End what one case holds; by default, the hold without a case. Returns whether there was one.

        What another case holds stays on hold. Raises ``Throttled`` if somebody renewed it in the meantime; it stays in
        force then.
        """
        key = table_keys.hold(org_id, f"{kind}#{name}")
        [seen] = self._rows.read(key)
        if seen is None or not _stands(seen) or case not in _cases(seen):
            return False
        for attempt in range(_TRIES):
            at = millis(self._clock())
            record = Record(at=at, what=What.HOLD_LIFTED, org_id=org_id, resource=kind, id=name, by=by, reason=case)
            record = with_unique_time(self._rows, record) if attempt else record
            try:
                self._rows.write(Put(key, _without(seen, case, by=by, at=at), seen.version), audit_row(record))
            except Contention:
                [present] = self._rows.read(key)
                if present is None or not _stands(present) or case not in _cases(present):
                    return True  # Somebody else has just lifted it and recorded that.
                if present.version != seen.version:
                    break
                continue
            return True
        raise Throttled(Code.BUSY, "The hold was changed at the same time, so it stays. Check it and try again.")


def hold_row_keys(org_id: str, thing: ResourceSnapshot) -> tuple[Key, ...] | None:
    """The rows that decide whether a resource is held; ``None`` if all rows must be read."""
    keys = keys_of(thing)
    return None if keys is None else tuple(table_keys.hold(org_id, key) for key in keys)


def reason_among(
    rows: Mapping[str, Row], thing: ResourceSnapshot, tags: frozenset[str], *, since: int | None
) -> str | None:
    """As ``HoldStore.reason_for``, from rows that were already read (by sort key)."""
    standing = Holds({key: _reason(row) for key, row in rows.items() if _stands(row)}, tags).on(thing)
    if standing is not None or since is None:
        return standing
    lifted = {key: "" for key, row in rows.items() if not _stands(row) and _was_set_since(row, since)}
    if Holds(lifted).on(thing) is None:
        return None
    return "A hold was set after this command was issued, and lifted later. Make a new request if you still want it."


def _reason(row: Row) -> str:
    """A row without a readable reason still holds."""
    return str(row.values.get("reason") or "").strip() or _NO_REASON


def _cases(row: Row) -> dict[str, str]:
    """The reason of each case. A row of an earlier release is a hold without one; an unreadable one is never lifted."""
    if "cases" not in row.values:
        return {"": _reason(row)}
    with suppress(ValueError, RecursionError):
        found = json.loads(str(row.values["cases"]))
        if isinstance(found, dict) and found:
            return {str(case): str(reason) for case, reason in found.items()}
    return {_UNREADABLE: _reason(row)}


def _without(row: Row, case: str, *, by: str, at: int) -> dict[str, Value]:
    """The values of a row once a case holds it no more. The last one lifts the hold."""
    left = {name: reason for name, reason in _cases(row).items() if name != case}
    if not left:
        return {**row.values, "lifted_at": at, "lifted_by": by}
    name, reason = next(iter(left.items()))
    return {**row.values, "reason": _in_case(reason, name), "cases": json.dumps(left)}


def _in_case(reason: str, case: str) -> str:
    return f"{reason} (case {case})" if case else reason


def _stands(row: Row) -> bool:
    """Whether the hold is in force. A row with an unreadable ``lifted_at`` holds."""
    return type(row.values.get("lifted_at")) is not int


def _was_set_since(row: Row, since: int) -> bool:
    at = row.values.get("at")
    return type(at) is not int or at >= since


def _since(row: Row) -> datetime | None:
    at = row.values.get("at")
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(at / 1000, UTC) if type(at) is int else None
    return None
