"""Reads the first commands of a plan back from Tallyfy before the rest is sent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lifecycle.domain.capabilities import State
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import OPEN, IntentRow, Status
from lifecycle.execution.ledger import Ledger
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.plans.commands import PlanCommands
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_lines import PlannedAction
from lifecycle.tallyfy.client import Tallyfy

_KEPT = frozenset(
    {
        *(Code.CHANGED, Code.HELD, Code.NOT_FOUND, Code.PROCESS_TASK, Code.UNDETERMINED),
        *(Code.NOT_ARCHIVED, Code.TOO_YOUNG, Code.AGE_UNKNOWN, Code.IN_USE, Code.USE_UNKNOWN),
    }
)
"""Codes that keep one resource because it changed after the plan was made. They are no reason to stop the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResult:
    """The result of the first commands: how many were done, and the first that did not end as planned."""

    done: int
    mismatch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Compares what was done with what was planned. ``take_turn`` waits for the rate before a call to Tallyfy."""

    ledger: Ledger
    tallyfy: Tallyfy
    pacing: Pacing
    commands: PlanCommands
    take_turn: Callable[[str], None]

    def check(self, plan: Plan, sent: Sequence[PlannedAction]) -> CanaryResult | None:
        """``None`` while one of the commands is still open. Raises what ``Tallyfy.look`` raises."""
        intents = [self.ledger.find(self.commands.intent_id(plan, action)) for action in sent]
        ended = [intent for intent in intents if intent is not None and _has_ended(intent)]
        if len(ended) < len(sent):
            return None
        done = sum(intent.status is Status.DONE for intent in ended)
        if done:
            # One turn for all of them: at a slow rate, waiting for one turn each would never reach the last one.
            self.take_turn(plan.org_id)
            self.pacing.overdraw(plan.org_id, done - 1)
        for action, intent in zip(sent, ended, strict=True):
            mismatch = self._mismatch(plan, action, intent)
            if mismatch:
                return CanaryResult(done=done, mismatch=mismatch)
        return CanaryResult(done=done)

    def _mismatch(self, plan: Plan, action: PlannedAction, intent: IntentRow) -> str:
        """How a resource differs from the plan, as a sentence; empty if it does not."""
        wanted = action.capability.reaches
        if intent.status is not Status.DONE:
            return "" if _is_kept(intent) else f"The {action.label} ended as {intent.status}: {intent.reason}"
        try:
            seen = self.tallyfy.look(plan.org_id, action.capability.resource, action.id)
        except Rejected as error:
            # The active list does not contain it, and the archive is too large to search.
            if wanted is State.GONE and error.code is Code.UNDETERMINED:
                return ""
            raise
        state = seen.state if seen else State.GONE
        if state is not wanted:
            return f"The {action.label} was to be {wanted}, but Tallyfy shows it as {state}."
        # A list can show a fact that a single read leaves out. That is not a difference.
        planned = action.facts
        known = [(seen.name, planned.get("name")), (seen.template_id, planned.get("template_id"))] if seen else []
        if any(now != then for now, then in known if now is not None and then is not None):
            return f"The {action.label} is {state}, but its name or template is not the planned one."
        return ""


def _has_ended(intent: IntentRow) -> bool:
    """Whether the canary need not wait for it: it has ended, or a schedule enqueues it after its grace period."""
    return intent.status not in OPEN or _is_in_grace(intent)


def _is_in_grace(intent: IntentRow) -> bool:
    return intent.status is Status.WAITING and intent.code == Code.IN_GRACE


def _is_kept(intent: IntentRow) -> bool:
    kept = intent.status is Status.REJECTED and intent.code in _KEPT
    return kept or _is_in_grace(intent) or intent.status in {Status.UNCHANGED, Status.SUPERSEDED}
