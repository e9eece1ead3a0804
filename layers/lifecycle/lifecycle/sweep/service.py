"""The sweep: see everything, write a plan, and apply it if that is the mode and nothing stops it.

Each page and each batch is a checkpoint, so that a sweep that is cut off goes on where it stood. Its clock is that of
its beginning, and decisions are made only when everything has been read: however often it was cut off, it makes the
same plan.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lifecycle.approvals import rules
from lifecycle.approvals.people import People
from lifecycle.approvals.rules import About, ApprovalRequest, ApprovalStatus
from lifecycle.approvals.store import Approvals
from lifecycle.audit.chain import Record, What
from lifecycle.audit.store import AuditStore
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Contention, Key, Put, Value, VersionedTable
from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.metrics import Measure, Metric, Metrics
from lifecycle.aws.s3 import Objects
from lifecycle.aws.sqs import Later, Message, Queue
from lifecycle.deletion.safeguards import announce_request
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import PLAN, SWEEP, Id, ShortLine, describe, is_of_a_newer_release
from lifecycle.domain.errors import Code, Poison, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.domain.events import SCHEMA_VERSION
from lifecycle.execution import revoked_plans
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.wakeup_check import Waking
from lifecycle.holds.rules import Holds
from lifecycle.holds.store import HoldStore
from lifecycle.pacing import backoff
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.plans.builder import PlanTerms, seal, unseen
from lifecycle.plans.executor import FRESH, Application, Applying, PlanPart, Stage, count_due, undone_already
from lifecycle.plans.inventory import Inventory
from lifecycle.plans.pagination_check import PaginationCheck, lists_of
from lifecycle.plans.plan_file import Plan, PlanHeader
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.sweep.digest import Digest, hours_since_finished, record_finished
from lifecycle.sweep.preflight import Preflight, notes, reasons
from lifecycle.sweep.preflight_rules import Finding
from lifecycle.tallyfy.client import Tallyfy

_NEEDED_SECONDS = 30.0
"""With less time left no further page is read; the message comes back and the sweep goes on."""
_SEALING_SECONDS = 300.0
"""What writing a large plan and its report may take."""
_SHORT_WAIT = 10.0
"""Up to so many seconds the sweep waits for its pace itself; there is one of it, and a page needs one call."""
_KEEP = timedelta(days=30)
_LOCKED = timedelta(hours=6)
"""Longer than a sweep ever waits between two invocations. One that crashed for good blocks others for no longer."""
_PREFLIGHT_CALLS = 2
_SCHEDULE = "schedule"
_SWEEP = "sweep"
"""What a sweep counts as among the things that fail in an outage."""
_TAKEN_BACK = "The plan was taken back."
_DAY = timedelta(days=1)
_EVENTS = {
    Metric.SWEEP_FINISHED: "lifecycle.sweep.finished",
    Metric.PLAN_APPLIED: "lifecycle.plan.applied",
    Metric.PLAN_TAKEN_BACK: "lifecycle.plan.taken_back",
}


class JobKind(StrEnum):
    """What an errand is about."""

    SWEEP = "sweep"
    CHECK = "check"
    """Only see whether all is in order."""
    DIGEST = "digest"
    """Tell people what waits in the dead-letter queues, which belong to no organization."""
    APPLY = "apply"
    """Apply a plan at a person's word."""
    UNDO = "undo"
    """Take back what was applied of a plan."""


