"""`lifecycle undo`: undo what a command or a plan did, as far as Tallyfy allows it."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.services.follow import CommandDetails, follow_command, follow_job
from cli.ui.console import NO, NOTE, YES, console, plain, utc
from cli.ui.errors import CliError, Exit
from cli.ui.options import ApiUrl, Org, Region, StackName, Timeout, Yes

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.plans.application import Application
    from lifecycle.plans.plan_file import Plan


def undo(
    ctx: typer.Context,
    intent: Annotated[
        str | None, typer.Argument(metavar="[INTENT]", help="the intent id of a command, as the stack returned it")
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            "--plan", metavar="HASH", help="The whole hash of a plan, to undo everything that was applied of it."
        ),
    ] = None,
    yes: Yes = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the undo has ended, or for a plan until all undos are enqueued.")
    ] = False,
    timeout: Timeout = 300,
    org: Org = None,
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Undo what a command did, or everything that was applied of a plan. A permanent delete cannot be undone.

    An undo is a newer command, so late or repeated copies of the original are ignored.
    """
    if (intent is None) == (plan is None):
        raise CliError("Give either the intent id of a command, or --plan with the hash of a plan.", Exit.USAGE)
    context, target = context_of(ctx), stack_of(ctx, stack, region)
    if intent is not None:
        _undo_command(context, target, intent.strip(), api_url, timeout if wait else None)
    elif plan is not None:
        _undo_plan(context, target, plan, org, yes=yes, timeout=timeout if wait else None)


def _undo_command(
    context: "CliContext", target: "Stack", name: str, api_url: str | None, timeout: float | None
) -> None:
    from cli.services.dead_letter_queue import whole_intent
    from lifecycle.domain.intent_ids import INTENT_PATTERN

    name = whole_intent(target, name, context.clock)
    if not re.fullmatch(INTENT_PATTERN, name):
        raise CliError(
            f"'{name[:70]}' is not an intent id: int_ and 48 characters (0-9, a-f). Copy the whole id.",
            Exit.USAGE,
        )
    undo = context.signed_api(target, api_url).undo(name)
    out = console()
    out.print(YES, "accepted: undo of", plain(name), soft_wrap=True)
    out.print("  intent    ", plain(undo), soft_wrap=True)
    if timeout is None:
        out.print("  to follow ", plain(f"lifecycle status {undo}"), soft_wrap=True)
        return
    follow_command(context.api(target, api_url), CommandDetails(context, target, undo), seconds=timeout)


def _undo_plan(
    context: "CliContext", target: "Stack", name: str, org: str | None, *, yes: bool, timeout: float | None
) -> None:
    from cli.services import plans
    from lifecycle.plans.application import PlanPart, Stage, already_reverted
    from lifecycle.sweep.jobs import JobKind

    plan = plans.find_whole(target, name, org)
    out = console()
    states = plans.states_of(target, plan)
    done, irreversible = states[PlanPart.REVERSIBLE], states[PlanPart.IRREVERSIBLE]
    reverted = states[PlanPart.REVERTED]
    _show(out, plan, done, irreversible)
    if reverted.stage == Stage.DONE:
        out.print(YES, "The plan was already reverted, so nothing was sent.")
        out.print(NOTE, plain(already_reverted(reverted), most=2000), soft_wrap=True)
        return
    if not done.sent and not irreversible.sent:
        message = "Nothing of the plan has been applied yet. Once it is reverted, nobody can apply it."
        out.print(NOTE, message, soft_wrap=True)
    if done.stage in {Stage.CANARY, Stage.REST}:
        message = "The plan is still being applied. The revert stops that, and undoes a call that has already begun."
        out.print(NOTE, message, soft_wrap=True)
    if not yes:
        typer.confirm(f"Revert the plan, and undo what was done to {done.sent} things?", abort=True)
    _revert(context, target, plan)
    out.print(YES, "reverted: the stack carries out nothing more of it", soft_wrap=True)
    job = plans.send(target, plan, JobKind.UNDO)
    out.print(YES, "sent:", plain(job.sweep_id), soft_wrap=True)
    out.print("  to pause    lifecycle pause --reason …", soft_wrap=True)
    out.print("  one outcome lifecycle explain ID", soft_wrap=True)
    if timeout is not None:
        view = _UndoProgress(out, target, plan)
        follow_job(context, target, job, view.is_done, seconds=timeout, failed="The plan was not undone.")
        out.print("  The undos are carried out at the pace that Tallyfy allows.", soft_wrap=True)


def _revert(context: "CliContext", target: "Stack", plan: "Plan") -> None:
    """Record the revert where workers look right before each call, so that it applies at once to queued work too."""
    from cli.services import plans
    from lifecycle.aws.dynamodb import Contention
    from lifecycle.execution import reverted_plans

    try:
        reverted_plans.revert(target.rows(), plan.org_id, plan.hash, by=plans.requester(target), at=context.clock())
    except Contention as error:
        raise CliError("Somebody else is reverting this plan. Try again.") from error


def _show(out: "Console", plan: "Plan", done: "Application", irreversible: "Application") -> None:
    from cli.services import plans

    out.print("[bold]plan[/]     ", plan.hash, soft_wrap=True)
    out.print("[bold]made[/]     ", plain(f"{utc(plan.made_at)}, {plans.place_of(plan)}"), soft_wrap=True)
    out.print(plans.by_rule(plan))
    if done.sent:
        since = done.begun_at[:16].replace("T", " ")
        what = f"{done.sent} commands, {plans.stage_text(done)}, since {since}, asked for by {done.requested_by}"
        out.print("[bold]applied[/]  ", plain(what), soft_wrap=True)
    if irreversible.sent:
        message = f"{irreversible.sent} irreversible actions were enqueued. Those already carried out cannot be undone."
        out.print(NO, message, "Their exports are evidence only: they cannot be imported.", soft_wrap=True)


class _UndoProgress:
    """Prints the progress of undoing a plan, each stage once."""

    def __init__(self, out: "Console", target: "Stack", plan: "Plan") -> None:
        self._out = out
        self._target = target
        self._plan = plan
        self._printed: Application | None = None

    def is_done(self) -> bool:
        """Return whether all undos are enqueued."""
        from cli.services import plans
        from lifecycle.plans.application import PlanPart, Stage

        state = plans.states_of(self._target, self._plan)[PlanPart.REVERTED]
        if state.stage and state != self._printed:
            self._printed = state
            mark = YES if state.stage == Stage.DONE else NOTE
            self._out.print(mark, f"revert: {plans.progress(PlanPart.REVERTED, state)}", soft_wrap=True)
            if state.why:
                self._out.print(" ", plain(state.why, most=2000), soft_wrap=True)
        return state.stage == Stage.DONE
