"""Accepts signed requests and events on the bus, and enqueues their commands. Unverified requests reach no queue."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.scheduler import Schedules
from lifecycle.aws.secrets import Secrets, signing_secrets
from lifecycle.aws.sqs import Message, Queue
from lifecycle.domain.capabilities import Capability, capability
from lifecycle.domain.commands import LONGEST_GRACE, LONGEST_WAIT, Command, CommandRequest
from lifecycle.domain.errors import Code, Poison, Rejected, Retryable
from lifecycle.domain.intent import OPEN
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.state_machine import as_old_as
from lifecycle.intake.handshakes import SALESFORCE_ACKNOWLEDGEMENT, HandshakeReply, Window
from lifecycle.intake.mapping import Translated, translate, wanted
from lifecycle.intake.payload import Untranslatable, read_json
from lifecycle.intake.schemes import UnverifiedRequest, VerifiedRequest
from lifecycle.intake.sources import Source, Sources

if TYPE_CHECKING:
    # Imported only when something is kept: see ``_kept``.
    from lifecycle.intake.kept import KeptDelivery

REPLAY_PREFIX = '{"replay":'
"""How a message of the events queue begins that is no event, but a kept delivery: see ``lifecycle.intake.kept``.

EventBridge writes every event itself, and none has such a key.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What intake needs to accept a request. ``prefix`` is the stack's prefix of secret names."""

    sources: Sources
    org_ids: frozenset[str]
    prefix: str
    secrets: Secrets
    id_key: Callable[[], bytes]
    ledger: Ledger
    ordinary: Queue
    permanent: Queue
    schedules: Schedules
    outcomes: Outcomes
    metrics: Metrics
    clock: Callable[[], datetime]

    def handshake(self, request: HttpRequest) -> HandshakeReply | None:
        """Answer a source that checks the URL before it sends deliveries; ``None`` if the request is not a handshake.

        Raises ``Rejected`` for a handshake that is not declared, not signed, or outside its window.
        """
        request = _addressed(request)
        name = request.parameters.get("source", "")
        source = self.sources.sources.get(name)
        asked = source.handshake if source is not None else None
        offered = asked.offered(request) if asked is not None else None
        if source is None or asked is None or offered is None:
            if request.method in {"HEAD", "GET"}:
                raise Rejected(Code.UNKNOWN_SOURCE, "Send deliveries with POST.")
            return None
        if asked.signed:
            self._verified(name, source, request)
        if asked.kind == "secret":
            self._take_secret(name, request, offered)
        self.metrics.emit(Metric.IGNORED, {"source": name, "handshake": asked.kind})
        return asked.reply(offered)

    def acknowledgement(self, request: HttpRequest) -> HandshakeReply | None:
        """The answer that a source expects to an accepted delivery; ``None`` for the default answer."""
        source = self.sources.sources.get(_addressed(request).parameters.get("source", ""))
        return SALESFORCE_ACKNOWLEDGEMENT if source is not None and source.acknowledge else None

    def declared_name(self, request: HttpRequest) -> str:
        """The source that a request names, for the log; empty if no such source is declared."""
        name = _addressed(request).parameters.get("source", "")
        return name if name in self.sources.sources else ""

    def _take_secret(self, name: str, request: HttpRequest, secret: str) -> None:
        stored = f"{self.prefix}/sources/{name}"
        try:
            window = Window.read(self.secrets.get(stored, fresh=True))
        except Retryable as error:
            if error.code is not Code.CONFIGURATION:
                raise
            window = None
        if window is None or not window.admits(request, self.clock()):
            self.metrics.emit(Metric.SIGNATURE_REFUSED, {"source": name, "why": "no window is open for its secret"})
            raise Rejected(
                Code.SIGNATURE_REFUSED,
                f"Source '{name}' cannot set its secret: its window is closed, or this is not the URL of the window. "
                f"Run `lifecycle source connect {name}` and use the URL that it prints.",
            )
        self.secrets.put(stored, window.closed_with(secret))

    def accept(self, request: HttpRequest) -> list[Command]:
        """Verify a request, translate it and enqueue its commands. Returns once the queues hold all of them.

        An empty list means that the payload is authentic and not wanted. Raises ``Rejected`` if the sender must change
        the request, ``Retryable`` if AWS is unavailable.
        """
        request = _addressed(request)
        name = request.parameters.get("source", "")
        source = self.sources.sources.get(name)
        if source is None or not source.scheme.over_http:
            raise Rejected(Code.UNKNOWN_SOURCE, "sources.toml declares no source with this name.")
        proof = self._verified(name, source, request)
        if not source.commands:
            return self._enqueued(name, source, [_as_asked(request, proof)])
        body_id = proof.delivery_id or sha256(request.body).hexdigest()
        try:
            asked = self._translated(name, source, source.payload.read(request.body), request.headers, body_id)
            return self._enqueued(name, source, asked)
        except Rejected as error:
            # The sender is a machine that reads no answers, so an operator must see what was lost.
            self.keep(_kept(name, body_id, self.clock(), request.body, request.headers), error)
            raise

    def accept_event(self, text: str) -> list[Command]:
        """Take an event of the bus, as JSON. Ignores an event that no source declares.

        An event that cannot be translated is dead-lettered. Raises ``Retryable`` if AWS is unavailable.
        """
        raw = text.encode("utf-8", "surrogatepass")
        try:
            event = read_json(raw)
        except Untranslatable as error:
            self.keep(_kept("bus", sha256(raw).hexdigest(), self.clock(), raw, {}), error)
            return []
        fields: Mapping[str, object] = event if isinstance(event, dict) else {}
        taken: list[Command] = []
        for name, source in self.sources.sources.items():
            if not _sends(source, fields):
                continue
            try:
                taken += self._enqueued(name, source, self._event_asks(name, source, fields))
            except Rejected as error:
                event_id = fields.get("id") or sha256(raw).hexdigest()
                self.keep(_kept(name, str(event_id), self.clock(), raw, {}), error)
        return taken

    def accept_again(self, kept: "KeptDelivery") -> list[Command]:
        """Take a delivery that was proven when it came, and that became no command then. It keeps its id and its age.

        So a command that is newer than the delivery wins over it. An empty list: it is not wanted any more.

        Raises:
            Rejected: It still becomes no command.
            Retryable: AWS cannot do it now.
        """
        name, raw = kept.source, kept.raw()
        source = self.sources.sources.get(name)
        if source is None:
            raise Rejected(Code.UNKNOWN_SOURCE, "No source of this name is declared in sources.toml any more.")
        if not source.scheme.over_http:
            event = read_json(raw)
            fields: Mapping[str, object] = event if isinstance(event, dict) else {}
            if not _sends(source, fields):
                raise Rejected(Code.UNKNOWN_SOURCE, "The source no longer takes events of this type.")
            asked = self._event_asks(name, source, fields)
        elif source.commands:
            asked = self._translated(name, source, source.payload.read(raw), kept.headers, kept.delivery)
        else:
            asked = [_Ask(CommandRequest.parse(raw), kept.delivery, 0)]
        received_at = min(kept.received_at, self.clock())
        return self._enqueued(name, source, [replace(one, issued_at=received_at) for one in asked])

    def keep(self, kept: "KeptDelivery", error: Rejected) -> None:
        """Dead-letter a payload that failed, so that an operator finds it. Its sender may never read our answer."""
        message = Message(body=kept.body(), sent_at=self.clock())
        self.outcomes.dead_letter(message, Poison(error.code, f"Source '{kept.source}': {error.reason}"))
        error.kept = True

    def _event_asks(self, name: str, source: Source, fields: Mapping[str, object]) -> "list[_Ask]":
        """What an event asks for. Its id is EventBridge's own: the same for each delivery of it."""
        delivery = fields.get("id")
        if not isinstance(delivery, str) or not delivery:
            raise Untranslatable("The event has no id.")
        if source.commands:
            return self._translated(name, source, fields, {}, delivery)
        return [_Ask(CommandRequest.parse(json.dumps(fields.get("detail")).encode()), delivery, 0)]

    def _translated(
        self, name: str, source: Source, body: object, headers: Mapping[str, str], delivery: str
    ) -> "list[_Ask]":
        found: list[Translated] = []
        if wanted(source.when, body, headers):
            found = translate(source.commands, body, headers)
        if not found:
            self.metrics.emit(Metric.IGNORED, {"source": name})
        return [_Ask(one.request, one.delivery or delivery, one.index) for one in found]

    def _enqueued(self, name: str, source: Source, asked: "Iterable[_Ask]") -> list[Command]:
        """Check all commands before sending the first. After a failure midway, a repeated delivery sends the rest."""
        ready = [self._command(name, source, one) for one in asked]
        if len({command.intent_id for command in ready}) < len({(c.intent_id, c.meaning) for c in ready}):
            raise Untranslatable(
                "Two different commands of this delivery have the same name. Check 'delivery' in sources.toml."
            )
        for command in ready:
            self._in_time(source, command)
            if len(ready) > 1:
                self.ledger.check(command)
        for command in ready:
            self._accept(source, command)
            doing = command.capability.name
            self.metrics.emit(Metric.ACCEPTED, {"intent_id": command.intent_id, "source": name, "capability": doing})
        return ready

    def _in_time(self, source: Source, command: Command) -> None:
        """Refuse a command that could only expire. A copy of an accepted command is accepted, with the same answer."""
        earliest = max(command.issued_at + (source.after or timedelta()), self.clock())
        if command.not_after <= earliest and self.ledger.find(command.intent_id) is None:
            raise Rejected(
                Code.EXPIRED,
                f"not_after: the command cannot start before {earliest:%Y-%m-%dT%H:%M:%SZ}. Send a later not_after.",
            )

    def _accept(self, source: Source, command: Command) -> None:
        """Record a command, then enqueue it. A repeated delivery keeps the first's age, and is enqueued while open."""
        due_at = None if source.after is None else command.issued_at + source.after
        standing = self.ledger.accept(command, due_at=due_at)
        if standing.status in OPEN:
            self._send(source, as_old_as(standing, command))

    def _send(self, source: Source, command: Command) -> None:
        if source.after is not None:
            self.schedules.at(command.issued_at + source.after, command.intent_id, command.to_json())
        elif command.capability.permanent:
            self.permanent.send(command.to_json())
        else:
            self.ordinary.send(command.to_json())

    def _verified(self, name: str, source: Source, request: HttpRequest) -> VerifiedRequest:
        checked = source.scheme.verify(self._secrets_of(name), request, now=self.clock().timestamp())
        if isinstance(checked, UnverifiedRequest):
            self.metrics.emit(Metric.SIGNATURE_REFUSED, {"source": name, "why": checked.why})
            raise Rejected(
                Code.SIGNATURE_REFUSED,
                f"The request is not signed as source '{name}' signs ({source.scheme.name}): {checked.why}.",
            )
        return checked

    def _secrets_of(self, name: str) -> list[bytes]:
        """The source's secrets. Raises ``Rejected`` if it has none: that is a mistake in the setup, not an outage."""
        try:
            return signing_secrets(self.secrets.get(f"{self.prefix}/sources/{name}"))
        except Retryable as error:
            if error.code is not Code.CONFIGURATION:
                raise
            self.metrics.emit(Metric.SIGNATURE_REFUSED, {"source": name, "why": error.reason})
            raise Rejected(Code.UNKNOWN_SOURCE, f"Source '{name}' has no secret yet.") from error

    def _command(self, name: str, source: Source, one: "_Ask") -> Command:
        asked = one.request
        doing = capability(asked.resource, asked.action)
        _check_rights(name, source, doing, asked.org_id, self.org_ids)
        now = self.clock()
        latest = now + (source.after or timedelta()) + (LONGEST_GRACE if doing.permanent else LONGEST_WAIT)
        return Command(
            action=asked.action,
            resource=asked.resource,
            org_id=asked.org_id,
            id=asked.id,
            find=asked.find,
            if_none=asked.if_none,
            requested_by=asked.requested_by or name,
            source=name,
            reason=asked.reason or "No reason was given.",
            issued_at=one.issued_at or now,
            not_after=min(asked.not_after or latest, latest),
            intent_id=intent_id(self.id_key(), name, one.delivery, one.index),
            expect=asked.expect,
            if_changed=asked.if_changed,
            allow_in_use=asked.allow_in_use,
        )