class SweepJob(BaseModel):
    """The message that starts or continues an errand. Without ``org_id``: one for each organization."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    sweep_id: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9:._-]+$")]
    """Names this errand for good; the schedule gives its own time."""
    org_id: Id | None = None
    kind: JobKind = JobKind.SWEEP
    plan: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    requested_by: ShortLine | None = None
    first: Annotated[int, Field(ge=1)] | None = None
    """Apply only the oldest so many things of the plan."""

    @model_validator(mode="after")
    def _complete(self) -> "SweepJob":
        if self.first is not None and self.kind is not JobKind.APPLY:
            msg = "only a plan that is applied has a first part"
            raise ValueError(msg)
        applies = self.kind in {JobKind.APPLY, JobKind.UNDO}
        if applies != (self.plan is not None) or (applies and (self.org_id is None or self.requested_by is None)):
            msg = "whoever applies or undoes names the plan, the organization and themselves"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a sweep stands. As JSON: how far each list was read, and what the look before it found out."""

    terms: str = ""
    """The mode and the policy it was begun under."""
    begun_at: str = ""
    lists: str = "[]"
    org_name: str = ""
    stops: str = "[]"
    notes: str = "[]"
    plan: str = ""
    """The hash of its plan, once there is one."""
    seen: int = 0
    due: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Everything a sweep needs. ``retry_base`` is the first wait after a failure; it and ``sleep`` are in seconds."""

    rows: VersionedTable
    ledger: Ledger
    holds: HoldStore
    tallyfy: Tallyfy
    pacing: Pacing
    queue: Queue
    bulk: Queue
    purge: Queue
    objects: Objects
    bus: Bus
    outcomes: Outcomes
    metrics: Metrics
    preflight: Preflight
    waking: Waking
    digest: Digest
    approvals: Approvals
    people: People
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

    def handle(self, message: Message) -> None:
        """Carry one message on. Raises ``Later`` when it has to come back; it is hidden until then."""
        try:
            errand = SweepJob.model_validate_json(message.body)
        except ValidationError as error:
            if is_of_a_newer_release(error) and message.receives < backoff.MOST_RECEIVES:
                reason = f"It waits for a newer release, which knows what it says: {describe(error)}"
                self._hide(message, Throttled(Code.NEWER_RELEASE, reason))
            self.outcomes.dead_letter(message, Poison(Code.POISON, f"Invalid sweep message: {describe(error)}"))
            return
        try:
            try:
                if message.receives >= backoff.MOST_RECEIVES:
                    self._unlock(errand)
                    reason = "The sweep could not be carried on for too long."
                    self.outcomes.dead_letter(message, Poison(Code.WAITED_TOO_LONG, reason))
                elif errand.org_id is None:
                    self._start(errand)
                elif errand.org_id in self.org_ids:
                    self._run(errand, errand.org_id)
                elif errand.plan is not None:
                    # Somebody waits for it. A sweep of an organization that was taken out is simply over.
                    reason = f"Organization {errand.org_id} is not one of this stack's."
                    self.outcomes.dead_letter(message, Poison(Code.ORGANIZATION_UNKNOWN, reason))
            except Rejected as error:
                self._unlock(errand)
                self.outcomes.dead_letter(message, Poison(error.code, f"The sweep stopped: {error.reason}"))
        except Contention:
            self._hide(message, Throttled(Code.BUSY, "Another invocation carries this sweep on.", retry_after=60))
        except Retryable as trouble:
            self._hide(message, trouble)

    def applying(self) -> Applying:
        """What applies plans, with this sweep's means."""
        return Applying(
            rows=self.rows,
            ledger=self.ledger,
            tallyfy=self.tallyfy,
            pacing=self.pacing,
            bulk=self.bulk,
            purge=self.purge,
            objects=self.objects,
            policy=self.policy,
            id_key=self.id_key,
            clock=self.clock,
            time_left=self.time_left,
            take_turn=self._take_turn,
            look_again=self.retry_base,
            after_batch=self.after_step,
        )

    def _hide(self, message: Message, trouble: Retryable) -> NoReturn:
        refused = isinstance(trouble, TokenRefused)
        if refused or trouble.code is Code.PAUSED:
            wait = backoff.human_delay(message.receives)
        elif trouble.code is Code.OUTAGE:
            wait = backoff.outage_delay(trouble.retry_after or 0.0, message.receives, roll=1.0)
        elif trouble.code is Code.OUT_OF_TIME:
            wait = backoff.clamp(1)  # It was at work for the whole time.
        else:
            wait = backoff.retry_delay(trouble.retry_after, message.receives, base=self.retry_base, roll=1.0)
        waits = Metric.RETRIED if trouble.counted else Metric.THROTTLED
        self.metrics.emit(Metric.TOKEN_REFUSED if refused else waits, {"code": trouble.code, "reason": trouble.reason})
        self.queue.hide(message, wait)
        raise Later(trouble.reason) from trouble

    def _start(self, errand: SweepJob) -> None:
        if errand.kind is JobKind.DIGEST:
            self.digest.tell()
            return
        parts = [errand.model_copy(update={"org_id": org_id}) for org_id in sorted(self.org_ids)]
        if errand.kind is JobKind.CHECK:
            # A message of its own: a queue that cannot be read is asked again without checking everything again.
            parts.append(errand.model_copy(update={"kind": JobKind.DIGEST}))
        for part in parts:
            self.queue.send(part.model_dump_json(exclude_none=True))

    def _run(self, errand: SweepJob, org_id: str) -> None:
        if errand.kind is JobKind.CHECK:
            self._check(org_id, errand.sweep_id)
            return
        if errand.kind is JobKind.SWEEP and self._progress(errand.sweep_id, org_id)[0].done:
            self._unlock(errand)  # It may have been cut off just before.
            return
        if errand.plan is not None and errand.requested_by is not None:
            self._run_plan(errand, org_id, errand.plan, errand.requested_by)
            return
        self._lock(errand, org_id)
        self._go_on(errand.sweep_id, org_id, by=errand.requested_by or _SCHEDULE)
        self._unlock(errand)

    def _run_plan(self, errand: SweepJob, org_id: str, name: str, by: str) -> None:
        if errand.kind is JobKind.UNDO:
            # It needs no lock, and must not wait for one: it counts from the moment at which it is written down.
            self._undo(org_id, name, by)
            return
        undone = self._undone(org_id, name)
        if undone:
            # Also one that waits or is paused ends here.
            self._unlock(errand)
            self._stopped_by_people(org_id, name, undone, by=by)
            return
        self._lock(errand, org_id)
        self._apply(errand, org_id, name, by)
        self._unlock(errand)

    def _stopped_by_people(self, org_id: str, name: str, why: str, *, by: str) -> None:
        """Say that people decided against a plan: that is no dead letter, and no work for anyone."""
        self._record(What.PLAN_STOPPED, org_id, name, why, by=by)
        self.metrics.emit(Metric.SUPERSEDED, {"org_id": org_id, "plan": name, "reason": why})

    def _undone(self, org_id: str, name: str) -> str:
        """Who took a plan back, as a sentence; empty if nobody did."""
        [row] = self.rows.read(revoked_plans.taken_back_key(org_id, name))
        if row is None or not revoked_plans.is_taken_back(row):
            return ""
        return f"{revoked_plans.taken_back_by(row)} took the plan back. Make a new plan."

    def _undo(self, org_id: str, name: str, by: str) -> None:
        revoked_plans.take_back(self.rows, org_id, name, by=by, at=self.clock())
        self._free(org_id, name)
        off = partial(rules.withdraw, person=self.people.name_of(by), why=_TAKEN_BACK)
        self.approvals.change(org_id, name, off)
        applying = self.applying()
        with applying.opened(org_id, name) as (plan, lines):
            before = applying.undone(plan)
            if before.stage == Stage.DONE:
                self._report(Metric.PLAN_TAKEN_BACK, plan, 0, (undone_already(before),), by=by)
                return
            after = applying.take_back(plan, lines)
            self._report(Metric.PLAN_TAKEN_BACK, plan, after.undos, (), by=by, said=after.why)

    def _go_on(self, sweep_id: str, org_id: str, *, by: str) -> None:
        progress, version = self._progress(sweep_id, org_id)
        if progress.terms != self._terms:
            raise Rejected(
                Code.CHANGED,
                "The mode or the policy was changed meanwhile. The next sweep follows the new one.",
            )
        if not progress.begun_at:
            progress = self._begin(org_id, progress)
            version = self._save(sweep_id, org_id, progress, version)
        inventory = self._inventory(sweep_id, org_id)
        for number, asked in enumerate(lists_of(self.policy)):
            while not (census := _censuses(progress)[number]).done:
                after = self._calling(org_id, partial(inventory.read_page, asked, census))
                progress = _with_census(progress, number, after)
                version = self._save(sweep_id, org_id, progress, version)
                self.after_step()
        if not progress.plan:
            plan = self._plan(sweep_id, org_id, inventory, progress)
            self._remember(plan)
            self._record(What.PLAN_MADE, org_id, plan.hash, f"{plan.due} of {plan.seen} things are due", by=by)
            progress = replace(progress, plan=plan.hash, seen=plan.seen, due=plan.due)
            version = self._save(sweep_id, org_id, progress, version)
            self.after_step()
        applying = self.applying()
        with applying.opened(org_id, progress.plan) as (plan, lines):
            refusals = applying.refusals(plan, SWEEP)
            applied = Application()
            if self.mode is Mode.APPLY and not refusals:
                carry_on = partial(applying.carry_on, plan, lines, PlanPart.REVERSIBLE, by=_SCHEDULE, source=SWEEP)
                applied = self._heeding(org_id, carry_on)
            stopped = refusals if self.mode is Mode.APPLY else ()
            self._report(Metric.SWEEP_FINISHED, plan, applied.sent, (*stopped, *_why(applied)), by=by)
        record_finished(self.rows, org_id, self.clock())
        self._save(sweep_id, org_id, replace(progress, done=True), version)

    def _begin(self, org_id: str, progress: Progress) -> Progress:
        """Before anything is read: is all in order? What is not keeps the plan from being applied."""
        findings = self._look(org_id)
        self.preflight.tell(org_id, findings)
        return replace(
            progress,
            begun_at=self.clock().isoformat(),
            lists=json.dumps([asdict(PaginationCheck()) for _ in lists_of(self.policy)]),
            stops=json.dumps(reasons(findings)),
            org_name=next((finding.name for finding in findings if finding.name), ""),
            notes=json.dumps(notes(findings)),
        )

    def _look(self, org_id: str) -> tuple[Finding, ...]:
        # One turn for both: at a slow pace, waiting for one each would never come to the second.
        self._take_turn(org_id)
        self.pacing.overdraw(org_id, _PREFLIGHT_CALLS - 1)
        return self._calling(org_id, partial(self.preflight.look, org_id))

    def _plan(self, sweep_id: str, org_id: str, inventory: Inventory, progress: Progress) -> Plan:
        if self.time_left() < _SEALING_SECONDS:
            raise Throttled(Code.OUT_OF_TIME, "The plan is written by the next invocation.", retry_after=1)
        lists = list(zip(lists_of(self.policy), _censuses(progress), strict=True))
        heading = PlanHeader(
            org_id=org_id,
            sweep_id=sweep_id,
            made_at=datetime.fromisoformat(progress.begun_at),
            policy=self.policy.digest,
            zone=self.policy.zone.key,
            unseen=unseen(lists),
        )
        before, person = self._applied_last(org_id)
        # What was not in order at the beginning may have been mended while it waited, such as a token.
        stops = reasons(self._look(org_id)) if json.loads(progress.stops) else ()
        terms = PlanTerms(
            mode=self.mode,
            policy=self.policy,
            holds=Holds(self.holds.reasons(org_id), self.policy.hold_tags or frozenset()),
            newest_on=partial(self.ledger.newest_on, org_id),
            before=before,
            stops=stops,
            person=person,
            org_name=progress.org_name or None,
            notes=tuple(json.loads(progress.notes)),
            per_minute=self.pacing.rate.per_minute,
        )
        return seal(inventory, lists, heading, terms, self.objects)

    def _remember(self, plan: Plan) -> None:
        """Say which plan is the newest, for whoever wants to see it and does not know its name."""
        key = newest_key(plan.org_id)
        [row] = self.rows.read(key)
        self.rows.write(Put(key, {"sweep_id": plan.sweep_id, "plan": plan.hash}, row.version if row else 0))

    def _record(self, what: What, org_id: str, plan: str, reason: str, *, by: str) -> None:
        at = millis(self.clock())
        AuditStore(self.rows).record(Record(at=at, what=what, org_id=org_id, plan=plan, by=by, reason=reason))

    def _applied_last(self, org_id: str) -> tuple[Policy | None, tuple[str, ...]]:
        """The policy that was applied last, if it was another one; or why that cannot be said."""
        [row] = self.rows.read(table_keys.sweeps(org_id, "applied"))
        if row is None:
            return None, ()
        try:
            before = Policy.from_json(str(row.values.get("policy")))
        except ValueError:
            return None, ("The policy that was applied last cannot be read by this release.",)
        return (None if before.digest == self.policy.digest else before), ()

    def _apply(self, errand: SweepJob, org_id: str, name: str, by: str) -> None:
        applying = self.applying()
        with applying.opened(org_id, name) as (plan, lines):
            begun = applying.find(plan, PlanPart.REVERSIBLE)
            # What was begun goes on as it was begun, whoever carries it on.
            first = begun.first if begun.stage else errand.first or 0
            refusals = applying.refusals(plan, PLAN, first=first)
            if refusals:
                raise Rejected(Code.PLAN_STOPPED, " ".join(refusals))
            parts: list[Application] = []
            for part in (PlanPart.REVERSIBLE, PlanPart.IRREVERSIBLE):
                asks = part is PlanPart.IRREVERSIBLE and (not first or count_due(lines, part, first))
                if asks and not self._is_approved(plan, errand, by):
                    break
                carry_on = partial(applying.carry_on, plan, lines, part, by=by, source=PLAN, first=first)
                parts.append(self._heeding(org_id, carry_on))
                if parts[-1].stage == Stage.STOPPED:
                    break
        sent = sum(applied.sent for applied in parts)
        said = f"{sent} commands handed on" + (f", only the oldest {first} of {plan.due} things" if first else "")
        self._report(Metric.PLAN_APPLIED, plan, sent, _why(parts[-1]), by=by, said=said)

    def _is_approved(self, plan: Plan, errand: SweepJob, by: str) -> bool:
        """Whether enough other people have approved what cannot be undone in it. If nobody was asked, they are now."""
        lasting = [rule for rule in plan.rules if rule.irreversible and rule.due]
        if not lasting:
            return False  # and nothing to apply
        now = self.clock()
        request = self.approvals.ask(
            ApprovalRequest(
                hash=plan.hash,
                about=About.PLAN,
                org_id=plan.org_id,
                subject=plan.hash,
                asked_by=self.people.name_of(by),
                asked_ids=self.people.identities_of(by),
                asked_at=millis(now),
                # An approval outlives no plan: an older one is not applied.
                lapses_at=millis(min(now + timedelta(hours=self.people.approvals.hours), plan.made_at + FRESH)),
                needed=self.people.needed(self.people.approvals.plan, by),
                shown=plan.model_dump_json(exclude={"ages", "kept_by"}),
                message=errand.model_dump_json(exclude_none=True),
                capabilities=tuple(sorted({f"{rule.resource}.{rule.action}" for rule in lasting})),
            )
        )
        match request.stands(millis(now)):
            case ApprovalStatus.APPROVED:
                return True
            case ApprovalStatus.REFUSED:
                why = f"{request.refused_by} refused what cannot be undone in this plan."
                self._stopped_by_people(plan.org_id, plan.hash, why, by=by)
                return False
            case _:
                announce_request(self.bus, request, millis(now))
                return False

    def _check(self, org_id: str, check: str) -> None:
        """Look after an organization once, then look at Tallyfy as often as it takes, until the next check does it."""
        scheduled, now = _scheduled(check), self.clock()
        self._look_after(org_id, check, scheduled or now)
        if scheduled is None or now - scheduled < _DAY:
            self.preflight.tell(org_id, self._look(org_id))

    def _look_after(self, org_id: str, check: str, until: datetime) -> None:
        """Wake what is overdue and tell approvers what became due since the last check that got so far.

        What was done is written down last: a check that is cut off in between repeats it, and no other does.
        """
        key = table_keys.sweeps(org_id, "checked")
        [row] = self.rows.read(key)
        if row is not None and row.values.get("check") == check:
            return
        since = datetime.fromisoformat(str(row.values["until"])) if row is not None else until - _DAY
        self.waking.wake(org_id, self.clock())
        self.metrics.measure(Measure.SWEEP_AGE, hours_since_finished(self.rows, org_id, self.clock()))
        self._tell_approvers(org_id, since, until)
        told: dict[str, Value] = {"check": check, "until": max(since, until).isoformat()}
        self.rows.write(Put(key, told, row.version if row is not None else 0))

    def _tell_approvers(self, org_id: str, since: datetime, until: datetime) -> None:
        """Remind people of plans, and say which have lapsed. A delete of its own comes back by itself for that."""
        for request in self.approvals.due_notices(org_id, since, until):
            if request.about == About.PLAN:
                announce_request(self.bus, request, millis(self.clock()))

    def _report(
        self, signal: Metric, plan: Plan, sent: int, stopped: tuple[str, ...], *, by: str, said: str = ""
    ) -> None:
        facts = {
            "sweep_id": plan.sweep_id,
            "org_id": plan.org_id,
            "plan": plan.hash,
            "mode": self.mode.value,
            "by_reason": json.dumps(plan.kept_by),
            "stopped_by": " ".join(stopped),
        }
        counts = {
            "seen": plan.seen,
            "due": plan.due,
            "kept": plan.kept,
            "failed": plan.failed,
            "sent": sent,
            "estimated_minutes": plan.estimated_minutes,
        }
        told = {"schema_version": SCHEMA_VERSION, **facts, **{name: str(count) for name, count in counts.items()}}
        self.bus.announce(_EVENTS[signal], told)
        record = partial(self._record, org_id=plan.org_id, plan=plan.hash, by=by)
        if signal is Metric.PLAN_TAKEN_BACK:
            record(What.PLAN_TAKEN_BACK, reason=said or facts["stopped_by"])
        elif stopped:
            record(What.PLAN_STOPPED, reason=facts["stopped_by"])
            if not self._undone(plan.org_id, plan.hash):
                # What people took back is no work for anyone.
                self.metrics.emit(Metric.PLAN_STOPPED, facts)
        elif sent:
            record(What.PLAN_APPLIED, reason=said or f"{sent} commands handed on")
        self.metrics.emit(signal, {**facts, **counts})

    def _inventory(self, sweep_id: str, org_id: str) -> Inventory:
        return Inventory(
            tallyfy=self.tallyfy,
            objects=self.objects,
            org_id=org_id,
            folder=f"sweeps/{org_id}/{sweep_id}",
            take_turn=lambda: self._take_turn(org_id),
            clock=self.clock,
        )

    def _calling[T](self, org_id: str, call: Callable[[], T]) -> T:
        """As ``_heeding``, for what calls Tallyfy: that it answered ends an outage."""
        answer = self._heeding(org_id, call)
        self.pacing.worked(org_id)
        return answer

    def _heeding[T](self, org_id: str, call: Callable[[], T]) -> T:
        """A 429 is everybody's, and so is an outage: the shared pace hears of it before the error goes on."""
        try:
            return call()
        except Throttled as wait:
            if wait.code is Code.THROTTLED and wait.retry_after is not None:
                self.pacing.block(org_id, wait.retry_after)
            raise
        except Retryable as trouble:
            if trouble.outage:
                with suppress(Retryable):
                    # It called, so if the breaker is open this was the probe.
                    self.pacing.failed(org_id, _SWEEP, roll=1.0, probe=True)
            raise

    def _take_turn(self, org_id: str) -> None:
        if self.time_left() < _NEEDED_SECONDS:
            raise Throttled(Code.OUT_OF_TIME, "The function's time is nearly up.", retry_after=1)
        given = self.pacing.reserve(org_id, 1)
        if given.paused_by:
            self.pacing.give_back(org_id, given.calls)
            raise Throttled(Code.PAUSED, f"Paused by {given.paused_by}.")
        if given.outage and not given.calls:
            raise Throttled(Code.OUTAGE, "Tallyfy, or AWS before it, does not answer.", retry_after=given.wait)
        if not given.calls and given.wait > _SHORT_WAIT:
            raise Throttled(Code.RATE_LIMITED, "The pace towards Tallyfy is used up for now.", retry_after=given.wait)
        if not given.calls:
            self.sleep(given.wait)
            self.pacing.overdraw(org_id)

    def _lock(self, errand: SweepJob, org_id: str) -> None:
        """One at a time: two would see the same things as due, and a hold set between them by one alone."""
        key = _lock_key(org_id)
        [row] = self.rows.read(key)
        now = self.clock()
        holder = str(row.values.get("sweep_id", "")) if row else ""
        until = int(str(row.values.get("until", 0))) if row else 0
        if holder not in {"", errand.sweep_id} and until > now.timestamp():
            raise Throttled(Code.BUSY, f"Sweep {holder} of this organization is not finished.", retry_after=600)
        values: dict[str, Value] = {
            "sweep_id": errand.sweep_id,
            "until": int((now + _LOCKED).timestamp()),
            "plan": errand.plan or "",
        }
        self.rows.write(Put(key, values, row.version if row else 0))

    def _unlock(self, errand: SweepJob) -> None:
        if errand.org_id is None:
            return
        key = _lock_key(errand.org_id)
        [row] = self.rows.read(key)
        if row is not None and row.values.get("sweep_id") == errand.sweep_id:
            self.rows.write(Put(key, {"sweep_id": "", "until": 0}, row.version))

    def _free(self, org_id: str, plan: str) -> None:
        """Take the lock from whoever applies a plan that was taken back: it sends nothing more, and may be paused."""
        key = _lock_key(org_id)
        [row] = self.rows.read(key)
        holder = str(row.values.get("sweep_id") or "") if row else ""
        if row is None or not holder:
            return
        if plan in {row.values.get("plan"), self._progress(holder, org_id)[0].plan}:
            self.rows.write(Put(key, {"sweep_id": "", "until": 0}, row.version))

    def _progress(self, sweep_id: str, org_id: str) -> tuple[Progress, int]:
        [row] = self.rows.read(state_key(sweep_id, org_id))
        if row is None:
            return Progress(terms=self._terms), 0
        known = Progress.__dataclass_fields__
        return Progress(**{n: v for n, v in row.values.items() if n in known}), row.version  # type: ignore[arg-type]

    def _save(self, sweep_id: str, org_id: str, progress: Progress, version: int) -> int:
        expires_at = int((self.clock() + _KEEP).timestamp())
        self.rows.write(Put(state_key(sweep_id, org_id), asdict(progress), version, expires_at))
        return version + 1

    @property
    def _terms(self) -> str:
        return f"{self.mode} {self.policy.digest}"


def state_key(sweep_id: str, org_id: str) -> Key:
    """Where a sweep's progress is recorded."""
    return table_keys.sweep_state(org_id, sweep_id)


def newest_key(org_id: str) -> Key:
    """Where it is recorded which plan of an organization is the newest."""
    return table_keys.sweeps(org_id, "newest")


def _scheduled(name: str) -> datetime | None:
    """The time that a schedule named its message after; ``None`` where somebody else named it."""
    try:
        moment = datetime.fromisoformat(name)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _why(applied: Application) -> tuple[str, ...]:
    return (applied.why,) if applied.stage == Stage.STOPPED else ()


def _lock_key(org_id: str) -> Key:
    return table_keys.sweeps(org_id, "current")


def _censuses(progress: Progress) -> list[PaginationCheck]:
    return [PaginationCheck(**census) for census in json.loads(progress.lists)]


def _with_census(progress: Progress, number: int, census: PaginationCheck) -> Progress:
    censuses = _censuses(progress)
    censuses[number] = census
    return replace(progress, lists=json.dumps([asdict(one) for one in censuses]))
