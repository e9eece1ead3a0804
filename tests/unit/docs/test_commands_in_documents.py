"""What the documents say to type can be typed: programs, make targets, commands, options and arguments exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from cli.main import app
from tests.unit.docs.documents import DOCUMENTS, NEEDS_AWS, ROOT, Block, blocks, inline_commands, name_of

TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
GROUP: Any = typer.main.get_command(app)
PLAIN = {"export", "lifecycle", "make", "curl", "as_local_ada", "as_local_grace"}
"""What a block may use that is not marked: it runs on one machine, without AWS."""


def check_lifecycle(words: list[str], *, whole: bool = True) -> None:
    """Fail if `lifecycle` would not understand the words. Where they are not `whole`, arguments may be missing."""
    command, said = GROUP, words[1:]
    while getattr(command, "commands", None):
        if not said:
            assert not whole, f"{words}: a command is missing"
            return
        if said[0].startswith("-"):
            assert said[0] in {option for one in command.params for option in one.opts} | {"--help"}, words
            return
        if said[0] not in command.commands and "make" in command.commands:
            said = ["make", *said]  # `lifecycle export ID`
        assert said[0] in command.commands, f"{' '.join(words)}: there is no command '{said[0]}'"
        command, said = command.commands[said[0]], said[1:]
    context = typer.Context(command, info_name=words[1])
    given, left, _ = command.make_parser(context).parse_args(args=list(said))
    assert left == [], f"{' '.join(words)}: one argument too many"
    if whole:
        needed = [p for p in command.params if p.required and p.param_type_name == "argument"]
        missing = [p.name for p in needed if not given.get(p.name)]
        assert missing == [], f"{' '.join(words)}: without {missing}"


def check(words: list[str], *, whole: bool = True) -> None:
    """Fail if one command of this repository cannot be typed like that."""
    if words[0].startswith("as_local_"):
        words = words[1:]
    if words[0] == "lifecycle":
        check_lifecycle(words, whole=whole)
    if words[0] == "make":
        named = [word for word in words[1:] if "=" not in word]
        assert set(named) <= TARGETS, words


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_in_a_code_block_exists(document: Path) -> None:
    for block in blocks(document.read_text()):
        if block.language == "sh":
            for words in block.commands:
                check(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_in_a_sentence_exists(document: Path) -> None:
    text = document.read_text()
    for program in ("lifecycle", "make"):
        for words in inline_commands(text, program):
            check(words, whole=False)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_block_that_needs_aws_says_so(document: Path) -> None:
    for block in blocks(document.read_text()):
        if block.language != "sh":
            continue
        others = {words[0] for words in block.commands} - PLAIN
        assert not others or NEEDS_AWS in block.info, (others, block.text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_block_of_commands_is_fenced_and_names_its_language(document: Path) -> None:
    text = document.read_text()
    assert all(block.language for block in blocks(text)), "a fence without a language"
    without = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^ {4,}(?:lifecycle|make|aws) .*", without, re.MULTILINE) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "lifecycle nothing",
        "lifecycle status",
        "lifecycle status X --nothing",
        "lifecycle status X Y",
        "lifecycle dead-letters",
        "lifecycle apply X --first",
        "make nothing",
    ],
)
def test_an_unknown_command_or_option_fails(wrong: str) -> None:
    [words] = Block("sh", (wrong,)).commands
    with pytest.raises(Exception):  # noqa: B017, PT011 - typer brings errors of its own, without public names
        check(words)


def test_placeholders_comments_pipes_and_long_lines_are_understood() -> None:
    lines = (
        "lifecycle status <an id> --wait  # a remark",
        "lifecycle dead-letters show <id> --payload > file",
        "aws a \\",
        "  b",
    )
    assert list(Block("sh", lines).commands) == [
        ["lifecycle", "status", "X", "--wait"],
        ["lifecycle", "dead-letters", "show", "X", "--payload"],
        ["aws", "a", "b"],
    ]
