import re
from datetime import timedelta

import pytest

from cli.services.plans import refusals_of
from cli.ui.errors import Exit
from lifecycle.approvals.people import People
from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.commands import PLAN
from lifecycle.plans.limits import refusals
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_store import key_of
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.sweep.jobs import JobKind, SweepJob
from sandbox.simulator import SeedTag
from tests.harness.builders import bodies
from tests.harness.sweep_run import SweepRun
from tests.unit.cli.harness import OPERATOR, ORG, CliHarness
from tests.unit.cli.planned import LASTING, RULE, at_night, organization, runs

TAGS = [SeedTag(id=f"c{number:031x}", title=f"left over {number}") for number in range(2)]


def reported(desk: CliHarness, *, policy: str = RULE, count: int = 3, tags: bool = False) -> tuple[SweepRun, Plan]:
    """A plan that waits for a person."""
    night = at_night(desk, organization(runs(count), TAGS if tags else []), policy=policy)
    night.world.people = People.parse(desk.people)
    night.begin()
    night.drain()
    [plan] = night.plans()
    return night, plan


def jobs(desk: CliHarness) -> list[SweepJob]:
    found = [SweepJob.model_validate_json(text) for text in bodies(desk.stack.origins["sweeps"])]
    assert all(job.kind is JobKind.APPLY for job in found)
    return found


def test_a_confirmed_plan_is_sent_under_the_callers_identity(desk: CliHarness) -> None:
    _, plan = reported(desk)
    result = desk.run("apply", plan.hash, typed="y\n")
    assert result.exit_code == 0, result.output
    [job] = jobs(desk)
    assert (job.org_id, job.plan, job.requested_by) == (ORG, plan.hash, OPERATOR)
    assert re.fullmatch(rf"apply-{plan.hash[:12]}-[0-9a-f]{{8}}", job.sweep_id)
    for part in ("3 seen = 3 due", "completed  archive process: 3 of 3", "lifecycle pause", "lifecycle explain"):
        assert part in result.output


def test_each_apply_sends_a_separate_job(desk: CliHarness) -> None:
    _, plan = reported(desk)
    for _ in range(2):
        assert desk.run("apply", plan.hash, "--yes").exit_code == 0
    assert len({job.sweep_id for job in jobs(desk)}) == 2


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_without_confirmation_nothing_is_sent(desk: CliHarness, typed: str) -> None:
    _, plan = reported(desk)
    assert desk.run("apply", plan.hash, typed=typed).exit_code == 1
    assert jobs(desk) == []


@pytest.mark.parametrize("most", [8, 12, 63])
def test_apply_requires_the_whole_hash(desk: CliHarness, most: int) -> None:
    _, plan = reported(desk)
    result = desk.run("apply", plan.hash[:most], "--yes")
    assert (result.exit_code, "whole hash" in result.output) == (2, True)
    assert jobs(desk) == []


def test_a_plan_the_stack_did_not_make_is_refused(desk: CliHarness) -> None:
    assert desk.run("apply", "a" * 64, "--yes").exit_code == 1
    assert jobs(desk) == []


@pytest.mark.parametrize(
    ("words", "typed", "sent"),
    [
        (("--yes",), "2\n", 1),
        (("--yes", "--yes-irreversible", "2"), "", 1),
        (("--yes-irreversible", "2"), "y\n", 1),
        ((), "y\n2\n", 1),
        (("--yes",), "", 0),
        (("--yes",), "y\n", 0),
        (("--yes",), "3\n", 0),
        (("--yes-irreversible", "2"), "n\n", 0),
        (("--yes", "--yes-irreversible", "3"), "2\n", 0),
        (("--yes", "--yes-irreversible", "0"), "2\n", 0),
        ((), "y\n\n", 0),
    ],
)
def test_the_number_of_irreversible_actions_must_be_confirmed(
    desk: CliHarness, words: tuple[str, ...], typed: str, sent: int
) -> None:
    _, plan = reported(desk, policy=RULE + LASTING, tags=True)
    result = desk.run("apply", plan.hash, *words, typed=typed)
    assert (len(jobs(desk)), result.exit_code) == (sent, 1 - sent), result.output
    assert "dead-tags  delete tag: 2 of 2  cannot be undone" in result.output


def test_a_number_for_a_plan_without_irreversible_actions_is_refused(desk: CliHarness) -> None:
    _, plan = reported(desk)
    assert desk.run("apply", plan.hash, "--yes", "--yes-irreversible", "3").exit_code == 1
    assert jobs(desk) == []


