"""A command as the ledger records it, and how it can end."""

from dataclasses import dataclass
from enum import StrEnum

from lifecycle.domain.errors import Code


class Status(StrEnum):
    """Where an intent is. ``ACCEPTED``: no worker has started it. ``IN_PROGRESS``: a worker is making its call."""

    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting"
    DONE = "done"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    DEAD_LETTERED = "dead_lettered"


OPEN = frozenset({Status.ACCEPTED, Status.IN_PROGRESS, Status.WAITING})


DEAD = frozenset({Status.REJECTED, Status.EXPIRED, Status.DEAD_LETTERED})
"""Ended without the requested effect: it goes to the dead-letter queue, and a redrive by an operator reopens it."""


class OutboxEntry(StrEnum):
    """What must still be delivered after an outcome was recorded. Delivered at least once."""

    DEAD_LETTER = "dead_letter"
    ANNOUNCEMENT = "announcement"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRow:
    """What the ledger records of a command. ``attempts`` counts claims since the last redrive."""

    intent_id: str
    meaning: str
    action: str
    resource: str
    org_id: str
    id: str
    source: str
    requested_by: str
    why: str
    issued_at: int
    not_after: int = 0
    due_at: int = 0
    """When a schedule will enqueue it; 0 if it was enqueued at once."""
    status: Status = Status.WAITING
    attempts: int = 0
    redrive: int = 0
    lease_until: int = 0
    code: str = ""
    reason: str = ""
    concluded_at: int = 0
    pending: tuple[OutboxEntry, ...] = ()
    announced_in: str = ""
    """The batch that announces the outcome. Its row says whether it did, see ``execution/announcement_batch.py``."""
    maybe_acted: bool = False
    """An earlier attempt sent its call and the effect is unknown, so the resource may already have changed."""
    evidence: str = ""
    """JSON of what only the answer of Tallyfy shows, such as a template's ``deleted_references``."""
    waits_until: int = 0
    """While it waits: the latest end of the wait (milliseconds, UTC); 0 if unknown."""
    waits_for: str = ""
    """For a command that waits for an approval: the hash of the approval request."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a command waits for: a moment (milliseconds, UTC), and the request for approval of this hash, if any."""

    until: int
    approval: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an intent ended, and why. ``evidence``: see ``IntentRow``."""

    status: Status
    code: Code
    reason: str
    evidence: str = ""
