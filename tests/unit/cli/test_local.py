import os
import shlex
import signal
import sys
from pathlib import Path
from subprocess import run

import pytest
from typer.testing import CliRunner

from cli.local import running
from cli.local.demo import STEPS, Step
from cli.local.mailbox import REPLIES, ListeningSimulator
from cli.local.simulator import DefaultIds, SimulatorServer
from cli.local.stack import StackState
from cli.main import app
from cli.rehearsal import Rehearsal
from lifecycle.adapters.replies import SlackReplies
from lifecycle.adapters.tallyfy import pooled_session
from lifecycle.judgement.http import Request
from lifecycle.judgement.signatures import Scheme
from lifecycle.judgement.sources import Source
from tests.builders import NOW, WHSEC

STATE = StackState(
    pid=2**22 + 1,
    directory="/nonexistent/run/0",
    endpoint_url="http://127.0.0.1:4566",
    api_url="http://127.0.0.1:4566/_aws/execute-api/abc/$default",
    stack_name="tallyfy-lifecycle",
    tallyfy_base_url="http://127.0.0.1:4567/api",
    outputs={"SecretPrefix": "tallyfy-lifecycle"},
)


@pytest.fixture
def no_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No local stack runs, whatever this machine does."""
    monkeypatch.setattr(running, "STATE_FILE", tmp_path / "stack.json")
    monkeypatch.setattr(running.running, "__defaults__", (tmp_path / "stack.json",))
    monkeypatch.setattr(running.stop, "__defaults__", (tmp_path / "stack.json",))
    return tmp_path / "stack.json"


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = "{'boto3', 'botocore', 'requests', 'pydantic', 'werkzeug', 'aws_lambda_powertools'}"
    code = f"import sys, cli.main; print(sorted({heavy} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.usefixtures("no_stack")
def test_without_a_stack_stop_is_content_and_show_says_how_to_start() -> None:
    assert CliRunner().invoke(app, ["local", "stop"]).exit_code == 0
    shown = CliRunner().invoke(app, ["local", "show"])
    assert (shown.exit_code, "lifecycle local start" in shown.output) == (1, True)


def test_a_second_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "running", lambda: STATE)
    result = CliRunner().invoke(app, ["local", "start"])
    assert (result.exit_code, "lifecycle local stop" in result.output) == (1, True)


def test_a_state_left_behind_is_cleared_away(no_stack: Path) -> None:
    no_stack.write_text('{"pid": 1}')
    assert running.stop() is False
    assert not no_stack.exists()


def test_the_printed_curl_is_signed_and_the_exports_survive_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "stored_secret", lambda *_: WHSEC)
    told = running.describe(STATE, NOW)
    words = shlex.split(told.splitlines()[-1])
    assert words[:3] == ["curl", "-i", f"{STATE.api_url}/webhooks/operator"]
    headers = dict(words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "-H")
    body = words[words.index("--data-raw") + 1].encode()
    operator = Source(scheme=Scheme.STANDARD_WEBHOOKS, may=frozenset({"run.archive"}))
    sent = Request(route="", method="POST", uri="", parameters={"source": "operator"}, headers=headers, body=body)
    made = Rehearsal("operator", operator, frozenset({DefaultIds.ORGANIZATION}), secrets=[WHSEC], now=NOW).accept(sent)
    assert [command.id for command in made] == [DefaultIds.RUN]
    assert DefaultIds.RUN.encode() in body
    assert WHSEC not in told
    assert "good for 5 minutes" in told
    script = "\n".join(line for line in told.splitlines() if line.startswith("export "))
    shell = run(
        ["/bin/sh", "-c", f'{script}\nprintf %s "$LIFECYCLE_API_URL"'], capture_output=True, text=True, check=True
    )
    assert shell.stdout == STATE.api_url


def test_clients_are_pointed_at_the_local_stack_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the caller")
    with running.pointed_at(running.variables(STATE)):
        assert os.environ["AWS_ENDPOINT_URL"] == STATE.endpoint_url
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_SESSION_TOKEN" not in os.environ
    assert os.environ["AWS_PROFILE"] == "production"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_kill_is_an_interruption(sign: signal.Signals) -> None:
    before = signal.getsignal(sign)
    with pytest.raises(KeyboardInterrupt), running.interruptible():
        signal.raise_signal(sign)
    assert signal.getsignal(sign) == before


def test_nothing_interrupts_the_clean_up() -> None:
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # A shell starts background jobs with SIGINT ignored, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), running.ending_calmly():
            signal.raise_signal(signal.SIGINT)
        for sign in before:
            signal.raise_signal(sign)
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


@pytest.mark.parametrize(("held", "passed"), [([], False), ([True], True), ([True, False], False)])
def test_a_step_passes_only_if_something_was_checked_and_all_of_it_held(held: list[bool], *, passed: bool) -> None:
    step = Step("shown")
    for one in held:
        step.check("it", one)
    assert step.passed is passed


def test_the_demo_shows_what_was_promised() -> None:
    titles = " ".join(title.lower() for title, _ in STEPS)
    for promise in (
        "archives",
        "same delivery",
        "bad signature",
        "restore",
        "undo",
        "asker",
        "waits for its day",
        "one-off",
        "template",
        "tag",
    ):
        assert promise in titles
    for promise in ("event of another system", "hubspot", "nightly plan", "its hash", "a cap", "slash command"):
        assert promise in titles
    assert "poison" in titles
    assert "sent again" in titles


def test_what_slack_would_show_is_heard_beside_the_simulated_tallyfy() -> None:
    simulator = ListeningSimulator()
    with SimulatorServer(simulator) as server:
        origin = server.base_url.removesuffix("/api")
        replies = SlackReplies(pooled_session(), origin)
        assert replies.reply(origin + REPLIES, "done.")
        assert simulator.buttons == []
        assert replies.reply(origin + REPLIES, "archived.", undo="int_1")
        assert not server.client().log()
    assert [simulator.heard.get_nowait() for _ in range(2)] == ["done.", "archived."]
    assert simulator.buttons == [("undo", "int_1")]


@pytest.mark.parametrize(("content", "said"), [("{", "no seed file"), ('{"organizations": [{"id": "x"}]}', "no seed")])
def test_a_seed_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text(content)
    result = CliRunner().invoke(app, ["simulator", "--seed", str(seed)])
    assert (result.exit_code, said in result.output) == (2, True)
