"""`lifecycle sweep`: start a sweep now, and show the progress of one."""

import json
import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import context_of, stack_of
from cli.services.pauses import known_pauses, print_pauses
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json, Region, StackName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cli.clients.context import CliContext
    from cli.clients.stack import Stack
    from lifecycle.plans.plan_file import Plan
    from lifecycle.sweep.state import Progress

_REQUESTER = 200
"""The most characters of a sweep message's ``requested_by``."""

app = typer.Typer(
    no_args_is_help=True,
    help="Start a sweep now, and show the progress of one. The parameter SweepMode says whether sweeps only report.",
)


@app.command()
def start(ctx: typer.Context, stack: StackName = None, region: Region = None) -> None:
    """Start a sweep of every organization, as the schedule does each night."""
    from lifecycle.domain.commands import one_line
    from lifecycle.sweep.jobs import SweepJob

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    queue = next((pair.origin for pair in target.pairs() if pair.name == "sweeps"), None)
    if queue is None:
        raise CliError(f"Stack '{target.name}' has no sweeps queue. Deploy this release.", Exit.UNREACHABLE)
    # Never the name of a nightly sweep, because the ledger would treat this sweep as a copy of it.
    by = one_line(target.caller(), most=_REQUESTER)
    sweep_id = f"{context.clock():%Y-%m-%dT%H:%M:%SZ}-by-hand-{secrets.token_hex(3)}"
    queue.send(SweepJob(sweep_id=sweep_id, requested_by=by).model_dump_json(exclude_none=True))
    out = console()
    out.print(YES, f"started, mode {target.parameters().get('SweepMode', 'unknown')}")
    out.print(f"  sweep  {sweep_id}", soft_wrap=True)
    out.print(f"  lifecycle sweep show {sweep_id}", soft_wrap=True)
    print_pauses(out, known_pauses(target))


