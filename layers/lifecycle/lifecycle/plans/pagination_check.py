"""Checks that a whole list was read. Tallyfy pages by number: an item that leaves the list shifts all later pages.

A list is accepted only if it is consistent: no item came twice, there are as many rows as Tallyfy says, and no item
left while it was read. New items do no harm: lists are read oldest first, so new items come at the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.policy.policy import Policy

MOST_PAGES = 20_000
"""Pages for two million items. A list with more pages is treated as endless."""
MOST_READINGS = 3
"""An inconsistent list is read again. After this many readings, the plan is incomplete."""
_CLOCKS_DIFFER = timedelta(seconds=5)
"""An item created up to this long before the first page was stored counts as new. Counting an old item as new only
costs another reading. Missing a new one could hide a removal."""


class ListingQuery(NamedTuple):
    """One list of Tallyfy: the active or the archived resources of a kind."""

    resource: Resource
    state: State

    @property
    def name(self) -> str:
        """Its name in messages, such as ``active processes``."""
        return f"{self.state} {self.resource.kind.plural}"


def lists_of(policy: Policy) -> tuple[ListingQuery, ...]:
    """The lists that the acting rules need, each once."""
    return tuple(dict.fromkeys(ListingQuery(rule.resource, rule.considers) for rule in policy.acting))


@dataclass(frozen=True, slots=True, kw_only=True)
class PaginationCheck:
    """How far one list has been read. Totals are Tallyfy's own; ``None`` if it gave none."""

    reading: int = 1
    page: int = 0
    pages: int = 1
    rows: int = 0
    unreadable: int = 0
    newer: int = 0
    """Items created after the first page was read, or shortly before."""
    first_total: int | None = None
    last_total: int | None = None
    opened_at: str = ""
    trouble: str = ""
    done: bool = False

    @property
    def is_read(self) -> bool:
        """Whether its last page has been read, or more pages than any list has."""
        return self.page >= min(self.pages, MOST_PAGES)

    def with_page(
        self, things: Iterable[ResourceSnapshot], *, unreadable: int, pages: int, total: int | None, now: datetime
    ) -> "PaginationCheck":
        """The check after another page. The number of pages may change while the list is read."""
        opened = datetime.fromisoformat(self.opened_at) if self.opened_at else now
        seen = list(things)
        newer = sum(1 for thing in seen if thing.created_at and thing.created_at > opened - _CLOCKS_DIFFER)
        return replace(
            self,
            page=self.page + 1,
            pages=max(pages, self.page + 1),
            rows=self.rows + len(seen) + unreadable,
            unreadable=self.unreadable + unreadable,
            newer=self.newer + newer,
            first_total=total if self.page == 0 else self.first_total,
            last_total=total,
            opened_at=opened.isoformat(),
        )

    def settled(self, distinct: int) -> "PaginationCheck":
        """The check after the last page: done, or to be read again. ``distinct``: how many different ids were read."""
        trouble = self._trouble(distinct)
        if not trouble or self.reading >= MOST_READINGS or self.pages > MOST_PAGES:
            return replace(self, trouble=trouble, done=True)
        return PaginationCheck(reading=self.reading + 1, trouble=trouble)

    def _trouble(self, distinct: int) -> str:
        if self.pages > MOST_PAGES:
            return f"it has more than {MOST_PAGES} pages"
        if self.last_total is None or self.first_total is None:
            return "Tallyfy did not say how many things there are"
        if distinct < self.rows - self.unreadable:
            return f"{self.rows - self.unreadable - distinct} things were listed twice"
        lost = self.first_total + self.newer - self.last_total
        if lost > 0:
            return f"{lost} things left the list while it was read"
        if self.rows != self.last_total:
            return f"Tallyfy counts {self.last_total} things but listed {self.rows}"
        return ""
