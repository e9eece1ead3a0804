"""The state of a stack on one screen: pauses, queues, dead letters, approvals, sweeps, plans, audit trail, alarms.

Each part is read separately. A part that cannot be read is named in ``Overview.unknown``, and the rest is shown.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cli.clients.stack import Alarm, Stack, organizations_of
from cli.clients.tallyfy_reader import access_of
from cli.services import dead_letter_queue, plans
from cli.ui.errors import expected_error
from lifecycle.approvals.store import ApprovalStore
from lifecycle.audit.store import AuditStore
from lifecycle.aws import table_keys
from lifecycle.domain.clock import moment
from lifecycle.pacing.token_bucket import SECOND, Bucket

_MOST_LETTERS = 100
"""The dead letters of each queue that are read for their codes. All of them are counted."""


@dataclass(slots=True)
class QueueView:
    """One queue and its dead-letter queue. ``oldest`` is how long its oldest message has waited, as SQS measures it."""

    name: str
    waiting: int | None = None
    oldest: timedelta | None = None
    dead_letters: int | None = None
    codes: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class PlanView:
    """The newest plan of an organization, and what became of it."""

    hash: str
    made_at: datetime
    seen: int
    due: int
    state: str


@dataclass(slots=True)
class OrganizationView:
    """One organization."""

    org_id: str
    paused_by: str = ""
    outage: bool = False
    """Whether the circuit breaker is open: the stack sends only probes."""
    wait_until: datetime | None = None
    """The end of the last wait that Tallyfy asked for with a 429 or 503. It may be in the past."""
    approvals: int | None = None
    approvals_expire_at: datetime | None = None
    """When the first of the requests expires that wait for an approval."""
    sweep_in_progress: str = ""
    sweep_finished_at: datetime | None = None
    plan: PlanView | None = None
    token_stored_at: datetime | None = None


@dataclass(slots=True)
class Overview:
    """A whole stack. ``unknown`` names each part that could not be read, with the reason."""

    at: datetime
    stack: str
    mode: str = "unknown"
    per_minute: str = "unknown"
    queues: list[QueueView] = field(default_factory=list)
    organizations: list[OrganizationView] = field(default_factory=list)
    asked_to_wait: int | None = None
    """How often Tallyfy answered 429, or 503 with a time to wait, in the last day, to all organizations together."""
    sealed_through: str | None = None
    """The newest hour of the audit trail that is sealed."""
    alarms: list[Alarm] | None = None
    """The alarms that are ringing."""
    unknown: dict[str, str] = field(default_factory=dict)

    def read(self, part: str, action: Callable[[], None]) -> None:
        """Read one part, or record why it is unknown. Unexpected errors are raised."""
        try:
            action()
        except Exception as error:
            expected = expected_error(error)
            if expected is None:
                raise
            self.unknown[part] = str(expected)


def overview(stack: Stack, clock: Callable[[], datetime]) -> Overview:
    """Read everything.

    Raises:
        CliError: There is no such stack, or it names no organization.
    """
    found = Overview(clock(), stack.name)
    org_ids = organizations_of(stack, None)
    found.read("parameters", lambda: _parameters(found, stack))
    found.read("queues", lambda: _queues(found, stack))
    found.read("ages", lambda: _ages(found, stack))
    found.read("429s", lambda: setattr(found, "asked_to_wait", stack.asked_to_wait()))
    found.read("dead letters", lambda: _dead_letters(found, stack, clock))
    for org_id in org_ids:
        view = OrganizationView(org_id)
        found.organizations.append(view)
        _organization(found, view, stack, clock)
    found.read("audit", lambda: _audit(found, stack))
    found.read("alarms", lambda: _alarms(found, stack))
    return found


def _parameters(found: Overview, stack: Stack) -> None:
    parameters = stack.parameters()
    found.mode = parameters.get("SweepMode", "unknown")
    found.per_minute = parameters.get("RatePerMinute", "unknown")


def _queues(found: Overview, stack: Stack) -> None:
    for pair in stack.pairs():
        view = QueueView(pair.name)
        found.queues.append(view)
        found.read(f"queue {pair.name}", lambda view=view, pair=pair: setattr(view, "waiting", pair.origin.depth()))  # type: ignore[misc]


def _ages(found: Overview, stack: Stack) -> None:
    ages = stack.queue_ages()
    for view in found.queues:
        seconds = ages.get(view.name)
        view.oldest = None if seconds is None else timedelta(seconds=seconds)


def _dead_letters(found: Overview, stack: Stack, clock: Callable[[], datetime]) -> None:
    seen = dead_letter_queue.look(stack.pairs(), most=_MOST_LETTERS, clock=clock)
    depths = {pair.name: pair.dead.depth() for pair in stack.pairs()}
    for view in found.queues:
        codes = Counter(letter.code for letter in seen.letters if letter.queue == view.name)
        # The depth of a queue is approximate, but letters that were read exist.
        view.dead_letters = max(codes.total(), depths.get(view.name, 0))
        view.codes = dict(codes.most_common())


def _organization(found: Overview, view: OrganizationView, stack: Stack, clock: Callable[[], datetime]) -> None:
    org_id = view.org_id
    found.read(f"pace of {org_id}", lambda: _pace(view, stack))
    found.read(f"approvals of {org_id}", lambda: _approvals(view, stack, clock))
    found.read(f"sweeps of {org_id}", lambda: _sweeps(view, stack))
    found.read(f"plan of {org_id}", lambda: _plan(view, stack))
    found.read(f"token of {org_id}", lambda: setattr(view, "token_stored_at", access_of(stack, org_id).stored_at()))


def _pace(view: OrganizationView, stack: Stack) -> None:
    [row] = stack.rows().read(table_keys.pace(view.org_id))
    if row is None:
        return
    known = Bucket.__dataclass_fields__
    bucket = Bucket(**{name: value for name, value in row.values.items() if name in known})  # type: ignore[arg-type]
    view.paused_by, view.outage = bucket.paused_by, bucket.is_out
    if bucket.blocked_until:
        view.wait_until = datetime.fromtimestamp(bucket.blocked_until / SECOND, UTC)


def _approvals(view: OrganizationView, stack: Stack, clock: Callable[[], datetime]) -> None:
    waiting = ApprovalStore(stack.rows(), timedelta(0), clock).open(view.org_id)
    view.approvals = len(waiting)
    view.approvals_expire_at = min((moment(one.deadline) for one in waiting), default=None)


def _sweeps(view: OrganizationView, stack: Stack) -> None:
    keys = [table_keys.sweeps(view.org_id, name) for name in ("current", "finished")]
    current, finished = stack.rows().read(*keys)
    view.sweep_in_progress = str(current.values.get("sweep_id") or "") if current else ""
    with suppress(ValueError):
        view.sweep_finished_at = datetime.fromisoformat(str(finished.values.get("at"))) if finished else None


def _plan(view: OrganizationView, stack: Stack) -> None:
    plan = plans.newest_of(stack, view.org_id)
    if plan is None:
        return
    stages = {part: plans.stage_text(state) for part, state in plans.states_of(stack, plan).items() if state.stage}
    state = ", ".join(f"{part} {stage}" for part, stage in stages.items()) or _not_applied(plan.due, stopped=plan.stops)
    view.plan = PlanView(plan.hash, plan.made_at, plan.seen, plan.due, state)


def _not_applied(due: int, *, stopped: tuple[str, ...]) -> str:
    if not due:
        return "nothing to do"
    return "stopped: see its report" if stopped else "not applied"


def _audit(found: Overview, stack: Stack) -> None:
    head, _ = AuditStore(stack.rows()).head()
    found.sealed_through = head.through or None if head else None


def _alarms(found: Overview, stack: Stack) -> None:
    found.alarms = sorted(stack.alarms(), key=lambda alarm: alarm.since)
