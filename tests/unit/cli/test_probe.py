import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from cli.clients.tallyfy_calls import TallyfyCalls, TallyfyStopped
from cli.services.probe import Fact, Journal, Probe, ProbeClient, ProbeStopped, Workshop, facts_file, remove
from sandbox.simulator import DEFAULT_TOKEN, LIGHT_TOKEN, STANDARD_TOKEN, Fault, Quirks, Simulator, SimulatorTransport
from sandbox.simulator.quirks import load_facts
from tests.unit.cli.harness import ORG, CliHarness

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def client_of(simulator: Simulator, token: str = DEFAULT_TOKEN) -> ProbeClient:
    session = requests.Session()
    session.mount("https://", SimulatorTransport(simulator))
    calls = TallyfyCalls(session, "https://tallyfy.test/api", token, sleep=lambda _: None)
    return ProbeClient(calls, simulator.organization.id)


def probed(simulator: Simulator, tmp_path: Path, *, token: str = DEFAULT_TOKEN) -> list[Fact]:
    journal = Journal(tmp_path / "journal.json")
    return list(Probe(Workshop(client_of(simulator, token), journal, lambda: NOW)).run())


def everything(simulator: Simulator) -> tuple[set[str], set[str], set[str]]:
    organization = simulator.organization
    tags = {tag.id for tag in organization.tags.values() if tag.deleted_at is None}
    return set(organization.runs), set(organization.tasks), tags


QUIRKS = [
    Quirks(),
    Quirks(tag_delete="soft"),
    Quirks(delete_unarchived=404),
    Quirks(archive_archived=200),
    Quirks(archive_archived=422),
    Quirks(restore_active=404),
    Quirks(restore_active=422),
    Quirks(delete_deleted=200),
    Quirks(delete_deleted=422),
    Quirks(run_delete="empty"),
    Quirks(run_delete="no_content"),
    Quirks(task_archive="data"),
    Quirks(restore="no_content"),
    Quirks(archived_parts="hidden"),
]


@pytest.mark.parametrize("quirks", QUIRKS, ids=str)
def test_the_simulator_replays_what_the_probe_observed(quirks: Quirks, tmp_path: Path) -> None:
    simulator = Simulator()
    simulator.quirks = quirks
    before = everything(simulator)
    facts = probed(simulator, tmp_path)
    assert [fact.name for fact in facts if not fact.agrees] == []
    assert everything(simulator) == before
    file = tmp_path / "facts.json"
    file.write_text(facts_file(simulator.organization.id, NOW, facts))
    assert load_facts(file, Quirks()) == quirks


def test_the_probe_changes_only_what_it_created(tmp_path: Path) -> None:
    simulator = Simulator()
    known = set().union(*everything(simulator))
    probed(simulator, tmp_path)
    touched = {call.id for call in simulator.log.calls if call.method in {"PUT", "DELETE"}}
    assert touched
    assert not touched & known


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/runs/{}", "/runs/{}/delete", "/tasks/{}/restore", "/tags/{}", "/checklists/{}"])
def test_a_write_to_anything_else_is_not_sent(method: str, path: str) -> None:
    simulator = Simulator()
    [run, *_] = simulator.organization.runs
    with pytest.raises(ProbeStopped, match="did not make"):
        client_of(simulator).call(method, path.format(run))
    assert simulator.log.calls == []


@given(st.text(max_size=80))
def test_no_path_reaches_a_write_that_is_not_allowed(path: str) -> None:
    calls = TallyfyCalls(requests.Session(), "https://tallyfy.test/api", "token", sleep=lambda _: None)
    client = ProbeClient(calls, "a0" * 16)
    client.made.add("a1" * 16)
    if path.split("/")[2:3] != ["a1" * 16]:
        with pytest.raises(ProbeStopped):
            client.call("DELETE", path)


ID = "[0-9a-f]{32}"
BROKEN = [
    ("GET", r"/tasks$", 0, "A list of one-off tasks with=tags shows a task's tags"),
    ("GET", r"/tasks$", 1, "GET /tasks?tag= takes a tag's title"),
    ("DELETE", rf"/tasks/{ID}$", 0, "Archiving a one-off task answers"),
    ("GET", rf"/tasks/{ID}$", 0, "GET of an archived task answers"),
    ("GET", r"/tasks$", 2, "GET /tasks?archived=only lists an archived task"),
    ("PUT", r"/restore$", 0, "Restoring a one-off task answers"),
    ("DELETE", rf"/runs/{ID}$", 0, "Archiving a process answers with status archived and archived_at"),
    ("GET", rf"/runs/{ID}$", 0, "GET of an archived process shows archived_at"),
    ("GET", r"/runs$", 0, "GET /runs?archived=only lists an archived process"),
    ("GET", r"/runs$", 1, "GET /runs?status=archived lists an archived process"),
    ("GET", r"/activity-feeds$", 0, "The activity feed shows that a process was archived"),
    ("PUT", r"/activate$", 0, "Activating a process answers with archived_at null"),
    ("DELETE", rf"/runs/{ID}/delete$", 1, "Deleting an archived process answers"),
    ("GET", rf"/runs/{ID}$", 1, "GET of a deleted process answers"),
    ("DELETE", rf"/tags/{ID}$", 0, "Deleting a tag is"),
]


