"""The ledger's rules: which claims may start, and what each conclusion writes. Pure.

An *intent* row holds the history of one command. A *resource* row holds a short lease and the time of the newest
command concluded on that resource, so that an older command that arrives late is superseded. Times are whole
milliseconds, UTC.

A command is *accepted* when its row is written, *claimed* when it holds the lease on its resource, and *marked* right
before its call to Tallyfy. Only a marked attempt can have acted. An intent that ends before its mark never acts.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from lifecycle.domain.capabilities import Action
from lifecycle.domain.clock import millis, moment
from lifecycle.domain.commands import PLAN, SWEEP, Command
from lifecycle.domain.errors import Code
from lifecycle.domain.failures import Attention, attention
from lifecycle.domain.intent import DEAD, OPEN, IntentRow, OutboxEntry, Outcome, Status, Wait
from lifecycle.execution import restored_by_person

CLOCKS_DIFFER = 300_000
"""How far, in milliseconds, the clock that issued a command may be ahead of ours. All of these clocks are AWS's, which
differ by well under a second. A command from further in the future is refused."""
READ_LAG = 60_000
"""How long, in milliseconds, Tallyfy may still show a resource as it was before our last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRow:
    """The lease of one resource and the newest command concluded on it.

    A lease that was not released names a command that was cut off, or whose call has an unknown result.
    """

    lease_until: int = 0
    lease_intent: str = ""
    lease_issued: int = 0
    lease_action: str = ""
    lease_attempt: int = 0
    """The number of the attempt that holds the lease. An attempt cut off before its mark has written nothing else."""
    lease_redrive: int = 0
    newest_concluded: int = 0
    """When the newest command concluded here was issued."""
    newest_action: str = ""
    newest_intent: str = ""
    newest_at: int = 0
    """When it was concluded."""
    waiting_delete: str = ""
    """The last permanent delete that was started here and has not ended, or that a restore stopped."""

    @property
    def newest(self) -> "Order":
        """The place of the newest command concluded, in the order of commands."""
        return order(self.newest_concluded, self.newest_action, self.newest_intent)

    @property
    def newest_word(self) -> restored_by_person.Newest:
        """The newest command concluded here. A row of an earlier release only knows when that command was issued."""
        return restored_by_person.Newest(
            self.newest_action, self.newest_at or self.newest_concluded, self.newest_intent
        )


class Doubt(StrEnum):
    """What is unknown about the call of an attempt that has ended."""

    NONE = "none"
    MAYBE_ACTED = "maybe_acted"
    """It got no answer. It has taken effect or never will."""
    MAY_STILL_LAND = "may_still_land"
    """Its caller gave up waiting, and Tallyfy may still carry it out, within the lease."""


class Order(NamedTuple):
    """The place of a command in the total order of all commands for one resource. The later one is newer."""

    issued_at: int
    keeps: bool
    """Within one millisecond, a restore is newer than any other command."""
    intent_id: str


