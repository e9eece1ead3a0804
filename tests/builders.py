"""Makers of the things that many tests need. Each takes only what a test may want to be different."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cli.local.simulator import DefaultIds
from lifecycle.adapters.ledger import Ledger, Terms
from lifecycle.adapters.queues import MemoryQueue
from lifecycle.adapters.rows import MemoryRows
from lifecycle.adapters.secrets import MemorySecrets
from lifecycle.adapters.signals import MemorySignals
from lifecycle.judgement.http import Request
from lifecycle.judgement.sources import Sources
from lifecycle.usecases.intake import Intake
from lifecycle.usecases.lookup import Lookup
from lifecycle.words.capabilities import TABLE
from lifecycle.words.commands import Command
from lifecycle.words.intents import intent_id

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ORG = DefaultIds.ORGANIZATION
"""The organization that the simulator knows without being told."""
THING = "5e" * 16
ID_KEY = b"the id key of a stack in tests"
WHSEC = "whsec_" + base64.b64encode(b"a standard webhooks secret").decode()
SHARED = "a plain shared secret"
PREFIX = "stack"
EVENTS = Path(__file__).parents[1] / "events"

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
    """A clock that only a test moves."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


def body(**changes: object) -> bytes:
    """A request for archiving a process, or for what ``changes`` make of it."""
    asked: dict[str, object] = {"action": "archive", "resource": "run", "org_id": ORG, "id": THING}
    return json.dumps({**asked, **changes}).encode()


def command(**changes: object) -> Command:
    """The command that ``body`` leads to; values as JSON has them."""
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


def request(source: str, raw: bytes, headers: Mapping[str, str]) -> Request:
    """A webhook request as the handler hands it on."""
    return Request(route="POST /webhooks/{source}", parameters={"source": source}, headers=headers, body=raw)


def webhook_event(source: str, raw: bytes, headers: Mapping[str, str]) -> dict[str, object]:
    """A webhook request as API Gateway hands it over."""
    return {
        "version": "2.0",
        "routeKey": "POST /webhooks/{source}",
        "headers": dict(headers),
        "pathParameters": {"source": source},
        "body": base64.b64encode(raw).decode(),
        "isBase64Encoded": True,
    }


@dataclass
class Entrance:
    """The way in, over memory, with all its parts at hand."""

    clock: Callable[[], datetime]
    org_ids: frozenset[str] = frozenset({ORG})

    def __post_init__(self) -> None:
        self.secrets = MemorySecrets(
            {
                f"{PREFIX}/sources/operator": WHSEC,
                f"{PREFIX}/sources/automation": WHSEC,
                f"{PREFIX}/sources/crm": SHARED,
            }
        )
        self.ledger = Ledger(MemoryRows(), Terms(timedelta(seconds=90), timedelta(days=400), 6), self.clock)
        self.ordinary = MemoryQueue(self.clock)
        self.permanent = MemoryQueue(self.clock)
        self.signals = MemorySignals()

    @cached_property
    def intake(self) -> Intake:
        return Intake(
            sources=Sources.parse(SOURCES),
            org_ids=self.org_ids,
            prefix=PREFIX,
            secrets=self.secrets,
            id_key=lambda: ID_KEY,
            ledger=self.ledger,
            ordinary=self.ordinary,
            permanent=self.permanent,
            signals=self.signals,
            clock=self.clock,
        )

    @cached_property
    def lookup(self) -> Lookup:
        return Lookup(ledger=self.ledger, id_key=lambda: ID_KEY)

    def accept(self, raw: bytes, *, source: str = "operator", delivery_id: str = "delivery-1") -> Command:
        """Bring in a request that its source signed."""
        if source == "crm":
            headers = hmac_headers(raw, at=self.clock().timestamp())
        else:
            headers = standard_headers(raw, delivery_id=delivery_id, at=self.clock().timestamp())
        return self.intake.accept(request(source, raw, headers))


def sample(name: str) -> dict[str, object]:
    """A payload of events/."""
    found: dict[str, object] = json.loads((EVENTS / name).read_bytes())
    return found


class LambdaContext:
    """What Lambda tells a function about its invocation."""

    function_name = "tests"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:tests"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def bodies(queue: MemoryQueue) -> list[str]:
    """What lies in a queue."""
    return [entry.message.body for entry in queue.entries.values()]
