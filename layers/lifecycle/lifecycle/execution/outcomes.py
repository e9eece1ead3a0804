"""Delivers how a command ended: a dead letter if nothing was done, always an event, and a metric for the operator.

Outbox entries stay in the ledger until they are delivered. A crash between two of them loses none, and each is
delivered at least once.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Message, Queue
from lifecycle.domain.capabilities import Action, Resource, capability
from lifecycle.domain.errors import Code, Poison
from lifecycle.domain.events import SCHEMA_VERSION
from lifecycle.domain.failures import Attention, attention
from lifecycle.domain.intent import IntentRow, OutboxEntry, Status
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Delivers the outbox entries of ended intents, and dead-letters messages that cannot be read."""

    ledger: Ledger
    dead_letters: Queue
    bus: Bus
    metrics: Metrics
    clock: Callable[[], datetime]
    replies: Replies | None = None

    def deliver(self, ended: Ended, message: Message, reply_to: str | None = None) -> None:
        """Deliver the pending outbox entries. Raises ``Retryable`` if AWS is unavailable; the rest stays pending.

        The person who waits at ``reply_to`` is informed with the event. If that fails, they can ask for the status.
        """
        intent = ended.intent
        self.metrics.emit(_METRICS[intent.status] if intent.pending else Metric.DUPLICATE, facts(intent))
        if OutboxEntry.DEAD_LETTER in intent.pending:
            letter = {"code": intent.code, "reason": intent.reason, "attempts": str(intent.attempts)}
            # A copy may arrive without the redrive number with which another copy reopened the intent.
            redrive = max(message.redrive, intent.redrive)
            self._dead_letter(message, {**letter, "intent_id": intent.intent_id}, redrive)
            ended = self.ledger.mark_delivered(ended, OutboxEntry.DEAD_LETTER)
        if OutboxEntry.ANNOUNCEMENT in intent.pending:
            self.bus.announce(f"lifecycle.command.{intent.status}", _detail(intent))
            if reply_to and self.replies:
                undo = intent.intent_id if _can_be_undone(intent) else None
                if not self.replies.reply(reply_to, _sentence(intent), undo=undo):
                    self.metrics.emit(Metric.REPLY_FAILED, facts(intent))
            self.ledger.mark_delivered(ended, OutboxEntry.ANNOUNCEMENT)

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
    return f"{intent.action.capitalize()} {thing}: {intent.status}. {intent.reason}"


def _detail(intent: IntentRow) -> dict[str, str | bool]:
    row = asdict(intent)
    return {
        "schema_version": SCHEMA_VERSION,
        "status": intent.status.value,
        "dead_lettered": is_dead_letter(intent.status, intent.code),
        "concluded_at": datetime.fromtimestamp(intent.concluded_at / 1000, UTC).isoformat(),
        **{name: str(row[name]) for name in _TOLD},
    }
