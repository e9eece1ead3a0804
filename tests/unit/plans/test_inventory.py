"""Reading everything before anything is decided: lists that change, lie or end early, a reading that is cut off."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import override

import pytest

from lifecycle.aws.metrics import Metric
from lifecycle.domain.capabilities import Capability, Resource, State
from lifecycle.domain.commands import Find
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.pacing.token_bucket import Rate
from lifecycle.plans.plan_file import Plan
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.tallyfy.client import Json, Listing, Receipt, Tallyfy
from tests.harness.builders import NOW, ORG
from tests.harness.sweep_run import POLICY, SweepRun
from tests.harness.world import World

ACTIVE = "The list of active processes was read 3 times and was never consistent: "


def _id(number: int) -> str:
    return f"{number:032x}"


def _add(night: SweepRun, number: int, *, days: int = 45) -> str:
    """A process completed so many days ago; the higher its number, the younger."""
    run_id = night.world.add(Resource.RUN, _id(number))
    run = night.world.simulator.organization.runs[run_id]
    run.created_at += timedelta(minutes=number)
    run.status, run.completed_at = "complete", night.world.clock() - timedelta(days=days)
    return run_id


def _night(count: int, *, policy: str = POLICY) -> SweepRun:
    night = SweepRun(World(rate=Rate(6000, 6000)), policy=Policy.parse(policy))
    for number in range(count):
        _add(night, number)
    return night


def _active(night: SweepRun) -> set[str]:
    return {run.id for run in night.world.simulator.organization.runs.values() if run.archived_at is None}


def _seen(night: SweepRun, plan: Plan) -> list[str]:
    return [entry.thing.id for entry in night.entries(plan)]


def _after_step(night: SweepRun, then: Mapping[int, Callable[[], object]]) -> None:
    """Let something happen in Tallyfy after some of the steps of the sweep, counted from 1."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1
        then.get(steps, lambda: None)()

    night.after_step = count


def _leaves(night: SweepRun, number: int) -> Callable[[], None]:
    return lambda: night.world.simulator.organization.runs[_id(number)].archive(night.world.clock())


def _joins(night: SweepRun, number: int) -> Callable[[], object]:
    def join() -> None:
        night.world.clock.advance(timedelta(seconds=5))
        run = night.world.simulator.organization.runs[_add(night, number)]
        run.created_at = night.world.clock()

    return join


def _planned(night: SweepRun) -> Plan:
    night.mode = Mode.REPORT
    night.begin()
    night.drain()
    [plan] = night.plans()
    return plan


def _not_applied(night: SweepRun, *unseen: str) -> None:
    """The plan says what could not be seen, and nobody does anything of it."""
    night.begin()
    night.drain()
    [plan] = night.plans()
    assert plan.unseen == unseen
    assert plan.seen == plan.due + plan.kept + plan.failed
    assert (night.asked(), night.world.writes()) == ([], [])
    assert night.reports()[0]["stopped_by"] == " ".join(unseen)
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == 1
    night.apply(plan.hash)
    night.drain()
    assert (night.asked(), night.world.writes()) == ([], [])


# --- lists that change while they are read: four pages, then again ---


def test_everything_is_read_oldest_first_and_kept_page_by_page() -> None:
    night = _night(0)
    for number in reversed(range(350)):
        _add(night, number)
    plan = _planned(night)
    assert _seen(night, plan) == [_id(number) for number in range(350)]
    assert len(night.objects.keys(f"sweeps/{ORG}/")) == 4
    lists = [call for call in night.world.simulator.log.calls if call.path.partition("?")[0].endswith("/runs")]
    assert len(lists) == 4


@pytest.mark.parametrize("number", [0, 99, 150, 349])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_list_is_read_again_after_an_item_left(number: int, after: int) -> None:
    night = _night(350)
    _after_step(night, {after: _leaves(night, number)})
    plan = _planned(night)
    assert plan.unseen == ()
    assert set(_seen(night, plan)) == _active(night)
    assert plan.seen == 349
    assert len(night.objects.keys(f"sweeps/{ORG}/")) == 8


def test_an_item_that_leaves_after_the_last_page_is_still_planned() -> None:
    night = _night(350)
    _after_step(night, {4: _leaves(night, 0)})
    plan = _planned(night)
    assert (plan.unseen, plan.seen) == ((), 350)


@pytest.mark.parametrize("count", [250, 300])
@pytest.mark.parametrize("after", [1, 2])
def test_a_process_launched_during_the_reading_comes_last_and_shifts_nothing(count: int, after: int) -> None:
    night = _night(count)
    _after_step(night, {after: _joins(night, 9000)})
    plan = _planned(night)
    assert (plan.unseen, plan.seen) == ((), count + 1)
    assert _seen(night, plan)[-1] == _id(9000)
    assert len(night.objects.keys(f"sweeps/{ORG}/")) == (count + 1 + 99) // 100, "read once"


