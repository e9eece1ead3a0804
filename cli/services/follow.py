"""Follows a command until it ends, or a job about a plan until it is done. Every wait uses the one loop, `poll`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

from cli.services.pauses import known_pauses, print_pauses
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, status_text
from cli.ui.errors import CliError, Exit, expected_error
from cli.ui.progress import spinner

if TYPE_CHECKING:
    from cli.clients.api import StatusApi
    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.api.schemas.commands import CommandStatus
    from lifecycle.domain.intent import IntentRow
    from lifecycle.sweep.jobs import SweepJob

_JOB_SECONDS = 3.0
"""The time between two polls of a job."""


def poll(context: "CliContext", look: Callable[[], bool], *, seconds: float, every: float, description: str) -> bool:
    """Call ``look`` until it returns true, for about ``seconds``. Return whether it did."""
    left = seconds
    while not look():
        if left <= 0:
            return False
        with spinner(description):  # Show progress only while nothing is printed.
            context.sleep(every)
        left -= every
    return True


# --- a command --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class CommandDetails:
    """What the stack knows about a command beyond its public status. Empty if AWS cannot be asked."""

    context: "CliContext"
    stack: "Stack"
    intent_id: str
    org_id: str | None = None
    """The organization of the command, if the caller knows it."""
    restores: bool = False
    """Whether the caller knows that it is a restore. No pause stops a restore."""
    _no_access: bool = field(default=False, init=False)

    def pauses(self) -> Mapping[str, str]:
        """The pauses that stop it, by organization."""
        if self.restores:
            return {}
        row = self._row()
        if self._no_access or (row is not None and row.action == "restore"):
            return {}
        org_id = row.org_id if row is not None else self.org_id
        return known_pauses(self.stack, None if org_id is None else [org_id])

    def approvals_missing(self, name: str) -> int | None:
        """How many people still have to approve the request with this hash; `None` where that is not known."""
        from lifecycle.approvals.store import ApprovalStore

        row = self._row()
        if row is None:
            return None
        approvals = ApprovalStore(self.stack.rows(), timedelta(0), self.context.clock)
        request = self._known(lambda: approvals.find(row.org_id, name))
        return None if request is None else max(0, request.needed - len(request.approved_by))

    def _row(self) -> "IntentRow | None":
        return self._known(lambda: self.stack.intent(self.intent_id))

    def _known[T](self, ask: Callable[[], T | None]) -> T | None:
        if self._no_access:
            return None
        try:
            return ask()
        except Exception as error:
            if expected_error(error) is None:
                raise
            self._no_access = True
            return None


def follow_command(api: "StatusApi", details: CommandDetails, *, seconds: float | None, json_: bool = False) -> None:
    """Print the status of a command: now, or with ``seconds`` once it has ended or is deferred, or after that time.

    A pause ends the wait, because it lasts until a person ends it. The exit code says how the command ended.
    """
    status = api.status(details.intent_id) if seconds is None else _wait(api, details, seconds, json_=json_)
    (_write if json_ else _print)(status, details)
    if code := _exit_code(status):
        raise typer.Exit(code)


def follow_commands(api: "StatusApi", commands: Sequence[CommandDetails], *, seconds: float) -> None:
    """Print how each command ended, within ``seconds`` for all. Exits 1 if one failed, else 4 if one has not ended."""
    out, codes = console(), []
    for details in commands:
        began = details.context.clock()
        status = _wait(api, details, seconds)
        seconds = max(0.0, seconds - (details.context.clock() - began).total_seconds())
        out.print(f"  {details.intent_id}", status_text(status["status"]), plain(status["reason"]), soft_wrap=True)
        codes.append(_exit_code(status))
        if codes[-1] is Exit.PENDING:
            print_pauses(out, details.pauses())
    for code in (Exit.NOT_DONE, Exit.PENDING):
        if code in codes:
            raise typer.Exit(code)


def _wait(api: "StatusApi", details: CommandDetails, seconds: float, *, json_: bool = False) -> "CommandStatus":
    from cli.clients.api import is_concluded, is_deferred

    def enough(status: "CommandStatus") -> bool:
        return is_concluded(status) or is_deferred(status) or bool(details.pauses())

    with spinner(f"waiting for {details.intent_id[:16]}…", json_=json_):
        return api.wait(details.intent_id, seconds=seconds, sleep=details.context.sleep, until=enough)


def _exit_code(status: "CommandStatus") -> Exit:
    from cli.clients.api import REACHED, is_concluded

    if not is_concluded(status):
        return Exit.PENDING
    return Exit.DONE if status["status"] in REACHED else Exit.NOT_DONE


def _write(status: "CommandStatus", details: CommandDetails) -> None:
    from cli.clients.api import is_concluded

    approval = status["approval"]
    as_json(
        {
            **status,
            "until": status["until"].isoformat() if status["until"] else None,
            "approvals_missing": details.approvals_missing(approval) if approval else None,
            "paused": {} if is_concluded(status) else dict(details.pauses()),
        }
    )


def _print(status: "CommandStatus", details: CommandDetails) -> None:
    from cli.clients.api import is_deferred

    out, code, approval = console(), _exit_code(status), status["approval"]
    mark = {Exit.DONE: YES, Exit.NOT_DONE: NO}.get(code, NOTE)
    out.print(mark, status_text(status["status"]), plain(status["reason"]), soft_wrap=True)
    if approval:
        missing = details.approvals_missing(approval)
        if missing is not None:
            out.print(f"  missing     {missing} more approval{'' if missing == 1 else 's'}", soft_wrap=True)
        out.print(f"  to approve  lifecycle approve {approval}", soft_wrap=True)
        out.print(f"  to reject   lifecycle reject {approval} --reason …", soft_wrap=True)
        out.print("  The person who asked can reject it. Only somebody else can approve it.", soft_wrap=True)
    elif is_deferred(status):
        out.print("  Until then a restore, a hold or any change of the thing cancels it.", soft_wrap=True)
    if code is Exit.PENDING:
        print_pauses(out, details.pauses())


# --- a job about a plan -----------------------------------------------------------------------------------------------


def follow_job(
    context: "CliContext", stack: "Stack", job: "SweepJob", done: Callable[[], bool], *, seconds: float, failed: str
) -> None:
    """Call ``done`` until it answers that the job is done. ``failed`` is how to say that it was not carried out.

    Raises:
        CliError: The stack put the job into the dead-letter queue.
        typer.Exit: The job is still in progress after ``seconds``.
    """
    out = console()
    print_pauses(out, known_pauses(stack, [job.org_id] if job.org_id else None))

    def look() -> bool:
        if done():
            return True
        reason = _why_dead_lettered(context, stack, job)
        if reason is not None:
            raise CliError(f"{failed} {reason}")
        return False

    if not poll(context, look, seconds=seconds, every=_JOB_SECONDS, description=f"waiting for {job.sweep_id}"):
        out.print(NOTE, "Still in progress.")
        raise typer.Exit(Exit.PENDING)


def _why_dead_lettered(context: "CliContext", stack: "Stack", job: "SweepJob") -> str | None:
    """Return the reason in the dead letter of a job, or `None` if there is none. The dead letter stays."""
    from cli.services import dead_letter_queue
    from lifecycle.sweep.jobs import SweepJob

    pairs = [pair for pair in stack.pairs() if pair.name == "sweeps"]
    for letter in dead_letter_queue.look(pairs, most=100, clock=context.clock).letters:
        if isinstance(letter.content, SweepJob) and letter.content.sweep_id == job.sweep_id:
            return letter.reason
    return None
