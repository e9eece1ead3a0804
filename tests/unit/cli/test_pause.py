import re
from datetime import timedelta

import pytest
from botocore.exceptions import NoCredentialsError

from lifecycle.aws.dynamodb import VersionedTable
from lifecycle.pacing.rate_limiter import Admission
from tests.harness.builders import command
from tests.unit.cli.harness import API_URL, ORG, CliHarness
from tests.unit.cli.planned import at_night, organization, runs


def test_a_pause_stops_every_worker_with_its_reason_and_a_resume_ends_it(desk: CliHarness) -> None:
    assert desk.run("pause", "--reason", "a wrong  rule\n is live").exit_code == 0
    assert "(a wrong rule is live)" in desk.stack.pacing().reserve(ORG, 0).paused_by

    resumed = desk.run("resume")
    assert resumed.exit_code == 0
    assert "was paused by" in resumed.output
    assert desk.stack.pacing().reserve(ORG, 0) == Admission(0, 0.0, "")
    assert "was not paused" in desk.run("resume").output


def test_a_pause_needs_a_reason_and_an_organization_of_the_stack(desk: CliHarness) -> None:
    assert desk.run("pause").exit_code != 0
    assert desk.run("pause", "--reason", "  ").exit_code != 0
    refused = desk.run("pause", "--reason", "x", "--org", "f" * 32)
    assert refused.exit_code != 0
    assert "not one of this stack's" in refused.output
    assert desk.stack.pacing().paused_by("f" * 32) == ""


RUN = "1b" * 16
SEND = ("send", "process", "archive", RUN, "--org", ORG)
PAUSED = "is paused by"


def one_line(desk: CliHarness, *words: str, code: int, env: dict[str, str] | None = None) -> str:
    result = desk.run(*words, env=env)
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.fixture
def paused(desk: CliHarness) -> CliHarness:
    assert desk.run("pause", "--reason", "a wrong rule is live").exit_code == 0
    return desk


def intent_of(output: str) -> str:
    found = re.search(r"int_[0-9a-f]{48}", output)
    assert found is not None
    return found[0]


def test_wait_reports_a_pause_and_ends(paused: CliHarness) -> None:
    began = paused.clock()
    said = one_line(paused, *SEND, "--wait", code=4)
    assert f"Organization {ORG} {PAUSED}" in said
    assert "(a wrong rule is live)" in said
    assert "lifecycle resume" in said
    assert paused.clock() - began < timedelta(seconds=5)


def test_a_pause_set_during_a_wait_ends_the_wait(desk: CliHarness) -> None:
    def pause_once() -> None:
        desk.while_waiting = lambda: None
        assert desk.run("pause", "--reason", "a wrong rule is live").exit_code == 0

    desk.while_waiting = pause_once
    assert PAUSED in one_line(desk, *SEND, "--wait", code=4)


def test_the_status_of_a_paused_command_names_the_pause(paused: CliHarness) -> None:
    intent = intent_of(one_line(paused, *SEND, code=0))
    assert PAUSED in one_line(paused, "status", intent, code=4)
    assert PAUSED in one_line(paused, "status", intent, "--wait", code=4)


def test_the_status_of_an_ended_command_names_no_pause(desk: CliHarness) -> None:
    intent = intent_of(one_line(desk, *SEND, code=0))
    desk.work()
    assert desk.run("pause", "--reason", "x").exit_code == 0
    assert PAUSED not in one_line(desk, "status", intent, code=0)


def test_a_restore_is_carried_out_and_followed_during_a_pause(paused: CliHarness) -> None:
    paused.while_waiting = paused.work
    assert PAUSED not in one_line(paused, "send", "process", "restore", RUN, "--org", ORG, "--wait", code=0)


def test_a_status_without_aws_credentials_shows_no_pauses(paused: CliHarness) -> None:
    intent = intent_of(one_line(paused, *SEND, code=0))

    def refused() -> VersionedTable:
        raise NoCredentialsError

    paused.stack.rows = refused  # type: ignore[method-assign]
    paused.stack.intent = lambda _: refused()  # type: ignore[method-assign,return-value,assignment]
    assert PAUSED not in one_line(paused, "status", intent, code=4, env={"LIFECYCLE_API_URL": API_URL})


def test_check_shows_a_pause_without_calling_it_a_fault(paused: CliHarness) -> None:
    said = one_line(paused, "check", code=0)
    assert f"! pause of {ORG} paused by" in said
    assert "lifecycle resume" in said


def test_a_sweep_that_waits_for_a_resume_says_so(desk: CliHarness) -> None:
    night = at_night(desk, organization(runs(3)))
    assert desk.run("pause", "--reason", "a wrong rule is live").exit_code == 0
    night.begin("2026-06-01T04:10:00Z")
    night.deliver()
    assert PAUSED in one_line(desk, "sweep", "start", code=0)
    assert PAUSED in one_line(desk, "sweep", "show", code=1)


def test_a_dead_letter_sent_again_during_a_pause_reports_the_pause(paused: CliHarness) -> None:
    paused.dead_letter(command())
    assert PAUSED in one_line(
        paused, "dead-letters", "send-again", "--all", "--yes", "--wait", "--timeout", "2", code=4
    )


def test_a_stack_without_the_organizations_output_is_not_paused(desk: CliHarness) -> None:
    del desk.stack.told["OrganizationIds"]
    for words in (("pause", "--reason", "x"), ("resume",)):
        assert "has no output OrganizationIds" in one_line(desk, *words, code=3)


@pytest.mark.parametrize("named", [",", " , ", " "])
def test_a_stack_that_names_no_organization_fails_and_pauses_nothing(desk: CliHarness, named: str) -> None:
    desk.stack.told["OrganizationIds"] = named
    for words in (("pause", "--reason", "x"), ("resume",)):
        output = one_line(desk, *words, code=3)
        assert "names no organization" in output
        assert "paused:" not in output
    assert desk.stack.pacing().paused_by(ORG) == ""
