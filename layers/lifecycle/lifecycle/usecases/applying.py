"""Do exactly what a plan says, once: belts first, then five things, then a look at them, then the rest.

Commands are named after the plan and the thing, so whatever is applied twice is done once.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import batched, islice
from pathlib import Path

from pydantic import ValidationError

from lifecycle.adapters.ledger import Ledger
from lifecycle.adapters.objects import Objects
from lifecycle.adapters.pacing import Pacing
from lifecycle.adapters.queues import Queue
from lifecycle.adapters.rows import Change, Key, Row, Rows
from lifecycle.adapters.tallyfy import Tallyfy
from lifecycle.judgement.belts import over_caps
from lifecycle.judgement.plan import Closing, Entry, Heading, Plan, entries
from lifecycle.judgement.policy import Policy
from lifecycle.judgement.transitions import OPEN, IntentRow, Status, millis
from lifecycle.usecases.planning import key_of
from lifecycle.usecases.safeguards import name_in_plan
from lifecycle.usecases.undoing import undo_command
from lifecycle.words.capabilities import Capability, State, capability
from lifecycle.words.commands import SWEEP, UNDO, Command, Expect, one_line
from lifecycle.words.errors import Code, Rejected, Throttled
from lifecycle.words.intents import intent_id
from lifecycle.words.things import Thing

_FIRST = 5
_BATCH = 100
_MOST_NAMES = 100
"""So many tags or owners can be expected of a thing."""
_NEEDED_SECONDS = 30.0
FRESH = timedelta(days=7)
"""A plan is a picture of what was seen. After so long, make a new one."""
_KEEP = timedelta(days=400)
_DUE_FOR = timedelta(days=2)
"""How long a command of a plan may wait. After that another night decides anew."""
_UNDONE = frozenset({*OPEN, Status.DONE, Status.DEAD_LETTERED})
"""What was done, and what may still be done: an undo comes before it then. What was rejected is left alone: whoever
archived that since did it by hand."""
_SKIPPED = frozenset(
    {
        *(Code.CHANGED, Code.HELD, Code.NOT_FOUND, Code.PROCESS_TASK, Code.CANNOT_TELL),
        *(Code.NOT_ARCHIVED, Code.TOO_YOUNG, Code.AGE_UNKNOWN, Code.IN_USE, Code.USE_UNKNOWN),
    }
)
"""Guards that keep a thing: it is not what the plan saw. That is no sign of anything wrong with the plan."""


class Part(StrEnum):
    """The halves of a plan. The schedule alone applies only the first; people may undo that."""

    REVERSIBLE = "reversible"
    IRREVERSIBLE = "irreversible"
    TAKEN_BACK = "taken-back"
    """No half: the first one undone."""


class Stage(StrEnum):
    """How far a part has come."""

    FIRST = "first"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Applying:
    """Everything that applying needs. ``take_turn`` waits for the pace before each call to Tallyfy.

    ``look_again`` is how many seconds the first commands are given before they are looked at.
    """

    rows: Rows
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

    def plan(self, org_id: str, name: str) -> Plan:
        """Read a plan's summary, or raise ``Rejected``: there is none, or it cannot be understood."""
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

    def refusals(self, plan: Plan, source: str) -> tuple[str, ...]:
        """Why it must not be applied; empty if it may. A person may do what the schedule alone may not."""
        acting = [rule.name for rule in self.policy.acting]
        changed = plan.policy != self.policy.digest or [rule.name for rule in plan.rules] != acting
        old = self.clock() - plan.made_at > FRESH
        # The summary is not what the plan is named after: what its numbers say is said again.
        capped = () if changed else over_caps(plan, self.policy)
        return (
            *plan.unseen,
            *dict.fromkeys((*plan.stops, *capped)),
            *(plan.person if source == SWEEP else ()),
            *(("policy.toml was changed since it was made. Make a new plan.",) if changed else ()),
            *((f"It is older than {FRESH.days} days. Make a new plan.",) if old else ()),
        )

    def carry_on(self, plan: Plan, part: Part, *, by: str, source: str) -> Application:
        """Apply a part, or go on where it stood. Raises ``Throttled`` when it has to come back.

        The caller has made sure that nothing refuses it, and that nobody else applies anything in this organization.
        """
        state, version = self._read(plan, part)
        if state.stage in {Stage.DONE, Stage.STOPPED}:
            return state
        with tempfile.TemporaryDirectory() as scratch:
            lines = Path(scratch, "plan.jsonl")
            self._fetch(plan, lines)
            if not state.stage:
                begun_at = self.clock().isoformat()
                state = Application(stage=Stage.FIRST, requested_by=by, source=source, begun_at=begun_at)
                # Before anything is sent: whoever goes on after a crash sends the same commands in the same name.
                version = self._save(plan, part, state, version)
            if state.stage == Stage.FIRST:
                state, version = self._first(plan, part, lines, state, version)
            if state.stage == Stage.REST:
                state, version = self._rest(plan, part, lines, state, version)
        return state

    def take_back(self, plan: Plan, *, by: str) -> Application:
        """Undo what was done of it and can be undone, or go on where that stood. Raises as ``carry_on``.

        What was not begun of the plan by then is never begun. The caller has made sure that nobody else applies it.
        """
        state, version = self._read(plan, Part.TAKEN_BACK)
        if state.stage == Stage.DONE:
            return state
        if not state.stage:
            state = Application(stage=Stage.REST, requested_by=by, source=UNDO, begun_at=self.clock().isoformat())
            version = self._save(plan, Part.TAKEN_BACK, state, version)
        applied = {part: self._stop(plan, part, state.requested_by) for part in (Part.REVERSIBLE, Part.IRREVERSIBLE)}
        with tempfile.TemporaryDirectory() as scratch:
            lines = Path(scratch, "plan.jsonl")
            self._fetch(plan, lines)
            for batch in batched(islice(_undoable(lines), state.sent, None), _BATCH, strict=False):
                if self.time_left() < _NEEDED_SECONDS:
                    raise Throttled(Code.OUT_OF_TIME, "The function's time is nearly up.", retry_after=1)
                found = [
                    self._begun(plan, entry, applied[part], sent=number < applied[part].sent)
                    for part, number, entry in batch
                ]
                undone = [one for one in found if one is not None and (one.status in _UNDONE or one.maybe_acted)]
                texts = [self._undo(intent, state.requested_by).to_json() for intent in undone]
                if texts:
                    self.bulk.send_all(texts)
                state = replace(state, sent=state.sent + len(batch))
                version = self._save(plan, Part.TAKEN_BACK, state, version)
                self.after_batch()
        state = replace(state, stage=Stage.DONE)
        self._save(plan, Part.TAKEN_BACK, state, version)
        return state

    def _stop(self, plan: Plan, part: Part, by: str) -> Application:
        """Let nothing more of a part begin. Answers how far it had come, with what was sent and not yet counted."""
        state, version = self._read(plan, part)
        if state.stage in {Stage.FIRST, Stage.REST}:
            most = max(state.sent, _FIRST) if state.stage == Stage.FIRST else state.sent + _BATCH
            state = replace(state, stage=Stage.STOPPED, sent=most, why=f"{by} took the plan back.")
            self._save(plan, part, state, version)
        return state

    def _begun(self, plan: Plan, entry: Entry, applied: Application, *, sent: bool) -> IntentRow | None:
        """What the ledger says of an entry. Of one that still waits in its queue it says nothing yet."""
        intent = self.ledger.find(self._intent_id(plan, entry))
        if intent is not None or not sent:
            return intent
        command = self._command(plan, entry, applied)
        return IntentRow(
            intent_id=command.intent_id,
            meaning=command.meaning,
            action=command.action,
            resource=command.resource,
            org_id=command.org_id,
            id=command.thing_id,
            source=command.source,
            requested_by=command.requested_by,
            why=command.reason,
            issued_at=millis(command.issued_at),
        )

    def _undo(self, intent: IntentRow, by: str) -> Command:
        name = intent_id(self.id_key(), UNDO, intent.intent_id)
        return undo_command(intent, name=name, by=by, now=self.clock())

    def find(self, plan: Plan, part: Part) -> Application:
        """How far a part has come."""
        return self._read(plan, part)[0]

    def _fetch(self, plan: Plan, path: Path) -> None:
        """Bring the lines, and make sure that they are the ones the plan is named after."""
        if not self.objects.fetch(key_of(plan.org_id, plan.hash, "plan.jsonl"), path):
            raise Rejected(Code.PLAN_STOPPED, f"The lines of plan {plan.hash} are gone. Make a new plan.")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != plan.hash:
            raise Rejected(Code.PLAN_STOPPED, f"The lines of plan {plan.hash} are not what was planned: {found}.")
        if not _is_summary_of(plan, path):
            raise Rejected(Code.PLAN_STOPPED, f"What plan.json says of plan {plan.hash} is not what its lines say.")

    def _first(self, plan: Plan, part: Part, lines: Path, state: Application, version: int) -> tuple[Application, int]:
        first = list(islice(_due(lines, part), _FIRST))
        if not state.sent and first:
            self._may_send(plan)
            self._send(plan, first, state)
            self._save(plan, part, replace(state, sent=len(first)), version)
            raise Throttled(Code.IN_LINE, f"The first {len(first)} are under way.", retry_after=self.look_again)
        intents = [self.ledger.find(self._intent_id(plan, entry)) for entry in first]
        ended = [intent for intent in intents if intent is not None and intent.status not in OPEN]
        if len(ended) < len(first):
            raise Throttled(Code.IN_LINE, "The first ones are under way.", retry_after=self.look_again)
        done = sum(intent.status is Status.DONE for intent in ended)
        if done:
            # One turn for all of them: at a slow pace, waiting for one each would never come to the last.
            self.take_turn(plan.org_id)
            self.pacing.overdraw(plan.org_id, done - 1)
        for entry, intent in zip(first, ended, strict=True):
            why = self._mismatch(plan, entry, intent)
            if why:
                stopped = replace(state, stage=Stage.STOPPED, why=why)
                return stopped, self._save(plan, part, stopped, version)
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
            if wanted is State.GONE and error.code is Code.CANNOT_TELL:
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

    def _rest(self, plan: Plan, part: Part, lines: Path, state: Application, version: int) -> tuple[Application, int]:
        for batch in batched(islice(_due(lines, part), state.sent, None), _BATCH, strict=False):
            self._may_send(plan)
            self._send(plan, batch, state)
            state = replace(state, sent=state.sent + len(batch))
            version = self._save(plan, part, state, version)
            self.after_batch()
        done = replace(state, stage=Stage.DONE)
        self._remember(plan)
        return done, self._save(plan, part, done, version)

    def _may_send(self, plan: Plan) -> None:
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
            plan=plan.hash if doing.permanent else None,
            expect=expectation(entry.thing),
        )

    def _intent_id(self, plan: Plan, entry: Entry) -> str:
        return intent_id(self.id_key(), SWEEP, name_in_plan(plan.hash, _doing(entry), entry.thing.id))

    def _remember(self, plan: Plan) -> None:
        """Keep the policy that was applied last: a change of it is measured against it."""
        key = Key(f"sweep#{plan.org_id}", "applied")
        [row] = self.rows.read(key)
        values = {"policy": self.policy.to_json(), "plan": plan.hash}
        self.rows.write(Change(key, values, row.version if row else 0))

    def _read(self, plan: Plan, part: Part) -> tuple[Application, int]:
        [row] = self.rows.read(application_key(plan.org_id, plan.hash, part))
        return application_in(row), row.version if row else 0

    def _save(self, plan: Plan, part: Part, state: Application, version: int) -> int:
        expires_at = int((self.clock() + _KEEP).timestamp())
        key = application_key(plan.org_id, plan.hash, part)
        self.rows.write(Change(key, asdict(state), version, expires_at))
        return version + 1


