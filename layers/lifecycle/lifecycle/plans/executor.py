"""Do exactly what a plan says, once: belts first, then five things, then a look at them, then the rest.

Commands are named after the plan and the thing, so whatever is applied twice is done once.
"""

import hashlib
import heapq
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import batched, islice
from pathlib import Path

from pydantic import ValidationError

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put, Row, VersionedTable
from lifecycle.aws.s3 import Objects
from lifecycle.aws.sqs import Queue
from lifecycle.deletion.safeguards import name_in_plan
from lifecycle.domain.capabilities import Capability, State, capability
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import SWEEP, UNDO, Command, Expect, one_line
from lifecycle.domain.errors import Code, Rejected, Throttled
from lifecycle.domain.intent import DEAD, OPEN, IntentRow, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution import revoked_plans
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.undo import undo_command
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.plans.builder import key_of
from lifecycle.plans.limits import most_first, over_caps
from lifecycle.plans.plan_file import Entry, Plan, PlanFooter, PlanHeader, entries
from lifecycle.policy.policy import Policy
from lifecycle.tallyfy.client import Tallyfy

_FIRST = 5
_BATCH = 100
_MOST_NAMES = 100
"""So many tags or owners can be expected of a thing."""
_NEEDED_SECONDS = 30.0
FRESH = timedelta(days=7)
"""A plan is a picture of what was seen. After so long, make a new one."""
_DUE_FOR = timedelta(days=2)
"""How long a command of a plan may wait. After that another night decides anew."""
_ACTED = frozenset({Status.DONE, Status.IN_PROGRESS})
"""What was done, or may be done at this moment. Everything else of a plan that was taken back never makes its call:
whoever archived such a thing since did it by hand."""
_SKIPPED = frozenset(
    {
        *(Code.CHANGED, Code.HELD, Code.NOT_FOUND, Code.PROCESS_TASK, Code.UNDETERMINED),
        *(Code.NOT_ARCHIVED, Code.TOO_YOUNG, Code.AGE_UNKNOWN, Code.IN_USE, Code.USE_UNKNOWN),
    }
)
"""Guards that keep a thing: it is not what the plan saw. That is no sign of anything wrong with the plan."""


class PlanPart(StrEnum):
    """The halves of a plan. The schedule alone applies only the first; people may undo that."""

    REVERSIBLE = "reversible"
    IRREVERSIBLE = "irreversible"
    REVERTED = "taken-back"
    """No half: the first one undone."""


class _TakenBack(Exception):
    """Somebody took the plan back: nothing more of it is sent."""

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by


