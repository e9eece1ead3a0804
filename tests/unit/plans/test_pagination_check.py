"""Was a whole list seen? Lists that change while they are read, by example and by the thousand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.pagination_check import MOST_READINGS, ListingQuery, PaginationCheck, lists_of
from lifecycle.policy.policy import Policy
from tests.harness.builders import NOW

SECOND = timedelta(seconds=1)
TURN = 10 * SECOND
"""The time from one page to the next."""
TOLERANCE = 5 * SECOND


def thing(number: int, created_at: datetime | None) -> ResourceSnapshot:
    return ResourceSnapshot(resource=Resource.RUN, id=f"{number:032x}", state=State.ACTIVE, created_at=created_at)


@dataclass
class Shelf:
    """A list of Tallyfy's, oldest first, `per_page` at a time. Tallyfy writes times in whole seconds."""

    count: int
    per_page: int = 3
    now: datetime = NOW
    skew: timedelta = timedelta()
    """How far Tallyfy's clock is ahead of ours."""
    things: list[ResourceSnapshot] = field(default_factory=list)
    bin: list[ResourceSnapshot] = field(default_factory=list)
    born: int = 0

    def __post_init__(self) -> None:
        start = self.now - timedelta(days=400)
        for number in range(self.count):
            self.things.append(thing(number, start + timedelta(days=number)))
        self.born = self.count

    def leave(self, place: int) -> None:
        if self.things:
            self.bin.append(self.things.pop(place % len(self.things)))

    def arrive(self) -> None:
        self.things.append(thing(self.born, (self.now + self.skew).replace(microsecond=0)))
        self.born += 1

    def come_back(self, which: int) -> None:
        """Somebody restores what had left: it stands where it stood."""
        if self.bin:
            self.things.append(self.bin.pop(which % len(self.bin)))
            self.things.sort(key=lambda one: (one.created_at or NOW, one.id))

    def change(self, what: str, which: int) -> None:
        match what:
            case "leave":
                self.leave(which)
            case "back":
                self.come_back(which)
            case _:
                self.arrive()

    def page(self, number: int) -> list[ResourceSnapshot]:
        return self.things[(number - 1) * self.per_page : number * self.per_page]

    @property
    def pages(self) -> int:
        return max(1, ceil(len(self.things) / self.per_page))

    @property
    def ids(self) -> set[str]:
        return {one.id for one in self.things}


type Event = tuple[str, int]


@dataclass
class Reading:
    """What one reading of a shelf saw, and what stood there all the while."""

    listing_check: PaginationCheck
    seen: set[str]
    stayed: set[str]

    @property
    def believed(self) -> bool:
        return self.listing_check.done and not self.listing_check.trouble


def read(
    shelf: Shelf,
    events: Sequence[Sequence[Event]] = (),
    listing_check: PaginationCheck | None = None,
    *,
    latency: timedelta = timedelta(),
    unreadable: Callable[[ResourceSnapshot], bool] = lambda one: False,
) -> Reading:
    """Read a list once, page by page; between two pages the next of `events` happen."""
    listing_check, seen, stayed = listing_check or PaginationCheck(), set[str](), set[str]()
    reading = listing_check.reading
    happening = iter(events)
    while True:
        number = listing_check.page + 1
        rows = shelf.page(number)
        stayed = shelf.ids if number == 1 else stayed & shelf.ids
        named = [one for one in rows if not unreadable(one)]
        seen |= {one.id for one in rows}
        listing_check = listing_check.with_page(
            named,
            unreadable=len(rows) - len(named),
            pages=shelf.pages if rows else number,
            total=len(shelf.things),
            now=shelf.now + latency,
        )
        if listing_check.is_read:
            break
        for what, which in next(happening, ()):
            shelf.now += SECOND / 1000
            shelf.change(what, which)
        shelf.now += TURN
    assert listing_check.reading == reading
    readable = len({one for one in seen if not unreadable(thing(int(one, 16), None))})
    return Reading(listing_check.settled(readable), seen, stayed)


# --- by example -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
def test_an_unchanged_list_is_accepted(count: int) -> None:
    shelf = Shelf(count)
    seen = read(shelf)
    assert seen.believed
    assert seen.seen == shelf.ids
    listing_check = seen.listing_check
    assert (listing_check.rows, listing_check.first_total, listing_check.last_total, listing_check.newer) == (
        count,
        count,
        count,
        0,
    )
    assert listing_check.page == max(1, ceil(count / 3))


