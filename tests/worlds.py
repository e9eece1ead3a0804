"""A small world around the real worker: simulated Tallyfy, memory adapters, one clock, and processes that can die.

A `World` is what lasts: Tallyfy, the rows, the queues, the bus. A `Process` is one Lambda environment at work in
it. Its `Fuse` makes it die (or AWS fail) just before or just after one of its steps; a dead process does nothing more.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, override

import requests
from requests.adapters import BaseAdapter

from lifecycle.api.operator_routes import Operating
from lifecycle.approvals.people import People
from lifecycle.approvals.rules import Request as Wanted
from lifecycle.approvals.service import Approving
from lifecycle.approvals.store import Approvals
from lifecycle.audit.store import Trail
from lifecycle.aws.api_gateway import Request
from lifecycle.aws.dynamodb import Change, Key, MemoryRows, Row, Rows
from lifecycle.aws.eventbridge import Bus, Detail, MemoryBus
from lifecycle.aws.metrics import MemorySignals
from lifecycle.aws.s3 import MemoryObjects, Objects
from lifecycle.aws.scheduler import MemorySchedules, Schedules
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import Later, MemoryQueue, Message, Queue
from lifecycle.chat.slack.replies import MemoryReplies
from lifecycle.deletion.exporter import Export
from lifecycle.deletion.safeguards import Safeguards
from lifecycle.domain.capabilities import ORDINARY, PERMANENT, TABLE, Action, Capability, Resource, State
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.intent import OPEN, IntentRow
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.ledger import Ledger, Terms
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.undo import Undoing
from lifecycle.execution.wakeup_check import Waking
from lifecycle.execution.wakeups import Wakeups
from lifecycle.execution.worker import Limits, Worker
from lifecycle.intake.sources import Sources
from lifecycle.pacing.batch_budget import Budget
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Lane, Rate
from lifecycle.plans.builder import key_of
from lifecycle.plans.plan_file import Entry, Plan, entries
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.sweep.digest import Digest
from lifecycle.sweep.preflight import Preflight
from lifecycle.sweep.service import Sweep
from lifecycle.tallyfy.client import HttpTallyfy, Tallyfy, Tokens
from lifecycle.tallyfy.export_reader import HttpRecords
from sandbox.simulator import DEFAULT_TOKEN, LoggedCall, Quirks, Seed, SeedMember, SeedOrganization, Simulator
from sandbox.simulator.transport import SimulatorTransport
from sandbox.simulator.world import Run, Tag, Task, Template
from tests.builders import ID_KEY, NOW, ORG, PREFIX, SOURCES, Clock

type When = Literal["before", "after"]
type Harm = Literal["crash", "outage"]
type Press = Literal["approve", "reject", "withdraw"]

URL = "https://tallyfy.test/api"
EVERYTHING = frozenset(TABLE)
VISIBILITY = 360
LEASE = 90
TIMEOUT = 60

POINTS = ("pace", "claim", "look", "mark", "act", "release", "conclude", "end", "bury", "settle", "announce", "hide")
"""The steps at which a process can fail. `conclude` records an end under a claim, `end` one without."""
AWS_POINTS = tuple(point for point in POINTS if point not in {"look", "act"})

ANY_WRITE = "any write"
"""Every step of a process that leaves something behind."""
ANY_STEP = "any step"
_READS = frozenset({"read", "look", "fetch"})

PEOPLE = f"""
[roles.Operators]
session_name_fixed = true

[people.ada]
slack = "T012ABCDE/U034FGHIJ"
iam = "arn:aws:iam::123456789012:user/ada"
may = ["run.archive", "run.restore", "task.archive", "task.restore", "template.restore"]
approves = ["run.delete", "task.delete", "template.delete", "template.archive", "tag.delete"]

[people.bob]
iam = "arn:aws:sts::123456789012:assumed-role/Operators/bob"
may = ["run.archive", "run.restore"]
approves = ["run.delete", "task.delete", "template.delete", "template.archive", "tag.delete"]

[people.cleo]
slack = "T012ABCDE/U034FGHIK"
approves = ["run.delete", "task.delete", "template.delete", "template.archive", "tag.delete"]
organization = "{ORG}"

[people.dan]
iam = "arn:aws:iam::123456789012:user/dan"
may = ["run.archive"]
approves = ["tag.delete"]

