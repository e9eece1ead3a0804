"""Takes one message from the sweeps queue and runs the job that it asks for."""

from dataclasses import dataclass
from typing import NoReturn

from pydantic import ValidationError

from lifecycle.aws.dynamodb import Contention
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Later, Message, Queue
from lifecycle.domain.commands import describe, is_of_a_newer_release
from lifecycle.domain.errors import Code, Poison, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.execution.outcomes import Outcomes
from lifecycle.pacing import backoff
from lifecycle.sweep.apply_job import ApplyJob
from lifecycle.sweep.check_job import CheckJob
from lifecycle.sweep.digest import Digest
from lifecycle.sweep.jobs import JobKind, SweepJob
from lifecycle.sweep.plan_job import PlanJob
from lifecycle.sweep.state import SweepState
from lifecycle.sweep.warn_job import WarnJob


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepService:
    """The jobs and the queue they come from. ``retry_base`` is the first wait after a failure, in seconds."""

    queue: Queue
    outcomes: Outcomes
    metrics: Metrics
    state: SweepState
    plan_job: PlanJob
    apply_job: ApplyJob
    check_job: CheckJob
    warn_job: WarnJob
    digest: Digest
    org_ids: frozenset[str]
    retry_base: float

    def handle(self, message: Message) -> None:
        """Run the job of one message. Raises ``Later`` when it has to come back; it is hidden until then."""
        try:
            job = SweepJob.model_validate_json(message.body)
        except ValidationError as error:
            if is_of_a_newer_release(error) and message.receives < backoff.MOST_RECEIVES:
                reason = f"A newer release wrote this message, so it waits for that release: {describe(error)}"
                self._hide(message, Throttled(Code.NEWER_RELEASE, reason))
            self.outcomes.dead_letter(message, Poison(Code.POISON, f"Invalid sweep message: {describe(error)}"))
            return
        try:
            self._dispatch(message, job)
        except Contention:
            self._hide(message, Throttled(Code.BUSY, "Another invocation runs this sweep.", retry_after=60))
        except Retryable as error:
            self._hide(message, error)

    def _dispatch(self, message: Message, job: SweepJob) -> None:
        try:
            if message.receives >= backoff.MOST_RECEIVES:
                self.state.unlock(job)
                reason = f"The sweep did not finish within {backoff.MOST_RECEIVES} deliveries."
                self.outcomes.dead_letter(message, Poison(Code.WAITED_TOO_LONG, reason))
            elif job.org_id is None:
                self._start(job)
            elif job.org_id in self.org_ids:
                self._run(job, job.org_id)
            elif job.plan is not None:
                # A person waits for this job. A scheduled sweep of a removed organization ends without a report.
                reason = f"Organization {job.org_id} does not belong to this stack. Add it to OrganizationIds."
                self.outcomes.dead_letter(message, Poison(Code.ORGANIZATION_UNKNOWN, reason))
        except Rejected as error:
            self.state.unlock(job)
            self.outcomes.dead_letter(message, Poison(error.code, f"The sweep stopped: {error.reason}"))

    def _start(self, job: SweepJob) -> None:
        if job.kind is JobKind.DIGEST:
            self.digest.tell()
            return
        parts = [job.model_copy(update={"org_id": org_id}) for org_id in sorted(self.org_ids)]
        if job.kind is JobKind.CHECK:
            # A separate message, so that an unreadable queue is retried without repeating the other checks.
            parts.append(job.model_copy(update={"kind": JobKind.DIGEST}))
        for part in parts:
            self.queue.send(part.model_dump_json(exclude_none=True))

    def _run(self, job: SweepJob, org_id: str) -> None:
        if job.kind is JobKind.CHECK:
            self.check_job.run(org_id, job.sweep_id)
            return
        if job.kind is JobKind.WARN:
            self.warn_job.run(job, org_id)
            return
        if job.plan is not None and job.requested_by is not None:
            self._run_plan(job, org_id, job.plan, job.requested_by)
            return
        if not self.plan_job.is_done(job, org_id):
            self.state.lock(job, org_id)
            self.plan_job.run(job, org_id)
        # A sweep that is done may have been cut off just before it released its lock.
        self.state.unlock(job)

    def _run_plan(self, job: SweepJob, org_id: str, plan: str, by: str) -> None:
        if job.kind is JobKind.UNDO:
            # A revert takes no lock and must not wait for one: it counts once it is recorded.
            self.apply_job.undo(org_id, plan, by)
            return
        reverted = self.apply_job.is_reverted(org_id, plan)
        if reverted:
            # This also ends a job that waits or is paused.
            self.state.unlock(job)
            self.apply_job.reports.stopped_by_people(org_id, plan, reverted, by=by)
            return
        self.state.lock(job, org_id)
        self.apply_job.apply(job, org_id, plan, by)
        self.state.unlock(job)

    def _hide(self, message: Message, error: Retryable) -> NoReturn:
        refused = isinstance(error, TokenRefused)
        if refused or error.code is Code.PAUSED:
            wait = backoff.human_delay(message.receives)
        elif error.code is Code.OUTAGE:
            wait = backoff.outage_delay(error.retry_after or 0.0, message.receives, roll=1.0)
        elif error.code is Code.OUT_OF_TIME:
            wait = backoff.clamp(1)  # The job was cut off while it worked, so it continues at once.
        else:
            wait = backoff.retry_delay(error.retry_after, message.receives, base=self.retry_base, roll=1.0)
        waits = Metric.RETRIED if error.counted else Metric.THROTTLED
        self.metrics.emit(Metric.TOKEN_REFUSED if refused else waits, {"code": error.code, "reason": error.reason})
        self.queue.hide(message, wait)
        raise Later(error.reason) from error