def test_a_process_launched_just_now_does_not_invalidate_a_single_page() -> None:
    night = _night(3)
    night.world.simulator.organization.runs[_id(2)].created_at = night.world.clock()
    plan = _planned(night)
    assert (plan.unseen, plan.seen) == ((), 3)
    assert len(night.objects.keys(f"sweeps/{ORG}/")) == 1, "read once"


def test_a_new_process_does_not_hide_one_that_left() -> None:
    night = _night(350)
    meanwhile = {
        1: _leaves(night, 0),
        2: _joins(night, 9000),
        4: lambda: night.world.clock.advance(timedelta(minutes=1)),
    }
    _after_step(night, meanwhile)
    plan = _planned(night)
    assert (plan.unseen, plan.seen) == ((), 350)
    assert set(_seen(night, plan)) == _active(night)
    assert len(night.objects.keys(f"sweeps/{ORG}/")) == 8


def test_a_list_that_changes_in_every_reading_is_read_three_times_and_not_applied() -> None:
    night = _night(350)
    _after_step(night, {step: _leaves(night, step) for step in (1, 6, 11)})
    _not_applied(night, f"{ACTIVE}1 things left the list while it was read.")
    assert len(night.objects.keys(f"sweeps/{ORG}/")) == 12


def test_the_third_reading_may_be_the_consistent_one() -> None:
    night = _night(350)
    _after_step(night, {step: _leaves(night, step) for step in (1, 6)})
    night.begin()
    night.drain()
    [plan] = night.plans()
    assert (plan.unseen, plan.seen) == ((), 348)
    assert len(night.archived()) == 350


TWO_LISTS = f"""{POLICY}
[[rules]]
name = "long-archived"
resource = "process"
action = "delete"
irreversible = true
[rules.when]
archived_days = 60
"""


def test_a_process_seen_in_two_lists_stops_the_plan() -> None:
    night = _night(3, policy=TWO_LISTS)
    _after_step(night, {1: _leaves(night, 1)})
    _not_applied(night, "1 things were listed twice: a list changed while it was read, or two things have the same id.")
    [plan] = night.plans()
    assert sorted(_seen(night, plan)) == [_id(number) for number in range(3)], "it is given once"


# --- lists that no honest server gives ---


def _thing(
    number: int, resource: Resource = Resource.RUN, state: State = State.ACTIVE, **facts: object
) -> ResourceSnapshot:
    made: dict[str, object] = {
        "name": f"Thing {number}",
        "status": "complete",
        "created_at": NOW - timedelta(days=900) + timedelta(minutes=number),
        "completed_at": NOW - timedelta(days=45),
        "tags": frozenset(),
        "owners": frozenset(),
        "template_id": "7e" * 16,
    }
    return ResourceSnapshot(resource=resource, id=_id(number), state=state, **{**made, **facts})  # type: ignore[arg-type]


