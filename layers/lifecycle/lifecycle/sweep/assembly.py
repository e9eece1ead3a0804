"""Builds the sweep's service from its parts, for the function and for tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from lifecycle.approvals.people import People
from lifecycle.approvals.store import ApprovalStore
from lifecycle.audit.store import AuditStore
from lifecycle.aws.dynamodb import VersionedTable
from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.metrics import Metrics
from lifecycle.aws.s3 import Objects
from lifecycle.aws.sqs import Queue
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.wakeup_check import WakeupService
from lifecycle.holds.store import HoldStore
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.plans.application import ApplicationStore
from lifecycle.plans.canary import Canary
from lifecycle.plans.commands import PlanCommands
from lifecycle.plans.executor import PlanExecutor
from lifecycle.plans.plan_store import PlanStore
from lifecycle.plans.reverter import PlanReverter
from lifecycle.plans.warning_marks import SentWarnings, WarningMarks
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.sweep.apply_job import ApplyJob
from lifecycle.sweep.check_job import CheckJob
from lifecycle.sweep.digest import Digest
from lifecycle.sweep.pace import SweepPace
from lifecycle.sweep.plan_job import PlanJob
from lifecycle.sweep.preflight import Preflight
from lifecycle.sweep.reports import SweepReports
from lifecycle.sweep.service import SweepService
from lifecycle.sweep.state import SweepState
from lifecycle.sweep.terms import TermsReader
from lifecycle.sweep.warn_job import Warner, WarnJob
from lifecycle.tallyfy.client import Tallyfy
from lifecycle.tallyfy.directory import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepParts:
    """Everything that a sweep needs. ``retry_base``, ``sleep`` and ``time_left`` are in seconds."""

    rows: VersionedTable
    ledger: Ledger
    holds: HoldStore
    tallyfy: Tallyfy
    directory: Directory | None = None
    """Where the names in reports are read; without it, reports show ids."""
    pacing: Pacing
    queue: Queue
    bulk: Queue
    purge: Queue
    objects: Objects
    bus: Bus
    outcomes: Outcomes
    metrics: Metrics
    preflight: Preflight
    waking: WakeupService
    digest: Digest
    approvals: ApprovalStore
    people: People
    warner: Warner
    policy: Policy
    mode: Mode
    org_ids: frozenset[str]
    id_key: Callable[[], bytes]
    retry_base: float
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    time_left: Callable[[], float]
    after_step: Callable[[], None] = field(default=lambda: None)
    """Called after each page, plan and batch was recorded; tests end the process there."""


def assemble(parts: SweepParts) -> SweepService:
    """The service that handles messages of the sweeps queue."""
    state = SweepState(rows=parts.rows, clock=parts.clock, terms=f"{parts.mode} {parts.policy.digest}")
    pace = SweepPace(pacing=parts.pacing, sleep=parts.sleep, time_left=parts.time_left)
    plan_job = _plan_job(parts, state, pace)
    return SweepService(
        queue=parts.queue,
        outcomes=parts.outcomes,
        metrics=parts.metrics,
        state=state,
        plan_job=plan_job,
        apply_job=_apply_job(parts, plan_job),
        check_job=CheckJob(
            rows=parts.rows,
            plan_job=plan_job,
            waking=parts.waking,
            approvals=parts.approvals,
            bus=parts.bus,
            metrics=parts.metrics,
            clock=parts.clock,
        ),
        warn_job=WarnJob(
            state=state,
            marks=plan_job.terms.marks,
            warner=parts.warner,
            clock=parts.clock,
            after_step=parts.after_step,
        ),
        digest=parts.digest,
        org_ids=parts.org_ids,
        retry_base=parts.retry_base,
    )


def _plan_job(parts: SweepParts, state: SweepState, pace: SweepPace) -> PlanJob:
    reports = SweepReports(
        audit=AuditStore(parts.rows),
        applications=ApplicationStore(rows=parts.rows, clock=parts.clock),
        bus=parts.bus,
        metrics=parts.metrics,
        mode=parts.mode,
        clock=parts.clock,
    )
    return PlanJob(
        state=state,
        pace=pace,
        reports=reports,
        executor=plan_executor(parts, pace),
        preflight=parts.preflight,
        tallyfy=parts.tallyfy,
        objects=parts.objects,
        terms=_terms_reader(parts, state),
        policy=parts.policy,
        mode=parts.mode,
        queue=parts.queue,
        after_step=parts.after_step,
    )


def plan_executor(parts: SweepParts, pace: SweepPace) -> PlanExecutor:
    """What applies plans."""
    commands = _commands(parts)
    return PlanExecutor(
        rows=parts.rows,
        applications=ApplicationStore(rows=parts.rows, clock=parts.clock),
        commands=commands,
        canary=Canary(
            ledger=parts.ledger,
            tallyfy=parts.tallyfy,
            pacing=parts.pacing,
            commands=commands,
            take_turn=pace.take_turn,
        ),
        pacing=parts.pacing,
        policy=parts.policy,
        clock=parts.clock,
        time_left=parts.time_left,
        canary_wait=parts.retry_base,
        after_batch=parts.after_step,
    )


def _terms_reader(parts: SweepParts, state: SweepState) -> TermsReader:
    return TermsReader(
        state=state,
        ledger=parts.ledger,
        holds=parts.holds,
        marks=WarningMarks(parts.objects, SentWarnings(parts.rows)),
        warner=parts.warner,
        directory=parts.directory,
        policy=parts.policy,
        mode=parts.mode,
        per_minute=lambda: parts.pacing.rate.per_minute,
    )


def _apply_job(parts: SweepParts, plan_job: PlanJob) -> ApplyJob:
    return ApplyJob(
        state=plan_job.state,
        pace=plan_job.pace,
        reports=plan_job.reports,
        plans=PlanStore(parts.objects),
        executor=plan_job.executor,
        reverter=PlanReverter(
            applications=plan_job.executor.applications,
            ledger=parts.ledger,
            commands=plan_job.executor.commands,
            bulk=parts.bulk,
            clock=parts.clock,
            time_left=parts.time_left,
            after_batch=parts.after_step,
        ),
        approvals=parts.approvals,
        people=parts.people,
        bus=parts.bus,
        clock=parts.clock,
    )


def _commands(parts: SweepParts) -> PlanCommands:
    return PlanCommands(bulk=parts.bulk, purge=parts.purge, id_key=parts.id_key, clock=parts.clock)
