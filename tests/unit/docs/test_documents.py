"""What the documents say is so: their paths, links, promises and tables are checked against the tree."""

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer.main
from samtranslator.yaml_helper import yaml_parse

from cli.main import app
from cli.services.config_files import declared_sources
from cli.services.remedies import REMEDIES
from lifecycle.aws.api_gateway import HttpRequest, problem
from lifecycle.domain.capabilities import TABLE
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import Status
from tests.unit.docs.documents import DOCUMENTS, ROOT, anchors, name_of, page, rows

README = (ROOT / "README.md").read_text()
COMMANDS = page("commands.md")
TOP = {path.name for path in ROOT.iterdir()} - {".local"}
MOST_WORDS = 900
# Each word is split, so that a search for it in the repository finds only what still uses it.
OLD_WORDS = re.compile(
    rf"\b({'judge'}ment|use{'cases?'}|wir{'ing'}|bel{'ts?'}|cen{'sus(es)?'}|err{'ands?'}|bu{'r(y|ied)'}|an{'ew'})\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    named = re.findall(r"`([\w.\-]+(?:/[\w.\-]+)*/?)`", text)
    paths = [name for name in named if name.split("/")[0] in TOP]
    below = [name for name in named if "/" in name and name.endswith(".py") and name not in paths]
    missing = [name for name in paths if not (ROOT / name).exists()]
    missing += [name for name in below if not (ROOT / "layers/lifecycle/lifecycle" / name).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_within_the_repository_leads_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        where, _, anchor = link.partition("#")
        if "://" in where:
            continue
        linked = document.parent / unquote(where) if where else document
        assert linked.is_file(), link
        assert not anchor or anchor in anchors(linked.read_text()), link


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=name_of)
def test_no_document_uses_the_old_words(document: Path) -> None:
    assert OLD_WORDS.findall(document.read_text()) == []


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= MOST_WORDS


def test_the_readme_leads_to_every_page_of_the_site() -> None:
    linked = set(re.findall(r"\]\(docs/([\w/\-]+\.md)\)", README))
    nav = set(re.findall(r'"([\w/\-]+\.md)"', (ROOT / "zensical.toml").read_text()))
    assert nav - linked <= {"index.md"}


def test_every_page_is_in_the_navigation() -> None:
    nav = set(re.findall(r'"([\w/\-]+\.md)"', (ROOT / "zensical.toml").read_text()))
    pages = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}
    assert {name for name in pages if not re.match(r"decisions/\d", name)} == nav


def test_each_promise_names_tests_that_exist() -> None:
    promises = rows(README, "| promise | test |")
    assert len(promises) >= 12
    for promise, tests in promises:
        named = re.findall(r"`(tests/[^`]+)`", tests)
        assert named, promise
        assert all((ROOT / name).is_file() for name in named), promise


def test_the_table_of_capabilities_matches_the_code() -> None:
    found = re.findall(r"^\| `(\w+\.\w+)` \| `(\w+) (\S+)` \| ([^|]+) \|", COMMANDS, re.MULTILINE)
    written = [(name, method, path, "nothing" in undo) for name, method, path, undo in found]
    actual = [
        (doing.name, doing.method, f"/{doing.resource.collection}/{{id}}{doing.suffix}", doing.undo is None)
        for doing in TABLE
    ]
    assert written == actual


def test_irreversible_actions_are_marked_in_the_table_of_capabilities() -> None:
    found = dict(re.findall(r"^\| `(\w+\.\w+)` \|[^|]+\|[^|]+\| ([^|]+) \|", COMMANDS, re.MULTILINE))
    assert {name for name, needs in found.items() if "the right" in needs} == {d.name for d in TABLE if d.irreversible}
    assert {name for name, needs in found.items() if "long enough" in needs} == {
        d.name for d in TABLE if d.archived_first
    }


def test_every_parameter_has_its_default_in_the_reference() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    written = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+?)`? \|", page("reference/parameters.md"), re.MULTILINE))
    blank = {"–": "None", "empty": ""}
    actual = {name: str(parameter.get("Default")) for name, parameter in template["Parameters"].items()}
    assert {name: blank.get(value, value) for name, value in written.items()} == actual


def test_the_documented_answers_of_the_webhook_match_its_answers() -> None:
    answers = " ".join(cells[0] for cells in rows(COMMANDS, "| answer | meaning |"))
    written = {int(status) for status in re.findall(r"\b[2345]\d\d\b", answers)}
    given = {int(str(problem(Rejected(code, ""))["statusCode"])) for code in Code}
    assert written == given | {200, 202}
    assert HttpRequest.of({}).body == b""


def test_each_trigger_is_played_by_its_own_sample_of_a_declared_source() -> None:
    found = re.findall(r"^\| [^|]+ \| `(events/[^`]+)` \| `([^`]+)`", page("connect.md"), re.MULTILINE)
    sources = set(declared_sources().sources)
    played = {command.split()[3] for _, command in found if command.startswith("lifecycle source play ")}
    assert {"hubspot", "jira", "github", "tallyfy", "projects"} | CHAT_TOOLS.keys() <= played
    assert played <= sources | CHAT_TOOLS.keys()
    assert all(sample in command for sample, command in found if " play " in command)
    assert [command for _, command in found if " play " not in command] == ["lifecycle sweep start"]


def test_the_table_of_codes_matches_dead_letters_show() -> None:
    found = rows(page("reference/codes.md"), "| code | what to do | who hears of it | HTTP |")
    written = {re.findall(r"`(\w+)`", cells[0])[0]: cells[1] for cells in found}
    assert written == dict.fromkeys(Code, "–") | {code: one.todo for one in REMEDIES for code in one.codes}


def test_every_code_of_an_outcome_has_a_remedy() -> None:
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


def test_every_status_is_explained() -> None:
    paragraph = COMMANDS.split("answers its `status`")[1].split("\n\n")[0]
    assert {status.value for status in Status} <= set(re.findall(r"`(\w+)`", paragraph))


def test_the_changelog_and_the_notes_for_an_upgrade_have_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)[0] == version
    assert f"\n### {version}\n" in page("upgrade.md")


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_document_contains_a_merge_conflict(document: Path) -> None:
    assert not re.findall(r"^(?:<{7}|>{7}) ", document.read_text("utf-8"), re.MULTILINE)
