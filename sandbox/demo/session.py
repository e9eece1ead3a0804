"""What the steps of the demonstration share."""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import requests
from rich.table import Table
from rich.text import Text

from cli.clients.api import DeliveryAnswer, StatusApi
from cli.clients.delivery import Delivery, delivery, new_delivery_id
from cli.clients.stack import AwsStack, Pair
from cli.services import dead_letter_queue
from cli.services.config_files import declared_sources
from cli.services.dead_letter_queue import DeadLetter
from cli.ui.console import NO, YES, status_text, table
from lifecycle.api.schemas.commands import CommandStatus
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.intent import DEAD, IntentRow, Status
from lifecycle.plans.plan_file import Plan
from lifecycle.tallyfy.client import pooled_session
from sandbox.running import (
    APPROVER,
    SOURCE,
    Local,
    utc_now,
)
from sandbox.simulator import DefaultIds, SimulatorClient
from sandbox.stack import ROOT

ORG = DefaultIds.ORGANIZATION
LOG = ROOT / ".local" / "logs" / "demo.log"
EVENTS = ROOT / "events"
STRANGER = "whsec_" + base64.b64encode(b"known to nobody of ours").decode()
END_SECONDS = 300.0
"""Only a bound: on a busy machine a function may take long to start."""
EVERY = 0.1
POISON = json.dumps({"please": "tidy up", "everything": True})
MOST_ATTEMPTS = 6
MANY = 20


