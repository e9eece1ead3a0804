"""`lifecycle uninstall`: what deleting the stack leaves or what blocks it, and its removal."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, NOTE, RED, YES, as_json, byte_size, console, plain, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json, Region, StackName
from cli.ui.progress import spinner

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.footprint import Footprint, Piece, Remnant
    from cli.services.uninstall import Listing, Removal


def uninstall(
    ctx: typer.Context,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove the stack and what it leaves, after you typed its name.")
    ] = False,
    with_records: Annotated[
        bool,
        typer.Option("--with-records", help="With --delete: remove the audit trail, the ledger and its id key, too."),
    ] = False,
    with_exports: Annotated[
        bool,
        typer.Option("--with-exports", help="With --delete: remove the exports, the only copy of what was deleted."),
    ] = False,
    although_busy: Annotated[
        bool, typer.Option("--although-busy", help="With --delete: lose the work that is under way.")
    ] = False,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """List what deleting the stack leaves in the account and what blocks it, with sizes. With --delete, remove it.

    Without --delete it only reads. With it, you type the name of the stack first. What blocks the deletion goes first,
    then the stack, then what it leaves, and never anything that was not listed. Run it again to continue after an
    interruption. It needs the rights of a deployer.
    """
    from cli.services.uninstall import EVIDENCE, listing

    if not delete and (with_records or with_exports or although_busy):
        raise CliError("--with-records, --with-exports and --although-busy need --delete.", Exit.USAGE)
    context = context_of(ctx)
    name = stack or context.stack_name
    footprint = context.footprint(name, region or context.region)
    with spinner("counting what there is", json_=json_):
        found = listing(name, footprint, lambda: stack_of(ctx, stack, region), context.clock)
    asked = {"--with-records": with_records, "--with-exports": with_exports}
    evidence = {piece for piece, option in EVIDENCE.items() if asked[option]}
    if not json_:
        _show(console(), found)
    removals: list[Removal] = []
    if delete and not all(_is_kept(one, evidence) for one in found.remnants):
        _check(found, although_busy)
        _confirm(name, found, evidence)
        removals = _remove(footprint, found, evidence, json_=json_)
    if json_:
        as_json(_as_data(found, removals))
    elif not delete:
        _say_next(console(), found)
    if any(not one.done and one.remnant.piece not in set(EVIDENCE) - evidence for one in removals):
        raise typer.Exit(Exit.NOT_DONE)


def _check(found: "Listing", although_busy: bool) -> None:
    if found.unknown:
        parts = "; ".join(f"{part}: {reason}" for part, reason in found.unknown.items())
        raise CliError(f"Nothing was removed, because not everything could be listed. {parts}", Exit.UNREACHABLE)
    if found.busy and not although_busy:
        busy = "\n".join(f"  {text}" for text in found.busy)
        raise CliError(f"Nothing was removed, because the stack is busy:\n{busy}\n--although-busy removes it anyway.")


def _confirm(name: str, found: "Listing", evidence: "set[Piece]") -> None:
    kept = [one for one in found.remnants if _is_kept(one, evidence)]
    err = console(errors=True)
    count = len(found.remnants) - len(kept)
    err.print(f"{count} of {len(found.remnants)} pieces will be removed. This cannot be undone.", style=RED)
    err.print("Type the name of the stack to remove them:", end=" ")
    if sys.stdin.readline().strip() != name:  # A prompt of typer would write to stdout, where the JSON goes.
        raise CliError("That is not the name of the stack. Nothing was removed.")


def _is_kept(one: "Remnant", evidence: "set[Piece]") -> bool:
    from cli.services.uninstall import EVIDENCE

    return one.piece in EVIDENCE and one.piece not in evidence


def _remove(footprint: "Footprint", found: "Listing", evidence: "set[Piece]", *, json_: bool) -> "list[Removal]":
    from cli.services.uninstall import remove

    out, done = console(), []
    with spinner("removing", json_=json_) as show:
        for one in remove(footprint, found, evidence):
            done.append(one)
            show(f"removing: {one.remnant.piece.value} {one.remnant.name}")
            if not json_:
                said = f"removed: {_named(one.remnant)}" if one.done else f"{_named(one.remnant)}: {one.reason}"
                mark = YES if one.done else NOTE if _is_kept(one.remnant, evidence) else NO
                out.print(mark, plain(said, most=2000), soft_wrap=True)
    return done


def _show(out: "Console", found: "Listing") -> None:
    from cli.services.uninstall import EVIDENCE, Fate

    state = "deployed" if found.is_deployed else "deleted"
    out.print(plain(f"{found.name}: {state} ({found.status})"), style="bold", soft_wrap=True)
    for finding in found.findings:
        out.print(NO if finding.busy else NOTE, plain(finding.text), soft_wrap=True)
    rows = table("", "what", "name", "number", "size", "then")
    for one in found.remnants:
        fate = found.fate(one)
        mark = {Fate.BLOCKS: NO, Fate.GOES: YES, Fate.STAYS: NOTE}[fate]
        number = "" if one.count is None else f"{one.count:,}"
        size = "" if one.size is None else byte_size(one.size)
        only = f"; removed only with {EVIDENCE[one.piece]}" if one.piece in EVIDENCE else ""
        note = f"; {one.note}" if one.note else ""
        rows.add_row(mark, one.piece.value, plain(one.name), number, size, plain(f"{fate.value}{only}{note}"))
    if found.remnants:
        out.print(rows, soft_wrap=True)
    else:
        out.print(YES, "Nothing is left of it.")
    for part, reason in found.unknown.items():
        out.print(NOTE, plain(f"{part}: not known. {reason}"), soft_wrap=True)


def _say_next(out: "Console", found: "Listing") -> None:
    from cli.services.uninstall import EVIDENCE

    if not found.remnants:
        return
    # Where nothing else is left, --delete alone would remove nothing.
    needed = {EVIDENCE.get(one.piece, "") for one in found.remnants}
    options = "" if "" in needed else " ".join(("", *sorted(needed, reverse=True)))
    out.print(f"  Nothing was removed. To remove it: lifecycle uninstall --delete{options}", soft_wrap=True)


def _named(one: "Remnant") -> str:
    return f"{one.piece.value} {one.name}"


def _as_data(found: "Listing", removals: "list[Removal]") -> dict[str, object]:
    def data(one: "Remnant") -> dict[str, object]:
        known = {"kind": one.piece.value, "name": one.name, "of": one.of, "count": one.count, "bytes": one.size}
        return {**known, "note": one.note, "then": found.fate(one).value}

    return {
        "stack": found.name,
        "status": found.status,
        "deployed": found.is_deployed,
        "findings": [{"text": one.text, "busy": one.busy} for one in found.findings],
        "pieces": [data(one) for one in found.remnants],
        "unknown": found.unknown,
        "removed": [_named(one.remnant) for one in removals if one.done],
        "still_there": [{"what": _named(one.remnant), "reason": one.reason} for one in removals if not one.done],
    }
