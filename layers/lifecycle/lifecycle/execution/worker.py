"""The way of a command through a worker: claim, look, act, look again when in doubt, record, tell.

One effect per intent, whatever is delivered twice, late, or cut off in the middle.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Later, Message, Queue
from lifecycle.deletion.safeguards import Deferred, Safeguards, what_would_go
from lifecycle.domain.capabilities import Action, Capability, State
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import PLAN, SWEEP, Command, Find, describe, is_of_a_newer_release
from lifecycle.domain.errors import Ambiguous, Code, Poison, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.domain.intent import DEAD, OPEN, Outcome, Status
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution import restored_by_person as restored_rule
from lifecycle.execution.guards import GuardContext, GuardResult, Undone, Verdict, rule
from lifecycle.execution.ledger import Claim, Ended, LastWords, Ledger, restored
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.state_machine import READ_LAG, Busy, Conflict, ResourceRow, place
from lifecycle.pacing import backoff
from lifecycle.pacing.batch_budget import Budget
from lifecycle.tallyfy.client import Tallyfy

_WAITING_SIGNALS = {Code.PAUSED: Metric.PAUSED, Code.TOKEN_REFUSED: Metric.TOKEN_REFUSED}
_TIMED = frozenset({Code.RATE_LIMITED, Code.PAUSED, Code.BUSY, Code.READ_LAG})
"""Waits whose length already takes into account how long it may go on."""
_AGAIN = timedelta(minutes=2)
"""What was archived so long after our own call, somebody else archived. Tallyfy's clock and ours differ by less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers a worker keeps.

    ``retry_base`` is in seconds. ``patience`` is the longest a message may stay in its queue before it is dead-lettered
    with a reason; it must be shorter than the queue's retention, after which SQS drops messages silently.
    """

    retry_base: float
    minimum_archive_age: timedelta
    patience: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Carries out the commands of one queue. ``capabilities`` are those this function can express at all."""

    ledger: Ledger
    tallyfy: Tallyfy
    budget: Budget
    queue: Queue
    outcomes: Outcomes
    metrics: Metrics
    allowed: Callable[[str, Capability], bool]
    """Whether a source, by its name, has this right."""
    capabilities: frozenset[Capability]
    limits: Limits
    clock: Callable[[], datetime]
    roll: Callable[[], float]
    hold_tags: frozenset[str] = frozenset()
    """Whatever carries one of these is kept."""
    by_plan: frozenset[Capability] = frozenset()
    """What the policy has rules for: as much right as a person has who applies a plan."""
    safeguards: Safeguards | None = None
    """What must be so before anything is destroyed; a worker that can destroy has them."""

    def handle(self, message: Message) -> None:
        """Carry one message to its end. Raises ``Later`` when it has to come back; it is hidden until then."""
        try:
            command = self._read(message)
            self.outcomes.deliver(self._carry_out(command, message), message, command.reply_to)
        except Deferred as parked:
            # It comes back as another message, when its day has come or a person has spoken.
            self.metrics.emit(Metric.PARKED, {"code": parked.code, "reason": parked.reason})
        except Poison as poison:
            self.outcomes.dead_letter(message, poison)
        except Retryable as trouble:
            self._hide(message, trouble)
            raise Later(trouble.reason) from trouble

    def _read(self, message: Message) -> Command:
        try:
            command = Command.model_validate_json(message.body)
            doing = command.capability
        except ValidationError as error:
            if is_of_a_newer_release(error) and not self._is_out_of_patience(message):
                reason = (
                    f"The message says what this release does not know: {describe(error)}. It waits for a newer one."
                )
                raise Throttled(Code.NEWER_RELEASE, reason) from None
            raise Poison(Code.POISON, f"The message is not a command: {describe(error)}") from None
        except Rejected as error:
            raise Poison(error.code, error.reason) from None
        if doing not in self.capabilities:
            raise Poison(Code.NOT_POSSIBLE, f"{doing.name} cannot be carried out by this function.")
        return command

    def _carry_out(self, command: Command, message: Message) -> Ended:
        given_up = self._out_of_patience(command, message)
        if given_up is not None:
            return given_up
        self.budget.admit(command, message, self.roll())
        command_or_end = self._found(command, message)
        if isinstance(command_or_end, Ended):
            return command_or_end
        command = command_or_end
        if command.find is not None and command.action is Action.RESTORE:
            self.ledger.keep(command)
        claim = self.ledger.claim(command, redrive=message.redrive)
        match claim:
            case Ended():
                return claim
            case Busy(until):
                wait = backoff.poll_delay((until - millis(self.clock())) / 1000, message.receives)
                raise Throttled(Code.BUSY, "Another worker has this command or this thing.", retry_after=wait)
            case Conflict():
                raise _conflict(command)
            case Claim():
                return self._under_claim(command, claim)

    def _is_out_of_patience(self, message: Message) -> bool:
        return self.clock() - message.sent_at > self.limits.patience or message.receives >= backoff.MOST_RECEIVES

    def _out_of_patience(self, command: Command, message: Message) -> Ended | None:
        if not self._is_out_of_patience(message):
            return None
        return self.ledger.give_up(
            command,
            Outcome(
                Status.DEAD_LETTERED,
                Code.WAITED_TOO_LONG,
                "It could not be carried out before the queue would have dropped it. Mend the cause and send it again.",
            ),
            redrive=message.redrive,
        )

    def _found(self, command: Command, message: Message) -> Command | Ended:
        """Give a command with ``find`` the id of the one thing meant; what was found once stays meant."""
        if command.find is None:
            return command
        known = self.ledger.recall(command.intent_id)
        if known is not None and known.intent.meaning != command.meaning:
            raise _conflict(command)
        if known is not None and known.intent.id:
            return command.model_copy(update={"id": known.intent.id})
        if known is not None and known.intent.status not in OPEN and message.redrive <= known.intent.redrive:
            return known
        try:
            found = self._the_one(command, command.find)
            if found is not None:
                return command.model_copy(update={"id": found})
            end = Outcome(Status.UNCHANGED, Code.NOTHING_TO_DO, "No process fits, and if_none says to ignore that.")
        except Rejected as error:
            end = Outcome(Status.REJECTED, error.code, error.reason)
        except Retryable as trouble:
            end = self._search_failed(command, message, trouble)
        ended = self.ledger.give_up(command, end, redrive=message.redrive)
        if ended is None:
            raise Throttled(Code.BUSY, "Another worker has this command.", retry_after=1)
        return ended

    def _search_failed(self, command: Command, message: Message, trouble: Retryable) -> Outcome:
        """Count the failure and raise, or, after one too many, answer how it ends."""
        if not trouble.counted:
            raise trouble
        attempts = self.ledger.fail(command, trouble.code, trouble.reason, redrive=message.redrive)
        if attempts < self.ledger.most_attempts:
            trouble.retry_after = backoff.exponential(attempts, base=self.limits.retry_base, roll=self.roll())
            raise trouble
        reason = f"{attempts} attempts failed. The last said: {trouble.reason}"
        return Outcome(Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, reason)

    def _the_one(self, command: Command, find: Find) -> str | None:
        """The id of the one process that fits; ``None`` where none does and the command says to ignore that."""
        archived = command.action is Action.RESTORE
        with self.budget.attempt(command, self.roll(), self.tallyfy.account), self._heeding(command.org_id):
            seen = self.tallyfy.search(command.org_id, find, archived=archived)
        ids = sorted({thing.id for thing in seen})
        if not ids and command.if_none == "ignore":
            return None
        if len(ids) != 1:
            shown = f": {', '.join(ids[:5])}{' …' if len(ids) > 5 else ''}" if ids else ""  # noqa: PLR2004
            state = State.ARCHIVED if archived else State.ACTIVE
            raise Rejected(
                Code.AMBIGUOUS_MATCH,
                f"{len(ids)} {state} processes fit where exactly one must{shown}. Nothing was done.",
            )
        return ids[0]

    def _under_claim(self, command: Command, claim: Claim) -> Ended:
        attempt = _Attempt(command, claim)
        try:
            with self.budget.attempt(command, self.roll(), self.tallyfy.account):
                end = self._look_then_act(attempt)
        except Rejected as error:
            end = Outcome(Status.REJECTED, error.code, error.reason)
        except Deferred as parked:
            self.ledger.release(attempt.claim, parked.code, parked.reason, counted=False, wait=parked.wait)
            raise
        except Retryable as trouble:
            return self._failed(attempt.claim, trouble)
        return self.ledger.conclude(attempt.claim, self._with_what_it_stopped(attempt, end))

    def _failed(self, claim: Claim, trouble: Retryable) -> Ended:
        """Let go and raise, or, after one failure too many, end it where an operator finds it."""
        doubt = isinstance(trouble, Ambiguous)
        landing = isinstance(trouble, Ambiguous) and trouble.may_still_land
        if trouble.counted and self.ledger.is_last_attempt(claim):
            reason = f"{claim.rows.intent.attempts} attempts failed. The last said: {trouble.reason}"
            end = Outcome(Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED, reason)
            return self.ledger.conclude(claim, end, maybe_acted=doubt, landing=landing)
        attempts = self.ledger.release(
            claim, trouble.code, trouble.reason, counted=trouble.counted, maybe_acted=doubt, landing=landing
        )
        if trouble.counted:
            delay = backoff.exponential(attempts, base=self.limits.retry_base, roll=self.roll())
            trouble.retry_after = max(trouble.retry_after or 0.0, delay)
        if landing:
            leased = (claim.rows.resource.lease_until - millis(self.clock())) / 1000
            trouble.retry_after = max(trouble.retry_after or 0.0, leased)
        raise trouble

    def _look_then_act(self, attempt: "_Attempt") -> Outcome:
        command = attempt.command
        seen, ruling = self._look(attempt)
        kept = self._restored(attempt, seen)
        if kept is not None:
            return kept
        may_come_to_it = ruling.verdict is Verdict.ACT or ruling.until is not None
        if seen is None or not may_come_to_it:
            self._believe(attempt, ruling)
            return self._told_more(attempt, _without_acting(ruling), ruling, seen)
        if self.safeguards is not None and command.capability.permanent:
            return self._destroy(attempt, seen, ruling, self.safeguards)
        return _without_acting(ruling) or self._act(attempt, seen, _counts(seen))

    def _restored(self, attempt: "_Attempt", seen: ResourceSnapshot | None) -> Outcome | None:
        """How a sweep's archive ends of a thing that a person restored: also of a plan that was made before that."""
        command = attempt.command
        swept = command.source in {SWEEP, PLAN} and command.action is Action.ARCHIVE
        if seen is None or not swept or attempt.in_doubt:
            return None
        why = restored_rule.by_a_person(seen, attempt.claim.rows.resource.newest_word)
        reason = f"{why} A sweep does not take that back."
        return Outcome(Status.SUPERSEDED, Code.RESTORED_BY_PERSON, reason) if why else None

    def _destroy(
        self, attempt: "_Attempt", seen: ResourceSnapshot, ruling: GuardResult, safeguards: Safeguards
    ) -> Outcome:
        """Delete for good what was approved, once its export was read back and it is still what it was."""
        command = attempt.command
        words = self._last_words(attempt, seen)
        if words.end is not None:
            return words.end
        with self._heeding(command.org_id):
            ready = safeguards.judge(command, seen, ruling.until)
        if isinstance(ready, Outcome):
            return ready
        # An export may have taken minutes.
        again, ruling = self._look(attempt)
        end = _without_acting(ruling)
        if end is not None or again is None:
            return self._told_more(attempt, end, ruling, again)
        if what_would_go(command, again) != ready.shown:
            return _CHANGED
        return self._act(attempt, again, ready.evidence, shown=ready.shown)

    def _act(self, attempt: "_Attempt", seen: ResourceSnapshot, evidence: str, *, shown: str = "") -> Outcome:
        """Mark the intent, hear the last words, then call. ``shown`` is what was approved of a permanent delete."""
        attempt.claim = self.ledger.mark(attempt.claim, evidence)
        self.budget.prepare(attempt.command.org_id)
        if self.safeguards is not None and shown:
            end = self.safeguards.approval(attempt.command, shown)
            if end is not None:
                return end
        words = self._last_words(attempt, seen)  # The last thing that is read before the call.
        if words.end is not None:
            return words.end
        if words.paused_by:
            raise Throttled(Code.PAUSED, f"Paused by {words.paused_by}.")
        return self._call(attempt.command, evidence)

    def _last_words(self, attempt: "_Attempt", seen: ResourceSnapshot) -> LastWords:
        return self.ledger.last_words(attempt.claim, seen, tags=self.hold_tags, plan=attempt.command.plan)

    def _with_what_it_stopped(self, attempt: "_Attempt", end: Outcome) -> Outcome:
        """End the delete that a restore stopped, and say so on this side as well."""
        name = attempt.claim.rows.resource.waiting_delete
        if attempt.command.action is not Action.RESTORE or not name or end.status in DEAD:
            return end
        end_of_it = restored(attempt.command.requested_by, attempt.command.intent_id)
        stopped = self.ledger.stop(name, end_of_it) or self.ledger.find(name)
        if stopped is None or stopped.code != Code.RESTORED:
            return end
        return replace(end, reason=f"{end.reason} Its permanent delete {name} was stopped.")

    def _believe(self, attempt: "_Attempt", ruling: GuardResult) -> None:
        """Raise ``Throttled`` where it is too soon to believe that a thing is as wanted already.

        Tallyfy may still show what was before our last call, which did the opposite.
        """
        newest = attempt.claim.rows.resource
        since = millis(self.clock()) - newest.newest_at
        opposite = newest.newest_intent and newest.newest_action != attempt.command.capability.action
        if ruling.verdict is not Verdict.NOTHING or not opposite or since >= READ_LAG:
            return
        # It is looked at again after as long as has passed since: the wait doubles.
        wait = min(max(since, 2000), READ_LAG - since) / 1000
        reason = "It was changed moments ago, and Tallyfy may not show that yet. It is looked at again."
        raise Throttled(Code.READ_LAG, reason, retry_after=wait)

    def _told_more(
        self, attempt: "_Attempt", end: Outcome | None, ruling: GuardResult, seen: ResourceSnapshot | None
    ) -> Outcome:
        """Add to an end what an earlier attempt that was cut off could not say any more."""
        end, command = end or _CHANGED, attempt.command
        if ruling.verdict is Verdict.REACHED:
            end = replace(end, evidence=attempt.claim.rows.intent.evidence)
            return self._compared(command, end, seen) if command.undoes else end
        if (
            ruling.code is Code.NOT_ARCHIVED
            and command.capability.permanent
            and self.safeguards is not None
            and self.safeguards.was_asked(command)
        ):
            label = command.resource.label
            return replace(end, reason=f"The {label} was restored since its delete was asked for. That is cancelled.")
        return end

    def _look(self, attempt: "_Attempt") -> tuple[ResourceSnapshot | None, GuardResult]:
        command, rows = attempt.command, attempt.claim.rows
        with self._heeding(command.org_id):
            seen = self.tallyfy.look(command.org_id, command.resource, command.thing_id)
        circumstances = GuardContext(
            now=self.clock(),
            minimum_archive_age=self.limits.minimum_archive_age,
            may_be_irreversible=self._may(command, command.capability),
            undone=self._undone(command, rows.resource),
            in_doubt=rows.intent.maybe_acted,
            touched=_is_touched(rows.intent.evidence, seen),
            deleted_before=rows.resource.newest_action == Action.DELETE,
        )
        return seen, rule(command, seen, circumstances)

    def _undone(self, command: Command, resource: ResourceRow) -> Undone | None:
        """What was done here since the command that this one takes back, as far as the ledger knows."""
        intent = self.ledger.find(command.undoes) if command.undoes else None
        if intent is None:
            return None
        newer = resource.newest_intent if resource.newest > place(intent) else ""
        ended = datetime.fromtimestamp(intent.concluded_at / 1000, UTC) if intent.concluded_at else None
        return Undone(newer, ended + _AGAIN if ended else None)

    def _may(self, command: Command, doing: Capability) -> bool:
        return doing in self.by_plan if command.source == PLAN else self.allowed(command.source, doing)

    def _call(self, command: Command, evidence: str) -> Outcome:
        doing = command.capability
        label = doing.resource.label
        try:
            with self._heeding(command.org_id):
                receipt = self.tallyfy.act(doing, command.org_id, command.thing_id)
        except (Ambiguous, Rejected) as error:
            if error.code is not Code.FORBIDDEN and self._is_reached(command, doing, error):
                reason = f"The {label} is {doing.reaches}, as a second look showed."
                end = Outcome(Status.DONE, Code.CONFIRMED, reason, evidence)
            else:
                raise
        else:
            found = _joined(evidence, receipt.evidence)
            end = Outcome(Status.DONE, Code.ACTED, f"The {label} is {doing.reaches}.", found)
        return self._compared(command, end) if command.undoes else end

    def _compared(self, command: Command, end: Outcome, seen: ResourceSnapshot | None = None) -> Outcome:
        """Hold what an undo brought back against what was archived. More may have come: that is no loss."""
        if command.action is not Action.RESTORE:
            return end
        try:
            undone = self.ledger.find(command.undoes or "")
            if seen is None:
                with self._heeding(command.org_id):
                    seen = self.tallyfy.look(command.org_id, command.resource, command.thing_id)
        except (Retryable, Rejected):
            return end  # The restore itself was answered; a count that cannot be had must not put it in doubt.
        before = json.loads(undone.evidence) if undone is not None and undone.evidence else {}
        after = json.loads(_counts(seen) or "{}")
        lost = " and ".join(
            f"{before[name]} {name} were archived and {after[name]} came back"
            for name in ("tasks", "comments")
            if name in before and name in after and after[name] < before[name]
        )
        if not lost:
            return end
        reason = f"The {command.resource.label} is {command.capability.reaches}, but {lost}."
        return replace(end, code=Code.RESTORED_IN_PART, reason=reason)

    def _is_reached(self, command: Command, doing: Capability, trouble: Ambiguous | Rejected) -> bool:
        """Look again. If that fails as well, the doubt about the write must not be lost over the failed read."""
        try:
            with self._heeding(command.org_id):
                seen = self.tallyfy.look(command.org_id, command.resource, command.thing_id)
        except (Retryable, Rejected) as blind:
            if isinstance(trouble, Ambiguous):
                wait = blind.retry_after if isinstance(blind, Retryable) else None
                raise Ambiguous(
                    trouble.code,
                    trouble.reason,
                    retry_after=wait,
                    outage=trouble.outage,
                    may_still_land=trouble.may_still_land,
                ) from blind
            raise
        return (seen.state if seen else State.GONE) is doing.reaches

    @contextmanager
    def _heeding(self, org_id: str) -> Iterator[None]:
        """A 429, or a 503 that says when, is everybody's: the shared pace is moved before the error goes on."""
        try:
            yield
        except (Throttled, Ambiguous) as wait:
            told = wait.code is Code.THROTTLED or isinstance(wait, Ambiguous)
            if told and wait.retry_after is not None:
                self.budget.block(org_id, wait.retry_after)
            raise

    def _hide(self, message: Message, trouble: Retryable) -> None:
        base = self.limits.retry_base
        if isinstance(trouble, TokenRefused):
            hidden_for = backoff.human_delay(message.receives)
        elif trouble.outage and not trouble.counted:
            hidden_for = backoff.outage_delay(trouble.retry_after or 0.0, message.receives, self.roll())
        elif trouble.code is Code.RATE_LIMITED and (often := message.receives - backoff.PASSED_OVER) > 0:
            hidden_for = backoff.retry_delay(trouble.retry_after, often, base=base, roll=self.roll())
        elif trouble.retry_after is not None and (trouble.counted or trouble.code in _TIMED):
            hidden_for = backoff.clamp(trouble.retry_after)
        else:
            hidden_for = backoff.retry_delay(trouble.retry_after, message.receives, base=base, roll=self.roll())
        signal = _WAITING_SIGNALS.get(trouble.code, Metric.RETRIED if trouble.counted else Metric.THROTTLED)
        self.metrics.emit(signal, {"code": trouble.code, "reason": trouble.reason, "hidden_for": hidden_for})
        # If this fails as well, the queue's visibility timeout brings the message back, only later.
        with suppress(Retryable):
            self.queue.hide(message, hidden_for)


