"""`lifecycle overview`: how the stack is doing, on one screen."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, NOTE, YES, age, as_json, console, plain, utc
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json, Region, StackName
from cli.ui.progress import spinner

if TYPE_CHECKING:
    from cli.services.overview import OrganizationView, Overview, QueueView

_LABEL = 11
_TOKEN_DAYS = 183
"""The approximate lifetime of a Tallyfy token."""
_OLD_TOKEN_DAYS = 150


def overview(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", min=5, help="The seconds between two refreshes with --watch.")
    ] = 30,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show pauses, queues, dead letters, approvals, sweeps, plans, audit trail and alarms on one screen. Only reads.

    Reading the dead letters hides them for a moment, as `dead-letters list` does.
    """
    from pydantic_core import to_jsonable_python

    from cli.services.overview import overview as read

    if watch and json_:
        raise CliError("Give either --watch or --json.", Exit.USAGE)
    context, target = context_of(ctx), stack_of(ctx, stack, region)
    with spinner("reading the stack", json_=json_):
        found = read(target, context.clock)
    if json_:
        as_json(to_jsonable_python(found))
        return
    out = console()
    if not watch:
        out.print(_screen(found))
        return
    with Live(_screen(found), console=out, screen=out.is_terminal, auto_refresh=False) as live:
        while True:
            context.sleep(every)
            live.update(_screen(read(target, context.clock)), refresh=True)


def _screen(found: "Overview") -> Group:
    """Return the whole screen, each line cut to the width of the terminal, so that a refresh does not move lines."""
    head = Text(f"{found.stack}  {utc(found.at)}  sweeps: {found.mode}  pace: {found.per_minute}/min", "bold")
    lines = [head, *(line for one in found.organizations for line in _organization(one, found))]
    foot = [_audit(found), _alarms(found), *_unknown(found)]
    for line in (*lines, *foot):
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines, _queues(found.queues), *foot)


def _organization(one: "OrganizationView", found: "Overview") -> Iterator[Text]:
    now = found.at
    if one.paused_by:
        yield _line(NOTE, one.org_id, f"paused by {one.paused_by}: only restores are carried out")
    elif one.outage:
        yield _line(NO, one.org_id, "no answer from Tallyfy: only probes")
    else:
        yield _line(YES, one.org_id, "running")
    yield _fact("429 or 503", f"{_count_of_waits(found)}; {_wait(one, now)}")
    sweep = f"finished {_ago(one.sweep_finished_at, now)}" if one.sweep_finished_at else "none has finished yet"
    running = f"; in progress: {one.sweep_in_progress}" if one.sweep_in_progress else ""
    yield _fact("sweep", sweep + running)
    plan = one.plan
    yield _fact(
        "plan",
        f"{plan.hash[:12]}: {plan.due} due of {plan.seen} seen, {plan.state}, made {_ago(plan.made_at, now)}"
        if plan
        else "none yet",
    )
    yield _fact("approvals", _approvals(one, now))
    yield _fact("token", _token(one, now))


def _count_of_waits(found: "Overview") -> str:
    if found.asked_to_wait is None:
        return "unknown how many"
    of_all = " (all organizations)" if len(found.organizations) > 1 else ""
    return f"{found.asked_to_wait} in the last day{of_all}"


def _wait(one: "OrganizationView", now: datetime) -> str:
    if one.wait_until is None:
        return "Tallyfy has not asked for a wait yet"
    if one.wait_until > now:
        return f"Tallyfy asked to wait until {utc(one.wait_until)}"
    return f"none now; Tallyfy last asked to wait until {utc(one.wait_until)}"


def _approvals(one: "OrganizationView", now: datetime) -> str:
    if one.approvals is None:
        return "unknown"
    if one.approvals_expire_at is None:
        return "none waits"
    return f"{one.approvals} wait; the first expires in {age(one.approvals_expire_at - now)}"


def _token(one: "OrganizationView", now: datetime) -> str:
    if one.token_stored_at is None:
        return "age unknown"
    old = (now - one.token_stored_at).days >= _OLD_TOKEN_DAYS
    then = ": replace it" if old else "; `check` tries it"
    return f"stored {_ago(one.token_stored_at, now)}; it lives about {_TOKEN_DAYS} days{then}"


def _queues(queues: "list[QueueView]") -> Table:
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("queue", "waiting", "oldest"):
        rows.add_column(name, no_wrap=True, justify="left" if name == "queue" else "right")
    rows.add_column("dead letters", no_wrap=True, overflow="ellipsis")
    for one in queues:
        codes = ", ".join(f"{code} {count}" for code, count in one.codes.items())
        dead = "unknown" if one.dead_letters is None else str(one.dead_letters)
        letters = plain(f"{dead}: {codes}" if codes else dead)
        letters.stylize("red" if one.dead_letters else "")
        waiting = "unknown" if one.waiting is None else str(one.waiting)
        rows.add_row(one.name, waiting, age(one.oldest) if one.oldest else "–", letters)
    return rows


def _audit(found: "Overview") -> Text:
    sealed = f"sealed through {found.sealed_through}:59 UTC" if found.sealed_through else "nothing is sealed yet"
    return _fact("audit", sealed)


def _alarms(found: "Overview") -> Text:
    if found.alarms is None:
        return _line(NOTE, "alarms", "unknown")
    if not found.alarms:
        return _line(YES, "alarms", "none is ringing")
    names = ", ".join(f"{alarm.name} ({_ago(alarm.since, found.at)})" for alarm in found.alarms)
    return _line(NO, "alarms", names)


def _unknown(found: "Overview") -> Iterator[Text]:
    for part, reason in found.unknown.items():
        yield _line(NOTE, part, f"not known. {reason}")


def _line(mark: Text, label: str, text: str) -> Text:
    return Text.assemble(mark, " ", (f"{label:<{_LABEL - 2}} ", "bold"), plain(text))


def _fact(label: str, text: str) -> Text:
    return Text.assemble("  ", f"{label:<{_LABEL}}", plain(text))


def _ago(at: datetime, now: datetime) -> str:
    return f"{age(now - at)} ago"
