"""`lifecycle apply`: apply a plan that a person names by its whole hash."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.services.follow import follow_job
from cli.ui.console import NO, NOTE, YES, console, plain, utc
from cli.ui.errors import CliError, Exit
from cli.ui.options import Org, Region, StackName, Yes

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.plans.application import Application, PlanPart
    from lifecycle.plans.plan_file import Plan


def apply(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="HASH", help="the whole hash of the plan, as its report shows it")],
    yes: Yes = False,
    yes_irreversible: Annotated[
        int | None,
        typer.Option(
            "--yes-irreversible",
            metavar="N",
            help="Confirm the plan's N irreversible actions without a question. --yes does not confirm them.",
        ),
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(
            "--first",
            metavar="N",
            min=1,
            help="Apply only to the N oldest things, if caps stop the whole plan. N is at most the cap on the count.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until everything is enqueued, or until the job stops.")
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="The most seconds to wait.")] = 1800,
    org: Org = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Apply a plan of the stack, irreversible actions included: first to five things, and after a check to the rest."""
    from cli.services import plans
    from lifecycle.sweep.jobs import JobKind

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    plan = plans.find_whole(target, name, org)
    out = console()
    plans.show(out, plan)
    _say_if_the_policy_differs(out, plan)
    refusals = plans.refusals_of(plan, context.clock(), first=first)
    if refusals:
        raise CliError(
            f"The stack would refuse this plan, so nothing was sent. {' '.join(refusals)}{_how_to_begin(plan, first)}"
        )
    if not plan.due:
        out.print(YES, "The plan has nothing to do.")
        return
    if _is_applied(out, target, plan):
        return
    irreversible = _confirmed(out, target, plan, first, yes=yes, irreversible=yes_irreversible)
    job = plans.send(target, plan, JobKind.APPLY, first=first)
    out.print(YES, "sent:", plain(job.sweep_id), soft_wrap=True)
    if irreversible:
        message = f"Other people must approve the irreversible actions: lifecycle approve {plan.hash}"
        out.print(NOTE, message, soft_wrap=True)
    out.print("  to pause      lifecycle pause --reason …", soft_wrap=True)
    out.print("  one outcome   lifecycle explain ID", soft_wrap=True)
    out.print(f"  to undo it    lifecycle undo --plan {plan.hash}", soft_wrap=True)
    out.print("  what failed   lifecycle dead-letters list", soft_wrap=True)
    if wait:
        view = _ApplyProgress(out, context, target, plan)
        follow_job(context, target, job, view.is_done, seconds=timeout, failed="The plan was not applied.")
        out.print("  The commands are carried out at the pace that Tallyfy allows.", soft_wrap=True)


def _say_if_the_policy_differs(out: "Console", plan: "Plan") -> None:
    from cli.services.config_files import declared_policy

    if declared_policy().digest != plan.policy:
        message = (
            "The plan's policy.toml differs from the one in this checkout. The stack refuses the plan if "
            "its policy has changed too."
        )
        out.print(NOTE, message, soft_wrap=True)


def _how_to_begin(plan: "Plan", first: int | None) -> str:
    """Return what a person can do about a plan that only caps stop."""
    if first is not None or not plan.can_begin:
        return ""
    return " If so many are intended, begin with the oldest: add --first N, with N at most the cap on the count."


def _is_applied(out: "Console", target: "Stack", plan: "Plan") -> bool:
    """Return whether the plan was already applied.

    Raises:
        CliError: The plan was reverted or stopped.
    """
    from cli.services import plans
    from lifecycle.plans.application import PlanPart, Stage

    reverted = plans.states_of(target, plan)[PlanPart.REVERTED]
    if reverted.stage:
        raise CliError(f"{reverted.requested_by} reverted this plan, so nothing was sent. Make a new plan.")
    states = plans.applied(target, plan).values()
    for state in states:
        if state.stage == Stage.STOPPED:
            raise CliError(f"This plan was stopped, so nothing was sent. {state.why} Make a new plan.")
    if not all(state.stage == Stage.DONE for state in states):
        return False
    oldest = max(state.first for state in states)
    rest = f" Only its oldest {oldest} things: make a new plan for the rest." if oldest else ""
    out.print(YES, f"The plan was already applied.{rest}", soft_wrap=True)
    return True


