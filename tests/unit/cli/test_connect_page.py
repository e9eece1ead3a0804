"""docs/connect.md: its tables for systems without a preset do what the page says of each system."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

from sandbox.simulator import Seed, default_seed
from tests.harness.builders import NOW, PREFIX, SHARED, THING
from tests.unit.cli.harness import CliHarness, sent
from tests.unit.docs.documents import blocks, page, sections

TEXT = sections(page("connect.md"), 2)["A system without a preset"]
TABLES = "\n".join(block.text for block in blocks(TEXT) if block.language == "toml")
ACME = json.dumps(
    {
        "type": "project.closed",
        "data": {"custom": {"tallyfy_url": f"https://go.tallyfy.com/{'af' * 16}/process/{THING}"}},
    }
)
ORBIT = urlencode({"payload": json.dumps({"ticket": {"state": "solved", "external_id": THING, "event_id": "e-1"}})})
NIMBUS = json.dumps(
    {
        "events": [
            {"id": 1, "kind": "offboarding.done", "processTitle": "Offboarding: Ada"},
            {"id": 2, "kind": "offboarding.begun", "processTitle": "Offboarding: Grace"},
        ]
    }
)


def acme_request(*, at: float) -> str:
    signature = hmac.new(SHARED.encode(), f"{int(at)}.{ACME}".encode(), hashlib.sha256).hexdigest()
    return f"POST /webhooks/acme HTTP/1.1\nX-Acme-Signature: t={int(at)},v1={signature}\n\n{ACME}"


def orbit_request() -> str:
    signature = base64.b64encode(hmac.new(SHARED.encode(), ORBIT.encode(), hashlib.sha1).digest()).decode()
    return f"POST /webhooks/orbit HTTP/1.1\nX-Orbit-Hmac: {signature}\n\n{ORBIT}"


def nimbus_request() -> str:
    return f"POST /webhooks/nimbus HTTP/1.1\nX-Api-Key: {SHARED}\n\n{NIMBUS}"


@pytest.fixture
def run(desk: CliHarness, tmp_path: Path) -> "Run":
    (tmp_path / "sources.toml").write_text(TABLES)
    desk.entrance.declared = TABLES
    desk.entrance.secrets.texts |= {f"{PREFIX}/sources/{name}": SHARED for name in ("acme", "orbit", "nimbus")}
    return Run(desk, tmp_path)


class Run:
    """Saves a file, and hands it to a command."""

    def __init__(self, desk: CliHarness, folder: Path) -> None:
        self._desk, self._folder = desk, folder

    def __call__(self, command: str, source: str, text: str, *words: str) -> tuple[int, str]:
        (self._folder / "file").write_bytes(text.encode())
        files = (str(self._folder / "file"), "--sources", str(self._folder / "sources.toml"))
        result = self._desk.run("source", command, source, *files, *words, env={"LIFECYCLE_SECRET": SHARED})
        assert "Traceback" not in result.output
        return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("source", "request_", "target"),
    [
        ("acme", acme_request(at=NOW.timestamp()), f"process {THING}"),
        ("orbit", orbit_request(), f"process {THING}"),
        ("nimbus", nimbus_request(), "the process named 'Offboarding: Ada'"),
    ],
)
def test_a_request_that_the_system_signed_becomes_the_command(
    run: Run, source: str, request_: str, target: str
) -> None:
    code, said = run("try", source, request_, "--secret-from-env")
    assert (code, f"run.archive: {target}" in said) == (0, True), said


def test_a_request_that_was_captured_long_ago_is_verified_as_of_then(run: Run) -> None:
    code, said = run("try", "acme", acme_request(at=1718000000), "--secret-from-env")
    assert (code, "verified (hmac) as of 2024-06-10 06:13 UTC, when it was signed" in said) == (0, True), said


def test_a_line_break_that_an_editor_added_is_pointed_out(run: Run) -> None:
    for request_ in (acme_request(at=NOW.timestamp()), acme_request(at=1718000000)):
        code, said = run("try", "acme", f"{request_}\n")
        assert (code, "would fit without the line break at the end" in said) == (1, True), said


def test_a_wrong_signature_is_refused_however_old_it_is(run: Run) -> None:
    for at in (NOW.timestamp(), 1718000000):
        code, said = run("try", "acme", acme_request(at=at).replace("project.closed", "project.opened"))
        assert (code, "line break" in said, "Not accepted" in said) == (1, False, True), said


def test_a_handshake_is_tried_and_its_answer_shown(run: Run) -> None:
    assert "`GET /webhooks/orbit?challenge=abc HTTP/1.1`" in TEXT
    code, said = run("try", "orbit", "GET /webhooks/orbit?challenge=abc HTTP/1.1\n\n")
    assert (code, "handshake echo" in said, "Handshake: 200 text/plain abc" in said) == (0, True, True), said


@pytest.mark.parametrize(
    ("source", "said"), [("orbit", "what 'handshake' names"), ("acme", "needs a 'handshake' in sources.toml")]
)
def test_a_get_request_that_is_no_handshake_is_refused(run: Run, source: str, said: str) -> None:
    code, found = run("try", source, f"GET /webhooks/{source}?other=abc HTTP/1.1\n\n")
    assert (code, "It is a GET request." in found, said in found) == (1, True, True), found


@pytest.mark.parametrize("body", [NIMBUS, nimbus_request()])
def test_a_payload_and_a_captured_request_are_played_alike(desk: CliHarness, run: Run, body: str) -> None:
    code, said = run("play", "nimbus", body)
    [asked] = sent(desk.entrance.ordinary)
    assert (code, asked["source"]) == (0, "nimbus"), said


def test_a_captured_signature_is_replaced_when_it_is_played(desk: CliHarness, run: Run) -> None:
    assert run("play", "acme", acme_request(at=1718000000))[0] == 0
    assert [asked["id"] for asked in sent(desk.entrance.ordinary)] == [THING]


def test_a_captured_handshake_is_not_played(run: Run) -> None:
    code, said = run("play", "orbit", "GET /webhooks/orbit?challenge=abc HTTP/1.1\n\n")
    assert (code, "is no delivery" in said) == (2, True), said


def test_a_source_that_the_stack_does_not_know_yet_is_explained(desk: CliHarness, run: Run) -> None:
    del desk.entrance.secrets.texts[f"{PREFIX}/sources/acme"]
    code, said = run("play", "acme", ACME)
    assert (code, "does not exist" in said, "stop it and start it again" in said) == (3, True, True), said


def test_the_process_of_the_page_is_one_that_its_table_finds() -> None:
    [block] = [block for block in blocks(TEXT) if block.language == "json"]
    seed = Seed.model_validate_json(block.text)
    [added] = seed.organizations
    [run] = added.runs
    assert (added.id, added.id in TABLES, run.name) == (default_seed().organizations[0].id, True, "Offboarding: Ada")
    assert f'template = "{run.checklist_id}"' in TABLES


@pytest.mark.parametrize(
    ("source", "payload", "said"),
    [
        ("acme", '{"kind": "project.closed"}', "Nothing is at body.type"),
        ("acme", '{"type": "project.opened"}', ""),
        ("nimbus", '{"events": [{"id": 1, "type": "offboarding.done"}]}', "Nothing is at item.kind"),
        ("nimbus", '{"events": []}', ""),
    ],
)
def test_a_filter_that_looks_where_nothing_is_is_pointed_out(run: Run, source: str, payload: str, said: str) -> None:
    code, found = run("try", source, payload)
    assert (code, "Ignored" in found) == (0, True), found
    assert said in found if said else "Nothing is at" not in found


@pytest.mark.parametrize("words", [("show", "acme"), ("presets",)])
def test_who_finds_no_preset_is_led_to_the_page(desk: CliHarness, words: tuple[str, ...]) -> None:
    said = " ".join(desk.run("source", *words).output.split())
    [title] = re.findall(r"docs/connect\.md, '(.+?)'", said)
    assert title in sections(page("connect.md"), 2)
