"""The measured cases: each function with an event that it handles, and the floor it is compared with."""

import itertools
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from standardwebhooks import Webhook

from cli.clients.signing import chat_headers
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.commands import Command
from lifecycle.domain.intent_ids import intent_id
from sandbox.simulator import DefaultIds
from tests.benchmarks.fake_services import ID_KEY, WHSEC

ORG = DefaultIds.ORGANIZATION

type Json = Any

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Case:
    """One function, the event sent to it, and a check of its answer."""

    name: str
    task: str
    floor: str
    event: Callable[[], Json]
    holds: Callable[[Json], bool]


def _status(expected: int) -> Callable[[Json], bool]:
    return lambda answer: bool(answer.get("statusCode") == expected)


def _all_done(answer: Json) -> bool:
    return bool(answer == {"batchItemFailures": []})


def _post(route: str, body: str, headers: dict[str, str], **parameters: str) -> Json:
    method, path = route.split(" ")
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **headers},
        "pathParameters": parameters,
        "requestContext": {"domainName": "api.example.com", "http": {"method": method, "path": path}},
        "body": body,
        "isBase64Encoded": False,
    }


def webhook() -> Json:
    """A signed command."""
    body = json.dumps(
        {
            "action": "archive",
            "resource": "process",
            "org_id": ORG,
            "id": DefaultIds.RUN,
            "requested_by": "Ada Lovelace",
            "reason": "The customer left.",
        }
    )
    delivery, now = str(uuid.uuid4()), datetime.now(UTC)
    headers = {
        "webhook-id": delivery,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(WHSEC).sign(delivery, now, body),
    }
    return _post("POST /webhooks/{source}", body, headers, source="operator")


def chat() -> Json:
    """A signed Slack slash command."""
    body = urlencode(
        {
            "team_id": "T012ABCDE",
            "user_id": "U034FGHIJ",
            "user_name": "ada",
            "command": "/tallyfy",
            "text": f"archive https://go.tallyfy.com/{ORG}/process/{DefaultIds.RUN}",
            "response_url": "https://hooks.slack.com/commands/T012ABCDE/1/x",
            "trigger_id": f"{time.time_ns()}.1.x",
        }
    )
    headers = chat_headers("slack", WHSEC, body.encode(), timestamp=int(time.time()))
    return _post("POST /chat/slack", body, headers)


def status() -> Json:
    """A status request for an unknown intent: the function looks up the row and finds none."""
    intent = intent_id(ID_KEY.encode(), "operator", f"delivery {next(_numbers)}")
    return _post("GET /commands/{intent_id}", "", {}, intent_id=intent)


def batch(action: Action, thing: str, size: int = 1, *, things: tuple[str, ...] = ()) -> Json:
    """A batch of records from a command queue."""
    now = datetime.now(UTC).replace(microsecond=0)
    records = []
    for number in range(size):
        command = Command(
            action=action,
            resource=Resource.RUN,
            org_id=ORG,
            id=things[number] if things else thing,
            requested_by="Ada Lovelace",
            source="operator",
            reason="The customer left.",
            issued_at=now,
            not_after=now + timedelta(days=14),
            intent_id=intent_id(ID_KEY.encode(), "operator", str(uuid.uuid4())),
        )
        records.append(
            {
                "messageId": str(uuid.uuid4()),
                "receiptHandle": f"receipt-{number}",
                "body": command.to_json(),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(int(now.timestamp() * 1000)),
                    "SenderId": "AROAEXAMPLE:webhook",
                    "ApproximateFirstReceiveTimestamp": str(int(now.timestamp() * 1000)),
                },
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:commands",
                "awsRegion": "eu-west-1",
            }
        )
    return {"Records": records}


def intake_floor() -> Json:
    """The body and the path of the webhook."""
    return {"body": webhook()["body"], "queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/CommandsQueue"}


FLOORS = (
    Case("floor of intake", "intake", "", intake_floor, _status(202)),
    Case("floor of workers", "worker", "", lambda: batch(Action.ARCHIVE, DefaultIds.RUN), _all_done),
)
CASES = (
    Case("webhook", "WebhookFunction", "floor of intake", webhook, _status(202)),
    Case("chat", "ChatFunction", "floor of intake", chat, _status(200)),
    Case("status", "StatusFunction", "floor of intake", status, _status(404)),
    Case("worker", "WorkerFunction", "floor of workers", lambda: batch(Action.ARCHIVE, DefaultIds.RUN), _all_done),
    Case(
        "purge",
        "PurgeFunction",
        "floor of workers",
        lambda: batch(Action.DELETE, DefaultIds.RUN_ARCHIVED_LONG_AGO),
        _all_done,
    ),
)