@dataclass(slots=True)
class DemoStep:
    """What one step says of itself. It has passed if every check has."""

    title: str
    sent: list[str] = field(default_factory=list)
    came_back: list[str] = field(default_factory=list)
    checks: list[tuple[str, bool]] = field(default_factory=list)

    def check(self, what: str, held: object) -> None:
        """Note a check."""
        self.checks.append((what, bool(held)))

    @property
    def passed(self) -> bool:
        """Whether it was seen as promised."""
        return bool(self.checks) and all(held for _, held in self.checks)


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A command of the demonstration: how it must stand in the ledger in the end, and with how many effects."""

    intent_id: str
    what: str
    id: str
    action: Action
    status: Status
    effects: int


class Demo:
    """What the steps share: the parts in play, and how a step uses them."""

    def __init__(self, local: Local, say: Callable[[str], None]) -> None:
        self.api = StatusApi(pooled_session(), local.stack.api_url)
        self.simulator: SimulatorClient = local.simulator.client()
        # The emulator is one server: without long polling an empty queue is known at once.
        self.stack = AwsStack(local.stack.options.stack_name, None, wait_seconds=0)
        self.pairs: Sequence[Pair] = self.stack.pairs()
        self.asked: list[DemoQuestion] = []
        self.say = say
        self.secrets = local.secrets
        self.sources = declared_sources()
        self.first: tuple[Delivery, dict[str, str], str] | None = None
        self.outage: DemoQuestion | None = None
        self.planned: Plan | None = None
        self.found: list[DeadLetter] = []
        self.local = local

    def shown_to_approvers(self, step: DemoStep, intent_id: str) -> Mapping[str, object]:
        """What approvers are shown of a command, with the request's hash, once they are asked."""
        found: list[Mapping[str, object]] = []

        def asked() -> bool:
            told = self.call("GET", "/approvals", APPROVER).get("approvals")
            waiting = told if isinstance(told, list) else []
            found[:] = [{**one["shown"], "hash": one["hash"]} for one in waiting if one["subject"] == intent_id]
            return bool(found)

        step.check("somebody is asked to approve it", until(asked, seconds=END_SECONDS))
        return found[0] if found else {}

    def vote(self, name: str, verdict: str, shown: Mapping[str, object]) -> Mapping[str, object]:
        """Approve or reject what approvers are shown, as this person."""
        return self.call("POST", f"/approvals/{shown.get('hash', '')}/{verdict}", name)

    def call(self, method: str, path: str, name: str) -> Mapping[str, object]:
        """Call a route under a person's own AWS identity."""
        answer = patiently(lambda: self.local.stack.call(method, path, self.local.stack.people[name]))
        told: Mapping[str, object] = answer.json()
        return told

    def closing_table(self) -> tuple[Table, bool]:
        """What the ledger says of each intent, beside what Tallyfy went through."""
        shown = table("", "intent", "asked", "ledger", "tries", "changes", title="What the ledger says of each intent")
        all_right = True
        for asked in self.asked:
            row = self.stack.intent(asked.intent_id)
            effects = self.simulator.effects(asked.action, asked.id)
            right = row is not None and row.status is asked.status and effects == asked.effects
            all_right &= right
            shown.add_row(
                YES if right else NO,
                asked.intent_id[:12],
                asked.what,
                _stands(row),
                str(row.attempts) if row else "",
                str(effects),
            )
        return shown, all_right

    def delivery(
        self, resource: Resource, action: Action, id: str, *, source: str = SOURCE, by: str | None = None
    ) -> Delivery:
        """A new delivery that asks for an action, as ``source`` sends it."""
        asked = {"action": action, "resource": resource, "org_id": ORG, "id": id, "reason": "Shown in the demo"}
        asked |= {"requested_by": by} if by else {}
        return delivery(source, self.sources.sources[source], asked, new_delivery_id())[0]

    def post(self, packet: Delivery) -> DeliveryAnswer:
        """Send a delivery; again while the answer is a 5xx."""
        told: list[DeliveryAnswer] = []

        def taken() -> bool:
            # A function that starts too slowly for its API is answered for with a 5xx; the same delivery is sent again.
            headers = packet.headers(self.secrets[packet.source], utc_now())
            told[:] = [self.api.post(packet.source, packet.body, headers)]
            return told[0].status < 500  # noqa: PLR2004 - HTTP's line between the sender's fault and the server's

        until(taken)
        return told[0]

    def carry_out(self, step: DemoStep, resource: Resource, action: Action, id: str, state: str) -> None:
        """Ask for an action, wait for its end, and check the state that it reaches."""
        step.sent.append(f"{action} {resource.label}")
        answer = self.post(self.delivery(resource, action, id))
        self.conclude(step, answer, f"{action} {resource.label}", id, action, Status.DONE)
        step.check(f"the simulator has it {state}", self.state(id) == state)

    def conclude(
        self, step: DemoStep, answer: DeliveryAnswer, what: str, id: str, action: Action, status: Status
    ) -> CommandStatus | None:
        """Wait for the end that was promised, at the status endpoint and in the simulator's log."""
        step.check(f"{what}: accepted with 202, not {answer.status} {answer.detail}", answer.accepted)
        if not answer.accepted:
            return None
        effects = 0 if status in DEAD else 1
        self.asked.append(DemoQuestion(answer.intent_id, what, id, action, status, effects))
        report = self.api.wait(answer.intent_id, seconds=END_SECONDS, every=EVERY)
        seen = self.simulator.effects(action, id)
        step.came_back.append(f"202, then {report['status']}, {changes(seen)}: {report['reason']}")
        step.check(f"{what}: {status}, not {report['status']}", report["status"] is status)
        step.check(f"{what}: {effects} in the simulator's log, not {seen}", seen == effects)
        return report

    def outage_question(self) -> DemoQuestion:
        """The command that meets the outage. Raises ``RuntimeError`` before it was sent."""
        if self.outage is None:
            msg = "the command for the outage was not sent"
            raise RuntimeError(msg)
        return self.outage

    def letters(self) -> list[DeadLetter]:
        """Every dead letter, left in its queue."""
        return dead_letter_queue.look(self.pairs, most=100, clock=utc_now).letters

    def state(self, id: str) -> str:
        """The state of a thing in the simulator."""
        return self.simulator.state(id).state


def _stands(row: IntentRow | None) -> Text:
    if row is None:
        return Text("nothing")
    return Text.assemble(status_text(row.status), f" {row.code}", ", sent again" if row.redrive else "")


def changes(number: int) -> str:
    """A number of effects, in words."""
    return f"{number} change{'' if number == 1 else 's'} in Tallyfy"


def patiently(call: Callable[[], requests.Response]) -> requests.Response:
    """Ask again while the answer is a 5xx: whatever is asked for here is not done twice."""
    told: list[requests.Response] = []

    def answered() -> bool:
        told[:] = [call()]
        return told[0].status_code < 500  # noqa: PLR2004 - as above

    until(answered)
    return told[0]


def until(held: Callable[[], bool], *, seconds: float = END_SECONDS) -> bool:
    """Wait until something holds; whether it did in time."""
    deadline = time.monotonic() + seconds
    while not held():
        if time.monotonic() > deadline:
            return False
        time.sleep(EVERY)
    return True
