"""`lifecycle pause` and `lifecycle resume`: stop all work on an organization but restores, at once, and go on."""

import getpass
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from cli.ui.console import NOTE, YES, console, plain
from cli.ui.errors import CliError, Exit, trouble_in
from cli.ui.options import Region, StackName, stack_of

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.stack import Stack

Org = Annotated[
    str | None, typer.Option("--org", envvar="LIFECYCLE_ORG", help="One organization. (default: all of the stack's)")
]


def pause(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Shown to everyone whose command waits.")],
    org: Org = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Stop everything but restores, sweeps too, until `resume`. What is asked for meanwhile waits in its queue."""
    from cli.clients.stack import organizations_of

    said = " ".join(reason.split())[:200]
    if not said:
        raise CliError("Say why: --reason must not be blank.", Exit.USAGE)
    target, out = stack_of(ctx, stack, region), console()
    pacing = target.pacing()
    for org_id in organizations_of(target, org):
        pacing.pause(org_id, by=f"{getpass.getuser()} ({said})", caller=target.caller())
        out.print(YES, "paused:", plain(org_id), soft_wrap=True)
    out.print("  A call that has begun is finished. `lifecycle resume` goes on.")


def resume(ctx: typer.Context, org: Org = None, stack: StackName = None, region: Region = None) -> None:
    """End a pause. What waited comes back within the hour; what is asked for from now on goes on at once."""
    from cli.clients.stack import organizations_of

    target, out = stack_of(ctx, stack, region), console()
    pacing = target.pacing()
    for org_id in organizations_of(target, org):
        by = pacing.paused_by(org_id)
        pacing.resume(org_id, caller=target.caller())
        out.print(YES if by else NOTE, f"resumed, was paused by {by}:" if by else "was not paused:", plain(org_id))


def pauses(stack: "Stack", org_ids: Iterable[str]) -> Mapping[str, str]:
    """Which of these organizations are paused: each with who paused it, and why."""
    pacing = stack.pacing()
    found = {org_id: pacing.paused_by(org_id) for org_id in org_ids}
    return {org_id: by for org_id, by in found.items() if by}


def pauses_if_told(stack: "Stack", org_ids: Iterable[str] | None = None) -> Mapping[str, str]:
    """As `pauses`, of all the stack's organizations if none is named; empty where AWS cannot be asked."""
    from cli.clients.stack import organizations_of

    try:
        return pauses(stack, organizations_of(stack, None) if org_ids is None else org_ids)
    except Exception as error:
        if trouble_in(error) is None:
            raise
        return {}


def tell_pauses(out: "Console", found: Mapping[str, str]) -> None:
    """Say that nothing goes on in these organizations, whoever waits for it."""
    for org_id, by in found.items():
        out.print(NOTE, plain(f"Organization {org_id} is paused by {by}."), soft_wrap=True)
    if found:
        out.print("  Only restores are carried out. To go on: lifecycle resume", soft_wrap=True)
