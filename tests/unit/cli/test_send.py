import json
from typing import override

import pytest
import requests
from requests.adapters import BaseAdapter

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import Status
from lifecycle.intake.schemes import VerifiedRequest
from lifecycle.intake.sources import Sources
from lifecycle.tallyfy.client import pooled_session
from tests.unit.cli.harness import ORG, SHARED, WHSEC, CliHarness, sent

RUN = "1b" * 16
ARCHIVE = ("send", "process", "archive", RUN, "--org", ORG)


def test_a_command_reaches_the_queue_signed_with_the_stacks_secret(desk: CliHarness) -> None:
    result = desk.run(*ARCHIVE, "--reason", "Deal closed", "--requested-by", "Ada")
    assert result.exit_code == 0, result.output
    [command] = sent(desk.entrance.ordinary)
    assert (command["resource"], command["action"], command["id"]) == ("run", "archive", RUN)
    assert (command["reason"], command["requested_by"], command["source"]) == ("Deal closed", "Ada", "operator")
    assert str(command["intent_id"]) in result.output


def test_send_signs_for_an_hmac_source_and_one_delivery_id_gives_one_intent(desk: CliHarness) -> None:
    for _ in range(2):
        assert desk.run(*ARCHIVE, "--source", "crm", "--delivery-id", "deal-1042").exit_code == 0
    assert len({command["intent_id"] for command in sent(desk.entrance.ordinary)}) == 1
    assert "x-signature" in desk.front.asked[0].headers


def test_the_same_delivery_id_gives_the_same_intent_and_a_new_one_another(desk: CliHarness) -> None:
    for name in ("one", "one", "two"):
        assert desk.run(*ARCHIVE, "--delivery-id", name).exit_code == 0
    assert desk.run(*ARCHIVE).exit_code == 0
    intents = [command["intent_id"] for command in sent(desk.entrance.ordinary)]
    assert intents[0] == intents[1]
    assert len(set(intents)) == 3


def test_every_option_reaches_the_command(desk: CliHarness) -> None:
    result = desk.run(
        *("send", "tag", "archive", RUN, "--org", ORG, "--yes", "--allow-in-use", "--expect", "name=a=b"),
        *("--not-after", "2026-06-02T12:00:00+02:00"),
    )
    assert result.exit_code == 0, result.output
    [command] = sent(desk.entrance.permanent)
    assert command["allow_in_use"] is True
    assert command["expect"] == {"name": "a=b"}
    assert str(command["not_after"]).startswith("2026-06-02T10:00:00")


def test_the_id_is_taken_from_a_link(desk: CliHarness) -> None:
    assert (
        desk.run("send", "run", "archive", f"https://go.tallyfy.com/{ORG}/process/{RUN}", "--org", ORG).exit_code == 0
    )
    assert sent(desk.entrance.ordinary)[0]["id"] == RUN


def test_the_secret_may_come_from_the_environment_and_then_no_aws_is_needed(desk: CliHarness) -> None:
    desk.stack.missing = True
    given = {"LIFECYCLE_SECRET": WHSEC, "LIFECYCLE_API_URL": "https://api.test/"}
    assert desk.run(*ARCHIVE, env=given).exit_code == 0
    assert WHSEC not in desk.run(*ARCHIVE, env=given).output


def test_secret_from_stack_ignores_the_environment(desk: CliHarness) -> None:
    other = {"LIFECYCLE_SECRET": SHARED + " of somebody else"}
    assert desk.run(*ARCHIVE, "--source", "crm", env=other).exit_code == 1
    assert desk.run(*ARCHIVE, "--source", "crm", "--secret-from-stack", env=other).exit_code == 0


def test_no_option_takes_a_secret(desk: CliHarness) -> None:
    assert desk.run(*ARCHIVE, "--secret", WHSEC).exit_code == 2


