"""What happens to a message of a commands queue: read, claim, execute, deliver the outcome, or hide it until later.

``CommandExecutor`` carries out a claimed command; ``Outcomes`` delivers how it ended.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Later, Message, Queue
from lifecycle.deletion.deferred import Deferred
from lifecycle.domain.capabilities import Action, Capability
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command, describe, is_of_a_newer_release
from lifecycle.domain.errors import Code, Poison, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.domain.intent import Outcome, Status
from lifecycle.execution.command_executor import CommandExecutor, WorkerLimits
from lifecycle.execution.ledger import Claim, Ended, Ledger
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.read_ahead import ReadAhead
from lifecycle.execution.state_machine import Busy, Conflict
from lifecycle.execution.target_search import TargetSearch, conflict
from lifecycle.pacing import backoff
from lifecycle.pacing.batch_budget import Budget

_WAITING_METRICS = {Code.PAUSED: Metric.PAUSED, Code.TOKEN_REFUSED: Metric.TOKEN_REFUSED}
_TIMED = frozenset({Code.RATE_LIMITED, Code.PAUSED, Code.BUSY, Code.READ_LAG})
"""Codes whose errors already carry the right wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Carries out the commands of one queue. ``capabilities`` are all that this function has code for."""

    ledger: Ledger
    read_ahead: ReadAhead
    """The table of ``ledger``."""
    executor: CommandExecutor
    search: TargetSearch
    budget: Budget
    queue: Queue
    outcomes: Outcomes
    metrics: Metrics
    capabilities: frozenset[Capability]
    limits: WorkerLimits
    clock: Callable[[], datetime]
    roll: Callable[[], float]

    @contextmanager
    def for_batch(self, messages: Sequence[Message]) -> Iterator[None]:
        """Around a batch: ``handle`` each message, then ``finish``."""
        self.outcomes.begin()
        self.read_ahead.begin(messages)
        with self.budget.for_batch(len(messages)):
            yield

    def finish(self) -> list[Message]:
        """Announce what ended in this batch. Returns the messages that have to come back for it."""
        return self.outcomes.announce()

    def handle(self, message: Message) -> None:
        """Carry out one message. Raises ``Later`` if it has to come back; it is hidden until then."""
        try:
            command = self._read(message)
            self.outcomes.deliver(self._carry_out(command, message), message, command.reply_to)
        except Deferred as deferred:
            # A schedule or an approval enqueues it again as another message.
            self.metrics.emit(Metric.PARKED, {"code": deferred.code, "reason": deferred.reason})
        except Poison as poison:
            self.outcomes.dead_letter(message, poison)
        except Retryable as error:
            self._hide(message, error)
            raise Later(error.reason) from error

    def _read(self, message: Message) -> Command:
        try:
            command = Command.model_validate_json(message.body)
            doing = command.capability
        except ValidationError as error:
            if is_of_a_newer_release(error) and not self._is_out_of_patience(message):
                reason = f"The message waits for a newer release, because this one cannot read it: {describe(error)}."
                raise Throttled(Code.NEWER_RELEASE, reason) from None
            raise Poison(Code.POISON, f"The message is not a command: {describe(error)}") from None
        except Rejected as error:
            raise Poison(error.code, error.reason) from None
        if doing not in self.capabilities:
            raise Poison(Code.NOT_POSSIBLE, f"This function cannot carry out {doing.name}.")
        return command

    def _carry_out(self, command: Command, message: Message) -> Ended:
        given_up = self._out_of_patience(command, message)
        if given_up is not None:
            return given_up
        self.budget.admit(command, message, self.roll())
        self.read_ahead.allow(self.budget.commands_left(command.org_id))
        resolved = self.search.resolve(command, message)
        if isinstance(resolved, Ended):
            return resolved
        if resolved.find is not None and resolved.action is Action.RESTORE:
            self.ledger.record_restore(resolved)
        claim = self.ledger.claim(resolved, redrive=message.redrive)
        match claim:
            case Ended():
                return claim
            case Busy(until):
                wait = backoff.poll_delay((until - millis(self.clock())) / 1000, message.receives)
                raise Throttled(Code.BUSY, "Another worker has this command or this resource.", retry_after=wait)
            case Conflict():
                raise conflict(resolved)
            case Claim():
                return self.executor.execute(resolved, claim)

    def _is_out_of_patience(self, message: Message) -> bool:
        return self.clock() - message.sent_at > self.limits.patience or message.receives >= backoff.MOST_RECEIVES

    def _out_of_patience(self, command: Command, message: Message) -> Ended | None:
        if not self._is_out_of_patience(message):
            return None
        reason = "It waited until shortly before SQS would drop it. Fix the cause and send it again."
        end = Outcome(Status.DEAD_LETTERED, Code.WAITED_TOO_LONG, reason)
        return self.ledger.give_up(command, end, redrive=message.redrive)

    def _hide(self, message: Message, error: Retryable) -> None:
        hidden_for = self._delay(message, error)
        metric = _WAITING_METRICS.get(error.code, Metric.RETRIED if error.counted else Metric.THROTTLED)
        self.metrics.emit(metric, {"code": error.code, "reason": error.reason, "hidden_for": hidden_for})
        # If this fails too, the queue's visibility timeout brings the message back, only later.
        with suppress(Retryable):
            self.queue.hide(message, hidden_for)

    def _delay(self, message: Message, error: Retryable) -> int:
        """How many seconds to hide the message."""
        base, roll = self.limits.retry_base, self.roll()
        if isinstance(error, TokenRefused):
            return backoff.human_delay(message.receives)
        if error.outage and not error.counted:
            return backoff.outage_delay(error.retry_after or 0.0, message.receives, roll)
        if error.code is Code.RATE_LIMITED and (often := message.receives - backoff.MANY_RECEIVES) > 0:
            return backoff.retry_delay(error.retry_after, often, base=base, roll=roll)
        if error.retry_after is not None and (error.counted or error.code in _TIMED):
            return backoff.clamp(error.retry_after)
        return backoff.retry_delay(error.retry_after, message.receives, base=base, roll=roll)
