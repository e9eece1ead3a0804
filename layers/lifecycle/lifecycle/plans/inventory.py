"""Reads everything that a policy asks about from Tallyfy, page by page, before anything is decided.

Each page is stored when it arrives and not kept in memory. After an interruption, reading continues with the next page.
"""

import gzip
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
from lifecycle.plans.plan_lines import parse_json
from lifecycle.tallyfy.client import Tallyfy

_LEVEL = 6
"""The gzip level for a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The lists of one organization. Pages are stored in ``folder``; ``take_turn`` waits for the rate before a call."""

    tallyfy: Tallyfy
    objects: Objects
    org_id: str
    folder: str
    take_turn: Callable[[], None]
    clock: Callable[[], datetime]

    def read_page(self, query: ListingQuery, check: PaginationCheck) -> PaginationCheck:
        """Read the next page of a list. After the last page, check the list. Raises what ``Tallyfy.page`` raises."""
        self.take_turn()
        number = check.page + 1
        listing = self.tallyfy.page(self.org_id, query.resource, number, _parameters(query))
        # A row without a valid id cannot be named, so nothing can be decided about it or done to it.
        named = [_readable(thing) for thing in listing.things if re.fullmatch(ID_PATTERN, thing.id)]
        body = "".join(f"{fact_line(thing)}\n" for thing in named)
        packed = gzip.compress(body.encode(), _LEVEL, mtime=0)
        self.objects.put(self._key(query, check, number), packed, kind="application/gzip")
        after = check.with_page(
            named,
            unreadable=listing.unreadable + len(listing.things) - len(named),
            pages=listing.pages,
            total=listing.total,
            now=self.clock(),
        )
        if not after.is_read:
            return after
        # A single page is a snapshot, so a new resource on it cannot hide one that left.
        whole = replace(after, newer=0) if after.page == 1 else after
        return whole.settled(self._distinct(query, after))

    def things(self, query: ListingQuery, check: PaginationCheck) -> Iterator[ResourceSnapshot]:
        """What was read of a list, in its order. Raises ``Retryable`` if a page is missing from the store."""
        return (Entry.parse(line).thing for line in self._lines(query, check))

    def _lines(self, query: ListingQuery, check: PaginationCheck) -> Iterator[bytes]:
        for number in range(1, check.page + 1):
            key = self._key(query, check, number)
            packed = self.objects.get(key)
            if packed is None:
                raise Retryable(
                    Code.UNAVAILABLE, f"Page {number} of the {query.name} is missing from the store: {key}."
                )
            yield from gzip.decompress(packed).splitlines()

    def _distinct(self, query: ListingQuery, check: PaginationCheck) -> int:
        return len({id_bytes(parse_json(line)["id"]) for line in self._lines(query, check)})

    def _key(self, query: ListingQuery, check: PaginationCheck, number: int) -> str:
        return f"{self.folder}/{query.resource}-{query.state}/{check.reading}/{number:06d}.jsonl.gz"


def _readable(thing: ResourceSnapshot) -> ResourceSnapshot:
    """Remove a status that contains a lone surrogate. The summary names each status and could not be encoded."""
    halves = thing.status is not None and any("\ud800" <= char <= "\udfff" for char in thing.status)
    return replace(thing, status=None) if halves else thing


def id_bytes(thing_id: str) -> bytes:
    """An id in half its size: up to two million of them are in memory at once."""
    return bytes.fromhex(thing_id)


def _parameters(query: ListingQuery) -> Mapping[str, str]:
    """Oldest first, so that new resources come at the end and shift no page.

    Nothing is filtered by date or status: Tallyfy has no filter for the dates of processes, and what is kept is
    counted as well.
    """
    only = {"archived": "only"} if query.state is State.ARCHIVED else {}
    return {**query.resource.kind.oldest_first, **only}