@app.command()
def show(
    ctx: typer.Context,
    sweep_id: Annotated[
        str | None,
        typer.Argument(
            help="the name that `start` printed; for a nightly sweep the scheduled time (default: the newest)"
        ),
    ] = None,
    org: Annotated[
        str | None,
        typer.Option(
            "--org", envvar="LIFECYCLE_ORG", help="One organization. (default: all organizations of the stack)"
        ),
    ] = None,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show the progress of a sweep: what it read, its plan, whether the plan was applied, and what comes next."""
    from cli.clients.stack import organizations_of

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    name = sweep_id.strip() if sweep_id else None
    meant = [(org_id, name or _newest(target, org_id)) for org_id in organizations_of(target, org)]
    found = [(org_id, one, row) for org_id, one in meant if one and (row := target.sweep(one, org_id)) is not None]
    out = console()
    if not found:
        for org_id, _ in meant:
            _in_the_way(out, context, target, org_id)
        what = f"no sweep {name}" if name else "no sweep"
        raise CliError(f"The ledger has {what}: the sweep has not begun, or it is more than 30 days old.")
    if json_:
        as_json([_as_json(context, target, org_id, one, row) for org_id, one, row in found])
    for org_id, one, row in () if json_ else found:
        state = "finished:" if row.done else "in progress:"
        out.print(YES if row.done else NOTE, state, plain(f"{one} of {org_id}"), soft_wrap=True)
        if row.plan:
            _planned(out, target, org_id, row)
        else:
            _read_so_far(out, row)
        if not row.done:
            _in_the_way(out, context, target, org_id, json.loads(row.stops))
    if not all(row.done for _, _, row in found):
        raise typer.Exit(Exit.PENDING)


def _as_json(context: "CliContext", target: "Stack", org_id: str, name: str, row: "Progress") -> dict[str, object]:
    from cli.services import plans
    from cli.services.stack_check import troubles_of

    fields: dict[str, object] = {"sweep": name, "org_id": org_id, "done": row.done, "seen": row.seen, "due": row.due}
    if not row.done:
        fields["paused_by"] = known_pauses(target, [org_id]).get(org_id)
        fields["stops"] = troubles_of(context, target, org_id)
    if row.plan:
        try:
            plan = plans.find(target, row.plan, org_id)
        except CliError:  # The plan is no longer kept.
            return {**fields, "plan": {"hash": row.plan}}
        states = {part.value: asdict(state) for part, state in plans.states_of(target, plan).items() if state.stage}
        return {**fields, "plan": plan.model_dump(mode="json"), "applied": states}
    return {**fields, "lists": json.loads(row.lists)}


def _newest(target: "Stack", org_id: str) -> str:
    """Return the sweep in progress, or else the one that made the newest plan. Applying a plan is not a sweep."""
    from lifecycle.sweep.state import lock_key, newest_key

    rows = target.rows().read(lock_key(org_id), newest_key(org_id))
    names = [str(row.values.get("sweep_id") or "") if row else "" for row in rows]
    return next((one for one in names if one and target.sweep(one, org_id) is not None), "")


def _read_so_far(out: "Console", row: "Progress") -> None:
    from cli.services.config_files import declared_policy
    from lifecycle.plans.pagination_check import PaginationCheck, lists_of

    policy = declared_policy()
    # The stack's policy may differ from the local one. Then its lists have no names here.
    names = [asked.name for asked in lists_of(policy)] if row.terms.endswith(policy.digest) else []
    rows = table("list", "read", "")
    for number, check in enumerate(PaginationCheck(**one) for one in json.loads(row.lists)):
        name = names[number] if number < len(names) else f"list {number + 1}"
        of_all = f" of {check.last_total}" if check.last_total is not None else ""
        again = f"reading {check.reading}: {check.trouble}" if check.trouble else ""
        rows.add_row(name, f"{check.rows}{of_all}", plain("complete" if check.done and not again else again))
    out.print(rows, soft_wrap=True)


def _in_the_way(
    out: "Console", context: "CliContext", target: "Stack", org_id: str, stops: "Sequence[str]" = ()
) -> None:
    """Print what keeps a sweep from starting or continuing now: a pause, or a token that Tallyfy refuses.

    ``stops`` holds the obstacles that the sweep itself found when it began.
    """
    from cli.services.stack_check import troubles_of

    print_pauses(out, known_pauses(target, [org_id]))
    now = troubles_of(context, target, org_id)
    # If Tallyfy cannot be reached from here, use what the sweep found.
    for sentence in stops if now is None else now:
        out.print(NO, plain(sentence), soft_wrap=True)


def _planned(out: "Console", target: "Stack", org_id: str, row: "Progress") -> None:
    from cli.services import plans

    try:
        plan = plans.find(target, row.plan, org_id)
    except CliError as expected:
        # A plan may be removed earlier than the record of its sweep.
        out.print(NOTE, plain(f"{expected} {row.seen} were seen, {row.due} were due."), soft_wrap=True)
        return
    plans.show(out, plan)
    _applied(out, target, plan, done=row.done)


def _applied(out: "Console", target: "Stack", plan: "Plan", *, done: bool) -> None:
    """Print the outcome of a plan, and what a person can do next."""
    from cli.services import plans
    from lifecycle.plans.application import PlanPart, Stage
    from lifecycle.policy.evaluate import Mode

    states = plans.states_of(target, plan)
    for part, state in states.items():
        if state.stage:
            mark = {Stage.DONE: YES, Stage.STOPPED: NO}.get(Stage(state.stage), NOTE)
            by = f"{plans.progress(part, state)}, asked for by {state.requested_by}"
            what = "revert" if part is PlanPart.REVERTED else f"{part} actions"
            out.print(mark, plain(f"{what}: {by}"), soft_wrap=True)
            if state.why:
                out.print(" ", plain(state.why), soft_wrap=True)
    if done and plan.due and not any(state.stage for state in states.values()):
        why = "SweepMode is report" if plan.mode is Mode.REPORT else "see above"
        out.print(NOTE, f"Only reported: {why}.")
    out.print(f"  to see it     lifecycle report {plans.short(plan)}", soft_wrap=True)
    waiting = [part for part in PlanPart if states[part].stage != Stage.DONE and plans.due_in(plan, part)]
    stopped = any(state.stage == Stage.STOPPED for state in states.values())
    if done and waiting and not (stopped or plan.unseen or plan.stops):
        out.print(f"  to apply it   lifecycle apply {plan.hash}", soft_wrap=True)
