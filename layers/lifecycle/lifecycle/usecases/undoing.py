"""Take back what a command did: a command of its own, younger than every copy of what it undoes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lifecycle.adapters.ledger import Ledger
from lifecycle.adapters.queues import Queue
from lifecycle.adapters.signals import Signal, Signals
from lifecycle.judgement.people import Person
from lifecycle.judgement.transitions import DEAD, IntentRow, Status
from lifecycle.usecases.intake import LONGEST_WAIT
from lifecycle.words.capabilities import Action, Capability, Resource, capability
from lifecycle.words.commands import UNDO, Command
from lifecycle.words.errors import Code, Rejected
from lifecycle.words.intents import intent_id

_NOTHING_DONE = frozenset({Status.UNCHANGED, Status.SUPERSEDED})
"""Ends after which no copy of a command ever does anything. What was refused or given up may be sent again."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """Everything an undo passes. It goes to people's queue: it never stands behind a sweep."""

    ledger: Ledger
    commands: Queue
    org_ids: frozenset[str]
    id_key: Callable[[], bytes]
    signals: Signals
    clock: Callable[[], datetime]

    def undo(self, target: str, *, by: str, person: Person, reply_to: str | None = None) -> str:
        """Undo one intent; the intent id of the undo, the same whoever asks and however often.

        It may come before what it undoes was done: then that is superseded. An undo that failed is tried again. Raises
        ``Rejected`` for an intent that is not known, cannot be undone, or is not this person's to undo.
        """
        intent = self.ledger.find(target)
        if intent is None or not intent.id or intent.org_id not in self.org_ids:
            raise Rejected(Code.UNKNOWN_INTENT, f"The ledger knows no command {target} that could be undone.")
        doing = undo_of(intent)
        here = person.organization is None or person.organization == intent.org_id
        if not here or not person.allows(doing):
            raise Rejected(Code.RIGHT_MISSING, f"You may not ask for {doing.name}. people.toml says who may do what.")
        if intent.status in _NOTHING_DONE and not intent.maybe_acted:
            reason = f"It ended as {intent.status} and changed nothing, so there is nothing to undo."
            raise Rejected(Code.NOT_POSSIBLE, reason)
        name = intent_id(self.id_key(), UNDO, target)
        known = self.ledger.find(name)
        if known is None or known.status in DEAD:
            command = undo_command(intent, name=name, by=by, now=self.clock(), reply_to=reply_to)
            self.commands.send(command.to_json(), {"redrive": str(known.redrive + 1)} if known else None)
        self.signals.note(Signal.ACCEPTED, {"intent_id": name, "source": UNDO, "capability": doing.name})
        return name


def undo_of(intent: IntentRow) -> Capability:
    """What takes an intent back. Raises ``Rejected`` if nothing does."""
    done = capability(Resource(intent.resource), Action(intent.action))
    if done.undo is None:
        raise Rejected(Code.NOT_POSSIBLE, f"{done.name} cannot be undone, by anyone. Its export is evidence only.")
    return capability(done.resource, done.undo)


def undo_command(intent: IntentRow, *, name: str, by: str, now: datetime, reply_to: str | None = None) -> Command:
    """The command that takes an intent back.

    It is younger than that, even where the clock that accepted it was ahead of ours.
    """
    doing = undo_of(intent)
    issued_at = max(now, _EPOCH + timedelta(milliseconds=intent.issued_at + 1))
    return Command(
        action=doing.action,
        resource=doing.resource,
        org_id=intent.org_id,
        id=intent.id,
        requested_by=by,
        source=UNDO,
        reason=f"Undo of {intent.intent_id}.",
        issued_at=issued_at,
        not_after=issued_at + LONGEST_WAIT,
        intent_id=name,
        undoes=intent.intent_id,
        reply_to=reply_to,
    )
