import gzip
import json
import re
import webbrowser
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from typer.testing import Result

from cli.clients.tallyfy_reader import TallyfyReader
from lifecycle.aws.dynamodb import Key, Put
from lifecycle.domain.capabilities import Resource
from lifecycle.plans.plan_file import Entry, Plan, entries
from lifecycle.policy.policy import Policy
from lifecycle.tallyfy.client import HttpTallyfy, Json
from sandbox.simulator import DEFAULT_TOKEN, Fault, SeedMember, SeedOrganization, SeedTag
from sandbox.simulator.seed import Seed
from tests.unit.cli.harness import ORG, TALLYFY_URL, CliHarness
from tests.unit.cli.planned import LASTING, RULE, at_night, organization, runs

TOKEN = {"LIFECYCLE_TALLYFY_TOKEN": DEFAULT_TOKEN}
ALONE = ("--org", ORG, "--base-url", TALLYFY_URL)


@pytest.fixture
def where(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text(RULE)
    return tmp_path


def planned(desk: CliHarness, where: Path, *words: str, env: dict[str, str] | None = None) -> Result:
    given = ("plan", "--policy", str(where / "policy.toml"), "--out", str(where / "plans"), *words)
    return desk.run(*given, env=TOKEN if env is None else env)


def alone(desk: CliHarness, where: Path, *words: str) -> Result:
    """Without any stack."""
    result = planned(desk, where, *ALONE, *words)
    assert desk.connected == []
    return result


def made(where: Path) -> Plan:
    [file] = where.glob("plans/*/*/plan.json")
    return Plan.model_validate_json(file.read_bytes())


def judged(where: Path) -> list[Entry]:
    [file] = where.glob("plans/*/*/plan.jsonl.gz")
    return list(entries(gzip.decompress(file.read_bytes()).splitlines()))


def test_a_plan_is_made_without_a_stack_and_nothing_is_changed(desk: CliHarness, where: Path) -> None:
    seed = organization([*runs(120), *runs(3, first=500, completed="-2d")])
    desk.simulator.load(seed)
    result = alone(desk, where)
    assert result.exit_code == 0, result.output
    assert {call.method for call in desk.simulator.log.calls} == {"GET"}
    assert not any(call.acted for call in desk.simulator.log.calls)
    plan = made(where)
    assert (plan.org_id, plan.org_name, plan.mode) == (ORG, "Example Ltd", "report")
    assert (plan.seen, plan.due, plan.kept, plan.failed) == (123, 120, 3, 0)
    assert plan.policy == Policy.parse(RULE).digest
    said = re.sub(r"\s+", " ", result.output)
    for part in (
        plan.hash,
        "123 seen = 120 due + 3 kept + 0 not readable",
        "completed archive process: 120 of 123",
        "too young 3",
        "Holds were not read",
        "Nothing was changed in Tallyfy. The stack did not make this plan",
    ):
        assert part in said, part
    assert "✗" not in said
    folder = where / "plans" / ORG / plan.hash
    assert str(folder / "report.html") in result.output.replace("\n", "")
    assert sorted(path.name for path in folder.iterdir()) == ["names.json", "plan.json", "plan.jsonl.gz", "report.html"]
    assert "Run 120" in (folder / "report.html").read_text()
    assert "lifecycle apply" not in (folder / "report.html").read_text()
    assert len(judged(where)) == 123
    assert sorted(path.name for path in (where / "plans").iterdir()) == [".gitignore", ORG]


def test_the_token_is_never_shown_or_stored(desk: CliHarness, where: Path) -> None:
    desk.simulator.load(organization(runs(1)))
    output = alone(desk, where).output
    written = b"".join(path.read_bytes() for path in where.rglob("*") if path.is_file())
    assert DEFAULT_TOKEN not in output
    assert DEFAULT_TOKEN.encode() not in written
    refused = planned(desk, where, *ALONE, env={"LIFECYCLE_TALLYFY_TOKEN": "another-token"})
    assert refused.exit_code == 3
    assert "another-token" not in refused.output
    assert "Once more" not in refused.output  # Waiting mends no token.


def test_a_token_file_wins_over_the_environment(desk: CliHarness, where: Path) -> None:
    desk.simulator.load(organization(runs(1)))
    file = where / "token"
    file.write_text(f'{{"token": "{DEFAULT_TOKEN}"}}\n')
    result = planned(desk, where, *ALONE, "--token-file", str(file), env={"LIFECYCLE_TALLYFY_TOKEN": "another-token"})
    assert result.exit_code == 0, result.output
    file.write_text(" \n")
    blank = planned(desk, where, *ALONE, "--token-file", str(file))
    assert (blank.exit_code, "holds no token" in blank.output) == (2, True)


def test_there_is_no_option_for_a_token(desk: CliHarness, where: Path) -> None:
    assert alone(desk, where, "--token", DEFAULT_TOKEN).exit_code == 2


def test_without_a_stack_an_organization_must_be_named(desk: CliHarness, where: Path) -> None:
    result = planned(desk, where)
    assert (result.exit_code, "--org" in result.output, desk.connected) == (2, True, [])


def test_a_token_is_sent_only_to_tallyfy(desk: CliHarness, where: Path) -> None:
    result = planned(desk, where, "--org", ORG, "--base-url", "http://elsewhere.test/api")
    assert (result.exit_code, "must be https" in result.output) == (2, True)


def test_a_token_of_another_organization_makes_no_plan(desk: CliHarness, where: Path) -> None:
    other = "b" * 32
    desk.simulator.load(Seed(organizations=[SeedOrganization(id=other, members=[SeedMember(token=DEFAULT_TOKEN)])]))
    result = alone(desk, where)
    assert result.exit_code != 0
    assert not list(where.glob("plans/*/*"))


def test_a_token_that_opens_another_organization_makes_no_plan(
    desk: CliHarness, where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: tuple[Json, Json] = {"role": "admin"}, {"id": "b" * 32, "name": "Another Ltd"}
    monkeypatch.setattr(HttpTallyfy, "account", lambda *_: answered)
    result = alone(desk, where)
    assert (result.exit_code, f"Tallyfy answered for {'b' * 32}" in result.output) == (1, True)
    assert not (where / "plans").exists()


def test_without_a_token_the_stacks_token_and_holds_are_used(desk: CliHarness, where: Path) -> None:
    night = at_night(desk, organization(runs(2)))
    held = runs(1)[0].id
    night.world.holds.add(ORG, Resource.RUN, held, reason="a lawsuit", by="Ada")
    result = planned(desk, where, env={})
    assert result.exit_code == 0, result.output
    assert desk.connected == [("tallyfy-lifecycle-dev", None)]
    assert {entry.thing.id: entry.decision.kind for entry in judged(where)}[held] == "on hold"
    assert "Holds were not read" not in result.output
    assert DEFAULT_TOKEN not in result.output


@pytest.mark.parametrize("place", ["before", "after"])
def test_holds_of_a_named_stack_are_used_with_an_own_token(desk: CliHarness, where: Path, place: str) -> None:
    night = at_night(desk, organization(runs(2)))
    night.world.holds.add(ORG, Resource.RUN, runs(1)[0].id, reason="a lawsuit", by="Ada")
    del desk.entrance.secrets.texts[f"stack/tokens/{ORG}"]
    words = ("plan", "--policy", str(where / "policy.toml"), "--out", str(where / "plans"))
    named = ("--stack", "prod")
    result = desk.run(*named, *words, env=TOKEN) if place == "before" else desk.run(*words, *named, env=TOKEN)
    assert result.exit_code == 0, result.output
    assert desk.connected == [("prod", None)]
    assert (made(where).due, made(where).kept_by) == (1, {"on hold": 1})


def test_an_organization_outside_the_stack_is_refused(desk: CliHarness, where: Path) -> None:
    result = planned(desk, where, "--stack", "prod", "--org", "b" * 32)
    assert (result.exit_code, "not one of this stack's" in result.output) == (2, True)


def test_obstacles_to_the_stacks_plan_are_printed(desk: CliHarness, where: Path) -> None:
    (where / "policy.toml").write_text(RULE.replace("count = 500", "count = 20"))
    at_night(desk, organization(runs(40)))
    desk.simulator.organization.members[1001].role = "light"
    row = {"policy": Policy.parse(RULE.replace("= 30", "= 300")).to_json(), "plan": "a" * 64}
    desk.stack.rows().write(Put(Key(f"sweep#{ORG}", "applied"), row, 0))
    result = planned(desk, where, env={})
    assert result.exit_code == 1, result.output
    said = re.sub(r"\s+", " ", result.output)
    assert "not applied: The plan would act on 40 things; its cap is 20." in said
    assert "not applied: Role of the token's user: light" in said
    assert "a person must apply it: policy.toml was changed" in said


def test_the_rights_of_an_own_token_are_not_an_obstacle(desk: CliHarness, where: Path) -> None:
    desk.simulator.load(organization(runs(1)))
    desk.simulator.organization.members[1001].role = "light"
    assert alone(desk, where).exit_code == 0
    [stop] = made(where).stops
    assert "The stack did not make this plan" in stop


def test_irreversible_rules_are_marked(desk: CliHarness, where: Path) -> None:
    (where / "policy.toml").write_text(RULE + LASTING)
    desk.simulator.load(organization(runs(1), [SeedTag(id="c" * 32, title="left over")]))
    result = alone(desk, where)
    assert "dead-tags  delete tag: 1 of 1  cannot be undone" in result.output
    assert "It waits for a person" in result.output


def test_an_incomplete_list_is_reported(desk: CliHarness, where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.simulator.load(organization(runs(150)))
    patiently = TallyfyReader.patiently
    leaving = iter(runs(150))

    def shrinking[T](self: TallyfyReader, call: Callable[[], T]) -> T:
        found = patiently(self, call)
        desk.simulator.organization.runs[next(leaving).id].archive(desk.clock())
        return found

    monkeypatch.setattr(TallyfyReader, "patiently", shrinking)
    result = alone(desk, where)
    assert result.exit_code == 1, result.output
    said = re.sub(r"\s+", " ", result.output)
    assert "incomplete: The list of active processes was read 3 times and was never consistent" in said
    assert made(where).unseen


def test_a_wait_that_tallyfy_asks_for_is_observed(desk: CliHarness, where: Path) -> None:
    desk.simulator.load(organization(runs(150)))
    desk.simulator.faults.add(Fault.rate_limit(90, path="/runs", skip=1, times=2))
    before = desk.clock()
    result = alone(desk, where)
    assert result.exit_code == 0, result.output
    assert result.output.count("Tallyfy asked for a pause of 90 s") == 2
    assert desk.clock() - before >= timedelta(seconds=180)
    assert made(where).seen == 150


def test_no_more_calls_are_made_than_the_rate_allows(desk: CliHarness, where: Path) -> None:
    desk.simulator.load(organization(runs(150)))
    result = alone(desk, where, "--rate", "2")
    assert result.exit_code == 0, result.output
    times = [call.time for call in desk.simulator.log.calls]
    assert len(times) == 7
    assert all(third - first >= timedelta(minutes=1) for first, third in zip(times, times[2:], strict=False))


def test_an_outage_is_waited_out_and_a_long_one_makes_no_plan(desk: CliHarness, where: Path) -> None:
    desk.simulator.load(organization(runs(150)))
    desk.simulator.faults.add(Fault.answer_status(503, path="/runs", skip=1, times=2))
    assert alone(desk, where).exit_code == 0
    desk.simulator.faults.add(Fault.answer_status(503, path="/runs", times=-1))
    result = alone(desk, where)
    assert result.exit_code == 3
    assert len(list(where.glob("plans/*/*"))) == 1
    assert not list(where.glob("plans/.unfinished*"))


def test_an_interrupted_read_leaves_no_plan_and_says_so(desk: CliHarness, where: Path) -> None:
    desk.simulator.load(organization(runs(350)))
    waited = []

    def interrupting() -> None:
        waited.append(1)
        if len(waited) > 3:
            raise KeyboardInterrupt

    desk.while_waiting = interrupting
    result = alone(desk, where, "--rate", "1")
    assert result.exit_code == 130
    assert "Interrupted. No plan was made." in result.output
    assert [path.name for path in (where / "plans").rglob("*")] == [".gitignore"]


def test_a_policy_without_actions_reads_nothing(desk: CliHarness, where: Path) -> None:
    (where / "policy.toml").write_text(RULE.replace('"archive"', '"keep"'))
    result = alone(desk, where)
    assert (result.exit_code, "No rule of this policy archives or deletes" in result.output) == (1, True)


def test_an_invalid_policy_is_reported_before_anything_is_read(desk: CliHarness, where: Path) -> None:
    (where / "policy.toml").write_text(RULE.replace("completed_days", "complete_days"))
    result = alone(desk, where)
    assert (result.exit_code, "].when.complete_days: unknown key. Did you mean completed_days?" in result.output) == (
        1,
        True,
    )
    assert desk.simulator.log.calls == []


def test_an_existing_folder_is_left_unchanged(desk: CliHarness, where: Path) -> None:
    (where / "plans").mkdir()
    desk.simulator.load(organization(runs(1)))
    assert alone(desk, where).exit_code == 0
    assert [path.name for path in (where / "plans").iterdir()] == [ORG]


def test_the_report_is_opened_on_request(desk: CliHarness, where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) is None)  # type: ignore[func-returns-value]
    desk.simulator.load(organization(runs(1)))
    alone(desk, where)
    assert opened == []
    for path in where.glob("plans/*/*"):
        path.rename(where / path.name)
    alone(desk, where, "--open")
    [file] = where.glob("plans/*/*/report.html")
    assert opened == [file.resolve().as_uri()]


def test_the_session_for_reading_cannot_write(desk: CliHarness, where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    send = requests.Session.request

    def watched(self: requests.Session, method: str | bytes, *words: object, **more: object) -> requests.Response:
        asked.append((type(self).__name__, method))
        return send(self, method, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(requests.Session, "request", watched)
    desk.simulator.load(organization(runs(1)))
    alone(desk, where)
    assert set(asked) == {("ReadOnlySession", "GET")}


def test_without_a_token_and_without_aws_the_error_names_the_missing_token(desk: CliHarness, where: Path) -> None:
    desk.stack.missing = True
    result = planned(desk, where, "--org", ORG, env={})
    assert result.exit_code == 3
    for part in ("No Tallyfy token was given. Set LIFECYCLE_TALLYFY_TOKEN, or give --token-file.", "There is no stack"):
        assert part in result.output, result.output


@pytest.mark.parametrize("org", ["123", "acme", ORG[:-1], f"{ORG}/x"])
def test_a_malformed_organization_id_fails_before_any_call(desk: CliHarness, where: Path, org: str) -> None:
    for env in (TOKEN, {}):
        result = planned(desk, where, "--org", org, env=env)
        assert (result.exit_code, "not the id of an organization" in result.output) == (2, True), result.output
    for words in (
        ("explain", "5e" * 16),
        ("hold", "list"),
        ("audit", "show"),
        ("sweep", "show"),
        ("pause", "--reason", "x"),
    ):
        result = desk.run(*words, "--org", org)
        assert (result.exit_code, "not the id of an organization" in result.output) == (2, True), (words, result.output)
    assert desk.simulator.log.calls == []


def test_plan_with_json_prints_only_json(desk: CliHarness, where: Path) -> None:
    desk.simulator.load(organization(runs(3)))
    result = desk.run(
        *("plan", "--policy", str(where / "policy.toml"), "--out", str(where / "plans"), "--json", *ALONE), env=TOKEN
    )
    found = json.loads(result.stdout)
    assert (found["due"], found["stops"], Path(found["folder"]).name) == (3, [], found["hash"])
