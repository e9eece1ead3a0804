"""What the ledger remembers of a resource around a call, as JSON in the intent's ``evidence``.

A later attempt compares it with the resource to see whether somebody changed it. An undo compares it with what came
back.
"""

import json

from lifecycle.domain.resources import ResourceSnapshot

_UPDATED = "last_updated"
_COUNTED = ("tasks", "comments")


def counts_of(seen: ResourceSnapshot | None) -> str:
    """The counts and the time of the last change, as JSON; empty if nothing is known.

    >>> counts_of(ResourceSnapshot(resource=Resource.RUN, id="a" * 32, state=State.ACTIVE, tasks=3))
    '{"tasks": 3}'
    """
    if seen is None:
        return ""
    updated = seen.last_updated.isoformat() if seen.last_updated else None
    facts = {"tasks": seen.tasks, "comments": seen.comments, _UPDATED: updated}
    known = {name: fact for name, fact in facts.items() if fact is not None}
    return json.dumps(known) if known else ""


def was_changed_since(evidence: str, seen: ResourceSnapshot | None) -> bool:
    """Whether a resource was changed after the attempt that left this evidence. ``False`` if that is unknown."""
    before = json.loads(evidence).get(_UPDATED) if evidence else None
    now = seen.last_updated if seen is not None else None
    return before is not None and now is not None and before != now.isoformat()


def joined(*evidence: str) -> str:
    """Several pieces of evidence as one."""
    facts = {name: value for text in evidence if text for name, value in json.loads(text).items()}
    return json.dumps(facts) if facts else ""


def lost_between(before: str, after: str) -> str | None:
    """What is missing after a restore, as a clause; ``None`` if nothing is missing. More than before is not a loss."""
    old, new = json.loads(before or "{}"), json.loads(after or "{}")
    lost = [
        f"{old[name]} {name} were archived and {new[name]} came back"
        for name in _COUNTED
        if name in old and name in new and new[name] < old[name]
    ]
    return " and ".join(lost) or None
