"""The query parameters that Tallyfy's reference documents for each call. Any other parameter is refused.

Tallyfy ignores unknown parameters, which hides a mistake until somebody looks at the returned rows.
Source: Tallyfy's API reference as of 2026-08 (lists of processes, tasks, tags and templates; single reads; activity).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sandbox.simulator.messages import CallRefused, unprocessable

_PAGES: Final = frozenset({"page", "per_page"})


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one call. ``includes`` are values of ``with``, ``sorts`` values of ``sort`` without ``-``."""

    names: frozenset[str] = frozenset()
    includes: frozenset[str] = frozenset()
    sorts: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ONE_RUN: Final = _words(
    "checklist tasks tags assets form_fields ko_form_fields stages folders tasks_meta threads "
    "tasks.threads tasks.form_fields"
)

DOCUMENTED: Final[Mapping[tuple[str, str], Parameters]] = {
    ("run", "list"): Parameters(
        _PAGES
        | _words("status checklist_id owners tag tag_ids untagged folder type q with sort archived form_fields_values"),
        _ONE_RUN,
        _words("created_at"),
    ),
    ("run", "read"): Parameters(_words("with form_fields_values"), _ONE_RUN),
    ("run", "tasks"): Parameters(
        _PAGES | _words("with archived"), _words("step threads comments assets form_fields activities summary")
    ),
    ("task", "list"): Parameters(
        _PAGES | _words("is_oneoff archived created status tag with sort"),
        _words("run step threads assets form_fields tags summary"),
        _words("deadline newest problems completed_newest"),
    ),
    ("task", "read"): Parameters(
        _words("with"),
        _words("run step form_fields tags threads issues assets folders roles activities summary"),
    ),
    ("tag", "list"): Parameters(_PAGES | _words("with all"), _words("statistics")),
    ("tag", "read"): Parameters(_words("with"), _words("statistics")),
    ("template", "list"): Parameters(_PAGES | _words("archived q with sort_by"), _words("steps tags folder threads")),
    ("template", "read"): Parameters(_words("with"), _words("steps tags folder threads")),
    # Tallyfy's own SDK asks for neither; every other list of the API takes both.
    ("member", "list"): Parameters(_PAGES | _words("with"), _words("groups")),
    ("watcher", "list"): Parameters(_words("notification")),
    ("activity", "list"): Parameters(_PAGES | _words("entity_type entity_id verb")),
}
"""The parameters by the object a call addresses, and its action."""


def check(resource: str, action: str, query: Mapping[str, str]) -> None:
    """Raise ``CallRefused`` (422) for the first undocumented parameter or value."""
    known = DOCUMENTED.get((resource, action), Parameters())
    for name in query:
        if name not in known.names:
            raise _refused(name, f"{name} is not documented for a {action} of kind {resource}.")
    for word in filter(None, query.get("with", "").split(",")):
        if word not in known.includes:
            raise _refused("with", f"with={word} is not documented for a {action} of kind {resource}.")
    wanted = query.get("sort")
    if wanted is not None and wanted.removeprefix("-") not in known.sorts:
        raise _refused("sort", f"sort={wanted} is not documented for a {action} of kind {resource}.")
    for name in _PAGES & set(query):
        if not (query[name].isascii() and query[name].isdigit() and 0 < int(query[name]) < 10**9):
            raise _refused(name, f"{name} must be a number of 1 or more.")


def _refused(name: str, why: str) -> CallRefused:
    return CallRefused(unprocessable(name, why))
