"""What became of a command, on the screen: its end, or what it waits for and who can help."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

from cli.commands.pause import pauses_if_told, tell_pauses
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, status_text
from cli.ui.errors import Exit, trouble_in

if TYPE_CHECKING:
    from cli.clients.api import Report, StatusApi
    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.domain.intent import IntentRow

_APPROVAL = re.compile(r"^(.*?)[:.]? *lifecycle approve ([0-9a-f]{64})$", re.DOTALL)
_GRACE = re.compile(r"^It was approved and is deleted after ")


def is_parked(report: "Report") -> bool:
    """Whether it waits for people or for a day: no use in waiting here."""
    waiting = report.status == "waiting"
    return waiting and bool(_APPROVAL.match(report.reason) or _GRACE.match(report.reason))


def has_come_to_rest(report: "Report") -> bool:
    """Whether waiting for it ends: it has ended, or only people or the days can go on with it."""
    return report.concluded or is_parked(report)


@dataclass(slots=True)
class Beside:
    """What the stack knows of a command that its public status does not say. Where AWS cannot be asked: nothing."""

    world: "CliContext"
    stack: "Stack"
    intent_id: str
    org_id: str | None = None
    """Where it is to be done, if the caller knows."""
    restores: bool = False
    """Whether it is known to be a restore: no pause stops one."""
    _unasked: bool = field(default=False, init=False)

    def pauses(self) -> Mapping[str, str]:
        """The pauses that keep it from being carried out, by organization."""
        if self.restores:
            return {}
        row = self._row()
        if self._unasked or (row is not None and row.action == "restore"):
            return {}
        org_id = row.org_id if row is not None else self.org_id
        return pauses_if_told(self.stack, None if org_id is None else [org_id])

    def approvals_missing(self, name: str) -> int | None:
        """How many people still have to approve the request of this hash; `None` where that cannot be told."""
        from lifecycle.approvals.store import Approvals

        row = self._row()
        if row is None:
            return None
        approvals = Approvals(self.stack.rows(), timedelta(0), self.world.clock)
        request = self._told(lambda: approvals.find(row.org_id, name))
        return None if request is None else max(0, request.needed - len(request.approved_by))

    def _row(self) -> "IntentRow | None":
        return self._told(lambda: self.stack.intent(self.intent_id))

    def _told[T](self, ask: Callable[[], T | None]) -> T | None:
        if self._unasked:
            return None
        try:
            return ask()
        except Exception as error:
            if trouble_in(error) is None:
                raise
            self._unasked = True
            return None


def follow(api: "StatusApi", beside: Beside, *, seconds: float | None, json_: bool = False) -> None:
    """Say what became of a command; with `seconds`, once it has come to rest, or after that time.

    A pause ends the wait: it lasts until a person ends it. The exit code tells, too.
    """
    if seconds is None:
        report = api.status(beside.intent_id)
    else:
        report = api.wait(
            beside.intent_id,
            seconds=seconds,
            sleep=beside.world.sleep,
            until=lambda one: has_come_to_rest(one) or bool(beside.pauses()),
        )
    (_write if json_ else _tell)(report, beside)
    _leave(report)


def _leave(report: "Report") -> None:
    from cli.clients.api import REACHED

    if not report.concluded:
        raise typer.Exit(Exit.PENDING)
    if report.status not in REACHED:
        raise typer.Exit(Exit.NOT_DONE)


def _write(report: "Report", beside: Beside) -> None:
    approval = _approval(report)
    as_json(
        {
            "intent_id": report.intent_id,
            "status": report.status,
            "reason": report.reason,
            "approval": approval[2] if approval else None,
            "approvals_missing": beside.approvals_missing(approval[2]) if approval else None,
            "paused": {} if report.concluded else dict(beside.pauses()),
        }
    )


def _approval(report: "Report") -> "re.Match[str] | None":
    return _APPROVAL.match(report.reason) if report.status == "waiting" else None


def _tell(report: "Report", beside: Beside) -> None:
    from cli.clients.api import REACHED

    out = console()
    mark = YES if report.status in REACHED else NO if report.concluded else NOTE
    approval = _approval(report)
    said = f"{approval[1]}." if approval else report.reason
    out.print(mark, status_text(report.status), plain(said), soft_wrap=True)
    if approval:
        missing = beside.approvals_missing(approval[2])
        if missing is not None:
            out.print(f"  missing     {missing} more approval{'' if missing == 1 else 's'}", soft_wrap=True)
        out.print(f"  to approve  lifecycle approve {approval[2]}", soft_wrap=True)
        out.print(f"  to reject   lifecycle reject {approval[2]} --reason …", soft_wrap=True)
        out.print("  Whoever asked for it can reject it, but not approve it: somebody else must.", soft_wrap=True)
    elif is_parked(report):
        out.print("  Until then a restore, a hold or any change of the thing keeps it.", soft_wrap=True)
    if not report.concluded:
        tell_pauses(out, beside.pauses())
