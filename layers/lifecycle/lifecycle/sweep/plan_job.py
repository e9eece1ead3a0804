"""The sweep itself: read every list, write a plan and, in mode ``apply``, apply what can be undone.

Each page, plan and batch is a checkpoint, so a sweep that is cut off continues after the last one. It uses the time of
its start and decides after everything was read. So it makes the same plan, however often it is cut off.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial

from lifecycle.audit.chain import What
from lifecycle.aws.metrics import Metric
from lifecycle.aws.s3 import Objects
from lifecycle.aws.sqs import Queue
from lifecycle.domain.commands import SWEEP
from lifecycle.domain.errors import Code, Rejected, Throttled
from lifecycle.plans.application import Application, PlanPart, Stage
from lifecycle.plans.builder import PlanTerms, seal, unseen
from lifecycle.plans.executor import ApplyTerms, PlanExecutor
from lifecycle.plans.inventory import Inventory
from lifecycle.plans.limits import refusals
from lifecycle.plans.names import NameReader
from lifecycle.plans.pagination_check import PaginationCheck, lists_of
from lifecycle.plans.plan_file import Names, Plan, PlanHeader
from lifecycle.plans.plan_store import PlanStore
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.policy.warnings import WARN_FIRST
from lifecycle.sweep.digest import record_finished
from lifecycle.sweep.jobs import SCHEDULE, JobKind, SweepJob
from lifecycle.sweep.pace import SweepPace
from lifecycle.sweep.preflight import Preflight, notes, reasons
from lifecycle.sweep.preflight_rules import Finding
from lifecycle.sweep.reports import PlanOutcome, SweepReports
from lifecycle.sweep.state import Progress, SweepState
from lifecycle.sweep.terms import TermsReader
from lifecycle.tallyfy.client import Tallyfy

_SEALING_SECONDS = 300.0
"""How many seconds writing a large plan and its report may take."""
_PREFLIGHT_CALLS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanJob:
    """Makes the plan of one organization, and applies it where the mode says so."""

    state: SweepState
    pace: SweepPace
    reports: SweepReports
    executor: PlanExecutor
    preflight: Preflight
    tallyfy: Tallyfy
    objects: Objects
    terms: TermsReader
    policy: Policy
    mode: Mode
    queue: Queue
    """The sweeps queue: people are warned by a job of their own, so that a chat tool that is out delays no plan."""
    after_step: Callable[[], None] = field(default=lambda: None)
    """Called after each page and plan was recorded; tests end the process there."""

    def run(self, job: SweepJob, org_id: str) -> None:
        """Start or continue a sweep. Raises ``Retryable`` if it must come back, ``Rejected`` if it cannot continue."""
        by = job.requested_by or SCHEDULE
        sweep_id = job.sweep_id
        progress, version = self.state.progress(sweep_id, org_id)
        if progress.terms != self.state.terms:
            raise Rejected(
                Code.CHANGED,
                "The mode or the policy was changed after this sweep started. The next sweep uses the new one.",
            )
        if not progress.begun_at:
            progress = self._begin(org_id, progress)
            version = self.state.save(sweep_id, org_id, progress, version)
        inventory = Inventory(
            tallyfy=self.tallyfy,
            objects=self.objects,
            org_id=org_id,
            folder=f"sweeps/{org_id}/{sweep_id}",
            take_turn=partial(self.pace.take_turn, org_id),
            clock=self.state.clock,
        )
        progress, version = self._read_lists(sweep_id, org_id, inventory, (progress, version))
        if not progress.plan:
            plan = self._make_plan(sweep_id, org_id, inventory, progress)
            self.state.remember_newest(plan)
            due = f"{plan.due} of {plan.seen} things are due"
            self.reports.record(What.PLAN_MADE, org_id, plan.hash, due, by=by)
            self._warn(job, plan)
            progress = replace(progress, plan=plan.hash, seen=plan.seen, due=plan.due)
            version = self.state.save(sweep_id, org_id, progress, version)
            self.after_step()
        self._apply_reversible(org_id, progress.plan, by=by)
        record_finished(self.state.rows, org_id, self.state.clock())
        self.state.save(sweep_id, org_id, replace(progress, done=True), version)

    def is_done(self, job: SweepJob, org_id: str) -> bool:
        """Whether this sweep has finished before."""
        return self.state.progress(job.sweep_id, org_id)[0].done

    def look(self, org_id: str) -> tuple[Finding, ...]:
        """Check whether everything is in order. Costs two calls to Tallyfy."""
        self.pace.take_turn(org_id, _PREFLIGHT_CALLS)
        return self.pace.call(org_id, partial(self.preflight.look, org_id))

    def _warn(self, job: SweepJob, plan: Plan) -> None:
        if self.mode is Mode.APPLY and plan.kept_by.get(WARN_FIRST) and not plan.unseen:
            warn = SweepJob(
                sweep_id=f"{job.sweep_id}:warn",
                org_id=plan.org_id,
                kind=JobKind.WARN,
                plan=plan.hash,
                requested_by=SCHEDULE,
            )
            self.queue.send(warn.model_dump_json(exclude_none=True))

    def _begin(self, org_id: str, progress: Progress) -> Progress:
        """Run the preflight before anything is read. A failed check stops the application of the plan."""
        findings = self.look(org_id)
        self.preflight.tell(org_id, findings)
        return replace(
            progress,
            begun_at=self.state.clock().isoformat(),
            lists=json.dumps([asdict(PaginationCheck()) for _ in lists_of(self.policy)]),
            stops=json.dumps(reasons(findings)),
            org_name=next((finding.name for finding in findings if finding.name), ""),
            notes=json.dumps(notes(findings)),
        )

    def _read_lists(
        self, sweep_id: str, org_id: str, inventory: Inventory, saved: tuple[Progress, int]
    ) -> tuple[Progress, int]:
        progress, version = saved
        for number, query in enumerate(lists_of(self.policy)):
            while not (check := progress.checks[number]).done:
                after = self.pace.call(org_id, partial(inventory.read_page, query, check))
                progress = progress.with_check(number, after)
                version = self.state.save(sweep_id, org_id, progress, version)
                self.after_step()
        return progress, version

    def _make_plan(self, sweep_id: str, org_id: str, inventory: Inventory, progress: Progress) -> Plan:
        names = self._names(inventory)
        if self.pace.time_left() < _SEALING_SECONDS:
            raise Throttled(Code.OUT_OF_TIME, "The next invocation writes the plan.", retry_after=1)
        lists = list(zip(lists_of(self.policy), progress.checks, strict=True))
        header = PlanHeader(
            org_id=org_id,
            sweep_id=sweep_id,
            made_at=datetime.fromisoformat(progress.begun_at),
            policy=self.policy.digest,
            zone=self.policy.zone.key,
            unseen=unseen(lists),
        )
        terms = replace(self._terms(sweep_id, org_id, progress), names=names)
        return seal(inventory, lists, header, terms, self.objects)

    def _names(self, inventory: Inventory) -> Names:
        if self.terms.directory is None:
            return Names()
        reader = NameReader(
            directory=self.terms.directory,
            objects=self.objects,
            org_id=inventory.org_id,
            folder=inventory.folder,
            take_turn=inventory.take_turn,
            through=self.pace.call,
        )
        return reader.read({query.resource for query in lists_of(self.policy)})

    def _terms(self, sweep_id: str, org_id: str, progress: Progress) -> PlanTerms:
        # A problem at the start, such as a wrong token, may have been fixed meanwhile.
        stops = reasons(self.look(org_id)) if json.loads(progress.stops) else ()
        terms = self.terms.read(org_id, sweep_id, datetime.fromisoformat(progress.begun_at), stops)
        return replace(terms, org_name=progress.org_name or None, notes=tuple(json.loads(progress.notes)))

    def _apply_reversible(self, org_id: str, plan_hash: str, *, by: str) -> None:
        with PlanStore(self.objects).open(org_id, plan_hash) as (plan, lines):
            stopped = refusals(plan, self.policy, self.state.clock(), source=SWEEP) if self.mode is Mode.APPLY else ()
            applied = Application()
            if self.mode is Mode.APPLY and not stopped:
                terms = ApplyTerms(by=SCHEDULE, source=SWEEP)
                carry_on = partial(self.executor.carry_on, plan, lines, PlanPart.REVERSIBLE, terms)
                applied = self.pace.watch(org_id, carry_on)
            if applied.stage == Stage.STOPPED:
                stopped = (*stopped, applied.why)
            outcome = PlanOutcome(signal=Metric.SWEEP_FINISHED, plan=plan, by=by, sent=applied.sent, stopped=stopped)
            self.reports.finished(outcome)