def test_an_unread_list_is_not_accepted() -> None:
    fresh = PaginationCheck()
    assert not fresh.is_read
    assert (fresh.first_total, fresh.last_total, fresh.done) == (None, None, False)
    assert fresh.settled(0).trouble == "Tallyfy did not say how many things there are"


@pytest.mark.parametrize("place", range(3))
def test_an_item_that_leaves_an_earlier_page_is_noticed(place: int) -> None:
    shelf = Shelf(9)
    seen = read(shelf, [[("leave", place)]])
    assert seen.stayed - seen.seen  # one was jumped over
    assert not seen.believed
    assert seen.listing_check == PaginationCheck(reading=2, trouble="1 things left the list while it was read")


def test_an_item_that_leaves_a_later_page_is_noticed() -> None:
    seen = read(Shelf(9), [[("leave", 8)]])
    assert not seen.stayed - seen.seen
    assert seen.listing_check.trouble == "1 things left the list while it was read"


def test_a_new_item_does_not_hide_one_that_left() -> None:
    seen = read(Shelf(9), [[("leave", 0), ("new", 0)]])
    assert seen.stayed - seen.seen
    assert seen.listing_check.trouble == "1 things left the list while it was read"


@pytest.mark.parametrize("skew", [-SECOND, timedelta(), 3600 * SECOND])
@pytest.mark.parametrize("latency", [timedelta(), 3 * SECOND])
def test_an_item_created_during_the_first_page_does_not_hide_one_that_left(skew: timedelta, latency: timedelta) -> None:
    seen = read(Shelf(9, skew=skew), [[("leave", 0), ("new", 0)]], latency=latency)
    assert seen.stayed - seen.seen
    assert not seen.believed


def test_new_items_do_no_harm() -> None:
    shelf = Shelf(9)
    seen = read(shelf, [[("new", 0), ("new", 0)], [], [("new", 0)]])
    assert seen.believed
    assert seen.seen == shelf.ids
    assert (seen.listing_check.newer, seen.listing_check.first_total, seen.listing_check.last_total) == (3, 9, 12)


def test_a_list_that_grows_by_a_page_is_read_to_its_end() -> None:
    shelf = Shelf(6)
    seen = read(shelf, [[("new", 0)] * 4])
    assert (seen.listing_check.page, seen.listing_check.rows, seen.believed) == (4, 10, True)


def test_a_list_that_shrinks_by_a_page_ends() -> None:
    seen = read(Shelf(9), [[], [("leave", 8)] * 3])
    assert seen.listing_check.trouble == "3 things left the list while it was read"


def test_an_old_item_that_returns_to_an_earlier_page_duplicates_another() -> None:
    shelf = Shelf(9)
    shelf.leave(1)
    seen = read(shelf, [[("back", 0)]])
    assert seen.listing_check.trouble == "1 things were listed twice"


def test_an_old_item_that_returns_to_a_later_page_does_no_harm() -> None:
    shelf = Shelf(9)
    shelf.leave(8)
    seen = read(shelf, [[("back", 0)]])
    assert seen.believed
    assert seen.seen == shelf.ids


def test_an_item_that_leaves_while_an_old_one_returns_is_not_noticed() -> None:
    """The counts are right and one thing was jumped over. It is not in the plan, so nothing happens to it."""
    shelf = Shelf(10)
    shelf.leave(9)
    seen = read(shelf, [[("leave", 0), ("back", 0)]])
    assert seen.believed
    assert len(seen.stayed - seen.seen) == 1


@pytest.mark.parametrize(
    ("age", "newer"),
    [
        (TOLERANCE, 0),
        (TOLERANCE - SECOND / 1000, 1),
        (timedelta(), 1),
        (-TURN, 1),
        (timedelta(days=1), 0),
    ],
)
def test_an_item_created_just_before_the_first_page_counts_as_new(age: timedelta, newer: int) -> None:
    listing_check = PaginationCheck().with_page([thing(1, NOW - age)], unreadable=0, pages=1, total=1, now=NOW)
    assert listing_check.newer == newer
    # It has the list read again, once; a minute later it is old.
    assert bool(listing_check.settled(1).trouble) is bool(newer)


