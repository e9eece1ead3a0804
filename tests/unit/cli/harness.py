"""An operator's desk: the real commands in front of a stack in memory. No network; waiting moves the clock."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import override
from urllib.parse import quote, unquote, urlsplit

import requests
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError
from requests.adapters import BaseAdapter
from typer.testing import CliRunner, Result

from cli.clients.aws_identity import Identity
from cli.clients.context import CliContext as Outside
from cli.clients.event_tap import EventTap
from cli.clients.footprint import FoundStack, Piece, Remnant
from cli.clients.stack import Alarm, LogLine, Pair, progress
from cli.main import app
from cli.ui.errors import CliError, Exit
from lifecycle.api.operator_routes import Operating
from lifecycle.api.routes import delivery_answer, status_answer
from lifecycle.api.schemas.commands import Health
from lifecycle.approvals.people import People
from lifecycle.approvals.service import ApprovalService
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.api_gateway import HttpRequest, Response, answer, problem
from lifecycle.aws.dynamodb import MemoryTable, VersionedTable
from lifecycle.aws.s3 import MemoryObjects, Objects
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.chat.door import ChatDoor
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, LifecycleError
from lifecycle.domain.intent import IntentRow, Outcome, Status
from lifecycle.execution.ledger import Claim, Ledger, LedgerTerms
from lifecycle.execution.stop_signals import StopSignals
from lifecycle.execution.undo import UndoService
from lifecycle.holds.store import HoldStore
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Rate
from lifecycle.sweep.state import Progress
from lifecycle.tallyfy.client import pooled_session
from sandbox.running import GOOGLE_ACCOUNT, SAMPLE_USERS
from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, Simulator, SimulatorTransport
from tests.harness.builders import CONFIG, ID_KEY, NOW, PREFIX, SHARED, WHSEC, ChatRoom, Clock, Entrance
from tests.harness.chat import TEAMS_KEY
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World

ORG = DefaultIds.ORGANIZATION
API_URL = "https://api.test"
TALLYFY_URL = "https://tallyfy.test/api"
OPERATOR = "arn:aws:iam::123456789012:user/ada"
REGION = "eu-west-1"
ARNS = {
    "ada": OPERATOR,
    "bob": "arn:aws:sts::123456789012:assumed-role/Operators/bob",
    "cleo": "arn:aws:iam::123456789012:user/cleo",
    "dan": "arn:aws:iam::123456789012:user/dan",
    "mallory": "arn:aws:iam::123456789012:user/mallory",
}
"""Whom AWS knows. Of Mallory people.toml knows nothing."""
KEYS = {f"AKIA{name}": (f"secret of {name}", arn) for name, arn in ARNS.items()}
_ALL = '"run.delete", "task.delete", "template.delete", "template.archive", "tag.delete"'
PEOPLE = f"""
[roles.Operators]
session_name_fixed = true
[people.ada]
iam = "{ARNS["ada"]}"
may = ["run.archive", "run.restore"]
approves = [{_ALL}]
[people.bob]
iam = "{ARNS["bob"]}"
may = ["run.restore"]
approves = [{_ALL}]
[people.cleo]
iam = "{ARNS["cleo"]}"
approves = [{_ALL}]
[people.dan]
iam = "{ARNS["dan"]}"
may = ["run.archive"]
approves = ["tag.delete"]
"""


def chat_of(entrance: Entrance) -> ChatDoor:
    """The chat function, over the same parts. Ada is known in every tool."""
    everywhere = "".join(f'{tool} = "{user}"\n' for tool, user in SAMPLE_USERS.items() if tool != "slack")
    room = ChatRoom(entrance.clock, people=ChatRoom.people.replace("[people.grace]", f"{everywhere}[people.grace]"))
    room.secrets, room.metrics, room.commands = entrance.secrets, entrance.metrics, entrance.ordinary
    return replace(room.chat, service=replace(room.chat.service, lookup=entrance.lookup))


class Front(BaseAdapter):
    """The HTTP API in memory: the real intake, lookup and operator's use case behind `requests`.

    Where a route asks for an AWS identity, the signature is checked as AWS does it, and says who calls.
    """

    def __init__(self, entrance: Entrance, operating: Callable[[], Operating]) -> None:
        super().__init__()
        self._entrance = entrance
        self._operating = operating
        self._chat = chat_of(entrance)
        self.asked: list[requests.PreparedRequest] = []
        self.failures: list[Exception | int | Response] = []
        """What goes wrong with the next requests."""

    @override
    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        self.asked.append(request)
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            if not isinstance(failure, int):
                return _as_response(request, failure)
            return _as_response(request, {"statusCode": failure, "body": '{"detail": "made up"}'})
        try:
            return _as_response(request, self._route(request))
        except LifecycleError as error:
            return _as_response(request, problem(error))

    def _route(self, request: requests.PreparedRequest) -> Response:
        _, room, *rest = unquote(urlsplit(request.url or "").path).split("/")
        if room == "health":
            return answer(HTTPStatus.OK, Health(status="ok"))
        if room == "approvals" or (room == "commands" and request.method == "POST"):
            return self._as_somebody(request, room, rest)
        if room == "commands":
            return answer(HTTPStatus.OK, status_answer(rest[0], self._entrance.lookup.status_of("/".join(rest))))
        parts = urlsplit(request.url or "")
        event = {
            "rawPath": parts.path,
            "headers": {str(name): str(value) for name, value in request.headers.items()},
            "requestContext": {"domainName": parts.netloc, "http": {"method": request.method}},
            "pathParameters": dict(zip(("source", "key"), rest, strict=False)),
            "body": base64.b64encode(request.body if isinstance(request.body, bytes) else b"").decode(),
            "isBase64Encoded": True,
        }
        if room == "chat":
            return self._chat.respond(rest[0], HttpRequest.of(event))
        return answer(*delivery_answer(self._entrance.intake.accept(HttpRequest.of(event))))

    def _as_somebody(self, request: requests.PreparedRequest, room: str, rest: list[str]) -> Response:
        caller = caller_of(request)
        if caller is None:
            return {"statusCode": 403, "headers": {}, "body": '{"message": "Forbidden"}'}
        named = "intent_id" if room == "commands" else "hash"
        path = "/".join([room, *(f"{{{named}}}" if number == 0 else word for number, word in enumerate(rest))])
        event = {
            "routeKey": f"{request.method} /{path}",
            "requestContext": {"authorizer": {"iam": {"userArn": caller}}},
            "pathParameters": {named: rest[0]} if rest else {},
            "body": base64.b64encode(request.body if isinstance(request.body, bytes) else b"").decode(),
            "isBase64Encoded": True,
        }
        status, body = self._operating().answer(HttpRequest.of(event))
        return answer(status, body)

    @override
    def close(self) -> None:
        """Nothing is held open."""


def caller_of(request: requests.PreparedRequest) -> str | None:
    """Who signed a request, by AWS's own rules (Signature Version 4); `None` if nobody known did."""
    given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([a-z0-9-]+)/execute-api/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        str(request.headers.get("authorization", "")),
    )
    if given is None or given[1] not in KEYS:
        return None
    secret, arn = KEYS[given[1]]
    parts = urlsplit(request.url or "")
    headers = {str(name).lower(): str(value) for name, value in request.headers.items()} | {"host": parts.netloc}
    names = given[4].split(";")
    assert {"host", "x-amz-date"} <= set(names)
    body = request.body if isinstance(request.body, bytes) else b""
    asked = "\n".join(
        (
            *(str(request.method), quote(parts.path, safe="/~"), parts.query),
            *(f"{name}:{headers[name]}" for name in names),
            *("", given[4], hashlib.sha256(body).hexdigest()),
        )
    )
    scope = f"{given[2]}/{given[3]}/execute-api/aws4_request"
    said = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for word in (*scope.split("/"), said):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return arn if hmac.compare_digest(key.hex(), given[5]) and given[3] == REGION else None


