"""A process by its tag or name: exactly one match, or nothing is done."""

from datetime import timedelta

import pytest

from lifecycle.aws.metrics import Metric
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Command, Find
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import Status
from sandbox.simulator import Fault
from sandbox.simulator.world import Tag
from tests.harness.builders import NOW
from tests.harness.fault_injection import When
from tests.harness.world import VISIBILITY, World

ONE, TWO, THREE = "a1" * 16, "a2" * 16, "a3" * 16
TAG, TEMPLATE = "b1" * 16, "c1" * 16
BY_TAG = {"tag": "deal-7"}
BY_NAME = {"name": "Website relaunch", "template": TEMPLATE}


@pytest.fixture
def world() -> World:
    made = World()
    made.simulator.organization.tags[TAG] = Tag(TAG, "deal-7", NOW)
    made.add(Resource.TEMPLATE, TEMPLATE)
    for run in (ONE, TWO, THREE):
        made.add(Resource.RUN, run)
    return made


def tagged(world: World, *runs: str) -> None:
    for run in runs:
        world.simulator.organization.runs[run].tags.add(TAG)


def named(world: World, run: str, name: str = "Website relaunch", template: str = TEMPLATE) -> None:
    world.simulator.organization.runs[run].name = name
    world.simulator.organization.runs[run].checklist_id = template


def ask(world: World, find: dict[str, str] = BY_TAG, action: Action = Action.ARCHIVE, **more: object) -> Command:
    world.clock.advance(timedelta(seconds=1))
    command = world.command(Resource.RUN, "", action, f"{action}-{world.clock()}", **{"id": None, "find": find, **more})
    world.send(command)
    return command


def searches(world: World) -> int:
    return len([call for call in world.simulator.log.calls if (call.action, call.resource) == ("list", "run")])


def acted(world: World) -> list[tuple[str | None, str | None]]:
    return [(call.action, call.id) for call in world.simulator.log.calls if call.acted]


# --- one, none, several ---


@pytest.mark.parametrize("action", [Action.ARCHIVE, Action.RESTORE])
def test_a_search_without_a_match_is_ignored_if_the_rule_says_so(world: World, action: Action) -> None:
    command = ask(world, action=action, if_none="ignore")
    world.process().deliver()
    row = world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.UNCHANGED, Code.NOTHING_TO_DO)
    assert acted(world) == []
    assert world.dead_letters.depth() == 0


def test_several_matches_are_dead_lettered_even_with_if_none_ignore(world: World) -> None:
    tagged(world, ONE, TWO)
    command = ask(world, if_none="ignore")
    world.process().deliver()
    assert world.intent(command.intent_id).code == Code.AMBIGUOUS_MATCH
    assert acted(world) == []
    assert world.dead_letters.depth() == 1


def test_a_single_match_is_archived_with_if_none_ignore(world: World) -> None:
    tagged(world, ONE)
    command = ask(world, if_none="ignore")
    world.process().deliver()
    assert world.intent(command.intent_id).status is Status.DONE
    assert acted(world) == [("archive", ONE)]


@pytest.mark.parametrize("find", [BY_TAG, BY_NAME], ids=["tag", "name"])
def test_the_only_match_is_archived(world: World, find: dict[str, str]) -> None:
    tagged(world, TWO)
    named(world, TWO)
    command = ask(world, find)
    assert world.process().deliver() == 1
    assert acted(world) == [("archive", TWO)]
    row = world.intent(command.intent_id)
    assert (row.status, row.id) == (Status.DONE, TWO)
    assert world.bus.announced[0][1]["id"] == TWO


@pytest.mark.parametrize("find", [BY_TAG, BY_NAME], ids=["tag", "name"])
def test_a_search_without_a_match_is_rejected_and_nothing_is_done(world: World, find: dict[str, str]) -> None:
    command = ask(world, find)
    assert world.process().deliver() == 1
    assert world.writes() == []
    row = world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.REJECTED, Code.AMBIGUOUS_MATCH)
    assert row.reason == (
        f"0 active processes match instead of exactly one: the {next(iter(find))} must match exactly, and archived "
        "ones are not searched. Nothing was done."
    )
    [letter] = world.letters(command.intent_id)
    assert (letter["code"], letter["reason"]) == ("ambiguous_match", row.reason)
    assert world.announced(command.intent_id) == ["rejected"]


@pytest.mark.parametrize("find", [BY_TAG, BY_NAME], ids=["tag", "name"])
def test_two_matches_are_named_and_nothing_is_done(world: World, find: dict[str, str]) -> None:
    tagged(world, ONE, THREE)
    named(world, ONE)
    named(world, THREE)
    command = ask(world, find)
    world.process().deliver()
    assert world.writes() == []
    reason = world.intent(command.intent_id).reason
    assert reason == f"2 active processes match instead of exactly one: {ONE}, {THREE}. Nothing was done."


