import json
import os
import re
import shlex
import signal
import socket
import sys
from dataclasses import asdict, replace
from pathlib import Path
from subprocess import run

import pytest
import typer.main
from typer.testing import CliRunner

from cli.main import app
from cli.services.in_memory_intake import InMemoryIntake
from lifecycle.approvals.people import People
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.chat.slack.replies import SlackPoster
from lifecycle.domain.capabilities import PERMANENT
from lifecycle.domain.errors import Rejected
from lifecycle.domain.messages import Answer, outcome
from lifecycle.intake.schemes.standard_webhooks import StandardWebhooks
from lifecycle.intake.sources import Source
from lifecycle.tallyfy.client import pooled_session
from sandbox import running
from sandbox.demo.play import STEPS
from sandbox.demo.session import DemoStep
from sandbox.mailbox import REPLIES, ListeningSimulator
from sandbox.simulator import DefaultIds, SimulatorServer
from sandbox.stack import HOST, StackState, free_port, person_arn
from tests.harness.builders import CONFIG, EVENTS, NOW, WHSEC

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


def test_help_imports_no_slow_module() -> None:
    heavy = "{'boto3', 'botocore', 'requests', 'pydantic', 'werkzeug', 'aws_lambda_powertools'}"
    code = f"import sys, cli.main; print(sorted({heavy} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.usefixtures("no_stack")
def test_without_a_stack_stop_succeeds_and_show_says_how_to_start() -> None:
    assert CliRunner().invoke(app, ["local", "stop"]).exit_code == 0
    shown = CliRunner().invoke(app, ["local", "show"])
    assert (shown.exit_code, "lifecycle local start" in shown.output) == (1, True)


def test_a_second_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "running", lambda: STATE)
    result = CliRunner().invoke(app, ["local", "start"])
    assert (result.exit_code, "lifecycle local stop" in result.output) == (1, True)


def test_a_stale_state_file_is_removed(no_stack: Path) -> None:
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
    operator = Source(scheme=StandardWebhooks(), may=frozenset({"run.archive"}))
    sent = HttpRequest(route="", method="POST", uri="", parameters={"source": "operator"}, headers=headers, body=body)
    made = InMemoryIntake("operator", operator, frozenset({DefaultIds.ORGANIZATION}), secrets=[WHSEC], now=NOW).accept(
        sent
    )
    assert [command.id for command in made] == [DefaultIds.ACTIVE_RUN]
    assert DefaultIds.ACTIVE_RUN.encode() in body
    assert WHSEC not in told
    assert "good for 5 minutes" in told
    script = "\n".join(line for line in told.splitlines() if line.startswith("export "))
    shell = run(
        ["/bin/sh", "-c", f'{script}\nprintf %s "$LIFECYCLE_API_URL"'], capture_output=True, text=True, check=True
    )
    assert shell.stdout == STATE.api_url


def test_clients_use_the_local_stack_inside_the_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the caller")
    with running.pointed_at(running.variables(STATE)):
        assert os.environ["AWS_ENDPOINT_URL"] == STATE.endpoint_url
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_SESSION_TOKEN" not in os.environ
    assert os.environ["AWS_PROFILE"] == "production"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_act_as_an_interruption(sign: signal.Signals) -> None:
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
    step = DemoStep("shown")
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


def test_replies_to_slack_are_received_beside_the_simulated_tallyfy() -> None:
    simulator = ListeningSimulator()
    with SimulatorServer(simulator) as server:
        origin = server.base_url.removesuffix("/api")
        poster = SlackPoster(pooled_session(), origin)
        assert poster.post(origin + REPLIES, Answer(text="done."), str)
        assert simulator.buttons == []
        assert poster.post(origin + REPLIES, outcome("archived.", "int_1"), str)
        assert not server.client().log()
    assert [simulator.heard.get_nowait() for _ in range(2)] == ["done.", "archived."]
    assert simulator.buttons == [("undo", "int_1")]


@pytest.mark.parametrize(
    ("content", "said"), [("{", "cannot read a file"), ('{"organizations": [{"id": "x"}]}', "cannot read a file")]
)
def test_an_invalid_seed_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text(content)
    result = CliRunner().invoke(app, ["simulator", "--seed", str(seed)])
    assert (result.exit_code, said in result.output) == (2, True)


# --- people, ports, and what is printed -------------------------------------------------------------------------------

