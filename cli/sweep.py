"""`lifecycle sweep`: start a sweep now, and see how far one has come."""

import json
import secrets
from typing import Annotated

import typer

from cli.options import Region, StackName, stack_of, world_of
from cli.screen import NOTE, YES, console, plain, table
from cli.trouble import Exit, Trouble

app = typer.Typer(
    no_args_is_help=True,
    help="Start a sweep now, and see how far one has come. Whether it only reports is the stack's SweepMode.",
)


@app.command()
def start(ctx: typer.Context, stack: StackName = None, region: Region = None) -> None:
    """Start a sweep of every organization, as the schedule does each night."""
    from lifecycle.usecases.sweep import Errand

    world, target = world_of(ctx), stack_of(ctx, stack, region)
    queue = next((pair.origin for pair in target.pairs() if pair.name == "sweeps"), None)
    if queue is None:
        raise Trouble(f"Stack '{target.name}' has no sweeps queue. Deploy this release.", Exit.UNREACHABLE)
    # Never the name of a night: the ledger would take this one for a copy of it.
    sweep_id = f"{world.clock():%Y-%m-%dT%H:%M:%SZ}-by-hand-{secrets.token_hex(3)}"
    queue.send(Errand(sweep_id=sweep_id).model_dump_json())
    out = console()
    out.print(YES, f"started, mode {target.parameters().get('SweepMode', 'unknown')}")
    out.print(f"  sweep  {sweep_id}", soft_wrap=True)
    out.print(f"  lifecycle sweep show {sweep_id}", soft_wrap=True)


@app.command()
def show(
    ctx: typer.Context,
    sweep_id: Annotated[str, typer.Argument(help="as `start` gave it; the scheduled time, for a nightly one")],
    org: Annotated[
        str | None,
        typer.Option("--org", envvar="LIFECYCLE_ORG", help="One organization. (default: all of the stack's)"),
    ] = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show how far a sweep has come: what it saw, what is due, and why the rest is kept."""
    from cli.aws import output_of
    from lifecycle.usecases.budget import CALLS

    target = stack_of(ctx, stack, region)
    name = sweep_id.strip()
    organizations = [org.strip()] if org else output_of(target, "OrganizationIds").split(",")
    per_minute = int(target.parameters().get("RatePerMinute", "100"))
    found = [(org_id, row) for org_id in organizations if (row := target.sweep(name, org_id)) is not None]
    if not found:
        raise Trouble(f"The ledger knows no sweep {name}: it has not begun, or it is more than 30 days old.")
    out = console()
    for org_id, row in found:
        out.print(YES if row.done else NOTE, "finished:" if row.done else "under way:", plain(org_id), soft_wrap=True)
        shown = table("what", "number", "")
        shown.add_row("seen", str(row.seen), f"{row.listed} of {row.pages} pages read")
        kinds: dict[str, int] = json.loads(row.kinds)
        for kind, number in sorted(kinds.items(), key=lambda pair: -pair[1]):
            shown.add_row(plain(f"  {kind}"), str(number), "")
        sent = "handed to the bulk queue" if row.sent else "only reported so far" if row.due else ""
        minutes = -(-row.due * CALLS // per_minute)
        estimate = f"about {minutes} min at {per_minute} calls a minute; {sent}" if row.due else ""
        shown.add_row("due", str(row.due), estimate)
        out.print(shown)
    if not all(row.done for _, row in found):
        raise typer.Exit(Exit.PENDING)