def test_only_a_few_of_many_matches_are_named(world: World) -> None:
    runs = [world.add(Resource.RUN, f"{number:032x}") for number in range(150)]
    tagged(world, *runs)
    command = ask(world)
    world.process().deliver()
    reason = world.intent(command.intent_id).reason
    assert reason.startswith(f"150 active processes match instead of exactly one: {runs[0]}, ")
    assert reason.count(", ") == 4
    assert world.writes() == []


# --- exactly ---


@pytest.mark.parametrize("title", ["deal-77", "Deal-7", "deal-7 ", "my deal-7", "deal"])
def test_a_similar_tag_does_not_match(world: World, title: str) -> None:
    world.simulator.organization.tags[TAG].title = title
    tagged(world, ONE)
    command = ask(world)
    world.process().deliver()
    assert world.intent(command.intent_id).code == Code.AMBIGUOUS_MATCH
    assert world.writes() == []


@pytest.mark.parametrize(
    "name", ["website relaunch", "Website relaunch 2", "The Website relaunch", "Website  relaunch"]
)
def test_a_similar_name_does_not_match(world: World, name: str) -> None:
    named(world, ONE, name)
    named(world, TWO)
    ask(world, BY_NAME)
    world.process().deliver()
    assert acted(world) == [("archive", TWO)]


def test_a_name_in_another_template_does_not_match(world: World) -> None:
    named(world, ONE, template="c2" * 16)
    named(world, TWO)
    ask(world, BY_NAME)
    world.process().deliver()
    assert acted(world) == [("archive", TWO)]


def test_a_search_by_tag_reads_all_pages(world: World) -> None:
    for number in range(250):
        world.add(Resource.RUN, f"{number:032x}")
    named(world, f"{249:032x}")
    for number in range(249):
        named(world, f"{number:032x}", name="Website relaunch of somebody else")
    ask(world, BY_NAME)
    world.process().deliver()
    assert acted(world) == [("archive", f"{249:032x}")]


# --- active for archiving, archived for restoring ---


def test_an_archive_does_not_find_archived_processes(world: World) -> None:
    tagged(world, ONE, TWO)
    world.simulator.organization.runs[ONE].archive(world.clock())
    ask(world)
    world.process().deliver()
    assert acted(world) == [("archive", TWO)]


def test_a_restore_searches_archived_processes(world: World) -> None:
    tagged(world, ONE, TWO)
    world.simulator.organization.runs[TWO].archive(world.clock())
    ask(world, action=Action.RESTORE)
    world.process().deliver()
    assert acted(world) == [("restore", TWO)]


def test_a_restore_does_not_find_active_processes(world: World) -> None:
    tagged(world, ONE)
    command = ask(world, action=Action.RESTORE)
    world.process().deliver()
    assert world.intent(command.intent_id).reason.startswith("0 archived processes match")


def test_a_found_process_passes_the_same_guards_as_a_named_one(world: World) -> None:
    tagged(world, ONE)
    command = ask(world, expect={"name": "Another name"})
    world.process().deliver()
    assert world.intent(command.intent_id).code == Code.CHANGED
    assert world.writes() == []


# --- found once, meant for good ---


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["claim", "look", "act", "conclude", "announce", "mark_delivered"])
def test_a_worker_killed_at_any_step_archives_the_one_it_found_once(world: World, point: str, when: When) -> None:
    tagged(world, ONE)
    command = ask(world)
    dying = world.process()
    dying.fuse.point, dying.fuse.when = point, when
    dying.deliver()
    assert dying.fuse.dead
    world.clock.advance(timedelta(seconds=VISIBILITY))
    world.drain(world.process())
    assert acted(world) == [("archive", ONE)]
    assert world.intent(command.intent_id).status is Status.DONE


def test_the_first_match_stays_the_target_even_if_another_process_matches_later(world: World) -> None:
    tagged(world, ONE)
    command = ask(world)
    dying = world.process()
    dying.fuse.point, dying.fuse.when = "act", "after"
    dying.deliver()
    tagged(world, TWO)
    world.clock.advance(timedelta(seconds=VISIBILITY))
    world.drain(world.process())
    assert acted(world) == [("archive", ONE)]
    assert world.state(Resource.RUN, TWO) is State.ACTIVE
    assert world.intent(command.intent_id).code == Code.CONFIRMED
    assert searches(world) == 1


