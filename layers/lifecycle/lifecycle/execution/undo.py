"""Take back what a command did: a command of its own, younger than every copy of what it undoes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lifecycle.approvals.people import Person
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Queue
from lifecycle.domain.capabilities import TABLE, Action, Capability, Resource, capability
from lifecycle.domain.clock import millis, moment
from lifecycle.domain.commands import LONGEST_WAIT, UNDO, Command
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import DEAD, OPEN, IntentRow, Outcome, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.state_machine import as_old_as

_NOTHING_DONE = frozenset({Status.UNCHANGED, Status.SUPERSEDED})
"""Ends after which no copy of a command ever does anything. What was refused or given up may be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoService:
    """Everything an undo passes. It goes to people's queue: it never stands behind a sweep."""

    ledger: Ledger
    commands: Queue
    org_ids: frozenset[str]
    id_key: Callable[[], bytes]
    metrics: Metrics
    clock: Callable[[], datetime]

    def undo(self, target: str, *, by: str, person: Person, reply_to: str | None = None) -> str:
        """Undo one intent; the intent id of the undo, the same whoever asks and however often.

        What has not made its call yet is stopped at once, permanent deletes included: it is never carried out. An undo
        that failed is tried again. Raises ``Rejected`` for an intent that is not known, cannot be undone, or is not
        this person's to undo.
        """
        intent = self.ledger.find(target)
        if intent is None or intent.org_id not in self.org_ids:
            raise Rejected(Code.UNKNOWN_INTENT, f"The ledger knows no command {target} that could be undone.")
        if intent.status not in OPEN:
            undo_of(intent)
        self._allow(intent, person)
        name = intent_id(self.id_key(), UNDO, target)
        known = self.ledger.find(name)
        if known is None and self._is_stopped(intent, name, by):
            return name
        if known is None or known.status in OPEN or known.status in DEAD:
            self._send(intent, known, undo_command(intent, name=name, by=by, now=self.clock(), reply_to=reply_to))
        elif known.status is Status.DONE:
            self._refuse_if_undone(target, name)
        return name

    def _allow(self, intent: IntentRow, person: Person) -> None:
        """Raise ``Rejected`` unless this person may ask for the way back, or, where there is none, may stop it."""
        here = person.organization is None or person.organization == intent.org_id
        done = capability(Resource(intent.resource), Action(intent.action))
        if done.undo is not None:
            doing = capability(done.resource, done.undo)
            if not here or not person.allows(doing):
                raise Rejected(
                    Code.RIGHT_MISSING, f"You may not ask for {doing.name}. people.toml says who may do what."
                )
            return
        restores = Action.RESTORE in {
            back.action for back in TABLE if back.resource is done.resource and person.allows(back)
        }
        if not here or not (restores or person.approves_of(frozenset({done}), intent.org_id)):
            reason = f"Only who may restore a {done.resource.label} or approve {done.name} may stop it."
            raise Rejected(Code.RIGHT_MISSING, f"{reason} people.toml says who may do what.")

    def _is_stopped(self, intent: IntentRow, name: str, by: str) -> bool:
        """Stop what has made no call yet. ``False`` where there is something to take back. Raises ``Rejected``."""
        if intent.code == Code.UNDONE and intent.status is Status.DONE:
            reason = "It only stopped a command that had not been carried out. Ask for that command again."
            raise Rejected(Code.NOT_POSSIBLE, reason)
        reason = f"{by} undid it before it was carried out ({name})."
        stopped = self.ledger.stop(
            intent.intent_id,
            Outcome(Status.SUPERSEDED, Code.UNDONE, reason),
            undo=_stopping(intent, name=name, by=by, now=self.clock()),
        )
        if stopped is not None:
            self.metrics.emit(
                Metric.SUPERSEDED, {"intent_id": intent.intent_id, "code": stopped.code, "reason": reason}
            )
            return True
        if self.ledger.find(name) is not None:
            return True  # Somebody else stopped it, or asked for this very undo, at the same moment.
        if intent.status in _NOTHING_DONE and not intent.maybe_acted:
            reason = f"It ended as {intent.status} and changed nothing, so there is nothing to undo."
            raise Rejected(Code.NOT_POSSIBLE, reason)
        undo_of(intent)
        return False

    def _send(self, intent: IntentRow, known: IntentRow | None, command: Command) -> None:
        standing = self.ledger.accept(command)
        redrive = {"redrive": str(known.redrive + 1)} if known is not None and known.status in DEAD else None
        self.commands.send(as_old_as(standing, command).to_json(), redrive)
        doing = command.capability.name
        facts = {"intent_id": command.intent_id, "source": UNDO, "capability": doing, "undoes": intent.intent_id}
        self.metrics.emit(Metric.ACCEPTED, facts)

    def _refuse_if_undone(self, target: str, name: str) -> None:
        """An undo that was undone itself is not done a second time under its name: that would change nothing."""
        again = intent_id(self.id_key(), UNDO, name)
        later = self.ledger.find(again)
        if later is not None and (later.status in OPEN or later.status is Status.DONE):
            reason = f"The undo of {target} was itself undone ({again}). To take that back, undo {again}."
            raise Rejected(Code.NOT_POSSIBLE, reason)


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
    issued_at = max(now, moment(intent.issued_at + 1))
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


def _stopping(intent: IntentRow, *, name: str, by: str, now: datetime) -> IntentRow:
    """The row of an undo that had nothing to take back: what it undoes had not been carried out, and never will be."""
    issued_at = max(now, moment(intent.issued_at + 1))
    return IntentRow(
        intent_id=name,
        meaning=json.dumps({"undoes": intent.intent_id}),
        action=Action.RESTORE.value if intent.action != Action.RESTORE else Action.ARCHIVE.value,
        resource=intent.resource,
        org_id=intent.org_id,
        id=intent.id,
        source=UNDO,
        requested_by=by,
        why=f"Undo of {intent.intent_id}.",
        issued_at=millis(issued_at),
        not_after=millis(issued_at + LONGEST_WAIT),
        status=Status.DONE,
        code=Code.UNDONE.value,
        reason="It was stopped before it was carried out. Nothing was done to the thing.",
        concluded_at=millis(now),
    )
