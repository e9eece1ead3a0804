"""`lifecycle hold`: protect things from being archived or deleted until the hold is removed."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, table
from cli.ui.errors import CliError, Exit, expected_error
from cli.ui.ids import id_in, kind_in
from cli.ui.options import Json, Org, Region, StackName, Yes, reason_in

if TYPE_CHECKING:
    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.domain.capabilities import Resource
    from lifecycle.holds.store import HoldKind, HoldStore

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

_MOST_CASE = 100
_MOST_SHOWN = 20
_KINDS = "process (run), task, tag, template (checklist, blueprint) or owner (user)"
_NAMES = "its id, or a link copied from the browser; a user's number"
Kind = Annotated[str, typer.Argument(help=_KINDS)]
Name = Annotated[str, typer.Argument(metavar="ID", help=_NAMES)]
Case = Annotated[str, typer.Option("--case", help='The case that the hold belongs to, such as "Audit 2026".')]


@app.command()
def add(
    ctx: typer.Context,
    kind: Kind,
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="The reason, shown to everyone whom the hold stops.")],
    case: Case = "",
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
    target.holds().add(org_id, held, called, reason=why, by=target.caller(), case=_case_in(case))
    out.print(YES, "on hold:", plain(_in_words(f"{held}#{called}")), soft_wrap=True)
    if remark := _REMARKS.get(held):
        out.print(f"  {remark}", soft_wrap=True)
    out.print("  A call to Tallyfy that has already begun will finish.", soft_wrap=True)


@app.command("list")
def list_(
    ctx: typer.Context,
    case: Case = "",
    org: Org = None,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """List the things on hold, with the reason, the case, the time and the person who set it."""
    from cli.clients.stack import one_organization

    target = stack_of(ctx, stack, region)
    org_id = one_organization(target, org)
    holds = [hold for hold in target.holds().holds(org_id) if not case or _case_in(case) in hold.cases]
    if json_:
        as_json([asdict(hold) for hold in holds])
        return
    if not holds and case:
        console().print(
            NOTE, plain(f"No hold of this organization belongs to case '{_case_in(case)}'."), soft_wrap=True
        )
        return
    if not holds:
        console().print(YES, "Nothing is on hold.", "Hold tags of policy.toml are not listed here.")
        return
    rows = table("on hold", "why", "case", "by", "since")
    for hold in holds:
        since = f"{hold.since:%Y-%m-%d %H:%M} UTC" if hold.since else "unknown"
        cases = ", ".join(name or "none" for name in hold.cases)
        rows.add_row(plain(_in_words(hold.key)), plain(hold.reason), plain(cases), plain(hold.by or "unknown"), since)
    console().print(rows, soft_wrap=True)


@app.command()
def remove(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Argument(help=_KINDS)] = None,
    name: Annotated[str | None, typer.Argument(metavar="ID", help=_NAMES)] = None,
    case: Case = "",
    policy: Annotated[
        Path | None, typer.Option("--policy", help="(default: layers/config/policy.toml)", exists=True, dir_okay=False)
    ] = None,
    yes: Yes = False,
    org: Org = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Remove a hold, or with --case alone all holds of a case, after it has shown what would become due.

    What another case holds stays on hold. Commands that a hold rejected are not carried out then: send them again.
    """
    from cli.clients.stack import one_organization

    context, target, out = context_of(ctx), stack_of(ctx, stack, region), console()
    org_id, wanted = one_organization(target, org), _case_in(case)
    if kind is None and not wanted:
        raise CliError("Name the thing by its kind and id, or the case by --case.", Exit.USAGE)
    if kind is not None:
        if name is None:
            raise CliError("Give the id of the thing as well.", Exit.USAGE)
        held, called = _named(kind, name, org_id)
        _remove(target, org_id, [f"{held}#{called}"], wanted)
        return
    keys = [hold.key for hold in target.holds().holds(org_id) if wanted in hold.cases]
    if not keys:
        out.print(NOTE, plain(f"No hold of this organization belongs to case '{wanted}'."), soft_wrap=True)
        return
    _show_due(context, target, org_id, wanted, policy)
    if not yes:
        count = "the only hold" if len(keys) == 1 else f"{len(keys)} holds"
        typer.confirm(f"Remove {count} of case '{wanted}'?", abort=True)
    _remove(target, org_id, keys, wanted)


def _remove(target: "Stack", org_id: str, keys: "list[str]", case: str) -> None:
    """End what one case holds, and say of each what holds it now. Exit 1 if something could not be removed."""
    store, by = target.holds(), target.caller()
    removed = {key: _lift(store, org_id, key, case=case, by=by) for key in keys}
    # Read once, after all of them: for each, what is said is what stands now.
    standing = {hold.key: hold.cases for hold in store.holds(org_id)}
    for key, there_was in removed.items():
        if there_was is None:
            text = f"not removed, because a newer release made it: {key}. Remove it with that release."
            console().print(NO, plain(text), soft_wrap=True)
        elif key in standing:
            cases = ", ".join(one or "without a case" for one in standing[key])
            done = "removed, but still" if there_was else "not removed. It is"
            console().print(NOTE, plain(f"{done} on hold ({cases}): {_in_words(key)}"), soft_wrap=True)
        else:
            mark, text = (YES, "no longer on hold:") if there_was else (NOTE, "was not on hold:")
            console().print(mark, text, plain(_in_words(key)), soft_wrap=True)
    if any(not there_was and key in standing for key, there_was in removed.items()):
        raise typer.Exit(Exit.NOT_DONE)


def _lift(store: "HoldStore", org_id: str, key: str, *, case: str, by: str) -> bool | None:
    """End what a case holds; whether there was such a hold. ``None``: the key is of a kind unknown to this release."""
    from lifecycle.domain.capabilities import Resource

    kind, _, name = key.partition("#")
    if kind == _OWNER:
        return store.lift(org_id, "owner", name, by=by, case=case)
    resource = next((known for known in Resource if known == kind), None)
    return None if resource is None else store.lift(org_id, resource, name, by=by, case=case)


def _show_due(context: "CliContext", target: "Stack", org_id: str, case: str, policy: Path | None) -> None:
    from cli.services.cases import due_without
    from cli.services.config_files import declared_policy

    out = console()
    plan, entries = due_without(target, org_id, case, declared_policy(policy), context.clock())
    if plan is None:
        out.print(NOTE, "There is no plan yet, so what would become due is not known.")
        return
    count = "1 thing" if len(entries) == 1 else f"{len(entries)} things"
    out.print(plain(f"Without this case the policy would act on {count} of plan {plan.hash[:12]}:"))
    for thing, decision in entries[:_MOST_SHOWN]:
        line = f"  {decision.action} {thing.resource.label} '{thing.name or thing.id}' {thing.id}: {decision.reason}"
        out.print(plain(line), soft_wrap=True)
    if len(entries) > _MOST_SHOWN:
        out.print(f"  … and {len(entries) - _MOST_SHOWN} more")


def _case_in(text: str) -> str:
    """The name of a case, on one line."""
    from lifecycle.domain.commands import one_line

    return one_line(text, most=_MOST_CASE) if text.strip() else ""


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