def test_a_copy_of_a_done_command_does_not_search_again(world: World) -> None:
    tagged(world, ONE)
    command = ask(world)
    world.process().deliver()
    tagged(world, TWO)
    world.clock.advance(timedelta(days=5))
    world.send(command)
    assert world.process().deliver() == 1
    assert acted(world) == [("archive", ONE)]
    assert searches(world) == 1
    assert world.metrics.counts[Metric.DUPLICATE] == 1


# --- a search that failed ---


def test_a_copy_of_a_rejected_command_does_not_search_again(world: World) -> None:
    command = ask(world)
    world.process().deliver()
    tagged(world, ONE)
    world.send(command)
    assert world.process().deliver() == 1
    assert searches(world) == 1
    assert world.writes() == []
    assert len(world.letters(command.intent_id)) == 1


def test_a_redriven_command_searches_again(world: World) -> None:
    command = ask(world)
    world.process().deliver()
    tagged(world, ONE)
    assert world.send_again() == 1
    world.process().deliver()
    assert acted(world) == [("archive", ONE)]
    assert world.announced(command.intent_id) == ["rejected", "done"]


def test_a_redriven_command_without_a_match_is_rejected_again(world: World) -> None:
    command = ask(world)
    for number in range(3):
        world.process().deliver()
        [letter] = world.letters(command.intent_id)
        assert letter["redrive"] == str(number)
        assert world.send_again() == 1
    assert world.writes() == []
    assert world.announced(command.intent_id) == ["rejected"] * 3


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["end", "dead_letter", "announce", "mark_delivered"])
def test_a_rejection_that_was_cut_off_leaves_its_dead_letter_and_no_effect(
    world: World, point: str, when: When
) -> None:
    command = ask(world)
    dying = world.process()
    dying.fuse.point, dying.fuse.when = point, when
    dying.deliver()
    assert dying.fuse.dead
    world.clock.advance(timedelta(seconds=VISIBILITY))
    world.drain(world.process())
    assert world.intent(command.intent_id).pending == ()
    assert world.letters(command.intent_id)
    assert "rejected" in world.announced(command.intent_id)
    assert world.writes() == []


@pytest.mark.parametrize("fault", [Fault.answer_status(503), Fault.html(502), Fault.reset(), Fault.rate_limit(30)])
def test_a_failed_search_is_retried_and_not_treated_as_no_match(world: World, fault: Fault) -> None:
    tagged(world, ONE)
    world.simulator.add_fault(fault)
    command = ask(world)
    assert world.process().deliver() == 0
    row = world.intent(command.intent_id)
    begun = (Status.ACCEPTED, 0) if fault.kind == "rate_limit" else (Status.WAITING, 1)
    assert (row.status, row.attempts) == begun
    assert row.id == ""
    world.drain(world.process())
    assert acted(world) == [("archive", ONE)]


def test_a_paused_command_does_not_search(world: World) -> None:
    tagged(world, ONE)
    world.pacing.pause(command := ask(world).org_id, "Ada")
    assert command
    assert world.process().deliver() == 0
    assert world.simulator.log.calls == []


def test_the_sixth_failed_search_is_dead_lettered_with_its_reason(world: World) -> None:
    tagged(world, ONE)
    world.simulator.add_fault(Fault.answer_status(503, times=-1))
    command = ask(world)
    process, waits = world.process(), []
    for attempts in range(1, 6):
        assert process.deliver() == 0
        row = world.intent(command.intent_id)
        assert (row.status, row.code, row.attempts, row.id) == (Status.WAITING, Code.UNAVAILABLE, attempts, "")
        wait = world.next_visible()
        assert wait is not None
        waits.append(wait)
        world.clock.advance(timedelta(seconds=wait))
    assert waits == [23, 45, 90, 180, 360]  # base 30 s, doubled, half of it jittered; the roll is 0.5
    assert process.deliver() == 1
    row = world.intent(command.intent_id)
    assert (row.status, row.code, row.pending) == (Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, ())
    [letter] = world.letters(command.intent_id)
    assert (letter["code"], letter["attempts"], letter["reason"]) == ("attempts_exhausted", "6", row.reason)
    assert row.reason == "6 attempts failed. The last error was: Tallyfy answered 503 and nothing readable."
    assert world.announced(command.intent_id) == ["dead_lettered"]
    assert len([call for call in world.simulator.log.calls if call.action == "list"]) == 6
    assert world.writes() == []