def test_during_a_rotation_the_new_secret_signs(desk: CliHarness) -> None:
    desk.entrance.secrets.texts["stack/sources/crm"] = '{"secrets": ["the new one", "the old one"]}'
    assert desk.run(*ARCHIVE, "--source", "crm").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send", "tag", "restore", RUN, "--org", ORG), "Create the tag again"),
        (("send", "folder", "archive", RUN, "--org", ORG), "resource"),
        (("send", "run", "destroy", RUN, "--org", ORG), "action"),
        (("send", "run", "archive", f"{RUN}/delete", "--org", ORG), "not a Tallyfy id"),
        (("send", "run", "archive", RUN, "--org", "acme"), "org_id"),
        ((*ARCHIVE, "--expect", "status"), "name=value"),
        ((*ARCHIVE, "--expect", "colour=red"), "expect.colour"),
        ((*ARCHIVE, "--not-after", "tomorrow"), "not_after"),
        ((*ARCHIVE, "--not-after", "2026-06-02T12:00:00"), "not_after"),
        ((*ARCHIVE, "--allow-in-use"), "allow_in_use"),
        ((*ARCHIVE, "--delivery-id", "with space"), "delivery id"),
        ((*ARCHIVE, "--source", "nobody"), "Declared: automation, crm, github, hubspot"),
        ((*ARCHIVE, "--source", "hubspot"), "lifecycle source try hubspot"),
        ((*ARCHIVE, "--source", "projects"), "lifecycle source try projects"),
        ((*ARCHIVE, "--api-url", "http://example.com"), "https"),
    ],
)
def test_invalid_input_is_reported_before_anything_is_sent(desk: CliHarness, words: tuple[str, ...], said: str) -> None:
    result = desk.run(*words)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert not desk.front.asked


def test_an_irreversible_command_needs_confirmation(desk: CliHarness) -> None:
    refused = desk.run("send", "process", "delete", RUN, "--org", ORG, typed="")
    assert refused.exit_code == 2
    assert "--yes" in refused.output
    assert not desk.front.asked
    assert desk.run("send", "process", "delete", RUN, "--org", ORG, "--yes").exit_code == 0
    assert len(sent(desk.entrance.permanent)) == 1


def test_a_refusal_is_shown_with_its_code_and_reason(desk: CliHarness) -> None:
    result = desk.run("send", "run", "archive", RUN, "--org", "9f" * 16)
    assert result.exit_code == 1
    assert "403 organization_unknown" in result.output
    assert "Traceback" not in result.output


def test_the_wrong_secret_is_refused(desk: CliHarness) -> None:
    assert "401 signature_refused" in desk.run(*ARCHIVE, env={"LIFECYCLE_SECRET": "whsec_d3Jvbmc="}).output


def test_an_unusable_secret_is_reported(desk: CliHarness) -> None:
    desk.entrance.secrets.texts["stack/sources/operator"] = "plain words!"
    result = desk.run(*ARCHIVE)
    assert (result.exit_code, "plain words" in result.output) == (1, False)
    assert "whsec_" in result.output


@pytest.mark.parametrize("text", ['{"secrets": []}', '{"secret": "typo"}'])
def test_a_secret_without_a_value_is_reported(desk: CliHarness, text: str) -> None:
    desk.entrance.secrets.texts["stack/sources/operator"] = text
    assert "holds no signing secret" in desk.run(*ARCHIVE).output


def test_a_missing_secret_is_named(desk: CliHarness) -> None:
    del desk.entrance.secrets.texts["stack/sources/operator"]
    result = desk.run(*ARCHIVE)
    assert (result.exit_code, "stack/sources/operator" in result.output) == (3, True)


def test_a_503_shows_how_to_repeat_the_delivery_safely(desk: CliHarness) -> None:
    desk.front.failures = [503]
    result = desk.run(*ARCHIVE, "--delivery-id", "again-1")
    assert (result.exit_code, "--delivery-id again-1" in result.output) == (3, True)


def test_an_unreachable_api_is_reported_without_a_traceback(desk: CliHarness) -> None:
    desk.front.failures = [requests.ConnectionError("no route")]
    result = desk.run(*ARCHIVE)
    assert (result.exit_code, "could not be reached" in result.output) == (3, True)


def test_an_unknown_stack_is_reported(desk: CliHarness) -> None:
    desk.stack.missing = True
    result = desk.run(*ARCHIVE)
    assert (result.exit_code, "There is no stack" in result.output) == (3, True)


# --- waiting and status -----------------------------------------------------------------------------------------------


def test_wait_prints_the_outcome(desk: CliHarness) -> None:
    desk.while_waiting = desk.work
    result = desk.run(*ARCHIVE, "--wait")
    assert (result.exit_code, "done" in result.output) == (0, True), result.output


def test_wait_survives_a_temporary_failure(desk: CliHarness) -> None:
    def trouble_then_work() -> None:
        if len(desk.front.asked) == 2:
            desk.front.failures = [500, requests.ConnectionError("gone for a moment")]
        desk.work()

    desk.while_waiting = trouble_then_work
    assert desk.run(*ARCHIVE, "--wait").exit_code == 0


def test_an_outcome_without_the_effect_sets_the_exit_code(desk: CliHarness) -> None:
    desk.while_waiting = lambda: desk.work(Status.REJECTED, Code.HELD, "The process is on hold.")
    result = desk.run(*ARCHIVE, "--wait")
    assert (result.exit_code, "on hold" in result.output) == (1, True)


