"""From a signed request to a command in a queue. Strangers never reach a queue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from lifecycle.adapters.ledger import Ledger
from lifecycle.adapters.queues import Queue
from lifecycle.adapters.secrets import Secrets, signing_secrets
from lifecycle.adapters.signals import Signal, Signals
from lifecycle.judgement.http import Request
from lifecycle.judgement.signatures import Refused, verify
from lifecycle.judgement.sources import Source, Sources
from lifecycle.words.capabilities import Capability, capability
from lifecycle.words.commands import Command, CommandRequest
from lifecycle.words.errors import Code, Rejected
from lifecycle.words.intents import intent_id

LONGEST_WAIT = timedelta(days=14)
"""How long a command may wait to be carried out, dead-letter queue included. A sender may only shorten it."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Everything an accepted request passes on its way in. ``prefix`` is the stack's, before its secrets' names."""

    sources: Sources
    org_ids: frozenset[str]
    prefix: str
    secrets: Secrets
    id_key: Callable[[], bytes]
    ledger: Ledger
    ordinary: Queue
    permanent: Queue
    signals: Signals
    clock: Callable[[], datetime]

    def accept(self, request: Request) -> Command:
        """Verify, translate, enqueue. Returns only once the queue has the command.

        Raises ``Rejected`` for whatever the sender can mend, ``Retryable`` for what AWS cannot do now.
        """
        name = request.parameters.get("source", "")
        source = self.sources.sources.get(name)
        if source is None:
            raise Rejected(Code.UNKNOWN_SOURCE, "No source of this name is declared in sources.toml.")
        signed_id = self._verified(name, source, request)
        asked = CommandRequest.parse(request.body)
        if signed_id and asked.delivery_id not in {None, signed_id}:
            raise Rejected(Code.INVALID, "delivery_id: leave it out; the signed webhook-id names the delivery")
        doing = capability(asked.resource, asked.action)
        self._permitted(name, source, doing, asked.org_id)
        delivery_id = signed_id or asked.delivery_id or _digest(request)
        command = self._command(name, asked, delivery_id)
        known = self.ledger.find(command.intent_id)
        if known is not None and known.meaning != command.meaning:
            raise Rejected(
                Code.INTENT_CONFLICT,
                "This delivery id was used before for another command. A new command needs a new delivery id.",
            )
        (self.permanent if doing.permanent else self.ordinary).send(command.to_json())
        self.signals.note(Signal.ACCEPTED, {"intent_id": command.intent_id, "source": name, "capability": doing.name})
        return command

    def _verified(self, name: str, source: Source, request: Request) -> str | None:
        secrets = signing_secrets(self.secrets.get(f"{self.prefix}/sources/{name}"))
        checked = verify(source.scheme, secrets, request.headers, request.body, now=self.clock().timestamp())
        if isinstance(checked, Refused):
            self.signals.note(Signal.SIGNATURE_REFUSED, {"source": name, "why": checked.why})
            raise Rejected(
                Code.SIGNATURE_REFUSED,
                f"The request is not signed as source '{name}' signs ({source.scheme}): {checked.why}.",
            )
        return checked.delivery_id

    def _permitted(self, name: str, source: Source, doing: Capability, org_id: str) -> None:
        if org_id not in self.org_ids or not source.reaches(org_id):
            raise Rejected(
                Code.ORGANIZATION_UNKNOWN,
                f"Organization {org_id} is not one that source '{name}' may act in. See OrganizationIds, sources.toml.",
            )
        if not source.allows(doing):
            lasting = " It cannot be taken back, so it also needs irreversible = true." if doing.irreversible else ""
            raise Rejected(
                Code.RIGHT_MISSING, f"Source '{name}' may not ask for {doing.name}; add it to 'may'.{lasting}"
            )

    def _command(self, name: str, asked: CommandRequest, delivery_id: str) -> Command:
        now = self.clock()
        latest = now + LONGEST_WAIT
        return Command(
            action=asked.action,
            resource=asked.resource,
            org_id=asked.org_id,
            id=asked.id,
            requested_by=asked.requested_by or name,
            source=name,
            reason=asked.reason or "No reason was given.",
            issued_at=now,
            not_after=min(asked.not_after or latest, latest),
            intent_id=intent_id(self.id_key(), name, delivery_id),
            expect=asked.expect,
            allow_in_use=asked.allow_in_use,
        )


def _digest(request: Request) -> str:
    """A delivery id for schemes that sign none: what was signed, and so the same for a copy and new for a new time."""
    signed: Mapping[str, str] = request.headers
    return sha256(signed.get("x-timestamp", "").encode() + b"." + request.body).hexdigest()
