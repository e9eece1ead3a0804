"""Plans that people apply or undo: with the approvals that irreversible actions need."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from lifecycle.approvals import rules
from lifecycle.approvals.people import People
from lifecycle.approvals.rules import About, ApprovalRequest, ApprovalStatus
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws import table_keys
from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.metrics import Metric
from lifecycle.deletion.safeguards import announce_request
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import PLAN
from lifecycle.domain.errors import Code, Rejected
from lifecycle.execution import reverted_plans
from lifecycle.plans.application import Application, PlanPart, Stage, already_reverted
from lifecycle.plans.executor import ApplyTerms, PlanExecutor
from lifecycle.plans.limits import FRESH, refusals
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_lines import count_due
from lifecycle.plans.plan_store import PlanStore
from lifecycle.plans.reverter import PlanReverter
from lifecycle.sweep.jobs import SweepJob
from lifecycle.sweep.pace import SweepPace
from lifecycle.sweep.reports import PlanOutcome, SweepReports
from lifecycle.sweep.state import SweepState

_REVERTED = "The plan was reverted."


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyJob:
    """Applies and undoes one plan."""

    state: SweepState
    pace: SweepPace
    reports: SweepReports
    plans: PlanStore
    executor: PlanExecutor
    reverter: PlanReverter
    approvals: ApprovalStore
    people: People
    bus: Bus
    clock: Callable[[], datetime]

    def is_reverted(self, org_id: str, plan_hash: str) -> str:
        """Why a plan may not be applied any more, as a sentence, if somebody reverted it; empty if nobody did."""
        [row] = self.state.rows.read(table_keys.reverted_plan(org_id, plan_hash))
        if row is None:
            return ""
        return f"{reverted_plans.reverted_by(row)} reverted the plan. Make a new plan."

    def apply(self, job: SweepJob, org_id: str, plan_hash: str, by: str) -> None:
        """Apply a plan or continue. Raises ``Retryable`` if it must come back, ``Rejected`` if it is not allowed."""
        with self.plans.open(org_id, plan_hash) as (plan, lines):
            begun = self.executor.applications.find(plan, PlanPart.REVERSIBLE)
            # A started plan continues on its first terms, whoever continues it.
            first = begun.first if begun.stage else job.first or 0
            refused = refusals(plan, self.executor.policy, self.clock(), source=PLAN, first=first)
            if refused:
                raise Rejected(Code.PLAN_STOPPED, " ".join(refused))
            terms = ApplyTerms(by=by, source=PLAN, first=first)
            parts: list[Application] = []
            for part in (PlanPart.REVERSIBLE, PlanPart.IRREVERSIBLE):
                needs_approval = part is PlanPart.IRREVERSIBLE and (not first or count_due(lines, part, first))
                if needs_approval and not self._is_approved(plan, job, by):
                    break
                carry_on = partial(self.executor.carry_on, plan, lines, part, terms)
                parts.append(self.pace.watch(org_id, carry_on))
                if parts[-1].stage == Stage.STOPPED:
                    break
        sent = sum(applied.sent for applied in parts)
        detail = f"{sent} commands sent" + (f", only the oldest {first} of {plan.due} things" if first else "")
        stopped = (parts[-1].why,) if parts[-1].stage == Stage.STOPPED else ()
        self.reports.finished(
            PlanOutcome(signal=Metric.PLAN_APPLIED, plan=plan, by=by, sent=sent, stopped=stopped, detail=detail)
        )

    def undo(self, org_id: str, plan_hash: str, by: str) -> None:
        """Revert a plan or continue. The revert counts once it is recorded, even while another job holds the lock."""
        reverted_plans.revert(self.state.rows, org_id, plan_hash, by=by, at=self.clock())
        self.state.unlock_plan(org_id, plan_hash)
        withdraw = partial(rules.cancel, person=self.people.name_of(by), why=_REVERTED)
        self.approvals.change(org_id, plan_hash, withdraw)
        with self.plans.open(org_id, plan_hash) as (plan, lines):
            before = self.executor.applications.find(plan, PlanPart.REVERTED)
            signal = Metric.PLAN_REVERTED
            if before.stage == Stage.DONE:
                self.reports.finished(PlanOutcome(signal=signal, plan=plan, by=by, stopped=(already_reverted(before),)))
                return
            after = self.reverter.revert(plan, lines)
            self.reports.finished(PlanOutcome(signal=signal, plan=plan, by=by, sent=after.undos, detail=after.why))

    def _is_approved(self, plan: Plan, job: SweepJob, by: str) -> bool:
        """Whether enough other people approved the irreversible half. Requests the approval if nobody did yet."""
        irreversible = [rule for rule in plan.rules if rule.irreversible and rule.due]
        if not irreversible:
            return False  # There is nothing to apply.
        now = millis(self.clock())
        capabilities = tuple(sorted({f"{rule.resource}.{rule.action}" for rule in irreversible}))
        request = self.approvals.ask(self._request(plan, job, by, capabilities))
        match request.stands(now):
            case ApprovalStatus.APPROVED:
                return True
            case ApprovalStatus.REJECTED:
                why = f"{request.rejected_by} rejected the irreversible actions of this plan."
                self.reports.stopped_by_people(plan.org_id, plan.hash, why, by=by)
                return False
            case _:
                announce_request(self.bus, request, now)
                return False

    def _request(self, plan: Plan, job: SweepJob, by: str, capabilities: tuple[str, ...]) -> ApprovalRequest:
        now, terms = self.clock(), self.people.approvals
        return ApprovalRequest(
            hash=plan.hash,
            about=About.PLAN,
            org_id=plan.org_id,
            subject=plan.hash,
            asked_by=self.people.name_of(by),
            asked_ids=self.people.identities_of(by),
            asked_at=millis(now),
            # An approval never outlives its plan: an older plan is not applied.
            deadline=millis(min(now + timedelta(hours=terms.hours), plan.made_at + FRESH)),
            needed=self.people.needed(terms.plan, by),
            shown=plan.model_dump_json(exclude={"ages", "kept_by"}),
            message=job.model_dump_json(exclude_none=True),
            capabilities=capabilities,
        )
