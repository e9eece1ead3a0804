import json
from pathlib import Path

import pytest

from tests.harness.builders import EVENTS, ORG, SHARED, THING, WHSEC, hub_headers, hubspot_headers, standard_headers
from tests.unit.cli.harness import CliHarness

SAMPLES = [
    ("hubspot", "hubspot-deal-won.json", ()),
    ("jira", "jira-issue-resolved.json", ()),
    ("github", "github-issue-closed.json", ("--header", "X-GitHub-Event=issues")),
    ("tallyfy", "tallyfy-process-completed.json", ()),
    ("projects", "put-events.json", ()),
    ("projects", "event-batch.json", ()),
    ("crm", "webhook-hmac.json", ()),
    ("automation", "webhook-standard.json", ()),
]


def tried(desk: CliHarness, source: str, file: Path | str, *words: str, secret: str = "") -> tuple[int, str]:
    """The exit code, and what was said on one line."""
    result = desk.run("source", "try", source, str(EVENTS / file), *words, env={"LIFECYCLE_SECRET": secret})
    assert "Traceback" not in result.output
    return result.exit_code, " ".join(result.output.split())


def headers(sent: dict[str, str]) -> list[str]:
    return [word for name, value in sent.items() for word in ("--header", f"{name}={value}")]


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    return tmp_path / "payload.json"


def test_the_sources_are_listed(desk: CliHarness) -> None:
    result = desk.run("source", "list")
    assert result.exit_code == 0, result.output
    for part in ("hubspot", "hmac", "shared-secret", "eventbridge", "14d", "at once", "irreversible too", "1 rule"):
        assert part in result.output


@pytest.mark.parametrize(("source", "file", "words"), SAMPLES)
def test_every_sample_becomes_a_command(desk: CliHarness, source: str, file: str, words: tuple[str, ...]) -> None:
    code, said = tried(desk, source, file, *words)
    assert code == 0, said
    assert f"OrganizationIds hold {ORG}" in said
    assert not desk.connected
    assert not desk.front.asked


def test_each_event_of_a_hubspot_payload_is_shown(desk: CliHarness) -> None:
    _, said = tried(desk, "hubspot", "hubspot-deal-won.json")
    for part in (
        "not checked (hmac)",
        "filter none",
        "4 items, 2 of them by its filter",
        "the process with the tag 'deal-9172831465'",
        "reason The deal was won in HubSpot.",
        "delivery 9172831465/dealstage/1780315195000",
    ):
        assert part in said


def test_try_shows_the_delay_the_expectation_and_the_name(desk: CliHarness) -> None:
    _, said = tried(desk, "tallyfy", "tallyfy-process-completed.json")
    assert "run.archive, 14d later: process" in said
    assert "expects status complete" in said
    _, said = tried(desk, "projects", "put-events.json")
    assert "the process named 'Website relaunch' of template" in said


def test_a_payload_that_the_filter_excludes_is_ignored(desk: CliHarness) -> None:
    code, said = tried(desk, "github", "jira-issue-resolved.json", "--header", "x-github-event=issues")
    assert (code, "filter false: body.action" in said, "Ignored" in said) == (0, True, True)


def test_a_payload_that_no_rule_translates_is_not_accepted(desk: CliHarness) -> None:
    code, said = tried(desk, "hubspot", "jira-issue-resolved.json")
    assert (code, 'commands[no. 1].each = "body" finds an object, not a list' in said) == (1, True)


def test_a_body_that_is_not_json_is_reported(desk: CliHarness, payload: Path) -> None:
    payload.write_text("no JSON")
    code, said = tried(desk, "jira", payload)
    assert (code, "not JSON" in said) == (1, True)


# --- signatures -------------------------------------------------------------------------------------------------------