def test_new_items_are_those_created_after_the_first_page_was_read() -> None:
    listing_check = PaginationCheck()
    for page, created in enumerate([NOW - timedelta(days=1), NOW + SECOND, NOW + 7000 * SECOND]):
        at = NOW + page * 3600 * SECOND
        listing_check = listing_check.with_page([thing(page, created)], unreadable=0, pages=3, total=1 + page, now=at)
    assert datetime.fromisoformat(listing_check.opened_at) == NOW
    assert (listing_check.newer, listing_check.settled(3).trouble) == (2, "")


def test_an_item_without_a_creation_date_does_not_count_as_new() -> None:
    listing_check = PaginationCheck().with_page([thing(1, None)], unreadable=0, pages=1, total=1, now=NOW)
    assert (listing_check.newer, listing_check.settled(1).trouble) == (0, "")


@pytest.mark.parametrize("totals", [(None, 4), (4, None), (None, None)])
def test_a_list_without_a_total_is_not_accepted(totals: tuple[int | None, int | None]) -> None:
    listing_check = PaginationCheck()
    for page, total in enumerate(totals):
        things = [thing(page * 2 + place, NOW - timedelta(days=9)) for place in range(2)]
        listing_check = listing_check.with_page(things, unreadable=0, pages=2, total=total, now=NOW)
    assert listing_check.settled(4).trouble == "Tallyfy did not say how many things there are"


def test_a_missing_total_on_a_middle_page_does_no_harm() -> None:
    listing_check = PaginationCheck()
    for page, total in enumerate([3, None, 3]):
        listing_check = listing_check.with_page(
            [thing(page, NOW - timedelta(1))], unreadable=0, pages=3, total=total, now=NOW
        )
    assert listing_check.settled(3).trouble == ""


def test_a_list_that_ends_early_is_not_accepted() -> None:
    things = [thing(number, NOW - timedelta(days=9)) for number in range(3)]
    listing_check = PaginationCheck().with_page(things, unreadable=0, pages=3, total=9, now=NOW)
    after = listing_check.with_page([], unreadable=0, pages=2, total=9, now=NOW)
    assert after.is_read
    assert after.settled(3).trouble == "Tallyfy counts 9 things but listed 3"


def test_a_list_with_more_items_than_its_total_is_not_accepted() -> None:
    things = [thing(number, NOW - timedelta(days=9)) for number in range(3)]
    listing_check = PaginationCheck().with_page(things, unreadable=0, pages=1, total=2, now=NOW)
    assert listing_check.settled(3).trouble == "Tallyfy counts 2 things but listed 3"


def test_a_list_that_repeats_items_is_not_accepted() -> None:
    things = [thing(number, NOW - timedelta(days=9)) for number in range(3)]
    listing_check = PaginationCheck()
    for _ in range(2):
        listing_check = listing_check.with_page(things, unreadable=0, pages=2, total=6, now=NOW)
    assert listing_check.settled(3).trouble == "3 things were listed twice"


def test_unreadable_rows_are_counted() -> None:
    seen = read(Shelf(7), unreadable=lambda one: int(one.id, 16) % 3 == 0)
    assert seen.believed
    assert (seen.listing_check.rows, seen.listing_check.unreadable) == (7, 3)


def test_a_list_of_only_unreadable_rows_is_consistent() -> None:
    listing_check = PaginationCheck().with_page([], unreadable=4, pages=1, total=4, now=NOW)
    assert (listing_check.settled(0).trouble, listing_check.rows, listing_check.unreadable) == ("", 4, 4)


# --- reading again ----------------------------------------------------------------------------------------------------


def test_a_list_is_read_at_most_three_times() -> None:
    shelf, listing_check, troubles = Shelf(30), PaginationCheck(), []
    for number in range(1, MOST_READINGS + 1):
        assert (listing_check.reading, listing_check.page, listing_check.rows, listing_check.done) == (
            number,
            0,
            0,
            False,
        )
        listing_check = read(shelf, [[("leave", 0)] * number], listing_check).listing_check
        troubles.append(listing_check.trouble)
    assert troubles == [f"{number} things left the list while it was read" for number in (1, 2, 3)]
    assert (listing_check.done, listing_check.reading) == (True, MOST_READINGS)


def test_a_consistent_reading_clears_earlier_problems() -> None:
    shelf = Shelf(9)
    first = read(shelf, [[("leave", 0)]])
    second = read(shelf, listing_check=first.listing_check)
    assert (second.listing_check.reading, second.believed) == (2, True)
    assert second.seen == shelf.ids
    assert datetime.fromisoformat(second.listing_check.opened_at) == NOW + 2 * TURN + SECOND / 1000


