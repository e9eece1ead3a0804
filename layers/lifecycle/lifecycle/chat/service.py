"""Answers a line or a pressed button: finds the person, the request and the right to it. It knows no tool.

Only the tool's verification proves who the person is: the text of a line proves nothing. What can be answered from the
table is answered at once. What needs Tallyfy goes to the chat queue (``lifecycle.chat.searches``).
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lifecycle.approvals.people import People, Person
from lifecycle.approvals.service import ApprovalService
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import VersionedTable
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Queue
from lifecycle.chat.grammar import (
    HELP,
    Act,
    ApprovalOf,
    Approvals,
    Help,
    Meaning,
    NewestPlan,
    RejectionOf,
    Search,
    StatusOf,
    UndoOf,
    Verb,
    WithdrawalOf,
    is_hash,
    understand,
)
from lifecycle.chat.request import ChatRequest, Pressed
from lifecycle.chat.wording import approved, rejected, waiting, withdrawn
from lifecycle.domain.capabilities import Action, Resource, capability
from lifecycle.domain.chat_tools import ChatToolFacts
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import ID_PATTERN, LONGEST_GRACE, LONGEST_WAIT, Command, one_line
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import OPEN, Status
from lifecycle.domain.intent_ids import INTENT_PATTERN, intent_id
from lifecycle.domain.messages import Answer, ButtonKind, quoted
from lifecycle.execution.reply_channel import destination
from lifecycle.execution.state_machine import as_old_as
from lifecycle.execution.status import StatusService
from lifecycle.execution.undo import UndoService
from lifecycle.holds.store import HoldStore

_CHOICE = re.compile(r"([a-z]+):([0-9a-f]{32}):([0-9a-zA-Z_.:/=-]{1,200})", re.ASCII)
"""The value of a button that stands for a thing: its kind, its id, and what names the choice."""
_WHO_MAY = "people.toml says who may do what."


class JobKind(StrEnum):
    """The kinds of jobs in the chat queue."""

    SEARCH = "search"
    LOOK = "look"
    REPLY = "reply"


@dataclass(frozen=True, slots=True)
class Asker:
    """The person who asks, the chat tool and the request."""

    tool: ChatToolFacts
    name: str
    person: Person
    request: ChatRequest

    @property
    def hears_at(self) -> str | None:
        """The address for later answers; ``None`` if there is none."""
        return destination(self.tool.name, self.request.usable_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatService:
    """Answers the requests that a chat tool has verified. ``jobs`` is the chat queue."""

    people: People
    org_ids: frozenset[str]
    id_key: Callable[[], bytes]
    lookup: StatusService
    approving: ApprovalService
    undoing: UndoService
    holds: HoldStore
    rows: VersionedTable
    jobs: Queue
    metrics: Metrics
    clock: Callable[[], datetime]

    def answer(self, tool: ChatToolFacts, request: ChatRequest) -> Answer:
        """The answer to the sender. Raises ``Rejected`` with a sentence for the sender, and ``Retryable``."""
        meaning = _pressed(request.pressed) if request.pressed else understand(request.line)
        if isinstance(meaning, Help):
            return Answer(text=HELP)
        asker = self._asker(tool, request)
        match meaning:
            case Act():
                return self._act(asker, meaning)
            case Search():
                return self._search(asker, meaning)
            case StatusOf(asked):
                return Answer(text=self._status(asked))
            case UndoOf(target):
                return Answer(text=self._undo(asker, target), replaces=request.pressed is not None)
            case NewestPlan():
                return self._plan(asker)
            case ApprovalOf() | RejectionOf() | WithdrawalOf() | Approvals():
                return self._approval(asker, meaning)

    def _asker(self, tool: ChatToolFacts, request: ChatRequest) -> Asker:
        found = self.people.find(tool.name, request.identities)
        if found is None:
            known = quoted(next(iter(request.identities), "")) if any(request.identities) else "your name there"
            raise Rejected(
                Code.RIGHT_MISSING, f'I do not know you. An operator adds {tool.name} = "{known}" to people.toml.'
            )
        name, person = found
        return Asker(tool, name, person.seen_through(tool), request)

    # --- one resource ---

    def _act(self, asker: Asker, act: Act) -> Answer:
        if act.verb is Verb.STATUS:
            return self._look(asker, act)
        if act.verb is Verb.HOLD:
            return self._hold(asker, act)
        return self._ask(asker, act)

    def _ask(self, asker: Asker, act: Act) -> Answer:
        doing = capability(act.resource, Action(act.verb.value))
        if not asker.person.allows(doing):
            raise Rejected(Code.RIGHT_MISSING, f"You may not ask for {doing.name}{_through(asker)}. {_WHO_MAY}")
        if not asker.request.delivery:
            label = asker.tool.label
            raise Rejected(Code.INVALID, f"{label} sent no id of this request, so it could not be told from a copy.")
        now = self.clock()
        command = Command(
            action=doing.action,
            resource=act.resource,
            org_id=self._organization(asker.person),
            id=act.id,
            requested_by=asker.name,
            source=asker.tool.name,
            reason=f"{asker.name} asked for it in {asker.tool.label}.",
            issued_at=now,
            not_after=now + (LONGEST_GRACE if doing.permanent else LONGEST_WAIT),
            intent_id=intent_id(self.id_key(), asker.tool.name, self._delivery(asker, act)),
            reply_to=asker.hears_at,
        )
        standing = self.undoing.ledger.accept(command)
        if standing.status in OPEN:
            queue = self.approving.purge if doing.permanent else self.undoing.commands
            queue.send(as_old_as(standing, command).to_json())
        facts = {"intent_id": command.intent_id, "source": asker.tool.name, "capability": doing.name}
        self.metrics.emit(Metric.ACCEPTED, facts)
        if standing.status not in OPEN:  # A copy of a request, or a choice that was pressed before.
            return Answer(text=self._status(command.intent_id))
        how = f"Ask with `{asker.tool.command} status {command.intent_id}`."
        what = f"{doing.action} {act.resource.label} `{act.id}`"
        if doing.permanent:
            return Answer(text=f"Asked: {what}. It waits until others approve it. {how}")
        return Answer(text=f"On it: {what}. {how}", replaces=asker.request.pressed is not None)

    @staticmethod
    def _delivery(asker: Asker, act: Act) -> str:
        """The delivery id. Pressing a choice twice is one delivery, and so is a line with its copies."""
        pressed = asker.request.pressed
        return f"{act.verb}:{pressed.value}:{asker.name}" if pressed else asker.request.delivery

    def _hold(self, asker: Asker, act: Act) -> Answer:
        if not asker.person.keeps(act.resource):
            raise Rejected(Code.RIGHT_MISSING, f"You have no right on a {act.resource.label}. {_WHO_MAY}")
        org_id = self._organization(asker.person)
        standing = self.holds.reasons(org_id).get(f"{act.resource}#{act.id}")
        thing = f"{act.resource.label.capitalize()} `{act.id}`"
        if standing is not None:
            return Answer(text=f"{thing} is on hold already: {quoted(standing)}")
        reason = act.reason or f"{asker.name} asked for it in {asker.tool.label}."
        self.holds.add(org_id, act.resource, act.id, reason=one_line(reason, most=200), by=asker.name)
        return Answer(
            text=f"{thing} is on hold: nothing but a restore is done to it. To end that: `lifecycle hold remove`.",
            replaces=asker.request.pressed is not None,
        )

    # --- what needs Tallyfy ---

    def _look(self, asker: Asker, act: Act) -> Answer:
        job = {"resource": act.resource.value, "id": act.id}
        return self._later(asker, JobKind.LOOK, job, f"Looking at {act.resource.label} `{act.id}`.")

    def _search(self, asker: Asker, search: Search) -> Answer:
        if search.verb is not Verb.STATUS:
            self._may_search(asker, search.verb)
        job = {"verb": search.verb.value, "name": search.name}
        return self._later(asker, JobKind.SEARCH, job, f"Looking for processes named “{quoted(search.name)}”.")

    def _may_search(self, asker: Asker, verb: Verb) -> None:
        if verb is Verb.HOLD:
            allowed = asker.person.keeps(Resource.RUN)
        else:
            allowed = asker.person.allows(capability(Resource.RUN, Action(verb.value)))
        if not allowed:
            raise Rejected(
                Code.RIGHT_MISSING, f"You may not ask for {Resource.RUN}.{verb}{_through(asker)}. {_WHO_MAY}"
            )

    def _later(self, asker: Asker, kind: JobKind, job: dict[str, str], text: str) -> Answer:
        if asker.hears_at is None:
            reason = f"{asker.tool.label} named no place for the answer. Name the process by its link and ask again."
            raise Rejected(Code.INVALID, reason)
        body = {
            **job,
            "job": kind.value,
            "to": asker.hears_at,
            "org_id": self._organization(asker.person),
            "choice": asker.request.delivery or "-",
        }
        self.jobs.send(json.dumps(body))
        return Answer(text=f"{text} The answer follows here.")

    # --- what is known without Tallyfy ---

    def _status(self, asked: str) -> str:
        state = self.lookup.status_of(asked)
        approve = f" To approve it: `lifecycle approve {state.approval}`" if state.approval else ""
        return f"`{quoted(asked)}`: {state.status}. {quoted(state.reason)}{approve}"

    def _undo(self, asker: Asker, target: str) -> str:
        if not re.fullmatch(INTENT_PATTERN, target):
            raise Rejected(Code.UNKNOWN_INTENT, "This is not a command id. Copy the whole id, from int_ on.")
        undo = self.undoing.undo(target, by=asker.name, person=asker.person, reply_to=asker.hears_at)
        state = self.lookup.status_of(undo)
        if state.status is Status.ACCEPTED:
            return f"On it: undo of `{target}`. Ask with `{asker.tool.command} status {undo}`."
        return f"Undo of `{target}`: {state.status}. {quoted(state.reason)}"

    def _plan(self, asker: Asker) -> Answer:
        org_id = self._organization(asker.person)
        [row] = self.rows.read(table_keys.sweeps(org_id, "newest"))
        found = str(row.values.get("plan") or "") if row is not None else ""
        if row is None or not is_hash(found):
            return Answer(text="There is no plan yet. The nightly sweep makes one.")
        [state] = self.rows.read(table_keys.sweep_state(org_id, str(row.values.get("sweep_id") or "-")))
        counts = (
            f" {_count(state.values.get('seen'))} things seen, {_count(state.values.get('due'))} due." if state else ""
        )
        return Answer(text=f"The newest plan is `{found[:12]}`.{counts} Its report: `lifecycle report {found}`")

    # --- approvals ---

    def _approval(self, asker: Asker, meaning: ApprovalOf | RejectionOf | WithdrawalOf | Approvals) -> Answer:
        if not asker.tool.proves_person:
            reason = f"{asker.tool.label} does not prove who you are, so approvals are not given there. "
            raise Rejected(Code.RIGHT_MISSING, reason + "Use `lifecycle approvals` at the terminal.")
        now = millis(self.clock())
        match meaning:
            case ApprovalOf(named):
                text = approved(self.approving.approve(_hash_in(named), asker.name, asker.person), now)
            case RejectionOf(named, why):
                text = rejected(self.approving.reject(_hash_in(named), asker.name, asker.person, why=why))
            case WithdrawalOf(named):
                return Answer(text=withdrawn(self.approving.withdraw(_hash_in(named), asker.name, asker.person)))
            case _:
                return self._waiting(asker, now)
        if asker.request.pressed is None:
            return Answer(text=text)
        # Remove the buttons of decided requests and keep the others.
        rest = self.approving.waiting(asker.person)
        sections = waiting(rest, asker.name, now).sections if rest else ()
        return Answer(text=text, sections=sections, replaces=True)

    def _waiting(self, asker: Asker, now: int) -> Answer:
        if not asker.person.approves:
            raise Rejected(Code.RIGHT_MISSING, f"You may not approve anything. {_WHO_MAY}")
        return waiting(self.approving.waiting(asker.person), asker.name, now)

    def _organization(self, person: Person) -> str:
        if person.organization is not None and person.organization in self.org_ids:
            return person.organization
        if person.organization is None and len(self.org_ids) == 1:
            return next(iter(self.org_ids))
        raise Rejected(Code.ORGANIZATION_UNKNOWN, "people.toml does not say which organization you mean.")


def choice_value(resource: Resource, thing: str, choice: str) -> str:
    """The value of a button for one resource. ``choice`` names the list in which the button is shown."""
    return f"{resource}:{thing}:{re.sub(r'[^0-9a-zA-Z_.:/=-]', '-', choice)[:200] or '-'}"


def _pressed(pressed: Pressed) -> Meaning:
    """The meaning of a pressed button. Raises ``Rejected`` for an unknown button."""
    match pressed.kind:
        case ButtonKind.APPROVE:
            return ApprovalOf(pressed.value)
        case ButtonKind.REJECT:
            return RejectionOf(pressed.value, pressed.reason)
        case ButtonKind.UNDO:
            return UndoOf(pressed.value)
        case ButtonKind.ARCHIVE | ButtonKind.RESTORE | ButtonKind.DELETE | ButtonKind.HOLD as kind:
            found = _CHOICE.fullmatch(pressed.value)
            if found and re.fullmatch(ID_PATTERN, found[2]) and found[1] in set(Resource):
                return Act(Verb(str(kind)), Resource(found[1]), found[2])
        case _:
            pass
    raise Rejected(Code.INVALID, "This button is unknown. Ask once more, or write `approvals`.")


def _hash_in(value: str) -> str:
    if not is_hash(value):
        raise Rejected(Code.UNKNOWN_APPROVAL, "There is no such request.")
    return value


def _through(asker: Asker) -> str:
    """Why a right from ``people.toml`` does not apply in this tool; empty if it does."""
    return "" if asker.tool.proves_person else f" in {asker.tool.label}, which does not prove who you are"


def _count(value: object) -> str:
    return str(value) if isinstance(value, int) else "?"
