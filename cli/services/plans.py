"""The plans of a stack: found by their hash, verified, printed, and sent to be applied or undone."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from cli.clients.stack import Stack, one_organization, organizations_of
from cli.ui.console import NO, NOTE, RED, plain, table, utc
from cli.ui.errors import CliError, Exit
from lifecycle.domain.commands import one_line
from lifecycle.plans.application import Application, PlanPart, Stage, application_in, application_key
from lifecycle.plans.approval_question import rule_line, totals_line
from lifecycle.plans.limits import too_old
from lifecycle.plans.names import stored_names
from lifecycle.plans.plan_file import LINES, Entry, Plan, entries, open_lines
from lifecycle.plans.plan_lines import count_due
from lifecycle.plans.plan_store import key_of, what_differs
from lifecycle.plans.report.spreadsheet import csv_lines
from lifecycle.plans.warning_marks import SentWarnings, WarningMarks
from lifecycle.policy.policy import Policy
from lifecycle.policy.warnings import WarnFirst
from lifecycle.sweep.jobs import JobKind, SweepJob
from lifecycle.sweep.state import newest_key

_WHOLE = re.compile(r"[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{8,64}")
_REQUESTER = 200
"""The most characters of a command's ``requested_by``."""
_SHOWN = 12
"""The characters of a hash that are shown to people."""


def find(stack: Stack, name: str, org: str | None) -> Plan:
    """A plan by its hash, or by at least the first eight characters of it.

    Raises:
        CliError: There is none, or more than one; or it cannot be understood.
    """
    given = name.strip().lower()
    if not _SHORT.fullmatch(given):
        raise CliError(
            f"'{given[:70]}' is not the hash of a plan. Give at least 8 of its 64 characters (0-9, a-f).", Exit.USAGE
        )
    objects = stack.objects()
    found = [
        (org_id, key.split("/")[-2])
        for org_id in organizations_of(stack, org)
        for key in objects.keys(key_of(org_id, given, "").removesuffix("/"))
        if key.endswith("/plan.json")
    ]
    if not found:
        raise CliError(f"Stack '{stack.name}' has no plan {given}: it was never made, or it is no longer kept.")
    if len(found) > 1:
        raise CliError(f"More than one plan begins with {given}. Give more of the hash.", Exit.USAGE)
    [(org_id, whole)] = found
    return _read(stack, org_id, whole)


def find_whole(stack: Stack, name: str, org: str | None) -> Plan:
    """As ``find``, but only by the whole hash, because it is what a person confirms.

    The summary is verified against the lines, which the hash is of.
    """
    if not _WHOLE.fullmatch(name.strip().lower()):
        raise CliError("Give the whole hash of the plan, all 64 characters, as the report shows it.", Exit.USAGE)
    plan = find(stack, name, org)
    with lines_of(stack, plan):
        return plan


def newest(stack: Stack, org: str | None) -> Plan:
    """The plan that was made last in the one organization that is meant."""
    org_id = one_organization(stack, org)
    found = newest_of(stack, org_id)
    if found is None:
        raise CliError(f"There is no plan of organization {org_id} yet: `lifecycle sweep start` makes one.")
    return found


def newest_of(stack: Stack, org_id: str) -> Plan | None:
    """As `newest`; `None` if there is none."""
    [row] = stack.rows().read(newest_key(org_id))
    name = str(row.values.get("plan", "")) if row else ""
    if not _WHOLE.fullmatch(name) or stack.objects().get(key_of(org_id, name, "plan.json")) is None:
        return None
    return _read(stack, org_id, name)


def _read(stack: Stack, org_id: str, name: str) -> Plan:
    body = stack.objects().get(key_of(org_id, name, "plan.json")) or b""
    try:
        plan = Plan.model_validate_json(body)
    except ValidationError as error:
        raise CliError(f"Plan {name} was written by another release. Make a new one.") from error
    if (plan.org_id, plan.hash) != (org_id, name):
        raise CliError(f"The bucket holds another plan under the name of plan {name}. Make a new one.")
    return plan


