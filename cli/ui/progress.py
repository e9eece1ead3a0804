"""Progress on stderr for a person at a terminal. Nothing is shown in a pipe or with ``--json``."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.ui.console import console

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

type Advance = Callable[[str], None]
"""Shows what is being worked on now."""


@contextmanager
def spinner(description: str, *, json_: bool = False) -> Iterator[Advance]:
    """Show a spinner during the wait."""
    from rich.progress import SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with _progress(*columns, json_=json_) as progress:
        task = progress.add_task(description, total=None)
        yield lambda text: progress.update(task, description=text)


def tracked[T](items: Iterable[T], description: str, total: int, *, json_: bool = False) -> Iterator[T]:
    """The items, with a bar that grows by each one of ``total``."""
    with bars(json_=json_) as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


def bars(*, json_: bool = False) -> "Progress":
    """Bars that say how many of how many are done."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return _progress(*columns, json_=json_)


def _progress(*columns: "ProgressColumn", json_: bool) -> "Progress":
    from rich.progress import Progress

    err = console(errors=True)
    return Progress(*columns, console=err, transient=True, disable=json_ or not err.is_terminal)
