"""`lifecycle approvals`, `approve`, `withdraw` and `reject`: somebody else must approve an irreversible action.

AWS identifies people: each call is signed with the operator's own credentials, and people.toml names people by ARN.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NOTE, YES, age, as_json, console, plain, table, utc
from cli.ui.errors import CliError, expected_error
from cli.ui.options import ApiUrl, Json, Region, StackName, Yes, reason_in

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.signed_api import SignedApi
    from cli.clients.stack import Stack
    from lifecycle.api.schemas.approvals import Approval
    from lifecycle.domain.capabilities import Capability
    from lifecycle.plans.plan_file import Plan

_MOST_REASON = 200
_MOST_NAMES = 20

Hash = Annotated[
    str,
    typer.Argument(
        metavar="HASH",
        help="the hash of the request, as `lifecycle approvals` shows it: at least the first 12 characters",
    ),
]


def approvals(
    ctx: typer.Context, json_: Json = False, api_url: ApiUrl = None, stack: StackName = None, region: Region = None
) -> None:
    """List the requests that wait for your approval. Your own requests are listed, but somebody else must approve."""
    from pydantic_core import to_jsonable_python

    from cli.clients.signed_api import SHOWN

    context = context_of(ctx)
    waiting = context.signed_api(stack_of(ctx, stack, region), api_url).waiting()
    if json_:
        as_json(to_jsonable_python(waiting))
        return
    if not waiting:
        console().print(YES, "No request waits for your approval.")
        return
    rows = table("hash", "what", "title", "asked by", "approvals", "expires")
    for one in waiting:
        left = age(one["deadline"] - context.clock())
        rows.add_row(
            one["hash"][:SHOWN],
            plain(_kind(one)),
            plain(_title(one), most=100),
            plain(one["asked_by"], most=100),
            f"{len(one['approved_by'])} of {one['needed']}",
            f"{utc(one['deadline'])}, in {left}",
        )
    console().print(rows, soft_wrap=True)
    console().print("  to see and approve one  lifecycle approve HASH")


def approve(
    ctx: typer.Context,
    name: Hash,
    yes: Yes = False,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show exactly what would be done, and approve it with your own AWS identity."""
    from lifecycle.plans.approval_question import ASKED

    shown = _shown(ctx, name, api_url, stack, region)
    if not yes:
        typer.confirm(ASKED, abort=True)
    grace = _grace(shown.stack, shown.request)  # Read before the approval, because no AWS call may fail after it.
    after = shown.api.approve(shown.request["hash"])
    out = shown.out
    out.print(YES, f"approved: {len(after['approved_by'])} of {after['needed']}")
    missing = after["needed"] - len(after["approved_by"])
    if missing > 0:
        more = f"{missing} more {'person' if missing == 1 else 'people'}"
        out.print(f"  It needs the approval of {more} until {utc(after['deadline'])}.", soft_wrap=True)
    else:
        _say_what_comes(out, after, grace, context_of(ctx).clock())
    _say_how_to_follow(out, after)


