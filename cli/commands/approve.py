"""`lifecycle approvals`, `approve`, `withdraw` and `reject`: what cannot be undone needs the word of somebody else.

Who that is, AWS says: each call is signed with the operator's own credentials, and people.toml knows them by their ARN.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.ui.console import NOTE, YES, age, as_json, console, plain, table
from cli.ui.errors import CliError, trouble_in
from cli.ui.options import ApiUrl, Json, Region, StackName, Yes, reason_in, stack_of, world_of

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.signed_api import ApprovalView
    from cli.clients.stack import Stack
    from lifecycle.domain.capabilities import Capability
    from lifecycle.plans.plan_file import Plan

_MOST_REASON = 200
_MOST_NAMES = 20

Hash = Annotated[
    str, typer.Argument(metavar="HASH", help="the request's, as `lifecycle approvals` shows it: the first 12 at least")
]


def approvals(
    ctx: typer.Context, json_: Json = False, api_url: ApiUrl = None, stack: StackName = None, region: Region = None
) -> None:
    """List what waits for an approval that you may give. What you asked for yourself somebody else must approve."""
    from cli.clients.signed_api import SHOWN, signed_api

    world = world_of(ctx)
    waiting = signed_api(world, stack_of(ctx, stack, region), api_url).waiting()
    if json_:
        as_json([wanted.model_dump(mode="json") for wanted in waiting])
        return
    if not waiting:
        console().print(YES, "Nothing waits for your approval.")
        return
    shown = table("hash", "what", "title", "asked by", "approvals", "lapses")
    for wanted in waiting:
        left = age(wanted.lapses_at - world.clock())
        shown.add_row(
            wanted.hash[:SHOWN],
            plain(_kind(wanted)),
            plain(_title(wanted), most=100),
            plain(wanted.asked_by, most=100),
            f"{len(wanted.approved_by)} of {wanted.needed}",
            f"{_day(wanted.lapses_at)}, in {left}",
        )
    console().print(shown, soft_wrap=True)
    console().print("  to see it and to approve it  lifecycle approve HASH")


def approve(
    ctx: typer.Context,
    name: Hash,
    yes: Yes = False,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show exactly what would be done, and approve it under your own AWS identity."""
    from cli.clients.signed_api import signed_api

    world, target = world_of(ctx), stack_of(ctx, stack, region)
    api = signed_api(world, target, api_url)
    wanted = api.find(name)
    out = console()
    _show(out, wanted, world.clock())
    _must_be_open(wanted)
    if not yes:
        typer.confirm("Approve exactly this?", abort=True)
    grace = _grace(target, wanted)  # Before: nothing is asked of AWS once it is approved.
    after = api.approve(wanted.hash)
    out.print(YES, f"approved: {len(after.approved_by)} of {after.needed}")
    missing = after.needed - len(after.approved_by)
    if missing > 0:
        more = f"{missing} more {'person' if missing == 1 else 'people'}"
        out.print(f"  It needs the approval of {more} until {_day(after.lapses_at)}.", soft_wrap=True)
    else:
        _say_what_comes(out, after, grace, world.clock())
    _say_how_to_follow(out, after)