def test_a_signature_is_verified_if_secret_and_headers_are_given(desk: CliHarness) -> None:
    raw = (EVENTS / "github-issue-closed.json").read_bytes()
    sent = headers({**hub_headers(raw), "x-github-event": "issues"})
    code, said = tried(desk, "github", "github-issue-closed.json", *sent, secret=SHARED)
    assert (code, "verified (hmac)" in said) == (0, True), said
    code, said = tried(desk, "github", "github-issue-closed.json", *sent, secret="another")
    assert (code, "the signature does not match" in said) == (1, True), said


def test_a_signature_over_the_url_is_verified_with_the_uri_option(desk: CliHarness) -> None:
    uri = "https://hooks.example.com/hubspot"
    sent = headers(hubspot_headers((EVENTS / "hubspot-deal-won.json").read_bytes(), uri=uri))
    assert tried(desk, "hubspot", "hubspot-deal-won.json", *sent, "--uri", uri, secret=SHARED)[0] == 0
    assert tried(desk, "hubspot", "hubspot-deal-won.json", *sent, secret=SHARED)[0] == 1


def test_an_event_of_api_gateway_brings_its_headers_and_its_time(desk: CliHarness) -> None:
    desk.clock.now = desk.clock.now.replace(year=2027)
    code, said = tried(desk, "crm", "webhook-hmac.json", secret="another")
    assert (code, "does not match" in said) == (1, True), said
    assert "delivery order-20260601-0007" in tried(desk, "crm", "webhook-hmac.json")[1]


def test_a_shared_secret_in_the_path_is_verified(desk: CliHarness, payload: Path) -> None:
    raw = (EVENTS / "tallyfy-process-completed.json").read_text()
    event = {"requestContext": {"http": {"method": "POST"}}, "rawPath": "/webhooks/tallyfy/k", "headers": {}}
    payload.write_text(json.dumps({**event, "pathParameters": {"key": SHARED}, "body": raw}))
    assert "verified (shared-secret)" in tried(desk, "tallyfy", payload, secret=SHARED)[1]
    assert tried(desk, "tallyfy", payload, secret="another")[0] == 1


def test_standard_webhooks_are_verified_and_name_the_delivery(desk: CliHarness, payload: Path) -> None:
    asked = {"action": "archive", "resource": "process", "org_id": ORG, "id": THING}
    payload.write_text(json.dumps(asked))
    sent = headers(standard_headers(payload.read_bytes(), delivery_id="msg_7"))
    code, said = tried(desk, "operator", payload, *sent, secret=WHSEC)
    assert (code, "verified" in said, "delivery msg_7" in said) == (0, True, True), said


@pytest.mark.parametrize("secret", ["", SHARED])
def test_secret_from_env_fails_without_a_verified_signature(desk: CliHarness, secret: str) -> None:
    code, said = tried(desk, "hubspot", "hubspot-deal-won.json", "--secret-from-env", secret=secret)
    assert (code, "nothing to verify" in said) == (2, True)


# --- our own words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"action": "delete"}, "may not ask for run.delete"), ({"id": "x"}, "id:"), ({"colour": "red"}, "colour")],
)
def test_a_command_that_the_intake_refuses_is_refused(
    desk: CliHarness, payload: Path, changes: dict[str, str], said: str
) -> None:
    payload.write_text(json.dumps({"action": "archive", "resource": "run", "org_id": ORG, "id": THING, **changes}))
    code, told = tried(desk, "automation", payload)
    assert (code, said in told) == (1, True), told


# --- events -----------------------------------------------------------------------------------------------------------


def test_an_event_of_another_source_is_not_accepted(desk: CliHarness, payload: Path) -> None:
    payload.write_text(json.dumps({"id": "1", "source": "com.example.other", "detail-type": "project.closed"}))
    code, said = tried(desk, "projects", payload)
    assert (code, "project.closed as com.example.projects" in said) == (1, True), said


