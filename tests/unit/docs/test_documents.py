"""What the documents say is so: their paths, targets, commands, parameters and tables are checked against the tree."""

import re
from pathlib import Path

import pytest
import typer.main
from samtranslator.yaml_helper import yaml_parse

from cli.clients.delivery import declared_sources
from cli.main import app
from cli.services.remedies import REMEDIES
from lifecycle.aws.api_gateway import HttpRequest, problem
from lifecycle.domain.capabilities import TABLE
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import Status

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text()
TOP = {path.name for path in ROOT.iterdir()} - {".local"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_a_document_names_exists(document: Path) -> None:
    named = re.findall(r"`([\w.\-]+(?:/[\w.\-]+)*/?)`", document.read_text())
    paths = [name for name in named if name.split("/")[0] in TOP]
    below = [name for name in named if "/" in name and name.endswith(".py") and name not in paths]
    missing = [name for name in paths if not (ROOT / name).exists()]
    missing += [name for name in below if not (ROOT / "layers/lifecycle/lifecycle" / name).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^ {4,})make ([a-z][a-z0-9-]*)", document.read_text(), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_lifecycle_command_a_document_names_exists(document: Path) -> None:
    named = set(re.findall(r"(?:`|^ {4,})lifecycle ([a-z-]+)(?: ([a-z-]+))?", document.read_text(), re.MULTILINE))
    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    for first, second in named:
        assert first in commands, f"lifecycle {first}"
        below = getattr(commands[first], "commands", None)
        assert not below or not second or second in below, f"lifecycle {first} {second}"


def test_the_table_of_capabilities_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `(\w+) (\S+)` \| ([^|]+) \|", README, re.MULTILINE)
    written = [(name, method, path, "nothing" in undo) for name, method, path, undo in rows]
    actual = [
        (doing.name, doing.method, f"/{doing.resource.collection}/{{id}}{doing.suffix}", doing.undo is None)
        for doing in TABLE
    ]
    assert written == actual


def test_what_needs_the_right_is_marked_so_in_the_table() -> None:
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \|[^|]+\|[^|]+\| ([^|]+) \|", README, re.MULTILINE))
    assert {name for name, needs in rows.items() if "the right" in needs} == {d.name for d in TABLE if d.irreversible}
    assert {name for name, needs in rows.items() if "long enough" in needs} == {
        d.name for d in TABLE if d.archived_first
    }


def test_the_table_of_parameters_is_the_templates() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    section = README.split("| parameter | default |")[1].split("\n\n")[0]
    written = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+?)`? \|", section, re.MULTILINE))
    blank = {"–": "None", "empty": ""}
    actual = {name: str(parameter.get("Default")) for name, parameter in template["Parameters"].items()}
    assert {name: blank.get(value, value) for name, value in written.items()} == actual


def test_the_answers_of_the_webhook_are_those_it_gives() -> None:
    section = README.split("| answer | meaning |")[1].split("\n\n")[0]
    written = {int(status) for status in re.findall(r"\b([2345]\d\d)\b(?=[^|]*\|[^|]*\|$)", section, re.MULTILINE)}
    given = {int(str(problem(Rejected(code, ""))["statusCode"])) for code in Code}
    assert written == given | {200, 202}
    assert HttpRequest.of({}).body == b""


def test_each_trigger_is_played_by_its_own_sample_of_a_declared_source() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(events/[^`]+)` \| `([^`]+)`", README, re.MULTILINE)
    sources = set(declared_sources().sources)
    played = {command.split()[3] for _, command in rows if command.startswith("lifecycle source play ")}
    assert {"hubspot", "jira", "github", "tallyfy", "projects", "slack"} <= played <= sources | {"slack"}
    assert all(sample in command for sample, command in rows if " play " in command)
    assert [command for _, command in rows if " play " not in command] == ["lifecycle sweep start"]


def test_the_table_of_codes_is_the_one_that_dead_letters_show_reads() -> None:
    section = README.split("| code | what to do |\n|---|---|\n")[1].split("\n\n")[0]
    assert section.splitlines() == [remedy.row for remedy in REMEDIES]


def test_every_code_that_a_person_may_meet_at_an_end_has_a_remedy() -> None:
    answered_only = {"unknown_source", "unknown_intent", "unknown_route", "signature_refused", "too_large"}
    passing = {
        "configuration",
        "throttled",
        "rate_limited",
        "paused",
        "busy",
        "unavailable",
        "uncertain",
        "out_of_time",
    }
    passing |= {"read_lag"}
    fine = {"acted", "confirmed", "nothing_to_do", "superseded", "restored_by_person"}
    told = [code.value for remedy in REMEDIES for code in remedy.codes]
    assert sorted(told) == sorted({code.value for code in Code} - answered_only - passing - fine)


def test_each_promise_names_tests_that_exist() -> None:
    table = README.split("| promise | test |\n|---|---|\n")[1].split("\n\n")[0].splitlines()
    assert len(table) >= 12
    for row in table:
        named = re.findall(r"`(tests/[^`]+)`", row)
        assert named, row
        assert all((ROOT / name).is_file() for name in named), row


def test_every_status_the_readme_explains_exists() -> None:
    paragraph = README.split("answers its `status`")[1].split("\n\n")[0]
    assert {status.value for status in Status} <= set(re.findall(r"`(\w+)`", paragraph))


@pytest.mark.parametrize("rule", ["DeadLetterNoticeRule", "PoisonNoticeRule"])
def test_each_command_in_a_notice_can_be_pasted_as_it_is(rule: str) -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    [target] = template["Resources"][rule]["Properties"]["Targets"]
    transformer = target["InputTransformer"]
    text = transformer["InputTemplate"]["Fn::Sub"]
    commands = re.findall(r"lifecycle (dead-letters) (\S+)((?: (?:<intent>|ID))?) (--stack \S+ --region \S+)", text)
    assert {command for _, command, _, _ in commands} >= {"show", "drop"}
    assert len(commands) == text.count("lifecycle dead-letters")
    group = typer.main.get_command(app)
    known = getattr(getattr(group, "commands", {})["dead-letters"], "commands", {})
    assert all(command in known for _, command, _, _ in commands)
    assert {options for *_, options in commands} == {"--stack ${AWS::StackName} --region ${AWS::Region}"}
    assert set(re.findall(r"<(\w+)>", text)) <= set(transformer["InputPathsMap"])
