"""Undoes a command with a new command. The undo is newer than every copy of the command that it undoes."""

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
"""Statuses after which no copy of a command ever acts. A refused or dead-lettered command may be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoService:
    """What an undo needs. ``commands`` is the queue of people's commands, so an undo never waits behind a sweep."""

    ledger: Ledger
    commands: Queue
    org_ids: frozenset[str]
    id_key: Callable[[], bytes]
    metrics: Metrics
    clock: Callable[[], datetime]

    def undo(self, target: str, *, by: str, person: Person, reply_to: str | None = None) -> str:
        """Undo one intent; the intent id of the undo. It is the same for every requester and every repetition.

        A command that has not made its call yet is stopped at once and never carried out, permanent deletes included.
        An undo that failed is tried again. Raises ``Rejected`` if the intent is unknown, cannot be undone, or this
        person may not undo it.
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
        """Raise ``Rejected`` unless this person may ask for the opposite action, or stop a command that has none."""
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
            reason = f"Only a person who may restore a {done.resource.label} or approve {done.name} may stop it."
            raise Rejected(Code.RIGHT_MISSING, f"{reason} people.toml says who may do what.")

    def _is_stopped(self, intent: IntentRow, name: str, by: str) -> bool:
        """Stop a command that has made no call yet. ``False`` if there is an effect to undo. Raises ``Rejected``."""
        if intent.code == Code.UNDONE and intent.status is Status.DONE:
            reason = (
                "This undo only stopped a command before it was carried out. To carry that command out, send it again."
            )
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
            return True  # Somebody else stopped it, or sent the same undo, at the same moment.
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
        """Raise ``Rejected`` for an undo that was itself undone: its intent has ended, so a copy does nothing."""
        again = intent_id(self.id_key(), UNDO, name)
        later = self.ledger.find(again)
        if later is not None and (later.status in OPEN or later.status is Status.DONE):
            reason = f"The undo of {target} was itself undone ({again}). To reverse that, undo {again}."
            raise Rejected(Code.NOT_POSSIBLE, reason)


def undo_of(intent: IntentRow) -> Capability:
    """The capability that undoes an intent. Raises ``Rejected`` if there is none."""
    done = capability(Resource(intent.resource), Action(intent.action))
    if done.undo is None:
        raise Rejected(Code.NOT_POSSIBLE, f"{done.name} cannot be undone by anyone. Its export is evidence only.")
    return capability(done.resource, done.undo)


def undo_command(intent: IntentRow, *, name: str, by: str, now: datetime, reply_to: str | None = None) -> Command:
    """The command that undoes an intent.

    It is newer than that intent, even if the clock that accepted the intent was ahead of ours.
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
    """The row of an undo that stopped a command before it was carried out, so there was no effect to undo."""
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
        reason="The command was stopped before it was carried out. The resource was not changed.",
        concluded_at=millis(now),
    )
