"""`lifecycle pause` and `lifecycle resume`: stop all work on an organization except restores, and continue it."""

import getpass
from typing import Annotated

import typer

from cli.clients.context import stack_of
from cli.ui.console import NOTE, YES, console, plain
from cli.ui.options import Orgs, Region, StackName, reason_in

_MOST_REASON = 200


def pause(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="The reason, shown to everyone whose command waits.")],
    org: Orgs = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Stop everything except restores until `resume`, sweeps included. Commands wait in their queues."""
    from cli.clients.stack import organizations_of

    why = reason_in(reason, most=_MOST_REASON)
    target, out = stack_of(ctx, stack, region), console()
    pacing = target.pacing()
    for org_id in organizations_of(target, org):
        pacing.pause(org_id, by=f"{getpass.getuser()} ({why})", caller=target.caller())
        out.print(YES, "paused:", plain(org_id), soft_wrap=True)
    out.print("  A call to Tallyfy that has already begun will finish. To continue: lifecycle resume")


def resume(ctx: typer.Context, org: Orgs = None, stack: StackName = None, region: Region = None) -> None:
    """End a pause. Waiting commands are tried again within an hour. New commands start at once."""
    from cli.clients.stack import organizations_of

    target, out = stack_of(ctx, stack, region), console()
    pacing = target.pacing()
    for org_id in organizations_of(target, org):
        by = pacing.paused_by(org_id)
        pacing.resume(org_id, caller=target.caller())
        out.print(YES if by else NOTE, f"resumed. It was paused by {by}:" if by else "was not paused:", plain(org_id))
