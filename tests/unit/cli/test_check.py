import json
import re
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
import requests
from botocore.exceptions import ClientError

from cli.clients.tallyfy_reader import ReadOnlySession
from cli.services import config_files
from lifecycle.approvals.people import People
from lifecycle.intake.sources import Sources
from lifecycle.notices.file import Notices
from lifecycle.policy.policy import Policy
from sandbox.simulator import LIGHT_TOKEN, STANDARD_TOKEN, Fault, SeedOrganization
from sandbox.simulator.seed import Seed
from tests.unit.cli.harness import ARNS, ORG, CliHarness


def test_a_complete_stack_passes_the_check(desk: CliHarness) -> None:
    result = desk.run("check")
    assert result.exit_code == 0, result.output
    assert "✗" not in result.output
    for part in (
        "8 sources",
        "1 rule: completed; a plan does at most 1000 things and 30 percent of them",
        "1 person: ada",
        "signing secret of Slack",
        "https://api.test",
        "secret of source crm",
        "admin, which may do everything",
        "Example Ltd",
    ):
        assert part in result.output


def test_nothing_but_reads_reach_tallyfy(desk: CliHarness) -> None:
    desk.run("check")
    assert {call.method for call in desk.simulator.log.calls} == {"GET"}
    assert [call.acted for call in desk.simulator.log.calls] == [False, False]
    assert {request.method for request in desk.front.asked} == {"GET"}


@pytest.mark.parametrize("method", ["DELETE", "PUT", "POST", "get"])
def test_the_session_of_check_cannot_write(method: str) -> None:
    with pytest.raises(RuntimeError, match="only reads"):
        ReadOnlySession().request(method, "https://tallyfy.test/api")


def test_no_secret_is_shown(desk: CliHarness) -> None:
    output = desk.run("check").output
    for text in desk.entrance.secrets.texts.values():
        assert text not in output


def failing(desk: CliHarness, what: str) -> str:
    """The line of the one thing that failed."""
    result = desk.run("check")
    assert result.exit_code == 1, result.output
    lines = [line for line in result.output.splitlines() if "✗" in line]
    assert len(lines) == 1, result.output
    assert "1 of these findings must be corrected" in result.output
    assert what in lines[0]
    return re.sub(r"\s+", " ", result.output)


def test_a_standard_member_is_not_enough_for_permanent_deletes(desk: CliHarness) -> None:
    desk.entrance.secrets.texts[f"stack/tokens/{ORG}"] = STANDARD_TOKEN
    assert "Make the user an Admin" in failing(desk, "standard, which may archive and restore, but not run.delete")