@contextmanager
def lines_of(stack: Stack, plan: Plan) -> Iterator[Path]:
    """Its verified lines, in a file for as long as the context lasts.

    Raises:
        CliError: The lines do not have the hash of the plan, or its summary does not match them.
    """
    with TemporaryDirectory() as scratch:
        path = Path(scratch, LINES)
        if not stack.objects().fetch(key_of(plan.org_id, plan.hash, LINES), path):
            raise CliError(f"The lines of plan {plan.hash} no longer exist. Make a new plan.")
        wrong = what_differs(plan, path)
        if wrong:
            raise CliError(wrong)
        yield path


def fetch_report(stack: Stack, plan: Plan, file: Path) -> None:
    """Fetch the page of a plan.

    Raises:
        CliError: It no longer exists.
    """
    if not stack.objects().fetch(key_of(plan.org_id, plan.hash, "report.html"), file):
        raise CliError(f"The report of plan {plan.hash} no longer exists. Make a new plan.")


def write_csv(stack: Stack, plan: Plan, file: Path) -> None:
    """Write everything that a plan has seen as CSV, after its lines are verified, with the names kept beside it.

    Raises:
        CliError: As `lines_of`.
    """
    names = stored_names(stack.objects(), plan.org_id, plan.hash)
    with lines_of(stack, plan) as path, open_lines(path) as lines, file.open("w", encoding="utf-8", newline="") as out:
        out.writelines(csv_lines(plan, entries(lines), names))


def warn_first(stack: Stack | None, org_id: str, policy: Policy, now: datetime) -> WarnFirst:
    """What a sweep would decide now about warnings: with the marks of the stack's newest plan, if there is one.

    It warns nobody. Who could be warned is not known here, so everybody is taken to be.
    """
    plan = newest_of(stack, org_id) if stack else None
    marks = WarningMarks(stack.objects(), SentWarnings(stack.rows())).load(org_id, plan.hash) if stack and plan else {}
    return WarnFirst(
        policy=policy,
        sweep_id="preview",
        now=now,
        recipients=lambda _rule, _thing: frozenset({"somebody"}),
        marks=marks,
        begins=False,
    )


def said_of(stack: Stack, plan: Plan, thing_id: str) -> Entry | None:
    """What a plan says of a thing; `None` if it was not seen."""
    named = thing_id.encode()
    with lines_of(stack, plan) as path, open_lines(path) as file:
        # Reading a line is cheap, but parsing it is not.
        return next((one for one in entries(line for line in file if named in line) if one.thing.id == thing_id), None)


def applied(stack: Stack, plan: Plan) -> Mapping[PlanPart, Application]:
    """How far each half of a plan has been applied that acts on anything."""
    return {part: state for part, state in states_of(stack, plan).items() if due_in(plan, part)}


def states_of(stack: Stack, plan: Plan) -> Mapping[PlanPart, Application]:
    """How far each half of a plan has been applied, and how far that was taken back."""
    parts = list(PlanPart)
    rows = stack.rows().read(*(application_key(plan.org_id, plan.hash, part) for part in parts))
    return {part: application_in(row) for part, row in zip(parts, rows, strict=True)}


def stage_text(state: Application) -> str:
    """How far it has come, in a word for people."""
    return "in progress" if state.stage == Stage.REST else state.stage


def progress(part: PlanPart, state: Application) -> str:
    """How far a part of a plan has come, as a phrase such as "done, 12 enqueued". A revert counts what it checked."""
    return f"{stage_text(state)}, {state.sent} {'commands checked' if part is PlanPart.REVERTED else 'enqueued'}"


def due_in(plan: Plan, part: PlanPart) -> int:
    """How many things one half of it acts on. Taking back is no half: it acts on what was done of the first."""
    if part is PlanPart.REVERTED:
        return 0
    return sum(rule.due for rule in plan.rules if rule.irreversible is (part is PlanPart.IRREVERSIBLE))


