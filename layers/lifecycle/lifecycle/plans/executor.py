"""Applies a plan: sends five canary commands, reads them back from Tallyfy, then sends the rest.

Each batch is recorded after it was sent, so that an application that is cut off continues with the next batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import batched, islice
from pathlib import Path

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put, VersionedTable
from lifecycle.domain.errors import Code, Throttled
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.plans.application import Application, ApplicationStore, PlanPart, Stage
from lifecycle.plans.canary import Canary
from lifecycle.plans.commands import PlanCommands
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.plan_lines import due
from lifecycle.policy.policy import Policy

_CANARIES = 5
_BATCH = 100
_NEEDED_SECONDS = 30.0


class _Reverted(Exception):
    """Somebody reverted the plan, so no more of it is sent."""

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExecutor:
    """Applies the parts of a plan. ``canary_wait`` is how many seconds the canary commands get before they are read."""

    rows: VersionedTable
    applications: ApplicationStore
    commands: PlanCommands
    canary: Canary
    pacing: Pacing
    policy: Policy
    clock: Callable[[], datetime]
    time_left: Callable[[], float]
    canary_wait: float
    after_batch: Callable[[], None] = field(default=lambda: None)
    """Called after each batch was recorded; tests end the process there."""

    def carry_on(self, plan: Plan, lines: Path, part: PlanPart, terms: "ApplyTerms") -> Application:
        """Apply a part, or continue after the last recorded batch. Raises ``Throttled`` when it has to come back.

        A plan that was reverted stops, even while it waits. The caller has checked that the plan may be applied, that
        ``lines`` are its lines, and that nobody else applies a plan in this organization.
        """
        state, version = self.applications.read(plan, part)
        if state.stage in {Stage.DONE, Stage.STOPPED}:
            return state
        progress = _PartInProgress(self.applications, plan, part, state, version)
        try:
            self._check_reverted(plan)
            if not state.stage:
                # Saved before anything is sent, so that after a crash the same person sends the same commands.
                progress.save(terms.begin(self.clock()))
            if progress.state.stage == Stage.CANARY:
                self._send_canaries(lines, progress)
            if progress.state.stage == Stage.REST:
                self._send_rest(lines, progress)
        except _Reverted as revert:
            progress.reload()
            progress.save(replace(progress.state, stage=Stage.STOPPED, why=f"{revert.by} reverted the plan."))
        return progress.state

    def _send_canaries(self, lines: Path, progress: "_PartInProgress") -> None:
        """Send five, read them back, and repeat until five were done. A command that was skipped proves nothing."""
        plan, part, state = progress.plan, progress.part, progress.state
        waiting = list(islice(due(lines, part, state.first), state.checked, state.sent))
        if waiting:
            result = self.canary.check(plan, waiting)
            if result is None:
                raise Throttled(
                    Code.RATE_LIMITED, "The canary commands have not ended yet.", retry_after=self.canary_wait
                )
            if result.mismatch:
                progress.save(replace(state, stage=Stage.STOPPED, why=result.mismatch))
                return
            state = progress.save(replace(state, checked=state.sent, proven=state.proven + result.done))
        missing = max(0, _CANARIES - state.proven)
        batch = list(islice(due(lines, part, state.first), state.sent, state.sent + missing))
        if batch:
            self._check_may_send(plan)
            self.commands.send(plan, batch, state)
            progress.save(replace(state, sent=state.sent + len(batch)))
            waits_for = f"{len(batch)} canary commands have not ended yet."
            raise Throttled(Code.RATE_LIMITED, waits_for, retry_after=self.canary_wait)
        progress.save(replace(state, stage=Stage.REST))

    def _send_rest(self, lines: Path, progress: "_PartInProgress") -> None:
        plan, state = progress.plan, progress.state
        for batch in batched(islice(due(lines, progress.part, state.first), state.sent, None), _BATCH, strict=False):
            self._check_may_send(plan)
            self.commands.send(plan, batch, state)
            state = progress.save(replace(state, sent=state.sent + len(batch)))
            self.after_batch()
        self._remember_policy(plan)
        progress.save(replace(state, stage=Stage.DONE))

    def _check_reverted(self, plan: Plan) -> None:
        by = self.applications.reverted_by(plan)
        if by is not None:
            raise _Reverted(by)

    def _check_may_send(self, plan: Plan) -> None:
        self._check_reverted(plan)
        if self.time_left() < _NEEDED_SECONDS:
            raise Throttled(
                Code.OUT_OF_TIME, "The function is nearly out of time. The next invocation continues.", retry_after=1
            )
        paused_by = self.pacing.paused_by(plan.org_id)
        if paused_by:
            raise Throttled(Code.PAUSED, f"Paused by {paused_by}.")

    def _remember_policy(self, plan: Plan) -> None:
        """Record the policy that was applied last: growth of the next plan is measured against it."""
        key = last_applied_key(plan.org_id)
        [row] = self.rows.read(key)
        values = {"policy": self.policy.to_json(), "plan": plan.hash}
        self.rows.write(Put(key, values, row.version if row else 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyTerms:
    """Who applies a plan and how much of it. ``first``: only this many of the oldest resources; 0 for all."""

    by: str
    source: str
    first: int = 0

    def begin(self, now: datetime) -> Application:
        """The record of a part that starts now."""
        return Application(
            stage=Stage.CANARY,
            requested_by=self.by,
            source=self.source,
            begun_at=now.isoformat(),
            first=self.first,
        )


@dataclass(slots=True)
class _PartInProgress:
    """One part that is being applied, and the version of its row."""

    applications: ApplicationStore
    plan: Plan
    part: PlanPart
    state: Application
    version: int

    def save(self, state: Application) -> Application:
        self.version = self.applications.save(self.plan, self.part, state, self.version)
        self.state = state
        return state

    def reload(self) -> None:
        self.state, self.version = self.applications.read(self.plan, self.part)


def last_applied_key(org_id: str) -> Key:
    """The key of the row that records the policy that was applied last."""
    return table_keys.sweeps(org_id, "applied")