class Stage(StrEnum):
    """How far a part has come."""

    CANARY = "first"
    REST = "rest"
    DONE = "done"
    STOPPED = "stopped"
    """What was read back is not what was planned. A new plan is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """How far a part of a plan has been applied, and at whose word. ``sent`` counts commands."""

    stage: str = ""
    sent: int = 0
    requested_by: str = ""
    source: str = ""
    begun_at: str = ""
    why: str = ""
    checked: int = 0
    """How many of the first commands have ended and were looked at."""
    proven: int = 0
    """How many of those were done, and read back as planned."""
    first: int = 0
    """Only the oldest so many things of the plan are acted on; 0 for all of them."""
    undos: int = 0
    """How many undos were sent, of a plan that is taken back."""
    left: str = "{}"
    """JSON: how many things were left alone then, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applying:
    """Everything that applying needs. ``take_turn`` waits for the pace before each call to Tallyfy.

    ``look_again`` is how many seconds the first commands are given before they are looked at.
    """

    rows: VersionedTable
    ledger: Ledger
    tallyfy: Tallyfy
    pacing: Pacing
    bulk: Queue
    purge: Queue
    objects: Objects
    policy: Policy
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]
    time_left: Callable[[], float]
    take_turn: Callable[[str], None]
    look_again: float
    after_batch: Callable[[], None] = field(default=lambda: None)
    """Called after each batch was recorded; tests end the process there."""

    @contextmanager
    def opened(self, org_id: str, name: str) -> Iterator[tuple[Plan, Path]]:
        """A plan's summary and the file of its lines, for as long as they are needed.

        Raises ``Rejected``: there is none, it cannot be understood, or the summary is not what the lines say.
        """
        with tempfile.TemporaryDirectory() as scratch:
            plan, lines = self._summary(org_id, name), Path(scratch, "plan.jsonl")
            if not self.objects.fetch(key_of(org_id, name, "plan.jsonl"), lines):
                raise Rejected(Code.PLAN_STOPPED, f"The lines of plan {name} are gone. Make a new plan.")
            wrong = what_differs(plan, lines)
            if wrong:
                raise Rejected(Code.PLAN_STOPPED, wrong)
            yield plan, lines

    def _summary(self, org_id: str, name: str) -> Plan:
        body = self.objects.get(key_of(org_id, name, "plan.json"))
        if body is None:
            raise Rejected(Code.PLAN_STOPPED, f"Organization {org_id} has no plan {name}.")
        try:
            plan = Plan.model_validate_json(body)
        except ValidationError:
            raise Rejected(Code.PLAN_STOPPED, f"Plan {name} was written by another release. Make a new one.") from None
        if (plan.org_id, plan.hash) != (org_id, name):
            raise Rejected(Code.PLAN_STOPPED, f"What is kept as plan {name} is another one. Nothing was done.")
        return plan

    def refusals(self, plan: Plan, source: str, *, first: int = 0) -> tuple[str, ...]:
        """Why it must not be applied; empty if it may. A person may do what the schedule alone may not.

        ``first``: only the oldest so many things are meant, so caps measure that number.
        """
        acting = [rule.name for rule in self.policy.acting]
        changed = plan.policy != self.policy.digest or [rule.name for rule in plan.rules] != acting
        old = self.clock() - plan.made_at > FRESH
        # The summary is not what the plan is named after: what its numbers say is said again.
        capped = () if changed else over_caps(plan, self.policy)
        stops = tuple(dict.fromkeys((*plan.stops, *capped)))
        if first:
            most = most_first(self.policy)
            stops = tuple(why for why in stops if why not in capped)
            stops += (f"--first {first} is more than the cap of {most}.",) if first > most else ()
        return (
            *plan.unseen,
            *stops,
            *(plan.person if source == SWEEP else ()),
            *(("policy.toml was changed since it was made. Make a new plan.",) if changed else ()),
            *((f"It is older than {FRESH.days} days. Make a new plan.",) if old else ()),
        )

    def carry_on(self, plan: Plan, lines: Path, part: PlanPart, *, by: str, source: str, first: int = 0) -> Application:
        """Apply a part, or go on where it stood. Raises ``Throttled`` when it has to come back.

        A plan that was taken back goes no further, whatever it waits for. The caller has made sure that nothing refuses
        it, that ``lines`` are the plan's, and that nobody else applies anything in this organization.
        """
        state, version = self._read(plan, part)
        if state.stage in {Stage.DONE, Stage.STOPPED}:
            return state
        try:
            self._heed_undo(plan)
            if not state.stage:
                state = Application(
                    stage=Stage.CANARY,
                    requested_by=by,
                    source=source,
                    begun_at=self.clock().isoformat(),
                    first=first,
                )
                # Before anything is sent: whoever goes on after a crash sends the same commands in the same name.
                version = self._save(plan, part, state, version)
            if state.stage == Stage.CANARY:
                state, version = self._first(plan, part, lines, state, version)
            if state.stage == Stage.REST:
                state, version = self._rest(plan, part, lines, state, version)
        except _TakenBack as undo:
            state, version = self._read(plan, part)
            state = replace(state, stage=Stage.STOPPED, why=f"{undo.by} took the plan back.")
            self._save(plan, part, state, version)
        return state

    def undone(self, plan: Plan) -> Application:
        """How far the plan was taken back; an empty record if it was not."""
        return self.find(plan, PlanPart.REVERTED)

    def take_back(self, plan: Plan, lines: Path) -> Application:
        """Undo what was done of a plan that was taken back, or go on where that stood. Raises as ``carry_on``.

        Needs no lock: since the plan was taken back, no command of it makes a call that had not begun.
        """
        state, version = self._read(plan, PlanPart.REVERTED)
        if state.stage == Stage.DONE:
            return state
        # A row that was made by hand may say less than ours.
        by, at = state.requested_by or "somebody", state.begun_at or self.clock().isoformat()
        state = replace(state, stage=Stage.REST, requested_by=by, begun_at=at)
        for part in (PlanPart.REVERSIBLE, PlanPart.IRREVERSIBLE):
            self._stop(plan, part, by)
        for batch in batched(islice(_undoable(lines), state.sent, None), _BATCH, strict=False):
            if self.time_left() < _NEEDED_SECONDS:
                raise Throttled(Code.OUT_OF_TIME, "The function's time is nearly up.", retry_after=1)
            left = Counter[str](json.loads(state.left))
            undos: list[str] = []
            for entry in batch:
                undo_or_why = self._undo(plan, entry, state)
                if isinstance(undo_or_why, str):
                    left[undo_or_why] += 1
                else:
                    undos.append(undo_or_why.to_json())
            if undos:
                self.bulk.send_all(undos)
            state = replace(state, sent=state.sent + len(batch), undos=state.undos + len(undos), left=json.dumps(left))
            version = self._save(plan, PlanPart.REVERTED, state, version)
            self.after_batch()
        state = replace(state, stage=Stage.DONE, why=_taken_back(state))
        self._save(plan, PlanPart.REVERTED, state, version)
        return state

    def _stop(self, plan: Plan, part: PlanPart, by: str) -> None:
        """Let nothing more of a part begin, for whoever looks at how far it came."""
        state, version = self._read(plan, part)
        if state.stage in {Stage.CANARY, Stage.REST}:
            self._save(plan, part, replace(state, stage=Stage.STOPPED, why=f"{by} took the plan back."), version)

    def _undo(self, plan: Plan, entry: Entry, state: Application) -> Command | str:
        """The undo of one thing, or why it is left alone."""
        intent = self.ledger.find(self._intent_id(plan, entry))
        if intent is None:
            return "not begun, and not done any more"
        if intent.status not in _ACTED and not intent.maybe_acted:
            open_ = intent.status in OPEN
            return "not done yet, and not done any more" if open_ else f"ended as {intent.status}, nothing was done"
        name = intent_id(self.id_key(), UNDO, intent.intent_id)
        known = self.ledger.find(name)
        if known is not None and known.status in DEAD:
            return "its undo failed: send its dead letter again"
        ours = known is not None and known.issued_at >= millis(datetime.fromisoformat(state.begun_at))
        if known is not None and known.status not in OPEN and not ours:
            return "undone before; whatever was done to it since stays"
        return undo_command(intent, name=name, by=state.requested_by, now=self.clock())

    def find(self, plan: Plan, part: PlanPart) -> Application:
        """How far a part has come."""
        return self._read(plan, part)[0]

    def _first(
        self, plan: Plan, part: PlanPart, lines: Path, state: Application, version: int
    ) -> tuple[Application, int]:
        """Send five, look at them, and go on so until five were done: what was left alone proves nothing."""
        waiting = list(islice(_due(lines, part, state.first), state.checked, state.sent))
        if waiting:
            intents = [self.ledger.find(self._intent_id(plan, entry)) for entry in waiting]
            ended = [intent for intent in intents if intent is not None and _is_out_of_the_way(intent)]
            if len(ended) < len(waiting):
                raise Throttled(Code.RATE_LIMITED, "The first ones are under way.", retry_after=self.look_again)
            done = sum(intent.status is Status.DONE for intent in ended)
            if done:
                # One turn for all of them: at a slow pace, waiting for one each would never come to the last.
                self.take_turn(plan.org_id)
                self.pacing.overdraw(plan.org_id, done - 1)
            for entry, intent in zip(waiting, ended, strict=True):
                why = self._mismatch(plan, entry, intent)
                if why:
                    stopped = replace(state, stage=Stage.STOPPED, why=why)
                    return stopped, self._save(plan, part, stopped, version)
            state = replace(state, checked=state.sent, proven=state.proven + done)
            version = self._save(plan, part, state, version)
        batch = list(islice(_due(lines, part, state.first), state.sent, state.sent + max(0, _FIRST - state.proven)))
        if batch:
            self._may_send(plan)
            self._send(plan, batch, state)
            self._save(plan, part, replace(state, sent=state.sent + len(batch)), version)
            raise Throttled(Code.RATE_LIMITED, f"The first {len(batch)} are under way.", retry_after=self.look_again)
        after = replace(state, stage=Stage.REST)
        return after, self._save(plan, part, after, version)

    def _mismatch(self, plan: Plan, entry: Entry, intent: IntentRow) -> str:
        """Read one of the first back. Empty if it is as planned."""
        thing, wanted = entry.thing, _doing(entry).reaches
        if intent.status is not Status.DONE:
            return "" if _is_skipped(intent) else f"{_name(thing)} ended as {intent.status}: {intent.reason}"
        try:
            seen = self.tallyfy.look(plan.org_id, thing.resource, thing.id)
        except Rejected as error:
            # It is not where it was, and too much is archived to look through all of that.
            if wanted is State.GONE and error.code is Code.UNDETERMINED:
                return ""
            raise
        state = seen.state if seen else State.GONE
        if state is not wanted:
            return f"{_name(thing)} was to be {wanted}, and read back it is {state}."
        # What a list shows and a look leaves out is no difference.
        known = [(seen.name, thing.name), (seen.template_id, thing.template_id)] if seen else []
        if any(one != other for one, other in known if one is not None and other is not None):
            return f"{_name(thing)} is {state}, but has another name or template than the one planned."
        return ""

    def _rest(
        self, plan: Plan, part: PlanPart, lines: Path, state: Application, version: int
    ) -> tuple[Application, int]:
        for batch in batched(islice(_due(lines, part, state.first), state.sent, None), _BATCH, strict=False):
            self._may_send(plan)
            self._send(plan, batch, state)
            state = replace(state, sent=state.sent + len(batch))
            version = self._save(plan, part, state, version)
            self.after_batch()
        done = replace(state, stage=Stage.DONE)
        self._remember(plan)
        return done, self._save(plan, part, done, version)

    def _heed_undo(self, plan: Plan) -> None:
        """Raise ``_TakenBack`` if somebody has taken the plan back by now."""
        [row] = self.rows.read(revoked_plans.taken_back_key(plan.org_id, plan.hash))
        if row is not None and revoked_plans.is_taken_back(row):
            raise _TakenBack(revoked_plans.taken_back_by(row))

    def _may_send(self, plan: Plan) -> None:
        self._heed_undo(plan)
        if self.time_left() < _NEEDED_SECONDS:
            raise Throttled(Code.OUT_OF_TIME, "The function's time is nearly up.", retry_after=1)
        paused_by = self.pacing.paused_by(plan.org_id)
        if paused_by:
            raise Throttled(Code.PAUSED, f"Paused by {paused_by}.")

    def _send(self, plan: Plan, batch: list[Entry] | tuple[Entry, ...], state: Application) -> None:
        commands = [(self._command(plan, entry, state), _doing(entry)) for entry in batch]
        for queue, permanent in ((self.bulk, False), (self.purge, True)):
            texts = [command.to_json() for command, doing in commands if doing.permanent is permanent]
            if texts:
                queue.send_all(texts)

    def _command(self, plan: Plan, entry: Entry, state: Application) -> Command:
        now = self.clock()
        doing = _doing(entry)
        return Command(
            action=doing.action,
            resource=doing.resource,
            org_id=plan.org_id,
            id=entry.thing.id,
            requested_by=state.requested_by,
            source=state.source,
            reason=one_line(entry.decision.reason, most=500),
            issued_at=now,
            not_after=now + _DUE_FOR,
            intent_id=self._intent_id(plan, entry),
            plan=plan.hash,
            expect=expectation(entry.thing),
        )

    def _intent_id(self, plan: Plan, entry: Entry) -> str:
        return intent_id(self.id_key(), SWEEP, name_in_plan(plan.hash, _doing(entry), entry.thing.id))

    def _remember(self, plan: Plan) -> None:
        """Keep the policy that was applied last: a change of it is measured against it."""
        key = table_keys.sweeps(plan.org_id, "applied")
        [row] = self.rows.read(key)
        values = {"policy": self.policy.to_json(), "plan": plan.hash}
        self.rows.write(Put(key, values, row.version if row else 0))

    def _read(self, plan: Plan, part: PlanPart) -> tuple[Application, int]:
        [row] = self.rows.read(application_key(plan.org_id, plan.hash, part))
        return application_in(row), row.version if row else 0

    def _save(self, plan: Plan, part: PlanPart, state: Application, version: int) -> int:
        expires_at = int((self.clock() + revoked_plans.KEPT).timestamp())
        key = application_key(plan.org_id, plan.hash, part)
        self.rows.write(Put(key, asdict(state), version, expires_at))
        return version + 1


