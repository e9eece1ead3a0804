"""A slash command from Slack: who is it, what do they want, may they? Answered at once; the result follows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lifecycle.adapters.queues import Queue
from lifecycle.adapters.secrets import Secrets, signing_secrets
from lifecycle.adapters.signals import Signal, Signals
from lifecycle.judgement.http import Request
from lifecycle.judgement.people import People, Person
from lifecycle.judgement.signatures import Refused, described
from lifecycle.judgement.slack import HELP, SIGNATURE, Ask, Slash, StatusOf, understand
from lifecycle.usecases.intake import LONGEST_WAIT
from lifecycle.usecases.lookup import Lookup
from lifecycle.words.capabilities import capability
from lifecycle.words.commands import SLACK, Command
from lifecycle.words.errors import Code, Rejected, Retryable
from lifecycle.words.intents import intent_id

_LONGEST_URL = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """Everything a line from Slack passes. The signing secret is ``<prefix>/chat/slack``."""

    people: People
    org_ids: frozenset[str]
    prefix: str
    secrets: Secrets
    id_key: Callable[[], bytes]
    lookup: Lookup
    commands: Queue
    signals: Signals
    clock: Callable[[], datetime]

    def answer(self, request: Request) -> str:
        """The line that Slack shows to the asker now.

        Raises ``Rejected`` (``SIGNATURE_REFUSED``) for strangers and ``Retryable``; whatever a person can mend is an
        answer, because Slack shows nothing of an error.
        """
        try:
            secrets = signing_secrets(self.secrets.get(f"{self.prefix}/chat/slack"))
        except Retryable as error:
            if error.code is not Code.CONFIGURATION:
                raise
            self.signals.note(Signal.SIGNATURE_REFUSED, {"source": SLACK, "why": error.reason})
            raise Rejected(Code.UNKNOWN_ROUTE, "Slack is not set up here: there is no signing secret yet.") from error
        checked = described(SIGNATURE, secrets, request, now=self.clock().timestamp())
        if isinstance(checked, Refused):
            self.signals.note(Signal.SIGNATURE_REFUSED, {"source": SLACK, "why": checked.why})
            raise Rejected(Code.SIGNATURE_REFUSED, f"The request is not signed as Slack signs: {checked.why}.")
        try:
            slash = Slash.read(request.body)
            return self._answered(slash)
        except Rejected as error:
            self.signals.note(Signal.REFUSED, {"source": SLACK, "code": error.code, "reason": error.reason})
            return error.reason

    def _answered(self, slash: Slash) -> str:
        match understand(slash.text):
            case None:
                return HELP
            case StatusOf(asked):
                self._person(slash)
                status, reason = self.lookup.status_of(asked)
                return f"`{asked}`: {status}. {reason}"
            case Ask() as ask:
                return self._ask(slash, ask)

    def _ask(self, slash: Slash, ask: Ask) -> str:
        name, person = self._person(slash)
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
            reply_to=slash.response_url if 0 < len(slash.response_url) <= _LONGEST_URL else None,
        )
        self.commands.send(command.to_json())
        self.signals.note(Signal.ACCEPTED, {"intent_id": command.intent_id, "source": SLACK, "capability": doing.name})
        return f"On it: {ask.action} {ask.resource.label} `{ask.id}`. Ask with `/tallyfy status {command.intent_id}`."

    def _person(self, slash: Slash) -> tuple[str, Person]:
        found = self.people.find(slash.team, slash.user)
        if found is None:
            raise Rejected(
                Code.RIGHT_MISSING, f"I do not know you. An operator adds `{slash.team}/{slash.user}` to people.toml."
            )
        return found

    def _organization(self, person: Person) -> str:
        if person.organization is not None and person.organization in self.org_ids:
            return person.organization
        if person.organization is None and len(self.org_ids) == 1:
            return next(iter(self.org_ids))
        raise Rejected(Code.ORGANIZATION_UNKNOWN, "people.toml does not say which organization you mean.")
