"""Reads the terms of a plan: holds, what people restored, the policy applied last, and who was warned."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from lifecycle.execution.ledger import Ledger
from lifecycle.holds.rules import Holds
from lifecycle.holds.store import HoldStore
from lifecycle.plans.builder import PlanTerms
from lifecycle.plans.executor import last_applied_key
from lifecycle.plans.warning_marks import WarningMarks
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.policy.warnings import WarnFirst
from lifecycle.sweep.state import SweepState
from lifecycle.sweep.warn_job import Warner
from lifecycle.tallyfy.directory import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsReader:
    """Everything besides Tallyfy's lists that a plan depends on. ``per_minute`` is the rate of calls to Tallyfy."""

    state: SweepState
    ledger: Ledger
    holds: HoldStore
    marks: WarningMarks
    warner: Warner
    directory: Directory | None
    """Where the names in reports are read; without it, reports show ids."""
    policy: Policy
    mode: Mode
    per_minute: Callable[[], int]

    def read(self, org_id: str, sweep_id: str, begun_at: datetime, stops: tuple[str, ...]) -> PlanTerms:
        """The terms of a plan that was begun at this moment. ``stops``: why nobody may apply it, known already."""
        before, person = self._applied_last(org_id)
        newest = self.state.newest(org_id)
        return PlanTerms(
            mode=self.mode,
            policy=self.policy,
            holds=Holds(self.holds.reasons(org_id), self.policy.hold_tags or frozenset()),
            warn_first=WarnFirst(
                policy=self.policy,
                sweep_id=sweep_id,
                now=begun_at,
                recipients=partial(self.warner.recipients, org_id),
                marks=self.marks.load(org_id, newest.plan) if newest else {},
                begins=self.mode is Mode.APPLY,
            ),
            newest_on=partial(self.ledger.newest_on, org_id),
            before=before,
            stops=stops,
            person=person,
            per_minute=self.per_minute(),
        )

    def _applied_last(self, org_id: str) -> tuple[Policy | None, tuple[str, ...]]:
        """The policy that was applied last, if it was another one; or why a person must apply this plan."""
        [row] = self.state.rows.read(last_applied_key(org_id))
        if row is None:
            return None, ()
        try:
            before = Policy.from_json(str(row.values.get("policy")))
        except ValueError:
            return None, ("This release cannot read the policy that was applied last.",)
        return (None if before.digest == self.policy.digest else before), ()
