"""`lifecycle apply`: do what a plan says, at the word of a person who names it by its whole hash."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.pause import pauses_if_told, tell_pauses
from cli.commands.plan import Org
from cli.ui.console import NO, NOTE, YES, console, plain
from cli.ui.errors import CliError, Exit
from cli.ui.options import Region, StackName, Yes, stack_of, world_of

if TYPE_CHECKING:
    from rich.console import Console

    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.plans.application import Application, PlanPart
    from lifecycle.plans.plan_file import Plan
    from lifecycle.sweep.jobs import SweepJob

_LOOK_EVERY = 3.0


def apply(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="HASH", help="the plan's, all 64 characters, as its report shows it")],
    yes: Yes = False,
    yes_irreversible: Annotated[
        int | None,
        typer.Option(
            "--yes-irreversible",
            metavar="N",
            help="Do not ask about what cannot be undone: N things, as the plan says. --yes does not answer that.",
        ),
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(
            "--first",
            metavar="N",
            min=1,
            help="Only the N oldest things, where caps stop the whole. No more than the cap on the count.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until all is handed on, or until it stops.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="How many seconds to wait at most.")] = 1800,
    org: Org = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Apply a plan of the stack, what cannot be undone included. First five things, a look at them, then the rest."""
    from cli.services import plans
    from lifecycle.sweep.jobs import JobKind

    world, target = world_of(ctx), stack_of(ctx, stack, region)
    plan = plans.find_whole(target, name, org)
    out = console()
    plans.show(out, plan)
    _say_if_the_policy_differs(out, plan)
    refused = plans.refused_for(plan, world.clock(), first=first)
    if refused:
        raise CliError(f"It would be refused, so nothing was sent. {' '.join(refused)}{_how_to_begin(plan, first)}")
    if not plan.due:
        out.print(YES, "There is nothing to do.")
        return
    if _is_over(out, target, plan):
        return
    lasting = _agreed(out, target, plan, first, yes=yes, irreversible=yes_irreversible)
    errand = plans.send(target, plan, JobKind.APPLY, first=first)
    out.print(YES, "sent:", plain(errand.sweep_id), soft_wrap=True)
    if lasting:
        said = f"Other people must approve what cannot be undone: lifecycle approve {plan.hash}"
        out.print(NOTE, said, soft_wrap=True)
    out.print("  to pause      lifecycle pause --reason …", soft_wrap=True)
    out.print("  one outcome   lifecycle explain ID", soft_wrap=True)
    out.print("  to undo it    lifecycle undo --plan HASH", soft_wrap=True)
    out.print("  what failed   lifecycle dead-letters list", soft_wrap=True)
    if wait:
        _follow(world, target, plan, errand, timeout)


def _say_if_the_policy_differs(out: "Console", plan: "Plan") -> None:
    from cli.commands.check import declared_policy

    if declared_policy().digest != plan.policy:
        said = "policy.toml here is not the one it was made by. If the stack's was changed as well, it is refused."
        out.print(NOTE, said, soft_wrap=True)


def _how_to_begin(plan: "Plan", first: int | None) -> str:
    """What a person can do about a plan that only caps stop."""
    if first is not None or not plan.can_begin:
        return ""
    return " If so much is meant, begin with its oldest things: --first N, no more than the cap on the count."


def _is_over(out: "Console", target: "Stack", plan: "Plan") -> bool:
    """Whether it was applied already.

    Raises:
        Trouble: It was taken back, or stopped.
    """
    from cli.services import plans
    from lifecycle.plans.application import PlanPart, Stage

    undone = plans.states_of(target, plan)[PlanPart.REVERTED]
    if undone.stage:
        raise CliError(f"{undone.requested_by} took it back, so nothing was sent. Make a new plan.")
    states = plans.applied(target, plan).values()
    for state in states:
        if state.stage == Stage.STOPPED:
            raise CliError(f"It was stopped, so nothing was sent. {state.why} Make a new plan.")
    if not all(state.stage == Stage.DONE for state in states):
        return False
    begun = max(state.first for state in states)
    rest = f" Of it only the oldest {begun}: make a new plan for the rest." if begun else ""
    out.print(YES, f"It has been applied already.{rest}", soft_wrap=True)
    return True


