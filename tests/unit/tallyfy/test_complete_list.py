"""A list is accepted only as a whole, and every answer has limits of size and time."""

import io
from collections.abc import Callable, Iterator
from itertools import count

import pytest
import requests
from urllib3 import HTTPResponse

from lifecycle.domain.capabilities import Action, Resource, capability
from lifecycle.domain.commands import Find
from lifecycle.domain.errors import Ambiguous, Code, Rejected, Retryable
from lifecycle.plans.pagination_check import MOST_PAGES, PaginationCheck
from lifecycle.tallyfy import bodies
from lifecycle.tallyfy.bodies import OutOfBounds, load, pieces
from lifecycle.tallyfy.client import PER_PAGE, DoesNotAddUp
from lifecycle.tallyfy.complete_list import CompleteList
from tests.harness.builders import NOW
from tests.harness.tallyfy import ORG, CannedStand, answered

RUN, OTHER, TEMPLATE = "a1" * 16, "a2" * 16, "c1" * 16
NAMED = Find(name="Onboard Acme", template=TEMPLATE)


def run(name: str = RUN, **more: object) -> dict[str, object]:
    return {"id": name, "name": "Onboard Acme", "status": "active", "checklist_id": TEMPLATE, "tags": [], **more}


def listed(*rows: object, total: int, pages: int = 1) -> object:
    meta = {"pagination": {"total": total, "total_pages": pages, "count": len(rows)}}
    return answered(200, {"data": list(rows), "meta": meta})


# --- whole lists ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pages", "trouble"),
    [
        ([(["a", "b"], 2)], ""),
        ([(["a"], 2), (["b"], 2)], ""),
        ([([], 0)], ""),
        ([(["a", None], 2)], ""),
        ([(["a"], 2), (["a"], 2)], "1 rows came of a list of 2"),
        ([(["a"], 2), (["b"], 1)], "2 rows came of a list of 1 or 2"),
        ([(["a"], None)], "1 rows came of a list of an unknown number"),
        ([], "0 rows came"),
    ],
)
def test_a_list_is_complete_if_the_total_of_every_page_equals_the_rows(
    pages: list[tuple[list[object], int | None]], trouble: str
) -> None:
    whole = CompleteList()
    for ids, total in pages:
        whole.add_page(ids, total)
    assert whole.trouble.startswith(trouble)
    assert bool(whole.trouble) is bool(trouble)


def test_a_shifted_page_does_not_hide_the_second_of_two_matches() -> None:
    """The first page had one of two rows, and the other moved there while the second page was read."""
    shifted = [listed(run(), total=2, pages=2), listed(total=1, pages=2)]
    stand = CannedStand(*shifted, *shifted, *shifted)  # type: ignore[arg-type]
    with pytest.raises(DoesNotAddUp):
        stand.client.search(ORG, NAMED, archived=False)
    assert len(stand.canned.asked) == 6


def test_a_list_that_is_complete_at_the_second_reading_is_accepted() -> None:
    stand = CannedStand(listed(run(), total=2), listed(run(), run(OTHER), total=2))  # type: ignore[arg-type]
    assert {seen.id for seen in stand.client.search(ORG, NAMED, archived=False)} == {RUN, OTHER}


def test_a_resource_missing_from_an_incomplete_archived_list_is_not_gone() -> None:
    lost = listed(run(OTHER, archived_at="2026-01-01T00:00:00Z"), total=2)
    gone = answered(404, {"error": True})
    stand = CannedStand(gone, lost, lost, lost)  # type: ignore[arg-type]
    with pytest.raises(Retryable):
        stand.client.look(ORG, Resource.RUN, RUN)


def test_a_resource_that_was_found_needs_no_complete_list() -> None:
    there = listed(run(archived_at="2026-01-01T00:00:00Z"), total=999, pages=10)
    stand = CannedStand(answered(404, {"error": True}), there)  # type: ignore[arg-type]
    assert stand.client.look(ORG, Resource.RUN, RUN) is not None