@pytest.mark.parametrize(("method", "path", "skip", "fact"), BROKEN, ids=[fact for *_, fact in BROKEN])
def test_a_fact_that_does_not_hold_is_shown(method: str, path: str, skip: int, fact: str, tmp_path: Path) -> None:
    simulator = Simulator()
    before = everything(simulator)
    simulator.add_fault(Fault.error_in_200("after", method=method, path=path, skip=skip))
    assert fact in [one.name for one in probed(simulator, tmp_path) if not one.agrees]
    assert everything(simulator) == before


@pytest.mark.parametrize("calls", range(45))
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_probe_can_be_cleaned_up_from_its_journal(
    calls: int, when: Literal["before", "after"], tmp_path: Path
) -> None:
    simulator = Simulator()
    before = everything(simulator)
    simulator.add_fault(Fault.reset(when, skip=calls, times=-1))
    with contextlib.suppress(requests.ConnectionError):
        probed(simulator, tmp_path)
    simulator.faults.clear()
    journal = Journal(tmp_path / "journal.json")
    assert everything(simulator) == before or journal.left
    remove(client_of(simulator), journal)
    assert (everything(simulator), journal.left) == (before, {})
    assert not journal.path.exists()


def test_a_thing_that_cannot_be_removed_stays_in_the_journal(tmp_path: Path) -> None:
    simulator = Simulator()
    simulator.add_fault(Fault.answer_status(403, method="DELETE", path=r"/runs/", times=-1))
    probed(simulator, tmp_path)
    [left] = Journal(tmp_path / "journal.json").left.values()
    assert (left["kind"], left["id"] in simulator.organization.runs) == ("run", True)


def test_the_probe_waits_as_long_as_tallyfy_asks_and_reports_it(tmp_path: Path) -> None:
    simulator = Simulator()
    simulator.add_fault(Fault.rate_limit(7, method="GET", path=r"/runs$"))
    slept: list[float] = []
    client = client_of(simulator)
    client.calls.sleep = slept.append
    facts = list(Probe(Workshop(client, Journal(tmp_path / "journal.json"), lambda: NOW)).run())
    assert 7 in slept
    assert facts[-1].seen == "1 times, at most 7 s"


@pytest.mark.parametrize("token", [STANDARD_TOKEN, LIGHT_TOKEN])
def test_only_an_admin_s_token_is_used(token: str, tmp_path: Path) -> None:
    simulator = Simulator()
    with pytest.raises(ProbeStopped, match="Use an admin's token"):
        probed(simulator, tmp_path, token=token)
    assert {call.method for call in simulator.log.calls} == {"GET"}


def test_an_expired_token_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TallyfyStopped, match="refused the token"):
        probed(Simulator(), tmp_path, token="dead")


class TestCommand:
    def run(self, desk: CliHarness, tmp_path: Path, *words: str) -> Result:
        files = ("--out", str(tmp_path / "facts.json"), "--journal", str(tmp_path / "journal.json"))
        result: Result = desk.run("probe", *words, *files)
        return result

    def test_the_organization_is_named_twice(self, desk: CliHarness, tmp_path: Path) -> None:
        result = self.run(desk, tmp_path, "--org", ORG)
        assert (result.exit_code, f"--again {ORG}" in result.output) == (2, True)
        assert desk.simulator.log.calls == []

    def test_the_probe_shows_a_table_and_writes_the_facts(self, desk: CliHarness, tmp_path: Path) -> None:
        result = self.run(desk, tmp_path, "--org", ORG, "--again", ORG)
        assert result.exit_code == 0, result.output
        assert "make simulator FACTS=" in result.output
        assert load_facts(tmp_path / "facts.json", Quirks()) == Quirks()

    def test_resources_left_by_an_earlier_probe_must_be_removed_first(self, desk: CliHarness, tmp_path: Path) -> None:
        Journal(tmp_path / "journal.json").begin("tag-x", "tag", "lifecycle probe x")
        result = self.run(desk, tmp_path, "--org", ORG, "--again", ORG)
        assert (result.exit_code, "--clean" in result.output) == (1, True)
        assert {call.method for call in desk.simulator.log.calls} <= {"GET"}
        result = self.run(desk, tmp_path, "--org", ORG, "--again", ORG, "--clean")
        assert (result.exit_code, "Nothing is left" in result.output) == (0, True)


@pytest.mark.parametrize("text", ["[]", "{}", '{"quirks": {"unknown": 1}}', '{"quirks": {"restore": "?"}}', "no JSON"])
def test_a_file_that_is_not_a_facts_file_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        load_facts(file, Quirks())
