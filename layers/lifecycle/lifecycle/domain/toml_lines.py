"""Finds the line of each key in a TOML file, because ``tomllib`` does not report it.

Example: after the lines ``zone = "UTC"`` and ``[[rules]]``, ``name = "old"`` is the key ``("rules", 0, "name")`` on
line 3.
"""

import re
import tomllib
from dataclasses import dataclass, field

type Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_VALUE = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' + r"|'''.*?'{3,5}" + r"""|"(?:\\.|[^"\\])*"|'[^']*'|[^,\]}#\n]+""", re.DOTALL
)


def lines_of(text: str) -> dict[Path, int]:
    """The line of each key and of each item of a list, counted from 1. ``text`` must be valid TOML."""
    scan = _Scan(text)
    scan.document()
    return scan.lines


@dataclass(slots=True)
class _Scan:
    """Walks through valid TOML and records the lines of keys. ``tomllib`` has already read the values."""

    text: str
    at: int = 0
    lines: dict[Path, int] = field(default_factory=dict)
    _lengths: dict[Path, int] = field(default_factory=dict)
    """The number of tables in each list of tables so far."""

    def document(self) -> None:
        table: Path = ()
        self._blank()
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._pair(table)
            self._blank()

    def _header(self) -> Path:
        several = self.text.startswith("[[", self.at)
        line = self._line()
        self.at += 2 if several else 1
        self._blank()
        parts = self._key()
        self._blank()
        self.at += 2 if several else 1
        *above, last = parts
        path: Path = (*self._current(above), last)
        if several:
            self.lines.setdefault(path, line)
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path = (*path, self._lengths[path] - 1)
        self._note((), path, line)
        return path

    def _current(self, parts: list[str]) -> Path:
        """The path of the table that a header names; a list on the way means its newest table."""
        path: Path = ()
        for part in parts:
            path = (*path, part)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path: Path = (*table, *self._key())
        self._note(table, path, line)
        self._blank()
        self.at += 1  # the "="
        self._blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        opened = self.text[self.at]
        if opened not in "[{":
            found = _VALUE.match(self.text, self.at)
            self.at = found.end() if found else len(self.text)
            return
        self.at += 1
        self._blank()
        number = 0
        while self.text[self.at] not in "]}":
            if opened == "[":
                self.lines[*path, number] = self._line()
                self._value((*path, number))
                number += 1
            else:
                self._pair(path)
            self._blank()
            if self.text[self.at] == ",":
                self.at += 1
                self._blank()
        self.at += 1

    def _key(self) -> list[str]:
        found = _KEY.match(self.text, self.at)
        if found is None:
            self.at = len(self.text)
            return [""]
        self.at = found.end()
        nested: object = tomllib.loads(f"{found[0]} = 0")
        parts = []
        while isinstance(nested, dict):
            [(name, nested)] = nested.items()
            parts.append(name)
        return parts

    def _note(self, table: Path, path: Path, line: int) -> None:
        """Record the line of a key, and of the tables that a dotted key opens."""
        for length in range(len(table) + 1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _blank(self) -> None:
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1
