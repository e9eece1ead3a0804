"""How things look: one console, marks, and text from elsewhere made harmless."""

from datetime import timedelta

from rich.console import Console
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


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's look."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def age(span: timedelta) -> str:
    """A span in its largest unit, such as 3 d."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
