"""The ledger: which intent did what, kept for good, and who works on which thing right now.

The rules are ``lifecycle.execution.state_machine``; this module only reads rows, asks the rules, and writes rows under
the versions it has seen. It is the same code over DynamoDB and over memory. Each end of an intent is written together
with its audit record: see ``lifecycle.audit.store``.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import Enum

from lifecycle.audit.chain import concluded
from lifecycle.audit.store import audit_row
from lifecycle.aws.dynamodb import Contention, Key, Put, Row, Value, VersionedTable
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected, Throttled
from lifecycle.domain.intent import OPEN, IntentRow, OutboxEntry, Outcome, Status, Wait
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution import state_machine
from lifecycle.execution.restored_by_person import Newest
from lifecycle.execution.revoked_plans import is_taken_back, taken_back_by, taken_back_key
from lifecycle.execution.state_machine import Busy, Claimed, Concluded, Conflict, ResourceRow, order, place
from lifecycle.holds.store import HoldStore, hold_row_keys, reason_among
from lifecycle.pacing.rate_limiter import pace_key

_TRIES = 8
_DEAD_LETTERS_LIVE = timedelta(days=14)
"""How long a message may lie in a dead-letter queue and be sent again: SQS keeps none for longer."""


@dataclass(frozen=True, slots=True)
class LedgerTerms:
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
class Word:
    """The newest word for keeping a thing: a restore that was accepted. ``at`` is in milliseconds, UTC."""

    at: int
    intent_id: str
    by: str


@dataclass(frozen=True, slots=True)
class LastWords:
    """What was said until right before a call. ``end``: why it must not be made any more; else who paused, if any."""

    end: Outcome | None = None
    paused_by: str = ""


class LeaseLost(Throttled):
    """Somebody else took over, or ended the intent, meanwhile; what they record stands."""

    def __init__(self) -> None:
        super().__init__(Code.BUSY, "It was taken over or ended meanwhile. What is recorded stands.", retry_after=1)


class Ledger:
    """Claims and conclusions. Every transition is one conditional write."""

    def __init__(self, rows: VersionedTable, terms: LedgerTerms, clock: Callable[[], datetime]) -> None:
        self._rows = rows
        self._holds = HoldStore(rows, clock)
        self._terms = terms
        self._clock = clock

    def accept(self, command: Command, *, due_at: datetime | None = None) -> IntentRow:
        """Record a command that was let in, before it is enqueued, and return the row that stands.

        The first delivery counts: a repeated one finds its row, with the age that it has and how it stands. A restore
        counts as a word for keeping from now on. Raises ``Rejected`` where the name stands for another command,
        ``Throttled``.
        """
        row = state_machine.accepted(command, due_at)
        change = self._change(_intent_key(command.intent_id), row, 0)
        for _ in range(_TRIES):
            try:
                standing = _read(IntentRow, self._rows.insert(change)) or row
            except Contention:
                continue
            _same(standing, command)
            if command.action is Action.RESTORE and command.id is not None and standing.status in OPEN:
                self._keep(standing)
            return standing
        raise Throttled(Code.UNAVAILABLE, "Too many deliveries of the same command at once.", retry_after=1)

    def check(self, command: Command) -> None:
        """Raise ``Rejected`` where the name stands for another command already. ``accept`` does so as well."""
        standing = self.find(command.intent_id)
        if standing is not None:
            _same(standing, command)

    def stop(self, intent_id: str, end: Outcome, *, undo: IntentRow | None = None) -> IntentRow | None:
        """End an open intent that has made no call; ``None`` where it has ended or may have acted.

        ``undo`` is the row of who stopped it, which is written as an end in the same transaction.
        """
        key = _intent_key(intent_id)
        for _ in range(_TRIES):
            [row] = self._rows.read(key)
            intent = _read(IntentRow, row)
            judged = state_machine.stop(intent, end, now=self._now) if intent else None
            if judged is None:
                return None
            changes = [self._change(key, judged.intent, _version(row)), audit_row(concluded(judged.intent))]
            if undo is not None:
                changes += [self._change(_intent_key(undo.intent_id), undo, 0), audit_row(concluded(undo))]
            try:
                self._rows.write(*changes)
            except Contention:
                continue
            return judged.intent
        raise Throttled(Code.UNAVAILABLE, "Too many are at work on this command at once.", retry_after=1)

    def claim(self, command: Command, *, redrive: int = 0) -> Claim | Ended | Busy | Conflict:
        """Try to start. A claim lasts for the lease; an intent that has ended says how."""
        keys = _intent_key(command.intent_id), _resource_key(command.org_id, command.resource, command.thing_id)
        for _ in range(_TRIES):
            intent, resource = self._rows.read(*keys)
            known = _read(ResourceRow, resource)
            judged = state_machine.claim(
                _read(IntentRow, intent),
                known,
                command,
                holder=self._holder(known, command),
                redrive=redrive,
                now=self._now,
                lease=self._lease,
                most_attempts=self._terms.most_attempts,
            )
            seen = _version(intent), _version(resource)
            try:
                match judged:
                    case Claimed():
                        self._rows.write(self._change(keys[1], judged.resource, seen[1]))
                        return Claim(judged, (seen[0], seen[1] + 1))
                    case Concluded(fresh=True):
                        return self._end(judged, seen[0])
                    case Concluded():
                        return Ended(judged.intent, seen[0])
                    case Busy() | Conflict():
                        return judged
            except Contention:
                continue
        raise Throttled(Code.UNAVAILABLE, "Too many workers want the same thing at once.", retry_after=1)

    def mark(self, claim: Claim, evidence: str = "") -> Claim:
        """Record that the call is about to be made. Raises ``LeaseLost`` if the intent was ended or taken meanwhile."""
        marked = state_machine.mark(claim.rows, evidence)
        if self._now >= marked.intent.lease_until:
            raise LeaseLost
        try:
            self._rows.write(self._change(_intent_key(marked.intent.intent_id), marked.intent, claim.versions[0]))
        except Contention:
            self._let_go(claim)
            raise LeaseLost from None
        return Claim(marked, (claim.versions[0] + 1, claim.versions[1]))

    def last_words(
        self, claim: Claim, seen: ResourceSnapshot, *, tags: frozenset[str], plan: str | None = None
    ) -> LastWords:
        """What was said until now against going on: a restore, a hold, an undo of the plan, a pause.

        The words are read in one go, strongly consistent. Raises ``LeaseLost`` if the claim is not ours any more.
        """
        intent = claim.rows.intent
        thing = Resource(intent.resource)
        keys = [
            _resource_key(intent.org_id, thing, intent.id),
            _word_key(intent.org_id, thing, intent.id),
            pace_key(intent.org_id),
            taken_back_key(intent.org_id, plan or "none"),
        ]
        hold_keys = hold_row_keys(intent.org_id, seen)
        resource, word, pace, undone, *found = self._rows.read(*keys, *(hold_keys or ()))
        if _version(resource) != claim.versions[1]:
            raise LeaseLost
        if intent.action == Action.RESTORE:
            return LastWords()
        if hold_keys is None:
            holds = self._holds.rows_of(intent.org_id)
        else:
            holds = {key.sk: row for key, row in zip(hold_keys, found, strict=True) if row is not None}
        end = (
            _restored(intent, _word(word))
            or _plan_undone(undone if plan else None)
            or _hold_end(seen, reason_among(holds, seen, tags, since=intent.issued_at))
        )
        return LastWords(end, str(pace.values.get("paused_by") or "") if pace else "")

    def fence(self, intent_id: str) -> list[Put]:
        """The intent's row, unchanged, for somebody else's transaction: with it no call can begin in between.

        Raises ``Rejected`` where its call is being made already, or it has ended.
        """
        [row] = self._rows.read(_intent_key(intent_id))
        intent = _read(IntentRow, row)
        if intent is None:
            return []
        if intent.status is Status.IN_PROGRESS:
            raise Rejected(Code.NOT_POSSIBLE, "It is too late: its call is being made.")
        if intent.status not in OPEN:
            raise Rejected(Code.UNKNOWN_APPROVAL, f"It has ended already ({intent.status}): {intent.reason}")
        return [self._change(_intent_key(intent_id), intent, _version(row))]

    def kept_since(self, intent: IntentRow, thing: ResourceSnapshot) -> str | None:
        """Which word for keeping stops an intent that waits, as a sentence; ``None``: none does."""
        said = _restored(intent, self.word(intent.org_id, thing.resource, thing.id))
        hold = self._holds.reason_for(intent.org_id, thing, tags=frozenset(), since=intent.issued_at)
        return said.reason if said else hold

    def plan_undone_by(self, org_id: str, plan: str) -> str:
        """Who took a plan back; empty if nobody did."""
        [row] = self._rows.read(taken_back_key(org_id, plan))
        return taken_back_by(row) if row is not None and is_taken_back(row) else ""

    def word(self, org_id: str, resource: Resource, thing_id: str) -> Word | None:
        """The newest restore that was accepted for a thing."""
        return _word(self._rows.read(_word_key(org_id, resource, thing_id))[0])

    def keep(self, command: Command) -> None:
        """Let a restore count as a word for keeping, once it is known which thing it is about."""
        self._keep(replace(state_machine.accepted(command), id=command.thing_id))

    def conclude(self, claim: Claim, end: Outcome, *, maybe_acted: bool = False, landing: bool = False) -> Ended:
        """Record the end. Raises ``LeaseLost`` if another worker has taken over since."""
        intent, resource = state_machine.conclude(
            claim.rows, end, now=self._now, maybe_acted=maybe_acted, landing=landing
        )
        self._keep_claim(claim, intent, resource, audit_row(concluded(intent)))
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
            failed = state_machine.fail(_read(IntentRow, row), command, code, reason, redrive=redrive, now=self._now)
            if failed is None:
                return 0
            try:
                self._rows.write(self._change(key, failed, _version(row)))
            except Contention:
                continue
            return failed.attempts
        return 0

    def release(
        self,
        claim: Claim,
        code: Code,
        reason: str,
        *,
        counted: bool,
        maybe_acted: bool = False,
        landing: bool = False,
        wait: Wait | None = None,
    ) -> int:
        """Let go; the message will come back. Answers how many attempts have failed so far."""
        intent, resource = state_machine.release(
            claim.rows, code, reason, counted=counted, maybe_acted=maybe_acted, landing=landing, wait=wait
        )
        self._keep_claim(claim, intent, resource)
        return intent.attempts

    def give_up(self, command: Command, end: Outcome, *, redrive: int = 0) -> Ended | None:
        """End an intent that nobody works on, without a claim. ``None`` if it has ended or is being worked on."""
        key = _intent_key(command.intent_id)
        thing = [_resource_key(command.org_id, command.resource, command.id)] if command.id else []
        for _ in range(_TRIES):
            row, *rest = self._rows.read(key, *thing)
            resource = _read(ResourceRow, rest[0]) if rest else None
            judged = state_machine.give_up(
                _read(IntentRow, row),
                command,
                end,
                resource=resource,
                redrive=redrive,
                now=self._now,
                lease=self._lease,
            )
            if judged is None:
                return None
            try:
                return self._end(judged, _version(row))
            except Contention:
                continue
        return None

    def mark_delivered(self, ended: Ended, entry: OutboxEntry) -> Ended:
        """Strike off a debt. If somebody else wrote meanwhile, they settle it as well: debts are paid at least once."""
        intent = state_machine.mark_delivered(ended.intent, entry)
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

    def newest_on(self, org_id: str, things: Sequence[ResourceSnapshot]) -> dict[tuple[Resource, str], Newest]:
        """The newest command concluded on each of these things; one that the ledger does not know is left out."""
        rows = self._rows.read(*(_resource_key(org_id, thing.resource, thing.id) for thing in things))
        found = {(thing.resource, thing.id): _read(ResourceRow, row) for thing, row in zip(things, rows, strict=True)}
        return {name: row.newest_word for name, row in found.items() if row is not None and row.newest_action}

    def intents_on(self, org_id: str, resource: Resource, thing_id: str) -> list[str]:
        """The names of the command that was concluded on a thing last, and of the one that is under way."""
        known = _read(ResourceRow, self._rows.read(_resource_key(org_id, resource, thing_id))[0])
        names = (known.newest_intent, known.lease_intent) if known is not None else ()
        return [name for name in dict.fromkeys(names) if name]

    @property
    def _lease(self) -> int:
        return int(self._terms.lease.total_seconds() * 1000)

    @property
    def _now(self) -> int:
        return millis(self._clock())

    def _end(self, judged: Concluded, seen: int) -> Ended:
        change = self._change(_intent_key(judged.intent.intent_id), judged.intent, seen)
        self._rows.write(change, audit_row(concluded(judged.intent)))
        return Ended(judged.intent, seen + 1)

    def _holder(self, resource: ResourceRow | None, command: Command) -> IntentRow | None:
        """Who left a lease on the thing that ran out, if that was another command: did it make its call?"""
        name = resource.lease_intent if resource else ""
        return self.find(name) if name not in {"", command.intent_id} else None

    def _keep(self, restore: IntentRow) -> None:
        """Record a restore as the newest word for keeping its thing, unless a newer one stands there."""
        key = _word_key(restore.org_id, Resource(restore.resource), restore.id)
        for _ in range(_TRIES):
            [row] = self._rows.read(key)
            known = _word(row)
            if known is not None and order(known.at, Action.RESTORE, known.intent_id) >= place(restore):
                return
            values: dict[str, Value] = {
                "at": restore.issued_at,
                "intent_id": restore.intent_id,
                "by": restore.requested_by,
            }
            try:
                self._rows.write(Put(key, values, _version(row)))
            except Contention:
                continue
            return
        raise Throttled(Code.UNAVAILABLE, "Too many restores of the same thing at once.", retry_after=1)

    def _keep_claim(self, claim: Claim, intent: IntentRow, resource: ResourceRow, *more: Put) -> None:
        key = _intent_key(intent.intent_id)
        changes = (
            self._change(key, intent, claim.versions[0]),
            self._change(_key_of(intent), resource, claim.versions[1]),
        )
        try:
            self._rows.write(*changes, *more)
        except Contention:
            self._let_go(claim)
            raise LeaseLost from None

    def _let_go(self, claim: Claim) -> None:
        """Free the thing for others where only the intent was ended meanwhile. The lease would end by itself, later."""
        _, resource = state_machine.release(
            claim.rows, Code.BUSY, "", counted=False, maybe_acted=claim.rows.intent.status is Status.IN_PROGRESS
        )
        with suppress(Contention):
            self._rows.write(self._change(_key_of(claim.rows.intent), resource, claim.versions[1]))

    def _change(self, key: Key, row: IntentRow | ResourceRow, seen: int) -> Put:
        return Put(key, _values(row), seen, self._expires_at(row))

    def _expires_at(self, row: IntentRow | ResourceRow) -> int | None:
        """When a row may be forgotten, in seconds, UTC; ``None`` for never.

        An intent outlives whatever may still bring it back by as long as the ledger keeps. What was restored must be
        known without end; what was deleted for good cannot come back.
        """
        now = self._clock()
        if isinstance(row, ResourceRow):
            return int((now + self._terms.keep).timestamp()) if row.newest_action == Action.DELETE else None
        last = max(now, datetime.fromtimestamp(row.not_after / 1000, UTC) + _DEAD_LETTERS_LIVE)
        return int((last + self._terms.keep).timestamp())


def _intent_key(intent_id: str) -> Key:
    return Key(f"intent#{intent_id}", "intent")


def _resource_key(org_id: str, resource: Resource, thing_id: str) -> Key:
    return Key(f"resource#{org_id}#{resource}#{thing_id}", "resource")


def _key_of(intent: IntentRow) -> Key:
    return _resource_key(intent.org_id, Resource(intent.resource), intent.id)


def _word_key(org_id: str, resource: Resource, thing_id: str) -> Key:
    return Key(f"word#{org_id}#{resource}#{thing_id}", "word")


def _same(standing: IntentRow, command: Command) -> None:
    if standing.meaning != command.meaning:
        raise Rejected(
            Code.INTENT_CONFLICT,
            "This delivery id was used before for another command. A new command needs a new delivery id.",
        )


def _hold_end(thing: ResourceSnapshot, reason: str | None) -> Outcome | None:
    said = f"The {thing.resource.label} is left alone. {reason}"
    return Outcome(Status.REJECTED, Code.HELD, said) if reason else None


def _restored(intent: IntentRow, word: Word | None) -> Outcome | None:
    """How an accepted restore ends an older command that takes the thing away."""
    if word is None or order(word.at, Action.RESTORE, word.intent_id) < place(intent):
        return None
    reason = (
        f"{word.by or 'Somebody'} asked to restore it after this was asked for ({word.intent_id}), so this is not done."
    )
    return Outcome(Status.SUPERSEDED, Code.RESTORED, reason)


def restored(by: str, intent_id: str) -> Outcome:
    """How a command ends that a restore has stopped, which was accepted after it."""
    return Outcome(
        Status.SUPERSEDED, Code.RESTORED, f"{by} asked for a restore ({intent_id}) after this was asked for."
    )


def _plan_undone(row: Row | None) -> Outcome | None:
    if row is None or not is_taken_back(row):
        return None
    return Outcome(
        Status.SUPERSEDED, Code.UNDONE, f"{taken_back_by(row)} took its plan back before it was carried out."
    )


def _word(row: Row | None) -> Word | None:
    """The word in a row. One that cannot be read is newer than everything: it keeps."""
    if row is None:
        return None
    at = row.values.get("at")
    known = at if type(at) is int else 2**63
    return Word(known, str(row.values.get("intent_id") or ""), str(row.values.get("by") or ""))


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
        try:
            return replace(
                built, status=Status(built.status), pending=tuple(OutboxEntry(entry) for entry in built.pending)
            )
        except ValueError:
            reason = f"A newer release recorded this command as '{built.status}'. It waits for a worker that knows it."
            raise Throttled(Code.NEWER_RELEASE, reason) from None
    return built
