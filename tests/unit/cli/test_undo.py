import re
from datetime import timedelta

import pytest

from cli.ui.errors import Exit
from lifecycle.approvals.people import People
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Command
from lifecycle.plans.application import PlanPart, Stage
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_store import key_of
from lifecycle.policy.evaluate import Mode
from lifecycle.sweep.jobs import JobKind, SweepJob
from sandbox.simulator import SeedRun, SeedTag, SeedTask
from tests.harness.builders import bodies
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World
from tests.unit.cli.harness import OPERATOR, ORG, CliHarness, caller_of
from tests.unit.cli.planned import LASTING, RULE, at_night, organization, runs

THING = "5e" * 16


def archived(desk: CliHarness, *, tasks: int = 3) -> tuple[World, str]:
    """A process that a command has archived; the command's intent."""
    world = World(desk.clock)
    desk.stand_before(world)
    steps = [SeedTask(id=f"{number:032x}", title=f"Step {number}") for number in range(tasks)]
    world.simulator.load(organization([SeedRun(id=THING, name="Acme", tasks=steps)]))
    command = world.command(Resource.RUN, THING, Action.ARCHIVE, "a delivery")
    world.send(command)
    world.drain(world.process())
    assert world.state(Resource.RUN, THING) is State.ARCHIVED
    desk.clock.advance(timedelta(minutes=1))
    return world, command.intent_id


class TestCommand:
    def test_undoing_an_archive_restores_the_thing(self, desk: CliHarness) -> None:
        world, intent = archived(desk)
        result = desk.run("undo", intent)
        assert result.exit_code == 0, result.output
        [undo] = [Command.model_validate_json(body) for body in bodies(world.queue)]
        assert (undo.action, undo.undoes, undo.requested_by) == (Action.RESTORE, intent, "ada")
        assert f"lifecycle status {undo.intent_id}" in result.output
        assert [caller_of(call) for call in desk.front.asked] == [OPERATOR]
        world.drain(world.process())
        assert world.state(Resource.RUN, THING) is State.ACTIVE

    def test_wait_follows_the_undo_to_its_outcome(self, desk: CliHarness) -> None:
        world, intent = archived(desk)
        desk.while_waiting = lambda: world.drain(world.process())
        result = desk.run("undo", intent, "--wait")
        assert (result.exit_code, "✓ done The process is active." in result.output) == (0, True), result.output

    def test_parts_that_were_not_restored_are_reported(self, desk: CliHarness) -> None:
        world, intent = archived(desk)

        def lose_one() -> None:
            del world.simulator.organization.runs[THING].tasks[2:]
            world.drain(world.process())

        desk.while_waiting = lose_one
        result = desk.run("undo", intent, "--wait")
        assert "3 tasks were archived and 2 came back" in result.output

    def test_wait_ends_at_its_timeout(self, desk: CliHarness) -> None:
        _, intent = archived(desk)
        assert desk.run("undo", intent, "--wait", "--timeout", "5").exit_code == Exit.PENDING

    def test_undoing_twice_has_one_effect(self, desk: CliHarness) -> None:
        world, intent = archived(desk)
        first, second = desk.run("undo", intent).output, desk.run("undo", intent).output
        assert first == second
        world.drain(world.process())
        assert len([call for call in world.writes() if call.action == "restore"]) == 1

    def test_a_permanent_delete_cannot_be_undone(self, desk: CliHarness) -> None:
        world, _ = archived(desk)
        command = world.command(Resource.RUN, THING, Action.DELETE, "another delivery")
        world.purge_queue.send(command.to_json())
        world.purge().deliver()
        result = desk.run("undo", command.intent_id)
        assert (result.exit_code, "run.delete cannot be undone by anyone." in result.output) == (1, True)
        assert "evidence only" in result.output

    def test_an_unknown_intent_is_reported(self, desk: CliHarness) -> None:
        result = desk.run("undo", f"int_{'0' * 48}")
        assert (result.exit_code, "The ledger knows no command" in result.output) == (1, True)

    def test_a_person_without_the_right_to_restore_may_not_undo(self, desk: CliHarness) -> None:
        world, intent = archived(desk)
        desk.stack.who = "dan"
        result = desk.run("undo", intent)
        assert (result.exit_code, "You may not ask for run.restore" in result.output) == (1, True)
        assert world.queue.depth() == 0

    @pytest.mark.parametrize(
        "words",
        [("int_123",), ("",), (f"int_{'0' * 48}/../approvals",), (), (f"int_{'0' * 48}", "--plan", "a" * 64)],
    )
    def test_a_malformed_intent_id_is_refused_before_any_call(self, desk: CliHarness, words: tuple[str, ...]) -> None:
        assert desk.run("undo", *words).exit_code == Exit.USAGE
        assert desk.front.asked == []

    def test_without_credentials_nothing_is_called(self, desk: CliHarness) -> None:
        desk.stack.who = "nobody"
        assert desk.run("undo", f"int_{'0' * 48}").exit_code == Exit.UNREACHABLE
        assert desk.front.asked == []


