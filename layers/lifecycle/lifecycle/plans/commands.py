"""The commands of a plan: one for each resource that it acts on, named after the plan and the resource.

The same plan always gives the same intent ids, so a command that is sent twice is carried out once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lifecycle.aws.sqs import Queue
from lifecycle.deletion.safeguards import name_in_plan
from lifecycle.domain.commands import SWEEP, one_line
from lifecycle.domain.intent_ids import intent_id
from lifecycle.plans.application import Application
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_lines import PlannedAction

_MOST_NAMES = 100
"""A command can expect at most this many tags or owners."""
_MOST_REASON = 500
_MOST_TEXT = 200
_VALID_FOR = timedelta(days=2)
"""How long a command of a plan may wait. After that the next sweep decides again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCommands:
    """Makes commands and sends them. Permanent deletes go to the queue of the purge function."""

    bulk: Queue
    purge: Queue
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]

    def send(self, plan: Plan, actions: Sequence[PlannedAction], state: Application) -> None:
        """Enqueue the command of each action. Raises ``Retryable`` if SQS does not take them all."""
        bodies = [(self._body(plan, action, state), action.capability.permanent) for action in actions]
        for queue, wanted in ((self.bulk, False), (self.purge, True)):
            chosen = [body for body, permanent in bodies if permanent is wanted]
            if chosen:
                queue.send_all(chosen)

    def intent_id(self, plan: Plan, action: PlannedAction) -> str:
        """The id of the intent that carries out a line of the plan."""
        return intent_id(self.id_key(), SWEEP, name_in_plan(plan.hash, action.capability, action.id))

    def _body(self, plan: Plan, action: PlannedAction, state: Application) -> str:
        """The command as JSON, as ``Command.to_json`` writes it. A property test compares the two.

        Building the model would validate every fact a second time: 45 of 66 µs for each resource.
        """
        now = self.clock()
        expect = expectation(action.facts)
        body = {
            "action": action.capability.action,
            "resource": action.capability.resource,
            "org_id": plan.org_id,
            "id": action.id,
            **({"expect": expect} if expect else {}),
            "version": 1,
            "requested_by": state.requested_by,
            "source": state.source,
            "reason": one_line(action.facts.get("reason", ""), most=_MOST_REASON).rstrip(),
            "issued_at": _utc(now),
            "not_after": _utc(now + _VALID_FOR),
            "intent_id": self.intent_id(plan, action),
            "plan": plan.hash,
        }
        return json.dumps(body)


def expectation(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that must still hold when the command runs. Facts that are unknown, or not one line, are left out."""
    expected = {name: facts[name] for name in ("name", "status") if name in facts and _is_plain(facts[name])}
    expected |= {name: facts[name] for name in ("completed_at", "archived_at", "last_updated") if name in facts}
    for name in ("tags", "owners"):
        several = facts.get(name)
        if several is not None and len(several) <= _MOST_NAMES and all(map(_is_plain, several)):
            expected[name] = several
    return expected


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _is_plain(text: str) -> bool:
    return one_line(text, most=_MOST_TEXT) == text
