"""Reads the names of an organization's members and templates, for people who read a plan.

Sources: ``GET /checklists`` is in Tallyfy's API reference. ``GET /users`` is in Tallyfy's own Python SDK (1.1), which
takes rows in ``data`` or bare, and neither asks for a page nor expects one. So both shapes are read here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lifecycle.domain.errors import Code, Retryable
from lifecycle.tallyfy.client import PER_PAGE, HttpTallyfy, Json

_MOST_CHARACTERS = 200


class NameList(StrEnum):
    """A list that has names."""

    MEMBERS = "members"
    TEMPLATES = "templates"
    ARCHIVED_TEMPLATES = "archived-templates"


_LISTS: Mapping[NameList, tuple[str, Mapping[str, str]]] = {
    NameList.MEMBERS: ("/users", {}),
    NameList.TEMPLATES: ("/checklists", {}),
    NameList.ARCHIVED_TEMPLATES: ("/checklists", {"archived": "only"}),
}


@dataclass(frozen=True, slots=True)
class NamePage:
    """The names on one page by their ids. ``pages`` is how many pages there are."""

    names: Mapping[str, str] = field(default_factory=dict)
    pages: int = 1


class Directory(Protocol):
    """Where names are read."""

    def page(self, org_id: str, which: NameList, number: int) -> NamePage:
        """One page, counted from 1; one call. Raises ``Rejected``, ``Retryable`` and its subclasses."""


@dataclass(frozen=True, slots=True)
class TallyfyDirectory:
    """Reads names from Tallyfy."""

    tallyfy: HttpTallyfy

    def page(self, org_id: str, which: NameList, number: int) -> NamePage:
        """See ``Directory``."""
        path, query = _LISTS[which]
        body = self.tallyfy.body(org_id, path, {**query, "page": str(number), "per_page": str(PER_PAGE)})
        rows = body.get("data") if body else None
        if body is None or not isinstance(rows, list):
            raise Retryable(Code.UNAVAILABLE, f"Tallyfy did not list its {which.value}.")
        known = (_named(row) for row in rows if isinstance(row, dict))
        return NamePage({found[0]: found[1] for found in known if found is not None}, _pages(body))


def _named(row: Json) -> tuple[str, str] | None:
    """An id with its name. A member without a name is shown by the id, never by the e-mail address."""
    number = row.get("id")
    if isinstance(number, bool) or not isinstance(number, (int, str)):
        return None
    parts = (row.get("first_name"), row.get("last_name"))
    names = (row.get("title"), row.get("full_name"), " ".join(part for part in parts if isinstance(part, str)))
    found = next((name.strip() for name in names if isinstance(name, str) and name.strip()), None)
    return (str(number), found[:_MOST_CHARACTERS]) if found else None


def _pages(body: Json) -> int:
    """How many pages there are. A list without pagination is complete."""
    meta = body.get("meta")
    pagination = meta.get("pagination") if isinstance(meta, dict) else None
    pages = pagination.get("total_pages") if isinstance(pagination, dict) else None
    return pages if isinstance(pages, int) and not isinstance(pages, bool) else 1
