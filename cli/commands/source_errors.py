"""`lifecycle source errors`, `replay` and `listen`: what deliveries became; send again those that became nothing."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, status_text, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json, Region, StackName, Timeout, Yes
from cli.ui.progress import spinner

if TYPE_CHECKING:
    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from cli.services.delivery_log import Received, RefusalCount
    from cli.services.kept_deliveries import DeliveryAttempt, Kept

_EVERY = 1.0
"""Seconds between two looks."""
_MOST_LETTERS = 1000
_CLOCK_DIFFERENCE = timedelta(seconds=2)
"""How much the clocks of two functions may differ."""
Source = Annotated[str, typer.Option("--source", help="Only of this source, as in sources.toml.")]
Since = Annotated[
    str, typer.Option("--since", metavar="WHEN", help="Only deliveries since then: 30m, 12h, 7d, a day, or a moment.")
]
Deliveries = Annotated[
    list[str] | None,
    typer.Option("--delivery", metavar="ID", help="Only this delivery, by its id; may be given more than once."),
]


def errors(
    ctx: typer.Context,
    source: Source = "",
    since: Since = "7d",
    delivery: Deliveries = None,
    payload: Annotated[bool, typer.Option("--payload", help="Show the payloads as well, if they were kept.")] = False,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """List the deliveries that became no command: why, when, and their ids. Payloads are kept for 14 days.

    Of requests that did not prove who sent them nothing is kept. They are counted, by source and reason.
    """
    from cli.services.delivery_log import refusals
    from cli.ui.moments import moment_in

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    begin = moment_in(since, context.clock())
    kept = _kept(context, target, source, begin, delivery or [], json_=json_)
    with spinner("reading the log", json_=json_):
        counts, complete = refusals(target, source, begin) if not delivery else ([], True)
    if json_:
        as_json(
            {"kept": [_as_json(one, payload=payload) for one in kept], "refused": [_counted(one) for one in counts]}
        )
    else:
        _print_kept(kept, payload=payload)
        _print_refused(counts)
        if not kept and not counts:
            console().print(YES, plain(f"Every delivery since {begin:%Y-%m-%d %H:%M} UTC was accepted or ignored."))
    if not complete:
        console(errors=True).print(
            NOTE, "There were more refusals than this command reads. Choose a shorter time with --since."
        )


def replay(
    ctx: typer.Context,
    source: Source = "",
    since: Since = "",
    delivery: Deliveries = None,
    all_: Annotated[bool, typer.Option("--all", help="All kept deliveries.")] = False,
    timeout: Timeout = 60,
    yes: Yes = False,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Send kept deliveries through the deployed sources.toml again, once each. Correct the table and deploy first.

    A delivery keeps its id and its age. So what it asks for is done once, and not at all if a newer command was done.
    """
    from cli.services import kept_deliveries
    from cli.services.follow import poll
    from cli.ui.moments import moment_in

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    if all_ == bool(source or since or delivery):
        raise CliError("Choose the deliveries by --source, --since and --delivery, or give --all.", Exit.USAGE)
    begin = moment_in(since, context.clock()) if since else None
    chosen = _kept(context, target, source, begin, delivery or [], json_=json_)
    if not chosen:
        _nothing_to_send(json_=json_)
        return
    if not yes:
        _print_kept(chosen, payload=False)
        typer.confirm(f"Send {len(chosen)} again?", abort=True)
    attempts = list(kept_deliveries.send(target, chosen))
    poll(context, lambda: kept_deliveries.look(target, attempts), seconds=timeout, every=_EVERY, description="waiting")
    kept_deliveries.clear(target.pairs(), attempts, most=_MOST_LETTERS, clock=context.clock)
    if json_:
        as_json([_attempted(one) for one in attempts])
    else:
        for one in attempts:
            _print_attempt(one)
    _exit_for(attempts)