@dataclass
class Lists(Tallyfy):
    """A Tallyfy of which only the lists are another's: so many things on each page, and told as ``lie`` says."""

    tallyfy: Tallyfy
    active: Sequence[ResourceSnapshot]
    archived: Sequence[ResourceSnapshot] = ()
    others: Sequence[ResourceSnapshot] = ()
    """One-off tasks."""
    per_page: int = 4
    lie: Callable[[int, Listing], Listing] = lambda _, listing: listing
    """The number of the call, counted over all lists from 1, and the honest answer."""
    calls: list[tuple[Resource, int, Mapping[str, str]]] = field(default_factory=list)

    @override
    def look(self, org_id: str, resource: Resource, thing_id: str) -> ResourceSnapshot | None:
        return self.tallyfy.look(org_id, resource, thing_id)

    @override
    def act(self, doing: Capability, org_id: str, thing_id: str) -> Receipt:
        return self.tallyfy.act(doing, org_id, thing_id)

    @override
    def search(self, org_id: str, find: Find, *, archived: bool) -> list[ResourceSnapshot]:
        return self.tallyfy.search(org_id, find, archived=archived)

    @override
    def account(self, org_id: str) -> tuple[Json, Json]:
        return self.tallyfy.account(org_id)

    @override
    def page(self, org_id: str, resource: Resource, number: int, query: Mapping[str, str]) -> Listing:
        self.calls.append((resource, number, query))
        shelf = self.archived if query.get("archived") == "only" else self.active
        things = shelf if resource is Resource.RUN else self.others
        cut = list(things[(number - 1) * self.per_page : number * self.per_page])
        pages = max(1, -(-len(things) // self.per_page))
        return self.lie(len(self.calls), Listing(cut, pages if cut else number, len(things)))


def _lying(night: SweepRun, **lists: object) -> Lists:
    """Put lists between a night and its Tallyfy."""
    made = Lists(None, **lists)  # type: ignore[arg-type]

    def through(tallyfy: Tallyfy) -> Tallyfy:
        made.tallyfy = tallyfy
        return made

    night.seen_through = through
    return made


SEVENTEEN = [_thing(number) for number in range(17)]


def test_a_correct_list_is_consistent() -> None:
    night = _night(0)
    lists = _lying(night, active=SEVENTEEN)
    assert (_planned(night).unseen, night.plans()[0].seen) == ((), 17)
    assert [number for _, number, _ in lists.calls] == [1, 2, 3, 4, 5]


def _repeats(call: int, listing: Listing) -> Listing:
    return replace(listing, things=SEVENTEEN[:4]) if listing.things[:1] == SEVENTEEN[4:5] else listing


def _ends_early(call: int, listing: Listing) -> Listing:
    return replace(listing, things=[], pages=3) if listing.things[:1] == SEVENTEEN[8:9] else listing


def _says_fewer_pages(call: int, listing: Listing) -> Listing:
    return replace(listing, pages=2)


def _says_no_total(call: int, listing: Listing) -> Listing:
    return replace(listing, total=None)


def _says_no_total_in_the_end(call: int, listing: Listing) -> Listing:
    return replace(listing, total=None) if len(listing.things) == 1 else listing


def _says_too_many(call: int, listing: Listing) -> Listing:
    return replace(listing, total=18)


def _says_too_few(call: int, listing: Listing) -> Listing:
    return replace(listing, total=16)


def _one_twice(call: int, listing: Listing) -> Listing:
    last = listing.things[:1] == SEVENTEEN[16:17]
    return replace(listing, things=[SEVENTEEN[0]]) if last else listing


LIES = [
    (_repeats, "4 things were listed twice"),
    (_one_twice, "1 things were listed twice"),
    (_ends_early, "Tallyfy counts 17 things but listed 8"),
    (_says_fewer_pages, "Tallyfy counts 17 things but listed 8"),
    (_says_no_total, "Tallyfy did not say how many things there are"),
    (_says_no_total_in_the_end, "Tallyfy did not say how many things there are"),
    (_says_too_many, "Tallyfy counts 18 things but listed 17"),
    (_says_too_few, "Tallyfy counts 16 things but listed 17"),
]


@pytest.mark.parametrize(("lie", "why"), LIES)
def test_an_inconsistent_list_is_read_three_times_and_not_applied(
    lie: Callable[[int, Listing], Listing], why: str
) -> None:
    night = _night(0)
    lists = _lying(night, active=SEVENTEEN, lie=lie)
    twice = (1, 4)
    more = [
        f"{many} things were listed twice: a list changed while it was read, or two things have the same id."
        for many in twice
        if why == f"{many} things were listed twice"
    ]
    _not_applied(night, f"{ACTIVE}{why}.", *more)
    firsts = [number for _, number, _ in lists.calls if number == 1]
    assert len(firsts) == 3


@pytest.mark.parametrize(("lie", "why"), LIES)
@pytest.mark.parametrize("lies", [1, 2])
def test_a_list_that_is_consistent_when_read_again_is_accepted(
    lie: Callable[[int, Listing], Listing], why: str, lies: int
) -> None:
    assert why
    night = _night(0)
    lists = _lying(night, active=SEVENTEEN)
    lists.lie = lambda call, listing: (
        lie(call, listing) if [number for _, number, _ in lists.calls].count(1) <= lies else listing
    )
    plan = _planned(night)
    assert (plan.unseen, plan.seen, plan.due) == ((), 17, 17)
    assert [number for _, number, _ in lists.calls].count(1) == lies + 1
    assert _seen(night, plan) == [thing.id for thing in SEVENTEEN], "nothing of a reading that was given up"


def test_a_server_that_ignores_archived_only_cannot_make_anything_count_as_archived() -> None:
    """Its list of archived processes shows the active ones, without a date of archiving."""
    night = _night(0, policy=TWO_LISTS.replace('status = ["complete"]\ncompleted_days = 30', "completed_days = 3650"))
    shown = [replace(thing, state=State.ARCHIVED) for thing in SEVENTEEN]
    lists = _lying(night, active=[], archived=shown)
    plan = _planned(night)
    assert (plan.due, plan.seen) == (0, 17)
    assert set(plan.kept_by) == {"no date"}
    night.apply(plan.hash)
    night.drain()
    assert night.asked() == []
    assert [query.get("archived") for _, number, query in lists.calls if number == 1] == [None, "only"]


def test_a_server_that_returns_one_list_as_active_and_archived_is_not_trusted() -> None:
    night = _night(0, policy=TWO_LISTS)
    _lying(night, active=SEVENTEEN, archived=[replace(thing, state=State.ARCHIVED) for thing in SEVENTEEN])
    _not_applied(
        night, "17 things were listed twice: a list changed while it was read, or two things have the same id."
    )


def test_one_id_for_two_kinds_stops_the_plan() -> None:
    tasks = """
[[rules]]
name = "tasks"
resource = "task"
action = "archive"
[rules.when]
completed_days = 30
"""
    night = _night(0, policy=POLICY + tasks)
    same = _thing(16, Resource.TASK, one_off=True)
    _lying(night, active=SEVENTEEN, others=[same, _thing(100, Resource.TASK, one_off=True)])
    _not_applied(night, "1 things were listed twice: a list changed while it was read, or two things have the same id.")


def test_a_row_that_is_not_an_object_is_counted_as_unreadable() -> None:
    night = _night(0)
    _lying(
        night,
        active=SEVENTEEN,
        lie=lambda call, listing: replace(listing, things=listing.things[1:], unreadable=1) if call == 2 else listing,
    )
    plan = _planned(night)
    assert (plan.unseen, plan.seen, plan.due, plan.failed) == ((), 17, 16, 1)


@pytest.mark.parametrize("bad", ["", "x", f"{_id(4)}/delete", _id(4).upper() + "A"])
def test_a_row_without_an_id_is_counted_as_unreadable(bad: str) -> None:
    night = _night(0)
    _lying(night, active=[*SEVENTEEN[:4], replace(SEVENTEEN[4], id=bad), *SEVENTEEN[5:]])
    plan = _planned(night)
    assert (plan.unseen, plan.seen, plan.due, plan.failed) == ((), 17, 16, 1)
    assert bad not in _seen(night, plan)


# --- cut off ---

PAGES = 50


def _of_fifty_pages() -> tuple[SweepRun, Lists]:
    """Every third is due, the others are too young."""
    night = _night(0)
    days = [45 if number % 3 == 0 else 3 for number in range(PAGES * 4)]
    things = [_thing(number, completed_at=NOW - timedelta(days=age)) for number, age in enumerate(days)]
    lists = _lying(night, active=things)
    night.mode = Mode.REPORT
    return night, lists


@pytest.fixture(scope="module")
def undisturbed() -> str:
    night, lists = _of_fifty_pages()
    night.begin()
    night.drain()
    [plan] = night.plans()
    assert len(lists.calls) == PAGES
    assert (plan.seen, plan.due) == (200, 67)
    return plan.hash


@pytest.mark.parametrize("page", range(1, PAGES + 2))
def test_a_sweep_killed_at_any_page_continues_there_and_makes_the_same_plan(undisturbed: str, page: int) -> None:
    """The last step is the plan itself."""
    night, lists = _of_fifty_pages()
    night.kill_after(page)
    night.begin()
    assert night.drain() == 3
    [plan] = night.plans()
    assert plan.hash == undisturbed
    assert [number for _, number, _ in lists.calls] == list(range(1, PAGES + 1)), "no page is read twice"


def test_a_sweep_killed_at_every_page_makes_the_same_plan(undisturbed: str) -> None:
    """Over days: its clock stays that of its beginning."""
    night, _ = _of_fifty_pages()
    night.kill_after(*range(1, PAGES + 2))
    night.begin()
    assert night.drain() == PAGES + 3
    assert night.world.clock() - NOW > timedelta(days=3)
    assert [plan.hash for plan in night.plans()] == [undisturbed]


def test_a_sweep_out_of_time_at_every_page_makes_the_same_plan(undisturbed: str) -> None:
    night, _ = _of_fifty_pages()

    def tired() -> None:
        night.time_left = 10.0

    night.after_step = tired
    night.begin()
    night.deliver()
    invocations = 0
    while night.queue.entries:
        night.time_left = 900.0
        night.turn()
        invocations += 1
    assert invocations == PAGES + 1
    assert [plan.hash for plan in night.plans()] == [undisturbed]


def test_a_missing_stored_page_stops_the_plan() -> None:
    night, _ = _of_fifty_pages()
    night.kill_after(PAGES)
    night.begin()
    night.deliver()
    night.deliver()
    [key, *_] = night.objects.keys(f"sweeps/{ORG}/")
    kept = night.objects.get(key) or b""
    del night.objects.bodies[key]  # type: ignore[attr-defined]
    assert not night.turn()
    assert night.plans() == []
    assert "is missing from the store" in str(night.world.metrics.notes[-1])
    night.objects.put(key, kept, kind="application/jsonl")
    night.drain()
    assert len(night.plans()) == 1
