"""`lifecycle dead-letters`: list messages that failed, send them again, or drop them."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.services.follow import poll
from cli.services.pauses import known_pauses, print_pauses
from cli.ui.console import NO, NOTE, YES, age, as_json, console, plain, status_text, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json, Region, StackName, Timeout, Wait, Yes
from cli.ui.progress import spinner, tracked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from cli.services.dead_letter_queue import ActionResult, DeadLetter, Scan
    from lifecycle.domain.intent import IntentRow

app = typer.Typer(
    no_args_is_help=True,
    help="List messages that failed, send them again, or drop them. Reads every dead-letter queue of the stack.",
)

Limit = Annotated[int, typer.Option("--limit", min=1, help="The most messages to read from each queue.")]
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="intent ids or message ids; a unique beginning is enough"),
]


@app.command("list")
def list_(
    ctx: typer.Context, limit: Limit = 1000, json_: Json = False, stack: StackName = None, region: Region = None
) -> None:
    """List the dead letters, and leave them in their queues. Other commands accept their ids as intent ids."""
    context = context_of(ctx)
    seen = _look(context, stack_of(ctx, stack, region), limit, json_=json_)
    if json_:
        as_json([_as_json(letter) for letter in _oldest_first(seen.letters)])
    elif seen.letters:
        _print(context, seen.letters)
    elif not seen.missed:
        console().print(YES, "There are no dead letters.")


@app.command()
def show(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="an intent id or a message id; a unique beginning is enough")],
    payload: Annotated[
        bool,
        typer.Option(
            "--payload", help="Print only the unchanged payload that no rule translates, for `lifecycle source try`."
        ),
    ] = False,
    limit: Limit = 1000,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show everything that is known about one dead letter, and what to do about it."""
    from cli.services import dead_letter_queue
    from cli.services.remedies import remedy_for

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    for letter in dead_letter_queue.choose(_look(context, target, limit, json_=json_).letters, [id]):
        if payload:
            _print_payload(letter)
            continue
        row = target.intent(letter.intent_id) if letter.intent_id else None
        if json_:
            as_json({**_as_json(letter, row), "body": letter.message.body})
            continue
        out = console()
        for name, value in (
            ("intent", letter.intent_id or "none: this is not a command"),
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
    all_: Annotated[
        bool, typer.Option("--all", help="All dead letters except poison, which must be named by its message id.")
    ] = False,
    code: Annotated[
        str | None, typer.Option("--code", help="Dead letters with this code, such as attempts_exhausted.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = 120,
    yes: Yes = False,
    limit: Limit = 1000,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Send dead letters back to their queue. Repeating this is safe: no command has a second effect."""
    from cli.services import dead_letter_queue

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    if (bool(ids) + all_ + bool(code)) != 1:
        raise CliError("Choose dead letters in one way: by ids, by --all or by --code.", Exit.USAGE)
    seen = _look(context, target, limit)
    if ids:
        chosen = dead_letter_queue.choose(seen.letters, ids)
    else:
        meant = [one for one in seen.letters if all_ or one.code == code]
        chosen = [one for one in meant if one.is_sound]
        payloads = sum(one.is_payload for one in meant)
        poison = len(meant) - len(chosen) - payloads
        if poison:
            console().print(
                NOTE, f"Not sent, because they are not commands: {poison}. To send them anyway, give their message ids."
            )
        if payloads:
            message = f"Not sent, because sources.toml could not translate them: {payloads}. {dead_letter_queue.REPLAY}"
            console().print(NOTE, message, soft_wrap=True)
    if not chosen:
        console().print(YES, "There are no dead letters to send again.")
        return
    if not yes:
        _print(context, chosen)
        typer.confirm(f"Send {len(chosen)} again?", abort=True)
    before = {one.name: target.intent(one.intent_id) for one in chosen if one.intent_id} if wait else {}
    acting = dead_letter_queue.send_again(target.pairs(), chosen, most=limit, clock=context.clock)
    results = _carried_out(tracked(acting, "sending again", len(chosen)), "sent again")
    if wait:
        _outcomes(context, target, [result.letter for result in results if result.done], before, timeout)
    _all_done(results)


@app.command()
def drop(
    ctx: typer.Context,
    ids: Ids = None,
    code: Annotated[str | None, typer.Option("--code", help="Dead letters with this code, such as poison.")] = None,
    limit: Limit = 1000,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Delete dead letters permanently: their commands are never carried out. Asks for confirmation."""
    from cli.services import dead_letter_queue

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    if bool(ids) == bool(code):
        raise CliError("Choose dead letters in one way: by ids or by --code.", Exit.USAGE)
    seen = _look(context, target, limit)
    chosen = dead_letter_queue.choose(seen.letters, ids) if ids else [one for one in seen.letters if one.code == code]
    if not chosen:
        console().print(YES, "There are no dead letters to drop.")
        return
    _print(context, chosen)
    those = "it" if len(chosen) == 1 else f"all {len(chosen)}"
    typer.confirm(f"A dropped command is never carried out and cannot be recovered. Drop {those}?", abort=True)
    acting = dead_letter_queue.drop(target.pairs(), chosen, most=limit, clock=context.clock)
    results = _carried_out(tracked(acting, "dropping", len(chosen)), "dropped")
    _all_done(results)


def _look(context: "CliContext", stack: "Stack", limit: int, *, json_: bool = False) -> "Scan":
    from cli.services import dead_letter_queue

    with spinner("reading the dead-letter queues", json_=json_):
        seen = dead_letter_queue.look(stack.pairs(), most=limit, clock=context.clock)
    for missed in seen.missed:
        console(errors=True).print(NOTE, f"Not all dead letters were read. {missed}")
    return seen


def _print_payload(letter: "DeadLetter") -> None:
    from lifecycle.intake.kept import KeptDelivery

    if not isinstance(letter.content, KeptDelivery):
        raise CliError(f"{letter.name} is not a payload of a source. It is: {letter.what}.")
    if not letter.content.is_whole:
        kept, whole = len(letter.content.payload), letter.content.characters
        typer.echo(
            f"The payload was cut: a dead letter holds the first {kept} of {whole} characters of this payload.",
            err=True,
        )
    if sys.stdout.isatty():
        console().print(plain(letter.content.text(), most=20_000), soft_wrap=True)
    else:  # A file or a pipe gets the payload as the source sent it, decompressed.
        sys.stdout.write(letter.content.text())


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
    console().print(f"{total} dead letter{'s' if total > 1 else ''}. Times are UTC. Each is kept for 14 days.")


def _oldest_first(shown: list["DeadLetter"]) -> list["DeadLetter"]:
    return sorted(shown, key=lambda one: one.failed_at)


def _as_json(letter: "DeadLetter", row: "IntentRow | None" = None) -> dict[str, object]:
    """Return a dead letter as JSON fields, with its ledger row if the ledger was read."""
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


def _carried_out(acting: "Iterator[ActionResult]", done: str) -> list["ActionResult"]:
    """Carry out all actions, then print each result, also after an interruption."""
    results: list[ActionResult] = []
    try:
        results.extend(acting)
    finally:
        for result in results:
            _print_result(result, done)
    return results


def _print_result(result: "ActionResult", done: str) -> None:
    out = console()
    mark, text = (YES, done) if result.done else (NO, f"not {done}: {result.remark}")
    out.print(mark, plain(result.letter.name), plain(result.letter.what), plain(text), soft_wrap=True)


def _outcomes(
    context: "CliContext",
    stack: "Stack",
    sent: list["DeadLetter"],
    before: "Mapping[str, IntentRow | None]",
    seconds: float,
) -> None:
    """Print how each command ended. This reads the ledger, not the API, to tell the old outcome from the new one."""
    from cli.services.dead_letter_queue import is_answered
    from lifecycle.domain.intent import DEAD

    open_ = {letter.name: letter for letter in sent if letter.intent_id}
    out, failed = console(), 0
    print_pauses(out, known_pauses(stack))

    def look() -> bool:
        nonlocal failed
        for name, letter in list(open_.items()):
            row = stack.intent(name)
            if row is None or not is_answered(letter, before.get(name), row):
                continue
            del open_[name]
            failed += row.status in DEAD
            mark = NO if row.status in DEAD else YES
            out.print(mark, plain(name), status_text(row.status), plain(row.reason), soft_wrap=True)
        return not open_

    poll(context, look, seconds=seconds, every=1, description="waiting for the outcomes")
    for name in open_:
        out.print(NOTE, plain(name), "is still in progress. See `lifecycle status`.", soft_wrap=True)
    if failed:
        raise CliError(f"{failed} failed again.")
    if open_:
        raise typer.Exit(Exit.PENDING)


def _all_done(results: list["ActionResult"]) -> None:
    left = sum(not result.done for result in results)
    if left:
        raise CliError(f"{left} of {len(results)} stayed where they are.")


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
