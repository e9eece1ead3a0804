"""The commands of a plan: one for each thing it acts on, named after the plan and the thing.

The same plan always gives the same intent ids, so a command that is sent twice is carried out once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle.aws.sqs import Queue
from lifecycle.deletion.safeguards import name_in_plan
from lifecycle.domain.commands import SWEEP, Command, Expect, one_line
from lifecycle.domain.intent_ids import intent_id
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.application import Application
from lifecycle.plans.plan_file import Entry, Plan
from lifecycle.plans.plan_lines import capability_of

_MOST_NAMES = 100
"""A command can expect at most this many tags or owners."""
_VALID_FOR = timedelta(days=2)
"""How long a command of a plan may wait. After that the next sweep decides again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCommands:
    """Makes commands and sends them. What only the purge function may do goes to its own queue."""

    bulk: Queue
    purge: Queue
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]

    def send(self, plan: Plan, entries: Sequence[Entry], state: Application) -> None:
        """Enqueue the command of each entry. Raises ``Retryable`` if SQS does not take them all."""
        commands = [(self._command(plan, entry, state), capability_of(entry).permanent) for entry in entries]
        for queue, wanted in ((self.bulk, False), (self.purge, True)):
            bodies = [command.to_json() for command, permanent in commands if permanent is wanted]
            if bodies:
                queue.send_all(bodies)

    def intent_id(self, plan: Plan, entry: Entry) -> str:
        """The id of the intent that does to a thing what the plan says."""
        return intent_id(self.id_key(), SWEEP, name_in_plan(plan.hash, capability_of(entry), entry.thing.id))

    def _command(self, plan: Plan, entry: Entry, state: Application) -> Command:
        now = self.clock()
        wanted = capability_of(entry)
        return Command(
            action=wanted.action,
            resource=wanted.resource,
            org_id=plan.org_id,
            id=entry.thing.id,
            requested_by=state.requested_by,
            source=state.source,
            reason=one_line(entry.decision.reason, most=500),
            issued_at=now,
            not_after=now + _VALID_FOR,
            intent_id=self.intent_id(plan, entry),
            plan=plan.hash,
            expect=expectation(entry.thing),
        )


def expectation(thing: ResourceSnapshot) -> Expect | None:
    """The facts that must still hold when the command runs. Facts that are unknown, or not one line, are left out."""
    facts: dict[str, object] = {
        name: getattr(thing, name)
        for name in ("completed_at", "archived_at", "last_updated")
        if getattr(thing, name) is not None
    }
    for name in ("status", "name"):
        text = getattr(thing, name)
        if text is not None and _is_plain(text):
            facts[name] = text
    for name in ("tags", "owners"):
        several = getattr(thing, name)
        if several is not None and len(several) <= _MOST_NAMES and all(_is_plain(text) for text in several):
            facts[name] = tuple(sorted(several))
    return Expect.model_validate(facts) if facts else None


def _is_plain(text: str) -> bool:
    return one_line(text, most=200) == text