def with_changes(desk: CliHarness, plan: Plan, **changes: object) -> Plan:
    """The same plan, kept with another summary."""
    changed = plan.model_copy(update=changes)
    key = key_of(ORG, plan.hash, "plan.json")
    desk.stack.objects().put(key, changed.model_dump_json().encode(), kind="application/json")
    return changed


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"unseen": ("The list of active processes did not add up.",)},
        {"stops": ("The plan would act on 40 things; its cap is 20.",)},
        {"person": ("policy.toml was changed.",)},
        {"notes": ("Something else.",)},
        {"made_at": timedelta(days=7, seconds=1)},
        {"made_at": timedelta(days=7)},
    ],
)
def test_a_plan_that_the_stack_would_refuse_is_not_sent(desk: CliHarness, changes: dict[str, object]) -> None:
    night, plan = reported(desk)
    made_at = changes.get("made_at")
    if isinstance(made_at, timedelta):
        changes = {"made_at": desk.clock() - made_at}
    changed = plan.model_copy(update=changes)
    assert refusals_of(changed, desk.clock()) == refusals(changed, night.policy, desk.clock(), source=PLAN)


def test_a_plan_that_is_too_old_is_not_sent(desk: CliHarness) -> None:
    _, plan = reported(desk)
    desk.clock.advance(timedelta(days=7, seconds=1))
    result = desk.run("apply", plan.hash, "--yes")
    assert (result.exit_code, jobs(desk)) == (1, [])
    assert "The plan is older than 7 days. Make a new plan." in re.sub(r"\s+", " ", result.output)


def test_an_edited_summary_is_not_shown(desk: CliHarness) -> None:
    """It says one thing where the lines say three: nobody is asked to agree to that."""
    _, plan = reported(desk)
    [rule] = plan.rules
    with_changes(desk, plan, due=1, rules=(rule.model_copy(update={"due": 1}),))
    result = desk.run("apply", plan.hash, typed="y\n")
    assert (result.exit_code, jobs(desk)) == (1, [])
    assert "does not match its lines" in re.sub(r"\s+", " ", result.output)
    assert "Apply it to" not in result.output


CAPPED = RULE.replace("count = 500", "count = 2")


def test_first_applies_only_the_oldest_things_of_a_plan_over_its_caps(desk: CliHarness) -> None:
    night, plan = reported(desk, policy=CAPPED.replace("percent = 100", "percent = 10"))
    refused = desk.run("apply", plan.hash, "--yes")
    assert (refused.exit_code, "--first N" in refused.output, jobs(desk)) == (1, True, [])
    working(desk, night)
    result = desk.run("apply", plan.hash, "--first", "2", "--wait", typed="y\n")
    assert (result.exit_code, "Apply it to the oldest 2 of 3 things?" in result.output) == (0, True), result.output
    assert len(night.archived()) == 2
    again = desk.run("apply", plan.hash, "--first", "2", "--yes")
    assert "Only its oldest 2 things: make a new plan" in re.sub(r"\s+", " ", again.output)


def test_more_than_the_cap_on_the_count_is_refused_by_the_stack(desk: CliHarness) -> None:
    night, plan = reported(desk, policy=CAPPED)
    working(desk, night)
    result = desk.run("apply", plan.hash, "--first", "3", "--yes", "--wait")
    assert result.exit_code == 1
    assert "--first 3 is more than the cap of 2." in re.sub(r"\s+", " ", result.output)
    assert night.archived() == set()


def test_a_reverted_plan_is_not_sent(desk: CliHarness) -> None:
    _, plan = reported(desk)
    assert desk.run("undo", "--plan", plan.hash, "--yes").exit_code == 0
    desk.stack.origins["sweeps"].entries.clear()
    result = desk.run("apply", plan.hash, "--yes")
    assert (result.exit_code, "reverted this plan" in result.output, jobs(desk)) == (1, True, [])


def test_a_policy_that_differs_here_is_noted(desk: CliHarness) -> None:
    _, plan = reported(desk)
    assert "policy.toml differs from" in desk.run("apply", plan.hash, "--yes").output


def test_a_plan_with_nothing_to_do_says_so(desk: CliHarness) -> None:
    _, plan = reported(desk, count=0)
    result = desk.run("apply", plan.hash)
    assert (result.exit_code, "nothing to do" in result.output, jobs(desk)) == (0, True, [])


def working(desk: CliHarness, night: SweepRun) -> None:
    """While the operator waits, the stack works."""

    def work() -> None:
        night.deliver()
        night.work()

    desk.while_waiting = work


