"""What people type, as processes of their own: signed with their AWS credentials, against the deployed template."""

import os
import subprocess
import sys
import uuid

import pytest

from sandbox.simulator import Seed, SeedOrganization, SeedRun, make_id
from sandbox.stack import StackPerson
from tests.e2e.bench import ORG, Bench, until

pytestmark = pytest.mark.e2e


def type_as(bench: Bench, person: StackPerson, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `lifecycle` with this person's credentials and nothing else of the environment's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LIFECYCLE_"))}
    stack = ("--stack", bench.stack.options.stack_name)
    where = {"LIFECYCLE_API_URL": bench.stack.api_url, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "cli.start", *stack, *words],
        env={**clean, **bench.stack.environment_of(person), **where},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def sown(bench: Bench, **more: object) -> str:
    run = make_id("terminal", str(uuid.uuid4()))
    made = SeedRun(id=run, name="Onboard Initech", **more)  # type: ignore[arg-type] # a seed checks what it is given
    bench.sow(Seed(organizations=[SeedOrganization(id=ORG, runs=[made])]))
    return run


def test_a_delete_is_approved_at_the_terminal(bench: Bench) -> None:
    run = sown(bench, archived_at="-45d")
    intent_id = bench.ask("delete", "run", run)
    until(lambda: bench.status(intent_id)["approval"] is not None, 60, "a request for approval")
    beginning = bench.status(intent_id)["approval"][:12]
    grace = bench.person("grace")

    listed = type_as(bench, grace, "approvals")
    assert listed.returncode == 0, listed.stderr
    assert beginning in listed.stdout
    approved = type_as(bench, grace, "approve", beginning, "--yes")

    assert approved.returncode == 0, approved.stderr
    assert "Onboard Initech" in approved.stdout
    assert "approved: 1 of 1" in approved.stdout
    assert bench.conclusion(intent_id)["status"] == "done"
    assert [method for method, _ in bench.writes(run)] == ["DELETE"]


def test_a_person_without_an_iam_policy_is_shown_the_one_they_need(bench: Bench) -> None:
    told = type_as(bench, bench.stack.person("turing", may_call=False), "approvals")
    assert told.returncode == 3
    assert "execute-api:Invoke on arn:aws:execute-api:" in told.stderr


def test_an_archive_is_undone_at_the_terminal(bench: Bench) -> None:
    run = sown(bench)
    intent_id = bench.ask("archive", "run", run)
    assert bench.conclusion(intent_id)["status"] == "done"

    told = type_as(bench, bench.person("grace"), "undo", intent_id, "--wait")

    assert told.returncode == 0, told.stderr + told.stdout
    assert [method for method, _ in bench.writes(run)] == ["DELETE", "PUT"]
