"""The kinds of resources in Tallyfy: one declaration each, read by everything that depends on the kind.

To add a kind, declare it here and name it in ``lifecycle.domain.capabilities.Resource``. Parsing, queries, URLs, policy
conditions, holds, messages and the command line follow from the declaration. If the kind can be deleted for good,
``lifecycle.deletion.exporter`` has to know what its export consists of.
Source: Tallyfy's API reference (2026-08).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

type Fact = Literal[
    "name",
    "status",
    "created_at",
    "completed_at",
    "archived_at",
    "last_updated",
    "template_id",
    "owners",
    "tags",
    "run_id",
    "one_off",
    "tasks",
    "comments",
    "has_open_issue",
    "uses",
]
"""A field of ``lifecycle.domain.resources.ResourceSnapshot`` that only some kinds have."""

type Query = Mapping[str, str]
_NO_QUERY: Final[Query] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How one action is called: ``suffix`` follows the id in the URL. ``remark`` tells a person what it does."""

    suffix: str = ""
    remark: str
    irreversible: bool = False
    """Needs the right of that name on the source. A delete always does."""
    archived_first: bool = False
    """Only for what has been archived for a minimum time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """What is the same for all resources of one kind."""

    name: str
    """In commands, files, rows and events."""
    label: str
    """In messages to people, such as "one-off task"."""
    plural: str
    other_names: tuple[str, ...] = ()
    """Words that commands, files and the command line accept for ``name``."""
    collection: str
    """The path segment in Tallyfy's API."""
    page: str | None = None
    """The path segment of its page in Tallyfy's web application; ``None`` if that is not known for sure."""
    facts: frozenset[Fact]
    """What Tallyfy shows of it."""
    only_when_read: frozenset[Fact] = frozenset()
    """Facts that ``read_query`` asks for and ``list_query`` does not: they are unknown in a list."""
    never_shows: tuple[Fact, ...] = ()
    """Facts that prove an object to be of another kind."""
    findable: bool = False
    """Whether a command may name it by ``find`` instead of by id."""
    read_query: Query
    """For reading one."""
    list_query: Query
    """For every page of a list."""
    oldest_first: Query = field(default=_NO_QUERY)
    """Sorts a list so that new resources come at its end. Empty if Tallyfy lists it in that order anyway."""
    newest_first: Query = field(default=_NO_QUERY)
    archive: Call | None = None
    restore: Call | None = None
    delete: Call | None = None
    archive_means_delete: bool = False
    """Whether "archive" is another word for its delete. The delete's safeguards apply then."""
    no_restore: str = ""
    """Why it cannot be restored, as a sentence."""


PROCESS: Final = ResourceKind(
    name="run",
    label="process",
    plural="processes",
    other_names=("process",),
    collection="runs",
    page="process",
    facts=frozenset(
        {
            *("name", "status", "created_at", "completed_at", "archived_at", "last_updated", "template_id", "owners"),
            *("tags", "tasks", "comments", "has_open_issue"),
        }
    ),
    only_when_read=frozenset({"tasks", "comments"}),
    never_shows=("run_id", "one_off"),
    findable=True,
    # Tasks and comments are counted: what a restore brings back is compared with what was archived.
    read_query={"with": "tags,threads,tasks,tasks.threads"},
    list_query={"with": "tags"},
    oldest_first={"sort": "created_at"},
    newest_first={"sort": "-created_at"},
    archive=Call(remark="Its tasks, comments and files go with it and come back with it."),
    restore=Call(suffix="/activate", remark="It returns with the status it had."),
    delete=Call(suffix="/delete", remark="Nothing brings it back.", archived_first=True),
)
TASK: Final = ResourceKind(
    name="task",
    label="one-off task",
    plural="one-off tasks",
    collection="tasks",
    facts=frozenset(
        {
            *("name", "status", "created_at", "completed_at", "archived_at", "owners", "tags", "has_open_issue"),
            *("run_id", "one_off"),
        }
    ),
    read_query={"with": "tags"},
    list_query={"with": "tags", "is_oneoff": "true"},
    archive=Call(remark="Only a one-off task; a task of a process goes with its process."),
    restore=Call(suffix="/restore", remark="Only a one-off task."),
    delete=Call(suffix="/delete", remark="Nothing brings it back. Only a one-off task.", archived_first=True),
)
TEMPLATE: Final = ResourceKind(
    name="template",
    label="template",
    plural="templates",
    other_names=("checklist", "blueprint"),
    collection="checklists",
    facts=frozenset({"name", "created_at", "archived_at", "owners", "tags"}),
    never_shows=("run_id", "one_off", "template_id"),
    read_query={"with": "tags"},
    list_query={"with": "tags"},
    oldest_first={"sort_by": "created_at"},
    archive=Call(
        remark="It can be restored, but references removed from other templates do not come back.",
        irreversible=True,
    ),
    restore=Call(suffix="/restore", remark="References removed from other templates stay removed."),
    delete=Call(suffix="/delete", remark="Nothing brings it back.", archived_first=True),
)
TAG: Final = ResourceKind(
    name="tag",
    label="tag",
    plural="tags",
    collection="tags",
    facts=frozenset({"name", "created_at", "uses"}),
    never_shows=("run_id", "one_off", "template_id"),
    read_query={"with": "statistics"},
    list_query={"with": "statistics"},
    delete=Call(
        remark="Tallyfy has no archived tags: the call that older pages name 'archive tag' deletes it everywhere."
    ),
    archive_means_delete=True,
    no_restore="Tallyfy deletes tags for good, so none can be restored. Create the tag again.",
)

KINDS: Final[Mapping[str, ResourceKind]] = MappingProxyType(
    {kind.name: kind for kind in (PROCESS, TASK, TEMPLATE, TAG)}
)
"""Every kind, by its name. The order is that of the table of capabilities."""

OTHER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {other: kind.name for kind in KINDS.values() for other in kind.other_names}
)
"""Other words for a kind, such as "process", and the name each stands for."""

WORDS: Final[tuple[str, ...]] = tuple(word for kind in KINDS.values() for word in (*kind.other_names, kind.name))
"""Every word that names a kind."""