def test_a_dead_lettered_search_is_done_when_it_is_redriven_after_the_outage(world: World) -> None:
    tagged(world, ONE)
    world.simulator.add_fault(Fault.answer_status(503, times=-1))
    command = ask(world)
    world.drain(world.process())
    world.simulator.faults.clear()
    assert world.send_again() == 1
    world.drain(world.process())
    assert acted(world) == [("archive", ONE)]
    row = world.intent(command.intent_id)
    assert (row.status, row.attempts, row.redrive) == (Status.DONE, 1, 1)
    assert world.announced(command.intent_id) == ["dead_lettered", "done"]


def test_a_rate_limited_search_counts_no_attempt(world: World) -> None:
    tagged(world, ONE)
    world.simulator.add_fault(Fault.rate_limit(1, times=20))
    command = ask(world)
    world.drain(world.process())
    row = world.intent(command.intent_id)
    assert (row.status, row.attempts) == (Status.DONE, 1)


def test_failed_searches_and_failed_calls_are_counted_together(world: World) -> None:
    tagged(world, ONE)
    world.simulator.add_fault(Fault.answer_status(503, times=3))
    command = ask(world)
    process = world.process()
    for _ in range(3):
        process.deliver()
        world.clock.advance(timedelta(seconds=world.next_visible() or 0))
    world.simulator.add_fault(Fault.answer_status(503, times=-1, method="DELETE"))
    world.drain(process)
    row = world.intent(command.intent_id)
    assert (row.status, row.code, row.attempts) == (Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, 6)


@pytest.mark.parametrize("state", ["done", "rejected", "waiting"])
def test_a_copy_that_searches_for_something_else_is_poison_and_the_recorded_command_stays(
    world: World, state: str
) -> None:
    if state != "rejected":
        tagged(world, ONE)
    if state == "waiting":
        world.simulator.add_fault(Fault.answer_status(503))
    named(world, TWO)
    first = ask(world)
    process = world.process()
    process.deliver()
    recorded = world.intent(first.intent_id)
    assert recorded.status == state
    effects, searched = acted(world), searches(world)
    other = first.model_copy(update={"find": Find(name="Website relaunch", template=TEMPLATE)})
    letters = world.dead_letters.depth()
    world.queue.send(other.to_json())
    process.deliver()
    assert world.intent(first.intent_id) == recorded
    assert (acted(world), searches(world)) == (effects, searched)
    assert world.state(Resource.RUN, TWO) is State.ACTIVE
    assert world.dead_letters.depth() == letters + 1
    [*_, entry] = world.dead_letters.entries.values()
    assert (entry.message.attributes["code"], entry.message.body) == ("intent_conflict", other.to_json())
    assert world.metrics.counts[Metric.POISON] == 1
    assert world.metrics.counts[Metric.DUPLICATE] == 0


# --- tags are found by their title, and processes by the id of the tag ---


def test_the_search_asks_tallyfy_by_the_id_of_the_tag(world: World) -> None:
    tagged(world, TWO)
    ask(world)
    world.process().deliver()
    queries = [call.query for call in world.simulator.log.calls if (call.action, call.resource) == ("list", "run")]
    assert [query.get("tag_ids") for query in queries] == [TAG]
    assert all("tag" not in query for query in queries)


def only_tags(world: World, *titles: str) -> None:
    world.simulator.organization.tags.clear()
    for number, title in enumerate(titles):
        world.simulator.organization.tags[f"{number:032x}"] = Tag(f"{number:032x}", title, NOW)


NO_SUCH_TAG: list[tuple[str, ...]] = [(), ("Deal-7",), ("deal-70",)]


@pytest.mark.parametrize("titles", [*NO_SUCH_TAG, ("deal-7", "deal-7")])
def test_a_tag_title_that_exists_never_or_twice_is_no_match(world: World, titles: tuple[str, ...]) -> None:
    only_tags(world, *titles)
    command = ask(world)
    world.process().deliver()
    row = world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.REJECTED, Code.AMBIGUOUS_MATCH)
    assert world.writes() == []


@pytest.mark.parametrize("titles", NO_SUCH_TAG)
def test_a_missing_tag_means_no_match_and_a_rule_may_ignore_it(world: World, titles: tuple[str, ...]) -> None:
    only_tags(world, *titles)
    command = ask(world, if_none="ignore")
    world.process().deliver()
    row = world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.UNCHANGED, Code.NOTHING_TO_DO)
    assert searches(world) == 0
    assert world.dead_letters.depth() == 0


def test_several_tags_with_the_same_title_are_never_ignored(world: World) -> None:
    only_tags(world, "deal-7", "deal-7")
    command = ask(world, if_none="ignore")
    world.process().deliver()
    row = world.intent(command.intent_id)
    assert (row.status, row.code) == (Status.REJECTED, Code.AMBIGUOUS_MATCH)
    assert "2 tags have exactly this title" in row.reason
