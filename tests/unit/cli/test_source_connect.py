"""`lifecycle source presets`, `show` and `connect`, and a captured request that is tried."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cli.services.http_capture import read_capture
from cli.ui.errors import CliError
from lifecycle.intake.presets import load_preset, preset_names
from lifecycle.intake.sources import Sources
from tests.harness.builders import EVENTS, PREFIX, SHARED, hub_headers
from tests.harness.presets import unsigned
from tests.unit.cli.harness import CliHarness

NAME = f"{PREFIX}/sources/asana"
HANDED = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"


@pytest.fixture
def asana(tmp_path: Path, desk: CliHarness) -> Path:
    path = tmp_path / "sources.toml"
    path.write_text(load_preset("asana").example + load_preset("notion").example + load_preset("github").example)
    desk.entrance.declared = path.read_text()
    return path


def hand_over(desk: CliHarness, name: str, headers: dict[str, str], raw: bytes) -> None:
    """What the system does at the URL, whose key is read from where the command stored it."""
    key = json.loads(desk.entrance.secrets.texts[f"{PREFIX}/sources/{name}"])["connect"]["key"]
    sent = replace(unsigned(name, raw), headers=headers, parameters={"source": name, "key": key})
    desk.while_waiting = lambda: None
    assert desk.entrance.intake.handshake(sent) is not None


def test_a_received_secret_is_stored_and_not_shown(desk: CliHarness, asana: Path) -> None:
    desk.while_waiting = lambda: hand_over(desk, "asana", {"x-hook-secret": HANDED}, b"{}")
    result = desk.run("source", "connect", "asana", "--sources", str(asana))
    assert result.exit_code == 0, result.output
    assert re.search(r"https://\S+/webhooks/asana/[\w-]{32}\n", result.output)
    assert HANDED not in result.output
    assert json.loads(desk.entrance.secrets.texts[NAME]) == {"secrets": [HANDED]}


def test_a_token_that_a_person_must_paste_is_shown(desk: CliHarness, asana: Path) -> None:
    desk.while_waiting = lambda: hand_over(desk, "notion", {}, b'{"verification_token": "secret_abc"}')
    result = desk.run("source", "connect", "notion", "--sources", str(asana))
    assert (result.exit_code, "secret_abc" in result.output) == (0, True)


def test_a_window_without_a_secret_is_closed_and_keeps_the_old_one(desk: CliHarness, asana: Path) -> None:
    desk.entrance.secrets.texts[NAME] = "old"
    result = desk.run("source", "connect", "asana", "--minutes", "1", "--sources", str(asana))
    assert result.exit_code == 1
    assert "No secret arrived" in result.output
    assert json.loads(desk.entrance.secrets.texts[NAME]) == {"secrets": ["old"]}


def test_a_source_without_a_handshake_says_what_to_do_instead(desk: CliHarness, asana: Path) -> None:
    result = desk.run("source", "connect", "github", "--sources", str(asana))
    assert result.exit_code == 2
    assert "aws secretsmanager create-secret --name stack/sources/github" in " ".join(result.output.split())


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_is_shown_with_a_table_that_works(desk: CliHarness, name: str) -> None:
    result = desk.run("source", "show", name)
    assert result.exit_code == 0, result.output
    shown = "\n".join(line.strip() for line in result.output.split("To start from:")[1].splitlines())
    assert set(Sources.parse(shown).sources) == {name}


def test_a_preset_shows_its_settings_as_toml(desk: CliHarness) -> None:
    shown = desk.run("source", "show", "stripe").output
    for line in ('scheme = "hmac"', 'signature.prefix = "v1="', 'signature.timestamp_prefix = "t="', "events/presets/"):
        assert line in shown
    assert json.loads(desk.run("source", "show", "stripe", "--json").output)["source"]["scheme"] == "hmac"


def test_an_unknown_preset_suggests_a_similar_one(desk: CliHarness) -> None:
    result = desk.run("source", "show", "gitub")
    assert (result.exit_code, "Did you mean github" in result.output) == (2, True)
    assert "monday.com" in desk.run("source", "presets").output


def test_a_captured_request_is_tried_with_its_own_headers(desk: CliHarness, tmp_path: Path) -> None:
    body = (EVENTS / "github-issue-closed.json").read_bytes()
    [(name, value)] = hub_headers(body).items()
    head = f"POST /webhooks/github HTTP/1.1\r\nHost: hooks.example.com\r\n{name.title()}: {value}\r\n\r\n"
    (tmp_path / "capture.txt").write_bytes(head.encode() + body)
    words = ("source", "try", "github", str(tmp_path / "capture.txt"), "--secret-from-env")
    result = desk.run(*words, env={"LIFECYCLE_SECRET": SHARED})
    assert (result.exit_code, "verified (hmac)" in result.output) == (0, True), result.output
    assert desk.run(*words, env={"LIFECYCLE_SECRET": "guess"}).exit_code == 1


def test_a_capture_is_read_as_the_stack_would_see_it() -> None:
    found = read_capture(b"POST /webhooks/one/a%20key/?x=1 HTTP/1.1\nHost: h\nX-A: b: c\n\n{}\n", "one")
    assert found is not None
    assert (found.method, found.uri) == ("POST", "https://h/webhooks/one/a%20key/?x=1")
    assert (found.parameters, found.headers) == ({"source": "one", "key": "a key"}, {"host": "h", "x-a": "b: c"})
    assert found.body == b"{}\n"
    assert read_capture(b'{"a": 1}', "one") is None


@pytest.mark.parametrize("raw", [b"POST / HTTP/1.1\nHost: h\n{}", b"POST / HTTP/1.1\nHost\n\n{}"])
def test_a_malformed_capture_is_reported(raw: bytes) -> None:
    with pytest.raises(CliError, match=r"no empty line|no colon"):
        read_capture(raw, "one")