@dataclass(slots=True)
class _Attempt:
    """One attempt at a command. Its claim moves on as the ledger records it."""

    command: Command
    claim: Claim

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier attempt of this command may have acted."""
        return self.claim.rows.intent.maybe_acted


_UPDATED = "last_updated"
_CHANGED = Outcome(Status.REJECTED, Code.CHANGED, "It was changed while it was exported, so it is not deleted.")


def _without_acting(ruling: GuardResult) -> Outcome | None:
    """How a command ends that is not to act."""
    match ruling.verdict:
        case Verdict.REJECT:
            return Outcome(Status.REJECTED, ruling.code, ruling.reason)
        case Verdict.NOTHING:
            return Outcome(Status.UNCHANGED, ruling.code, ruling.reason)
        case Verdict.REACHED:
            return Outcome(Status.DONE, ruling.code, ruling.reason)
        case Verdict.OVERTAKEN:
            return Outcome(Status.SUPERSEDED, ruling.code, ruling.reason)
        case Verdict.ACT:
            return None


def _counts(seen: ResourceSnapshot | None) -> str:
    """What an undo, or a later attempt, is compared with, as JSON; empty where nothing is known."""
    if seen is None:
        return ""
    updated = seen.last_updated.isoformat() if seen.last_updated else None
    facts = {"tasks": seen.tasks, "comments": seen.comments, _UPDATED: updated}
    known = {name: fact for name, fact in facts.items() if fact is not None}
    return json.dumps(known) if known else ""


def _is_touched(evidence: str, seen: ResourceSnapshot | None) -> bool:
    """Whether a thing was changed since the attempt that left this evidence; no where that cannot be told."""
    before = json.loads(evidence).get(_UPDATED) if evidence else None
    now = seen.last_updated if seen is not None else None
    return before is not None and now is not None and before != now.isoformat()


def _joined(*evidence: str) -> str:
    joined = {name: value for text in evidence if text for name, value in json.loads(text).items()}
    return json.dumps(joined) if joined else ""


def _conflict(command: Command) -> Poison:
    return Poison(
        Code.INTENT_CONFLICT,
        f"Intent {command.intent_id} stands in the ledger with another meaning. This copy was left undone.",
    )
