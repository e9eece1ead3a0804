"""`lifecycle dead-letters`: see what could not be done, send it again, or drop it."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.services.pauses import known_pauses, print_pauses
from cli.ui.console import NO, NOTE, YES, age, as_json, console, plain, status_text, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json, Region, StackName, Timeout, Wait, Yes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from cli.services.dead_letter_queue import ActionResult, DeadLetter, Scan
    from lifecycle.domain.intent import IntentRow

app = typer.Typer(
    no_args_is_help=True,
    help="See what could not be done, send it again, or drop it. Works on every dead-letter queue of the stack.",
)

Limit = Annotated[int, typer.Option("--limit", min=1, help="Look at so many messages of each queue at most.")]
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="intent ids, or message ids; the beginning of one does if it is unique"),
]


@app.command("list")
def list_(
    ctx: typer.Context, limit: Limit = 1000, json_: Json = False, stack: StackName = None, region: Region = None
) -> None:
    """List the dead letters, and leave them where they are. Each id is taken by every command that takes an intent."""
    context = context_of(ctx)
    seen = _look(context, stack_of(ctx, stack, region), limit)
    if json_:
        as_json([_as_json(letter) for letter in _oldest_first(seen.letters)])
    elif seen.letters:
        _print(context, seen.letters)
    elif not seen.missed:
        console().print(YES, "There are no dead letters.")


@app.command()
def show(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="an intent id or a message id, or how it begins")],
    payload: Annotated[
        bool, typer.Option("--payload", help="Only what a source sent in vain, as it was: for `lifecycle source try`.")
    ] = False,
    limit: Limit = 1000,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show all that is known of one dead letter, and what to do about it."""
    from cli.services import dead_letter_queue
    from cli.services.remedies import remedy_for

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    for letter in dead_letter_queue.choose(_look(context, target, limit).letters, [id]):
        if payload:
            _print_payload(letter)
            continue
        row = target.intent(letter.intent_id) if letter.intent_id else None
        if json_:
            as_json({**_as_json(letter, row), "body": letter.message.body})
            continue
        out = console()
        for name, value in (
            ("intent", letter.intent_id or "none: this is no command"),
            ("message", letter.message.id),
            ("queue", letter.queue),
            ("what", letter.what),
            ("code", letter.code),
            ("reason", letter.reason),
            ("what to do", remedy_for(letter.code)),
            ("attempts", letter.attempts),
            ("sent again", str(letter.message.redrive)),
            ("failed at", f"{letter.failed_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("ledger", f"{row.status}: {row.reason}" if row else "nothing"),
        ):
            out.print(f"[bold]{name:<11}[/]", plain(value, most=2000), soft_wrap=True)
        out.print("[bold]body[/]")
        out.print(plain(_pretty(letter.message.body), most=20_000), soft_wrap=True)


@app.command("send-again")
def send_again(
    ctx: typer.Context,
    ids: Ids = None,
    all_: Annotated[bool, typer.Option("--all", help="All but poison, which only its message id can name.")] = False,
    code: Annotated[
        str | None, typer.Option("--code", help="Those with this code, such as attempts_exhausted.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = 120,
    yes: Yes = False,
    limit: Limit = 1000,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Send dead letters to the queue they came from. What was done stays done: it is safe to do this twice."""
    from cli.services import dead_letter_queue

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    if (bool(ids) + all_ + bool(code)) != 1:
        raise CliError("Say which: ids, or --all, or --code.", Exit.USAGE)
    seen = _look(context, target, limit)
    if ids:
        chosen = dead_letter_queue.choose(seen.letters, ids)
    else:
        meant = [one for one in seen.letters if all_ or one.code == code]
        chosen = [one for one in meant if one.is_sound]
        payloads = sum(one.is_payload for one in meant)
        poison = len(meant) - len(chosen) - payloads
        if poison:
            console().print(NOTE, f"{poison} that are no commands stay: send those by message id, if at all.")
        if payloads:
            console().print(NOTE, f"{payloads} stay. {dead_letter_queue.UNTRANSLATABLE}", soft_wrap=True)
    if not chosen:
        console().print(YES, "There is nothing to send again.")
        return
    if not yes:
        _print(context, chosen)
        typer.confirm(f"Send {len(chosen)} again?", abort=True)
    before = {one.name: target.intent(one.intent_id) for one in chosen if one.intent_id} if wait else {}
    deeds = []
    for deed in dead_letter_queue.send_again(target.pairs(), chosen, most=limit, clock=context.clock):
        deeds.append(deed)
        _print_deed(deed, "sent again")
    if wait:
        _outcomes(context, target, [deed.letter for deed in deeds if deed.done], before, timeout)
    _all_done(deeds)


@app.command()
def drop(
    ctx: typer.Context,
    ids: Ids = None,
    code: Annotated[str | None, typer.Option("--code", help="Those with this code, such as poison.")] = None,
    limit: Limit = 1000,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Delete dead letters for good: the command is never carried out. You are asked first."""
    from cli.services import dead_letter_queue

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    if bool(ids) == bool(code):
        raise CliError("Say which: ids, or --code.", Exit.USAGE)
    seen = _look(context, target, limit)
    chosen = dead_letter_queue.choose(seen.letters, ids) if ids else [one for one in seen.letters if one.code == code]
    if not chosen:
        console().print(YES, "There is nothing to drop.")
        return
    _print(context, chosen)
    those = "it" if len(chosen) == 1 else f"all {len(chosen)}"
    typer.confirm(f"What is dropped is never carried out, and cannot be had back. Drop {those}?", abort=True)
    deeds = []
    for deed in dead_letter_queue.drop(target.pairs(), chosen, most=limit, clock=context.clock):
        deeds.append(deed)
        _print_deed(deed, "dropped")
    _all_done(deeds)


def _look(context: "CliContext", stack: "Stack", limit: int) -> "Scan":
    from cli.services import dead_letter_queue

    seen = dead_letter_queue.look(stack.pairs(), most=limit, clock=context.clock)
    for missed in seen.missed:
        console(errors=True).print(NOTE, f"Not all could be seen. {missed}")
    return seen


def _print_payload(letter: "DeadLetter") -> None:
    from cli.services.dead_letter_queue import Payload

    if not isinstance(letter.content, Payload):
        raise CliError(f"{letter.name} holds no payload of a source; it is: {letter.what}.")
    if letter.content.cut:
        kept, whole = len(letter.content.payload), letter.content.characters
        typer.echo(f"Cut: a dead letter holds the first {kept} of {whole} characters of this payload.", err=True)
    if sys.stdout.isatty():
        console().print(plain(letter.content.payload, most=20_000), soft_wrap=True)
    else:  # To a file: byte for byte.
        sys.stdout.write(letter.content.payload)


def _print(context: "CliContext", shown: list["DeadLetter"]) -> None:
    rows = table("id", "what", "why", "attempts", "failed at", "age")
    now = context.clock()
    for letter in _oldest_first(shown):
        rows.add_row(
            plain(letter.name),
            plain(letter.what),
            plain(letter.code).append(": ").append(plain(letter.reason, most=160)),
            plain(letter.attempts),
            f"{letter.failed_at:%m-%d %H:%M}",
            age(now - letter.failed_at),
        )
    console().print(rows, soft_wrap=True)
    total = len(shown)
    console().print(f"{total} dead letter{'s' if total > 1 else ''}. Times are UTC; each is kept for 14 days.")


def _oldest_first(shown: list["DeadLetter"]) -> list["DeadLetter"]:
    return sorted(shown, key=lambda one: one.failed_at)


def _as_json(letter: "DeadLetter", row: "IntentRow | None" = None) -> dict[str, object]:
    """A letter for programs; the ledger's word where it was asked."""
    from cli.services.remedies import remedy_for

    return {
        "id": letter.name,
        "intent_id": letter.intent_id or None,
        "message_id": letter.message.id,
        "queue": letter.queue,
        "what": letter.what,
        "code": letter.code,
        "reason": letter.reason,
        "todo": remedy_for(letter.code),
        "attempts": letter.attempts,
        "sent_again": letter.message.redrive,
        "failed_at": letter.failed_at.isoformat(),
        "ledger": {"status": row.status, "reason": row.reason} if row else None,
    }


def _print_deed(deed: "ActionResult", done: str) -> None:
    out = console()
    mark, told = (YES, done) if deed.done else (NO, f"not {done}: {deed.remark}")
    out.print(mark, plain(deed.letter.name), plain(deed.letter.what), plain(told), soft_wrap=True)


def _outcomes(
    context: "CliContext",
    stack: "Stack",
    sent: list["DeadLetter"],
    before: "Mapping[str, IntentRow | None]",
    seconds: float,
) -> None:
    """Tell how each ended. The ledger is asked, not the API: it tells the old end from the new one."""
    from cli.services.dead_letter_queue import is_answered
    from lifecycle.domain.intent import DEAD

    open_ = {letter.name: letter for letter in sent if letter.intent_id}
    out = console()
    print_pauses(out, known_pauses(stack))
    left, failed = seconds, 0
    while open_:
        for name, letter in list(open_.items()):
            row = stack.intent(name)
            if row is None or not is_answered(letter, before.get(name), row):
                continue
            del open_[name]
            failed += row.status in DEAD
            mark = NO if row.status in DEAD else YES
            out.print(mark, plain(name), status_text(row.status), plain(row.reason), soft_wrap=True)
        if not open_ or left <= 0:
            break
        context.sleep(1)
        left -= 1
    for name in open_:
        out.print(NOTE, plain(name), "is still under way: ask `lifecycle status`", soft_wrap=True)
    if failed:
        raise CliError(f"{failed} failed again.")
    if open_:
        raise typer.Exit(Exit.PENDING)


def _all_done(deeds: list["ActionResult"]) -> None:
    left = sum(not deed.done for deed in deeds)
    if left:
        raise CliError(f"{left} of {len(deeds)} were left as they are.")


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