def application_key(org_id: str, plan: str, part: Part) -> Key:
    """Where it is recorded how far a part of a plan has come."""
    return Key(f"sweep#{org_id}", f"plan#{plan}#{part}")


def application_in(row: Row | None) -> Application:
    """Read that record; an empty one where there is none."""
    known = Application.__dataclass_fields__
    return Application(**{n: v for n, v in row.values.items() if n in known}) if row else Application()  # type: ignore[arg-type]


def expectation(thing: Thing) -> Expect | None:
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


def _is_summary_of(plan: Plan, lines: Path) -> bool:
    """Whether a summary says what the first and the last line say: only those are what the plan is named after."""
    with lines.open("rb") as file:
        first = last = file.readline()
        for line in file:
            last = line
    try:
        heading, closing = Heading.model_validate_json(first), Closing.model_validate_json(last)
    except ValidationError:
        return False
    said = plan.model_dump()
    terms = {**heading.model_dump(), **closing.model_dump()}
    return all(said[name] == value for name, value in terms.items())


def _due(lines: Path, part: Part) -> Iterator[Entry]:
    with lines.open("rb") as file:
        for entry in entries(file):
            if entry.decision.action is not None and _doing(entry).irreversible is (part is Part.IRREVERSIBLE):
                yield entry


def _undoable(lines: Path) -> Iterator[tuple[Part, int, Entry]]:
    """What can be undone, if only in part as an archived template is, with its place in its half."""
    for part in (Part.REVERSIBLE, Part.IRREVERSIBLE):
        for number, entry in enumerate(_due(lines, part)):
            if _doing(entry).undo is not None:
                yield part, number, entry


def _doing(entry: Entry) -> Capability:
    if entry.decision.action is None:
        msg = f"nothing is to be done to {_name(entry.thing)}"
        raise ValueError(msg)
    return capability(entry.thing.resource, entry.decision.action)


def _is_skipped(intent: IntentRow) -> bool:
    kept = intent.status is Status.REJECTED and intent.code in _SKIPPED
    return kept or intent.status in {Status.UNCHANGED, Status.SUPERSEDED}


def _name(thing: Thing) -> str:
    return f"The {thing.resource.label} {thing.id}"
