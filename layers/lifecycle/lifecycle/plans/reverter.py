"""Reverts a plan: undoes the commands that were carried out. All others never make their call."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import batched, islice
from pathlib import Path

from lifecycle.aws.sqs import Queue
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import UNDO, Command
from lifecycle.domain.errors import Code, Throttled
from lifecycle.domain.intent import DEAD, OPEN, IntentRow, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.undo import undo_command
from lifecycle.plans.application import Application, ApplicationStore, PlanPart, Stage
from lifecycle.plans.commands import PlanCommands
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_lines import PlannedAction, undoable

_BATCH = 100
_NEEDED_SECONDS = 30.0
_ACTED = frozenset({Status.DONE, Status.IN_PROGRESS})
"""Statuses of commands that were carried out or may be running now. No other command of a reverted plan makes its call.
If the resource of such a command is archived, a person archived it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReverter:
    """Sends the undos. ``time_left`` is in seconds."""

    applications: ApplicationStore
    ledger: Ledger
    commands: PlanCommands
    bulk: Queue
    clock: Callable[[], datetime]
    time_left: Callable[[], float]
    after_batch: Callable[[], None] = field(default=lambda: None)
    """Called after each batch was recorded; tests end the process there."""

    def revert(self, plan: Plan, lines: Path) -> Application:
        """Send the undos of a plan that a person reverted, or continue. Raises ``Throttled`` when time runs out.

        No lock is needed: once a plan is reverted, none of its commands starts its call.
        """
        state, version = self.applications.read(plan, PlanPart.REVERTED)
        if state.stage == Stage.DONE:
            return state
        # A row that somebody wrote by hand may lack these.
        by, at = state.requested_by or "somebody", state.begun_at or self.clock().isoformat()
        state = replace(state, stage=Stage.REST, requested_by=by, begun_at=at)
        for part in (PlanPart.REVERSIBLE, PlanPart.IRREVERSIBLE):
            self._stop(plan, part, by)
        for batch in batched(islice(undoable(lines), state.sent, None), _BATCH, strict=False):
            if self.time_left() < _NEEDED_SECONDS:
                raise Throttled(
                    Code.OUT_OF_TIME,
                    "The function is nearly out of time. The next invocation continues.",
                    retry_after=1,
                )
            state = self._send(plan, batch, state)
            version = self.applications.save(plan, PlanPart.REVERTED, state, version)
            self.after_batch()
        state = replace(state, stage=Stage.DONE, why=_summary(state))
        self.applications.save(plan, PlanPart.REVERTED, state, version)
        return state

    def _send(self, plan: Plan, batch: Sequence[PlannedAction], state: Application) -> Application:
        left = Counter[str](json.loads(state.left))
        undos: list[str] = []
        for action in batch:
            undo_or_reason = self._undo(plan, action, state)
            if isinstance(undo_or_reason, str):
                left[undo_or_reason] += 1
            else:
                undos.append(undo_or_reason.to_json())
        if undos:
            self.bulk.send_all(undos)
        return replace(state, sent=state.sent + len(batch), undos=state.undos + len(undos), left=json.dumps(left))

    def _stop(self, plan: Plan, part: PlanPart, by: str) -> None:
        """Mark a half that was being applied as stopped, for readers of the progress."""
        state, version = self.applications.read(plan, part)
        if state.stage in {Stage.CANARY, Stage.REST}:
            stopped = replace(state, stage=Stage.STOPPED, why=f"{by} reverted the plan.")
            self.applications.save(plan, part, stopped, version)

    def _undo(self, plan: Plan, action: PlannedAction, state: Application) -> Command | str:
        """The undo of one command, or why it needs none."""
        intent = self.ledger.find(self.commands.intent_id(plan, action))
        if intent is None:
            return "never started and will not start"
        if intent.status not in _ACTED and not intent.maybe_acted:
            return _not_done(intent)
        name = intent_id(self.commands.id_key(), UNDO, intent.intent_id)
        known = self.ledger.find(name)
        if known is not None and known.status in DEAD:
            return "its undo failed: send that dead letter again"
        ours = known is not None and known.issued_at >= millis(datetime.fromisoformat(state.begun_at))
        if known is not None and known.status not in OPEN and not ours:
            return "undone before; later changes stay"
        return undo_command(intent, name=name, by=state.requested_by, now=self.clock())


def _not_done(intent: IntentRow) -> str:
    if intent.status in OPEN:
        return "was waiting and will not be carried out"
    return f"ended as {intent.status}, nothing was done"


def _summary(state: Application) -> str:
    """The result of a revert, as a sentence."""
    sent = f"{state.undos} undos were sent."
    left = "; ".join(f"{count} {why}" for why, count in sorted(json.loads(state.left).items()))
    return f"{sent} Left alone: {left}." if left else sent
