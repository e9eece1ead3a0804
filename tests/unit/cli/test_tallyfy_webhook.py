"""`lifecycle tallyfy connect`, `show` and `disconnect`, against the simulated webhook of an organization."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import Result

from cli.services.tallyfy_webhook import HIDDEN_KEY
from lifecycle.aws.scheduler import MemorySchedules
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.intent import Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.wakeups import RememberedSchedules
from sandbox.simulator import LIGHT_TOKEN, STANDARD_TOKEN, DefaultIds, Fault, Quirks
from sandbox.simulator.world import Watcher
from tests.harness.builders import CONFIG, ID_KEY, NOW, PREFIX, bodies, command
from tests.unit.cli.harness import API_URL, ORG, CliHarness

NAME = f"{PREFIX}/sources/tallyfy"
OTHER = "https://hooks.n8n.example/webhook/secret-of-theirs"
OURS = f"{API_URL}/webhooks/tallyfy"


@pytest.fixture
def desk() -> CliHarness:
    made = CliHarness()
    del made.entrance.secrets.texts[NAME]
    return made


def run(desk: CliHarness, command: str, *words: str, token: str | None = None, typed: str = "") -> Result:
    env = {"LIFECYCLE_TALLYFY_TOKEN": token} if token else {}
    result: Result = desk.run("tallyfy", command, *words, env=env, typed=typed)
    return result


def said(result: Result) -> str:
    return " ".join(result.output.split())


def urls(desk: CliHarness) -> list[str]:
    return [watcher.url for watcher in desk.simulator.organization.watchers.values()]


def stored(desk: CliHarness) -> str | None:
    return desk.entrance.secrets.texts.get(NAME)


def register(desk: CliHarness, url: str) -> None:
    """Register a webhook beside the stack: by another system, or by hand."""
    organization = desk.simulator.organization
    organization.watcher_count += 1
    organization.watchers[organization.watcher_count] = Watcher(organization.watcher_count, 1001, url, NOW)


def writes(desk: CliHarness) -> list[str]:
    return [
        f"{call.method} {call.path.rpartition('/')[2]}" for call in desk.simulator.log.calls if call.method != "GET"
    ]


class TestConnect:
    def test_a_fresh_key_is_stored_and_the_url_that_ends_with_it_is_registered(self, desk: CliHarness) -> None:
        result = run(desk, "connect")
        assert result.exit_code == 0, result.output
        key = stored(desk)
        assert key is not None
        assert re.fullmatch("[0-9a-f]{64}", key)
        assert urls(desk) == [f"{OURS}/{key}"]
        assert key not in result.output
        assert f"{OURS}/{HIDDEN_KEY}" in result.output
        assert "carried out 14 days after" in result.output

    def test_connecting_twice_registers_nothing_more(self, desk: CliHarness) -> None:
        run(desk, "connect")
        key, before = stored(desk), urls(desk)
        result = run(desk, "connect")
        assert (result.exit_code, "is connected already" in result.output) == (0, True)
        assert (stored(desk), urls(desk)) == (key, before)
        assert len(writes(desk)) == 1

    def test_a_stored_key_is_used_for_the_registration(self, desk: CliHarness) -> None:
        """Webhooks of templates use it too, or a command was cut off before it registered."""
        desk.entrance.secrets.texts[NAME] = json.dumps({"secrets": ["new-key", "old-key"]})
        result = run(desk, "connect")
        assert (result.exit_code, "was stored before" in result.output) == (0, True), result.output
        assert urls(desk) == [f"{OURS}/new-key"]
        assert json.loads(stored(desk) or "") == {"secrets": ["new-key", "old-key"]}

    def test_a_url_with_the_older_of_two_keys_is_connected(self, desk: CliHarness) -> None:
        desk.entrance.secrets.texts[NAME] = json.dumps({"secrets": ["new-key", "old-key"]})
        register(desk, "https://hooks.example.com/webhooks/tallyfy/old-key")
        result = run(desk, "connect")
        assert "is connected already" in result.output
        assert f"https://hooks.example.com/webhooks/tallyfy/{HIDDEN_KEY}" in result.output
        assert len(urls(desk)) == 1

    def test_another_systems_webhook_stops_the_registration_unless_it_is_allowed(self, desk: CliHarness) -> None:
        register(desk, OTHER)
        result = run(desk, "connect")
        assert (result.exit_code, "Give --beside" in said(result)) == (1, True)
        assert "https://hooks.n8n.example (number 1)" in said(result)
        assert "secret-of-theirs" not in result.output
        assert (urls(desk), stored(desk), writes(desk)) == ([OTHER], None, [])
        assert run(desk, "connect", "--beside").exit_code == 0
        assert urls(desk) == [OTHER, f"{OURS}/{stored(desk)}"]

    def test_a_webhook_that_tallyfy_replaced_is_named(self, desk: CliHarness) -> None:
        register(desk, OTHER)
        desk.simulator.quirks = Quirks(second_watcher="replaces")
        result = run(desk, "connect", "--beside")
        assert "does not list the webhook of https://hooks.n8n.example any more" in said(result)

    def test_a_registration_with_a_lost_key_is_replaced(self, desk: CliHarness) -> None:
        register(desk, f"{OURS}/lost")
        result = run(desk, "connect")
        assert "1 removed: registered with a key that the stack does not accept" in said(result)
        assert urls(desk) == [f"{OURS}/{stored(desk)}"]

    @pytest.mark.parametrize("url", [OURS, f"{OURS}/", f"{OURS}/lost/deep"])
    def test_a_url_of_this_stack_that_ends_with_no_key_is_replaced_too(self, desk: CliHarness, url: str) -> None:
        register(desk, url)
        assert f"{OURS}/{HIDDEN_KEY} is registered with a key" in said(run(desk, "show"))
        assert "lost" not in run(desk, "show").output
        assert run(desk, "connect").exit_code == 0
        assert urls(desk) == [f"{OURS}/{stored(desk)}"]

    def test_a_source_with_a_longer_name_is_another_system(self, desk: CliHarness) -> None:
        register(desk, f"{OURS}-two/key")
        assert run(desk, "connect").exit_code == 1

    @pytest.mark.parametrize(
        "fault",
        [
            Fault.reset("after", method="POST"),
            Fault.answer_status(503, "after", method="POST"),
            Fault.html(502, "after", method="POST"),
        ],
        ids=str,
    )
    def test_after_a_lost_answer_the_list_of_webhooks_decides(self, desk: CliHarness, fault: Fault) -> None:
        desk.simulator.add_fault(fault)
        assert run(desk, "connect").exit_code == 0
        assert len(urls(desk)) == 1

    @pytest.mark.parametrize("fault", [Fault.reset(method="POST"), Fault.answer_status(500, method="POST")], ids=str)
    def test_an_unfinished_registration_is_completed_by_the_next_command(self, desk: CliHarness, fault: Fault) -> None:
        desk.simulator.add_fault(fault)
        result = run(desk, "connect")
        assert (result.exit_code, "Run the command again" in said(result)) == (1, True)
        key = stored(desk)
        assert run(desk, "connect").exit_code == 0
        assert urls(desk) == [f"{OURS}/{key}"]

    def test_a_refusal_quotes_no_key(self, desk: CliHarness) -> None:
        desk.simulator.add_fault(Fault.answer_status(422, method="POST"))
        result = run(desk, "connect")
        assert (result.exit_code, "did not register the webhook (422)" in said(result)) == (3, True)
        assert (stored(desk) or "?") not in result.output

    def test_connect_waits_as_long_as_tallyfy_asks(self, desk: CliHarness) -> None:
        desk.simulator.add_fault(Fault.rate_limit(30))
        assert run(desk, "connect").exit_code == 0
        assert desk.clock() >= NOW + timedelta(seconds=30)

    @pytest.mark.parametrize("field", ["webhook", "webhook_url", "url"])
    @pytest.mark.parametrize("rows", ["data", "bare"])
    def test_every_shape_of_the_list_is_understood(
        self, desk: CliHarness, field: Literal["webhook", "webhook_url", "url"], rows: Literal["data", "bare"]
    ) -> None:
        desk.simulator.quirks = Quirks(watcher_url=field, watcher_rows=rows)
        assert run(desk, "connect").exit_code == 0
        assert "is connected already" in run(desk, "connect").output
        assert run(desk, "disconnect", "--yes").exit_code == 0
        assert urls(desk) == []


@pytest.mark.parametrize("command", ["connect", "show", "disconnect"])
class TestRefused:
    def test_an_organization_without_the_feature_is_reported(self, desk: CliHarness, command: str) -> None:
        desk.simulator.quirks = Quirks(watchers="missing")
        result = run(desk, command, *(["--yes"] if command == "disconnect" else []))
        assert (result.exit_code, "does not have the webhook of an organization yet" in said(result)) == (1, True)
        assert (stored(desk), writes(desk)) == (None, [])

    @pytest.mark.parametrize(("token", "user"), [(STANDARD_TOKEN, "standard"), (LIGHT_TOKEN, "light")])
    def test_a_token_of_a_member_who_is_not_an_admin_is_reported(
        self, desk: CliHarness, command: str, token: str, user: str
    ) -> None:
        result = run(desk, command, *(["--yes"] if command == "disconnect" else []), token=token)
        role = "no admin (403)" if command == "show" else f"the role '{user}'"
        assert (
            result.exit_code,
            f"The token belongs to a member {'who is' if command == 'show' else 'with'} {role}" in said(result),
        ) == (2, True)
        assert (stored(desk), writes(desk)) == (None, [])

    def test_a_refused_token_is_reported(self, desk: CliHarness, command: str) -> None:
        result = run(desk, command, *(["--yes"] if command == "disconnect" else []), token="dead")
        assert (result.exit_code, "Tallyfy refused the token (401)" in said(result)) == (1, True)

    def test_a_source_of_another_organization_is_reported(self, desk: CliHarness, command: str, tmp_path: Path) -> None:
        text = (CONFIG / "sources.toml").read_text().replace(ORG, "1c" * 16)
        (tmp_path / "sources.toml").write_text(text)
        result = run(desk, command, "--sources", str(tmp_path / "sources.toml"))
        assert (result.exit_code, f'Write org_id = "{ORG}"' in said(result)) == (2, True)
        assert desk.simulator.log.calls == []

    def test_a_source_whose_secret_is_not_in_the_path_is_reported(self, desk: CliHarness, command: str) -> None:
        result = run(desk, command, "--source", "hubspot")
        assert (result.exit_code, 'scheme = "shared-secret"' in said(result)) == (2, True)
        assert run(desk, command, "--source", "nobody").exit_code == 2

    def test_a_url_of_this_machine_is_not_registered(self, desk: CliHarness, command: str) -> None:
        result = run(desk, command, "--api-url", "http://127.0.0.1:8080")
        assert (result.exit_code, "Tallyfy cannot reach" in said(result)) == (2, True)


@pytest.mark.parametrize("text", ["a b", "../x", "a/b", "ä"])
def test_a_key_that_cannot_be_part_of_a_url_is_not_registered(desk: CliHarness, text: str) -> None:
    desk.entrance.secrets.texts[NAME] = text
    result = run(desk, "connect")
    assert (result.exit_code, "cannot be part of a URL" in said(result)) == (1, True)
    assert urls(desk) == []


def test_a_secret_without_a_key_is_not_overwritten(desk: CliHarness) -> None:
    desk.entrance.secrets.texts[NAME] = '{"connect": {}}'
    assert "holds no key" in said(run(desk, "connect"))
    assert stored(desk) == '{"connect": {}}'


def test_a_secret_that_cannot_be_read_is_not_taken_for_missing(
    desk: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(self: MemorySecrets, name: str, *, fresh: bool = False) -> str:
        if name == NAME:
            raise Retryable(Code.UNAVAILABLE, "Secret could not be read.")
        return self.texts[name]

    monkeypatch.setattr(MemorySecrets, "get", unreadable)
    assert run(desk, "connect").exit_code == 3
    assert (urls(desk), stored(desk)) == ([], None)


class TestShow:
    def test_show_prints_the_url_without_its_key_the_date_of_connection_and_the_last_event(
        self, desk: CliHarness
    ) -> None:
        run(desk, "connect")
        before = said(run(desk, "show"))
        assert f"connected: {OURS}/{HIDDEN_KEY}, since 2026-06-01 12:00 UTC" in before
        assert "last event that became a command: none is known" in before
        assert (stored(desk) or "?") not in before

    def test_the_newest_command_of_the_source_is_the_last_event(self, desk: CliHarness) -> None:
        for days, source in ((1, "tallyfy"), (3, "tallyfy"), (5, "crm")):
            at = NOW + timedelta(days=days)
            one = command(source=source, issued_at=at.isoformat(), intent_id=intent_id(ID_KEY, source, str(days)))
            RememberedSchedules(MemorySchedules(), desk.stack.table).at(at + timedelta(days=14), "name", one.to_json())
        assert "last event that became a command: 2026-06-04 12:00 UTC" in said(run(desk, "show"))

    def test_without_a_wait_the_newest_command_that_ended_is_the_last_event(
        self, desk: CliHarness, tmp_path: Path
    ) -> None:
        (tmp_path / "sources.toml").write_text((CONFIG / "sources.toml").read_text().replace('after = "14d"', ""))
        desk.end(command(source="tallyfy"), Status.DONE)
        shown = said(run(desk, "show", "--sources", str(tmp_path / "sources.toml")))
        assert "last event that became a command: 2026-06-01 12:00 UTC" in shown

    def test_an_organization_that_is_not_connected_is_reported_with_what_to_do(self, desk: CliHarness) -> None:
        assert "not connected. To connect: lifecycle tallyfy connect" in said(run(desk, "show"))
        desk.entrance.secrets.texts[NAME] = "key"
        register(desk, OTHER)
        register(desk, f"{OURS}/lost")
        shown = said(run(desk, "show"))
        assert "not connected. A key is stored." in shown
        assert "webhook of another system: https://hooks.n8n.example (number 1)" in shown
        assert "the stack does not accept (401)" in shown
        assert "lost" not in shown
        assert "secret-of-theirs" not in shown
        assert writes(desk) == []

    def test_show_with_json_prints_the_same_facts(self, desk: CliHarness) -> None:
        run(desk, "connect")
        register(desk, OTHER)
        told = json.loads(run(desk, "show", "--json").output)
        assert [one["url"] for one in told["connected"]] == [f"{OURS}/{HIDDEN_KEY}"]
        assert (told["others"], told["refused"], told["key_is_stored"]) == (["https://hooks.n8n.example"], 0, True)
        assert told["last_command"] is None


class TestDisconnect:
    def test_disconnect_removes_the_registration_and_then_the_key(self, desk: CliHarness) -> None:
        register(desk, OTHER)
        run(desk, "connect", "--beside")
        result = run(desk, "disconnect", typed="y\n")
        assert (result.exit_code, "Disconnected" in result.output) == (0, True)
        assert "Wait five minutes before you connect again" in said(result)
        assert (urls(desk), stored(desk)) == ([OTHER], None)
        assert "was not connected. Nothing was removed" in said(run(desk, "disconnect", "--yes"))
        assert run(desk, "connect", "--beside").exit_code == 0

    def test_disconnect_can_keep_the_key(self, desk: CliHarness) -> None:
        run(desk, "connect")
        key = stored(desk)
        assert "The key was kept" in said(run(desk, "disconnect", "--keep-secret"))
        assert (urls(desk), stored(desk)) == ([], key)

    def test_a_key_that_another_organization_uses_stays(self, desk: CliHarness, tmp_path: Path) -> None:
        text = (CONFIG / "sources.toml").read_text()
        begin, end = text.index("[[sources.tallyfy.commands]]"), text.index("# A system on the event bus")
        two = text[:end] + text[begin:end].replace(ORG, "1c" * 16) + text[end:]
        (tmp_path / "sources.toml").write_text(two)
        run(desk, "connect")
        key = stored(desk)
        result = run(desk, "disconnect", "--sources", str(tmp_path / "sources.toml"))
        assert (result.exit_code, f"takes it from {'1c' * 16} as well" in said(result)) == (0, True)
        assert (urls(desk), stored(desk)) == ([], key)

    def test_without_confirmation_the_registration_and_the_key_stay(self, desk: CliHarness) -> None:
        run(desk, "connect")
        assert run(desk, "disconnect", typed="n\n").exit_code == 1
        assert (len(urls(desk)), stored(desk) is not None) == (1, True)

    @pytest.mark.parametrize("status", [422, 500])
    def test_a_registration_that_stays_keeps_its_key(self, desk: CliHarness, status: int) -> None:
        run(desk, "connect")
        desk.simulator.add_fault(Fault.answer_status(status, method="DELETE"))
        result = run(desk, "disconnect", "--yes")
        assert (result.exit_code, "did not remove the webhook" in said(result)) == (3, True)
        assert (len(urls(desk)), stored(desk) is not None) == (1, True)

    def test_a_registration_that_was_removed_meanwhile_counts_as_removed(self, desk: CliHarness) -> None:
        run(desk, "connect")
        desk.simulator.add_fault(Fault.answer_status(404, "after", method="DELETE"))
        assert run(desk, "disconnect", "--yes").exit_code == 0
        assert stored(desk) is None


def test_a_process_completed_in_tallyfy_arrives_and_is_shown(desk: CliHarness) -> None:
    run(desk, "connect")
    desk.simulator.complete(DefaultIds.ACTIVE_RUN)
    desk.simulator.deliveries.wait()
    assert [one.status for one in desk.simulator.deliveries.made()] == [202]
    [(due, _)] = desk.entrance.schedules.waiting.values()
    assert due - desk.clock() > timedelta(days=13)
    assert bodies(desk.entrance.ordinary) == []