def reject(
    ctx: typer.Context,
    name: Hash,
    reason: Annotated[str, typer.Option("--reason", help="Shown to the person who asked, and recorded.")],
    yes: Yes = False,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show exactly what was requested, and reject it for good. The person who asked may reject it too."""
    why = reason_in(reason, most=_MOST_REASON)
    shown = _shown(ctx, name, api_url, stack, region)
    if not yes:
        typer.confirm("Reject it?", abort=True)
    shown.api.reject(shown.request["hash"], why)
    shown.out.print(YES, "rejected:", plain(why), soft_wrap=True)
    shown.out.print("  A rejection is final. If the action is needed after all, request it again.", soft_wrap=True)
    _say_how_to_follow(shown.out, shown.request)


def withdraw(
    ctx: typer.Context,
    name: Hash,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Withdraw your own approval. This is possible until the call to Tallyfy is sent."""
    api = context_of(ctx).signed_api(stack_of(ctx, stack, region), api_url)
    after = api.withdraw(api.find(name)["hash"])
    out = console()
    out.print(YES, f"withdrawn: {len(after['approved_by'])} of {after['needed']} approvals are left")
    out.print(f"  It waits for approval until {utc(after['deadline'])}. To end it for good:", soft_wrap=True)
    out.print(f"  lifecycle reject {after['hash']} --reason …", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Shown:
    """An open request that was just shown."""

    api: "SignedApi"
    stack: "Stack"
    request: "Approval"
    out: "Console"


def _shown(ctx: typer.Context, name: str, api_url: str | None, stack: str | None, region: str | None) -> _Shown:
    """Find a request and show it.

    Raises:
        CliError: The request was already decided.
    """
    from lifecycle.approvals.rules import ApprovalStatus

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    api = context.signed_api(target, api_url)
    request, out = api.find(name), console()
    _show(out, request, context.clock())
    # An approver may approve again, because the message that follows an approval may have been lost.
    if request["stands"] in {ApprovalStatus.REJECTED, ApprovalStatus.EXPIRED}:
        by = f" by {request['rejected_by']}" if request["rejected_by"] else ""
        raise CliError(
            f"This request was {request['stands']}{by} already. Request the action again if it is still needed."
        )
    return _Shown(api, target, request, out)


def _show(out: "Console", request: "Approval", now: datetime) -> None:
    """Print exactly what the hash identifies, and who has approved so far."""
    from lifecycle.approvals.rules import About

    if request["about"] is About.PLAN:
        _show_plan(out, request)
    else:
        out.print(plain(f"{_kind(request)}: this cannot be undone"), style="bold red", soft_wrap=True)
        for label, text in _facts(request["shown"], now):
            _line(out, label, text)
    _line(out, "asked by", f"{request['asked_by']}, {utc(request['asked_at'])}")
    approved = f" ({', '.join(request['approved_by'])})" if request["approved_by"] else ""
    _line(out, "approved", f"{len(request['approved_by'])} of {request['needed']}{approved}")
    _line(out, "expires", utc(request["deadline"]))
    if request["about"] is not About.PLAN:
        _line(out, "hash", request["hash"])


def _facts(shown: Mapping[str, object], now: datetime) -> Iterator[tuple[str, str]]:
    yield "title", _text(shown, "title")
    yield "id", _text(shown, "id")
    yield "organization", _text(shown, "org_id")
    yield from ((key, _text(shown, key)) for key in ("template", "status") if shown.get(key) is not None)
    if shown.get("has_open_issue") is True:
        yield "problem", "reported, and still open"
    yield from ((key, _several(shown.get(key))) for key in ("owners", "tags"))
    for key in ("created_at", "completed_at", "archived_at", "last_updated"):
        at = _moment_in(shown.get(key))
        if at is not None:
            ago = f", {age(now - at)} ago" if key == "archived_at" else ""
            yield key.removesuffix("_at").replace("_", " "), f"{utc(at)}{ago}"
        elif shown.get(key) is not None:
            yield key.removesuffix("_at").replace("_", " "), _text(shown, key)
    yield from ((key, _text(shown, key)) for key in ("tasks", "comments"))
    if shown.get("carried_by") is not None:
        yield "carried by", f"{_text(shown, 'carried_by')} things"
    by = (_text(shown, "requested_by"), _text(shown, "source"))
    yield "asked for by", f"{by[0]}, through {by[1]}"
    yield "why", _text(shown, "reason")


def _show_plan(out: "Console", request: "Approval") -> None:
    """Print the question of the plan's report, word for word."""
    from lifecycle.plans.approval_question import approval_question

    plan = _plan(request)
    question = approval_question(plan)
    if question is None:
        raise CliError("Nothing in this plan needs an approval.")
    out.print(plain(question.heading), style="bold red", soft_wrap=True)
    for label, text in question.facts:
        _line(out, label, text)
    for text in question.consequences:
        out.print(plain(f"  {text}", most=300), soft_wrap=True)
    out.print(f"  to see each of them  lifecycle report {plan.hash}", soft_wrap=True)


def _plan(request: "Approval") -> "Plan":
    from pydantic import ValidationError

    from lifecycle.plans.plan_file import Plan

    try:
        # The request does not carry the counts by age and reason. The report has them.
        return Plan.model_validate({"ages": (), "kept_by": {}, **request["shown"]})
    except ValidationError as error:
        raise CliError("This plan was written by another release. Make a new plan.") from error


def _say_what_comes(out: "Console", request: "Approval", until: datetime | None, now: datetime) -> None:
    from lifecycle.approvals.rules import About
    from lifecycle.deletion.manifest import NOT_AN_UNDO

    if request["about"] is About.PLAN:
        out.print("  The stack enqueues its irreversible actions now: five first, then the rest.", soft_wrap=True)
        out.print(
            "  Each thing is read again and exported. It is deleted only if the export is complete.", soft_wrap=True
        )
    else:
        if until is not None and until > now:
            out.print(f"  It waits until {utc(until)}, because it was archived too recently.", soft_wrap=True)
            out.print("  A restore, a hold or any change before then cancels the delete.", soft_wrap=True)
            when = "Then the thing is exported"
        else:
            when = "The thing is read again and exported first"
        out.print(f"  {when}, and deleted only if the export is complete.", soft_wrap=True)
    out.print(NOTE, NOT_AN_UNDO, soft_wrap=True)


def _grace(stack: "Stack", request: "Approval") -> datetime | None:
    """Return when the stack's grace period for the thing ends, or `None` if unknown.

    Approvers who use the URL of the API may lack the right to read the stack's parameters, and do not need it.
    """
    archived_at = _moment_in(request["shown"].get("archived_at"))
    capability = _capability(request)
    if archived_at is None or capability is None or not capability.archived_first:
        return None
    try:
        days = stack.parameters().get("MinimumArchiveDays", "")
    except Exception as error:
        if expected_error(error) is None:
            raise
        return None
    return archived_at + timedelta(days=int(days)) if days.isdecimal() else None


def _say_how_to_follow(out: "Console", request: "Approval") -> None:
    from lifecycle.approvals.rules import About

    if request["about"] is About.PLAN:
        # `sweep show` reads the ledger, which the IAM policy for approvers does not allow.
        sweep = str(request["shown"].get("sweep_id", ""))
        out.print(plain(f"  An operator can follow it: lifecycle sweep show {sweep}", most=300), soft_wrap=True)
    else:
        out.print(plain(f"  to follow  lifecycle status {request['subject']}"), soft_wrap=True)


def _capability(request: "Approval") -> "Capability | None":
    from lifecycle.domain.capabilities import TABLE

    return next((one for one in TABLE if [one.name] == request["would_do"]), None)


def _kind(request: "Approval") -> str:
    from lifecycle.approvals.rules import About

    if request["about"] is About.PLAN:
        return f"a plan: {', '.join(request['would_do'])}"
    found = _capability(request)
    return f"{found.action} {found.resource.label} for good" if found else ", ".join(request["would_do"])


def _title(request: "Approval") -> str:
    from lifecycle.approvals.rules import About

    if request["about"] is About.PLAN:
        from cli.services import plans
        from lifecycle.plans.application import PlanPart

        return f"{plans.due_in(_plan(request), PlanPart.IRREVERSIBLE)} things"
    return _text(request["shown"], "title")


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


def _moment_in(found: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(found))
    except ValueError:
        return None
    return at if at.tzinfo else None
