"""Builders of objects that many tests need. Each parameter is something that a test may want to change."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from urllib.parse import urlencode

from lifecycle.approvals.people import People
from lifecycle.approvals.rules import About, ApprovalRequest, name
from lifecycle.approvals.service import ApprovalService
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.api_gateway import HttpRequest, Response
from lifecycle.aws.dynamodb import MemoryTable
from lifecycle.aws.eventbridge import MemoryBus
from lifecycle.aws.metrics import MemoryMetrics
from lifecycle.aws.scheduler import MemorySchedules
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.chat.door import ChatDoor
from lifecycle.chat.service import ChatService
from lifecycle.chat.slack.blocks import SlackAnswer
from lifecycle.chat.tool import load_tool
from lifecycle.deletion.safeguards import what_would_go
from lifecycle.domain.capabilities import TABLE, State
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.intent_ids import intent_id
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.reply_channel import MemoryReplies, Replies
from lifecycle.execution.status import StatusService
from lifecycle.execution.stop_signals import StopSignals
from lifecycle.execution.undo import UndoService
from lifecycle.holds.store import HoldStore
from lifecycle.intake.service import Intake
from lifecycle.intake.sources import Sources
from sandbox.simulator import DefaultIds

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ORG = DefaultIds.ORGANIZATION
"""The organization of the simulator's default seed."""
THING = "5e" * 16
ID_KEY = b"the id key of a stack in tests"
WHSEC = "whsec_" + base64.b64encode(b"a standard webhooks secret").decode()
SHARED = "a plain shared secret"
PREFIX = "stack"
DOMAIN = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
EVENTS = Path(__file__).parents[2] / "events"
CONFIG = Path(__file__).parents[2] / "layers" / "config"

EVERYTHING = ", ".join(f'"{c.name}"' for c in TABLE)
SOURCES = f"""
[sources.operator]
scheme = "standard-webhooks"
may = [{EVERYTHING}]
irreversible = true

[sources.automation]
scheme = "standard-webhooks"
may = ["run.archive", "run.restore", "task.archive", "task.restore"]

[sources.crm]
scheme = "hmac"
may = ["run.archive", "run.restore"]
"""


class Clock:
    """A clock that only a test advances."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


def body(**changes: object) -> bytes:
    """Return a request to archive a process, with ``changes`` applied."""
    asked: dict[str, object] = {"action": "archive", "resource": "run", "org_id": ORG, "id": THING}
    return json.dumps({**asked, **changes}).encode()


def command(**changes: object) -> Command:
    """Return the command of ``body``, with values as in JSON."""
    made: dict[str, object] = {
        "action": "archive",
        "resource": "run",
        "org_id": ORG,
        "id": THING,
        "requested_by": "Ada",
        "source": "operator",
        "reason": "The customer left.",
        "issued_at": NOW.isoformat(),
        "not_after": (NOW + timedelta(days=14)).isoformat(),
        "intent_id": intent_id(ID_KEY, "operator", "delivery-1"),
    }
    return Command.model_validate_json(json.dumps({**made, **changes}))


def standard_headers(
    raw: bytes, *, secret: str = WHSEC, delivery_id: str = "delivery-1", at: float | None = None
) -> dict[str, str]:
    """Headers as a Standard Webhooks sender makes them, written from the specification and not from our code."""
    timestamp = str(int(NOW.timestamp() if at is None else at))
    signed = f"{delivery_id}.{timestamp}.".encode() + raw
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": delivery_id, "webhook-timestamp": timestamp, "webhook-signature": signature}


def hmac_headers(raw: bytes, *, secret: str = SHARED, at: float | None = None) -> dict[str, str]:
    """Headers of the plain HMAC scheme."""
    timestamp = str(int(NOW.timestamp() if at is None else at))
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return {"x-timestamp": timestamp, "x-signature": f"sha256={digest}"}


def hubspot_headers(
    raw: bytes, *, secret: str = SHARED, at: float | None = None, uri: str = f"https://{DOMAIN}/webhooks/hubspot"
) -> dict[str, str]:
    """Headers as HubSpot's version 3 makes them: base64 over method, URI, body and milliseconds."""
    milliseconds = str(int((NOW.timestamp() if at is None else at) * 1000))
    digest = hmac.new(secret.encode(), f"POST{uri}".encode() + raw + milliseconds.encode(), hashlib.sha256).digest()
    return {
        "x-hubspot-request-timestamp": milliseconds,
        "x-hubspot-signature-v3": base64.b64encode(digest).decode(),
    }


