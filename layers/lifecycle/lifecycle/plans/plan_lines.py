"""The lines of a plan that act on something: by half, by age, in the order of the file.

A line stays JSON here and is not validated again: its hash was checked when the plan was opened, and a worker validates
the command that is made of it.
"""

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pydantic_core

from lifecycle.domain.capabilities import Action, Capability, Resource, capability
from lifecycle.plans.application import PlanPart
from lifecycle.plans.plan_file import entry_lines, open_lines

_ACTS = b'"action": "'
"""Occurs in every line with an action. Inside a text, its quotes would be escaped."""
_DATES = ("archived_at", "completed_at", "created_at")


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """A line with an action: its JSON and the action."""

    facts: Mapping[str, Any]
    capability: Capability

    @classmethod
    def parse(cls, line: bytes) -> Self | None:
        """Read a line; ``None`` if the plan keeps this resource. Raises ``ValueError`` for an invalid line."""
        if _ACTS not in line:
            return None
        facts = parse_json(line)
        if "action" not in facts:
            return None
        return cls(facts, capability(Resource(facts["resource"]), Action(facts["action"])))

    @property
    def id(self) -> str:
        """The resource's id in Tallyfy."""
        return str(self.facts["id"])

    @property
    def label(self) -> str:
        """The resource as messages name it, such as ``process 0a1b…``."""
        return f"{self.capability.resource.label} {self.id}"

    @property
    def age_key(self) -> float:
        """When the resource ended, as plans and reports count ages. Without a date, it counts as the youngest."""
        since = next((self.facts[name] for name in _DATES if self.facts.get(name)), None)
        return datetime.fromisoformat(since).timestamp() if since else float("inf")


def due(lines: Path, part: PlanPart, first: int = 0) -> Iterator[PlannedAction]:
    """The actions of a half of a plan, in the order of its lines.

    With ``first``, only those among this many of the oldest resources of the whole plan.
    """
    chosen = _oldest(lines, first) if first else None
    irreversible = part is PlanPart.IRREVERSIBLE
    for number, action in enumerate(_acting(lines)):
        if action.capability.irreversible is irreversible and (chosen is None or number in chosen):
            yield action


def count_due(lines: Path, part: PlanPart, first: int = 0) -> int:
    """How many actions ``due`` returns."""
    return sum(1 for _ in due(lines, part, first))


def undoable(lines: Path) -> Iterator[PlannedAction]:
    """The actions that can be undone at least in part after they were applied, such as archiving a template."""
    return (action for action in _acting(lines) if action.capability.undo is not None)


def parse_json(line: bytes) -> dict[str, Any]:
    """Read a line as JSON. Raises ``ValueError`` if it is not a JSON object."""
    try:
        facts = pydantic_core.from_json(line)
    except ValueError:
        facts = json.loads(line)  # This reader alone takes half a character, which Tallyfy's JSON can contain.
    if not isinstance(facts, dict):
        msg = "this is not a line of a plan"
        raise ValueError(msg)  # noqa: TRY004 - a line is valid or not, whatever its type
    return facts


def _acting(lines: Path) -> Iterator[PlannedAction]:
    with open_lines(lines) as file:
        for line in entry_lines(file):
            action = PlannedAction.parse(line)
            if action is not None:
                yield action


def _oldest(lines: Path, most: int) -> frozenset[int]:
    """The positions of the oldest resources among all actions of the plan. The same lines give the same positions."""
    aged = ((action.age_key, number) for number, action in enumerate(_acting(lines)))
    return frozenset(number for _, number in heapq.nsmallest(most, aged))
