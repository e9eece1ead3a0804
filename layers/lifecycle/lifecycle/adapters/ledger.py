"""The ledger: which intent did what, kept for good, and who works on which thing right now.

The rules are ``lifecycle.judgement.transitions``; this module only reads rows, asks the rules, and writes rows under
the versions it has seen. It is the same code over DynamoDB and over memory. Each end of an intent, and each hold that
is set or lifted, is written together with its record: see ``lifecycle.adapters.trail``.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Literal

from lifecycle.adapters.rows import Change, Contention, Key, Row, Rows, Value
from lifecycle.adapters.trail import entry, untaken
from lifecycle.judgement import transitions
from lifecycle.judgement.audit import Record, What, concluded
from lifecycle.judgement.holds import Holds, keys_of
from lifecycle.judgement.transitions import (
    Busy,
    Claimed,
    Concluded,
    Conflict,
    Debt,
    End,
    IntentRow,
    ResourceRow,
    Status,
    millis,
)
from lifecycle.words.capabilities import Resource
from lifecycle.words.commands import Command
from lifecycle.words.errors import Code, Throttled
from lifecycle.words.things import Thing

type HoldKind = Resource | Literal["owner"]

_TRIES = 8
_UNEXPLAINED = "no reason was given"


@dataclass(frozen=True, slots=True)
class Terms:
    """How the ledger is run. ``keep`` is how long rows live after the last word on them."""

    lease: timedelta
    keep: timedelta
    most_attempts: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that was won, with the row versions that prove it."""

    rows: Claimed
    versions: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Ended:
    """An intent that has been concluded, by this or an earlier delivery, with the row version."""

    intent: IntentRow
    version: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as it was set, under its key, see ``lifecycle.judgement.holds``."""

    key: str
    reason: str
    by: str
    """Blank where the row does not say, as ``since`` is ``None`` there."""
    since: datetime | None


class LeaseLost(Throttled):
    """The lease ran out and somebody else took over; what they record stands."""

    def __init__(self) -> None:
        super().__init__(Code.BUSY, "The lease ran out while this was carried out; another worker looks after it now.")


class Ledger:
    """Claims, conclusions, holds. Every transition is one conditional write."""

    def __init__(self, rows: Rows, terms: Terms, clock: Callable[[], datetime]) -> None:
        self._rows = rows
        self._terms = terms
        self._clock = clock

    def claim(self, command: Command, *, redrive: int = 0) -> Claim | Ended | Busy | Conflict:
        """Try to start. A claim lasts for the lease; an intent that has ended says how."""
        keys = _intent_key(command.intent_id), _resource_key(command.org_id, command.resource, command.thing_id)
        for _ in range(_TRIES):
            intent, resource = self._rows.read(*keys)
            judged = transitions.claim(
                _read(IntentRow, intent),
                _read(ResourceRow, resource),
                command,
                redrive=redrive,
                now=self._now,
                lease=self._lease,
                most_attempts=self._terms.most_attempts,
            )
            seen = _version(intent), _version(resource)
            try:
                match judged:
                    case Claimed():
                        self._write(keys, judged.intent, judged.resource, seen)
                        return Claim(judged, (seen[0] + 1, seen[1] + 1))
                    case Concluded(fresh=True):
                        return self._end(judged, seen[0])
                    case Concluded():
                        return Ended(judged.intent, seen[0])
                    case Busy() | Conflict():
                        return judged
            except Contention:
                continue
        raise Throttled(Code.UNAVAILABLE, "Too many workers want the same thing at once.", retry_after=1)

    def conclude(self, claim: Claim, end: End, *, maybe_acted: bool = False, landing: bool = False) -> Ended:
        """Record the end. Raises ``LeaseLost`` if another worker has taken over since."""
        intent, resource = transitions.conclude(
            claim.rows, end, now=self._now, maybe_acted=maybe_acted, landing=landing
        )
        self._keep_claim(claim, intent, resource, entry(concluded(intent)))
        return Ended(intent, claim.versions[0] + 1)

    @property
    def most_attempts(self) -> int:
        """How many attempts may fail."""
        return self._terms.most_attempts

    def is_last_attempt(self, claim: Claim) -> bool:
        """Whether another failure is one too many."""
        return claim.rows.intent.attempts >= self.most_attempts

    def fail(self, command: Command, code: Code, reason: str, *, redrive: int = 0) -> int:
        """Count an attempt that failed before anything could be claimed. Answers how many have failed so far."""
        key = _intent_key(command.intent_id)
        for _ in range(_TRIES):
            [row] = self._rows.read(key)
            failed = transitions.fail(_read(IntentRow, row), command, code, reason, redrive=redrive, now=self._now)
            if failed is None:
                return 0
            try:
                self._rows.write(self._change(key, failed, _version(row)))
            except Contention:
                continue
            return failed.attempts
        return 0

    def release(
        self, claim: Claim, code: Code, reason: str, *, counted: bool, maybe_acted: bool = False, landing: bool = False
    ) -> int:
        """Let go; the message will come back. Answers how many attempts have failed so far."""
        intent, resource = transitions.release(
            claim.rows, code, reason, counted=counted, maybe_acted=maybe_acted, landing=landing
        )
        self._keep_claim(claim, intent, resource)
        return intent.attempts

    def give_up(self, command: Command, end: End, *, redrive: int = 0) -> Ended | None:
        """End an intent that nobody works on, without a claim. ``None`` if it has ended or is being worked on."""
        key = _intent_key(command.intent_id)
        for _ in range(_TRIES):
            [row] = self._rows.read(key)
            judged = transitions.give_up(
                _read(IntentRow, row), command, end, redrive=redrive, now=self._now, lease=self._lease
            )
            if judged is None:
                return None
            try:
                return self._end(judged, _version(row))
            except Contention:
                continue
        return None

    def settle(self, ended: Ended, debt: Debt) -> Ended:
        """Strike off a debt. If somebody else wrote meanwhile, they settle it as well: debts are paid at least once."""
        intent = transitions.settle(ended.intent, debt)
        try:
            self._rows.write(self._change(_intent_key(intent.intent_id), intent, ended.version))
        except Contention:
            return Ended(intent, ended.version)
        return Ended(intent, ended.version + 1)

    def find(self, intent_id: str) -> IntentRow | None:
        """The story of one intent, if it has one yet."""
        [row] = self._rows.read(_intent_key(intent_id))
        return _read(IntentRow, row)

    def recall(self, intent_id: str) -> Ended | None:
        """As ``find``, with the row's version."""
        [row] = self._rows.read(_intent_key(intent_id))
        intent = _read(IntentRow, row)
        return Ended(intent, _version(row)) if intent else None

    def hold_on(self, org_id: str, thing: Thing, *, tags: frozenset[str]) -> str | None:
        """Why a thing is held, or ``None``. ``tags`` are the policy's hold tags.

        An unreadable answer raises: nothing is done then.
        """
        keys = keys_of(thing)
        if keys is None:
            return Holds(self.holds(org_id), tags).on(thing)
        rows = self._rows.read(*(Key(_holds_of(org_id), key) for key in keys))
        held = {key: _reason(row) for key, row in zip(keys, rows, strict=True) if row is not None}
        return Holds(held, tags).on(thing)

    def holds(self, org_id: str) -> dict[str, str]:
        """Every hold of an organization, see ``lifecycle.judgement.holds``, with its reason.

        An unreadable answer raises: nothing is done then.
        """
        return {key: _reason(row) for key, row in self._rows.partition(_holds_of(org_id)).items()}

    def holds_listed(self, org_id: str) -> list[Hold]:
        """As ``holds``, with who set each one and since when; sorted by key."""
        rows = sorted(self._rows.partition(_holds_of(org_id)).items())
        return [Hold(key, _reason(row), str(row.values.get("by") or ""), _since(row)) for key, row in rows]

    def hold(self, org_id: str, kind: HoldKind, name: str, *, reason: str, by: str) -> None:
        """Put a hold on a thing, or on all that a user owns, or renew it. Holds do not expire."""
        key = _hold_key(org_id, kind, name)
        for attempt in range(_TRIES):
            [row] = self._rows.read(key)
            at = self._now
            said = Record(at=at, what=What.HOLD_SET, org_id=org_id, resource=kind, id=name, by=by, reason=reason)
            said = untaken(self._rows, said) if attempt else said
            try:
                self._rows.write(Change(key, {"reason": reason, "by": by, "at": at}, _version(row)), entry(said))
            except Contention:
                continue
            return
        raise Throttled(Code.UNAVAILABLE, "Too many want this hold at once.", retry_after=1)

    def lift(self, org_id: str, kind: HoldKind, name: str, *, by: str = "") -> bool:
        """Take a hold away. Answers whether there was one; one that was renewed meanwhile stays and raises."""
        key = _hold_key(org_id, kind, name)
        [seen] = self._rows.read(key)
        if seen is None:
            return False
        for attempt in range(_TRIES):
            said = Record(at=self._now, what=What.HOLD_LIFTED, org_id=org_id, resource=kind, id=name, by=by)
            said = untaken(self._rows, said) if attempt else said
            try:
                self._rows.write(Change(key, None, seen.version), entry(said))
            except Contention:
                [present] = self._rows.read(key)
                if present is None:
                    return True  # Somebody else lifted it just now, and that is recorded.
                if present.version != seen.version:
                    break
                continue
            return True
        raise Throttled(Code.BUSY, "The hold was changed meanwhile, so it stays. Look at it again.")

    @property
    def _lease(self) -> int:
        return int(self._terms.lease.total_seconds() * 1000)

    @property
    def _now(self) -> int:
        return millis(self._clock())

    def _end(self, judged: Concluded, seen: int) -> Ended:
        change = self._change(_intent_key(judged.intent.intent_id), judged.intent, seen)
        self._rows.write(change, entry(concluded(judged.intent)))
        return Ended(judged.intent, seen + 1)

    def _keep_claim(self, claim: Claim, intent: IntentRow, resource: ResourceRow, *more: Change) -> None:
        keys = (
            _intent_key(intent.intent_id),
            _resource_key(intent.org_id, Resource(intent.resource), intent.id),
        )
        try:
            self._write(keys, intent, resource, claim.versions, *more)
        except Contention:
            raise LeaseLost from None

    def _write(
        self, keys: tuple[Key, Key], intent: IntentRow, resource: ResourceRow, seen: tuple[int, int], *more: Change
    ) -> None:
        self._rows.write(self._change(keys[0], intent, seen[0]), self._change(keys[1], resource, seen[1]), *more)

    def _change(self, key: Key, row: IntentRow | ResourceRow, seen: int) -> Change:
        expires_at = int((self._clock() + self._terms.keep).timestamp())
        return Change(key, _values(row), seen, expires_at)


