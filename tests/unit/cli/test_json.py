"""Whatever lists or shows does so for programs as well: JSON, and nothing else, on stdout."""

import json
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app
from lifecycle.domain.capabilities import Resource
from sandbox.simulator import DEFAULT_TOKEN, DefaultIds
from tests.harness.builders import CONFIG
from tests.unit.cli.harness import ORG, TALLYFY_URL, CliHarness
from tests.unit.cli.planned import at_night, night, organization, runs

_READERS = {
    "list",
    "show",
    "status",
    "check",
    "diff",
    "try",
    "plan",
    "report",
    "explain",
    "approvals",
    "overview",
    "recent",
}
THING = "5e" * 16


def commands(group: Any, *above: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer brings a click of its own
    for name, command in getattr(group, "commands", {}).items():
        yield " ".join((*above, name)), command
        yield from commands(command, *above, name)


def test_every_command_that_lists_or_shows_has_a_json_option() -> None:
    readers = {
        name: command
        for name, command in commands(typer.main.get_command(app))
        if name.split()[-1] in _READERS and not hasattr(command, "commands")
    }
    assert len(readers) >= len(_READERS)
    without = [name for name, command in readers.items() if "--json" not in {o for p in command.params for o in p.opts}]
    assert without == []


def said(desk: CliHarness, *words: str, code: int = 0, env: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
    result = desk.run(*words, "--json", env=env)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_holds_are_listed_as_json(desk: CliHarness) -> None:
    assert said(desk, "hold", "list") == []
    desk.stack.holds().add(ORG, "owner", "4711", reason="a lawsuit", by="Grace")
    [hold] = said(desk, "hold", "list")
    assert (hold["key"], hold["reason"], hold["by"]) == ("owner#4711", "a lawsuit", "Grace")


def test_findings_of_check_are_listed_as_json(desk: CliHarness) -> None:
    found = said(desk, "check")
    assert {one["mark"] for one in found} <= {"yes", "note"}
    desk.entrance.secrets.texts.pop("stack/sources/crm")
    assert [one["what"] for one in said(desk, "check", code=1) if one["mark"] == "no"] == ["secret of source crm"]


def test_audit_records_are_listed_as_json(desk: CliHarness) -> None:
    desk.stack.holds().add(ORG, "owner", "4711", reason="a lawsuit", by="Grace")
    desk.clock.advance(timedelta(minutes=1))
    [record] = said(desk, "audit", "show")
    assert (record["what"], record["by"], record["segment"]) == ("hold.set", "Grace", "not yet")
    assert said(desk, "audit", "show", "--by", "nobody") == []


def test_requests_for_approval_are_listed_as_json(desk: CliHarness) -> None:
    assert said(desk, "approvals") == []


def test_an_ended_sweep_and_one_in_progress_are_shown_as_json(desk: CliHarness) -> None:
    plan = night(desk, organization(runs(3)))
    [shown] = said(desk, "sweep", "show")
    assert (shown["done"], shown["plan"]["hash"], shown["plan"]["due"]) == (True, plan.hash, 3)


def test_a_waiting_sweep_names_what_it_waits_for_in_json(desk: CliHarness) -> None:
    made = at_night(desk, organization(runs(3)))
    made.world.secrets.texts[f"stack/tokens/{ORG}"] = "expired"
    desk.entrance.secrets.texts[f"stack/tokens/{ORG}"] = "expired"
    made.begin("2026-06-01T04:10:00Z")
    for _ in range(2):
        made.deliver()
    [shown] = said(desk, "sweep", "show", code=4)
    assert shown["done"] is False
    assert len(shown["stops"]) == 1


def test_the_summary_of_a_plan_is_printed_as_json(
    desk: CliHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = night(desk, organization(runs(3)))
    found = said(desk, "report")
    assert found["hash"] == plan.hash
    assert Path(found["file"]).is_file()


def test_a_policy_and_the_effect_of_a_change_are_shown_as_json(desk: CliHarness, tmp_path: Path) -> None:
    night(desk, organization(runs(3)))
    old, new = CONFIG / "policy.toml", tmp_path / "new.toml"
    new.write_text(old.read_text().replace("completed_days = 30", "completed_days = 300"))
    assert said(desk, "policy", "check", str(old))["policy"]["rules"][0]["name"] == "completed"
    found = said(desk, "policy", "diff", str(old), str(new))
    assert (found["things"], len(found["changes"]), found["changes"][0]["to"]) == (3, 3, None)


def test_sources_and_a_trial_of_a_payload_are_shown_as_json(desk: CliHarness) -> None:
    assert said(desk, "source", "list")["crm"]["scheme"] == "hmac"
    events = CONFIG.parents[1] / "events"
    found = said(desk, "source", "try", "github", str(events / "github-issue-closed.json"))
    assert [one["resource"] for one in found["commands"]] == ["run"]
    assert said(desk, "source", "try", "crm", str(events / "github-issue-closed.json"), code=1)["refused"]


def test_an_explanation_is_shown_as_json(desk: CliHarness) -> None:
    desk.simulator.load(organization(runs(3)))
    words = ("explain", f"{1:032x}", "--org", ORG, "--base-url", TALLYFY_URL)
    alone = said(desk, *words, env={"LIFECYCLE_TALLYFY_TOKEN": DEFAULT_TOKEN})
    assert (alone["decision"]["action"], alone["done_to_it"]) == ("archive", None)
    night(desk, organization(runs(3)))
    beside = said(desk, "explain", f"{1:032x}")
    assert (beside["done_to_it"], beside["planned"]["decision"]["action"]) == ([], "archive")
    assert said(desk, "explain", DefaultIds.TASK, code=1)["thing"] is None


@pytest.mark.parametrize("columns", ["60", "80"])
def test_a_narrow_screen_breaks_no_id_in_audit_records_or_a_policy_diff(
    desk: CliHarness, tmp_path: Path, columns: str
) -> None:
    plan = night(desk, organization(runs(3)))
    desk.stack.holds().add(ORG, Resource.RUN, THING, reason="a lawsuit", by="arn:aws:iam::123456789012:user/ada")
    audit = desk.run("audit", "show", env={"COLUMNS": columns}).output.split()
    assert {THING, "arn:aws:iam::123456789012:user/ada"} <= set(audit)
    assert f"{plan.hash}." in audit
    old, new = CONFIG / "policy.toml", tmp_path / "new.toml"
    new.write_text(old.read_text().replace("completed_days = 30", "completed_days = 300"))
    changed = desk.run("policy", "diff", str(old), str(new), env={"COLUMNS": columns}).output.split()
    assert {f"{number:032x}" for number in range(1, 4)} <= set(changed)


def test_the_version_option_prints_the_version_of_the_package() -> None:
    result = CliHarness().run("--version")
    assert (result.exit_code, result.output) == (0, f"lifecycle {version('tallyfy-lifecycle')}\n")