def listen(
    ctx: typer.Context,
    source: Source = "",
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Print each delivery when it comes, what it became, and how its commands end. Goes on until Ctrl-C.

    On the local stack this is immediate. On AWS, lines of the log appear some seconds later.
    """
    from cli.services.delivery_log import DeliveryLog, Received
    from lifecycle.domain.intent import OPEN

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    log, open_ = DeliveryLog(target, context.clock()), dict[str, Received]()
    console(errors=True).print("Waiting for deliveries. Ctrl-C ends it.")
    while True:
        for one in log.new(context.clock()):
            if source and one.source not in {"", source}:
                continue
            if one.intent_id:
                open_[one.intent_id] = one
            _print_received(one, json_=json_)
        for intent_id, one in list(open_.items()):
            row = target.intent(intent_id)
            if row is not None and row.status not in OPEN:
                del open_[intent_id]
                reason = row.reason + _repeated(row.concluded_at / 1000, one)
                _print_end(context.clock(), intent_id, (one.source, row.status, reason), json_=json_)
        context.sleep(_EVERY)


def _kept(
    context: "CliContext",
    stack: "Stack",
    source: str,
    begin: "datetime | None",
    deliveries: list[str],
    *,
    json_: bool,
) -> "list[Kept]":
    from cli.services import kept_deliveries
    from cli.services.dead_letter_queue import look

    pairs = [pair for pair in stack.pairs() if pair.name == "commands"]
    with spinner("reading the kept deliveries", json_=json_):
        seen = look(pairs, most=_MOST_LETTERS, clock=context.clock)
    for missed in seen.missed:
        console(errors=True).print(NOTE, f"Not all of them were read. {missed}")
    found = kept_deliveries.kept_deliveries(seen.letters)
    return kept_deliveries.choose(found, source=source, since=begin, deliveries=deliveries)


def _nothing_to_send(*, json_: bool) -> None:
    if json_:
        as_json([])
        return
    console().print(
        YES,
        "Nothing was sent: no kept delivery matches. It was sent again or dropped already, or is older than 14 days.",
        soft_wrap=True,
    )


# --- what is shown ----------------------------------------------------------------------------------------------------


def _print_kept(kept: "list[Kept]", *, payload: bool) -> None:
    if not kept:
        return
    out = console()
    rows = table("received (UTC)", "source", "delivery", "why", "times")
    for one in kept:
        why = plain(one.newest.code).append(": ").append(plain(_reason(one), most=300))
        rows.add_row(
            f"{one.delivery.received_at:%m-%d %H:%M:%S}",
            plain(one.delivery.source),
            plain(one.delivery.delivery),
            why,
            str(len(one.letters)),
        )
    out.print(rows, soft_wrap=True)
    out.print(
        "Correct sources.toml, test it with `lifecycle source try`, deploy, then send them again: "
        "`lifecycle source replay`.",
        soft_wrap=True,
    )
    for one in kept if payload else ():
        cut = "" if one.delivery.is_whole else " (only the beginning was kept)"
        out.print(f"\n[bold]{one.delivery.source}[/]", plain(one.delivery.delivery + cut), soft_wrap=True)
        for name, text in one.delivery.headers.items():
            out.print(plain(f"{name}: {text}"), soft_wrap=True)
        out.print(plain(one.delivery.text(), most=300_000), soft_wrap=True)


def _reason(one: "Kept") -> str:
    return one.newest.reason.removeprefix(f"Source '{one.delivery.source}': ")


def _print_refused(counts: "list[RefusalCount]") -> None:
    if not counts:
        return
    console().print("\nRefused. Nothing of these requests is kept:")
    rows = table("newest (UTC)", "source", "why", "times")
    for one in counts:
        why = plain(one.code).append(": ").append(plain(one.reason, most=300))
        rows.add_row(f"{one.newest:%m-%d %H:%M:%S}", plain(one.source or "–"), why, str(one.times))
    console().print(rows, soft_wrap=True)


def _print_attempt(one: "DeliveryAttempt") -> None:
    out, name = console(), plain(f"{one.kept.delivery.source} {one.kept.delivery.delivery}")
    if one.row is None:
        text = one.remark or "is still being processed. Run the same command again: nothing is done twice."
        out.print(NO if one.remark else NOTE, name, plain(text), soft_wrap=True)
        return
    what = one.row.status.value + ("" if not one.row.intent_ids else f": {', '.join(one.row.intent_ids)}")
    if not one.row.is_final:
        out.print(NO, name, plain(f"{one.row.code}: {one.row.reason} It stays kept."), soft_wrap=True)
    elif one.was_done_before:
        out.print(NOTE, name, plain(f"was already sent again ({what}). Nothing was sent."), soft_wrap=True)
    else:
        out.print(YES, name, plain(what, most=6000), soft_wrap=True)
    if one.remark:
        out.print(NOTE, name, plain(one.remark), soft_wrap=True)


def _exit_for(attempts: "list[DeliveryAttempt]") -> None:
    failed = sum(bool(one.row and not one.row.is_final) or bool(one.row is None and one.remark) for one in attempts)
    if failed:
        raise CliError(f"{failed} of {len(attempts)} became no command.")
    if any(one.row is None for one in attempts):
        raise typer.Exit(Exit.PENDING)


def _print_received(one: "Received", *, json_: bool) -> None:
    if json_:
        facts = {"at": one.at.isoformat(), "source": one.source or None, "became": one.became}
        _line({**facts, "detail": one.detail or None, "intent_id": one.intent_id or None})
        return
    mark = YES if one.became in {"accepted", "ignored", "handshake"} else NO
    text = f"{one.became}: {one.detail} {one.intent_id}".rstrip(" :")
    console().print(mark, f"{one.at:%H:%M:%S}", plain(one.source or "–"), plain(text), soft_wrap=True)


def _repeated(ended: float, one: "Received") -> str:
    """What to add if the command had ended, in seconds since 1970, before this delivery came; empty otherwise."""
    if not 0 < ended < (one.at - _CLOCK_DIFFERENCE).timestamp():
        return ""
    at = datetime.fromtimestamp(ended, UTC)
    return f" That was at {at:%Y-%m-%d %H:%M:%S} UTC: this delivery repeats an older one, and does nothing."


def _print_end(at: "datetime", intent_id: str, end: tuple[str, str, str], *, json_: bool) -> None:
    source, status, reason = end
    if json_:
        _line({"at": at.isoformat(), "source": source, "became": status, "detail": reason, "intent_id": intent_id})
        return
    console().print(
        " ", f"{at:%H:%M:%S}", plain(source), status_text(status), plain(f"{intent_id} {reason}"), soft_wrap=True
    )


def _line(facts: "dict[str, object]") -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


# --- for programs -----------------------------------------------------------------------------------------------------


def _as_json(one: "Kept", *, payload: bool) -> dict[str, object]:
    kept = one.delivery
    return {
        "source": kept.source,
        "delivery": kept.delivery,
        "received_at": kept.received_at.isoformat(),
        "code": one.newest.code,
        "reason": _reason(one),
        "times": len(one.letters),
        "whole": kept.is_whole,
        "message_ids": [letter.message.id for letter in one.letters],
        **({"headers": dict(kept.headers), "payload": kept.text()} if payload else {}),
    }


def _counted(one: "RefusalCount") -> dict[str, object]:
    return {
        "source": one.source or None,
        "code": one.code,
        "reason": one.reason,
        "times": one.times,
        "newest": one.newest.isoformat(),
    }


def _attempted(one: "DeliveryAttempt") -> dict[str, object]:
    row = one.row
    return {
        "source": one.kept.delivery.source,
        "delivery": one.kept.delivery.delivery,
        "status": row.status.value if row else "not_sent" if one.remark else "in_progress",
        "before": one.was_done_before,
        "intent_ids": list(row.intent_ids) if row else [],
        "code": row.code if row else None,
        "reason": (row.reason if row else None) or one.remark or None,
    }
