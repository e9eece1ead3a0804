"""A line or a pressed button from Slack: who is it, what do they want, may they? Answered at once; the result follows.

Who it is, Slack's signature says and nothing else: what stands in a message proves nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lifecycle.approvals.people import People, Person
from lifecycle.approvals.service import ApprovalService
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.secrets import Secrets, signing_secrets
from lifecycle.aws.sqs import Queue
from lifecycle.chat.slack.blocks import Button, SlackMessage, approved, refused, waiting, withdrawn
from lifecycle.chat.slack.requests import (
    HELP,
    SIGNATURE,
    Ask,
    Press,
    Slash,
    StatusOf,
    UndoOf,
    Waiting,
    WithdrawalOf,
    understand,
    way_back,
)
from lifecycle.domain.capabilities import capability
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import LONGEST_WAIT, SLACK, Command
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.intent import OPEN, Status
from lifecycle.domain.intent_ids import INTENT_PATTERN, intent_id
from lifecycle.execution.reply_channel import Replies
from lifecycle.execution.state_machine import as_old_as
from lifecycle.execution.status import StatusService
from lifecycle.execution.undo import UndoService
from lifecycle.intake.schemes import UnverifiedRequest

_HASH = r"[0-9a-f]{64}"
_LATER = "It could not be taken now. Press again in a moment; nothing is done twice."


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """Everything a line from Slack passes. The signing secret is ``<prefix>/chat/slack``."""

    people: People
    org_ids: frozenset[str]
    prefix: str
    secrets: Secrets
    id_key: Callable[[], bytes]
    lookup: StatusService
    commands: Queue
    approving: ApprovalService
    undoing: UndoService
    replies: Replies
    metrics: Metrics
    clock: Callable[[], datetime]

    def answer(self, request: HttpRequest) -> SlackMessage:
        """What Slack shows to the asker of a slash command now.

        Raises ``Rejected`` (``SIGNATURE_REFUSED``) for strangers and ``Retryable``; whatever a person can mend is an
        answer, because Slack shows nothing of an error.
        """
        self._must_be_slack(request)
        try:
            return self._answered(Slash.read(request.body))
        except Rejected as error:
            self._note(error)
            return SlackMessage(error.reason)

    def press(self, request: HttpRequest) -> None:
        """Do what a button asks for, and tell the person. Raises as ``answer``.

        Slack shows nothing of the answer to a press, so even passing trouble is told where the button is.
        """
        self._must_be_slack(request)
        try:
            press = Press.read(request.body)
        except Rejected as error:
            self._note(error)
            raise
        try:
            line = self._pressed(press)
        except Rejected as error:
            self._note(error)
            line = error.reason
        except Retryable:
            self._tell(press, _LATER)
            raise
        self._tell(press, line)

    def _must_be_slack(self, request: HttpRequest) -> None:
        try:
            secrets = signing_secrets(self.secrets.get(f"{self.prefix}/chat/slack"))
        except Retryable as error:
            if error.code is not Code.CONFIGURATION:
                raise
            self.metrics.emit(Metric.SIGNATURE_REFUSED, {"source": SLACK, "why": error.reason})
            raise Rejected(Code.UNKNOWN_ROUTE, "Slack is not set up here: there is no signing secret yet.") from error
        checked = SIGNATURE.verify(secrets, request, now=self.clock().timestamp())
        if isinstance(checked, UnverifiedRequest):
            self.metrics.emit(Metric.SIGNATURE_REFUSED, {"source": SLACK, "why": checked.why})
            raise Rejected(Code.SIGNATURE_REFUSED, f"The request is not signed as Slack signs: {checked.why}.")

    def _note(self, error: Rejected) -> None:
        self.metrics.emit(Metric.REFUSED, {"source": SLACK, "code": error.code, "reason": error.reason})

    def _tell(self, press: Press, line: str) -> None:
        if not self.replies.reply(press.response_url, line):
            self.metrics.emit(Metric.REPLY_FAILED, {"source": SLACK, "button": press.action})

    def _answered(self, slash: Slash) -> SlackMessage:
        meant = understand(slash.text)
        if meant is None:
            return SlackMessage(HELP)
        name, person = self._person(slash.team, slash.user)
        match meant:
            case StatusOf(asked):
                state = self.lookup.status_of(asked)
                approve = f" To approve it: `lifecycle approve {state.approval}`" if state.approval else ""
                return SlackMessage(f"`{asked}`: {state.status}. {state.reason}{approve}")
            case UndoOf(target):
                return SlackMessage(self._undo(target, name, person, way_back(slash.response_url)))
            case WithdrawalOf(named):
                return SlackMessage(withdrawn(self.approving.withdraw(_hash_in(named), name, person)))
            case Waiting():
                return self._waiting(name, person)
            case Ask():
                return SlackMessage(self._ask(slash, meant, name, person))

    def _pressed(self, press: Press) -> str:
        name, person = self._person(press.team, press.user)
        match press.action:
            case Button.APPROVE:
                after = self.approving.approve(_hash_in(press.value), name, person)
                return approved(after, millis(self.clock()))
            case Button.REJECT:
                return refused(self.approving.reject(_hash_in(press.value), name, person, why=""))
            case Button.UNDO:
                return self._undo(press.value, name, person, way_back(press.response_url))
            case _:
                raise Rejected(Code.INVALID, "This button is unknown. Ask again with `/tallyfy approvals`.")

    def _waiting(self, name: str, person: Person) -> SlackMessage:
        if not person.approves:
            raise Rejected(Code.RIGHT_MISSING, "You may not approve anything. people.toml says who may do what.")
        return waiting(self.approving.waiting(person), name, millis(self.clock()))

    def _undo(self, target: str, name: str, person: Person, reply_to: str | None) -> str:
        if not re.fullmatch(INTENT_PATTERN, target):
            raise Rejected(Code.UNKNOWN_INTENT, "That is no command id. Check that it was copied whole.")
        undo = self.undoing.undo(target, by=name, person=person, reply_to=reply_to)
        state = self.lookup.status_of(undo)
        if state.status is Status.ACCEPTED:
            return f"On it: undo of `{target}`. Ask with `/tallyfy status {undo}`."
        return f"Undo of `{target}`: {state.status}. {state.reason}"

    def _ask(self, slash: Slash, ask: Ask, name: str, person: Person) -> str:
        doing = capability(ask.resource, ask.action)
        if not person.allows(doing):
            raise Rejected(Code.RIGHT_MISSING, f"You may not ask for {doing.name}. people.toml says who may do what.")
        if not slash.trigger:
            raise Rejected(Code.INVALID, "Slack sent no trigger id, so the line could not be told from a copy of it.")
        now = self.clock()
        command = Command(
            action=ask.action,
            resource=ask.resource,
            org_id=self._organization(person),
            id=ask.id,
            requested_by=name,
            source=SLACK,
            reason=f"{name} asked for it in Slack.",
            issued_at=now,
            not_after=now + LONGEST_WAIT,
            intent_id=intent_id(self.id_key(), SLACK, slash.trigger),
            reply_to=way_back(slash.response_url),
        )
        standing = self.undoing.ledger.accept(command)
        if standing.status in OPEN:
            self.commands.send(as_old_as(standing, command).to_json())
        self.metrics.emit(Metric.ACCEPTED, {"intent_id": command.intent_id, "source": SLACK, "capability": doing.name})
        return f"On it: {ask.action} {ask.resource.label} `{ask.id}`. Ask with `/tallyfy status {command.intent_id}`."

    def _person(self, team: str, user: str) -> tuple[str, Person]:
        found = self.people.find(team, user)
        if found is None:
            raise Rejected(Code.RIGHT_MISSING, f"I do not know you. An operator adds `{team}/{user}` to people.toml.")
        return found

    def _organization(self, person: Person) -> str:
        if person.organization is not None and person.organization in self.org_ids:
            return person.organization
        if person.organization is None and len(self.org_ids) == 1:
            return next(iter(self.org_ids))
        raise Rejected(Code.ORGANIZATION_UNKNOWN, "people.toml does not say which organization you mean.")


def _hash_in(value: str) -> str:
    if not re.fullmatch(_HASH, value):
        raise Rejected(Code.UNKNOWN_APPROVAL, "There is no such request.")
    return value