[people.eve]
iam = "arn:aws:iam::123456789012:user/eve"
may = ["run.archive", "run.restore"]
approves = ["run.delete", "task.delete", "template.delete", "template.archive", "tag.delete"]
organization = "{"e0" * 16}"
"""
"""Ada asks, and may approve what others ask for, as Bob may. Cleo is known by Slack alone, Dan answers for tags only,
Eve belongs to another organization."""

_SOURCES = Sources.parse(SOURCES)


class Crash(BaseException):
    """The process is gone. No `except Exception` may notice."""


@dataclass(slots=True)
class Fuse:
    """Burns through at one step of a process."""

    point: str = ""
    when: When = "before"
    harm: Harm = "crash"
    skip: int = 0
    """So many passes are survived."""
    dead: bool = False
    blown: bool = False
    taken: list[str] = field(default_factory=list)
    """Every step so far."""
    before_step: Callable[[str], None] = lambda _: None
    """Called before each step: what others do meanwhile."""

    @contextmanager
    def step(self, point: str) -> Iterator[None]:
        """Around one step."""
        if self.dead:
            raise Crash
        self.before_step(point)
        self.taken.append(point)
        armed = self._is_meant(point) and not self.blown
        if armed and self.skip:
            self.skip -= 1
            armed = False
        if armed and self.when == "before":
            self._blow(point)
        yield
        if armed and self.when == "after":
            self._blow(point)

    def _is_meant(self, point: str) -> bool:
        return self.point in {point, ANY_STEP} or (self.point == ANY_WRITE and point not in _READS)

    def _blow(self, point: str) -> None:
        self.blown = True
        if self.harm == "crash":
            self.dead = True
            raise Crash
        raise Retryable(Code.UNAVAILABLE, f"AWS failed at '{point}' (made up).")


@dataclass(slots=True)
class FragileRows:
    """Rows whose every write may be the last."""

    rows: Rows
    fuse: Fuse

    def read(self, *keys: Key) -> list[Row | None]:
        with self.fuse.step("read"):
            return self.rows.read(*keys)

    def write(self, *changes: Change) -> None:
        with self.fuse.step(self._point(changes)):
            self.rows.write(*changes)

    def insert(self, change: Change) -> Row | None:
        with self.fuse.step("accept"):
            return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        with self.fuse.step("read"):
            return self.rows.partition(pk)

    def _point(self, changes: tuple[Change, ...]) -> str:
        first = changes[0]
        for kind, point in (("pace#", "pace"), ("approval#", "ask"), ("resource#", "claim"), ("word#", "word")):
            if first.key.pk.startswith(kind):
                return point
        status = (first.values or {}).get("status")
        if len([change for change in changes if not change.key.pk.startswith("audit#")]) > 1:
            return "release" if status == "waiting" else "conclude"
        if status == "in_progress":
            return "mark"
        [before] = self.rows.read(first.key)
        return "settle" if before is not None and before.values.get("status") == status else "end"


@dataclass(slots=True)
class FragileQueue:
    """A queue whose every send may be the last thing done."""

    queue: Queue
    fuse: Fuse

    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
        with self.fuse.step("bury"):
            self.queue.send(body, attributes)

    def send_all(self, bodies: Sequence[str]) -> None:
        for body in bodies:
            self.send(body)

    def hide(self, message: Message, seconds: int) -> None:
        with self.fuse.step("hide"):
            self.queue.hide(message, seconds)

    def receive(self, most: int = 10, *, hidden_for: int = 30) -> list[Message]:
        return self.queue.receive(most, hidden_for=hidden_for)

    def delete(self, message: Message) -> None:
        self.queue.delete(message)

    def depth(self) -> int:
        return self.queue.depth()


@dataclass(slots=True)
class FragileBus:
    """A bus of which every announcement may be the last thing done."""

    bus: Bus
    fuse: Fuse

    def announce(self, detail_type: str, detail: Detail) -> None:
        with self.fuse.step("announce"):
            self.bus.announce(detail_type, detail)


@dataclass(slots=True)
class FragileObjects:
    """Objects of which every one may be the last that is kept."""

    objects: Objects
    fuse: Fuse

    def put(self, key: str, body: bytes, *, kind: str) -> None:
        with self.fuse.step("put"):
            self.objects.put(key, body, kind=kind)

    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        with self.fuse.step("put"):
            self.objects.put_file(key, path, kind=kind)

    def get(self, key: str) -> bytes | None:
        with self.fuse.step("fetch"):
            return self.objects.get(key)

    def fetch(self, key: str, path: Path) -> bool:
        with self.fuse.step("fetch"):
            return self.objects.fetch(key, path)

    def keys(self, prefix: str) -> list[str]:
        with self.fuse.step("fetch"):
            return self.objects.keys(prefix)


@dataclass(slots=True)
class FragileSchedules:
    """Schedules of which every one may be the last that is made."""

    schedules: Schedules
    fuse: Fuse

    def at(self, moment: datetime, name: str, body: str) -> None:
        with self.fuse.step("schedule"):
            self.schedules.at(moment, name, body)


class WatchedTransport(BaseAdapter):
    """Tallyfy as one process reaches it. Every effect is put down to the intent that was being carried out."""

    def __init__(self, world: "World", fuse: Fuse) -> None:
        super().__init__()
        self._world = world
        self._inner = SimulatorTransport(world.simulator)
        self._fuse = fuse
        self.intent = ""
        self.after_look: Callable[[], None] | None = None
        """Called once, when a process has looked and not yet acted: others may come in between."""
        self.on_call: Callable[[], None] = lambda: None
        """Called before every call: for a network that takes time."""

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
        looking = request.method == "GET"
        self.on_call()
        if not looking:
            self._world.before_write(f"{request.method} {request.path_url}")
        with self._fuse.step("look" if looking else "act"):
            try:
                answer = self._inner.send(request, stream, timeout, verify, cert, proxies)
            finally:
                self._world.attribute(self.intent, None if looking else f"{request.method} {request.path_url}")
        if looking and self.after_look is not None:
            meanwhile, self.after_look = self.after_look, None
            meanwhile()
        return answer

    @override
    def close(self) -> None:
        """Nothing is held open."""


@dataclass
class World:
    """What outlives every process."""

    clock: Clock = field(default_factory=lambda: Clock(NOW))
    quirks: Quirks = field(default_factory=Quirks)
    rate: Rate = field(default_factory=lambda: Rate(6000, 600))
    retry_base: float = 30.0
    roll: Callable[[], float] = lambda: 0.5
    policy: Policy | None = None
    """What workers read of it: hold tags, and what may be done by a plan."""
    rows: MemoryRows = field(default_factory=MemoryRows)
    bus: MemoryBus = field(default_factory=MemoryBus)
    signals: MemorySignals = field(default_factory=MemorySignals)
    replies: MemoryReplies = field(default_factory=MemoryReplies)
    people: People = field(default_factory=lambda: People.parse(PEOPLE))
    objects: Objects = field(default_factory=MemoryObjects)
    """Where exports are kept."""
    schedules: MemorySchedules = field(default_factory=MemorySchedules)
    """What comes back to the purge queue by itself, see ``Undertaker.advance``."""
    before_write: Callable[[str], None] = lambda _: None
    """Called with each call that is to change something, before Tallyfy sees it."""

    def __post_init__(self) -> None:
        seed = Seed(
            organizations=[SeedOrganization(id=ORG, members=[SeedMember(token=DEFAULT_TOKEN)])], quirks=self.quirks
        )
        self.simulator = Simulator(seed, clock=self.clock)
        self.queue = MemoryQueue(self.clock)
        self.purge_queue = MemoryQueue(self.clock)
        self.sweeps_queue = MemoryQueue(self.clock)
        self.dead_letters = MemoryQueue(self.clock)
        self.secrets = MemorySecrets({f"{PREFIX}/tokens/{ORG}": DEFAULT_TOKEN})
        self.ledger = Ledger(self.rows, TERMS, self.clock)
        self.approvals = Approvals(self.rows, TERMS.keep, self.clock)
        self.pacing = Pacing(self.rows, self.rate, self.clock)
        self.effects: defaultdict[str, list[LoggedCall]] = defaultdict(list)
        """Which intent changed what in Tallyfy."""
        self._seen = 0
        self._abandoned: list[tuple[str, str]] = []

    # --- things -------------------------------------------------------------------------------------------------------

    def add(self, resource: Resource, thing_id: str, *, archived_days: int | None = None, **more: object) -> str:
        """Put a thing into Tallyfy, archived so many days ago or active."""
        organization = self.simulator.organization
        created = self.clock() - timedelta(days=900)
        archived = None if archived_days is None else self.clock() - timedelta(days=archived_days)
        match resource:
            case Resource.RUN:
                run = Run(thing_id, f"Process {thing_id[:4]}", created, created)
                if archived is not None:
                    run.archive(archived)
                organization.add_run(run)
            case Resource.TASK:
                run_id = str(more["run_id"]) if "run_id" in more else None
                task = Task(thing_id, f"Task {thing_id[:4]}", created, run_id=run_id)
                if archived is not None:
                    task.archive(archived)
                organization.tasks[thing_id] = task
            case Resource.TEMPLATE:
                organization.templates[thing_id] = Template(thing_id, f"Template {thing_id[:4]}", created, created)
                organization.templates[thing_id].archived_at = archived
            case Resource.TAG:
                organization.tags[thing_id] = Tag(thing_id, f"Tag {thing_id[:4]}", created)
        return thing_id

    def state(self, resource: Resource, thing_id: str) -> State:
        """Where a thing is in its life, as Tallyfy itself knows."""
        organization = self.simulator.organization
        if resource is Resource.TAG:
            tag = organization.tags.get(thing_id)
            return State.GONE if tag is None or tag.deleted_at else State.ACTIVE
        shelves: Mapping[Resource, Mapping[str, Run] | Mapping[str, Task] | Mapping[str, Template]] = {
            Resource.RUN: organization.runs,
            Resource.TASK: organization.tasks,
            Resource.TEMPLATE: organization.templates,
        }
        thing = shelves[resource].get(thing_id)
        if thing is None:
            return State.GONE
        return State.ARCHIVED if thing.archived_at else State.ACTIVE

    def writes(self) -> list[LoggedCall]:
        """Every call that was meant to change something."""
        return [call for call in self.simulator.log.calls if call.method != "GET"]

    # --- commands -----------------------------------------------------------------------------------------------------

    def command(self, resource: Resource, thing_id: str, action: Action, delivery: str, **more: object) -> Command:
        """A command as the intake makes it, now."""
        made: dict[str, object] = {
            "action": action,
            "resource": resource,
            "org_id": ORG,
            "id": thing_id,
            "requested_by": "Ada",
            "source": "operator",
            "reason": "It has run its course.",
            "issued_at": self.clock(),
            "not_after": self.clock() + timedelta(days=14),
            "intent_id": intent_id(ID_KEY, "operator", delivery),
        }
        return Command.model_validate({**made, **more})

    def send(self, command: Command) -> str:
        """Accept a command and put it into the queue, as the intake does; its body, for sending copies."""
        self.ledger.accept(command)
        body = command.to_json()
        self.queue.send(body)
        return body

    def intent(self, intent: str) -> IntentRow:
        """What the ledger says of an intent that it knows."""
        row = self.ledger.find(intent)
        assert row is not None, f"the ledger knows nothing of {intent}"
        return row

    def announced(self, intent: str) -> list[str]:
        """The statuses under which an intent was announced."""
        return [str(detail["status"]) for _, detail in self.bus.announced if detail.get("intent_id") == intent]

    def letters(self, intent: str) -> list[Mapping[str, str]]:
        """The dead letters that lie there for an intent, by their attributes."""
        found = [entry.message.attributes for entry in self.dead_letters.entries.values()]
        return [attributes for attributes in found if attributes.get("intent_id") == intent]

    def send_again(self) -> int:
        """The operator sends every dead letter again: receive, send with the next redrive number, delete."""
        sent = 0
        while letters := self.dead_letters.receive(10):
            for letter in letters:
                self.queue.send(letter.body, {"redrive": str(letter.redrive + 1)})
                self.dead_letters.delete(letter)
                sent += 1
        return sent

    def attribute(self, intent: str, acting: str | None) -> None:
        """Put new effects down to who caused them; a call that its caller gave up on takes effect later."""
        log = self.simulator.log.calls
        found, self._seen = log[self._seen :], len(log)
        direct = False
        for call in found:
            late = next((a for a in self._abandoned if a[1] == f"{call.method} {call.path}"), None)
            if (call.fault or "").startswith("delay/before") and late is not None:
                self._abandoned.remove(late)
                owner = late[0]
            else:
                owner = intent
                direct = direct or call.method != "GET"
            if call.acted:
                self.effects[owner].append(call)
        if acting is not None and not direct:
            self._abandoned.append((intent, acting))

    def land(self) -> None:
        """Let every abandoned call whose time has come take effect."""
        self.simulator.settle(only_due=True)
        self.attribute("nobody", None)

    # --- processes ----------------------------------------------------------------------------------------------------

    def process(self, capabilities: frozenset[Capability] = EVERYTHING, lane: Lane = Lane.PEOPLE) -> "Process":
        """A fresh Lambda environment."""
        return Process(self, capabilities, lane)

    def purge(self, fuse: Fuse | None = None) -> "Process":
        """A fresh environment of the purge function, with all that must come before a delete."""
        return Process(self, PERMANENT, guarded=True, fuse=fuse)

    def operating(self, fuse: Fuse | None = None) -> Operating:
        """A fresh environment of the operator function."""
        fuse = fuse or Fuse()
        rows = FragileRows(self.rows, fuse)
        return Operating(
            people=self.people,
            approving=Approving(
                approvals=Approvals(rows, TERMS.keep, self.clock),
                ledger=Ledger(rows, TERMS, self.clock),
                purge=FragileQueue(self.purge_queue, fuse),
                sweeps=FragileQueue(self.sweeps_queue, fuse),
                org_ids=frozenset({ORG}),
                signals=self.signals,
                clock=self.clock,
            ),
            undoing=Undoing(
                ledger=Ledger(rows, TERMS, self.clock),
                commands=FragileQueue(self.queue, fuse),
                org_ids=frozenset({ORG}),
                id_key=lambda: ID_KEY,
                signals=self.signals,
                clock=self.clock,
            ),
        )

    @property
    def depth(self) -> tuple[int, int]:
        """How many messages lie in the queue and in its dead-letter queue."""
        return self.queue.depth(), self.dead_letters.depth()

    def next_visible(self, queue: MemoryQueue | None = None) -> float | None:
        """Seconds until the next message can be received; `None` if there is none at all."""
        times = [entry.visible_at for entry in (queue or self.queue).entries.values()]
        return max(0.0, min(times) - self.clock().timestamp()) if times else None

    def drain(self, process: "Process", *, most: int = 500) -> None:
        """Deliver until the queue is empty, waiting as long as the messages are hidden."""
        for _ in range(most):
            wait = self.next_visible(process.queue)
            if wait is None:
                return
            self.clock.advance(timedelta(seconds=wait))
            process.deliver(10)
        raise AssertionError(f"the queue is not empty after {most} rounds")


TERMS = Terms(lease=timedelta(seconds=LEASE), keep=timedelta(days=400), most_attempts=6)


class Process:
    """One worker over a world. After a crash make a new one."""

    def __init__(
        self,
        world: World,
        capabilities: frozenset[Capability] = EVERYTHING,
        lane: Lane = Lane.PEOPLE,
        *,
        guarded: bool = False,
        fuse: Fuse | None = None,
    ) -> None:
        self.world = world
        self.fuse = fuse or Fuse()
        self.queue = world.purge_queue if guarded else world.queue
        self._started = world.clock()
        rows = FragileRows(world.rows, self.fuse)
        self.transport = WatchedTransport(world, self.fuse)
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", self.transport)
        ledger = Ledger(rows, TERMS, world.clock)
        self.budget = Budget(Pacing(rows, world.rate, world.clock, lane, world.signals))
        tallyfy = HttpTallyfy(
            session,
            URL,
            Tokens(world.secrets, PREFIX, frozenset({ORG})),
            capabilities=capabilities,
            spend=self.budget.spend,
            time_left=self._time_left,
        )
        self.worker = Worker(
            ledger=ledger,
            tallyfy=tallyfy,
            budget=self.budget,
            queue=FragileQueue(self.queue, self.fuse),
            outcomes=Outcomes(
                ledger=ledger,
                dead_letters=FragileQueue(world.dead_letters, self.fuse),
                bus=FragileBus(world.bus, self.fuse),
                signals=world.signals,
                clock=world.clock,
                replies=world.replies,
            ),
            signals=world.signals,
            allowed=_SOURCES.allow,
            capabilities=capabilities,
            limits=Limits(
                retry_base=world.retry_base,
                minimum_archive_age=timedelta(days=30),
                patience=timedelta(days=3.5),
            ),
            clock=world.clock,
            roll=world.roll,
            hold_tags=(world.policy.hold_tags if world.policy else None) or frozenset(),
            by_plan=frozenset(rule.capability for rule in world.policy.acting) if world.policy else frozenset(),
            safeguards=self._safeguards(HttpRecords(tallyfy, session, time_left=self._time_left)) if guarded else None,
        )

    def _time_left(self) -> float:
        return TIMEOUT - (self.world.clock() - self._started).total_seconds()

    def _safeguards(self, records: HttpRecords) -> Safeguards:
        world = self.world
        return Safeguards(
            approvals=Approvals(FragileRows(world.rows, self.fuse), TERMS.keep, world.clock),
            people=world.people,
            export=Export(records=records, objects=FragileObjects(world.objects, self.fuse), clock=world.clock),
            trail=Trail(FragileRows(world.rows, self.fuse)),
            schedules=FragileSchedules(world.schedules, self.fuse),
            bus=FragileBus(world.bus, self.fuse),
            id_key=lambda: ID_KEY,
            clock=world.clock,
        )

    def deliver(self, most: int = 1) -> int:
        """One invocation with up to `most` visible messages, as Lambda does it; how many were finished.

        What is finished is deleted when the invocation ends, and not at all if the process dies before.
        """
        messages = self.queue.receive(most, hidden_for=VISIBILITY)
        if not messages:
            return 0
        self._started = self.world.clock()
        finished = []
        try:
            with self.budget.for_batch(len(messages)):
                for message in messages:
                    self.transport.intent = _intent_of(message)
                    try:
                        self.worker.handle(message)
                    except (Later, Retryable):
                        continue  # a failed item: it stays hidden, and comes back
                    finished.append(message)
        except Crash:
            return 0
        except Retryable:
            return 0  # the whole invocation failed, as when what was left of the pace could not be given back
        for message in finished:
            self.queue.delete(message)
        return len(finished)


@dataclass
class Undertaker:
    """The way of permanent deletes through a world: they are asked for, approved, waited for and carried out.

    Each invocation and each request of a person is a process of its own. ``fuse`` is of the next one; a crash uses it
    up, and whoever pressed a button then presses it again.
    """

    world: World = field(default_factory=World)
    fuse: Fuse = field(default_factory=Fuse)
    fired: set[str] = field(default_factory=set)
    """The names of the schedules that have come."""

    def ask(self, resource: Resource, thing_id: str, **more: object) -> Command:
        """A delete as the intake accepts it, in the queue."""
        self.world.clock.advance(timedelta(seconds=1))
        given = {"not_after": self.world.clock() + timedelta(days=60), **more}
        delivery = str(given.pop("delivery", f"delete-{thing_id}-{self.world.clock()}"))
        command = self.world.command(resource, thing_id, Action.DELETE, delivery, **given)
        self.world.ledger.accept(command)
        self.world.purge_queue.send(command.to_json())
        return command

    def deliver(self) -> int:
        """One invocation."""
        process = self.world.purge(self.fuse)
        finished = process.deliver(10)
        self._burn()
        return finished

    def work(self, *, most: int = 200) -> None:
        """Deliver until the queue is empty, waiting as long as messages are hidden."""
        for _ in range(most):
            wait = self.world.next_visible(self.world.purge_queue)
            if wait is None:
                return
            self.world.clock.advance(timedelta(seconds=wait))
            self.world.land()
            self.deliver()
        raise AssertionError(f"the queue is not empty after {most} rounds")

    def advance(self, by: timedelta) -> None:
        """Let time pass. What was scheduled comes into the queue at its time, and is worked on."""
        end = self.world.clock() + by
        waiting = self.world.schedules.waiting
        while due := sorted((at, name) for name, (at, _) in waiting.items() if at <= end and name not in self.fired):
            at, name = due[0]
            _, body = waiting[name]
            # Its name stays taken for a while: one that is made anew under it may never come.
            self.fired.add(name)
            # EventBridge knows whole seconds only.
            self.world.clock.now = max(at.replace(microsecond=0), self.world.clock())
            self.world.purge_queue.send(body)
            self.work()
        self.world.clock.now = max(end, self.world.clock())

    def wanted(self, command: Command) -> Wanted:
        """What stands to be approved."""
        request = self.world.approvals.newest(command.org_id, command.intent_id)
        assert request is not None, "nobody was asked"
        return request

    def approve(self, command: Command, who: str = "bob") -> Mapping[str, object]:
        """Press on approve until it is taken, and let it be worked on."""
        told = self.press("approve", self.wanted(command).hash, who)
        self.work()
        return told

    def refuse(self, command: Command, who: str = "bob", why: str = "") -> Mapping[str, object]:
        """Press on reject until it is taken, and let it be worked on."""
        told = self.press("reject", self.wanted(command).hash, who, why)
        self.work()
        return told

    def press(
        self, what: Literal["approve", "reject", "withdraw"], name: str, who: str, why: str = ""
    ) -> Mapping[str, object]:
        """What a person does under their own identity. After a crash, and when AWS fails, they do it again."""
        for _ in range(5):
            try:
                return self._pressed(what, name, who, why)
            except (Crash, Retryable):
                continue
            finally:
                self._burn()
        raise AssertionError("it was never taken")

    def _pressed(
        self, what: Literal["approve", "reject", "withdraw"], name: str, who: str, why: str
    ) -> Mapping[str, object]:
        operating = self.world.operating(self.fuse)
        arn = self.world.people.people[who].iam
        if arn is not None:
            return operate(operating, f"POST /approvals/{{hash}}/{what}", arn, {"why": why}, hash=name)[1]
        team, _, user = str(self.world.people.people[who].slack).partition("/")
        found = self.world.people.find(team, user)
        assert found is not None
        approving = operating.approving
        after = approving.approve(name, *found) if what == "approve" else approving.refuse(name, *found, why)
        return {"hash": after.hash}

    def _burn(self) -> None:
        if self.fuse.dead or self.fuse.blown:
            self.fuse = Fuse()

    def deletes(self, thing_id: str) -> list[LoggedCall]:
        """Every call to delete the thing that reached Tallyfy."""
        return [call for call in self.world.writes() if call.id == thing_id and call.action == "delete"]


def operate(
    operating: Operating, route: str, caller: str, body: object = None, **parameters: str
) -> tuple[int, Mapping[str, object]]:
    """A request behind AWS_IAM, from the event on."""
    event = {
        "routeKey": route,
        "requestContext": {"authorizer": {"iam": {"userArn": caller}}},
        "pathParameters": parameters,
        "body": "" if body is None else body if isinstance(body, str) else json.dumps(body),
    }
    status, told = operating.answer(Request.of(event))
    return int(status), told


POLICY = """
zone = "UTC"
[caps]
count = 5000
percent = 100
[[rules]]
name = "completed"
resource = "process"
action = "archive"
[rules.when]
status = ["complete"]
completed_days = 30
"""


@dataclass
class Night:
    """The nightly sweep over a world: its queue, the queues it fills, and invocations that can die after any step."""

    world: World
    mode: Mode = Mode.APPLY
    policy: Policy = field(default_factory=lambda: Policy.parse(POLICY))
    objects: Objects = field(default_factory=MemoryObjects)
    seen_through: Callable[[Tallyfy], Tallyfy] = lambda tallyfy: tallyfy
    """What stands between the sweep and Tallyfy: for lists that no honest server gives."""
    fuse: Fuse = field(default_factory=Fuse)
    """Of the next invocation; a crash uses it up."""

    def __post_init__(self) -> None:
        self.queue = self.world.sweeps_queue
        self.bulk = MemoryQueue(self.world.clock)
        self.purge = MemoryQueue(self.world.clock)
        self.slept: list[float] = []
        self.time_left = 900.0
        self.after_step: Callable[[], None] = lambda: None
        self._handed_on: list[Command] = []

    def sweep(self) -> Sweep:
        """A fresh Lambda environment."""
        world = self.world
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", SimulatorTransport(world.simulator))
        tallyfy = self.seen_through(
            HttpTallyfy(
                session,
                URL,
                Tokens(world.secrets, PREFIX, frozenset({ORG})),
                capabilities=frozenset(),
                spend=lambda _: None,
                time_left=lambda: self.time_left,
            )
        )
        rows, bus = FragileRows(world.rows, self.fuse), FragileBus(world.bus, self.fuse)
        ledger = Ledger(rows, TERMS, world.clock)
        return Sweep(
            rows=rows,
            ledger=ledger,
            tallyfy=tallyfy,
            pacing=Pacing(rows, world.pacing.rate, world.clock, signals=world.signals),
            queue=FragileQueue(self.queue, self.fuse),
            bulk=FragileQueue(self.bulk, self.fuse),
            purge=FragileQueue(self.purge, self.fuse),
            objects=FragileObjects(self.objects, self.fuse),
            bus=bus,
            outcomes=Outcomes(
                ledger=ledger,
                dead_letters=FragileQueue(world.dead_letters, self.fuse),
                bus=bus,
                signals=world.signals,
                clock=world.clock,
            ),
            signals=world.signals,
            preflight=Preflight(
                tallyfy=tallyfy,
                secrets=world.secrets,
                prefix=PREFIX,
                policy=self.policy,
                sources=_SOURCES,
                signals=world.signals,
                bus=bus,
                clock=world.clock,
            ),
            waking=Waking(
                wakeups=Wakeups(rows),
                ledger=ledger,
                ordinary=FragileQueue(self.bulk, self.fuse),
                permanent=FragileQueue(self.purge, self.fuse),
                signals=world.signals,
            ),
            digest=Digest(
                queues={"dead-letters": FragileQueue(world.dead_letters, self.fuse)},
                bus=bus,
                signals=world.signals,
                clock=world.clock,
            ),
            approvals=Approvals(rows, TERMS.keep, world.clock),
            people=world.people,
            policy=self.policy,
            mode=self.mode,
            org_ids=frozenset({ORG}),
            id_key=lambda: ID_KEY,
            retry_base=world.retry_base,
            clock=world.clock,
            sleep=self._sleep,
            time_left=lambda: self.time_left,
            after_step=self.after_step,
        )

    def begin(self, sweep_id: str = "2026-06-01T04:10:00Z") -> None:
        """What the schedule sends."""
        self.queue.send(json.dumps({"sweep_id": sweep_id}))

    def apply(self, plan: str, *, by: str = "ada") -> None:
        """What a person sends who typed the hash of a plan."""
        errand = {"sweep_id": f"apply-{by}-{plan[:12]}", "org_id": ORG, "kind": "apply", "plan": plan}
        self.queue.send(json.dumps({**errand, "requested_by": by}))

    def take_back(self, plan: str, *, by: str = "bob") -> None:
        """What a person sends who undoes a plan."""
        errand = {"sweep_id": f"undo-{by}-{plan[:12]}", "org_id": ORG, "kind": "undo", "plan": plan}
        self.queue.send(json.dumps({**errand, "requested_by": by}))

    def check(self) -> None:
        """What the daily schedule sends, for this organization."""
        errand = {"sweep_id": f"{self.world.clock():%Y-%m-%dT%H:%M:%SZ}", "org_id": ORG, "kind": "check"}
        self.queue.send(json.dumps(errand))

    def deliver(self) -> bool:
        """One invocation with the next visible message; whether it was finished."""
        messages = self.queue.receive(1, hidden_for=5400)
        sweep = self.sweep()
        try:
            for message in messages:
                sweep.handle(message)
                self.queue.delete(message)
        except Crash:
            self.fuse = Fuse()
            return False
        except Later:
            return False
        return bool(messages)

    def work(self) -> None:
        """Let workers carry out what the sweep asked for."""
        self.world.policy = self.policy
        workers = ((self.bulk, self.world.process(ORDINARY)), (self.purge, self.world.purge()))
        for queue, worker in workers:
            for entry in list(queue.entries.values()):
                self._handed_on.append(Command.model_validate_json(entry.message.body))
                worker.queue.send(entry.message.body)
            queue.entries.clear()
            self.world.drain(worker, most=20_000)

    def drain(self, *, most: int = 1000, work: bool = True) -> int:
        """Deliver until the queue is empty, waiting as long as messages are hidden; how many invocations it took."""
        for taken in range(most):
            if not self.queue.entries:
                return taken
            self.turn(work=work)
        raise AssertionError(f"the sweep is not finished after {most} invocations")

    def turn(self, *, work: bool = True) -> bool:
        """Wait for the next message and deliver it, see ``deliver``."""
        wait = min(entry.visible_at for entry in self.queue.entries.values()) - self.world.clock().timestamp()
        self.world.clock.advance(timedelta(seconds=max(0.0, wait)))
        finished = self.deliver()
        if work:
            self.work()
        return finished

    def asked(self) -> list[Command]:
        """Every command that was sent, carried out or still waiting."""
        waiting = [*self.bulk.entries.values(), *self.purge.entries.values()]
        return [*self._handed_on, *(Command.model_validate_json(entry.message.body) for entry in waiting)]

    def plans(self) -> list[Plan]:
        """Every plan that was made, in the order of their clocks."""
        keys = [key for key in self.objects.keys("plans/") if key.endswith("/plan.json")]
        plans = [Plan.model_validate_json(self.objects.get(key) or b"") for key in keys]
        return sorted(plans, key=lambda plan: plan.made_at)

    def entries(self, plan: Plan) -> list[Entry]:
        """What a plan says of each thing."""
        body = self.objects.get(key_of(plan.org_id, plan.hash, "plan.jsonl")) or b""
        return list(entries(body.splitlines()))

    def reports(self) -> list[Detail]:
        """What was announced of finished sweeps."""
        return [detail for name, detail in self.world.bus.announced if name == "lifecycle.sweep.finished"]

    def applications(self) -> list[Detail]:
        """What was announced of plans that people applied."""
        return [detail for name, detail in self.world.bus.announced if name == "lifecycle.plan.applied"]

    def archived(self) -> set[str]:
        """The processes that are archived in Tallyfy."""
        runs = self.world.simulator.organization.runs.values()
        return {run.id for run in runs if run.archived_at is not None}

    def kill_after(self, *steps: int) -> "Steps":
        """Let invocations die after these of their steps, counted over all of them from 1."""
        self.after_step = steps_taken = Steps(frozenset(steps))
        return steps_taken

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.world.clock.advance(timedelta(seconds=seconds))


@dataclass(slots=True)
class Steps:
    """Counts the steps of a sweep and ends the process after some of them."""

    deadly: frozenset[int]
    taken: int = 0

    def __call__(self) -> None:
        self.taken += 1
        if self.taken in self.deadly:
            raise Crash


def _intent_of(message: Message) -> str:
    """Whose turn it is, read without any check."""
    _, _, rest = message.body.partition('"intent_id": "')
    return rest.partition('"')[0]


def is_open(row: IntentRow) -> bool:
    """Whether an intent has not ended."""
    return row.status in OPEN