def order(issued_at: int, action: str, intent_id: str) -> Order:
    """Place a command in the order of commands."""
    return Order(issued_at, action == Action.RESTORE, intent_id)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Carry out this intent. It holds the lease on this resource."""

    intent: IntentRow
    resource: ResourceRow


@dataclass(frozen=True, slots=True)
class Concluded:
    """Nothing to carry out. If ``fresh``, the row is new: write it before its outbox entries are delivered."""

    intent: IntentRow
    fresh: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """Another worker holds the intent or the resource until then (milliseconds, UTC)."""

    until: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """The intent id is recorded for another command. The recorded command stays valid."""


type ClaimResult = Claimed | Concluded | Busy | Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDelivery:
    """One delivery of a command. ``now`` is when it arrived and ``lease`` how long a claim lasts, in milliseconds."""

    command: Command
    now: int
    lease: int
    redrive: int = 0
    """How often an operator has sent this message again from the dead-letter queue."""


def as_old_as(first: IntentRow, command: Command) -> Command:
    """A repeated command with the time of issue of its first delivery, and with its deadline while the intent is open.

    A failed command that is sent again keeps the deadline of the new request.
    """
    if first.issued_at == millis(command.issued_at):
        return command
    ends = {"not_after": moment(first.not_after)} if first.status in OPEN else {}
    return command.model_copy(update={"issued_at": moment(first.issued_at), **ends})


def accepted(command: Command, due_at: datetime | None = None) -> IntentRow:
    """The row of a command that was accepted and that no worker has started."""
    return replace(
        _first(command),
        status=Status.ACCEPTED,
        due_at=millis(due_at) if due_at else 0,
    )


def claim(
    intent: IntentRow | None,
    resource: ResourceRow | None,
    delivery: CommandDelivery,
    *,
    holder: IntentRow | None = None,
    most_attempts: int,
) -> ClaimResult:
    """Decide whether this delivery of a command may start.

    ``holder`` is the row of the command that the resource's lease names, if that is another command and has a row.
    """
    command, now = delivery.command, delivery.now
    intent = intent or _first(command)
    resource = resource or ResourceRow()
    if intent.meaning != command.meaning:
        return Conflict()
    if intent.id not in {"", command.thing_id}:
        # Two workers found different resources for one `find`. The one recorded first counts.
        return Busy(now)
    intent = _cut_off(_reopened(replace(intent, id=command.thing_id), delivery.redrive), now)
    if intent.lease_until > now:
        return Busy(intent.lease_until)
    if intent.status not in OPEN:
        return Concluded(intent, fresh=False)
    if resource.lease_intent == intent.intent_id and resource.lease_until > now:
        return Busy(resource.lease_until)
    intent = replace(
        intent,
        issued_at=min(intent.issued_at, millis(command.issued_at)),
        attempts=_attempts(intent, resource),
    )
    end = _too_late(intent, resource, delivery, most_attempts=most_attempts)
    if end is None and resource.lease_until > now:
        return Busy(resource.lease_until)
    if end is None and _overtaken(intent, resource, holder):
        # The newer command may have acted. Undoing that now would make it act a second time.
        reason = f"A newer command for the same resource ({resource.lease_intent}) has started first."
        end = Outcome(Status.SUPERSEDED, Code.SUPERSEDED, reason)
    return _leased(intent, resource, delivery) if end is None else _ended(intent, end, now, delivery.lease)


def _leased(intent: IntentRow, resource: ResourceRow, delivery: CommandDelivery) -> Claimed:
    """The claim on a free resource."""
    claimed = replace(intent, attempts=intent.attempts + 1)
    leased = replace(
        resource,
        lease_until=delivery.now + delivery.lease,
        lease_intent=intent.intent_id,
        lease_issued=intent.issued_at,
        lease_action=intent.action,
        lease_attempt=claimed.attempts,
        lease_redrive=intent.redrive,
        waiting_delete=intent.intent_id if intent.action == Action.DELETE else resource.waiting_delete,
    )
    return Claimed(claimed, leased)


def mark(claimed: Claimed, evidence: str) -> Claimed:
    """Record that the call is about to be made. From now on, this attempt may have acted."""
    intent = replace(
        claimed.intent,
        status=Status.IN_PROGRESS,
        lease_until=claimed.resource.lease_until,
        evidence=evidence or claimed.intent.evidence,
    )
    return Claimed(intent, claimed.resource)


def conclude(claimed: Claimed, end: Outcome, *, now: int, doubt: Doubt = Doubt.NONE) -> tuple[IntentRow, ResourceRow]:
    """End a claim. Only an outcome that was reached (done or unchanged) counts as newest; a rejection does not.

    The intent keeps its lease until its outcome is delivered, so that two deliveries do not do that at the same time.
    """
    lease = claimed.resource.lease_until - now
    maybe_acted = claimed.intent.maybe_acted or doubt is not Doubt.NONE
    intent = _ended(replace(claimed.intent, maybe_acted=maybe_acted), end, now, lease).intent
    resource = _freed(claimed.resource, doubt)
    if end.status in {Status.DONE, Status.UNCHANGED} and place(intent) >= resource.newest:
        resource = replace(
            resource,
            newest_concluded=intent.issued_at,
            newest_action=intent.action,
            newest_intent=intent.intent_id,
            newest_at=now,
        )
    # Keep the name of the delete that a restore stopped until the restore ends: its outcome names the delete.
    if intent.action == Action.RESTORE or (resource.waiting_delete == intent.intent_id and end.code != Code.RESTORED):
        resource = replace(resource, waiting_delete="")
    return intent, resource


def release(
    claimed: Claimed,
    code: Code,
    reason: str,
    *,
    counted: bool,
    doubt: Doubt = Doubt.NONE,
    wait: Wait | None = None,
) -> tuple[IntentRow, ResourceRow]:
    """Release a claim without an outcome. The message comes back later. Waiting is not counted as an attempt.

    While a call may still land, the intent and the resource stay leased, as after a crash. Until then nobody (a copy,
    an undo) may take the state of the resource for the result of the call.
    """
    intent = replace(
        claimed.intent,
        status=Status.WAITING,
        attempts=claimed.intent.attempts - (0 if counted else 1),
        lease_until=claimed.resource.lease_until if doubt is Doubt.MAY_STILL_LAND else 0,
        code=code.value,
        reason=reason,
        maybe_acted=claimed.intent.maybe_acted or doubt is not Doubt.NONE,
        waits_until=wait.until if wait else 0,
        waits_for=wait.approval if wait else "",
    )
    return intent, _freed(claimed.resource, doubt)


def give_up(
    intent: IntentRow | None, delivery: CommandDelivery, end: Outcome, *, resource: ResourceRow | None = None
) -> Concluded | None:
    """End an intent that nobody works on, without a claim. ``None`` if it has ended already or is being worked on."""
    intent = _free(intent, delivery)
    if intent is None:
        return None
    if resource is not None and resource.lease_intent == intent.intent_id and resource.lease_until > delivery.now:
        return None
    reopened = replace(intent, redrive=max(intent.redrive, delivery.redrive))
    return _ended(reopened, end, delivery.now, delivery.lease)


def stop(intent: IntentRow, end: Outcome, *, now: int) -> Concluded | None:
    """End an open intent before its call, so that it never makes one. ``None`` if it has ended or may have acted."""
    if intent.status not in {Status.ACCEPTED, Status.WAITING} or intent.maybe_acted:
        return None
    return _ended(intent, end, now, lease=0)


def fail(intent: IntentRow | None, delivery: CommandDelivery, code: Code, reason: str) -> IntentRow | None:
    """Count a failed attempt that had no claim. ``None`` if the intent has ended or is being worked on."""
    intent = _free(intent, delivery)
    if intent is None:
        return None
    return replace(
        intent,
        status=Status.WAITING,
        attempts=intent.attempts + 1,
        code=code.value,
        reason=reason,
        lease_until=0,
        waits_until=0,
        waits_for="",
    )


def mark_delivered(intent: IntentRow, entry: OutboxEntry) -> IntentRow:
    """Mark one outbox entry as delivered. With the last one, the lease ends."""
    pending = tuple(kept for kept in intent.pending if kept is not entry)
    return replace(intent, pending=pending, lease_until=intent.lease_until if pending else 0)


def is_dead_letter(status: Status, code: str) -> bool:
    """Whether an outcome needs a person's attention. What a person decided does not."""
    return status in DEAD and attention(code) is not Attention.NONE