def test_an_event_that_lacks_what_the_rule_needs_is_not_accepted(desk: CliHarness, payload: Path) -> None:
    entry = {"Source": "com.example.projects", "DetailType": "project.closed", "Detail": "{}"}
    payload.write_text(json.dumps(entry))
    code, said = tried(desk, "projects", payload)
    assert (code, 'commands[no. 1].find.name = "body.detail.name" finds nothing' in said) == (1, True), said


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"Records": [{"body": "{}"}]}', '{"Records": []}'])
def test_a_file_without_an_event_is_refused_with_the_reason(desk: CliHarness, payload: Path, text: str) -> None:
    payload.write_text(text)
    code, said = tried(desk, "projects", payload)
    assert (code, "The file holds no event" in said) == (1, True), said


# --- a source of one's own: TOML only ---------------------------------------------------------------------------------

FORM = f"""
[sources.form]
scheme = "shared-secret"
header = "x-key"
may = ["run.archive"]

[[sources.form.commands]]
each = "body.finished"
action = "archive"
resource = "process"
org_id = "{ORG}"
id = "item.process"
delivery = "body.form"
"""


@pytest.fixture
def form(tmp_path: Path) -> Path:
    path = tmp_path / "sources.toml"
    path.write_text(FORM)
    return path


def test_a_new_source_is_tried_before_it_is_deployed(desk: CliHarness, form: Path, payload: Path) -> None:
    payload.write_text(json.dumps({"form": "f-1", "finished": [{"process": THING}]}))
    code, said = tried(desk, "form", payload, "--sources", str(form))
    assert (code, f"run.archive: process {THING}" in said, "delivery f-1" in said) == (0, True, True), said
    assert "form" in desk.run("source", "list", "--sources", str(form)).output


def test_commands_with_the_same_delivery_name_are_pointed_out(desk: CliHarness, form: Path, payload: Path) -> None:
    payload.write_text(json.dumps({"form": "f-1", "finished": [{"process": THING}, {"process": "6f" * 16}]}))
    code, said = tried(desk, "form", payload, "--sources", str(form))
    assert (code, "have the same name. Check 'delivery'" in said) == (1, True), said
    payload.write_text(json.dumps({"form": "f-1", "finished": [{"process": THING}, {"process": THING}]}))
    code, said = tried(desk, "form", payload, "--sources", str(form))
    assert (code, "each is carried out once" in said) == (0, True), said


TWO_RULES = FORM + FORM.split("may = ")[1].split("\n", 1)[1].replace("body.finished", "body.ended")


def test_each_rule_is_shown_and_one_match_is_enough(desk: CliHarness, form: Path, payload: Path) -> None:
    form.write_text(TWO_RULES)
    payload.write_text(json.dumps({"form": "f-1", "ended": [{"process": THING}]}))
    code, said = tried(desk, "form", payload, "--sources", str(form))
    assert (code, "commands[no. 2] 1 item" in said) == (0, True), said
    payload.write_text(json.dumps({"form": "f-1"}))
    code, said = tried(desk, "form", payload, "--sources", str(form))
    assert (code, "Not accepted" in said) == (1, True), said


def test_a_mistake_in_sources_toml_is_reported_with_its_key(desk: CliHarness, form: Path) -> None:
    form.write_text(FORM.replace("run.archive", "run.shred"))
    code, said = tried(desk, "form", "health.json", "--sources", str(form))
    assert (code, "sources.form" in said, "run.shred" in said) == (1, True, True), said


def test_an_unknown_source_and_a_header_without_a_value_are_usage_errors(desk: CliHarness) -> None:
    assert tried(desk, "nobody", "health.json")[0] == 2
    assert tried(desk, "crm", "health.json", "--header", "x")[0] == 2


def test_a_header_is_also_taken_as_curl_writes_it(desk: CliHarness) -> None:
    raw = (EVENTS / "github-issue-closed.json").read_bytes()
    [(name, value)] = hub_headers(raw).items()
    words = ("--header", f"{name.title()}: {value}", "--secret-from-env")
    code, said = tried(desk, "github", "github-issue-closed.json", *words, secret=SHARED)
    assert (code, "verified (hmac)" in said) == (0, True), said
