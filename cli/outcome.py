"""What became of a command, on the screen: its end, or what it waits for and who can help."""

import re
from typing import TYPE_CHECKING

import typer

from cli.screen import NO, NOTE, YES, console, plain, status_text
from cli.trouble import Exit

if TYPE_CHECKING:
    from cli.api import Report

_APPROVAL = re.compile(r"^(.*?)[:.]? *lifecycle approve ([0-9a-f]{64})$", re.DOTALL)
_GRACE = re.compile(r"^It was approved and is deleted after ")


def is_parked(report: "Report") -> bool:
    """Whether it waits for people or for a day: no use in waiting here."""
    waiting = report.status == "waiting"
    return waiting and bool(_APPROVAL.match(report.reason) or _GRACE.match(report.reason))


def has_come_to_rest(report: "Report") -> bool:
    """Whether waiting for it ends: it has ended, or only people or the days can go on with it."""
    return report.concluded or is_parked(report)


def tell(report: "Report") -> None:
    """Say it, and leave with the exit code that says it, too."""
    from cli.api import REACHED

    out = console()
    mark = YES if report.status in REACHED else NO if report.concluded else NOTE
    approval = _APPROVAL.match(report.reason) if report.status == "waiting" else None
    said = f"{approval[1]}." if approval else report.reason
    out.print(mark, status_text(report.status), plain(said), soft_wrap=True)
    if approval:
        out.print(f"  to approve  lifecycle approve {approval[2]}", soft_wrap=True)
        out.print(f"  to reject   lifecycle reject {approval[2]} --reason …", soft_wrap=True)
        out.print("  Whoever asked for it can reject it, but not approve it: somebody else must.", soft_wrap=True)
    elif is_parked(report):
        out.print("  Until then a restore, a hold or any change of the thing keeps it.", soft_wrap=True)
    if not report.concluded:
        raise typer.Exit(Exit.PENDING)
    if report.status not in REACHED:
        raise typer.Exit(Exit.NOT_DONE)
