"""The state of a simulated Tallyfy and its transitions. Pure: no I/O, no permissions, and time is an argument."""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Final, Literal, override

type Role = Literal["admin", "standard", "light"]
type Verb = Literal[
    "archived", "unarchived", "deleted", "created", "updated", "completed", "commented", "comment-deleted", "uploaded"
]

IDENTIFIER: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class Member:
    """A person or a service user, with their token."""

    id: int
    name: str
    email: str
    role: Role
    token: str


@dataclass(slots=True)
class Thread:
    """A comment on a task, a process or a template."""

    id: str
    content: str
    deleted_at: datetime | None = None


@dataclass(slots=True)
class Asset:
    """A file on a task. With a `size` instead of content, its bytes are generated in pieces as they are read."""

    id: str
    filename: str
    content: str = ""
    size: int | None = None
    deleted_at: datetime | None = None

    @property
    def length(self) -> int:
        """The size in bytes."""
        return len(self.content.encode()) if self.size is None else self.size

    def open(self) -> BinaryIO:
        """The bytes, the same in each read."""
        return io.BytesIO(self.content.encode()) if self.size is None else io.BufferedReader(_Drawn(self.id, self.size))


class _Drawn(io.RawIOBase):
    """Return `size` bytes that depend only on a name."""

    def __init__(self, name: str, size: int) -> None:
        self._block = hashlib.sha256(name.encode()).digest() * 2048
        self._left = size

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        taken = min(len(buffer), self._left, len(self._block))
        buffer[:taken] = self._block[:taken]
        self._left -= taken
        return taken


@dataclass(slots=True)
class Task:
    """A one-off task (`run_id` is None) or a task of a run."""

    id: str
    title: str
    created_at: datetime
    run_id: str | None = None
    status: str = "not-started"
    owners: list[int] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    completed_at: datetime | None = None
    deadline: datetime | None = None
    archived_at: datetime | None = None
    threads: list[Thread] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)

    def archive(self, now: datetime) -> None:
        """Soft-delete the task with its threads and assets."""
        self._mark(now)

    def restore(self) -> None:
        """Restore the task with its threads and assets."""
        self._mark(None)

    def _mark(self, moment: datetime | None) -> None:
        self.archived_at = moment
        for thread in self.threads:
            thread.deleted_at = moment
        for asset in self.assets:
            asset.deleted_at = moment


@dataclass(slots=True)
class Run:
    """A process."""

    id: str
    name: str
    created_at: datetime
    last_updated: datetime
    status: str = "active"
    checklist_id: str | None = None
    owner_id: int | None = None
    started_by: int | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    archived_at: datetime | None = None
    due_date: datetime | None = None
    is_public: bool = False
    tags: set[str] = field(default_factory=set)
    form_fields: dict[str, str] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    """Comments on the process itself."""
    status_before: str | None = None

    def archive(self, now: datetime) -> None:
        """Archive the run and soft-delete its tasks, comments and files."""
        self.status_before, self.status = self.status, "archived"
        self.archived_at = self.last_updated = now
        for thread in self.threads:
            thread.deleted_at = now
        for task in self.tasks:
            task.archive(now)

    def restore(self, now: datetime) -> None:
        """Restore the run, its status, and its tasks, comments and files."""
        self.status, self.status_before = self.status_before or "active", None
        self.archived_at, self.last_updated = None, now
        for thread in self.threads:
            thread.deleted_at = None
        for task in self.tasks:
            task.restore()


@dataclass(slots=True)
class Tag:
    """A label on runs, templates and tasks."""

    id: str
    title: str
    created_at: datetime
    color: str = "#2f80ed"
    auto_generated: bool = False
    deleted_at: datetime | None = None


