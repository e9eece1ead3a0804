from lifecycle.adapters.pacing import Admission
from tests.unit.cli.desk import ORG, Desk


def test_a_pause_reaches_every_worker_with_its_reason_and_a_resume_ends_it(desk: Desk) -> None:
    assert desk.run("pause", "--reason", "a wrong  rule\n is live").exit_code == 0
    assert "(a wrong rule is live)" in desk.stack.pacing().reserve(ORG, 0).paused_by

    resumed = desk.run("resume")
    assert resumed.exit_code == 0
    assert "was paused by" in resumed.output
    assert desk.stack.pacing().reserve(ORG, 0) == Admission(0, 0.0, "")
    assert "was not paused" in desk.run("resume").output


def test_a_pause_needs_a_reason_and_an_organization_of_the_stack(desk: Desk) -> None:
    assert desk.run("pause").exit_code != 0
    assert desk.run("pause", "--reason", "  ").exit_code != 0
    refused = desk.run("pause", "--reason", "x", "--org", "f" * 32)
    assert refused.exit_code != 0
    assert "not one of this stack's" in refused.output
    assert desk.stack.pacing().paused_by("f" * 32) == ""
