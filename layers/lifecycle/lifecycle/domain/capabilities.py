"""The table of what can be done to which kind of resource, made from ``lifecycle.domain.kinds``.

URLs, guards, documents and tests come from this table. What it does not list cannot be expressed.
Source: Tallyfy's API reference (archive process, delete process, activate process, archive task, archive tag) and its
public documentation of templates.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.kinds import KINDS, OTHER_NAMES, Fact, ResourceKind


class Resource(StrEnum):
    """The kinds of resources. Tallyfy's API says "run" for a process and "checklist" for a template."""

    RUN = "run"
    TASK = "task"
    TAG = "tag"
    TEMPLATE = "template"

    @classmethod
    def named(cls, word: str) -> "Resource | None":
        """The kind that a person means, such as "process" or "run"; ``None`` if there is no such kind."""
        name = word.strip().lower()
        name = OTHER_NAMES.get(name, name)
        return cls(name) if name in KINDS else None

    @property
    def kind(self) -> ResourceKind:
        """The declaration of this kind."""
        return KINDS[self.value]

    @property
    def collection(self) -> str:
        """The path segment of this kind in Tallyfy's API."""
        return self.kind.collection

    @property
    def label(self) -> str:
        """The name that people read, such as "process"."""
        return self.kind.label

    def shows(self, fact: Fact) -> bool:
        """Whether Tallyfy shows this fact of the kind."""
        return fact in self.kind.facts

    def lists(self, fact: Fact) -> bool:
        """Whether a list shows this fact. Plans use lists: a fact that only a single read shows is unknown there."""
        return self.shows(fact) and fact not in self.kind.only_when_read


class Action(StrEnum):
    """What a command can ask for."""

    ARCHIVE = "archive"
    RESTORE = "restore"
    DELETE = "delete"


class State(StrEnum):
    """Where a resource is in its life."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One action on one kind of resource.

    ``reaches`` is the state that it leads to. ``undo`` is the action that reverses it; ``None`` if none does. An
    ``irreversible`` capability needs the right of that name on the source. Archiving a template is irreversible without
    being permanent: references to it in other templates do not come back. A ``permanent`` capability destroys, and only
    ``functions/purge`` can express it. ``archived_first``: the resource must have been archived for a minimum time.
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


def _capabilities(resource: Resource) -> Iterator[Capability]:
    """The capabilities of one kind."""
    kind = resource.kind
    calls = {Action.ARCHIVE: kind.archive, Action.RESTORE: kind.restore, Action.DELETE: kind.delete}
    for action, call in calls.items():
        if call is not None:
            undo = _UNDO.get(action)
            yield Capability(
                resource=resource,
                action=action,
                method=_METHODS[action],
                suffix=call.suffix,
                reaches=_REACHES[action],
                undo=undo if undo is not None and calls[undo] is not None else None,
                irreversible=call.irreversible or action is Action.DELETE,
                permanent=action is Action.DELETE,
                archived_first=call.archived_first,
                remark=call.remark,
            )


_METHODS: Mapping[Action, Literal["DELETE", "PUT"]] = MappingProxyType(
    {Action.ARCHIVE: "DELETE", Action.RESTORE: "PUT", Action.DELETE: "DELETE"}
)
_REACHES: Mapping[Action, State] = MappingProxyType(
    {Action.ARCHIVE: State.ARCHIVED, Action.RESTORE: State.ACTIVE, Action.DELETE: State.GONE}
)
_UNDO: Mapping[Action, Action] = MappingProxyType({Action.ARCHIVE: Action.RESTORE, Action.RESTORE: Action.ARCHIVE})

TABLE: tuple[Capability, ...] = tuple(found for name in KINDS for found in _capabilities(Resource(name)))

ORDINARY: frozenset[Capability] = frozenset(c for c in TABLE if not c.permanent)
PERMANENT: frozenset[Capability] = frozenset(c for c in TABLE if c.permanent)

_BY_NAME: Mapping[tuple[Resource, Action], Capability] = MappingProxyType({(c.resource, c.action): c for c in TABLE})

_ALIASES: Mapping[tuple[Resource, Action], Action] = MappingProxyType(
    {(Resource(kind.name), Action.ARCHIVE): Action.DELETE for kind in KINDS.values() if kind.archive_means_delete}
)
"""Other names for a capability. Its guards apply under each of its names."""


def capability(resource: Resource, action: Action) -> Capability:
    """The capability for an action on a kind. Raises ``Rejected`` with the reason if Tallyfy has no such call."""
    found = _BY_NAME.get((resource, _ALIASES.get((resource, action), action)))
    if found is None:
        reason = resource.kind.no_restore if action is Action.RESTORE else ""
        raise Rejected(Code.NOT_POSSIBLE, reason or f"Tallyfy has no call to {action} a {resource.label}.")
    return found