def test_a_standard_member_is_enough_without_them(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Sources.parse('[sources.operator]\nscheme = "standard-webhooks"\nmay = ["run.archive"]\n')
    monkeypatch.setattr(config_files, "declared_sources", lambda: few)
    desk.entrance.secrets.texts[f"stack/tokens/{ORG}"] = STANDARD_TOKEN
    result = desk.run("check")
    assert (result.exit_code, "all that is asked for" in result.output) == (0, True), result.output


def test_a_token_of_a_light_member_is_reported(desk: CliHarness) -> None:
    desk.entrance.secrets.texts[f"stack/tokens/{ORG}"] = LIGHT_TOKEN
    failing(desk, "light, which may not archive")


def test_a_refused_token_is_reported(desk: CliHarness) -> None:
    desk.entrance.secrets.texts[f"stack/tokens/{ORG}"] = "of somebody who logged out"
    failing(desk, "refused the token")


def test_a_missing_token_is_reported(desk: CliHarness) -> None:
    del desk.entrance.secrets.texts[f"stack/tokens/{ORG}"]
    failing(desk, f"stack/tokens/{ORG}")


def test_a_token_of_another_organization_is_reported(desk: CliHarness) -> None:
    desk.simulator.merge(Seed(organizations=[SeedOrganization(id="9f" * 16)]))
    desk.stack.told["OrganizationIds"] = "9f" * 16
    desk.entrance.secrets.texts["stack/tokens/" + "9f" * 16] = desk.entrance.secrets.texts[f"stack/tokens/{ORG}"]
    failing(desk, "organization 9f9f")


@pytest.mark.parametrize("fault", [Fault.answer_status(503, times=-1), Fault.reset(times=-1), Fault.html(times=-1)])
def test_an_unreachable_tallyfy_is_reported(desk: CliHarness, fault: Fault) -> None:
    desk.simulator.add_fault(fault)
    failing(desk, f"organization {ORG}")


@pytest.mark.parametrize(
    ("text", "said"),
    [("not base64 at all!", "whsec_"), ('{"secrets": []}', "no signing secret"), ("whsec_", "whsec_")],
)
def test_an_unusable_source_secret_is_reported(desk: CliHarness, text: str, said: str) -> None:
    desk.entrance.secrets.texts["stack/sources/automation"] = text
    assert said in failing(desk, "secret of source automation")


def test_an_unusable_old_secret_is_reported_too(desk: CliHarness) -> None:
    desk.entrance.secrets.texts["stack/sources/automation"] = '{"secrets": ["whsec_d2VsbA==", "not base64!"]}'
    failing(desk, "number 2 cannot be used")


def test_events_on_the_bus_need_no_secret(desk: CliHarness) -> None:
    assert "secret of source projects" not in desk.run("check").output


@pytest.mark.parametrize("name", ["hubspot", "jira", "github", "tallyfy"])
def test_a_declared_source_without_its_secret_is_reported(desk: CliHarness, name: str) -> None:
    del desk.entrance.secrets.texts[f"stack/sources/{name}"]
    assert "take the source out of sources.toml" in failing(desk, f"secret of source {name}")


def test_slack_needs_its_secret_if_people_toml_names_anybody(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    del desk.entrance.secrets.texts["stack/chat/slack"]
    assert "take slack out of people.toml" in failing(desk, "signing secret of Slack")
    monkeypatch.setattr(config_files, "declared_people", lambda: People.parse("[people]"))
    result = desk.run("check")
    assert (result.exit_code, "0 people" in result.output) == (0, True), result.output


def test_people_of_an_organization_outside_the_stack_are_noted(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    astray = f'[people.ada]\nslack = "T0AA/U0BB"\nmay = ["run.archive"]\norganization = "{"9f" * 16}"\n'
    monkeypatch.setattr(config_files, "declared_people", lambda: People.parse(astray))
    result = desk.run("check")
    assert (result.exit_code, "organization of ada" in result.output) == (0, True), result.output


def test_people_must_name_one_of_several_organizations(desk: CliHarness) -> None:
    desk.simulator.merge(Seed(organizations=[SeedOrganization(id="9f" * 16)]))
    desk.stack.told["OrganizationIds"] = f"{ORG},{'9f' * 16}"
    assert "people.toml names none, and the stack has several" in desk.run("check").output


def test_an_invalid_people_toml_is_reported(desk: CliHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "people.toml"
    wrong.write_text('[people.ada]\nslack = "@ada"\nmay = ["run.archive"]\n')
    monkeypatch.setattr(config_files, "PEOPLE_FILE", wrong)
    result = desk.run("check")
    assert (result.exit_code, "people.ada.slack" in result.output) == (1, True), result.output


def allowed(monkeypatch: pytest.MonkeyPatch, people: str, *, policy: str | None = None, fixed: str = "true") -> None:
    """One source may delete processes for good, and these people may approve."""
    named = (f'[people.{name}]\niam = "{ARNS[name]}"\n{rights}\n' for name, rights in _said(people))
    terms = "".join(line + "\n" for line in people.splitlines() if line.startswith(("[approvals]", "single", "plan")))
    text = f"{terms}[roles.Operators]\nsession_name_fixed = {fixed}\n{''.join(named)}"
    monkeypatch.setattr(config_files, "declared_people", lambda: People.parse(text if _said(people) else "[people]"))
    one = '[sources.operator]\nscheme = "standard-webhooks"\nmay = ["run.delete"]\nirreversible = true\n'
    monkeypatch.setattr(config_files, "declared_sources", lambda: Sources.parse(one))
    if policy:
        monkeypatch.setattr(config_files, "declared_policy", lambda: Policy.parse(policy))


def _said(people: str) -> list[tuple[str, str]]:
    return re.findall(r"^(\w+): (.*)$", people, re.MULTILINE)


def shown(desk: CliHarness) -> tuple[int, str]:
    result = desk.run("check")
    return result.exit_code, re.sub(r"\s+", " ", result.output)


ASKS = 'may = ["run.archive"]'
RUNS = 'approves = ["run.delete"]'
TAGS = 'approves = ["tag.delete"]'
BOTH = 'approves = ["run.delete", "tag.delete"]'
TWO_RULES = """
    zone = "UTC"
    [[rules]]
    name = "ancient"
    resource = "process"
    action = "delete"
    irreversible = true
    when = { archived_days = 365 }
    [[rules]]
    name = "dead-tags"
    resource = "tag"
    action = "delete"
    irreversible = true
    when = { unused = true }
"""


def test_a_session_with_a_free_name_is_reported_with_what_to_do(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed(monkeypatch, f"ada: {BOTH}\nbob: {RUNS}", fixed="false")
    code, output = shown(desk)
    assert code == 1
    assert "✗ AWS identity of bob a session of Operators" in output
    assert "[roles.Operators] session_name_fixed = true" in output
    assert "AWS identity of ada" not in output
    assert "✓ who may approve run.delete: ada; tag.delete: ada" in output, "bob does not count"


def test_approvers_are_listed_by_action(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed(monkeypatch, f"ada: {BOTH}\nbob: {RUNS}")
    code, output = shown(desk)
    assert (code, "✓ who may approve run.delete: ada, bob; tag.delete: ada" in output) == (0, True), output
    assert "approval of" not in output
    assert "signing secret of Slack" not in output


def test_an_action_that_nobody_can_approve_is_reported(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed(monkeypatch, f"ada: {ASKS}\nbob: {TAGS}")
    code, output = shown(desk)
    assert (code, "! approval of run.delete nobody can give it: every request expires" in output) == (0, True), output


def test_approvers_who_cannot_approve_their_own_requests_are_noted(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed(monkeypatch, f"ada: {RUNS}\nbob: {TAGS}")
    code, output = shown(desk)
    assert (code, "! approval of run.delete only by ada: never for their own requests" in output) == (0, True), output


def test_requiring_more_approvers_than_exist_is_reported(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed(monkeypatch, f"[approvals]\nsingle = 3\nada: {RUNS}\nbob: {BOTH}\ncleo: {TAGS}")
    failing(desk, "approval of run.delete")
    assert "can never be given: 3 must, only ada, bob can" in shown(desk)[1]


def test_a_plan_needs_people_who_may_approve_all_of_it(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed(monkeypatch, f"ada: {BOTH}\nbob: {RUNS}\ncleo: {TAGS}", policy=TWO_RULES)
    failing(desk, "approval of a plan")
    assert "can never be given: 2 must, only ada can" in shown(desk)[1]


def test_a_plan_that_needs_all_approvers_leaves_none_to_request_it(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed(monkeypatch, f"ada: {BOTH}\nbob: {BOTH}", policy=TWO_RULES)
    code, output = shown(desk)
    assert (code, "! approval of a plan only by ada, bob: never for their" in output) == (0, True), output


def test_approvers_of_another_organization_do_not_count(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed(monkeypatch, f"ada: {RUNS}\nbob: {RUNS}")
    elsewhere = config_files.declared_people().model_dump(mode="json", exclude_none=True)
    for person in elsewhere["people"].values():
        person["organization"] = "9f" * 16
    monkeypatch.setattr(config_files, "declared_people", lambda: People.model_validate_json(json.dumps(elsewhere)))
    code, output = shown(desk)
    assert (code, "approval of run.delete nobody can give it" in output) == (0, True), output


def test_a_rule_for_an_organization_outside_the_stack_is_noted(desk: CliHarness) -> None:
    desk.stack.told["OrganizationIds"] = "9f" * 16
    assert f"{ORG}: not the stack's" in desk.run("check").output


def test_a_missing_source_secret_is_reported(desk: CliHarness) -> None:
    del desk.entrance.secrets.texts["stack/sources/crm"]
    failing(desk, "secret of source crm")


def test_a_short_secret_is_only_noted(desk: CliHarness) -> None:
    desk.entrance.secrets.texts["stack/sources/crm"] = "short"
    result = desk.run("check")
    assert (result.exit_code, "but short" in result.output) == (0, True)


def test_tallyfys_own_archiving_is_noted(desk: CliHarness) -> None:
    desk.simulator.organization.auto_archive = True
    desk.simulator.organization.auto_archive_processes_after = 14
    result = desk.run("check")
    assert (
        result.exit_code,
        "on, after 14 days: Tallyfy archives first, before rule 'completed' (30 days)" in result.output,
    ) == (0, True)


def test_an_aging_token_is_noted_with_the_days_it_has_left(desk: CliHarness) -> None:
    desk.entrance.secrets.stored[f"stack/tokens/{ORG}"] = desk.clock() - timedelta(days=170)
    result = desk.run("check")
    assert (result.exit_code, "aging, stored 170 days ago: 13 days left" in result.output) == (0, True), result.output


def test_a_refused_token_is_reported_with_its_age(desk: CliHarness) -> None:
    desk.entrance.secrets.texts[f"stack/tokens/{ORG}"] = "of somebody who logged out"
    desk.entrance.secrets.stored[f"stack/tokens/{ORG}"] = desk.clock() - timedelta(days=200)
    assert "stored 200 days ago" in failing(desk, "refused the token")


def test_the_policy_is_summarized_with_the_limits_of_its_caps(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    risky = Policy.parse("""
        zone = "UTC"
        caps = { count = 50, percent = 100 }
        [[rules]]
        name = "dead-tags"
        resource = "tag"
        action = "delete"
        irreversible = true
        when = { unused = true }
        caps = { count = 60 }
    """)
    monkeypatch.setattr(config_files, "declared_policy", lambda: risky)
    result = desk.run("check")
    assert result.exit_code == 0, result.output
    for part in (
        "1 rule: dead-tags; cannot be undone: dead-tags; a plan does at most 50 things",
        "100 percent is no cap",
        "count 60 is wider than the plan's 50",
    ):
        assert part in result.output


def test_a_rule_that_deletes_needs_an_admin_as_a_source_does(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Sources.parse('[sources.operator]\nscheme = "standard-webhooks"\nmay = ["run.archive"]\n')
    deleting = """
        zone = "UTC"
        [[rules]]
        name = "ancient"
        resource = "process"
        action = "delete"
        irreversible = true
        when = { archived_days = 365 }
    """
    monkeypatch.setattr(config_files, "declared_sources", lambda: few)
    monkeypatch.setattr(config_files, "declared_policy", lambda: Policy.parse(deleting))
    desk.entrance.secrets.texts[f"stack/tokens/{ORG}"] = STANDARD_TOKEN
    assert "policy.toml" in failing(desk, "but not run.delete")


@pytest.mark.parametrize(
    ("text", "said"),
    [("rules = []\n", "policy.toml"), ("zone", "policy.toml is not TOML"), (None, "cannot be read")],
)
def test_an_invalid_policy_is_reported(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, said: str
) -> None:
    wrong = tmp_path / "policy.toml"
    if text is not None:
        wrong.write_text(text)
    monkeypatch.setattr(config_files, "POLICY_FILE", wrong)
    result = desk.run("check")
    assert (result.exit_code, said in re.sub(r"\s+", " ", result.output)) == (1, True), result.output


def test_a_malformed_base_url_is_reported(desk: CliHarness) -> None:
    desk.stack.told["TallyfyBaseUrl"] = "http://tallyfy.test/api"
    failing(desk, f"organization {ORG}")


@pytest.mark.parametrize("failure", [500, requests.ConnectionError("gone")])
def test_an_api_that_does_not_answer_is_reported(desk: CliHarness, failure: int | Exception) -> None:
    desk.front.failures = [failure]
    failing(desk, "HTTP API")


def test_a_stack_of_another_application_is_reported(desk: CliHarness) -> None:
    del desk.stack.told["LedgerTableName"]
    failing(desk, "no output LedgerTableName")


def test_a_missing_stack_is_reported(desk: CliHarness) -> None:
    desk.stack.missing = True
    result = desk.run("check")
    assert (result.exit_code, "There is no stack" in result.output) == (3, True)


# --- the stack against the files, and its account ---------------------------------------------------------------------

BUS = """
[sources.projects]
scheme = "eventbridge"
event_source = "com.example.projects"
detail_types = ["project.closed", "Deal Won"]
may = ["run.archive"]
"""


def on_the_bus(monkeypatch: pytest.MonkeyPatch, text: str = BUS) -> None:
    monkeypatch.setattr(config_files, "declared_sources", lambda: Sources.parse(text))


def test_a_parameter_that_was_cut_at_a_space_is_reported(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_bus(monkeypatch)
    desk.stack.given["IncomingDetailTypes"] = "project.closed,Deal"
    said = failing(desk, "events on the bus")
    assert "takes no Deal Won" in said
    assert "cut at a space, after 'Deal'" in said
    assert "'IncomingDetailTypes=\"Deal Won,project.closed\"'" in said


def test_an_event_type_that_the_stack_does_not_accept_is_reported(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_bus(monkeypatch)
    said = failing(desk, "events on the bus")
    assert ("takes no Deal Won" in said, "cut at a space" in said) == (True, False)
    desk.stack.given["IncomingDetailTypes"] = "project.closed,Deal Won"
    assert desk.run("check").exit_code == 0


def test_a_partners_bus_that_the_stack_does_not_take_is_noted(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner = "aws.partner/example.com/1"
    on_the_bus(
        monkeypatch, re.sub(r'event_source = ".*?"', f'event_source = "{partner}"', BUS.replace(', "Deal Won"', ""))
    )
    assert f"takes events of {partner}; PartnerBus names no bus" in shown(desk)[1]
    desk.stack.given["PartnerBus"] = "other"
    assert "PartnerBus names other" in shown(desk)[1]
    for name in (partner, f"arn:aws:events:eu-west-1:123456789012:event-bus/{partner}"):
        desk.stack.given["PartnerBus"] = name
        assert "PartnerBus" not in shown(desk)[1]


def test_a_sender_whose_account_may_not_use_the_bus_is_noted(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_bus(monkeypatch, BUS.replace(', "Deal Won"', "") + 'account = "210987654321"\n')
    assert "names account 210987654321; EventSenderAccountIds does not" in shown(desk)[1]
    desk.stack.given["EventSenderAccountIds"] = "111111111111,210987654321"
    assert "EventSenderAccountIds" not in shown(desk)[1]


def test_a_secret_scheduled_for_deletion_is_reported_with_the_command_to_restore_it(desk: CliHarness) -> None:
    desk.stack.doomed = {"stack/id-key": desk.clock() + timedelta(days=7)}
    said = failing(desk, "secret stack/id-key")
    assert "deleted for good on 2026-06-08" in said
    assert "aws secretsmanager restore-secret --secret-id stack/id-key" in said


def test_an_account_with_little_concurrency_is_noted(desk: CliHarness) -> None:
    desk.stack.at_once = 10
    code, said = shown(desk)
    assert (code, "! concurrency of the account 10 invocations at once" in said) == (0, True), said


def test_facts_the_operator_may_not_read_are_noted_without_failing(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> NoReturn:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListSecrets")

    monkeypatch.setattr(desk.stack, "secrets_to_be_deleted", refused)
    monkeypatch.setattr(desk.stack, "concurrency", refused)
    code, said = shown(desk)
    assert code == 0
    assert "Allow secretsmanager:ListSecrets." in said
    assert "Allow lambda:GetAccountSettings." in said


WARNING_POLICY = """
zone = "UTC"
[[rules]]
name = "old"
resource = "process"
action = "archive"
warn_days = 3
warn = ["owner"]
[rules.when]
completed_days = 60
"""
NOTICES = '[channels.operations]\ntool = "slack"\n[tell]\nwarning = ["operations"]\n'


def test_a_rule_that_warns_needs_a_channel_for_warnings(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy.parse(WARNING_POLICY)
    monkeypatch.setattr(config_files, "declared_policy", lambda: policy)
    assert "Give notices.toml a channel for 'warning'" in failing(desk, "warnings of rule old")


def test_the_address_of_a_channel_must_be_stored(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, notices = Policy.parse(WARNING_POLICY), Notices.parse(NOTICES)
    monkeypatch.setattr(config_files, "declared_policy", lambda: policy)
    monkeypatch.setattr(config_files, "declared_notices", lambda: notices)
    assert "incoming webhook as stack/notices/operations" in failing(desk, "address of channel operations")
    desk.entrance.secrets.texts["stack/notices/operations"] = "https://hooks.slack.com/services/T/B/X"
    result = desk.run("check")
    assert result.exit_code == 0, result.output
    assert "hooks.slack.com" not in result.output


def test_a_rule_that_warns_is_noted_while_sweeps_only_report(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, notices = Policy.parse(WARNING_POLICY), Notices.parse(NOTICES)
    monkeypatch.setattr(config_files, "declared_policy", lambda: policy)
    monkeypatch.setattr(config_files, "declared_notices", lambda: notices)
    desk.entrance.secrets.texts["stack/notices/operations"] = "https://hooks.slack.com/services/T/B/X"
    desk.stack.given["SweepMode"] = "report"
    code, said = shown(desk)
    assert (code, "! warnings of rule old SweepMode is report: nobody is warned" in said) == (0, True), said
