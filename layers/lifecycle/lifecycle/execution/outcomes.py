"""Delivers how a command ended: a dead letter if nothing was done, always an event, and a metric for the operator.

Outbox entries stay in the ledger until they are delivered. A crash between two of them loses none, and each is
delivered at least once. The events of a batch of messages are published together when the batch is over.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from lifecycle.aws.eventbridge import Bus, Event
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Message, Queue
from lifecycle.domain.capabilities import Action, Resource, capability
from lifecycle.domain.errors import Code, Poison, Retryable
from lifecycle.domain.events import SCHEMA_VERSION
from lifecycle.domain.failures import Attention, attention
from lifecycle.domain.intent import DEAD, IntentRow, OutboxEntry, Status
from lifecycle.domain.messages import outcome, quoted
from lifecycle.execution.announcement_batch import AnnouncementBatch
from lifecycle.execution.ledger import Ended, Ledger
from lifecycle.execution.reply_channel import Replies
from lifecycle.execution.state_machine import is_dead_letter

_METRICS = {
    Status.DONE: Metric.DONE,
    Status.UNCHANGED: Metric.UNCHANGED,
    Status.REJECTED: Metric.REJECTED,
    Status.SUPERSEDED: Metric.SUPERSEDED,
    Status.EXPIRED: Metric.EXPIRED,
    Status.DEAD_LETTERED: Metric.DEAD_LETTERED,
}
_TOLD = ("intent_id", "code", "reason", "action", "resource", "org_id", "id", "source", "requested_by")


@dataclass(frozen=True, slots=True)
class _Announcement:
    """An outcome that is not announced yet, and the message that comes back if it cannot be."""

    ended: Ended
    message: Message
    reply_to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Delivers the outbox entries of ended intents, and dead-letters messages that cannot be read."""

    ledger: Ledger
    dead_letters: Queue
    bus: Bus
    metrics: Metrics
    clock: Callable[[], datetime]
    replies: Replies | None = None
    batch: AnnouncementBatch | None = None
    """Where it is recorded that several outcomes were announced. Without it, each has a write of its own."""
    _waiting: list[_Announcement] = field(default_factory=list)

    def begin(self) -> None:
        """Start a batch of messages."""
        self._waiting.clear()
        if self.batch is not None:
            self.batch.begin()

    def deliver(self, ended: Ended, message: Message, reply_to: str | None = None) -> None:
        """Deliver the pending outbox entries. The announcement waits for ``announce``.

        Raises ``Retryable`` if AWS is unavailable; the rest stays pending.
        """
        ended = self._pending_part(ended)
        intent = ended.intent
        self.metrics.emit(_METRICS[intent.status] if intent.pending else Metric.DUPLICATE, facts(intent))
        if OutboxEntry.DEAD_LETTER in intent.pending:
            letter = {"code": intent.code, "reason": intent.reason, "attempts": str(intent.attempts)}
            # A copy may arrive without the redrive number with which another copy reopened the intent.
            redrive = max(message.redrive, intent.redrive)
            self._dead_letter(message, {**letter, "intent_id": intent.intent_id}, redrive)
            ended = self.ledger.mark_delivered(ended, OutboxEntry.DEAD_LETTER)
        if OutboxEntry.ANNOUNCEMENT in intent.pending:
            self._waiting.append(_Announcement(ended, message, reply_to))

    def announce(self) -> list[Message]:
        """Announce what ended in this batch, in one call. Returns the messages that have to come back for it.

        A person who waits in a chat tool is informed as well; if that fails, they can ask for the status.
        """
        waiting = [*self._waiting]
        self._waiting.clear()
        if not waiting:
            return []
        try:
            refused = self.bus.announce_all([_event(one.ended.intent) for one in waiting])
        except Retryable as error:
            return self._back(waiting, error.reason)
        back = []
        for number, reason in refused.items():
            back += self._back([waiting[number]], f"EventBridge did not take the outcome: {reason}.")
        told = [one for number, one in enumerate(waiting) if number not in refused]
        for one in told:
            self._reply(one)
        return back + self._mark(told)

    def _mark(self, told: Sequence[_Announcement]) -> list[Message]:
        """Record what was announced. Returns the messages for which that failed: they are announced again."""
        batch = self.batch
        # An intent that can be reopened is marked at once, which ends its lease, so that a redrive need not wait.
        shared = [one for one in told if batch is not None and _is_of(one.ended.intent, batch.name)]
        shared = shared if len(shared) > 1 else []
        back = []
        for one in told:
            if one not in shared:
                try:
                    self.ledger.mark_delivered(one.ended, OutboxEntry.ANNOUNCEMENT)
                except Retryable as error:
                    back += self._back([one], error.reason)
        if shared and batch is not None:
            try:
                batch.record([one.ended.intent.intent_id for one in shared])
            except Retryable as error:
                back += self._back(shared, error.reason)
        return back

    def _reply(self, one: _Announcement) -> None:
        intent = one.ended.intent
        if one.reply_to and self.replies:
            undo = intent.intent_id if _can_be_undone(intent) else None
            if not self.replies.reply(one.reply_to, outcome(_sentence(intent), undo)):
                self.metrics.emit(Metric.REPLY_FAILED, facts(intent))

    def _back(self, waiting: Sequence[_Announcement], reason: str) -> list[Message]:
        for _ in waiting:
            self.metrics.emit(Metric.RETRIED, {"code": Code.UNAVAILABLE, "reason": reason})
        return [one.message for one in waiting]

    def _pending_part(self, ended: Ended) -> Ended:
        """The ended intent, without the announcement that its batch has recorded."""
        intent, batch = ended.intent, self.batch
        earlier = batch is not None and intent.announced_in not in {"", batch.name}
        if not earlier or batch is None or OutboxEntry.ANNOUNCEMENT not in intent.pending:
            return ended
        if not batch.has_announced(intent.announced_in, intent.intent_id):
            return ended
        return replace(ended, intent=replace(intent, pending=()))

    def dead_letter(self, message: Message, poison: Poison) -> None:
        """Dead-letter a message that has no intent of its own."""
        known = {"code": poison.code.value, "reason": poison.reason}
        self._dead_letter(message, known, message.redrive)
        detail: dict[str, str | bool] = {
            "schema_version": SCHEMA_VERSION,
            "status": "poison",
            "dead_lettered": True,
            "concluded_at": self.clock().isoformat(),
            **known,
        }
        self.bus.announce("lifecycle.command.poison", detail)
        self.metrics.emit(Metric.POISON, known)
        if poison.code is Code.UNTRANSLATABLE:
            self.metrics.emit(Metric.UNTRANSLATABLE, known)

    def _dead_letter(self, message: Message, letter: dict[str, str], redrive: int) -> None:
        stamp = {"redrive": str(redrive), "failed_at": self.clock().isoformat()}
        self.dead_letters.send(message.body, {**letter, **stamp})
        if attention(letter["code"]) is Attention.PAGE:
            self.metrics.emit(Metric.PAGED, {"code": letter["code"], "reason": letter["reason"]})