def _check_rights(name: str, source: Source, doing: Capability, org_id: str, org_ids: frozenset[str]) -> None:
    """Raise ``Rejected`` unless the source may ask for this in this organization of the stack."""
    if org_id not in org_ids or not source.reaches(org_id):
        raise Rejected(
            Code.ORGANIZATION_UNKNOWN,
            f"Source '{name}' may not act in organization {org_id}. Check OrganizationIds and sources.toml.",
        )
    if not source.allows(doing):
        lasting = " It cannot be undone, so it also needs irreversible = true." if doing.irreversible else ""
        raise Rejected(Code.RIGHT_MISSING, f"Source '{name}' may not ask for {doing.name}; add it to 'may'.{lasting}")


def _kept(name: str, delivery: str, at: datetime, raw: bytes, headers: Mapping[str, str]) -> "KeptDelivery":
    """What is kept of a delivery that becomes no command."""
    from lifecycle.intake.kept import KeptDelivery  # noqa: PLC0415 - only then is it paid for

    return KeptDelivery.of(name, delivery, at, raw, headers)


def _sends(source: Source, fields: Mapping[str, object]) -> bool:
    """Whether an event comes from this source."""
    return source.scheme.sends(fields.get("source"), fields.get("detail-type"), fields.get("account"))


@dataclass(frozen=True, slots=True)
class _Ask:
    """A request, the id of its delivery and its number in it. ``issued_at``: when it was issued, if not now."""

    request: CommandRequest
    delivery: str
    index: int
    issued_at: datetime | None = None


def _as_asked(request: HttpRequest, proof: VerifiedRequest) -> _Ask:
    """A command in this project's own format."""
    asked = CommandRequest.parse(request.body)
    if proof.delivery_id and asked.delivery_id not in {None, proof.delivery_id}:
        raise Rejected(Code.INVALID, "delivery_id: leave it out; the signed webhook-id names the delivery")
    # Without a signed id, the signed text is the name: a copy has the same one, a new timestamp gives a new one.
    # Unsigned parts must not change the name. Otherwise anybody could turn an old delivery into a new one.
    digest = sha256(proof.timestamp.encode("utf-8", "replace") + b"." + request.body).hexdigest()
    return _Ask(asked, proof.delivery_id or asked.delivery_id or digest, 0)


def _addressed(request: HttpRequest) -> HttpRequest:
    """The request with its source and key as parameters. One of the routes takes any path below it."""
    rest = request.parameters.get("proxy")
    if rest is None:
        return request
    source, _, key = rest.removesuffix("/").partition("/")
    return replace(request, parameters={"source": source, **({"key": key} if key else {})})