def application_key(org_id: str, plan: str, part: PlanPart) -> Key:
    """Where it is recorded how far a part of a plan has come."""
    if part is PlanPart.REVERTED:
        return revoked_plans.taken_back_key(org_id, plan)
    return table_keys.plan(org_id, plan, part)


def application_in(row: Row | None) -> Application:
    """Read that record; an empty one where there is none."""
    known = Application.__dataclass_fields__
    return Application(**{n: v for n, v in row.values.items() if n in known}) if row else Application()  # type: ignore[arg-type]


def expectation(thing: ResourceSnapshot) -> Expect | None:
    """What was seen of a thing and can be said of it again. What is not known, or no plain line, is not expected."""
    facts: dict[str, object] = {
        name: getattr(thing, name)
        for name in ("completed_at", "archived_at", "last_updated")
        if getattr(thing, name) is not None
    }
    for name in ("status", "name"):
        text = getattr(thing, name)
        if text is not None and _is_plain(text):
            facts[name] = text
    for name in ("tags", "owners"):
        several = getattr(thing, name)
        if several is not None and len(several) <= _MOST_NAMES and all(_is_plain(text) for text in several):
            facts[name] = tuple(sorted(several))
    return Expect.model_validate(facts) if facts else None


def _is_plain(text: str) -> bool:
    return one_line(text, most=200) == text