OPERATORS = """
# A note of the operator's.
[approvals]
single = 2
[people.linus]
iam = "arn:aws:iam::999999999999:user/linus"
approves = ["run.delete"]
"""
KNOWN = replace(STATE, people={"local-ada": ("AKIAADA", "secret of ada"), "local-grace": ("AKIAGRACE", "s3/+=")})


@pytest.mark.parametrize("text", [OPERATORS, (CONFIG / "people.toml").read_text()], ids=["another", "shipped"])
def test_two_people_are_added_below_the_operators_people_toml(text: str) -> None:
    made = running.with_local_people(text)
    assert made.startswith(text.rstrip())
    assert made.count("Added by `lifecycle local start`, on this machine alone.") == 2
    before, after = People.parse(text), People.parse(made)
    assert after.approvals == before.approvals
    assert {name: after.people[name] for name in before.people} == dict(before.people)
    assert set(after.people) - set(before.people) == {"local-ada", "local-grace"}
    for name in ("local-ada", "local-grace"):
        assert after.find_iam(person_arn(name)) == (name, after.people[name])
        assert after.people[name].approves_of(PERMANENT, DefaultIds.ORGANIZATION)
    assert after.find("slack", ["T012ABCDE/U034FGHIJ"]) is not None  # Whoever it is: the samples of Slack are theirs.


def test_a_mistake_in_the_operators_people_toml_is_reported_at_its_own_line() -> None:
    with pytest.raises(Rejected, match=r"people\.ada"):
        running.with_local_people("[people.ada]\nmay = 7\n")


def test_commands_printed_for_a_person_run_as_that_person_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "stored_secret", lambda *_: WHSEC)
    told = running.describe(KNOWN, NOW)
    pasted = [line for line in told.splitlines() if re.match(r"(export |as_\w+\(\))", line)]
    ask = 'env | grep "^AWS_[AS].*KEY" | sort | tr "\\n" " "'
    script = "\n".join([*pasted, f"as_local_grace sh -c {shlex.quote(ask)}", f"sh -c {shlex.quote(ask)}"])
    shell = run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    assert shell.stdout.split() == [
        *("AWS_ACCESS_KEY_ID=AKIAGRACE", "AWS_SECRET_ACCESS_KEY=s3/+="),
        *("AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"),
    ]


def test_every_printed_command_and_option_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "stored_secret", lambda *_: WHSEC)
    printed = re.findall(r"^  (?:as_\w+ )?lifecycle (.+?)(?: +#.*)?$", running.describe(KNOWN, NOW), re.MULTILINE)
    assert len(printed) >= 12
    for line in printed:
        words = shlex.split(line)
        command = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        given = {word for word in words if word.startswith("--")}
        assert given <= {option for parameter in command.params for option in parameter.opts}, line
        for word in words:
            assert not word.startswith("events/") or (EVENTS.parent / word).is_file(), line


def test_a_restart_reuses_its_ports_unless_they_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "ports.json"
    assert running.Ports.read(file) == running.Ports(0, 0)
    port = free_port()
    running.Ports(port, free_port()).write(file)
    kept = running.Ports.read(file)
    assert free_port(kept.emulator) == port
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen()
        assert free_port(kept.emulator) not in {0, port}
    for text in ("", "[]", '{"emulator": "x", "simulator": 1}', "{}"):
        file.write_text(text)
        assert running.Ports.read(file) == running.Ports(0, 0)


def test_a_state_file_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    known = asdict(STATE)
    del known["people"]
    file.write_text(json.dumps(known))
    assert StackState.read(file) == STATE


@pytest.mark.usefixtures("no_stack")
def test_parameters_of_the_template_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def refused(*_: object, parameters: object, **__: object) -> None:
        given.append(parameters)
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "local_stack", refused)
    CliRunner().invoke(app, ["local", "start", "--set", "SweepMode=apply", "--set", "SweepTimeZone=UTC"])
    assert given == [{"SweepMode": "apply", "SweepTimeZone": "UTC"}]


@pytest.mark.parametrize("wrong", [["SweepMode"], ["=apply"], ["SweepMode=apply", "SweepMode=report"]])
@pytest.mark.usefixtures("no_stack")
def test_a_malformed_parameter_is_a_usage_error(wrong: list[str]) -> None:
    result = CliRunner().invoke(app, ["local", "start", *(f"--set={one}" for one in wrong)])
    assert (result.exit_code, "--set needs NAME=VALUE" in result.output) == (2, True), result.output
