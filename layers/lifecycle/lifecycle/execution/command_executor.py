"""One attempt at a claimed command: look, decide, act once, look again if the answer is in doubt, record.

The claim, the mark before the call and the conclusion are conditional writes of the ledger. Whatever is delivered
twice, late, or cut off between two of them has one effect per intent.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lifecycle.deletion.deferred import Deferred
from lifecycle.domain.capabilities import Action, Capability
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import PLAN, SWEEP, Command
from lifecycle.domain.errors import Ambiguous, Code, Rejected, Retryable, Throttled
from lifecycle.domain.intent import DEAD, Outcome, Status
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution import evidence as evidence_of
from lifecycle.execution import restored_by_person
from lifecycle.execution.accepted_restores import restored
from lifecycle.execution.guards import GuardContext, GuardResult, Undone, Verdict, rule
from lifecycle.execution.ledger import Claim, Ended, Ledger
from lifecycle.execution.paced_tallyfy import PacedTallyfy
from lifecycle.execution.state_machine import READ_LAG, Doubt, ResourceRow, place
from lifecycle.execution.stop_signals import StopSignal, StopSignals
from lifecycle.execution.target_search import exhausted
from lifecycle.pacing import backoff

if TYPE_CHECKING:
    from lifecycle.deletion.safeguards import Safeguards

_CLOCK_DIFFERENCE = timedelta(minutes=2)
"""A resource archived this long after our own call was archived by somebody else. Tallyfy's clock differs by less."""
_CHANGED = Outcome(Status.REJECTED, Code.CHANGED, "It was changed while it was exported, so it is not deleted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """The numbers that a worker keeps.

    ``retry_base`` is in seconds. ``patience`` is the longest a message may stay in its queue before it is dead-lettered
    with a reason; it must be shorter than the queue's retention, after which SQS drops messages silently.
    """

    retry_base: float
    minimum_archive_age: timedelta
    patience: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Who may do what cannot be undone. ``of_source`` says whether a source, by its name, has a right."""

    of_source: Callable[[str, Capability], bool]
    by_plan: frozenset[Capability] = frozenset()
    """The capabilities that the policy has rules for. A plan may use them."""

    def allow(self, source: str, doing: Capability) -> bool:
        """Whether a command from this source has the right."""
        return doing in self.by_plan if source == PLAN else self.of_source(source, doing)


@dataclass(slots=True)
class Attempt:
    """One attempt at a command. Its claim changes as the ledger records progress."""

    command: Command
    claim: Claim

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier attempt of this command may have acted."""
        return self.claim.rows.intent.maybe_acted


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandExecutor:
    """Carries out one claimed command at a time."""

    ledger: Ledger
    stop_signals: StopSignals
    tallyfy: PacedTallyfy
    rights: Rights
    limits: WorkerLimits
    clock: Callable[[], datetime]
    roll: Callable[[], float]
    hold_tags: frozenset[str] = frozenset()
    """A resource that carries one of these tags is kept."""
    safeguards: "Safeguards | None" = None
    """The checks before a permanent delete. Only a worker that can delete has them."""

    def execute(self, command: Command, claim: Claim) -> Ended:
        """Carry out a claimed command and record how it ended. Raises ``Retryable`` or ``Deferred`` after a release."""
        attempt = Attempt(command, claim)
        try:
            with self.tallyfy.attempt(command, self.roll()):
                end = self._look_then_act(attempt)
        except Rejected as error:
            end = Outcome(Status.REJECTED, error.code, error.reason)
        except Deferred as deferred:
            self.ledger.release(attempt.claim, deferred.code, deferred.reason, counted=False, wait=deferred.wait)
            raise
        except Retryable as error:
            return self._failed(attempt.claim, error)
        return self.ledger.conclude(attempt.claim, self._with_stopped_delete(attempt, end))

    def _failed(self, claim: Claim, error: Retryable) -> Ended:
        """Release the claim and raise. After the last permitted failure, dead-letter the command instead."""
        doubt = _doubt(error)
        if error.counted and claim.rows.intent.attempts >= self.ledger.most_attempts:
            end = exhausted(claim.rows.intent.attempts, error.reason)
            return self.ledger.conclude(claim, end, doubt=doubt)
        attempts = self.ledger.release(claim, error.code, error.reason, counted=error.counted, doubt=doubt)
        if error.counted:
            delay = backoff.exponential(attempts, base=self.limits.retry_base, roll=self.roll())
            error.retry_after = max(error.retry_after or 0.0, delay)
        if doubt is Doubt.MAY_STILL_LAND:
            leased = (claim.rows.resource.lease_until - millis(self.clock())) / 1000
            error.retry_after = max(error.retry_after or 0.0, leased)
        raise error

    def _look_then_act(self, attempt: Attempt) -> Outcome:
        command = attempt.command
        seen, result = self._look(attempt)
        kept = self._restored_by_person(attempt, seen)
        if kept is not None:
            return kept
        may_act = result.verdict is Verdict.ACT or result.until is not None
        if seen is None or not may_act:
            self._check_read_lag(attempt, result)
            return self._explained(attempt, _end_without_call(result), result, seen)
        if self.safeguards is not None and command.capability.permanent:
            return self._delete(attempt, seen, result, self.safeguards)
        return _end_without_call(result) or self._act(attempt, seen, evidence_of.counts_of(seen))

    def _look(self, attempt: Attempt) -> tuple[ResourceSnapshot | None, GuardResult]:
        command, rows = attempt.command, attempt.claim.rows
        seen = self.tallyfy.look(command.org_id, command.resource, command.thing_id)
        context = GuardContext(
            now=self.clock(),
            minimum_archive_age=self.limits.minimum_archive_age,
            may_be_irreversible=self.rights.allow(command.source, command.capability),
            undone=self._undone(command, rows.resource),
            in_doubt=rows.intent.maybe_acted,
            touched=evidence_of.was_changed_since(rows.intent.evidence, seen),
            deleted_before=rows.resource.newest_action == Action.DELETE,
        )
        return seen, rule(command, seen, context)

    def _undone(self, command: Command, resource: ResourceRow) -> Undone | None:
        """What happened to the resource since the command that this one undoes, as far as the ledger knows."""
        intent = self.ledger.find(command.undoes) if command.undoes else None
        if intent is None:
            return None
        newer = resource.newest_intent if resource.newest > place(intent) else ""
        ended = datetime.fromtimestamp(intent.concluded_at / 1000, UTC) if intent.concluded_at else None
        return Undone(newer, ended + _CLOCK_DIFFERENCE if ended else None)

    def _restored_by_person(self, attempt: Attempt, seen: ResourceSnapshot | None) -> Outcome | None:
        """A sweep does not archive again what a person restored, even if its plan was made before that."""
        command = attempt.command
        swept = command.source in {SWEEP, PLAN} and command.action is Action.ARCHIVE
        if seen is None or not swept or attempt.in_doubt:
            return None
        why = restored_by_person.by_a_person(seen, attempt.claim.rows.resource.newest_word)
        reason = f"{why} A sweep does not undo that."
        return Outcome(Status.SUPERSEDED, Code.RESTORED_BY_PERSON, reason) if why else None

    def _check_read_lag(self, attempt: Attempt, result: GuardResult) -> None:
        """Raise ``Throttled`` if it is too early to believe that the resource already is as wanted.

        Our last call did the opposite, and Tallyfy may still show the state before it.
        """
        newest = attempt.claim.rows.resource
        since = millis(self.clock()) - newest.newest_at
        opposite = newest.newest_intent and newest.newest_action != attempt.command.capability.action
        if result.verdict is not Verdict.NOTHING or not opposite or since >= READ_LAG:
            return
        # Wait as long as has already passed, so that each wait doubles.
        wait = min(max(since, 2000), READ_LAG - since) / 1000
        reason = (
            "The resource was changed moments ago, and Tallyfy may not show that yet. The command checks again soon."
        )
        raise Throttled(Code.READ_LAG, reason, retry_after=wait)

    def _explained(
        self, attempt: Attempt, end: Outcome | None, result: GuardResult, seen: ResourceSnapshot | None
    ) -> Outcome:
        """Complete an outcome with what an earlier attempt, which was cut off, could not record."""
        end, command = end or _CHANGED, attempt.command
        if result.verdict is Verdict.REACHED:
            end = replace(end, evidence=attempt.claim.rows.intent.evidence)
            return self._compared(command, end, seen) if command.undoes else end
        if (
            result.code is Code.NOT_ARCHIVED
            and command.capability.permanent
            and self.safeguards is not None
            and self.safeguards.was_asked(command)
        ):
            reason = (
                f"The {command.resource.label} was restored after its delete was asked for. The delete is cancelled."
            )
            return replace(end, reason=reason)
        return end

    def _delete(
        self, attempt: Attempt, seen: ResourceSnapshot, result: GuardResult, safeguards: "Safeguards"
    ) -> Outcome:
        """Delete for good what was approved, once its export was verified and it has not changed."""
        command = attempt.command
        signal = self._stop_signal(attempt, seen)
        if signal.outcome is not None:
            return signal.outcome
        with self.tallyfy.sharing_waits(command.org_id):
            ready = safeguards.judge(command, seen, result.until)
        if isinstance(ready, Outcome):
            return ready
        # The export may have taken minutes, so look again.
        again, result = self._look(attempt)
        end = _end_without_call(result)
        if end is not None or again is None:
            return self._explained(attempt, end, result, again)
        if safeguards.shown(command, again) != ready.shown:
            return _CHANGED
        return self._act(attempt, again, ready.evidence, shown=ready.shown)

    def _act(self, attempt: Attempt, seen: ResourceSnapshot, evidence: str, *, shown: str = "") -> Outcome:
        """Mark the intent, read the stop signals, then call. ``shown``: what was approved of a permanent delete."""
        attempt.claim = self.ledger.mark(attempt.claim, evidence)
        self.tallyfy.budget.prepare(attempt.command.org_id)
        if self.safeguards is not None and shown:
            end = self.safeguards.approval(attempt.command, shown)
            if end is not None:
                return end
        signal = self._stop_signal(attempt, seen)  # The last read before the call.
        if signal.outcome is not None:
            return signal.outcome
        if signal.paused_by is not None:
            raise Throttled(Code.PAUSED, f"Paused by {signal.paused_by}.")
        return self._call(attempt.command, evidence)

    def _stop_signal(self, attempt: Attempt, seen: ResourceSnapshot) -> StopSignal:
        plan = attempt.command.plan
        return self.stop_signals.before_call(attempt.claim, seen, hold_tags=self.hold_tags, plan=plan)

    def _call(self, command: Command, evidence: str) -> Outcome:
        doing = command.capability
        receipt = self.tallyfy.act(doing, command.org_id, command.thing_id)
        if receipt is None:
            reason = f"The {doing.resource.label} is {doing.reaches}, as a second look showed."
            end = Outcome(Status.DONE, Code.CONFIRMED, reason, evidence)
        else:
            found = evidence_of.joined(evidence, receipt.evidence)
            end = Outcome(Status.DONE, Code.ACTED, f"The {doing.resource.label} is {doing.reaches}.", found)
        return self._compared(command, end) if command.undoes else end

    def _compared(self, command: Command, end: Outcome, seen: ResourceSnapshot | None = None) -> Outcome:
        """Compare what an undo restored with what was archived, and say if something is missing."""
        if command.action is not Action.RESTORE:
            return end
        try:
            undone = self.ledger.find(command.undoes or "")
            if seen is None:
                seen = self.tallyfy.look(command.org_id, command.resource, command.thing_id)
        except (Retryable, Rejected):
            return end  # The restore itself was answered. A failed count must not put it in doubt.
        lost = evidence_of.lost_between(undone.evidence if undone else "", evidence_of.counts_of(seen))
        if lost is None:
            return end
        reason = f"The {command.resource.label} is {command.capability.reaches}, but {lost}."
        return replace(end, code=Code.RESTORED_IN_PART, reason=reason)

    def _with_stopped_delete(self, attempt: Attempt, end: Outcome) -> Outcome:
        """End the permanent delete that a restore stopped, and name it in the restore's own outcome."""
        name = attempt.claim.rows.resource.waiting_delete
        if attempt.command.action is not Action.RESTORE or not name or end.status in DEAD:
            return end
        stopping = restored(attempt.command.requested_by, attempt.command.intent_id)
        stopped = self.ledger.stop(name, stopping) or self.ledger.find(name)
        if stopped is None or stopped.code != Code.RESTORED:
            return end
        return replace(end, reason=f"{end.reason} Its permanent delete {name} was stopped.")


def _doubt(error: Retryable) -> Doubt:
    """What an error leaves unknown about the call."""
    if not isinstance(error, Ambiguous):
        return Doubt.NONE
    return Doubt.MAY_STILL_LAND if error.may_still_land else Doubt.MAYBE_ACTED


def _end_without_call(result: GuardResult) -> Outcome | None:
    """How a command ends that must not make its call; ``None`` if it may act."""
    match result.verdict:
        case Verdict.REJECT:
            return Outcome(Status.REJECTED, result.code, result.reason)
        case Verdict.NOTHING:
            return Outcome(Status.UNCHANGED, result.code, result.reason)
        case Verdict.REACHED:
            return Outcome(Status.DONE, result.code, result.reason)
        case Verdict.OVERTAKEN:
            return Outcome(Status.SUPERSEDED, result.code, result.reason)
        case Verdict.ACT:
            return None