# --- by the thousand --------------------------------------------------------------------------------------------------


def turns(*kinds: str) -> st.SearchStrategy[list[list[Event]]]:
    """What happens between the pages."""
    return st.lists(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 30)), max_size=4), max_size=6)


@settings(max_examples=600, deadline=None)
@given(
    st.integers(0, 16),
    st.integers(1, 4),
    turns("leave", "leave", "new"),
    st.floats(-1, 60),
    st.floats(0, 2),
    st.integers(0, 999_999),
)
@example(9, 3, [[("leave", 0), ("new", 0)]], 0.0, 0.0, 0)
@example(9, 3, [[("leave", 0), ("new", 0)]], -1.0, 2.0, 999_999)
@example(4, 2, [[("leave", 3), ("new", 0)]], 0.0, 0.0, 0)
def test_an_accepted_list_contains_every_item_that_stayed(
    count: int, per_page: int, events: list[list[Event]], skew: float, latency: float, micros: int
) -> None:
    """However things leave and new ones come between the pages, at clocks that differ and answers that take a while."""
    shelf = Shelf(count, per_page, NOW.replace(microsecond=micros), timedelta(seconds=skew))
    seen = read(shelf, events, latency=timedelta(seconds=latency))
    if seen.believed:
        assert seen.stayed <= seen.seen
        assert seen.listing_check.rows == len(seen.seen) == seen.listing_check.last_total


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 16), st.integers(1, 4), st.lists(st.just([("new", 0)]), max_size=6))
def test_new_items_alone_never_cause_another_reading(count: int, per_page: int, events: list[list[Event]]) -> None:
    assert read(Shelf(count, per_page), events).believed


@settings(max_examples=600, deadline=None)
@given(
    st.integers(1, 14),
    st.integers(1, 4),
    st.lists(st.integers(0, 20), max_size=3),
    turns("leave", "new", "back"),
)
def test_only_returning_old_items_hide_items_that_left(
    count: int, per_page: int, before: list[int], events: list[list[Event]]
) -> None:
    """As many must have come back as were jumped over: that is what a count cannot tell."""
    shelf = Shelf(count, per_page)
    for place in before:
        shelf.leave(place)
    came_back = sum(1 for turn in events for what, _ in turn if what == "back")
    seen = read(shelf, events)
    if seen.believed:
        assert len(seen.stayed - seen.seen) <= came_back


# --- which lists ------------------------------------------------------------------------------------------------------


def test_each_needed_list_is_read_once() -> None:
    rules = [
        ("one", "process", "archive", "completed_days = 3", False),
        ("two", "process", "archive", "created_days = 3", False),
        ("three", "process", "delete", "archived_days = 3", True),
        ("four", "task", "archive", "created_days = 3", False),
        ("five", "tag", "delete", "unused = true", True),
        ("six", "template", "delete", "archived_days = 3", True),
    ]
    text = 'zone = "UTC"\n' + "".join(
        f'[[rules]]\nname = "{name}"\nresource = "{resource}"\naction = "{action}"\nwhen = {{ {when} }}\n'
        + ("irreversible = true\n" if irreversible else "")
        for name, resource, action, when, irreversible in rules
    )
    # What is only kept needs no list.
    text += '[[rules]]\nname = "seven"\nresource = "template"\naction = "keep"\nwhen = { title = ["a"] }\n'
    assert lists_of(Policy.parse(text)) == (
        ListingQuery(Resource.RUN, State.ACTIVE),
        ListingQuery(Resource.RUN, State.ARCHIVED),
        ListingQuery(Resource.TASK, State.ACTIVE),
        ListingQuery(Resource.TAG, State.ACTIVE),
        ListingQuery(Resource.TEMPLATE, State.ARCHIVED),
    )


@pytest.mark.parametrize(
    ("resource", "state", "name"),
    [
        (Resource.RUN, State.ACTIVE, "active processes"),
        (Resource.RUN, State.ARCHIVED, "archived processes"),
        (Resource.TASK, State.ACTIVE, "active one-off tasks"),
        (Resource.TAG, State.ACTIVE, "active tags"),
        (Resource.TEMPLATE, State.ARCHIVED, "archived templates"),
    ],
)
def test_a_list_has_a_name(resource: Resource, state: State, name: str) -> None:
    assert ListingQuery(resource, state).name == name