def test_wait_ends_at_its_timeout(desk: CliHarness) -> None:
    before = desk.clock()
    result = desk.run(*ARCHIVE, "--wait", "--timeout", "5")
    assert result.exit_code == 4
    assert (desk.clock() - before).total_seconds() == 5


def test_status_shows_the_outcome_of_a_command(desk: CliHarness) -> None:
    desk.run(*ARCHIVE)
    intent = str(sent(desk.entrance.ordinary)[0]["intent_id"])
    assert desk.run("status", intent).exit_code == 4
    desk.work(Status.UNCHANGED, Code.NOTHING_TO_DO, "It is archived already.")
    result = desk.run("status", f" {intent} ")
    assert (result.exit_code, "archived already" in result.output) == (0, True)


@pytest.mark.parametrize("name", ["int_" + "0" * 48, "../health", "nonsense"])
def test_status_of_an_unknown_id_is_refused(desk: CliHarness, name: str) -> None:
    result = desk.run("status", name)
    assert (result.exit_code, "never issued this id" in result.output) == (1, True), result.output


def test_status_reports_an_api_that_is_not_ours(desk: CliHarness) -> None:
    desk.front.failures = [200]
    result = desk.run("status", "int_" + "0" * 48)
    assert (result.exit_code, "Check the URL of the API" in result.output or "made up" in result.output) == (3, True)


# --- which stack ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "env", "meant"),
    [
        (("status", "x"), {}, ("tallyfy-lifecycle-dev", None)),
        (("status", "x"), {"LIFECYCLE_STACK": "from-env"}, ("from-env", None)),
        (("--stack", "before", "status", "x"), {"LIFECYCLE_STACK": "from-env"}, ("before", None)),
        (("--stack", "before", "--region", "eu-west-1", "status", "x", "--stack", "after"), {}, ("after", "eu-west-1")),
        (("status", "x", "--stack", "after", "--region", "eu-north-1"), {}, ("after", "eu-north-1")),
    ],
)
def test_the_stack_may_be_named_before_or_after_the_command(
    desk: CliHarness, words: tuple[str, ...], env: dict[str, str], meant: tuple[str, str | None]
) -> None:
    desk.run(*words, env=env)
    assert desk.connected == [meant]


class Recorder(BaseAdapter):
    """Takes what is posted, and accepts it."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[requests.PreparedRequest] = []

    @override
    def send(self, request: requests.PreparedRequest, *args: object, **kwargs: object) -> requests.Response:
        self.posted.append(request)
        response = requests.Response()
        response.status_code = 202
        response._content = json.dumps({"status": "accepted", "intent_ids": ["int_" + "0" * 48]}).encode()
        return response

    @override
    def close(self) -> None:
        """Nothing is held open."""


def test_a_source_that_signs_the_url_is_signed_for_the_url_that_the_function_sees(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = Sources.parse(
        """
        [sources.custom]
        scheme = "hmac"
        may = ["run.archive"]
        signature.signed = "{method}{uri}{body}{timestamp}"
        """
    )
    monkeypatch.setattr("cli.services.config_files.declared_sources", lambda: declared)
    session, recorder = pooled_session(), Recorder()
    session.mount("http://127.0.0.1:4566", recorder)
    monkeypatch.setattr(desk, "_session", lambda: session)
    given = {
        "LIFECYCLE_SECRET": SHARED,
        "LIFECYCLE_API_URL": "http://127.0.0.1:4566/_aws/execute-api/abc/$default",
    }
    assert desk.run(*ARCHIVE, "--source", "custom", env=given).exit_code == 0
    [posted] = recorder.posted
    assert isinstance(posted.body, bytes)
    seen = HttpRequest(
        route="",
        method="POST",
        uri="https://abc.execute-api.127.0.0.1/webhooks/custom",
        parameters={},
        headers={str(name).lower(): str(value) for name, value in posted.headers.items()},
        body=posted.body,
    )
    checked = declared.sources["custom"].scheme.verify([SHARED.encode()], seen, now=desk.clock().timestamp())
    assert isinstance(checked, VerifiedRequest)


def test_a_dot_in_a_delivery_id_is_refused_for_standard_webhooks(desk: CliHarness) -> None:
    refused = desk.run(*ARCHIVE, "--delivery-id", "deal.1042")
    assert (refused.exit_code, "must not contain a dot" in refused.output) == (2, True)
    assert desk.run(*ARCHIVE, "--source", "crm", "--delivery-id", "deal.1042").exit_code == 0
