"""`lifecycle hold`: protect things from being archived or deleted until the hold is removed."""

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NOTE, YES, as_json, console, plain, table
from cli.ui.errors import CliError, Exit, expected_error
from cli.ui.ids import id_in, kind_in
from cli.ui.options import Json, Org, Region, StackName, reason_in

if TYPE_CHECKING:
    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.domain.capabilities import Resource
    from lifecycle.holds.store import HoldKind

app = typer.Typer(
    no_args_is_help=True,
    help="Put things on hold. Nobody can archive or delete them then. Restoring them stays possible.",
)

_OWNER = "owner"
_OWNER_WORDS = (_OWNER, "user")
_REMARKS = {
    "template": "The hold covers the template and all its processes.",
    "tag": "The hold covers the tag, not the things that carry it. For those, add the tag to hold_tags in policy.toml.",
    _OWNER: "The hold covers every process, one-off task and template of this user, and those without a known owner. "
    "The command did not check that this user exists.",
}
_MOST_REASON = 500
_RATE = 100

Kind = Annotated[str, typer.Argument(help="process (run), task, tag, template (checklist, blueprint) or owner (user)")]
Name = Annotated[str, typer.Argument(metavar="ID", help="its id, or a link copied from the browser; a user's number")]


@app.command()
def add(
    ctx: typer.Context,
    kind: Kind,
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="The reason, shown to everyone whom the hold stops.")],
    force: Annotated[bool, typer.Option("--force", help="Do not check that the thing exists in Tallyfy.")] = False,
    org: Org = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Put a hold on a thing, or change the reason of one. It takes effect now and does not expire.

    If Tallyfy does not show the thing, the command asks first. If Tallyfy cannot be reached, the hold is set anyway.
    """
    why = reason_in(reason, most=_MOST_REASON)
    from cli.clients.stack import one_organization

    context, target, out = context_of(ctx), stack_of(ctx, stack, region), console()
    org_id = one_organization(target, org)
    held, called = _named(kind, name, org_id)
    if not force and held != "owner":
        _ask_if_missing(context, target, org_id, held, called)
    target.holds().add(org_id, held, called, reason=why, by=target.caller())
    out.print(YES, "on hold:", plain(_in_words(f"{held}#{called}")), soft_wrap=True)
    if remark := _REMARKS.get(held):
        out.print(f"  {remark}", soft_wrap=True)
    out.print("  A call to Tallyfy that has already begun will finish.", soft_wrap=True)


@app.command("list")
def list_(
    ctx: typer.Context, org: Org = None, json_: Json = False, stack: StackName = None, region: Region = None
) -> None:
    """List the things on hold, with the reason, the time and the person who set it."""
    from cli.clients.stack import one_organization

    target = stack_of(ctx, stack, region)
    org_id = one_organization(target, org)
    holds = target.holds().holds(org_id)
    if json_:
        as_json([asdict(hold) for hold in holds])
        return
    if not holds:
        console().print(YES, "Nothing is on hold.", "Hold tags of policy.toml are not listed here.")
        return
    rows = table("on hold", "why", "by", "since")
    for hold in holds:
        since = f"{hold.since:%Y-%m-%d %H:%M} UTC" if hold.since else "unknown"
        rows.add_row(plain(_in_words(hold.key)), plain(hold.reason), plain(hold.by or "unknown"), since)
    console().print(rows, soft_wrap=True)


@app.command()
def remove(
    ctx: typer.Context, kind: Kind, name: Name, org: Org = None, stack: StackName = None, region: Region = None
) -> None:
    """Remove a hold. Commands that the hold rejected are not carried out then: send them again."""
    from cli.clients.stack import one_organization

    target = stack_of(ctx, stack, region)
    org_id = one_organization(target, org)
    held, called = _named(kind, name, org_id)
    there_was = target.holds().lift(org_id, held, called, by=target.caller())
    mark, text = (YES, "no longer on hold:") if there_was else (NOTE, "was not on hold:")
    console().print(mark, text, plain(_in_words(f"{held}#{called}")), soft_wrap=True)


def _ask_if_missing(context: "CliContext", target: "Stack", org_id: str, held: "Resource", called: str) -> None:
    """Check that the thing exists. A hold on a mistyped id would protect nothing, but look as if it did."""
    from cli.clients.tallyfy_reader import TallyfyReader, access_of

    try:
        reader = TallyfyReader(
            context.session(),
            access_of(target, org_id),
            per_minute=_RATE,
            clock=context.clock,
            sleep=context.sleep,
            tell=lambda _: None,
        )
        there = reader.tallyfy.look(org_id, held, called) is not None
    except Exception as error:
        expected = expected_error(error)
        if expected is None:
            raise
        console(errors=True).print(
            NOTE, plain(f"The command could not check that the thing exists. {expected}"), soft_wrap=True
        )
        return
    if not there:
        question = f"Tallyfy shows no {held.label} {called} in organization {org_id}. Check its kind and its id."
        typer.confirm(f"{question} Put it on hold anyway?", abort=True)


def _named(kind: str, name: str, org_id: str) -> "tuple[HoldKind, str]":
    """Return the kind and the id as the ledger writes them."""
    if kind.strip().lower() in _OWNER_WORDS:
        if not re.fullmatch(r"[0-9]{1,18}", name.strip()):
            raise CliError("Give the number of the user, such as 1001.", Exit.USAGE)
        return "owner", str(int(name.strip()))
    return kind_in(kind, besides=_OWNER_WORDS), id_in(name, org_id=org_id)


def _in_words(key: str) -> str:
    """Describe a key in words. Return an unknown one unchanged."""
    from lifecycle.domain.capabilities import Resource

    held, _, name = key.partition("#")
    if held == "template":
        return f"template {name} and all its processes"
    if held == _OWNER:
        return f"everything of owner {name}"
    resource = Resource.named(held)
    return f"{resource.label} {name}" if resource else key