def what_differs(plan: Plan, lines: Path) -> str:
    """Why a summary and its lines are not one plan, as a sentence; empty if they are.

    The plan is named after the hash of its lines. A summary must say what the first and the last of them say.
    """
    with lines.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != plan.hash:
            return f"The lines of plan {plan.hash} are not what was planned: {found}."
        file.seek(0)
        first = last = file.readline()
        for line in file:
            last = line
    try:
        heading, closing = PlanHeader.model_validate_json(first), PlanFooter.model_validate_json(last)
    except ValidationError:
        return f"The lines of plan {plan.hash} were written by another release. Make a new plan."
    said = plan.model_dump()
    terms = {**heading.model_dump(), **closing.model_dump()}
    same = all(said[name] == value for name, value in terms.items())
    return "" if same else f"What plan.json says of plan {plan.hash} is not what its lines say. Make a new plan."


def _due(lines: Path, part: PlanPart, first: int = 0) -> Iterator[Entry]:
    """What a half of a plan acts on, in the order of its lines; with ``first`` only the oldest so many of the plan."""
    meant = _oldest(lines, first) if first else None
    for number, entry in enumerate(_acting(lines)):
        if _doing(entry).irreversible is (part is PlanPart.IRREVERSIBLE) and (meant is None or number in meant):
            yield entry