def _as_response(request: requests.PreparedRequest, told: Response) -> requests.Response:
    response = requests.Response()
    response.status_code = int(str(told["statusCode"]))
    response._content = str(told["body"]).encode()
    headers = told.get("headers")
    response.headers.update(headers if isinstance(headers, dict) else {})
    response.url = request.url or ""
    response.request = request
    return response


@dataclass
class MemoryStack:
    """A stack in memory, as the commands see one."""

    entrance: Entrance
    name: str = PREFIX
    missing: bool = False
    told: dict[str, str] = field(default_factory=dict)
    who: str = "ada"
    """Whose AWS credentials are used."""

    def __post_init__(self) -> None:
        clock = self.entrance.clock
        self.dead = {name: MemoryQueue(clock) for name in ("commands", "purge", "bulk", "events", "sweeps")}
        self.origins = {"commands": self.entrance.ordinary, "purge": self.entrance.permanent}
        self.origins |= {name: MemoryQueue(clock) for name in ("bulk", "events", "sweeps")}
        self.table: VersionedTable = MemoryTable()
        self.kept: Objects = MemoryObjects()
        self.evidence = MemoryObjects()
        self.segments = MemoryObjects()
        # As in a stack: one table for the ledger, the pace and the sweeps.
        self.entrance.ledger = Ledger(self.table, LedgerTerms(timedelta(seconds=90), timedelta(days=400), 6), clock)
        self.put: list[Mapping[str, str]] = []
        self.given = {
            "SweepMode": "report",
            "RatePerMinute": "100",
            "MinimumArchiveDays": "30",
            "IncomingDetailTypes": "project.closed",
            "EventSenderAccountIds": "",
            "PartnerBus": "",
        }
        self.ages: dict[str, float] = {}
        self.waits = 0
        self.ringing: list[Alarm] = []
        self.logged: dict[str, list[LogLine]] = {}
        self.doomed: dict[str, datetime] = {}
        self.at_once = 1000
        self.refused = 0
        self.entrance.secrets.texts[f"{PREFIX}/tokens/{ORG}"] = DEFAULT_TOKEN
        proofs = {"slack": SHARED, "teams": TEAMS_KEY, "google": GOOGLE_ACCOUNT}
        self.entrance.secrets.texts |= {f"{PREFIX}/chat/{tool}": proof for tool, proof in proofs.items()}
        queues = ("CommandsQueueUrl", "CommandsDeadLetterQueueUrl", "PurgeQueueUrl", "PurgeDeadLetterQueueUrl")
        self.told = {
            "ApiUrl": API_URL,
            "SecretPrefix": PREFIX,
            "OrganizationIds": ORG,
            "TallyfyBaseUrl": TALLYFY_URL,
            "LedgerTableName": "ledger",
            **dict.fromkeys(queues, "https://queue.test"),
        }

    def outputs(self) -> Mapping[str, str]:
        if self.missing:
            raise CliError(f"There is no stack '{self.name}'.", Exit.UNREACHABLE)
        return self.told

    def secrets(self) -> MemorySecrets:
        return self.entrance.secrets

    def pairs(self) -> list[Pair]:
        # Asked again each time: a test may have put another queue in the place of one.
        origins = {**self.origins, "commands": self.entrance.ordinary, "purge": self.entrance.permanent}
        return [Pair(name, self.dead[name], origins[name]) for name in self.dead]

    def parameters(self) -> Mapping[str, str]:
        return self.given

    def secrets_to_be_deleted(self) -> Mapping[str, datetime]:
        return self.doomed

    def concurrency(self) -> int:
        return self.at_once

    def queue_ages(self) -> Mapping[str, float]:
        return self.ages

    def asked_to_wait(self) -> int:
        return self.waits

    def alarms(self) -> list[Alarm]:
        return self.ringing

    def invoke(self, function: str, event: Mapping[str, object]) -> object:
        assert function == "ChatFunction"
        return json.loads(str(chat_of(self.entrance).respond("google", HttpRequest.of(event))["body"]))

    def put_events(self, entries: Sequence[Mapping[str, str]]) -> int:
        self.put += entries
        return self.refused

    def ledger(self) -> Ledger:
        return self.entrance.ledger

    def holds(self) -> HoldStore:
        return HoldStore(self.table, self.entrance.clock)

    def log_lines(self, function: str, begin: datetime, pattern: str) -> Iterator[LogLine]:
        wanted = re.fullmatch(r'\{ \$\.message = "(\w+)" \}', pattern)
        begin = begin.replace(microsecond=begin.microsecond // 1000 * 1000)  # as CloudWatch Logs searches
        lines = [one for one in self.logged.get(function, []) if one.at >= begin]
        return iter([one for one in lines if wanted is None or one.text("message") == wanted[1]])

    def tap(self, name: str) -> EventTap:
        raise AssertionError("nothing in memory can hear events")

    def caller(self) -> str:
        return ARNS.get(self.who, OPERATOR)

    def identity(self) -> Identity:
        if self.who not in ARNS:
            raise NoCredentialsError
        return Identity(ReadOnlyCredentials(f"AKIA{self.who}", f"secret of {self.who}", None), REGION)

    def rows(self) -> VersionedTable:
        return self.table

    def objects(self) -> Objects:
        return self.kept

    def exports(self) -> MemoryObjects:
        return self.evidence

    def audit(self) -> MemoryObjects:
        return self.segments

    def pacing(self) -> Pacing:
        return Pacing(self.table, Rate(60, 1), self.entrance.clock)

    def sweep(self, sweep_id: str, org_id: str) -> Progress | None:
        return progress(self.table, sweep_id, org_id)

    def intent(self, intent_id: str) -> IntentRow | None:
        return self.entrance.ledger.find(intent_id)


@dataclass
class FakeFootprint:
    """What a stack is in an account, in memory. ``refusals`` has what AWS refuses to remove, each with the reason."""

    found: list[FoundStack] = field(default_factory=lambda: [FoundStack("arn:stack", "UPDATE_COMPLETE")])
    pieces: list[Remnant] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    unreadable: str = ""
    cut_off_after: int | None = None
    removed: list[str] = field(default_factory=list)

    def stacks(self) -> list[FoundStack]:
        return self.found

    def parts(self) -> Mapping[str, Callable[[], list[Remnant]]]:
        def refuse() -> list[Remnant]:
            raise CliError("AWS refused ListRules: AccessDenied.", Exit.UNREACHABLE)

        return {"all": lambda: list(self.pieces)} | ({self.unreadable: refuse} if self.unreadable else {})

    def remove(self, one: Remnant) -> None:
        if self.cut_off_after == len(self.removed):
            raise KeyboardInterrupt
        if one.name in self.refusals:
            raise CliError(self.refusals[one.name])
        self.removed.append(one.name)
        self.pieces.remove(one)
        if one.piece is Piece.STACK:
            self.found = [FoundStack("arn:stack", "DELETE_COMPLETE")]


class CliHarness:
    """What an operator types, and what is behind it."""

    def __init__(self) -> None:
        self.clock = Clock(NOW)
        self.entrance = Entrance(self.clock, frozenset({ORG}), (CONFIG / "sources.toml").read_text())
        self.stack = MemoryStack(self.entrance)
        self.front = Front(self.entrance, self.operating)
        self.people = PEOPLE
        self.simulator = Simulator(clock=self.clock, send=self._delivered)
        self.connected: list[tuple[str, str | None]] = []
        self.footprint = FakeFootprint()
        self.while_waiting: Callable[[], None] = lambda: None
        """What happens each time a command waits."""

    def run(self, *words: str, typed: str = "", env: Mapping[str, str] | None = None) -> Result:
        """Type a command. The environment names nothing but what is given."""
        world = Outside(
            connect=self._connect,
            session=self._session,
            clock=self.clock,
            sleep=self._sleep,
            footprint=lambda name, region: self.footprint,
        )
        clean = dict.fromkeys(
            (
                "LIFECYCLE_SECRET",
                "LIFECYCLE_STACK",
                "LIFECYCLE_API_URL",
                "LIFECYCLE_ORG",
                "AWS_REGION",
                "LIFECYCLE_TALLYFY_TOKEN",
            )
        )
        runner = CliRunner(env={**clean, "COLUMNS": "200", "TERM": "dumb", **(env or {})})
        return runner.invoke(app, list(words), obj=world, input=typed)

    def operating(self) -> Operating:
        """The operator function, over what the stack holds now."""
        origins = {pair.name: pair.origin for pair in self.stack.pairs()}
        metrics = self.entrance.metrics
        org_ids = frozenset({ORG})
        return Operating(
            people=People.parse(self.people),
            approving=ApprovalService(
                approvals=self.approvals(),
                ledger=self.entrance.ledger,
                keep_reasons=StopSignals(self.entrance.rows, HoldStore(self.entrance.rows, self.clock)),
                purge=origins["purge"],
                sweeps=origins["sweeps"],
                org_ids=org_ids,
                metrics=metrics,
                clock=self.clock,
            ),
            undoing=UndoService(
                ledger=self.entrance.ledger,
                commands=origins["commands"],
                org_ids=org_ids,
                id_key=lambda: ID_KEY,
                metrics=metrics,
                clock=self.clock,
            ),
        )

    def approvals(self) -> ApprovalStore:
        """The requests for approval that the stack holds."""
        return ApprovalStore(self.stack.table, timedelta(days=400), self.clock)

    def move_to(self, night: SweepRun) -> None:
        """Stand before a stack whose sweeps really work: its rows, plans, queue and Tallyfy."""
        self.stand_before(night.world)
        self.stack.kept = night.objects
        self.stack.origins["sweeps"] = night.queue

    def stand_before(self, world: World) -> None:
        """Stand before a stack whose workers really work: its clock, rows, queues and Tallyfy."""
        self.clock, self.simulator = world.clock, world.simulator
        self.stack.table = world.rows
        self.stack.origins["sweeps"] = world.sweeps_queue
        self.stack.dead["sweeps"] = world.dead_letters
        self.entrance.ordinary, self.entrance.permanent = world.queue, world.purge_queue
        self.entrance.clock, self.entrance.ledger = world.clock, world.ledger
        vars(self.entrance).pop("lookup", None)  # Made with the ledger that was there before.

    def work(self, status: Status = Status.DONE, code: Code = Code.ACTED, reason: str = "It is so.") -> None:
        """Be the worker: carry everything that waits to this end."""
        for queue in (self.entrance.ordinary, self.entrance.permanent):
            for message in queue.receive():
                command = Command.model_validate_json(message.body)
                claim = self.entrance.ledger.claim(command, redrive=message.redrive)
                if isinstance(claim, Claim):
                    self._conclude(claim, Outcome(status, code, reason))
                queue.delete(message)

    def end(self, command: Command, status: Status, reason: str = "It is so.") -> None:
        """Be the worker: carry one command to this end."""
        claim = self.entrance.ledger.claim(command, redrive=0)
        assert isinstance(claim, Claim)
        self._conclude(claim, Outcome(status, Code.ACTED, reason))

    def dead_letter(
        self, command: Command, code: Code = Code.ATTEMPTS_EXHAUSTED, *, queue: str = "commands", redrive: int = 0
    ) -> None:
        """Let a command end as a dead letter, in the ledger and in the queue."""
        claim = self.entrance.ledger.claim(command, redrive=redrive)
        assert isinstance(claim, Claim)
        self._conclude(claim, Outcome(Status.DEAD_LETTERED, code, "6 attempts failed."))
        letter = {"code": code.value, "reason": "6 attempts failed.", "attempts": "6", "intent_id": command.intent_id}
        stamp = {"redrive": str(redrive), "failed_at": self.clock().isoformat()}
        self.stack.dead[queue].send(command.to_json(), {**letter, **stamp})

    def dead_payload(self, source: str = "hubspot", payload: str = '[{"eventId": 1}]', **more: object) -> None:
        """Put a payload into the dead-letter queue that its source sent in vain."""
        told = {"code": "untranslatable", "reason": f"Source '{source}': commands[no. 1].find.tag finds no text."}
        kept = {"source": source, "delivery": "delivery-1", "received_at": self.clock().isoformat(), "payload": payload}
        body = json.dumps({**kept, **more})
        self.stack.dead["commands"].send(body, {**told, "redrive": "0", "failed_at": self.clock().isoformat()})

    def dead_poison(self, body: str = '{"no": "command"}') -> None:
        """Put an unreadable message into the dead-letter queue."""
        told = {"code": "poison", "reason": "The message is no command.", "redrive": "0"}
        self.stack.dead["commands"].send(body, told)

    def _conclude(self, claim: Claim, end: Outcome) -> None:
        ended = self.entrance.ledger.conclude(claim, end)
        for debt in ended.intent.pending:
            ended = self.entrance.ledger.mark_delivered(ended, debt)

    def _delivered(self, url: str, body: bytes) -> int | None:
        """Be the way from Tallyfy to the stack: what is sent to the stack's own URL arrives there."""
        headers = {"Content-Type": "application/json"}
        return self._session().post(url, body, headers=headers).status_code if url.startswith(API_URL) else None

    def _connect(self, name: str, region: str | None) -> MemoryStack:
        self.connected.append((name, region))
        return self.stack

    def _session(self) -> requests.Session:
        session = pooled_session()
        session.mount(API_URL, self.front)
        session.mount(TALLYFY_URL, SimulatorTransport(self.simulator))
        return session

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        self.while_waiting()


def sent(queue: MemoryQueue) -> list[dict[str, object]]:
    """The commands that lie in a queue."""
    return [json.loads(entry.message.body) for entry in queue.entries.values()]


__all__ = ["API_URL", "OPERATOR", "ORG", "SHARED", "WHSEC", "CliHarness", "Front", "MemoryStack", "sent"]