def _intent_key(intent_id: str) -> Key:
    return Key(f"intent#{intent_id}", "intent")


def _resource_key(org_id: str, resource: Resource, thing_id: str) -> Key:
    return Key(f"resource#{org_id}#{resource}#{thing_id}", "resource")


def _hold_key(org_id: str, kind: HoldKind, name: str) -> Key:
    return Key(_holds_of(org_id), f"{kind}#{name}")


def _holds_of(org_id: str) -> str:
    return f"holds#{org_id}"


def _reason(row: Row) -> str:
    """Whatever the row says, or does not say, it holds."""
    return str(row.values.get("reason") or "").strip() or _UNEXPLAINED


def _since(row: Row) -> datetime | None:
    at = row.values.get("at")
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(at / 1000, UTC) if type(at) is int else None
    return None


def _version(row: Row | None) -> int:
    return row.version if row else 0


def _values(row: IntentRow | ResourceRow) -> Mapping[str, Value]:
    plain: dict[str, Value] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, tuple):
            plain[field.name] = [item.value for item in value]
        else:
            plain[field.name] = value.value if isinstance(value, Enum) else value
    return plain


def _read[T: (IntentRow, ResourceRow)](kind: type[T], row: Row | None) -> T | None:
    """Rebuild a row. Attributes of a newer release are ignored; those it lacks take their defaults."""
    if row is None:
        return None
    known = {field.name for field in fields(kind)}
    built = kind(**{name: value for name, value in row.values.items() if name in known})  # type: ignore[arg-type]
    if isinstance(built, IntentRow):
        return replace(built, status=Status(built.status), owed=tuple(Debt(owed) for owed in built.owed))
    return built
