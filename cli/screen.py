"""How things look: one console, marks, and text from elsewhere made harmless."""

import codecs
import io
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
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


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """What a terminal cannot show, as near as ASCII comes to it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error("plainer", _plainer)


def heed_encoding() -> None:
    """Let no character end a command: what stdout or stderr cannot encode is shown as near as ASCII comes to it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainer")


def console(*, errors: bool = False) -> Console:
    """A console on stdout, or stderr. Made anew each time: tests and pipes replace the streams."""
    return Console(stderr=errors, highlight=False, soft_wrap=False)


def plain(text: str, most: int = 500) -> Text:
    """Text from a queue or a server: no markup, and no character that moves a terminal's cursor."""
    safe = "".join(character if character.isprintable() or character == "\n" else "�" for character in text[:most])
    return Text(safe + (" …" if len(text) > most else ""))


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, _STYLES.get(status, "red"))


class Listing(Table):
    """A table that breaks neither a word nor an id: what is too narrow for it is shown as one block for each row."""

    @override
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needs = [self._need(console, options, number) for number in range(len(self.columns))]
        gaps = 2 * max(0, len(needs) - 1)
        if sum(need.minimum for need in needs) + gaps > options.max_width:
            yield from self._blocks(options.max_width)
            return
        for column, width in zip(self.columns, _widths(needs, options.max_width - gaps), strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _need(self, console: Console, options: ConsoleOptions, number: int) -> Measurement:
        cells = [Measurement.get(console, options, cell) for cell in self.columns[number].cells]
        return Measurement(max(cell.minimum for cell in cells), max(cell.maximum for cell in cells))

    def _blocks(self, width: int) -> RenderResult:
        """Each row as lines of `name  value`. A word that is longer than the screen is left to the terminal."""
        names = [str(column.header) for column in self.columns]
        indent = max(map(len, names)) + 2
        for place, row in enumerate(zip(*(column._cells for column in self.columns), strict=True)):  # noqa: SLF001
            if place:
                yield Text()
            for name, cell in zip(names, row, strict=True):
                text = cell if isinstance(cell, Text) else Text.from_markup(str(cell))
                if text.plain.strip():
                    yield from _block(name, text, indent, width)


def _block(name: str, text: Text, indent: int, width: int) -> RenderResult:
    words = text.plain.split()
    if max(map(len, words)) > width - indent:  # It gets lines of its own.
        if name:
            yield Text(name, "bold")
        yield Text(text.plain, text.style, no_wrap=True, overflow="ignore")
        return
    pair = Table.grid(padding=(0, 0))
    pair.add_column(width=indent, style="bold", no_wrap=True)
    pair.add_column(width=width - indent)
    pair.add_row(name, text)
    yield pair


def _widths(needs: Sequence[Measurement], room: int) -> list[int]:
    """Each column as wide as its longest word at least; what is left goes to those that want little more first."""
    widths = [need.minimum for need in needs]
    left = room - sum(widths)
    eager = sorted(range(len(needs)), key=lambda number: needs[number].maximum - needs[number].minimum)
    for place, number in enumerate(eager):
        more = min(needs[number].maximum - needs[number].minimum, left // (len(eager) - place))
        widths[number] += more
        left -= more
    return widths


def table(*columns: str, title: str | None = None) -> Listing:
    """An empty table in the house's look."""
    made = Listing(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    for column in columns:
        made.add_column(column)
    return made


def as_json(found: object) -> None:
    """Write what a command found to stdout for programs: plain ASCII, whatever the terminal is."""
    sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")


def age(span: timedelta) -> str:
    """A span in its largest unit, such as 3 d."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
