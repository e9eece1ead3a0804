"""The deployed template on the emulator with the Tallyfy simulator behind it, and a sender in front."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests
from standardwebhooks import Webhook

from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, Seed, SimulatorClient, SimulatorServer
from sandbox.stack import ROOT, LocalStack, StackOptions, StackPerson, person_arn
from tests.e2e import presets

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HMAC_SECRET = "plain-secret"
_BY_HMAC = ("crm", "hubspot", "jira", "github", "tallyfy")
ORG = DefaultIds.ORGANIZATION
_PEOPLE = f"""
[people.grace]
iam = "{person_arn("grace")}"
may = ["run.archive", "run.restore"]
approves = ["run.delete", "task.delete", "template.archive", "template.delete", "tag.delete"]

[people.hedy]
iam = "{person_arn("hedy")}"
may = ["task.archive", "task.restore"]

[people.linus]
iam = "{person_arn("linus")}"
approves = ["run.delete", "task.delete", "template.archive", "template.delete", "tag.delete"]
"""
"""Whom people.toml knows by their AWS identity, beside whom the repository's own names."""
CHANNEL = "/_channel/operations"
"""Where the channel of notices is posted to: at the simulator, which logs the call and refuses it."""
_NOTICES = """
[channels.operations]
tool = "slack"
[tell]
plan = ["operations"]
"""
OPEN = frozenset({"accepted", "in_progress", "waiting"})


@dataclass(frozen=True)
class Bench:
    stack: LocalStack
    simulator: SimulatorClient
    _known: dict[str, StackPerson] = field(default_factory=dict)

    def person(self, name: str) -> StackPerson:
        """An IAM user, made when first asked for. `grace` and `linus` are in people.toml; any other is a stranger."""
        if name not in self._known:
            self._known[name] = self.stack.person(name)
        return self._known[name]

    def start_over(self) -> None:
        """Empty queues and the simulator as seeded; the ledger keeps its memory, so each test uses its own things."""
        self.simulator.reset()
        for name in ("Commands", "Purge", "Bulk", "Events", "Sweeps", "Chat"):
            for kind in ("Queue", "DeadLetterQueue"):
                self.stack.sqs.purge_queue(QueueUrl=self.stack.outputs[f"{name}{kind}Url"])

    def post(
        self, body: Mapping[str, object] | bytes, *, source: str = "operator", **headers: str
    ) -> requests.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(
            f"{self.stack.api_url}/webhooks/{source}", data=raw, headers=signed(raw) | headers, timeout=30
        )

    def ask(self, action: str, resource: str, thing_id: str, **more: object) -> str:
        """Send a command and return its intent id."""
        delivery = {"webhook-id": str(more.pop("delivery", uuid.uuid4()))}
        body = {"action": action, "resource": resource, "org_id": ORG, "id": thing_id, **more}
        raw = json.dumps(body).encode()
        answer = requests.post(
            f"{self.stack.api_url}/webhooks/operator", data=raw, headers=signed(raw, **delivery), timeout=30
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["intent_id"])

    def status(self, intent_id: str) -> dict[str, Any]:
        answer = requests.get(f"{self.stack.api_url}/commands/{intent_id}", timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def conclusion(self, intent_id: str, *, within: float = 60) -> dict[str, str]:
        """Wait for the end of an intent."""
        until(lambda: self.status(intent_id)["status"] not in OPEN, within, f"{intent_id} to end")
        return self.status(intent_id)

    def asked_for(self, intent_id: str) -> str:
        """Wait until a permanent delete is put before people; the hash under which."""
        found: list[str] = []

        def shown() -> bool:
            answer = self.stack.call("GET", "/approvals", self.person("grace"))
            assert answer.status_code == 200, answer.text
            found[:] = [one["hash"] for one in answer.json()["approvals"] if one["subject"] == intent_id]
            return bool(found)

        until(shown, 60, "a request for approval")
        return found[0]

    def approve(self, intent_id: str) -> None:
        """Let somebody approve a permanent delete."""
        answer = self.stack.call("POST", f"/approvals/{self.asked_for(intent_id)}/approve", self.person("linus"))
        assert answer.json()["stands"] == "approved", answer.text

    def outcome(self, action: str, resource: str, thing_id: str, **more: object) -> str:
        return self.conclusion(self.ask(action, resource, thing_id, **more))["status"]

    def sow(self, seed: Seed) -> None:
        self.simulator.merge(seed)

    def writes(self, thing_id: str) -> list[tuple[str, str]]:
        """Every call to Tallyfy about a thing that was not a read."""
        return [(call.method, call.path) for call in self.simulator.log(id=thing_id) if call.method != "GET"]

    def dead_letters(self, name: str = "CommandsDeadLetter") -> list[dict[str, str]]:
        """Everything in a dead-letter queue, left there."""
        url = self.stack.outputs[f"{name}QueueUrl"]
        seen: dict[str, dict[str, str]] = {}
        while True:
            found = self.stack.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=20, MessageAttributeNames=["All"]
            ).get("Messages", [])
            fresh = [message for message in found if message["MessageId"] not in seen]
            for message in fresh:
                attributes = {n: a.get("StringValue", "") for n, a in message.get("MessageAttributes", {}).items()}
                seen[message["MessageId"]] = {
                    **attributes,
                    "body": message["Body"],
                    "receipt": message["ReceiptHandle"],
                }
            if not fresh:
                break
        for letter in seen.values():
            self.stack.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=letter["receipt"], VisibilityTimeout=0)
        return list(seen.values())


def signed(raw: bytes, **headers: str) -> dict[str, str]:
    """Sign with the public package, the other side of our own check."""
    delivery = headers.get("webhook-id", str(uuid.uuid4()))
    now = datetime.now(UTC)
    signature = Webhook(SECRET).sign(delivery, now, raw.decode("utf-8", "replace"))
    return {"webhook-id": delivery, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait, polling, for something that happens in other processes."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.1)


@contextmanager
def running_bench() -> Iterator[Bench]:
    with SimulatorServer() as simulator:
        options = StackOptions(
            tallyfy_base_url=simulator.base_url,
            organization_ids=(ORG,),
            sources={
                "operator": (SECRET,),
                "automation": (SECRET,),
                **dict.fromkeys(_BY_HMAC, (HMAC_SECRET,)),
                **presets.secrets(),
            },
            chats={"slack": (HMAC_SECRET,)},
            channels={"operations": f"{simulator.base_url.removesuffix('/api')}{CHANNEL}"},
            tokens={ORG: DEFAULT_TOKEN},
            files={
                "people.toml": (ROOT / "layers" / "config" / "people.toml").read_text() + _PEOPLE,
                "sources.toml": presets.declared(),
                "notices.toml": _NOTICES,
            },
            parameters={
                "PartnerBus": presets.PARTNER_BUS,
                "IncomingDetailTypes": f"project.closed,{presets.PARTNER_DETAIL_TYPE}",
            },
        )
        with LocalStack(options) as stack:
            yield Bench(stack, simulator.client())
