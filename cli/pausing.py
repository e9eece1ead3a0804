"""`lifecycle pause` and `lifecycle resume`: stop all work on an organization but restores, at once, and go on."""

import getpass
from collections.abc import Mapping
from typing import Annotated

import typer

from cli.options import Region, StackName, stack_of
from cli.screen import NOTE, YES, console, plain
from cli.trouble import Trouble

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
    said = " ".join(reason.split())[:200]
    if not said:
        raise Trouble("Say why: --reason must not be blank.")
    target, out = stack_of(ctx, stack, region), console()
    pacing = target.pacing()
    for org_id in _meant(target.outputs(), org):
        pacing.pause(org_id, by=f"{getpass.getuser()} ({said})", caller=target.caller())
        out.print(YES, "paused:", plain(org_id), soft_wrap=True)
    out.print("  A call that has begun is finished. `lifecycle resume` goes on.")


def resume(ctx: typer.Context, org: Org = None, stack: StackName = None, region: Region = None) -> None:
    """End a pause. What waited comes back within the hour; what is asked for from now on goes on at once."""
    target, out = stack_of(ctx, stack, region), console()
    pacing = target.pacing()
    for org_id in _meant(target.outputs(), org):
        by = pacing.paused_by(org_id)
        pacing.resume(org_id, caller=target.caller())
        out.print(YES if by else NOTE, f"resumed, was paused by {by}:" if by else "was not paused:", plain(org_id))


def _meant(outputs: Mapping[str, str], org: str | None) -> list[str]:
    """The organizations meant; one that is not the stack's is refused, so that no pause is set where nobody looks."""
    known = [org_id for org_id in outputs.get("OrganizationIds", "").split(",") if org_id]
    if org is None:
        return known
    if org.strip() not in known:
        raise Trouble(f"Organization {org.strip()} is not one of this stack's: {', '.join(known)}.")
    return [org.strip()]