def due_of_first(stack: Stack, plan: Plan, first: int) -> Mapping[PlanPart, int]:
    """How many of the oldest so many things each half of it acts on."""
    with lines_of(stack, plan) as path:
        return {part: count_due(path, part, first) for part in (PlanPart.REVERSIBLE, PlanPart.IRREVERSIBLE)}


def refusals_of(plan: Plan, now: datetime, *, first: int | None = None) -> tuple[str, ...]:
    """Why the stack would refuse to apply a plan, whoever asks; empty if this command knows no reason.

    With ``first``, only the oldest so many things are applied, so caps on the whole plan do not count.
    """
    stops = tuple(why for why in plan.stops if first is None or why not in plan.capped)
    return *plan.unseen, *stops, *too_old(plan, now)


def show(out: Console, plan: Plan) -> None:
    """The plan as a whole: how many things, by which rule, why the rest is kept, and what stands in the way."""
    out.print("[bold]plan[/]     ", plan.hash, soft_wrap=True)
    out.print("[bold]made[/]     ", plain(f"{utc(plan.made_at)}, {place_of(plan)}"), soft_wrap=True)
    out.print("[bold]things[/]   ", totals_of(plan), soft_wrap=True)
    if plan.due:
        minutes = f"about {plan.estimated_minutes} min at {plan.per_minute} calls a minute"
        out.print("[bold]takes[/]    ", minutes, soft_wrap=True)
    out.print(by_rule(plan))
    if plan.kept_by:
        kept = table("kept because", "things")
        kept.columns[1].justify = "right"
        for kind, number in plan.kept_by.items():
            kept.add_row(plain(f"  {kind}"), str(number))
        out.print(kept, soft_wrap=True)
    print_obstacles(out, plan)


def place_of(plan: Plan) -> str:
    """The name and the id of its organization."""
    return f"{plan.org_name} ({plan.org_id})" if plan.org_name else plan.org_id


def totals_of(plan: Plan) -> str:
    """The sum that always holds."""
    return totals_line(plan)


def by_rule(plan: Plan) -> Text:
    """A line for each rule that acts; what cannot be undone stands out."""
    width = max((len(rule.name) for rule in plan.rules), default=0)
    lines = []
    for rule in plan.rules:
        line = Text(f"  {rule_line(rule, width)}")
        if rule.irreversible and rule.due:
            line.stylize(RED)
        lines.append(line)
    return Text("\n").join(lines)


def print_obstacles(out: Console, plan: Plan) -> None:
    """Print what keeps a plan from being applied, and what else a person should know."""
    for why in plan.unseen:
        out.print(NO, "incomplete:", plain(why), soft_wrap=True)
    for why in plan.stops:
        out.print(NO, "not applied:", plain(why), soft_wrap=True)
    for why in plan.person:
        out.print(NOTE, "a person must apply it:", plain(why), soft_wrap=True)
    for why in plan.notes:
        out.print(NOTE, plain(why), soft_wrap=True)


def short(plan: Plan) -> str:
    """Return the beginning of the hash, which is enough for commands that only read."""
    return plan.hash[:_SHOWN]


def requester(target: Stack) -> str:
    """Return the caller's AWS identity as commands and records name it."""
    return one_line(target.caller(), most=_REQUESTER)


def send(target: Stack, plan: Plan, kind: JobKind, *, first: int | None = None) -> SweepJob:
    """Send a job about a plan to the sweeps queue, in the name of the caller as AWS knows it."""
    queue = next((pair.origin for pair in target.pairs() if pair.name == "sweeps"), None)
    if queue is None:
        raise CliError(f"Stack '{target.name}' has no sweeps queue. Deploy this release.", Exit.UNREACHABLE)
    job = SweepJob(
        sweep_id=f"{kind}-{plan.hash[:12]}-{secrets.token_hex(4)}",
        org_id=plan.org_id,
        kind=kind,
        plan=plan.hash,
        requested_by=requester(target),
        first=first,
    )
    queue.send(job.model_dump_json(exclude_none=True))
    return job
