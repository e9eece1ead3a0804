"""What the daily digest says of each organization: the approvals that wait, and the result of the day's plan."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle.approvals.rules import ApprovalRequest
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.dynamodb import VersionedTable
from lifecycle.domain.clock import moment
from lifecycle.domain.errors import Rejected
from lifecycle.plans.application import ApplicationStore, PlanPart, Stage
from lifecycle.plans.approval_question import totals_line
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_store import PlanStore
from lifecycle.sweep.state import newest_key

_DAY = timedelta(days=1)
_SHORT = 12
_MOST = 10
"""The number of approvals and plans that are named. All of them are counted."""


@dataclass(frozen=True, slots=True)
class News:
    """The open requests for approval, and the plans of the last day that did something or were stopped."""

    waiting: tuple[ApprovalRequest, ...] = ()
    plans: tuple[tuple[Plan, str], ...] = ()
    """Each plan with its result, as sentences."""

    def __bool__(self) -> bool:
        return bool(self.waiting or self.plans)

    def facts(self) -> dict[str, str]:
        """As fields of an event. ``plans`` is JSON for programs; the texts are for people, on one line each."""
        return {
            "approvals": str(len(self.waiting)),
            "approvals_text": _one_line("; ".join(_named(map(_waiting, self.waiting))) or "none"),
            "plans": json.dumps([_counts(plan, state) for plan, state in self.plans]),
            "plans_text": _one_line(" ".join(_named(_told(plan, state) for plan, state in self.plans)) or "none."),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyNews:
    """Reads the news of all organizations."""

    org_ids: frozenset[str]
    rows: VersionedTable
    approvals: ApprovalStore
    plans: PlanStore
    clock: Callable[[], datetime]

    def read(self) -> News:
        """The news of all organizations. Raises ``Retryable`` if AWS is out."""
        orgs = sorted(self.org_ids)
        waiting = tuple(request for org_id in orgs for request in self.approvals.open(org_id))
        return News(waiting, tuple(self._plans(orgs)))

    def _plans(self, orgs: list[str]) -> Iterator[tuple[Plan, str]]:
        for org_id in orgs:
            # One at a time: the function may not read several rows of a sweep at once.
            [row] = self.rows.read(newest_key(org_id))
            # A plan that is no longer kept, or that another release wrote, is no news.
            with suppress(Rejected):
                plan = self.plans.summary(org_id, str(row.values["plan"])) if row else None
                if plan and self.clock() - plan.made_at < _DAY and (plan.due or plan.failed or plan.unseen):
                    yield plan, self._state(plan)

    def _state(self, plan: Plan) -> str:
        if plan.unseen:
            return f"Not applied, because it is incomplete: {' '.join(plan.unseen)}"
        if plan.stops:
            return f"Not applied: {' '.join(plan.stops)}"
        applications = ApplicationStore(rows=self.rows, clock=self.clock)
        by = applications.reverted_by(plan)
        if by is not None:
            return f"{by} reverted it."
        done = applications.find(plan, PlanPart.REVERSIBLE)
        final = sum(rule.due for rule in plan.rules if rule.irreversible)
        waits = final and not applications.find(plan, PlanPart.IRREVERSIBLE).stage
        return " ".join(
            (
                f"{_stage(done.stage, done.sent, done.why) or _not_applied(plan)}",
                *((f"Irreversible actions wait for a person and approvals: {final}.",) if waits else ()),
            )
        )


def _stage(stage: str, sent: int, why: str) -> str:
    match stage:
        case Stage.DONE:
            return f"Applied: {sent} commands sent."
        case Stage.STOPPED:
            return f"Stopped after {sent} commands: {why}"
        case "":
            return ""
        case _:
            return f"Being applied: {sent} commands sent so far."


def _not_applied(plan: Plan) -> str:
    return f"Not applied; a person must do it: {' '.join(plan.person)}" if plan.person else "Not applied."


def _counts(plan: Plan, state: str) -> Mapping[str, object]:
    numbers = {"seen": plan.seen, "due": plan.due, "kept": plan.kept, "failed": plan.failed}
    return {"org_id": plan.org_id, "plan": plan.hash, **numbers, "kept_by": plan.kept_by, "state": state}


def _told(plan: Plan, state: str) -> str:
    kept = f" Kept: {listed(plan.kept_by)}." if plan.kept else ""
    return f"Organization {plan.org_id}, plan {plan.hash[:_SHORT]}: {totals_line(plan)}.{kept} {state}"


def _waiting(request: ApprovalRequest) -> str:
    given = f"{len(request.approved_by)} of {request.needed}"
    what = f"{request.about}, {', '.join(request.capabilities)}"
    return f"{request.hash[:_SHORT]} ({what}: {given} until {moment(request.deadline):%Y-%m-%d %H:%M} UTC)"


def _named(texts: Iterator[str]) -> Iterator[str]:
    """The first few, and how many more there are."""
    for number, text in enumerate(texts):
        if number < _MOST:
            yield text
        else:
            yield f"and {1 + sum(1 for _ in texts)} more"


def _one_line(text: str) -> str:
    """Text that EventBridge can put into a notice between quotes."""
    return " ".join(text.replace('"', "'").replace("\\", "/").split())


def listed(counts: Mapping[str, int]) -> str:
    """The names with a count above zero, the highest first, such as ``held 3, changed 1``."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered if count)