def place(intent: IntentRow) -> Order:
    """The place of an intent in the order of commands."""
    return order(intent.issued_at, intent.action, intent.intent_id)


def _attempts(intent: IntentRow, resource: ResourceRow) -> int:
    """How many attempts were started, including one that was cut off before its mark."""
    cut_off = resource.lease_intent == intent.intent_id and resource.lease_redrive == intent.redrive
    return max(intent.attempts, resource.lease_attempt) if cut_off else intent.attempts


def _free(intent: IntentRow | None, delivery: CommandDelivery) -> IntentRow | None:
    """The intent of a delivery, if it is open, means the same, and nobody works on it."""
    command, now = delivery.command, delivery.now
    intent = _cut_off(_reopened(intent or _first(command), delivery.redrive), now)
    is_free = intent.meaning == command.meaning and intent.status in OPEN and intent.lease_until <= now
    return intent if is_free else None


def _too_late(
    intent: IntentRow, resource: ResourceRow, delivery: CommandDelivery, *, most_attempts: int
) -> Outcome | None:
    """How a command ends that must not start any more, even if the resource is free; ``None`` if it may start."""
    command, now = delivery.command, delivery.now
    if intent.issued_at > now + CLOCKS_DIFFER:
        reason = f"The command says that it was issued at {command.issued_at.isoformat()}, which is in the future."
        return Outcome(Status.REJECTED, Code.INVALID, reason)
    swept = command.source in {SWEEP, PLAN}
    if swept and _taken_back(resource, command):
        reason = "It was restored after it had been completed. A sweep does not undo a restore."
        return Outcome(Status.SUPERSEDED, Code.RESTORED_BY_PERSON, reason)
    if resource.newest > place(intent):
        reason = f"A newer command for the same resource ({resource.newest_intent}) was concluded first."
        return Outcome(Status.SUPERSEDED, Code.SUPERSEDED, reason)
    if millis(command.not_after) < now:
        reason = f"It was to be carried out before {command.not_after.isoformat()}; that time has passed."
        # Nobody has to follow up: the next sweep decides again.
        return Outcome(Status.SUPERSEDED if swept else Status.EXPIRED, Code.EXPIRED, reason)
    if intent.attempts >= most_attempts:
        reason = (
            f"{intent.attempts} attempts failed. The last error was: {intent.reason or 'none; the worker was cut off'}"
        )
        return Outcome(Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, reason)
    return None