@dataclass(slots=True)
class Template:
    """A checklist, or blueprint; `references` names the templates that it launches."""

    id: str
    title: str
    created_at: datetime
    last_updated: datetime
    archived_at: datetime | None = None
    tags: set[str] = field(default_factory=set)
    references: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    owner_id: int | None = None
    threads: list[Thread] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Watcher:
    """A registration of the organization's webhook."""

    id: int
    user_id: int
    url: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One line of the activity feed."""

    verb: Verb
    entity_type: str
    entity_id: str
    actor_id: int
    created_at: datetime


@dataclass(slots=True)
class Organization:
    """A tenant and everything it owns. `gone` holds the ids of permanently deleted objects."""

    id: str
    name: str
    auto_archive: bool = False
    auto_archive_processes_after: int | None = None
    members: dict[int, Member] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)
    templates: dict[str, Template] = field(default_factory=dict)
    feed: list[FeedEntry] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    watchers: dict[int, Watcher] = field(default_factory=dict)
    watcher_count: int = 0
    """How many were ever registered."""

    def add_run(self, run: Run) -> None:
        """Add or replace a run, with its tasks."""
        for task in self.runs[run.id].tasks if run.id in self.runs else ():
            self.tasks.pop(task.id, None)
        self.runs[run.id] = run
        self.tasks.update((task.id, task) for task in run.tasks)

    def delete_run(self, run: Run) -> None:
        """Permanently remove a run and its tasks."""
        del self.runs[run.id]
        for task in run.tasks:
            self.tasks.pop(task.id, None)
        self.gone.update((run.id, *(task.id for task in run.tasks)))

    def delete_task(self, task: Task) -> None:
        """Permanently remove a one-off task."""
        del self.tasks[task.id]
        self.gone.add(task.id)

    def delete_tag(self, tag: Tag, now: datetime) -> None:
        """Mark a tag as deleted and remove it from everything that carried it. Neither can be undone."""
        tag.deleted_at = now
        self.gone.add(tag.id)
        shelves: tuple[Mapping[str, Run | Template | Task], ...] = (self.runs, self.templates, self.tasks)
        for shelf in shelves:
            for carrier in shelf.values():
                carrier.tags.discard(tag.id)

    def archive_template(self, template: Template, now: datetime) -> list[Template]:
        """Archive a template. Return the templates that lost their reference to it."""
        template.archived_at = template.last_updated = now
        return self._drop_references(template, now)

    def restore_template(self, template: Template, now: datetime) -> None:
        """Restore a template. References to it from other templates stay lost."""
        template.archived_at, template.last_updated = None, now

    def delete_template(self, template: Template, now: datetime) -> list[Template]:
        """Permanently remove a template. Return the templates that lost their reference to it."""
        del self.templates[template.id]
        self.gone.add(template.id)
        return self._drop_references(template, now)

    def _drop_references(self, template: Template, now: datetime) -> list[Template]:
        losers = [other for other in self.templates.values() if template.id in other.references]
        for other in losers:
            other.references = [kept for kept in other.references if kept != template.id]
            other.last_updated = now
        return losers


@dataclass(slots=True)
class TallyfyState:
    """Every organization of one simulated Tallyfy."""

    organizations: dict[str, Organization] = field(default_factory=dict)

    @property
    def only(self) -> Organization:
        """The organization, if there is exactly one, as in most tests."""
        (organization,) = self.organizations.values()
        return organization

    def member(self, token: str | None) -> tuple[Organization, Member] | None:
        """Find the member of a token. A member of several organizations has a token in each."""
        for organization in self.organizations.values():
            for member in organization.members.values():
                if member.token == token:
                    return organization, member
        return None

    def rotate_token(self, organization_id: str, member_id: int, token: str) -> None:
        """Give a member a new token. The old one stops working at once. Raises KeyError for an unknown member."""
        self.organizations[organization_id].members[member_id].token = token


def live[T: (Run, Template, Task)](things: Mapping[str, T], archived: Literal["no", "only", "both"]) -> Iterable[T]:
    """Select the objects that are archived, or those that are not."""
    if archived == "both":
        return things.values()
    return [thing for thing in things.values() if (thing.archived_at is not None) is (archived == "only")]
