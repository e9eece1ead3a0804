"""Was a whole list seen? Tallyfy pages by number: what leaves a list while it is read shifts all pages behind it.

What was read is believed only if it adds up: nothing came twice, there are as many as the list says, and it lost none
on the way. New things do no harm: lists are read oldest first, so they come at the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.policy.policy import Policy

MOST_PAGES = 20_000
"""Two million things. A list that goes on behind that has no end, as far as we can tell."""
MOST_READINGS = 3
"""A list that does not add up is read again. After so many times it is what could not be seen."""
_CLOCKS_DIFFER = timedelta(seconds=5)
"""What was created so shortly before the first answer was put away counts as newer. One that is counted as newer in
error has the list read again; one that is not would make up for one that left."""


class ListingQuery(NamedTuple):
    """One list of Tallyfy's: the things of a kind that are active, or those that are archived."""

    resource: Resource
    state: State

    @property
    def name(self) -> str:
        """Its name in messages, such as "active processes"."""
        return f"{self.state} {self.resource.kind.plural}"


def lists_of(policy: Policy) -> tuple[ListingQuery, ...]:
    """The lists that the rules need, each once."""
    return tuple(dict.fromkeys(ListingQuery(rule.resource, rule.considers) for rule in policy.acting))


@dataclass(frozen=True, slots=True, kw_only=True)
class PaginationCheck:
    """How far one list has been read. Totals are what Tallyfy said; -1 before it said anything."""

    reading: int = 1
    page: int = 0
    pages: int = 1
    rows: int = 0
    unreadable: int = 0
    newer: int = 0
    """Things created since about the time when the first page was read."""
    first_total: int = -1
    last_total: int = -1
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
        """After another page. Pages that Tallyfy adds or takes away meanwhile are followed."""
        opened = datetime.fromisoformat(self.opened_at) if self.opened_at else now
        seen = list(things)
        newer = sum(1 for thing in seen if thing.created_at and thing.created_at > opened - _CLOCKS_DIFFER)
        said = -1 if total is None else total
        return replace(
            self,
            page=self.page + 1,
            pages=max(pages, self.page + 1),
            rows=self.rows + len(seen) + unreadable,
            unreadable=self.unreadable + unreadable,
            newer=self.newer + newer,
            first_total=said if self.page == 0 else self.first_total,
            last_total=said,
            opened_at=opened.isoformat(),
        )

    def settled(self, distinct: int) -> "PaginationCheck":
        """After the last page, knowing how many different things were read: done, or to be read again."""
        trouble = self._trouble(distinct)
        if not trouble or self.reading >= MOST_READINGS or self.pages > MOST_PAGES:
            return replace(self, trouble=trouble, done=True)
        return PaginationCheck(reading=self.reading + 1, trouble=trouble)

    def _trouble(self, distinct: int) -> str:
        if self.pages > MOST_PAGES:
            return f"it has more than {MOST_PAGES} pages"
        if self.last_total < 0 or self.first_total < 0:
            return "Tallyfy does not say how many there are"
        if distinct < self.rows - self.unreadable:
            return f"{self.rows - self.unreadable - distinct} came twice"
        lost = self.first_total + self.newer - self.last_total
        if lost > 0:
            return f"{lost} left the list while it was read"
        if self.rows != self.last_total:
            return f"Tallyfy says there are {self.last_total}, and showed {self.rows}"
        return ""
