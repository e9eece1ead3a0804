"""The names beside the ids in a report: read once for each plan, within the rate, and never needed for a plan."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from lifecycle.aws.s3 import MemoryObjects
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.errors import Code, Rejected, Retryable, Throttled
from lifecycle.plans.names import NAMES, NameReader, store_names, stored_names
from lifecycle.plans.plan_file import Names, Plan
from lifecycle.plans.plan_store import key_of
from lifecycle.policy.evaluate import Mode
from lifecycle.tallyfy.directory import NameList, NamePage
from sandbox.simulator import Fault
from tests.harness.builders import ORG
from tests.harness.fault_injection import ANY_WRITE, FaultInjector
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World

TEMPLATE = "7d" * 16
OLD_TEMPLATE = "8e" * 16


@dataclass
class Shelf:
    """Lists of names by the page. ``wrong`` is raised in place of a page."""

    pages: dict[NameList, list[dict[str, str]]] = field(default_factory=dict)
    wrong: dict[tuple[NameList, int], Exception] = field(default_factory=dict)
    endless: bool = False
    calls: list[tuple[NameList, int]] = field(default_factory=list)

    def page(self, org_id: str, which: NameList, number: int) -> NamePage:
        assert org_id == ORG
        self.calls.append((which, number))
        if (which, number) in self.wrong:
            raise self.wrong[which, number]
        pages = self.pages.get(which) or [{}]
        return NamePage(pages[(number - 1) % len(pages)], 99 if self.endless else len(pages))


def _through[T](org_id: str, call: Callable[[], T]) -> T:
    assert org_id == ORG
    return call()


def _read(shelf: Shelf, *kinds: Resource, objects: MemoryObjects | None = None) -> Names:
    reader = NameReader(
        directory=shelf,
        objects=objects if objects is not None else MemoryObjects(),
        org_id=ORG,
        folder="sweeps/one",
        take_turn=lambda: None,
        through=_through,
    )
    return reader.read(kinds)


MEMBERS, TEMPLATES, ARCHIVED = NameList


def test_all_pages_are_read_and_an_active_template_wins_over_an_archived_one() -> None:
    shelf = Shelf(
        {MEMBERS: [{"1": "Ada"}, {"2": "Bob"}], TEMPLATES: [{"a": "New"}], ARCHIVED: [{"a": "Old", "b": "B"}]}
    )
    assert _read(shelf, Resource.RUN) == Names({"1": "Ada", "2": "Bob"}, {"a": "New", "b": "B"})


@pytest.mark.parametrize(
    ("kinds", "lists"),
    [
        ((Resource.TAG,), set()),
        ((Resource.TASK,), {MEMBERS}),
        ((Resource.TEMPLATE,), {MEMBERS}),
        ((Resource.RUN, Resource.TAG), {MEMBERS, TEMPLATES, ARCHIVED}),
    ],
)
def test_only_lists_that_the_plan_can_show_are_read(kinds: tuple[Resource, ...], lists: set[NameList]) -> None:
    shelf = Shelf()
    _read(shelf, *kinds)
    assert {which for which, _ in shelf.calls} == lists


@pytest.mark.parametrize("error", [Rejected(Code.FORBIDDEN, "No."), Retryable(Code.UNAVAILABLE, "Out.", outage=True)])
def test_a_list_that_cannot_be_read_leaves_ids_and_what_was_read_before_stays(error: Exception) -> None:
    shelf = Shelf({MEMBERS: [{"1": "Ada"}, {"2": "Bob"}], TEMPLATES: [{"a": "New"}]}, {(MEMBERS, 2): error})
    assert _read(shelf, Resource.RUN) == Names({"1": "Ada"}, {"a": "New"})


def test_a_reading_that_has_to_wait_continues_with_the_page_that_is_missing() -> None:
    wait = Throttled(Code.THROTTLED, "Wait.", retry_after=9)
    shelf, objects = Shelf({MEMBERS: [{"1": "Ada"}, {"2": "Bob"}]}, {(MEMBERS, 2): wait}), MemoryObjects()
    with pytest.raises(Throttled):
        _read(shelf, Resource.TASK, objects=objects)
    shelf.wrong.clear()
    assert _read(shelf, Resource.TASK, objects=objects).owners == {"1": "Ada", "2": "Bob"}
    assert shelf.calls == [(MEMBERS, 1), (MEMBERS, 2), (MEMBERS, 2)]


def test_tallyfy_may_ask_to_wait_five_times_and_then_the_plan_is_made_without_the_rest() -> None:
    wait = Throttled(Code.THROTTLED, "Wait.", retry_after=9)
    shelf = Shelf({MEMBERS: [{"1": "Ada"}, {"2": "Bob"}]}, {(MEMBERS, 2): wait})
    objects = MemoryObjects()
    for _ in range(5):
        with pytest.raises(Throttled):
            _read(shelf, Resource.TASK, objects=objects)
    assert _read(shelf, Resource.TASK, objects=objects).owners == {"1": "Ada"}


@pytest.mark.parametrize("code", [Code.RATE_LIMITED, Code.PAUSED, Code.OUTAGE, Code.OUT_OF_TIME])
def test_a_wait_that_is_not_about_the_list_of_names_is_always_waited_for(code: Code) -> None:
    shelf = Shelf(wrong={(MEMBERS, 1): Throttled(code, "Wait.")})
    objects = MemoryObjects()
    for _ in range(9):
        with pytest.raises(Throttled):
            _read(shelf, Resource.TASK, objects=objects)


def test_a_list_that_repeats_itself_or_never_ends_is_read_no_further() -> None:
    shelf = Shelf({MEMBERS: [{"1": "Ada"}]}, endless=True)
    _read(shelf, Resource.TASK)
    assert len(shelf.calls) == 2
    shelf = Shelf({MEMBERS: [{str(number): "Ada"} for number in range(50)]})
    assert len(_read(shelf, Resource.TASK).owners) == 20


def test_names_are_kept_beside_their_plan() -> None:
    objects, names = MemoryObjects(), Names({"1": "Ångström \ud83d"}, {"a": "New"})
    store_names(objects, ORG, "a" * 64, names)
    assert stored_names(objects, ORG, "a" * 64) == names
    assert stored_names(objects, ORG, "b" * 64) == Names()


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"owners": [1]}', b'{"owners": {"1": 2}}', b"null"])
def test_a_damaged_file_of_names_counts_as_none(body: bytes) -> None:
    objects = MemoryObjects()
    objects.put(key_of(ORG, "a" * 64, NAMES), body, kind="application/json")
    assert stored_names(objects, ORG, "a" * 64) == Names()


# --- as a part of a sweep ---


def _night(*, shows_names: bool = True) -> SweepRun:
    night = SweepRun(World(), mode=Mode.REPORT, shows_names=shows_names)
    run_id = night.world.add(Resource.RUN, "1" * 32)
    run = night.world.simulator.organization.runs[run_id]
    run.status, run.completed_at = "complete", night.world.clock() - timedelta(days=45)
    run.owner_id, run.checklist_id = 1001, night.world.add(Resource.TEMPLATE, TEMPLATE)
    night.world.simulator.organization.members[1001].name = "Ada </script> Lovelace"
    return night


def _planned(night: SweepRun) -> Plan:
    night.begin()
    night.drain()
    [plan] = night.plans()
    return plan


def _report(night: SweepRun, plan: Plan) -> str:
    body = night.objects.get(key_of(ORG, plan.hash, "report.html"))
    assert body is not None
    return body.decode()


def test_a_sweep_shows_names_in_the_report_and_they_are_not_part_of_the_plan() -> None:
    night = _night()
    plan = _planned(night)
    kept = stored_names(night.objects, ORG, plan.hash)
    assert kept.owners == {"1001": "Ada </script> Lovelace"}, "no name of anybody else is kept or shown"
    assert list(kept.templates) == [TEMPLATE]
    page = _report(night, plan)
    assert "Sam Standard" not in page
    assert '"1001":"Ada \\u003c/script\\u003e Lovelace"' in page
    assert "Ada &lt;/script&gt; Lovelace" in page
    assert night.world.simulator.organization.templates[TEMPLATE].title in page
    assert plan.hash == _planned(_night(shows_names=False)).hash


def test_each_list_of_names_is_read_once_for_a_plan_wherever_the_sweep_is_cut_off() -> None:
    for skip in range(60):
        night = _night()
        night.fuse = fuse = FaultInjector(ANY_WRITE, skip=skip)
        names = stored_names(night.objects, ORG, _planned(night).hash)
        assert ("1001" in names.owners, TEMPLATE in names.templates) == (True, True)
        if not fuse.blown:
            break
        asked = [call.path for call in night.world.simulator.log.calls if call.path.endswith(("/users", "/checklists"))]
        assert len(asked) in {3, 4}, "at most the page that was being stored is read again"


def test_a_plan_is_made_without_names_where_tallyfy_does_not_show_them() -> None:
    night = _night()
    night.world.simulator.faults.add(Fault.answer_status(403, path="/users"))
    plan = _planned(night)
    assert (plan.unseen, plan.stops, plan.due) == ((), (), 1)
    names = json.loads(night.objects.get(key_of(ORG, plan.hash, NAMES)) or b"")
    assert (names["owners"], list(names["templates"])) == ({}, [TEMPLATE])