def _agreed(
    out: "Console", target: "Stack", plan: "Plan", first: int | None, *, yes: bool, irreversible: int | None
) -> int:
    """Ask what has to be asked, and answer how many things are meant that cannot be undone."""
    from cli.services import plans
    from lifecycle.plans.application import PlanPart

    due = plans.due_of_first(target, plan, first) if first else {part: plans.due_in(plan, part) for part in PlanPart}
    lasting, things = due[PlanPart.IRREVERSIBLE], sum(due.values())
    if irreversible is not None and irreversible != lasting:
        raise CliError(f"Nothing was sent: {lasting} things cannot be undone, not {irreversible}.")
    if not yes:
        what = f"the oldest {things} of {plan.due} things" if first else f"{things} things"
        typer.confirm(f"Apply it to {what}?", abort=True)
    if lasting and irreversible is None:
        out.print(f"What is done to {lasting} of them cannot be undone. To go on, type that number.", style="bold red")
        if typer.prompt("", default="", show_default=False, prompt_suffix="> ").strip() != str(lasting):
            raise CliError("Nothing was sent.")
    return lasting


def _follow(world: "CliContext", target: "Stack", plan: "Plan", errand: "SweepJob", seconds: float) -> None:
    from cli.services import plans
    from lifecycle.plans.application import Application, PlanPart, Stage

    out = console()
    tell_pauses(out, pauses_if_told(target, [plan.org_id]))
    told: dict[str, Application] = {}
    left = seconds
    while True:
        states = plans.applied(target, plan)
        for part, state in states.items():
            if state.stage and told.get(part) != state:
                told[part] = state
                mark = {Stage.DONE: YES, Stage.STOPPED: NO}.get(Stage(state.stage), NOTE)
                out.print(mark, f"what is {part}: {state.stage}, {state.sent} handed on", soft_wrap=True)
            if state.stage == Stage.STOPPED:
                raise CliError(f"Stopped after {state.sent}. {state.why} Make a new plan.")
        if all(state.stage == Stage.DONE for state in states.values()):
            out.print("  They are carried out at the pace that Tallyfy allows.", soft_wrap=True)
            return
        undone = plans.states_of(target, plan)[PlanPart.REVERTED]
        if undone.stage:
            raise CliError(f"{undone.requested_by} took it back. Nothing more of it is done.")
        waits = _waits_for(world, target, plan, states)
        if waits:
            out.print(NOTE, plain(waits), soft_wrap=True)
            out.print(f"  lifecycle approve {plan.hash}", soft_wrap=True)
            raise typer.Exit(Exit.PENDING)
        refused = why_refused(world, target, errand)
        if refused is not None:
            raise CliError(f"It was not applied. {refused}")
        if left <= 0:
            out.print(NOTE, "Still under way.")
            raise typer.Exit(Exit.PENDING)
        world.sleep(_LOOK_EVERY)
        left -= _LOOK_EVERY


def _waits_for(world: "CliContext", target: "Stack", plan: "Plan", states: "Mapping[PlanPart, Application]") -> str:
    """Whom all that is left waits for; empty while there is more to do, or nobody was asked yet.

    Raises ``CliError`` where somebody refused it.
    """
    from lifecycle.approvals.rules import ApprovalStatus
    from lifecycle.approvals.store import Approvals
    from lifecycle.domain.clock import millis
    from lifecycle.plans.application import PlanPart, Stage

    if any(state.stage != Stage.DONE for part, state in states.items() if part is not PlanPart.IRREVERSIBLE):
        return ""
    request = Approvals(target.rows(), timedelta(0), world.clock).find(plan.org_id, plan.hash)
    stand = request.stands(millis(world.clock())) if request is not None else None
    if request is not None and stand is ApprovalStatus.REFUSED:
        raise CliError(
            f"What cannot be undone is not done: {plain(request.refused_by)} refused it. {plain(request.why)}"
        )
    if request is None or stand is not ApprovalStatus.OPEN:
        return ""
    missing = request.needed - len(request.approved_by)
    who = f"{missing} other {'person' if missing == 1 else 'people'}"
    until = f"{datetime.fromtimestamp(request.lapses_at / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return f"What cannot be undone waits until {until} for the approval of {who}."


def why_refused(world: "CliContext", target: "Stack", errand: "SweepJob") -> str | None:
    """Why the stack did not do it, as its dead letter says; the letter stays."""
    from cli.services import dead_letter_queue
    from lifecycle.sweep.jobs import SweepJob

    pairs = [pair for pair in target.pairs() if pair.name == "sweeps"]
    for letter in dead_letter_queue.look(pairs, most=100, clock=world.clock).letters:
        if isinstance(letter.content, SweepJob) and letter.content.sweep_id == errand.sweep_id:
            return letter.reason
    return None