def applied(desk: CliHarness, *, mode: Mode = Mode.APPLY, policy: str = RULE) -> tuple[SweepRun, Plan]:
    """A plan that the schedule has applied."""
    tags = [SeedTag(id=f"c{number:031x}", title=f"left over {number}") for number in range(2)]
    night = at_night(desk, organization(runs(7), tags if policy != RULE else []), mode=mode, policy=policy)
    night.world.people = People.parse(desk.people)
    night.begin()
    night.drain()
    [plan] = night.plans()
    desk.clock.advance(timedelta(minutes=1))
    return night, plan


def working(night: SweepRun) -> None:
    """What the stack does while somebody waits."""
    night.turn()


def states(night: SweepRun) -> set[State]:
    return {night.world.state(Resource.RUN, run.id) for run in runs(7)}


def jobs(desk: CliHarness) -> list[SweepJob]:
    return [SweepJob.model_validate_json(text) for text in bodies(desk.stack.origins["sweeps"])]


class TestPlan:
    def test_a_confirmed_undo_is_sent_under_the_callers_identity(self, desk: CliHarness) -> None:
        _, plan = applied(desk)
        result = desk.run("undo", "--plan", plan.hash, typed="y\n")
        assert result.exit_code == 0, result.output
        [job] = jobs(desk)
        assert (job.kind, job.plan, job.org_id) == (JobKind.UNDO, plan.hash, ORG)
        assert job.requested_by == OPERATOR
        assert re.fullmatch(rf"undo-{plan.hash[:12]}-[0-9a-f]{{8}}", job.sweep_id)
        for part in ("completed  archive process: 7 of 7", "7 commands, done", "asked for by schedule", "7 things?"):
            assert part in result.output

    def test_wait_follows_until_everything_is_restored(self, desk: CliHarness) -> None:
        night, plan = applied(desk)
        assert states(night) == {State.ARCHIVED}
        desk.while_waiting = lambda: working(night)
        result = desk.run("undo", "--plan", plan.hash, "--yes", "--wait")
        assert (result.exit_code, "revert: done, 7 commands checked" in result.output) == (0, True), result.output
        night.drain()
        assert states(night) == {State.ACTIVE}
        again = desk.run("undo", "--plan", plan.hash, "--yes")
        assert (again.exit_code, "already reverted" in again.output) == (0, True)
        assert jobs(desk) == []
        shown = desk.run("sweep", "show").output
        assert "revert: done, 7 commands checked" in shown
        assert "to apply it" not in shown

    @pytest.mark.parametrize("typed", ["n\n", "\n", ""])
    def test_without_confirmation_nothing_is_sent(self, desk: CliHarness, typed: str) -> None:
        _, plan = applied(desk)
        assert desk.run("undo", "--plan", plan.hash, typed=typed).exit_code == 1
        assert jobs(desk) == []

    def test_a_reverted_plan_that_was_only_reported_is_never_applied(self, desk: CliHarness) -> None:
        """Somebody may have asked for it just now, and waits for its turn."""
        night, plan = applied(desk, mode=Mode.REPORT)
        night.apply(plan.hash)
        result = desk.run("undo", "--plan", plan.hash, "--yes")
        assert (result.exit_code, "Nothing of the plan has been applied" in result.output) == (0, True), result.output
        night.drain()
        assert states(night) == {State.ACTIVE}
        assert night.asked() == []

    def test_the_revert_applies_before_the_stack_reads_the_message(self, desk: CliHarness) -> None:
        night, plan = applied(desk, mode=Mode.REPORT)
        night.apply(plan.hash)
        night.turn(work=False)
        assert len(night.asked()) == 5
        assert desk.run("undo", "--plan", plan.hash, "--yes").exit_code == 0
        night.work()
        assert states(night) == {State.ACTIVE}
        assert night.world.writes() == []

    def test_a_concurrent_undo_is_reported(self, desk: CliHarness) -> None:
        night, plan = applied(desk)
        assert desk.run("undo", "--plan", plan.hash, "--yes").exit_code == 0
        night.drain()
        desk.clock.advance(timedelta(minutes=5))
        night.world.simulator.organization.runs[runs(1)[0].id].archive(desk.clock())
        result = desk.run("undo", "--plan", plan.hash, "--yes")
        said = re.sub(r"\s+", " ", result.output)
        assert (result.exit_code, "7 undos were sent." in said, jobs(desk)) == (0, True, []), said
        assert "Nothing more is sent. Resources that were archived again since" in said

    def test_permanent_deletes_are_reported_as_not_undone(self, desk: CliHarness) -> None:
        night, plan = applied(desk, policy=RULE + LASTING)
        desk.while_waiting = lambda: working(night)
        assert desk.run("apply", plan.hash, "--yes", "--yes-irreversible", "2", "--wait").exit_code == Exit.PENDING
        for who in ("bob", "cleo"):
            desk.stack.who = who
            assert desk.run("approve", plan.hash, "--yes").exit_code == 0
        night.drain()
        desk.stack.who = "ada"
        result = desk.run("undo", "--plan", plan.hash, "--yes")
        assert result.exit_code == 0, result.output
        assert "✗ 2 irreversible actions were enqueued" in result.output
        assert "Those already carried out cannot be undone" in result.output
        night.drain()
        assert states(night) == {State.ACTIVE}
        assert night.world.state(Resource.TAG, f"c{0:031x}") is State.GONE

    def test_a_plan_still_being_applied_is_noted(self, desk: CliHarness) -> None:
        night = at_night(desk, organization(runs(7)), mode=Mode.APPLY)
        night.begin()
        while not night.plans() or not night.applied(night.plans()[0], PlanPart.REVERSIBLE).sent:
            night.turn(work=False)
        [plan] = night.plans()
        assert night.applied(plan, PlanPart.REVERSIBLE).stage == Stage.CANARY
        result = desk.run("undo", "--plan", plan.hash, "--yes")
        assert (result.exit_code, "still being applied" in result.output) == (0, True), result.output

    def test_wait_ends_at_its_timeout(self, desk: CliHarness) -> None:
        _, plan = applied(desk)
        result = desk.run("undo", "--plan", plan.hash, "--yes", "--wait", "--timeout", "10")
        assert (result.exit_code, "Still in progress" in result.output) == (Exit.PENDING, True)

    def test_the_stacks_reason_for_a_refusal_is_shown(self, desk: CliHarness) -> None:
        night, plan = applied(desk)

        def spoil() -> None:
            night.objects.put(key_of(ORG, plan.hash, "plan.jsonl.gz"), b"something else", kind="text/plain")
            working(night)

        desk.while_waiting = spoil
        result = desk.run("undo", "--plan", plan.hash, "--yes", "--wait")
        assert (result.exit_code, "The plan was not undone." in result.output) == (1, True)
        assert "were changed: their hash is" in result.output

    @pytest.mark.parametrize("most", [8, 12, 63])
    def test_undo_requires_the_whole_hash(self, desk: CliHarness, most: int) -> None:
        _, plan = applied(desk)
        assert desk.run("undo", "--plan", plan.hash[:most], "--yes").exit_code == Exit.USAGE
        assert jobs(desk) == []

    def test_a_stack_without_a_sweeps_queue_is_reported(self, desk: CliHarness) -> None:
        _, plan = applied(desk)
        del desk.stack.dead["sweeps"]
        result = desk.run("undo", "--plan", plan.hash, "--yes")
        assert (result.exit_code, "has no sweeps queue" in result.output) == (Exit.UNREACHABLE, True)
