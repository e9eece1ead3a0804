"""Finds comments, threads, files and links anywhere in Tallyfy's documents."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from lifecycle.domain.commands import ID_PATTERN
from lifecycle.tallyfy.client import Json

_LINK = re.compile(r"/file/([0-9a-f]{32})(?![0-9a-f])")


_TEMPLATES = frozenset({"checklist", "step"})
"""Keys that hold a template inside another resource. The template's files do not belong to that resource."""


@dataclass(slots=True)
class FoundFile:
    """A file that was found. ``ours``: it belongs to the resource and is not only a link in a text."""

    described: Json
    ours: bool


@dataclass(slots=True)
class ExportContents:
    """What was found in one document or list."""

    rows: int = 0
    comments: set[object] = field(default_factory=set)
    """Their ids, so that a comment shown in two places counts once."""
    threads: set[object] = field(default_factory=set)
    """The ids of threads with comments. It is not documented whether the feed also reports a thread."""
    files: dict[str, FoundFile] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)
    verbs: Counter[str] = field(default_factory=Counter)

    def see(self, row: Json) -> None:
        """Find comments and files anywhere in a row."""
        for item in values_within(row, without=_TEMPLATES):
            if isinstance(item, str):
                for name in _LINK.findall(item):
                    self.files.setdefault(name, FoundFile({"id": name}, ours=False))
            elif isinstance(item, dict):
                for key in ("threads", "comments"):
                    said = [one for one in items_of(item.get(key)) if isinstance(one, dict)]
                    for one in said:
                        heads = items_of(one.get("comments"))
                        (self.threads if heads else self.comments).add(str(one.get("id")))
                if isinstance(item.get("filename"), str):
                    self._meet(item)

    def hear(self, row: Json) -> None:
        """Read a line of the activity feed. The files that it names may no longer exist."""
        verb = row.get("verb")
        self.verbs.update(word for word in (verb if isinstance(verb, list) else [verb]) if isinstance(word, str))

    def _meet(self, item: Json) -> None:
        name = item.get("id")
        if item.get("source") == "url" and item.get("uploaded_to_s3") is not True:
            self.links.add(str(name))  # Its bytes are stored elsewhere, and the delete does not touch them.
        elif isinstance(name, str) and re.fullmatch(ID_PATTERN, name):
            self.files[name] = FoundFile(item, ours=True)
        else:
            self.nameless.add(str(name))

    def add(self, other: "ExportContents") -> None:
        """Add what another instance found."""
        self.comments |= other.comments
        self.threads |= other.threads
        for name, file in other.files.items():
            if file.ours or name not in self.files:
                self.files[name] = file
        self.links |= other.links
        self.nameless |= other.nameless
        self.verbs += other.verbs


def values_within(row: Json, *, without: frozenset[str] = frozenset()) -> Iterator[object]:
    """Every value in a row, at any depth, except the values of certain keys."""
    waiting: list[object] = [row]
    while waiting:
        item = waiting.pop()
        yield item
        if isinstance(item, dict):
            waiting += [value for key, value in item.items() if key not in without]
        elif isinstance(item, list):
            waiting += item


def items_of(value: object) -> list[object]:
    """A list, plain or inside ``data``; empty for anything else."""
    inner = value.get("data") if isinstance(value, dict) else value
    return inner if isinstance(inner, list) else []