def hub_headers(raw: bytes, *, secret: str = SHARED, name: str = "x-hub-signature-256") -> dict[str, str]:
    """The one header that GitHub and (under another name) Jira sign with: hex over the body alone."""
    return {name: f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"}


def slack_headers(raw: bytes, *, secret: str = SHARED, at: float | None = None) -> dict[str, str]:
    """Headers as Slack makes them."""
    timestamp = str(int(NOW.timestamp() if at is None else at))
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + raw, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": timestamp, "x-slack-signature": f"v0={digest}"}


def request(source: str, raw: bytes, headers: Mapping[str, str], *, key: str | None = None) -> HttpRequest:
    """Return a webhook request as the handler passes it on. ``key`` is a shared secret in the path."""
    with_key = {} if key is None else {"key": key}
    return HttpRequest(
        route="POST /webhooks/{source}" + ("/{key}" if with_key else ""),
        method="POST",
        uri=f"https://{DOMAIN}/webhooks/{source}" + (f"/{key}" if with_key else ""),
        parameters={"source": source, **with_key},
        headers=headers,
        body=raw,
    )


def webhook_event(source: str, raw: bytes, headers: Mapping[str, str], *, key: str | None = None) -> dict[str, object]:
    """Return a webhook request as API Gateway passes it."""
    with_key = {} if key is None else {"key": key}
    path = f"/webhooks/{source}" + (f"/{key}" if with_key else "")
    return {
        "version": "2.0",
        "routeKey": "POST /webhooks/{source}" + ("/{key}" if with_key else ""),
        "rawPath": path,
        "rawQueryString": "",
        "headers": dict(headers),
        "requestContext": {"domainName": DOMAIN, "http": {"method": "POST", "path": path}},
        "pathParameters": {"source": source, **with_key},
        "body": base64.b64encode(raw).decode(),
        "isBase64Encoded": True,
    }


@dataclass
class Entrance:
    """The intake with memory adapters and access to all its parts. ``declared`` is the text of a sources.toml."""

    clock: Callable[[], datetime]
    org_ids: frozenset[str] = frozenset({ORG})
    declared: str = SOURCES

    def __post_init__(self) -> None:
        self.secrets = MemorySecrets(
            {
                f"{PREFIX}/sources/operator": WHSEC,
                f"{PREFIX}/sources/automation": WHSEC,
                f"{PREFIX}/sources/crm": SHARED,
                **{f"{PREFIX}/sources/{name}": SHARED for name in ("hubspot", "jira", "github", "tallyfy", "one")},
            }
        )
        self.rows = MemoryTable()
        self.ledger = Ledger(self.rows, LedgerTerms(timedelta(seconds=90), timedelta(days=400), 6), self.clock)
        self.ordinary = MemoryQueue(self.clock)
        self.permanent = MemoryQueue(self.clock)
        self.schedules = MemorySchedules()
        self.dead_letters = MemoryQueue(self.clock)
        self.bus = MemoryBus()
        self.metrics = MemoryMetrics()

    @cached_property
    def intake(self) -> Intake:
        return Intake(
            sources=Sources.parse(self.declared),
            org_ids=self.org_ids,
            prefix=PREFIX,
            secrets=self.secrets,
            id_key=lambda: ID_KEY,
            ledger=self.ledger,
            ordinary=self.ordinary,
            permanent=self.permanent,
            schedules=self.schedules,
            outcomes=Outcomes(
                ledger=self.ledger,
                dead_letters=self.dead_letters,
                bus=self.bus,
                metrics=self.metrics,
                clock=self.clock,
            ),
            metrics=self.metrics,
            clock=self.clock,
        )

    @cached_property
    def lookup(self) -> StatusService:
        return StatusService(ledger=self.ledger, id_key=lambda: ID_KEY, clock=self.clock)

    def accept(self, raw: bytes, *, source: str = "operator", delivery_id: str = "delivery-1") -> Command:
        """Process a request that its source signed."""
        if source == "crm":
            headers = hmac_headers(raw, at=self.clock().timestamp())
        else:
            headers = standard_headers(raw, delivery_id=delivery_id, at=self.clock().timestamp())
        [accepted] = self.intake.accept(request(source, raw, headers))
        return accepted

    @property
    def letters(self) -> list[Mapping[str, str]]:
        """The dead letters, by their attributes."""
        return [entry.message.attributes for entry in self.dead_letters.entries.values()]


PEOPLE = f"""
[people.ada]
slack = "T012ABCDE/U034FGHIJ"
may = ["run.archive", "run.restore", "task.archive", "task.restore"]

[people.grace]
slack = "T012ABCDE/U034FGHIK"
may = ["run.restore"]
approves = ["run.delete", "tag.delete"]
organization = "{ORG}"
"""


@dataclass
class ChatRoom:
    """The intake of slash commands and buttons, with memory adapters. ``people`` is the text of a people.toml."""

    clock: Callable[[], datetime]
    org_ids: frozenset[str] = frozenset({ORG})
    people: str = PEOPLE

    def __post_init__(self) -> None:
        self.secrets = MemorySecrets({f"{PREFIX}/chat/slack": SHARED})
        self.rows = MemoryTable()
        self.ledger = Ledger(self.rows, LedgerTerms(timedelta(seconds=90), timedelta(days=400), 6), self.clock)
        self.approvals = ApprovalStore(self.rows, timedelta(days=400), self.clock)
        self.commands, self.purge, self.sweeps, self.jobs = (MemoryQueue(self.clock) for _ in range(4))
        self.heard = MemoryReplies()
        self.replies: Replies = self.heard
        self.metrics = MemoryMetrics()

    @cached_property
    def chat(self) -> ChatDoor:
        undoing = UndoService(
            ledger=self.ledger,
            commands=self.commands,
            org_ids=self.org_ids,
            id_key=lambda: ID_KEY,
            metrics=self.metrics,
            clock=self.clock,
        )
        approving = ApprovalService(
            approvals=self.approvals,
            ledger=self.ledger,
            keep_reasons=StopSignals(self.rows, HoldStore(self.rows, self.clock)),
            purge=self.purge,
            sweeps=self.sweeps,
            org_ids=self.org_ids,
            metrics=self.metrics,
            clock=self.clock,
        )
        service = ChatService(
            people=People.parse(self.people),
            org_ids=self.org_ids,
            id_key=lambda: ID_KEY,
            lookup=StatusService(ledger=self.ledger, id_key=lambda: ID_KEY, clock=self.clock),
            approving=approving,
            undoing=undoing,
            holds=HoldStore(self.rows, self.clock),
            rows=self.rows,
            jobs=self.jobs,
            metrics=self.metrics,
            clock=self.clock,
        )
        return ChatDoor(
            tool=load_tool,
            service=service,
            secrets=self.secrets,
            prefix=PREFIX,
            replies=self.replies,
            metrics=self.metrics,
            clock=self.clock,
        )

    def deliver(self, raw: bytes, headers: Mapping[str, str] | None = None, *, path: str = "/chat/slack") -> Response:
        """What Slack gets back for a request that it signed, or that has these headers."""
        signed = slack_headers(raw, at=self.clock().timestamp()) if headers is None else headers
        return self.chat.respond("slack", chat_request(raw, signed, path=path))

    def show(self, text: str, **fields: str) -> SlackAnswer:
        """What the asker sees for a line typed by Ada, or by whom ``fields`` say."""
        shown: SlackAnswer = json.loads(str(self.deliver(slash(text, **fields))["body"]))
        return shown

    def say(self, text: str, **fields: str) -> str:
        """The text of what the asker sees."""
        return self.show(text, **fields)["text"]

    def press(self, action: str, value: str, **fields: object) -> str:
        """What Grace is told who pressed a button, or whom ``fields`` of the payload say."""
        response = self.deliver(pressed(action, value, **fields), path="/chat/slack/actions")
        assert response["body"] == ""
        return self.heard.said[-1][1]


def slash(text: str, **fields: str) -> bytes:
    """The form of a slash command."""
    form = {
        "team_id": "T012ABCDE",
        "user_id": "U034FGHIJ",
        "user_name": "ada",
        "command": "/tallyfy",
        "text": text,
        "response_url": "https://hooks.slack.com/commands/T012ABCDE/1/abc",
        "trigger_id": "1.2.abc",
    }
    return urlencode({**form, **fields}).encode()


def wanted(**changes: object) -> ApprovalRequest:
    """A request for the approval of a permanent delete that Ada asked for."""
    doing = command(action="delete", requested_by="ada", source="slack")
    seen = ResourceSnapshot(
        resource=doing.resource,
        id=THING,
        state=State.ARCHIVED,
        name="Onboard Initech",
        status="archived",
        archived_at=NOW - timedelta(days=40),
        template_id="7e" * 16,
        owners=frozenset({"4711", "4712"}),
        tasks=12,
        comments=3,
    )
    shown = what_would_go(doing, seen)
    made: dict[str, object] = {
        "hash": name(json.loads(shown)),
        "about": About.COMMAND,
        "org_id": ORG,
        "subject": doing.intent_id,
        "asked_by": "ada",
        "asked_at": millis(NOW),
        "deadline": millis(NOW + timedelta(hours=72)),
        "needed": 1,
        "shown": shown,
        "message": doing.to_json(),
        "capabilities": (doing.capability.name,),
    }
    return ApprovalRequest(**{**made, **changes})  # type: ignore[arg-type]


def pressed(action: str, value: str, **fields: object) -> bytes:
    """The form of a pressed button."""
    payload: dict[str, object] = {
        "type": "block_actions",
        "user": {"id": "U034FGHIK", "username": "grace", "team_id": "T012ABCDE"},
        "team": {"id": "T012ABCDE", "domain": "example"},
        "enterprise": None,
        "is_enterprise_install": False,
        "trigger_id": "3.4.def",
        "response_url": "https://hooks.slack.com/actions/T012ABCDE/2/def",
        "actions": [{"type": "button", "block_id": "b1", "action_id": action, "value": value}],
    }
    return urlencode({"payload": json.dumps({**payload, **fields})}).encode()


def chat_request(raw: bytes, headers: Mapping[str, str], *, path: str = "/chat/slack") -> HttpRequest:
    """Return a request of Slack as the handler passes it on."""
    uri = f"https://{DOMAIN}{path}"
    return HttpRequest(route=f"POST {path}", method="POST", uri=uri, parameters={}, headers=headers, body=raw)


def sample(name: str) -> dict[str, object]:
    """A payload of events/."""
    found: dict[str, object] = json.loads((EVENTS / name).read_bytes())
    return found


class LambdaContext:
    """The Lambda context of an invocation."""

    function_name = "tests"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:tests"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def bodies(queue: MemoryQueue) -> list[str]:
    """Return the messages of a queue."""
    return [entry.message.body for entry in queue.entries.values()]


def with_approvals(approvals: ApprovalStore, request: ApprovalRequest, by: tuple[str, ...]) -> ApprovalRequest:
    """Create a request that these people have approved."""
    approvals.ask(request)
    after = approvals.change(request.org_id, request.hash, lambda known: replace(known, approved_by=by))
    assert after is not None
    return after
