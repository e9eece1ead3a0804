"""The ledger: what each intent did, and which worker works on which resource right now.

The rules are in ``lifecycle.execution.state_machine``. This module reads rows, asks the rules, and writes the rows
under the versions that it read. It is the same code over DynamoDB and over memory. Each conclusion of an intent is
written together with its audit record, see ``lifecycle.audit.store``.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lifecycle.audit.chain import concluded
from lifecycle.audit.store import audit_row
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Contention, Put, Row, VersionedTable
from lifecycle.aws.row_update import TRIES, RowDecision, update_rows
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected, Throttled
from lifecycle.domain.intent import OPEN, IntentRow, OutboxEntry, Outcome, Status, Wait
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution import state_machine
from lifecycle.execution.accepted_restores import AcceptedRestores
from lifecycle.execution.announcement_batch import AnnouncementBatch, in_batch
from lifecycle.execution.ledger_rows import LedgerRows, intent_in, resource_in, resource_key, version_of
from lifecycle.execution.restored_by_person import Newest
from lifecycle.execution.state_machine import Busy, Claimed, CommandDelivery, Concluded, Conflict, Doubt, ResourceRow


@dataclass(frozen=True, slots=True)
class LedgerTerms:
    """The ledger's settings. ``keep`` is how long a row outlives its last use."""

    lease: timedelta
    keep: timedelta
    most_attempts: int

    @property
    def lease_millis(self) -> int:
        """How long a claim lasts, in milliseconds."""
        return int(self.lease.total_seconds() * 1000)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that was won, with the versions of the intent's and the resource's row."""

    rows: Claimed
    versions: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Ended:
    """An intent that was concluded, by this delivery or an earlier one, with the version of its row."""

    intent: IntentRow
    version: int


class LeaseLost(Throttled):
    """Another worker took over or ended the intent. Only what that worker records counts."""

    def __init__(self) -> None:
        super().__init__(
            Code.BUSY,
            "Another worker took over or ended this command. The record of that worker counts.",
            retry_after=1,
        )


class Ledger:
    """Claims and conclusions. Every transition is one conditional write. Methods raise ``Throttled`` on contention."""

    def __init__(
        self,
        rows: VersionedTable,
        terms: LedgerTerms,
        clock: Callable[[], datetime],
        batch: AnnouncementBatch | None = None,
    ) -> None:
        self._rows = rows
        self._batch = batch
        self._terms = terms
        self._clock = clock
        self._writes = LedgerRows(terms.keep, clock)
        self._restores = AcceptedRestores(rows)

    def accept(self, command: Command, *, due_at: datetime | None = None) -> IntentRow:
        """Record an accepted command before it is enqueued, and return the row that is valid.

        The first delivery counts: a repeated one gets the row of the first, with its age and status. A restore counts
        from now on. Raises ``Rejected`` if the intent id was used for another command.
        """
        row = state_machine.accepted(command, due_at)
        change = self._writes.put_intent(row, 0)
        for _ in range(TRIES):
            try:
                standing = intent_in(self._rows.insert(change)) or row
            except Contention:
                continue
            _check_same(standing, command)
            if command.action is Action.RESTORE and command.id is not None and standing.status in OPEN:
                self._restores.record(standing)
            return standing
        raise Throttled(Code.UNAVAILABLE, "Too many deliveries of the same command at once.", retry_after=1)

    def check(self, command: Command) -> None:
        """Raise ``Rejected`` if the intent id was used for another command. ``accept`` does so as well."""
        if (standing := self.find(command.intent_id)) is not None:
            _check_same(standing, command)

    def record_restore(self, command: Command) -> None:
        """Record a restore whose resource was found by a search, so that it counts from now on.

        ``accept`` does this for all other restores.
        """
        self._restores.record(replace(state_machine.accepted(command), id=command.thing_id))

    def stop(self, intent_id: str, end: Outcome, *, undo: IntentRow | None = None) -> IntentRow | None:
        """End an open intent that has made no call; ``None`` if it has ended or may have acted.

        ``undo`` is the row of the undo that stops it. It is written in the same transaction.
        """

        def decide(rows: list[Row | None], _: int) -> RowDecision[IntentRow | None]:
            [row] = rows
            intent = intent_in(row)
            concluded_now = state_machine.stop(intent, end, now=self._now) if intent else None
            if concluded_now is None:
                return RowDecision(None)
            ended = [(concluded_now.intent, version_of(row)), *([(undo, 0)] if undo is not None else [])]
            changes = [change for intent, version in ended for change in self._conclusion(intent, version)]
            return RowDecision(concluded_now.intent, changes)

        busy = "Too many callers work on this command at once."
        return update_rows(self._rows, [table_keys.intent(intent_id)], decide, busy=busy)

    def claim(self, command: Command, *, redrive: int = 0) -> Claim | Ended | Busy | Conflict:
        """Try to start a command. A claim lasts as long as the lease. An intent that has ended returns its outcome."""
        key = table_keys.resource(command.org_id, command.resource, command.thing_id)

        def decide(rows: list[Row | None], _: int) -> RowDecision[Claim | Ended | Busy | Conflict]:
            intent, resource = rows
            known = resource_in(resource)
            result = state_machine.claim(
                intent_in(intent),
                known,
                self._delivery(command, redrive),
                holder=self._holder(known, command),
                most_attempts=self._terms.most_attempts,
            )
            versions = version_of(intent), version_of(resource)
            match result:
                case Claimed():
                    change = self._writes.put_resource(key, result.resource, versions[1])
                    return RowDecision(Claim(result, (versions[0], versions[1] + 1)), [change])
                case Concluded():
                    return self._end(result, versions[0])
                case Busy() | Conflict():
                    return RowDecision(result)

        keys = [table_keys.intent(command.intent_id), key]
        return update_rows(self._rows, keys, decide, busy="Too many workers want the same resource at once.")

    def mark(self, claim: Claim, evidence: str = "") -> Claim:
        """Record that the call is about to be made. Raises ``LeaseLost`` if the intent was ended or taken over."""
        marked = state_machine.mark(claim.rows, evidence)
        if self._now >= marked.intent.lease_until:
            raise LeaseLost
        try:
            self._rows.write(self._writes.put_intent(marked.intent, claim.versions[0]))
        except Contention:
            self._free_resource(claim)
            raise LeaseLost from None
        return Claim(marked, (claim.versions[0] + 1, claim.versions[1]))

    def fence(self, intent_id: str) -> list[Put]:
        """A write of the intent's unchanged row, for another transaction, so that no call can start in between.

        Raises ``Rejected`` if the call is being made, or if the command has ended.
        """
        [row] = self._rows.read(table_keys.intent(intent_id))
        intent = intent_in(row)
        if intent is None:
            return []
        if intent.status is Status.IN_PROGRESS:
            raise Rejected(Code.NOT_POSSIBLE, "It is too late to stop the command: the call to Tallyfy is being made.")
        if intent.status not in OPEN:
            raise Rejected(Code.UNKNOWN_APPROVAL, f"The command has ended ({intent.status}): {intent.reason}")
        return [self._writes.put_intent(intent, version_of(row))]

    def conclude(self, claim: Claim, end: Outcome, *, doubt: Doubt = Doubt.NONE) -> Ended:
        """Record the outcome. Raises ``LeaseLost`` if another worker has taken over."""
        intent, resource = state_machine.conclude(claim.rows, end, now=self._now, doubt=doubt)
        intent = in_batch(intent, self._batch)
        self._write_claim(claim, intent, resource, audit_row(concluded(intent)))
        return Ended(intent, claim.versions[0] + 1)

    @property
    def most_attempts(self) -> int:
        """How many attempts of a command may fail before it is dead-lettered."""
        return self._terms.most_attempts

    def fail(self, command: Command, code: Code, reason: str, *, redrive: int = 0) -> int:
        """Count an attempt that failed before anything could be claimed. Returns how many have failed so far."""

        def decide(rows: list[Row | None], _: int) -> RowDecision[int]:
            [row] = rows
            failed = state_machine.fail(intent_in(row), self._delivery(command, redrive), code, reason)
            if failed is None:
                return RowDecision(0)
            return RowDecision(failed.attempts, [self._writes.put_intent(failed, version_of(row))])

        busy = "Too many workers count a failure of the same command at once."
        return update_rows(self._rows, [table_keys.intent(command.intent_id)], decide, busy=busy)

    def release(
        self,
        claim: Claim,
        code: Code,
        reason: str,
        *,
        counted: bool,
        doubt: Doubt = Doubt.NONE,
        wait: Wait | None = None,
    ) -> int:
        """Release a claim; the message comes back. Returns how many attempts have failed so far."""
        intent, resource = state_machine.release(claim.rows, code, reason, counted=counted, doubt=doubt, wait=wait)
        self._write_claim(claim, intent, resource)
        return intent.attempts

    def give_up(self, command: Command, end: Outcome, *, redrive: int = 0) -> Ended | None:
        """End an intent that nobody works on, without a claim. ``None`` if it has ended or is being worked on."""

        def decide(rows: list[Row | None], _: int) -> RowDecision[Ended | None]:
            row, *rest = rows
            result = state_machine.give_up(
                intent_in(row),
                self._delivery(command, redrive),
                end,
                resource=resource_in(rest[0]) if rest else None,
            )
            return RowDecision(None) if result is None else self._end(result, version_of(row))

        thing = [table_keys.resource(command.org_id, command.resource, command.id)] if command.id else []
        busy = "Too many workers end the same command at once."
        return update_rows(self._rows, [table_keys.intent(command.intent_id), *thing], decide, busy=busy)

    def mark_delivered(self, ended: Ended, entry: OutboxEntry) -> Ended:
        """Record that an outbox entry was delivered. If another worker wrote meanwhile, it delivers the entry again."""
        intent = state_machine.mark_delivered(ended.intent, entry)
        try:
            self._rows.write(self._writes.put_intent(intent, ended.version))
        except Contention:
            return Ended(intent, ended.version)
        return Ended(intent, ended.version + 1)

    def find(self, intent_id: str) -> IntentRow | None:
        """The row of an intent; ``None`` if it has none yet."""
        known = self.recall(intent_id)
        return known.intent if known else None

    def recall(self, intent_id: str) -> Ended | None:
        """As ``find``, with the row's version."""
        [row] = self._rows.read(table_keys.intent(intent_id))
        intent = intent_in(row)
        return Ended(intent, version_of(row)) if intent else None

    def newest_on(self, org_id: str, things: Sequence[ResourceSnapshot]) -> dict[tuple[Resource, str], Newest]:
        """The newest command concluded on each of these resources. Resources without one are left out."""
        rows = self._rows.read(*(table_keys.resource(org_id, thing.resource, thing.id) for thing in things))
        found = {(thing.resource, thing.id): resource_in(row) for thing, row in zip(things, rows, strict=True)}
        return {name: row.newest_word for name, row in found.items() if row is not None and row.newest_action}

    @property
    def _now(self) -> int:
        return millis(self._clock())

    def _delivery(self, command: Command, redrive: int) -> CommandDelivery:
        return CommandDelivery(command=command, redrive=redrive, now=self._now, lease=self._terms.lease_millis)

    def _end(self, result: Concluded, version: int) -> RowDecision[Ended]:
        """Write a conclusion that is new; return one that was recorded before."""
        if not result.fresh:
            return RowDecision(Ended(result.intent, version))
        intent = in_batch(result.intent, self._batch)
        return RowDecision(Ended(intent, version + 1), self._conclusion(intent, version))

    def _conclusion(self, intent: IntentRow, version: int) -> list[Put]:
        return [self._writes.put_intent(intent, version), audit_row(concluded(intent))]

    def _holder(self, resource: ResourceRow | None, command: Command) -> IntentRow | None:
        """The other command whose lease on the resource ran out. It may have made its call."""
        name = resource.lease_intent if resource else ""
        return self.find(name) if name not in {"", command.intent_id} else None

    def _write_claim(self, claim: Claim, intent: IntentRow, resource: ResourceRow, *more: Put) -> None:
        changes = (
            self._writes.put_intent(intent, claim.versions[0]),
            self._writes.put_resource(resource_key(intent), resource, claim.versions[1]),
        )
        try:
            self._rows.write(*changes, *more)
        except Contention:
            self._free_resource(claim)
            raise LeaseLost from None

    def _free_resource(self, claim: Claim) -> None:
        """Free the resource if somebody else ended only the intent. Otherwise the lease runs out later by itself."""
        doubt = Doubt.MAYBE_ACTED if claim.rows.intent.status is Status.IN_PROGRESS else Doubt.NONE
        _, resource = state_machine.release(claim.rows, Code.BUSY, "", counted=False, doubt=doubt)
        with suppress(Contention):
            self._rows.write(self._writes.put_resource(resource_key(claim.rows.intent), resource, claim.versions[1]))


def _check_same(standing: IntentRow, command: Command) -> None:
    if standing.meaning != command.meaning:
        raise Rejected(
            Code.INTENT_CONFLICT,
            "This delivery id was used before for another command. Send a new command with a new delivery id.",
        )
