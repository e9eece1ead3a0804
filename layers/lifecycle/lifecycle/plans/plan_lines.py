"""The lines of a plan that act on something: by half, by age, in the order of the file."""

import heapq
from collections.abc import Iterator
from pathlib import Path

from lifecycle.domain.capabilities import Capability, capability
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.application import PlanPart
from lifecycle.plans.plan_file import Entry, entries


def due(lines: Path, part: PlanPart, first: int = 0) -> Iterator[Entry]:
    """What a half of a plan acts on, in the order of its lines.

    With ``first`` only those of them that are among the oldest so many things of the whole plan.
    """
    meant = _oldest(lines, first) if first else None
    for number, entry in enumerate(_acting(lines)):
        if capability_of(entry).irreversible is (part is PlanPart.IRREVERSIBLE) and (meant is None or number in meant):
            yield entry


def count_due(lines: Path, part: PlanPart, first: int = 0) -> int:
    """How many things ``due`` gives."""
    return sum(1 for _ in due(lines, part, first))


def undoable(lines: Path) -> Iterator[Entry]:
    """What can be undone after it was applied, at least in part, as an archived template can."""
    return (entry for entry in _acting(lines) if capability_of(entry).undo is not None)


def capability_of(entry: Entry) -> Capability:
    """What the plan does to this thing. Raises ``ValueError`` for a thing that it keeps."""
    if entry.decision.action is None:
        msg = f"the plan keeps {label(entry.thing)}"
        raise ValueError(msg)
    return capability(entry.thing.resource, entry.decision.action)


def label(thing: ResourceSnapshot) -> str:
    """A thing as messages name it, such as ``process 0a1b…``."""
    return f"{thing.resource.label} {thing.id}"


def _acting(lines: Path) -> Iterator[Entry]:
    with lines.open("rb") as file:
        yield from (entry for entry in entries(file) if entry.decision.action is not None)


def _oldest(lines: Path, most: int) -> frozenset[int]:
    """The positions of the oldest things among all that the plan acts on. The same lines give the same positions."""
    aged = ((_age_key(entry.thing), number) for number, entry in enumerate(_acting(lines)))
    return frozenset(number for _, number in heapq.nsmallest(most, aged))


def _age_key(thing: ResourceSnapshot) -> float:
    """When a thing ended, as plans and reports count ages. A thing without a date counts as the youngest."""
    since = thing.archived_at or thing.completed_at or thing.created_at
    return since.timestamp() if since else float("inf")