def _is_of(intent: IntentRow, batch: str) -> bool:
    return intent.announced_in == batch and intent.status not in DEAD


def _event(intent: IntentRow) -> Event:
    return f"lifecycle.command.{intent.status}", _detail(intent)


def facts(intent: IntentRow) -> dict[str, str | int]:
    """The fields of an intent that are logged: ids and reasons, no names of people or resources."""
    return {
        "intent_id": intent.intent_id,
        "capability": f"{intent.resource}.{intent.action}",
        "thing": intent.id,
        "org_id": intent.org_id,
        "source": intent.source,
        "code": intent.code,
        "reason": intent.reason,
        "attempts": intent.attempts,
    }


def _can_be_undone(intent: IntentRow) -> bool:
    if intent.status is not Status.DONE:
        return False
    return capability(Resource(intent.resource), Action(intent.action)).undo is not None


def _sentence(intent: IntentRow) -> str:
    thing = f"{Resource(intent.resource).label} `{intent.id}`"
    return f"{intent.action.capitalize()} {thing}: {intent.status}. {quoted(intent.reason)}"


def _detail(intent: IntentRow) -> dict[str, str | bool]:
    row = asdict(intent)
    return {
        "schema_version": SCHEMA_VERSION,
        "status": intent.status.value,
        "dead_lettered": is_dead_letter(intent.status, intent.code),
        "concluded_at": datetime.fromtimestamp(intent.concluded_at / 1000, UTC).isoformat(),
        **{name: str(row[name]) for name in _TOLD},
    }