def test_reading_a_list_without_an_end_is_given_up() -> None:
    names = count(1)

    def endless() -> Iterator[object]:
        for number in range(1, 30):
            rows = [run(f"{next(names):032x}") for _ in range(PER_PAGE)]
            yield listed(*rows, total=number * PER_PAGE + 1, pages=number + 1)

    stand = CannedStand(*endless())  # type: ignore[arg-type]
    with pytest.raises(Rejected) as refused:
        stand.client.search(ORG, NAMED, archived=False)
    assert refused.value.code is Code.UNDETERMINED


def test_a_page_larger_than_requested_is_an_error() -> None:
    rows = [run(f"{number:032x}") for number in range(PER_PAGE + 1)]
    stand = CannedStand(listed(*rows, total=len(rows)))  # type: ignore[arg-type]
    with pytest.raises(Retryable, match="by the page"):
        stand.client.page(ORG, Resource.RUN, 1, {})


def test_a_sweep_does_not_follow_a_list_without_an_end() -> None:
    check = PaginationCheck(page=MOST_PAGES - 1, pages=MOST_PAGES, rows=0, first_total=1, last_total=1)
    after = check.with_page([], unreadable=0, pages=MOST_PAGES + 5, total=1, now=NOW)
    assert after.is_read
    ended = after.settled(0)
    assert (ended.done, "more than" in ended.trouble) == (True, True)


# --- answers that drip, or never end ----------------------------------------------------------------------------------


class Dripping(io.BytesIO):
    """A body that returns one byte per read, and takes a second for it."""

    def __init__(self, body: bytes, tick: Callable[[], None]) -> None:
        super().__init__(body)
        self._tick = tick

    def read1(self, _size: int | None = -1, /) -> bytes:
        self._tick()
        return super().read1(1)


def response(body: io.BytesIO) -> requests.Response:
    made = requests.Response()
    made.status_code = 200
    made.raw = HTTPResponse(body, preload_content=False)
    return made


def test_a_slow_answer_is_cut_off_when_its_time_is_up() -> None:
    left = [30.0]

    def tick() -> None:
        left[0] -= 1

    dripping = response(Dripping(b"x" * 1000, tick))
    with pytest.raises(OutOfBounds, match="too long"):
        load(dripping, seconds=lambda: left[0])
    assert left[0] == -1
    assert dripping.raw.closed


def test_an_answer_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 1000)
    with pytest.raises(OutOfBounds, match="larger"):
        load(response(io.BytesIO(b"x" * 1001)), seconds=lambda: 9.0)


def test_a_body_within_its_bounds_is_read_whole() -> None:
    answer = load(response(io.BytesIO(b'{"data": 1}')), seconds=lambda: 9.0)
    assert answer.json() == {"data": 1}
    assert b"".join(pieces(response(io.BytesIO(b"x" * 100)), most=100, seconds=lambda: 9.0)) == b"x" * 100


@pytest.mark.parametrize("method", ["look", "act"])
def test_a_slow_answer_to_a_write_leaves_its_effect_unknown(method: str) -> None:
    """A read is retried; whether a write had an effect is unknown."""
    left = [60.0]
    stand = CannedStand(answered(200, {"data": run()}), time_left=lambda: left[0])
    whole = stand.canned._response

    def slow(request: requests.PreparedRequest, answer: object) -> requests.Response:
        made = whole(request, answer)  # type: ignore[arg-type]
        made.raw = HTTPResponse(Dripping(b"{" * 500, lambda: left.__setitem__(0, left[0] - 1)), preload_content=False)
        return made

    stand.canned._response = slow  # type: ignore[method-assign]
    if method == "look":
        with pytest.raises(Retryable):
            stand.client.look(ORG, Resource.RUN, RUN)
    else:
        with pytest.raises(Ambiguous):
            stand.client.act(capability(Resource.RUN, Action.ARCHIVE), ORG, RUN)
    assert left[0] == 60.0 - 31  # not the whole remaining time of the function