def test_wait_follows_the_plan_to_its_end(desk: CliHarness) -> None:
    night, plan = reported(desk, policy=RULE + LASTING, tags=True, count=12)
    working(desk, night)
    asking = desk.run("apply", plan.hash, "--yes", "--yes-irreversible", "2", "--wait")
    assert asking.exit_code == Exit.PENDING, asking.output
    for part in (
        "Other people must approve the irreversible actions",
        "reversible actions: canary, 5 enqueued",
        "reversible actions: done, 12",
        "wait until 2026-06-04 12:00 UTC for the approval of 2 other people",
    ):
        assert part in asking.output, asking.output
    assert night.world.state(Resource.TAG, TAGS[0].id) is State.ACTIVE
    for who in ("bob", "cleo"):
        desk.stack.who = who
        assert desk.run("approve", plan.hash, "--yes").exit_code == 0
    desk.stack.who = "ada"
    result = desk.run("apply", plan.hash, "--yes", "--yes-irreversible", "2", "--wait")
    assert result.exit_code == 0, result.output
    assert "irreversible actions: done, 2" in result.output
    assert night.world.state(Resource.RUN, runs(12)[11].id) is State.ARCHIVED
    assert night.world.state(Resource.TAG, TAGS[0].id) is State.GONE
    assert {command.requested_by for command in night.asked()} == {OPERATOR}
    again = desk.run("apply", plan.hash, "--yes")
    assert (again.exit_code, "already applied" in again.output) == (0, True)


def test_wait_reports_who_rejected_the_request(desk: CliHarness) -> None:
    night, plan = reported(desk, policy=RULE + LASTING, tags=True)
    working(desk, night)
    words = ("apply", plan.hash, "--yes", "--yes-irreversible", "2", "--wait")
    assert desk.run(*words).exit_code == Exit.PENDING
    desk.stack.who = "bob"
    assert desk.run("reject", plan.hash, "--reason", "Not this year.", "--yes").exit_code == 0
    desk.stack.who = "ada"
    result = desk.run(*words)
    said = re.sub(r"\s+", " ", result.output)
    assert (result.exit_code, "bob rejected them. Not this year." in said) == (1, True), said
    assert bodies(desk.stack.dead["sweeps"]) == []
    assert night.world.state(Resource.TAG, TAGS[0].id) is State.ACTIVE


def test_wait_reports_why_the_plan_stopped(desk: CliHarness) -> None:
    night, plan = reported(desk)

    def work() -> None:
        night.deliver()
        night.work()
        night.world.simulator.organization.runs[runs(1)[0].id].restore(desk.clock())

    desk.while_waiting = work
    result = desk.run("apply", plan.hash, "--yes", "--wait")
    assert result.exit_code == 1
    assert "Tallyfy shows it as active" in re.sub(r"\s+", " ", result.output)
    again = desk.run("apply", plan.hash, "--yes")
    assert (again.exit_code, "was stopped" in again.output) == (1, True)


def test_wait_reports_why_the_stack_refused_the_plan(desk: CliHarness) -> None:
    night, plan = reported(desk)
    night.policy = Policy.parse(RULE.replace("= 30", "= 31"))
    working(desk, night)
    result = desk.run("apply", plan.hash, "--yes", "--wait")
    assert result.exit_code == 1
    assert "The plan was not applied." in result.output
    assert "policy.toml was changed after the plan was made." in re.sub(r"\s+", " ", result.output)
    assert len(bodies(desk.stack.dead["sweeps"])) == 1


def test_wait_ends_at_its_timeout(desk: CliHarness) -> None:
    _, plan = reported(desk)
    before = desk.clock()
    result = desk.run("apply", plan.hash, "--yes", "--wait", "--timeout", "60")
    assert (result.exit_code, "Still in progress" in result.output) == (4, True)
    assert timedelta(seconds=60) <= desk.clock() - before < timedelta(seconds=70)


def test_actions_applied_by_the_schedule_are_not_confirmed_again(desk: CliHarness) -> None:
    night = at_night(desk, organization(runs(3)), mode=Mode.APPLY)
    night.begin()
    night.drain()
    [plan] = night.plans()
    working(desk, night)
    result = desk.run("apply", plan.hash, "--yes", "--wait")
    assert result.exit_code == 0, result.output
    assert len(night.asked()) == 3


def test_a_stack_without_a_sweeps_queue_is_reported(desk: CliHarness) -> None:
    _, plan = reported(desk)
    del desk.stack.dead["sweeps"]
    result = desk.run("apply", plan.hash, "--yes")
    assert (result.exit_code, "has no sweeps queue" in result.output) == (3, True)