def _confirmed(
    out: "Console", target: "Stack", plan: "Plan", first: int | None, *, yes: bool, irreversible: int | None
) -> int:
    """Ask for confirmation, and return the number of irreversible actions.

    Raises:
        CliError: The number of irreversible actions is not the given one.
    """
    from cli.services import plans
    from lifecycle.plans.application import PlanPart

    due = plans.due_of_first(target, plan, first) if first else {part: plans.due_in(plan, part) for part in PlanPart}
    number, things = due[PlanPart.IRREVERSIBLE], sum(due.values())
    if irreversible is not None and irreversible != number:
        raise CliError(f"Nothing was sent: the plan has {number} irreversible actions, not {irreversible}.")
    if not yes:
        what = f"the oldest {things} of {plan.due} things" if first else f"{things} things"
        typer.confirm(f"Apply it to {what}?", abort=True)
    if number and irreversible is None:
        out.print(f"{number} of these actions cannot be undone. Type that number to continue.", style="bold red")
        if typer.prompt("", default="", show_default=False, prompt_suffix="> ").strip() != str(number):
            raise CliError("Nothing was sent.")
    return number


class _ApplyProgress:
    """Prints the progress of applying a plan, each stage once."""

    def __init__(self, out: "Console", context: "CliContext", target: "Stack", plan: "Plan") -> None:
        self._out = out
        self._context = context
        self._target = target
        self._plan = plan
        self._printed: dict[str, Application] = {}

    def is_done(self) -> bool:
        """Return whether everything is enqueued.

        Raises:
            CliError: The plan was stopped, reverted or rejected.
            typer.Exit: The job waits for approvals.
        """
        from cli.services import plans
        from lifecycle.plans.application import PlanPart, Stage

        states = plans.applied(self._target, self._plan)
        for part, state in states.items():
            if state.stage and self._printed.get(part) != state:
                self._printed[part] = state
                mark = {Stage.DONE: YES, Stage.STOPPED: NO}.get(Stage(state.stage), NOTE)
                self._out.print(mark, f"{part} actions: {plans.progress(part, state)}", soft_wrap=True)
            if state.stage == Stage.STOPPED:
                raise CliError(f"Stopped after {state.sent}. {state.why} Make a new plan.")
        if all(state.stage == Stage.DONE for state in states.values()):
            return True
        reverted = plans.states_of(self._target, self._plan)[PlanPart.REVERTED]
        if reverted.stage:
            raise CliError(f"{reverted.requested_by} reverted this plan. The stack carries out nothing more of it.")
        if waits := _waits_for(self._context, self._target, self._plan, states):
            self._out.print(NOTE, plain(waits), soft_wrap=True)
            self._out.print(f"  lifecycle approve {self._plan.hash}", soft_wrap=True)
            raise typer.Exit(Exit.PENDING)
        return False


def _waits_for(context: "CliContext", target: "Stack", plan: "Plan", states: "Mapping[PlanPart, Application]") -> str:
    """Return whose approval the rest of a plan waits for. Empty while work remains, or before approvers were asked.

    Raises:
        CliError: Somebody rejected it.
    """
    from lifecycle.approvals.rules import ApprovalStatus
    from lifecycle.approvals.store import ApprovalStore
    from lifecycle.domain.clock import millis, moment
    from lifecycle.plans.application import PlanPart, Stage

    if any(state.stage != Stage.DONE for part, state in states.items() if part is not PlanPart.IRREVERSIBLE):
        return ""
    request = ApprovalStore(target.rows(), timedelta(0), context.clock).find(plan.org_id, plan.hash)
    now: datetime = context.clock()
    status = request.stands(millis(now)) if request is not None else None
    if request is not None and status is ApprovalStatus.REJECTED:
        message = f"The irreversible actions were not carried out: {plain(request.rejected_by)} rejected them."
        raise CliError(f"{message} {plain(request.why)}".strip())
    if request is None or status is not ApprovalStatus.OPEN:
        return ""
    missing = request.needed - len(request.approved_by)
    people = f"{missing} other {'person' if missing == 1 else 'people'}"
    return f"The irreversible actions wait until {utc(moment(request.deadline))} for the approval of {people}."
