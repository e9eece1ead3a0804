"""`lifecycle undo`: take back what a command or a plan did, as far as anything can."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.pause import pauses_if_told, tell_pauses
from cli.commands.plan import Org
from cli.ui.console import NO, NOTE, YES, console, plain
from cli.ui.errors import CliError, Exit
from cli.ui.options import ApiUrl, Region, StackName, Timeout, Yes, stack_of, world_of

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.plans.application import Application
    from lifecycle.plans.plan_file import Plan
    from lifecycle.sweep.jobs import SweepJob

_LOOK_EVERY = 3.0


def undo(
    ctx: typer.Context,
    intent: Annotated[
        str | None, typer.Argument(metavar="[INTENT]", help="a command's, as it was answered when it was accepted")
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="HASH", help="All that was applied of a plan: its whole hash, 64 characters."),
    ] = None,
    yes: Yes = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it has ended; of a plan, until all is asked for.")
    ] = False,
    timeout: Timeout = 300,
    org: Org = None,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Take back what a command did, or all that was applied of a plan. What was deleted for good stays deleted.

    An undo is a command of its own, younger than what it undoes: late copies of that do nothing any more.
    """
    if (intent is None) == (plan is None):
        raise CliError("Name one: the intent id of a command, or --plan with the hash of a plan.", Exit.USAGE)
    world, target = world_of(ctx), stack_of(ctx, stack, region)
    if intent is not None:
        _undo_command(world, target, intent.strip(), api_url, timeout if wait else None)
    elif plan is not None:
        _undo_plan(world, target, plan, org, yes=yes, timeout=timeout if wait else None)


def _undo_command(world: "CliContext", target: "Stack", name: str, api_url: str | None, timeout: float | None) -> None:
    from cli.clients.signed_api import signed_api
    from cli.services.dead_letter_queue import whole_intent
    from cli.ui.outcome import Beside, follow
    from lifecycle.domain.intent_ids import INTENT_PATTERN

    name = whole_intent(target, name, world.clock)
    if not re.fullmatch(INTENT_PATTERN, name):
        raise CliError(
            f"'{name[:70]}' is no intent id: int_ and 48 characters 0-9 and a-f. Was it copied whole?", Exit.USAGE
        )
    undo = signed_api(world, target, api_url).undo(name)
    out = console()
    out.print(YES, "accepted: undo of", plain(name), soft_wrap=True)
    out.print("  intent    ", plain(undo), soft_wrap=True)
    if timeout is None:
        out.print("  to follow ", plain(f"lifecycle status {undo}"), soft_wrap=True)
        return
    follow(world.api(target, api_url), Beside(world, target, undo), seconds=timeout)


def _undo_plan(
    world: "CliContext", target: "Stack", name: str, org: str | None, *, yes: bool, timeout: float | None
) -> None:
    from cli.services import plans
    from lifecycle.plans.application import PlanPart, Stage, already_reverted
    from lifecycle.sweep.jobs import JobKind

    plan = plans.find_whole(target, name, org)
    out = console()
    states = plans.states_of(target, plan)
    done, lasting, back = (states[part] for part in (PlanPart.REVERSIBLE, PlanPart.IRREVERSIBLE, PlanPart.REVERTED))
    _show(out, plan, done, lasting)
    if back.stage == Stage.DONE:
        out.print(YES, "It has been taken back already, so nothing was sent.")
        out.print(NOTE, plain(already_reverted(back), most=2000), soft_wrap=True)
        return
    if not done.sent and not lasting.sent:
        said = "Nothing was applied of it so far. Taken back, it never is, whoever has asked for it."
        out.print(NOTE, said, soft_wrap=True)
    if done.stage in {Stage.CANARY, Stage.REST}:
        said = "It is still being applied. That stops now: a call that has begun is finished, then undone."
        out.print(NOTE, said, soft_wrap=True)
    if not yes:
        typer.confirm(f"Take the plan back, and undo what was done to {done.sent} things?", abort=True)
    _take_back(world, target, plan)
    out.print(YES, "taken back: from now on nothing more of it is done", soft_wrap=True)
    errand = plans.send(target, plan, JobKind.UNDO)
    out.print(YES, "sent:", plain(errand.sweep_id), soft_wrap=True)
    out.print("  to pause    lifecycle pause --reason …", soft_wrap=True)
    out.print("  one outcome lifecycle explain ID", soft_wrap=True)
    if timeout is not None:
        _follow(world, target, plan, errand, timeout)


def _take_back(world: "CliContext", target: "Stack", plan: "Plan") -> None:
    """Write it down where workers look right before each call: it counts from now on, whatever waits or is locked."""
    from cli.services import plans
    from lifecycle.aws.dynamodb import Contention
    from lifecycle.execution import revoked_plans

    try:
        revoked_plans.take_back(target.rows(), plan.org_id, plan.hash, by=plans.requester(target), at=world.clock())
    except Contention as error:
        raise CliError("Somebody else is taking it back at this moment. Try again.") from error


def _show(out: "Console", plan: "Plan", done: "Application", lasting: "Application") -> None:
    from cli.services import plans

    place = f"{plan.org_name} ({plan.org_id})" if plan.org_name else plan.org_id
    out.print("[bold]plan[/]     ", plan.hash, soft_wrap=True)
    out.print("[bold]made[/]     ", plain(f"{plan.made_at:%Y-%m-%d %H:%M} UTC, {place}"), soft_wrap=True)
    out.print(plans.by_rule(plan))
    if done.sent:
        by = f"{done.sent} commands, {done.stage}, since {done.begun_at[:16].replace('T', ' ')}"
        out.print("[bold]applied[/]  ", plain(f"{by}, asked for by {done.requested_by}"), soft_wrap=True)
    if lasting.sent:
        stays = f"{lasting.sent} things were asked for that cannot be undone; those that are done stay so."
        out.print(NO, stays, "Their exports are evidence, nothing more.", soft_wrap=True)


def _follow(world: "CliContext", target: "Stack", plan: "Plan", errand: "SweepJob", seconds: float) -> None:
    from cli.commands.apply import why_refused
    from cli.services import plans
    from lifecycle.plans.application import Application, PlanPart, Stage

    out = console()
    tell_pauses(out, pauses_if_told(target, [plan.org_id]))
    told, left = Application(), seconds
    while True:
        state = plans.states_of(target, plan)[PlanPart.REVERTED]
        if state.stage and state != told:
            told = state
            mark = YES if state.stage == Stage.DONE else NOTE
            out.print(mark, f"taken back: {state.stage}, {state.sent} looked at", soft_wrap=True)
            if state.why:
                out.print(" ", plain(state.why, most=2000), soft_wrap=True)
        if state.stage == Stage.DONE:
            out.print("  The undos are carried out at the pace that Tallyfy allows.", soft_wrap=True)
            return
        refused = why_refused(world, target, errand)
        if refused is not None:
            raise CliError(f"It was not undone. {refused}")
        if left <= 0:
            out.print(NOTE, "Still under way.")
            raise typer.Exit(Exit.PENDING)
        world.sleep(_LOOK_EVERY)
        left -= _LOOK_EVERY
