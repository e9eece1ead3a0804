"""`lifecycle probe`: find out from a live Tallyfy what its documents leave open."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import BaseUrl, Json, Org, Region, StackName, TokenFile

if TYPE_CHECKING:
    from cli.services.probe import Fact, Journal


def probe(
    ctx: typer.Context,
    org: Org = None,
    again: Annotated[
        str | None,
        typer.Option(
            "--again", metavar="ID", help="The organization's id once more, because the probe creates things in it."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", dir_okay=False, help="The file for the facts, which `make simulator FACTS=` reads.")
    ] = Path("facts.json"),
    journal: Annotated[
        Path,
        typer.Option(
            "--journal", dir_okay=False, help="The file that lists what the probe has created and not removed yet."
        ),
    ] = Path("probe-journal.json"),
    clean: Annotated[
        bool, typer.Option("--clean", help="Only remove what an earlier probe left, as listed in its journal.")
    ] = False,
    token_file: TokenFile = None,
    base_url: BaseUrl = None,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Find out from a live Tallyfy what its documents leave open. Creates and removes a task, a process and a tag.

    Name the organization twice: --org and --again. The token must be an admin's. The probe changes only what it
    created. If it is interrupted, its journal lists what is left: run it again with --clean.
    """
    from cli.clients.tallyfy_calls import GAP
    from cli.clients.tallyfy_reader import access, calls_of
    from cli.services.probe import Journal, Probe, ProbeClient, Workshop, facts_file, remove

    context = context_of(ctx)
    what = access(ctx, org, token_file, base_url, stack, region)
    if again is None or again.strip() != what.org_id:
        raise CliError(
            f"The probe creates and deletes things in organization {what.org_id}. Name it twice: --again {what.org_id}",
            Exit.USAGE,
        )
    errors = console(errors=True)
    client = ProbeClient(calls_of(context, what, gap=GAP), what.org_id)
    written = Journal(journal)
    if clean:
        remove(client, written)
        _say_what_is_left(written)
        return
    if written.left:
        _say_what_is_left(written)
    facts: list[Fact] = []
    try:
        shop = Workshop(
            client, written, context.clock, tell=lambda line: errors.print(NOTE, plain(line), soft_wrap=True)
        )
        facts.extend(Probe(shop).run())
    finally:
        if written.left:
            errors.print(NO, f"Not everything was removed. {journal} lists what is left.", soft_wrap=True)
    out.write_text(facts_file(what.org_id, context.clock(), facts), encoding="utf-8")
    if json_:
        as_json([{"fact": one.name, "expected": one.expected, "seen": one.seen, "agrees": one.agrees} for one in facts])
    else:
        rows = table("", "fact", "expected", "seen")
        for one in facts:
            rows.add_row(YES if one.agrees else NO, plain(one.name), plain(one.expected), plain(one.seen))
        console().print(rows, soft_wrap=True)
        console().print(f"The facts were written to {out}. To replay them: make simulator FACTS={out}", soft_wrap=True)
    differ = sum(not one.agrees for one in facts)
    if differ or written.left:
        raise CliError(f"{differ} of {len(facts)} facts differ from what this release expects.")


def _say_what_is_left(journal: "Journal") -> None:
    things = ", ".join(f"{one['kind']} {one['title']!r} {one['id']}".strip() for one in journal.left.values())
    if journal.left:
        raise CliError(
            f"An earlier probe left these things: {things}. Remove them with --clean, or by hand in Tallyfy."
        )
    console().print(YES, "Nothing is left of an earlier probe.")
