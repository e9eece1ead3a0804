import json
import re
from pathlib import Path

import pytest

from cli.clients.api import StatusApi
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import Status
from lifecycle.tallyfy.client import pooled_session
from sandbox.running import SEED, SLACK_RUN
from sandbox.simulator import default_seed
from tests.harness.builders import EVENTS, ORG
from tests.unit.cli.harness import CliHarness, sent

TWO = f"""
[sources.one]
scheme = "hmac"
may = ["run.archive"]

[[sources.one.commands]]
each = "body.ids"
action = "archive"
resource = "process"
org_id = "{ORG}"
id = "item"
delivery = "item"
"""


def played(desk: CliHarness, source: str, file: Path | str, *words: str) -> tuple[int, str]:
    result = desk.run("source", "play", source, str(EVENTS / file), *words)
    assert "Traceback" not in result.output
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("source", "file", "words", "commands"),
    [
        ("hubspot", "hubspot-deal-won.json", (), 2),
        ("jira", "jira-issue-resolved.json", (), 1),
        ("github", "github-issue-closed.json", (), 1),
        ("crm", "webhook-hmac.json", (), 1),
        ("automation", "webhook-standard.json", (), 1),
        ("automation", "command-run-archive.json", (), 1),
        ("slack", "chat-archive.json", (), 1),
        ("teams", "chat-teams.json", (), 1),
        ("google", "chat-google.json", (), 1),
    ],
)
def test_a_played_sample_is_signed_like_its_system_and_reaches_the_queue(
    desk: CliHarness, source: str, file: str, words: tuple[str, ...], commands: int
) -> None:
    code, said = played(desk, source, file, *words)
    assert code == 0, said
    asked = sent(desk.entrance.ordinary)
    assert len(asked) == commands
    assert all(str(one["intent_id"]) in said for one in asked)


def test_a_shared_secret_goes_into_the_path_and_the_delay_is_shown(desk: CliHarness) -> None:
    code, said = played(desk, "tallyfy", "tallyfy-process-completed.json", "--wait")
    assert (code, "carried out 14d later" in said) == (0, True), said
    assert len(desk.entrance.schedules.waiting) == 1


def test_an_event_is_put_on_the_bus_of_the_stack(desk: CliHarness) -> None:
    assert played(desk, "projects", "put-events.json")[0] == 0
    assert [entry["DetailType"] for entry in desk.stack.put] == ["project.closed"]
    desk.stack.refused = 1
    code, said = played(desk, "projects", "put-events.json")
    assert (code, "refused 1" in said) == (1, True)


def test_a_payload_that_the_filter_excludes_is_reported_as_ignored(desk: CliHarness) -> None:
    code, said = played(desk, "github", "jira-issue-resolved.json")
    assert (code, "ignored" in said) == (0, True)


def test_wait_prints_each_outcome(desk: CliHarness) -> None:
    desk.while_waiting = lambda: desk.work(Status.REJECTED, Code.HELD, "The process is on hold.")
    assert "rejected The process is on hold." in played(desk, "jira", "jira-issue-resolved.json", "--wait")[1]


def test_playing_a_slash_command_writes_nothing_to_slack(desk: CliHarness) -> None:
    played(desk, "slack", "chat-archive.json")
    [asked] = sent(desk.entrance.ordinary)
    assert (asked["id"], asked.get("reply_to"), asked["org_id"]) == (SLACK_RUN, None, ORG)


def test_a_refusal_is_reported(desk: CliHarness) -> None:
    code, said = played(desk, "hubspot", "jira-issue-resolved.json")
    assert (code, "422 untranslatable" in said) == (1, True), said
    desk.front.failures = [503]
    assert played(desk, "slack", "chat-archive.json")[0] == 3


def test_a_source_with_irreversible_rights_needs_confirmation(desk: CliHarness) -> None:
    assert played(desk, "operator", "command-run-delete.json")[0] == 2
    assert played(desk, "operator", "command-run-delete.json", "--yes")[0] == 0


@pytest.mark.parametrize("text", ["no JSON", "{}", json.dumps([{"Source": "x"}])])
def test_a_file_that_is_not_a_list_of_events_is_reported(desk: CliHarness, tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    assert played(desk, "projects", tmp_path / "x")[0] == 2


def test_a_signed_url_is_the_one_the_emulators_functions_see() -> None:
    session = pooled_session()
    local = StatusApi(session, "http://127.0.0.1:4566/_aws/execute-api/abc/$default")
    assert local.seen_as == "https://abc.execute-api.127.0.0.1"
    assert StatusApi(session, "https://abc.execute-api.eu-west-1.amazonaws.com/").seen_as.endswith("amazonaws.com")


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ((Status.DONE, Status.UNCHANGED), 0),
        ((Status.DONE, Status.REJECTED), 1),
        ((Status.REJECTED, Status.DONE), 1),
        ((Status.DONE,), 4),  # The other one is still under way.
        ((Status.REJECTED,), 1),
    ],
)
def test_wait_exits_with_the_worst_outcome(
    desk: CliHarness, tmp_path: Path, ends: tuple[Status, ...], code: int
) -> None:
    """One delivery that becomes two commands."""
    sources, payload = tmp_path / "sources.toml", tmp_path / "payload.json"
    sources.write_text(TWO)
    desk.entrance.declared = TWO
    payload.write_text(json.dumps({"ids": ["0a" * 16, "0b" * 16]}))

    def work() -> None:
        for status, message in zip(ends, desk.entrance.ordinary.receive(), strict=False):
            desk.end(Command.model_validate_json(message.body), status)
            desk.entrance.ordinary.delete(message)
        desk.while_waiting = lambda: None

    desk.while_waiting = work
    assert played(desk, "one", payload, "--sources", str(sources), "--wait", "--timeout", "5")[0] == code


def test_each_sample_in_the_documentation_acts_on_a_thing_of_its_own(desk: CliHarness) -> None:
    """Played in its order in front of what the local stack holds: none finds that another was there before."""
    connect = (EVENTS.parent / "docs" / "connect.md").read_text(encoding="utf-8")
    plays = re.findall(r"`lifecycle source play (\w+) events/(\S+?)[ `]", connect)
    assert len(plays) >= 8
    desk.simulator.load(default_seed())
    desk.simulator.merge(SEED)
    for source, file in plays:
        assert played(desk, source, file)[0] == 0
    organization = desk.simulator.organization
    targets = []
    for asked in sent(desk.entrance.ordinary):
        found = asked.get("find")
        if isinstance(found, dict):
            tagged = {tag.id for tag in organization.tags.values() if tag.title == found["tag"]}
            targets += [run.id for run in organization.runs.values() if run.tags & tagged]
            continue
        thing = organization.runs[str(asked["id"])]
        assert (thing.archived_at is None) is (asked["action"] == "archive"), (file, thing.name)
        targets.append(thing.id)
    [entry] = desk.stack.put
    targets += [run.id for run in organization.runs.values() if run.name == json.loads(entry["Detail"])["name"]]
    assert (
        len(targets) == len(set(targets)) == 9
    )  # Of HubSpot's two deals one has a process; Tallyfy's waits two weeks.
