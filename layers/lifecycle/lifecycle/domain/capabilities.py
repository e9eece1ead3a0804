"""The one table of what can be done to what in Tallyfy.

URLs, guards, documents and tests all come from it. What it does not list cannot be expressed.
Source: Tallyfy's API reference (archive process, delete process, activate process, archive task, archive tag) and its
public documentation of templates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from lifecycle.domain.errors import Code, Rejected


class Resource(StrEnum):
    """The kinds of things. Tallyfy's API says "run" for what people call a process, "checklist" for a template."""

    RUN = "run"
    TASK = "task"
    TAG = "tag"
    TEMPLATE = "template"

    @property
    def collection(self) -> str:
        """The path segment of this kind in Tallyfy's API."""
        return _COLLECTIONS[self]

    @property
    def label(self) -> str:
        """What a person calls it."""
        return _LABELS[self]


class Action(StrEnum):
    """What can be asked for."""

    ARCHIVE = "archive"
    RESTORE = "restore"
    DELETE = "delete"


class State(StrEnum):
    """Where a thing is in its life."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    GONE = "gone"


_COLLECTIONS: Mapping[Resource, str] = MappingProxyType(
    {Resource.RUN: "runs", Resource.TASK: "tasks", Resource.TAG: "tags", Resource.TEMPLATE: "checklists"}
)
_LABELS: Mapping[Resource, str] = MappingProxyType(
    {Resource.RUN: "process", Resource.TASK: "one-off task", Resource.TAG: "tag", Resource.TEMPLATE: "template"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One thing that can be done.

    ``reaches`` is the state it leads to. ``undo`` is the action that takes it back, ``None`` if nothing does.
    ``irreversible`` needs the right of that name on the source (a template's archive is irreversible without being
    permanent: references to it in other templates do not come back). ``permanent`` destroys, and only
    ``functions/purge`` can express it. ``archived_first`` demands an archived thing of a minimum age.
    """

    resource: Resource
    action: Action
    method: Literal["DELETE", "PUT"]
    suffix: str
    reaches: State
    undo: Action | None
    irreversible: bool
    permanent: bool
    archived_first: bool
    remark: str

    @property
    def name(self) -> str:
        """Its name in settings, documents and messages, such as ``run.archive``."""
        return f"{self.resource}.{self.action}"

    def path(self, org_id: str, thing_id: str) -> str:
        """The path below the API's base URL. Both ids must have been checked: see ``lifecycle.domain.commands.Id``."""
        return f"/organizations/{org_id}/{self.resource.collection}/{thing_id}{self.suffix}"


def _archive(resource: Resource, remark: str, *, irreversible: bool = False) -> Capability:
    return Capability(
        resource=resource,
        action=Action.ARCHIVE,
        method="DELETE",
        suffix="",
        reaches=State.ARCHIVED,
        undo=Action.RESTORE,
        irreversible=irreversible,
        permanent=False,
        archived_first=False,
        remark=remark,
    )


def _restore(resource: Resource, suffix: str, remark: str) -> Capability:
    return Capability(
        resource=resource,
        action=Action.RESTORE,
        method="PUT",
        suffix=suffix,
        reaches=State.ACTIVE,
        undo=Action.ARCHIVE,
        irreversible=False,
        permanent=False,
        archived_first=False,
        remark=remark,
    )


def _delete(resource: Resource, suffix: str, remark: str, *, archived_first: bool = True) -> Capability:
    return Capability(
        resource=resource,
        action=Action.DELETE,
        method="DELETE",
        suffix=suffix,
        reaches=State.GONE,
        undo=None,
        irreversible=True,
        permanent=True,
        archived_first=archived_first,
        remark=remark,
    )


TABLE: tuple[Capability, ...] = (
    _archive(Resource.RUN, "Its tasks, comments and files go with it and come back with it."),
    _restore(Resource.RUN, "/activate", "It returns with the status it had."),
    _delete(Resource.RUN, "/delete", "Nothing brings it back."),
    _archive(Resource.TASK, "Only a one-off task; a task of a process goes with its process."),
    _restore(Resource.TASK, "/restore", "Only a one-off task."),
    _delete(Resource.TASK, "/delete", "Nothing brings it back. Only a one-off task."),
    _archive(
        Resource.TEMPLATE,
        "It can be restored, but references removed from other templates do not come back.",
        irreversible=True,
    ),
    _restore(Resource.TEMPLATE, "/restore", "References removed from other templates stay removed."),
    _delete(Resource.TEMPLATE, "/delete", "Nothing brings it back."),
    _delete(
        Resource.TAG,
        "",
        "Tallyfy has no archived tags: the call that older pages name 'archive tag' deletes it everywhere.",
        archived_first=False,
    ),
)

ORDINARY: frozenset[Capability] = frozenset(c for c in TABLE if not c.permanent)
PERMANENT: frozenset[Capability] = frozenset(c for c in TABLE if c.permanent)

_BY_NAME: Mapping[tuple[Resource, Action], Capability] = MappingProxyType({(c.resource, c.action): c for c in TABLE})

ALSO_SAID: Mapping[tuple[Resource, Action], Action] = MappingProxyType({(Resource.TAG, Action.ARCHIVE): Action.DELETE})
"""Other words for a capability. Whoever says them gets the capability's guards, not those of the word."""

REFUSED: Mapping[tuple[Resource, Action], str] = MappingProxyType(
    {(Resource.TAG, Action.RESTORE): "Tallyfy deletes tags for good, so none can be restored. Create the tag again."}
)


def capability(resource: Resource, action: Action) -> Capability:
    """Find what is asked for, or raise ``Rejected`` with the reason why it does not exist."""
    asked = (resource, action)
    if asked in REFUSED:
        raise Rejected(Code.NOT_POSSIBLE, REFUSED[asked])
    return _BY_NAME[resource, ALSO_SAID.get(asked, action)]