def _overtaken(intent: IntentRow, resource: ResourceRow, holder: IntentRow | None) -> bool:
    """Whether a newer command that may have acted was cut off here. A command that made no call supersedes nothing."""
    if resource.lease_intent in {"", intent.intent_id}:
        return False
    newer = order(resource.lease_issued, resource.lease_action, resource.lease_intent) > place(intent)
    return newer and holder is not None and (holder.maybe_acted or holder.status is Status.IN_PROGRESS)


def _taken_back(resource: ResourceRow, command: Command) -> bool:
    """Whether somebody restored the resource, and it has not been completed again since."""
    completed_at = command.expect.completed_at if command.expect else None
    return restored_by_person.restored(completed_at, resource.newest_word)


def _first(command: Command) -> IntentRow:
    return IntentRow(
        intent_id=command.intent_id,
        meaning=command.meaning,
        # Record the effect, not the requested action: archiving a tag deletes it.
        action=command.capability.action.value,
        resource=command.resource.value,
        org_id=command.org_id,
        id=command.id or "",
        source=command.source,
        requested_by=command.requested_by,
        why=command.reason,
        issued_at=millis(command.issued_at),
        not_after=millis(command.not_after),
    )


def _reopened(intent: IntentRow, redrive: int) -> IntentRow:
    """A copy that an operator sent again reopens an intent that ended without being done."""
    if intent.status in DEAD and redrive > intent.redrive:
        return replace(intent, status=Status.WAITING, redrive=redrive, attempts=0, pending=())
    return intent


def _freed(resource: ResourceRow, doubt: Doubt) -> ResourceRow:
    """End the lease, unless a call may still take effect. After a call in doubt, its name keeps stopping older ones."""
    # The intent counts the attempts. The lease only counts an attempt that has written nothing else.
    match doubt:
        case Doubt.MAY_STILL_LAND:
            return replace(resource, lease_attempt=0)
        case Doubt.MAYBE_ACTED:
            return replace(resource, lease_until=0, lease_attempt=0)
        case Doubt.NONE:
            pass
    return replace(
        resource,
        lease_until=0,
        lease_intent="",
        lease_issued=0,
        lease_action="",
        lease_attempt=0,
        lease_redrive=0,
    )


def _cut_off(intent: IntentRow, now: int) -> IntentRow:
    """Add the doubt of a claim that ran out: it was cut off, so its call may have been made."""
    if intent.status is Status.IN_PROGRESS and intent.lease_until <= now:
        return replace(intent, maybe_acted=True)
    return intent


_DOUBT = (
    "An earlier call got no answer and may have taken effect. Send it again: the worker looks at the resource first."
)


def _ended(intent: IntentRow, end: Outcome, now: int, lease: int) -> Concluded:
    doubtful = end.status in DEAD and intent.maybe_acted
    letter = (OutboxEntry.DEAD_LETTER,) if is_dead_letter(end.status, end.code) else ()
    ended = replace(
        intent,
        status=end.status,
        code=end.code.value,
        reason=f"{end.reason} {_DOUBT}" if doubtful else end.reason,
        # The next attempt compares the resource with what the attempt in doubt saw.
        evidence=end.evidence or (intent.evidence if doubtful else ""),
        concluded_at=now,
        lease_until=now + lease,
        pending=(*letter, OutboxEntry.ANNOUNCEMENT),
    )
    return Concluded(ended, fresh=True)
