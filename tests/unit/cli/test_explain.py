import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from lifecycle.domain.capabilities import Resource
from lifecycle.execution.ledger import Claim
from lifecycle.policy.evaluate import Mode
from sandbox.simulator import DEFAULT_TOKEN, SeedRun, SeedTag
from sandbox.simulator.world import Task, Template
from tests.harness.sweep_run import SweepRun
from tests.unit.cli.harness import ORG, TALLYFY_URL, CliHarness
from tests.unit.cli.planned import RULE, at_night, organization, runs

POLICY = (
    RULE.replace('zone = "UTC"', 'zone = "UTC"\nhold_tags = ["keep"]')
    + """
[rules.unless]
title = ["*audit*"]
tags = ["blue"]
[[rules]]
name = "stalled"
resource = "process"
action = "archive"
[rules.when]
stalled_days = 90
[[rules]]
name = "vip"
resource = "process"
action = "keep"
[rules.when]
owners = [7]
"""
)
RUN = f"{1:032x}"


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return str(path)


def swept(desk: CliHarness, *things: SeedRun, mode: Mode = Mode.REPORT, tags: tuple[SeedTag, ...] = ()) -> SweepRun:
    night = at_night(desk, organization(things or runs(1), tags), mode=mode, policy=POLICY)
    night.begin()
    night.drain()
    night.world.simulator.log.calls.clear()
    return night


def explained(desk: CliHarness, policy: str, *words: str) -> str:
    result: Result = desk.run("explain", *words, "--policy", policy)
    assert result.exit_code == 0, result.output
    assert {call.method for call in desk.simulator.log.calls} == {"GET"}
    return re.sub(r"\s+", " ", result.output)


def test_a_thing_that_is_due_is_explained_condition_by_condition(desk: CliHarness, policy: str) -> None:
    swept(desk)
    said = explained(desk, policy, RUN)
    for part in (
        f"process 'Run 1' {RUN}",
        "state not archived, status complete",
        "completed 2026-04-17 12:00 UTC",
        "owners 1001",
        "A sweep would archive it now. Rule 'completed': its status is complete; it was completed 45 days ago",
        "completed (archive) when its status is complete yes its status is complete",
        "when it was completed more than 30 days ago yes it was completed 45 days ago, more than 30",
        "unless it carries the tag 'blue' no it carries none of the tags named",
        "unless its name fits '*audit*' no its name does not fit",
        "does the rule match? yes",
        "stalled (archive) when it is not complete, and was last touched more than 90 days ago no it is complete",
        "does the rule match? no",
        "nothing that the ledger still holds",
        "archive: Rule 'completed'",
    ):
        assert part in said, part
    assert said.index("vip (keep)") < said.index("completed (archive)")


def test_a_condition_that_cannot_be_decided_is_marked(desk: CliHarness, policy: str) -> None:
    swept(desk, SeedRun(id=RUN, status="complete", completed_at=None))
    said = explained(desk, policy, RUN)
    assert "A sweep would not change it now." in said
    assert "cannot be told Tallyfy does not say when it was completed" in said


def test_an_archived_thing_shows_who_archived_it_when_and_why(desk: CliHarness, policy: str) -> None:
    night = swept(desk, mode=Mode.APPLY)
    [command] = night.asked()
    said = explained(desk, policy, RUN)
    for part in (
        "state archived",
        "No rule acts on a process that is archived.",
        "done to it archive, asked for 2026-06-01",
        "by schedule (sweep)",
        "why Rule 'completed'",
        "outcome done 2026-06-01",
        f"intent {command.intent_id}",
        "planned 2026-06-01 12:00 UTC",
        "archive: Rule 'completed'",
    ):
        assert part in said, part


def test_a_thing_restored_by_a_person_is_left_alone_and_its_intent_is_named(desk: CliHarness, policy: str) -> None:
    night = swept(desk, mode=Mode.APPLY)
    [command] = night.asked()
    desk.clock.advance(timedelta(days=1))
    night.world.simulator.organization.runs[RUN].restore(desk.clock())
    said = explained(desk, policy, RUN)
    assert "A sweep would not change it now. It was archived on 2026-06-01" in said
    assert f"({command.intent_id}) and is not archived any more: somebody restored it in Tallyfy" in said
    assert "does the rule match? yes" in said
    decision = json.loads(desk.run("explain", RUN, "--policy", policy, "--json").output)["decision"]
    assert (decision["action"], "somebody restored it" in decision["reason"]) == (None, True)


def test_a_held_thing_names_the_hold_and_still_shows_the_rules(desk: CliHarness, policy: str) -> None:
    night = swept(desk)
    night.world.holds.add(ORG, Resource.RUN, RUN, reason="a lawsuit", by="Ada")
    said = explained(desk, policy, RUN)
    assert "A sweep would not change it now. It is on hold: a lawsuit" in said
    assert "does the rule match? yes" in said


