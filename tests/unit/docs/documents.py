"""The documents, and the parts of them that tests look at: links, code blocks, command lines, tables."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md")])
NEEDS_AWS = 'title="Needs AWS"'


def page(name: str) -> str:
    """The text of a page of docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def name_of(document: Path) -> str:
    """How a test names a document."""
    return str(document.relative_to(ROOT))


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: what stands behind its fence, and its lines."""

    info: str
    lines: tuple[str, ...]

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each command line: without comments, redirections and pipes; placeholders are one word."""
        for line in "\n".join(self.lines).replace("\\\n", " ").splitlines():
            words = _words(line)
            if words:
                yield words


def blocks(text: str) -> Iterator[Block]:
    """Every fenced block of a document."""
    for indent, info, inner in re.findall(r"^( *)```([^\n`]*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        yield Block(info.strip(), tuple(line.removeprefix(indent) for line in inner.splitlines()))


def inline_commands(text: str, program: str) -> Iterator[list[str]]:
    """Every command of a program that stands in a sentence or a table."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.findall(rf"`({program} [^`\n]+)`", prose):
        yield _words(found)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as code hosts and Zensical make them."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def sections(text: str, level: int) -> dict[str, str]:
    """The sections of one level, by title, each with its text up to the next heading of this or a higher level."""
    parts = re.split(rf"^(#{{1,{level}}}) (.+)$", text, flags=re.MULTILINE)
    return {
        title: body
        for hashes, title, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
        if len(hashes) == level
    }


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of a table, found by its header line."""
    table = text.split(f"{header}\n")[1].split("\n\n", maxsplit=1)[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in table]


def _words(line: str) -> list[str]:
    words = shlex.split(re.sub(r"<[^<>]*>", "X", line), comments=True)
    ends = [words.index(end) for end in ("|", ">", "&&") if end in words]
    return words[: min(ends)] if ends else words
