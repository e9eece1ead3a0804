"""Everything a policy asks about, read from Tallyfy page by page before anything is decided.

Each page is put away as it comes; nothing of it is kept in memory. A reading that is cut off goes on at its next page.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from lifecycle.aws.s3 import Objects
from lifecycle.domain.capabilities import State
from lifecycle.domain.commands import ID_PATTERN
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.pagination_check import ListingQuery, PaginationCheck
from lifecycle.plans.plan_file import Entry, fact_line
from lifecycle.tallyfy.client import Tallyfy

_LINES = "application/jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One organization's lists. Pages are put into ``folder``; ``take_turn`` waits for the pace before each call."""

    tallyfy: Tallyfy
    objects: Objects
    org_id: str
    folder: str
    take_turn: Callable[[], None]
    clock: Callable[[], datetime]

    def read_page(self, asked: ListingQuery, census: PaginationCheck) -> PaginationCheck:
        """Read the next page of a list, and after its last one see whether it adds up. Raises as ``Tallyfy.page``."""
        self.take_turn()
        number = census.page + 1
        listing = self.tallyfy.page(self.org_id, asked.resource, number, _query(asked))
        # What has no id cannot be named, so it can be neither judged nor acted on.
        named = [_readable(thing) for thing in listing.things if re.fullmatch(ID_PATTERN, thing.id)]
        body = "".join(f"{fact_line(thing)}\n" for thing in named)
        self.objects.put(self._key(asked, census, number), body.encode(), kind=_LINES)
        after = census.with_page(
            named,
            unreadable=listing.unreadable + len(listing.things) - len(named),
            pages=listing.pages,
            total=listing.total,
            now=self.clock(),
        )
        if not after.is_read:
            return after
        # A single page is seen at one moment: what is new on it cannot hide what left meanwhile.
        whole = replace(after, newer=0) if after.page == 1 else after
        return whole.settled(self._distinct(asked, after))

    def things(self, asked: ListingQuery, census: PaginationCheck) -> Iterator[ResourceSnapshot]:
        """What was read of a list, in its order."""
        for number in range(1, census.page + 1):
            key = self._key(asked, census, number)
            body = self.objects.get(key)
            if body is None:
                raise Retryable(Code.UNAVAILABLE, f"Page {number} of the {asked.name} is not where it was put: {key}.")
            for line in body.splitlines():
                yield Entry.parse(line).thing

    def _distinct(self, asked: ListingQuery, census: PaginationCheck) -> int:
        return len({id_bytes(thing) for thing in self.things(asked, census)})

    def _key(self, asked: ListingQuery, census: PaginationCheck, number: int) -> str:
        return f"{self.folder}/{asked.resource}-{asked.state}/{census.reading}/{number:06d}.jsonl"


def _readable(thing: ResourceSnapshot) -> ResourceSnapshot:
    """Without a status that holds half a character: the plan's summary names each status, and could not be written."""
    halves = thing.status is not None and any("\ud800" <= char <= "\udfff" for char in thing.status)
    return replace(thing, status=None) if halves else thing


def id_bytes(thing: ResourceSnapshot) -> bytes:
    """An id in half its size: a hundred thousand of them are kept at once."""
    return bytes.fromhex(thing.id)


def _query(asked: ListingQuery) -> Mapping[str, str]:
    """Oldest first, so that new resources come at the end and shift no page.

    Nothing is filtered by date or status: Tallyfy has no filter for the dates of processes, and what is kept is
    counted as well.
    """
    only = {"archived": "only"} if asked.state is State.ARCHIVED else {}
    return {**asked.resource.kind.oldest_first, **only}
