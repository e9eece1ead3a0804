"""A resource as Tallyfy showed it, reduced to the facts that decisions need."""

from dataclasses import dataclass
from datetime import datetime

from lifecycle.domain.capabilities import Resource, State

STATUSES = (
    *("active", "complete", "problem", "issue", "improvement", "delayed"),
    *("not-started", "in-progress", "expired"),
)
"""Tallyfy's statuses of processes and tasks (API reference, 2026-08). Any other word is unknown."""


def known_status(status: str | None) -> str | None:
    """The status as rules name it; ``None`` if it is missing, blank or unknown."""
    plain = (status or "").strip().lower()
    plain = "complete" if plain == "completed" else plain
    return plain if plain in STATUSES else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSnapshot:
    """A process, one-off task, tag or template as Tallyfy showed it. Times are UTC; ``None`` means "not known"."""

    resource: Resource
    id: str
    state: State
    name: str | None = None
    status: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    archived_at: datetime | None = None
    last_updated: datetime | None = None
    template_id: str | None = None
    owners: frozenset[str] | None = None
    """User ids as decimal text: the owner of a process, the assignees of a task."""
    tags: frozenset[str] | None = None
    """Titles of its tags, if the call asked for them."""
    run_id: str | None = None
    """For a task: the process it belongs to. ``None`` for a one-off task."""
    one_off: bool | None = None
    """For a task: whether Tallyfy calls it a one-off task. ``None`` if Tallyfy does not say."""
    tasks: int | None = None
    """For a process: how many tasks it shows. ``None`` if not asked for or not shown."""
    comments: int | None = None
    """For a process: how many comments its tasks show."""
    has_open_issue: bool | None = None
    """For a process: somebody has an open issue on it. ``None`` if Tallyfy does not say."""
    uses: int | None = None
    """For a tag: how many templates and processes carry it, archived ones included. ``None``: Tallyfy did not say."""
