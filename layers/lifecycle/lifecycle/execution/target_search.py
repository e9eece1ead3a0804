"""Finds the process of a command that gives ``find`` instead of an id. Exactly one process must match."""

from collections.abc import Callable
from dataclasses import dataclass

from lifecycle.aws.sqs import Message
from lifecycle.domain.capabilities import Action, State
from lifecycle.domain.commands import Command, Find
from lifecycle.domain.errors import Code, Poison, Rejected, Retryable, Throttled
from lifecycle.domain.intent import OPEN, Outcome, Status
from lifecycle.execution.ledger import Ended, Ledger
from lifecycle.execution.paced_tallyfy import PacedTallyfy
from lifecycle.pacing import backoff

_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSearch:
    """Gives a command with ``find`` an id. ``retry_base`` is in seconds."""

    ledger: Ledger
    tallyfy: PacedTallyfy
    retry_base: float
    roll: Callable[[], float]

    def resolve(self, command: Command, message: Message) -> Command | Ended:
        """The command with its id, or how it ended. The first search decides: later matches change nothing.

        Raises ``Poison`` if the intent id was used for another command, ``Retryable`` if the search failed.
        """
        if command.find is None:
            return command
        known = self.ledger.recall(command.intent_id)
        if known is not None and known.intent.meaning != command.meaning:
            raise conflict(command)
        if known is not None and known.intent.id:
            return command.model_copy(update={"id": known.intent.id})
        if known is not None and known.intent.status not in OPEN and message.redrive <= known.intent.redrive:
            return known
        found = self._search(command, command.find, message)
        if isinstance(found, str):
            return command.model_copy(update={"id": found})
        ended = self.ledger.give_up(command, found, redrive=message.redrive)
        if ended is None:
            raise Throttled(Code.BUSY, "Another worker has this command.", retry_after=1)
        return ended

    def _search(self, command: Command, find: Find, message: Message) -> str | Outcome:
        """The id of the process that matches, or how the command ends without one."""
        try:
            found = self._the_one(command, find)
        except Rejected as error:
            return Outcome(Status.REJECTED, error.code, error.reason)
        except Retryable as error:
            return self._failed(command, message, error)
        nothing = "No process matches, and the command has if_none = ignore."
        return found if found is not None else Outcome(Status.UNCHANGED, Code.NOTHING_TO_DO, nothing)

    def _failed(self, command: Command, message: Message, error: Retryable) -> Outcome:
        """Count the failure and raise it. After the last permitted failure, return how the command ends."""
        if not error.counted:
            raise error
        attempts = self.ledger.fail(command, error.code, error.reason, redrive=message.redrive)
        if attempts < self.ledger.most_attempts:
            error.retry_after = backoff.exponential(attempts, base=self.retry_base, roll=self.roll())
            raise error
        return exhausted(attempts, error.reason)

    def _the_one(self, command: Command, find: Find) -> str | None:
        """The id of the one process that matches; ``None`` if none does and the command has ``if_none = ignore``."""
        archived = command.action is Action.RESTORE
        with self.tallyfy.attempt(command, self.roll()):
            seen = self.tallyfy.search(command.org_id, find, archived=archived)
        ids = sorted({thing.id for thing in seen})
        if not ids and command.if_none == "ignore":
            return None
        if len(ids) != 1:
            state, other = (State.ARCHIVED, State.ACTIVE) if archived else (State.ACTIVE, State.ARCHIVED)
            exactly = (
                f"the {'name' if find.tag is None else 'tag'} must match exactly, and {other} ones are not searched"
            )
            shown = f"{', '.join(ids[:_MOST_SHOWN])}{' …' if len(ids) > _MOST_SHOWN else ''}" if ids else exactly
            raise Rejected(
                Code.AMBIGUOUS_MATCH,
                f"{len(ids)} {state} processes match instead of exactly one: {shown}. Nothing was done.",
            )
        return ids[0]


def exhausted(attempts: int, last_reason: str) -> Outcome:
    """The outcome of a command after too many failed attempts."""
    reason = f"{attempts} attempts failed. The last error was: {last_reason}"
    return Outcome(Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, reason)


def conflict(command: Command) -> Poison:
    """The error for a message whose intent id was used for another command."""
    return Poison(
        Code.INTENT_CONFLICT,
        f"Intent {command.intent_id} is recorded for another command. This message was not carried out.",
    )