def test_a_thing_whose_people_were_warned_waits_for_the_promised_day(desk: CliHarness, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.replace('action = "archive"', 'action = "archive"\nwarn_days = 7\nwarn = ["owner"]', 1))
    night = at_night(desk, organization(runs(1)), mode=Mode.APPLY, policy=path.read_text())
    night.begin()
    night.drain()
    night.world.simulator.log.calls.clear()
    assert "Its people are warned first, 7 days before anything happens." in explained(desk, str(path), RUN)
    night.deliver_warnings()
    desk.clock.advance(timedelta(days=2))
    assert "Its people were warned: nothing happens before 2026-06-08" in explained(desk, str(path), RUN)
    desk.clock.advance(timedelta(days=6))
    assert "A sweep would archive it now." in explained(desk, str(path), RUN)


def test_a_hold_tag_of_the_policy_counts(desk: CliHarness, policy: str) -> None:
    tag = SeedTag(id="c" * 32, title="keep")
    swept(desk, SeedRun(id=RUN, status="complete", completed_at="-45d", tags=[tag.id]), tags=(tag,))
    said = explained(desk, policy, RUN)
    assert "A sweep would not change it now. It carries the hold tag 'keep'." in said


def test_a_link_identifies_the_thing(desk: CliHarness, policy: str) -> None:
    swept(desk)
    said = explained(desk, policy, f"https://go.tallyfy.com/{ORG}/process/{RUN}")
    assert "process 'Run 1'" in said


def test_a_thing_of_another_kind_is_found_by_its_kind(desk: CliHarness, policy: str) -> None:
    night = swept(desk)
    there = night.world.simulator.organization
    there.tasks["d" * 32] = Task("d" * 32, "Call", desk.clock() - timedelta(days=3))
    there.templates["e" * 32] = Template("e" * 32, "Onboarding", desk.clock(), desk.clock())
    assert "one-off task 'Call'" in explained(desk, policy, "d" * 32, "--kind", "task")
    said = explained(desk, policy, "e" * 32, "--kind", "blueprint")
    assert "template 'Onboarding'" in said
    assert "The policy has no rule for this kind of thing." in said
    assert "The plan does not contain it" in said
    wrong = desk.run("explain", RUN, "--kind", "comment", "--policy", policy)
    assert (wrong.exit_code, "Use one of process, run, task" in wrong.output) == (2, True)


def test_a_deleted_thing_still_has_its_history(desk: CliHarness, policy: str) -> None:
    night = swept(desk, mode=Mode.APPLY)
    del night.world.simulator.organization.runs[RUN]
    said = explained(desk, policy, RUN)
    assert f"Tallyfy has no process {RUN}" in said
    assert "by schedule (sweep)" in said


def test_an_unknown_thing_is_not_found(desk: CliHarness, policy: str) -> None:
    swept(desk)
    result = desk.run("explain", "f" * 32, "--policy", policy)
    assert (result.exit_code, "permanently deleted, or it is of another kind" in result.output) == (1, True)


def test_a_command_in_progress_is_shown(desk: CliHarness, policy: str) -> None:
    night = at_night(desk, organization(runs(1)), mode=Mode.APPLY, policy=POLICY)
    night.begin()
    for _ in range(2):  # One job for each organization, and that of this one up to its first commands.
        night.deliver()
    [command] = night.asked()
    claim = night.world.ledger.claim(command)
    assert isinstance(claim, Claim)
    night.world.ledger.mark(claim)
    said = explained(desk, policy, RUN)
    assert "outcome in_progress" in said
    assert command.intent_id in said


def test_without_a_stack_the_thing_and_the_policy_are_explained(desk: CliHarness, policy: str) -> None:
    desk.simulator.load(organization(runs(1)))
    words = ("explain", RUN, "--policy", policy, "--org", ORG, "--base-url", TALLYFY_URL)
    result = desk.run(*words, env={"LIFECYCLE_TALLYFY_TOKEN": DEFAULT_TOKEN})
    assert result.exit_code == 0, result.output
    assert desk.connected == []
    assert "A sweep would archive it now." in result.output
    assert "holds and earlier commands" in result.output
    assert DEFAULT_TOKEN not in result.output


def test_names_from_tallyfy_cannot_style_the_screen(desk: CliHarness, policy: str) -> None:
    swept(desk, SeedRun(id=RUN, name="\x1b[31mred[/] [bold]x", status="complete", completed_at="-45d"))
    result = desk.run("explain", RUN, "--policy", policy)
    assert "\x1b" not in result.output
    assert "[bold]x" in result.output


def test_a_plan_line_that_only_mentions_the_thing_is_not_used(desk: CliHarness, policy: str) -> None:
    swept(desk, *runs(1, first=2), SeedRun(id=f"{3:032x}", name=f"copy of {RUN}", checklist_id=RUN))
    result = desk.run("explain", RUN, "--policy", policy)
    assert "The plan does not contain it" in result.output