def reject(
    ctx: typer.Context,
    name: Hash,
    reason: Annotated[str, typer.Option("--reason", help="Told to whoever asked, and kept.")],
    yes: Yes = False,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show exactly what was asked for, and end it. Whoever asked may do so, too."""
    from cli.clients.signed_api import signed_api

    said = reason_in(reason, most=_MOST_REASON)
    world, target = world_of(ctx), stack_of(ctx, stack, region)
    api = signed_api(world, target, api_url)
    wanted = api.find(name)
    out = console()
    _show(out, wanted, world.clock())
    _must_be_open(wanted)
    if not yes:
        typer.confirm("Reject it?", abort=True)
    api.reject(wanted.hash, said)
    out.print(YES, "rejected:", plain(said), soft_wrap=True)
    out.print("  That is final. If it is meant after all, ask for it again.", soft_wrap=True)
    _say_how_to_follow(out, wanted)


def withdraw(
    ctx: typer.Context,
    name: Hash,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Take your own approval back. It counts until the call to Tallyfy is sent."""
    from cli.clients.signed_api import signed_api

    api = signed_api(world_of(ctx), stack_of(ctx, stack, region), api_url)
    after = api.withdraw(api.find(name).hash)
    out = console()
    out.print(YES, f"withdrawn: {len(after.approved_by)} of {after.needed} approvals are left")
    out.print(f"  It waits for approval until {_day(after.lapses_at)}. To end it for good:", soft_wrap=True)
    out.print(f"  lifecycle reject {after.hash} --reason …", soft_wrap=True)


def _must_be_open(wanted: "ApprovalView") -> None:
    from lifecycle.approvals.rules import ApprovalStatus

    # Whoever approved may do so again: the message that follows may have been lost with the first time.
    if wanted.stands in {ApprovalStatus.REFUSED, ApprovalStatus.LAPSED}:
        by = f" by {wanted.refused_by}" if wanted.refused_by else ""
        raise CliError(f"This request is {wanted.stands}{by} already. If it is meant after all, ask anew.")


def _show(out: "Console", wanted: "ApprovalView", now: datetime) -> None:
    """Exactly what the hash stands for, and who said what so far."""
    from lifecycle.approvals.rules import About

    if wanted.about is About.PLAN:
        _show_plan(out, wanted)
    else:
        out.print(plain(f"{_kind(wanted)}: nothing brings it back"), style="bold red", soft_wrap=True)
        for label, text in _facts(wanted.shown, now):
            _line(out, label, text)
    _line(out, "asked by", f"{wanted.asked_by}, {_day(wanted.asked_at)}")
    approved = f" ({', '.join(wanted.approved_by)})" if wanted.approved_by else ""
    _line(out, "approved", f"{len(wanted.approved_by)} of {wanted.needed}{approved}")
    _line(out, "lapses", _day(wanted.lapses_at))
    _line(out, "hash", wanted.hash)


def _facts(shown: Mapping[str, object], now: datetime) -> Iterator[tuple[str, str]]:
    yield "title", _text(shown, "title")
    yield "id", _text(shown, "id")
    yield "organization", _text(shown, "org_id")
    yield from ((key, _text(shown, key)) for key in ("template", "status") if shown.get(key) is not None)
    if shown.get("has_open_issue") is True:
        yield "problem", "reported, and still open"
    yield from ((key, _several(shown.get(key))) for key in ("owners", "tags"))
    for key in ("created_at", "completed_at", "archived_at", "last_updated"):
        moment = _moment(shown.get(key))
        if moment is not None:
            ago = f", {age(now - moment)} ago" if key == "archived_at" else ""
            yield key.removesuffix("_at").replace("_", " "), f"{_day(moment)}{ago}"
        elif shown.get(key) is not None:
            yield key.removesuffix("_at").replace("_", " "), _text(shown, key)
    yield from ((key, _text(shown, key)) for key in ("tasks", "comments"))
    if shown.get("carried_by") is not None:
        yield "carried by", f"{_text(shown, 'carried_by')} things"
    by = (_text(shown, "requested_by"), _text(shown, "source"))
    yield "asked for by", f"{by[0]}, through {by[1]}"
    yield "why", _text(shown, "reason")


def _show_plan(out: "Console", wanted: "ApprovalView") -> None:
    from cli.services import plans
    from lifecycle.plans.application import PlanPart

    plan = _plan(wanted)
    place = f"{plan.org_name} ({plan.org_id})" if plan.org_name else plan.org_id
    lasting = plans.due_in(plan, PlanPart.IRREVERSIBLE)
    out.print(f"What cannot be undone in a plan: {lasting} things", style="bold red", soft_wrap=True)
    _line(out, "made", f"{_day(plan.made_at)}, {place}")
    _line(out, "things", plans.totals_of(plan))
    out.print(plans.by_rule(plan))
    plans.told(out, plan)
    out.print(f"  to see each of them  lifecycle report {plan.hash}", soft_wrap=True)


def _plan(wanted: "ApprovalView") -> "Plan":
    from pydantic import ValidationError

    from lifecycle.plans.plan_file import Plan

    try:
        # What is counted by age and reason is for the eye; the report has it.
        return Plan.model_validate({"ages": (), "kept_by": {}, **wanted.shown})
    except ValidationError as error:
        raise CliError("The plan was written by another release. Make a new one.") from error


def _say_what_comes(out: "Console", wanted: "ApprovalView", until: datetime | None, now: datetime) -> None:
    from lifecycle.approvals.rules import About
    from lifecycle.deletion.manifest import NOT_AN_UNDO

    if wanted.about is About.PLAN:
        out.print("  What cannot be undone in it is handed on now: five first, then the rest.", soft_wrap=True)
        out.print(
            "  Each is looked at again, exported, and deleted only if the export reads back whole.", soft_wrap=True
        )
    else:
        if until is not None and until > now:
            out.print(f"  It is in grace until {_day(until)}: archived too short a time until then.", soft_wrap=True)
            out.print("  A restore, a hold or any change of it until then cancels the delete.", soft_wrap=True)
            when = "Then it is exported"
        else:
            when = "It is looked at again and exported first"
        out.print(f"  {when}, and deleted only if the export reads back whole.", soft_wrap=True)
    out.print(NOTE, NOT_AN_UNDO, soft_wrap=True)


def _grace(target: "Stack", wanted: "ApprovalView") -> datetime | None:
    """Until when the thing has not been archived long enough, by the parameter of the stack; `None` if unknown.

    Who approves by the URL of the API may have no right to ask for the parameters, and needs none.
    """
    archived_at = _moment(wanted.shown.get("archived_at"))
    doing = _doing(wanted)
    if archived_at is None or doing is None or not doing.archived_first:
        return None
    try:
        days = target.parameters().get("MinimumArchiveDays", "")
    except Exception as error:
        if trouble_in(error) is None:
            raise
        return None
    if not days.isdecimal():
        return None
    return archived_at + timedelta(days=int(days))


def _say_how_to_follow(out: "Console", wanted: "ApprovalView") -> None:
    from lifecycle.approvals.rules import About

    if wanted.about is About.PLAN:
        sweep = str(wanted.shown.get("sweep_id", ""))
        out.print(plain(f"  to follow  lifecycle sweep show {sweep}", most=300), soft_wrap=True)
    else:
        out.print(plain(f"  to follow  lifecycle status {wanted.subject}"), soft_wrap=True)


def _doing(wanted: "ApprovalView") -> "Capability | None":
    from lifecycle.domain.capabilities import TABLE

    return next((doing for doing in TABLE if (doing.name,) == wanted.would_do), None)


def _kind(wanted: "ApprovalView") -> str:
    from lifecycle.approvals.rules import About

    if wanted.about is About.PLAN:
        return f"a plan: {', '.join(wanted.would_do)}"
    doing = _doing(wanted)
    return f"{doing.action} {doing.resource.label} for good" if doing else ", ".join(wanted.would_do)


def _title(wanted: "ApprovalView") -> str:
    from lifecycle.approvals.rules import About

    if wanted.about is About.PLAN:
        from cli.services import plans
        from lifecycle.plans.application import PlanPart

        return f"{plans.due_in(_plan(wanted), PlanPart.IRREVERSIBLE)} things"
    return _text(wanted.shown, "title")


def _line(out: "Console", label: str, text: str) -> None:
    out.print(f"  {label:<13}", plain(text), soft_wrap=True)


def _text(shown: Mapping[str, object], key: str) -> str:
    found = shown.get(key)
    return "not known" if found is None else str(found)


def _several(found: object) -> str:
    if not isinstance(found, list):
        return "not known"
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return f"{', '.join(map(str, found[:_MOST_NAMES]))}{more}" or "none"


def _moment(found: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(found))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
