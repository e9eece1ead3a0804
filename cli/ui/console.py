"""Output: one console, marks, tables, and safe text from other systems."""

import codecs
import io
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import override

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

YES, NO, NOTE = Text("✓", "bold green"), Text("✗", "bold red"), Text("!", "bold yellow")
_STYLES = {
    "done": "green",
    "unchanged": "green",
    "accepted": "cyan",
    "in_progress": "cyan",
    "waiting": "yellow",
    "superseded": "yellow",
}


_IN_ASCII = {"✓": "+", "✗": "x", "…": "...", "–": "-", "—": "-", "’": "'", "×": "x", "→": "->", "�": "?"}


RED = "bold red"
"""The style of what cannot be undone."""


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """The nearest ASCII of characters that a terminal cannot show."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error("plainer", _plainer)


def replace_unprintable() -> None:
    """Print the nearest ASCII for characters that stdout or stderr cannot encode, so that none ends a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainer")


def console(*, errors: bool = False, progress: bool = True) -> Console:
    """A console on stdout, or on stderr. A new one each time, because tests and pipes replace the streams.

    Without ``progress`` it never shows any, because it takes no stream for a terminal.
    """
    return Console(stderr=errors, highlight=False, soft_wrap=False, force_terminal=None if progress else False)


def plain(text: str, most: int = 500) -> Text:
    """Text from a queue or a server, without markup and without characters that move the cursor of a terminal."""
    safe = "".join(character if character.isprintable() or character == "\n" else "�" for character in text[:most])
    return Text(safe + (" …" if len(text) > most else ""))


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, _STYLES.get(status, "red"))


_MOST_LINES = 3
"""The lines that a cell of a table may take. A longer text is easier to read in a block."""


class WrappingTable(Table):
    """A table that breaks no word and no id. On a terminal that is too narrow, each row becomes a block of lines."""

    @override
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needs = [self._need(console, options, number) for number in range(len(self.columns))]
        gaps = 2 * max(0, len(needs) - 1)
        if sum(need.minimum for need in needs) + gaps > options.max_width:
            yield from self._blocks(console, options.max_width)
            return
        widths = _widths(needs, options.max_width - gaps)
        if any(need.maximum > _MOST_LINES * width for need, width in zip(needs, widths, strict=True)):
            yield from self._blocks(console, options.max_width)
            return
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _need(self, console: Console, options: ConsoleOptions, number: int) -> Measurement:
        column = self.columns[number]
        cells = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
        return Measurement(max(cell.minimum for cell in cells), max(cell.maximum for cell in cells))

    def _blocks(self, console: Console, width: int) -> Iterator[Text]:
        """Each row as lines of `name  value`, its mark before the first of them."""
        names = [str(column.header) for column in self.columns]
        indent = max(map(len, names)) + 2
        for place, row in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            if place:
                yield Text()
            mark = Text()
            for name, cell in zip(names, row, strict=True):
                text = cell if isinstance(cell, Text) else Text.from_markup(str(cell))
                if not name and len(text) == 1:
                    mark = Text.assemble(text, " ")
                elif text.plain.strip():
                    yield from _block(console, name, Text.assemble(mark, text), indent, width)
                    mark = Text()


def _block(console: Console, name: str, text: Text, indent: int, width: int) -> Iterator[Text]:
    if max(map(len, text.plain.split())) > width - indent:
        # The value gets its own lines. The terminal breaks a word that is longer than a line.
        if name:
            yield Text(name, "bold")
        yield text
        return
    for place, line in enumerate(text.wrap(console, width - indent)):
        line.rstrip()
        yield Text.assemble((f"{'' if place else name:<{indent}}", "bold"), line)


def _widths(needs: Sequence[Measurement], room: int) -> list[int]:
    """Each column is at least as wide as its longest word. The columns that need least more come first."""
    widths = [need.minimum for need in needs]
    left = room - sum(widths)
    eager = sorted(range(len(needs)), key=lambda number: needs[number].maximum - needs[number].minimum)
    for place, number in enumerate(eager):
        more = min(needs[number].maximum - needs[number].minimum, left // (len(eager) - place))
        widths[number] += more
        left -= more
    return widths


def table(*columns: str, title: str | None = None) -> WrappingTable:
    """An empty table."""
    made = WrappingTable(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    for column in columns:
        made.add_column(column)
    return made


def as_json(found: object) -> None:
    """Write the result of a command to stdout for programs: JSON in plain ASCII, whatever the terminal is."""
    sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")


def utc(at: datetime) -> str:
    """A moment to the minute, such as 2026-06-01 12:00 UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def age(span: timedelta) -> str:
    """A span in its largest unit, such as 3 d."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def byte_size(size: int) -> str:
    """A number of bytes in its largest unit, such as 1.5 MB."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} bytes"