def count_due(lines: Path, part: PlanPart, first: int = 0) -> int:
    """How many things a half of a plan acts on; with ``first`` only among the oldest so many of the plan."""
    return sum(1 for _ in _due(lines, part, first))


def _acting(lines: Path) -> Iterator[Entry]:
    with lines.open("rb") as file:
        yield from (entry for entry in entries(file) if entry.decision.action is not None)


def _oldest(lines: Path, most: int) -> frozenset[int]:
    """The places of the oldest things among all that the plan acts on. The same lines give the same places."""
    aged = ((_since(entry.thing), number) for number, entry in enumerate(_acting(lines)))
    return frozenset(number for _, number in heapq.nsmallest(most, aged))


def _since(thing: ResourceSnapshot) -> float:
    """Since when a thing has been over: as plans and reports count ages. What has no date counts as the youngest."""
    since = thing.archived_at or thing.completed_at or thing.created_at
    return since.timestamp() if since else float("inf")


def _undoable(lines: Path) -> Iterator[Entry]:
    """What can be undone, if only in part as an archived template is."""
    return (entry for entry in _acting(lines) if _doing(entry).undo is not None)


def _taken_back(state: Application) -> str:
    """What the undo of a plan came to, as a sentence."""
    sent = f"{state.undos} undos were sent."
    left = json.loads(state.left)
    kept = "; ".join(f"{count} {why}" for why, count in sorted(left.items()))
    return f"{sent} Left alone: {kept}." if kept else sent


def undone_already(state: Application) -> str:
    """What another undo of the same plan does not do, as a sentence."""
    return (
        f"{state.requested_by} took it back at {state.begun_at[:16].replace('T', ' ')} UTC. {state.why} "
        "Nothing more is sent: what was archived again since, or whose undo was undone, stays as it is. "
        "`lifecycle undo INTENT` takes back one command."
    )


def _doing(entry: Entry) -> Capability:
    if entry.decision.action is None:
        msg = f"nothing is to be done to {_name(entry.thing)}"
        raise ValueError(msg)
    return capability(entry.thing.resource, entry.decision.action)


def _is_out_of_the_way(intent: IntentRow) -> bool:
    """Whether nothing more is to be seen of it for now: it has ended, or it comes back by itself after its grace."""
    return intent.status not in OPEN or _is_in_grace(intent)


def _is_in_grace(intent: IntentRow) -> bool:
    return intent.status is Status.WAITING and intent.code == Code.IN_GRACE


def _is_skipped(intent: IntentRow) -> bool:
    kept = intent.status is Status.REJECTED and intent.code in _SKIPPED
    return kept or _is_in_grace(intent) or intent.status in {Status.UNCHANGED, Status.SUPERSEDED}


def _name(thing: ResourceSnapshot) -> str:
    return f"The {thing.resource.label} {thing.id}"
