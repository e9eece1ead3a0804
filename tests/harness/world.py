"""A small world around the real worker: simulated Tallyfy, memory adapters, one clock, and processes that can die.

A `World` is everything that persists: Tallyfy, rows, queues and the bus. A `Process` is one Lambda environment in
it. Its `FaultInjector` makes it die (or AWS fail) just before or after one of its steps; a dead process does no more.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import requests

from lifecycle.api.operator_routes import Operating
from lifecycle.approvals.people import People
from lifecycle.approvals.service import ApprovalService
from lifecycle.approvals.store import ApprovalStore
from lifecycle.audit.store import AuditStore
from lifecycle.aws.dynamodb import MemoryTable
from lifecycle.aws.eventbridge import MemoryBus
from lifecycle.aws.metrics import MemoryMetrics
from lifecycle.aws.s3 import MemoryObjects, Objects
from lifecycle.aws.scheduler import MemorySchedules
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import Later, MemoryQueue
from lifecycle.deletion.exporter import Export
from lifecycle.deletion.safeguards import Safeguards
from lifecycle.domain.capabilities import PERMANENT, TABLE, Action, Capability, Resource, State
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Retryable
from lifecycle.domain.intent import OPEN, IntentRow
from lifecycle.domain.intent_ids import intent_id
from lifecycle.execution.announcement_batch import AnnouncementBatch
from lifecycle.execution.command_executor import CommandExecutor, Rights, WorkerLimits
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.paced_tallyfy import PacedTallyfy
from lifecycle.execution.read_ahead import ReadAhead
from lifecycle.execution.reply_channel import MemoryReplies
from lifecycle.execution.stop_signals import StopSignals
from lifecycle.execution.target_search import TargetSearch
from lifecycle.execution.undo import UndoService
from lifecycle.execution.worker import Worker
from lifecycle.holds.store import HoldStore
from lifecycle.intake.sources import Sources
from lifecycle.pacing.batch_budget import Budget
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Lane, Rate
from lifecycle.policy.policy import Policy
from lifecycle.tallyfy.client import HttpTallyfy, Tokens
from lifecycle.tallyfy.export_reader import HttpRecords
from sandbox.simulator import DEFAULT_TOKEN, LoggedCall, Quirks, Seed, SeedMember, SeedOrganization, Simulator
from sandbox.simulator.world import Run, Tag, Task, Template
from tests.harness.builders import ID_KEY, NOW, ORG, PREFIX, SOURCES, Clock
from tests.harness.fault_injection import (
    URL,
    Crash,
    FaultInjector,
    FragileBus,
    FragileObjects,
    FragileQueue,
    FragileRows,
    FragileSchedules,
    WatchedTransport,
    _intent_of,
)

EVERYTHING = frozenset(TABLE)
VISIBILITY = 360
LEASE = 90
TIMEOUT = 60


TERMS = LedgerTerms(lease=timedelta(seconds=LEASE), keep=timedelta(days=400), most_attempts=6)


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
DECLARED_SOURCES = Sources.parse(SOURCES)


@dataclass
class World:
    """Everything that outlives a process."""

    clock: Clock = field(default_factory=lambda: Clock(NOW))
    quirks: Quirks = field(default_factory=Quirks)
    rate: Rate = field(default_factory=lambda: Rate(6000, 600))
    retry_base: float = 30.0
    roll: Callable[[], float] = lambda: 0.5
    policy: Policy | None = None
    """What workers read of it: hold tags, and what may be done by a plan."""
    rows: MemoryTable = field(default_factory=MemoryTable)
    bus: MemoryBus = field(default_factory=MemoryBus)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    replies: MemoryReplies = field(default_factory=MemoryReplies)
    people: People = field(default_factory=lambda: People.parse(PEOPLE))
    objects: Objects = field(default_factory=MemoryObjects)
    """Where exports are kept."""
    schedules: MemorySchedules = field(default_factory=MemorySchedules)
    """The schedules that return messages to the purge queue, see ``PurgeRun.advance``."""
    before_write: Callable[[str], None] = lambda _: None
    """Called with each call that would change something, before Tallyfy receives it."""

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
        self.holds = HoldStore(self.rows, self.clock)
        self.approvals = ApprovalStore(self.rows, TERMS.keep, self.clock)
        self.pacing = Pacing(self.rows, self.rate, self.clock)
        self.effects: defaultdict[str, list[LoggedCall]] = defaultdict(list)
        """The effects in Tallyfy by intent."""
        self._seen = 0
        self._abandoned: list[tuple[str, str]] = []

    # --- things -------------------------------------------------------------------------------------------------------

    def add(self, resource: Resource, thing_id: str, *, archived_days: int | None = None, **more: object) -> str:
        """Add a thing to Tallyfy, active or archived this many days ago."""
        organization = self.simulator.organization
        created = self.clock() - timedelta(days=900)
        archived = None if archived_days is None else self.clock() - timedelta(days=archived_days)
        match resource:
            case Resource.RUN:
                run = Run(thing_id, str(more.get("name", f"Process {thing_id[:4]}")), created, created)
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
        """Return the state of a thing in Tallyfy."""
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
        """What the ledger says of an intent that it knows, with what the batch that announced it says."""
        row = self.ledger.find(intent)
        assert row is not None, f"The ledger has no row of {intent}"
        batch = AnnouncementBatch(self.rows, TERMS.keep, self.clock)
        return replace(row, pending=()) if batch.has_announced(row.announced_in, intent) else row

    def announced(self, intent: str) -> list[str]:
        """The statuses under which an intent was announced."""
        return [str(detail["status"]) for _, detail in self.bus.announced if detail.get("intent_id") == intent]

    def letters(self, intent: str) -> list[Mapping[str, str]]:
        """Return the attributes of an intent's dead letters."""
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
        """Attribute new effects to the intents that caused them. A call whose caller gave up takes effect later."""
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

    def purge(self, fuse: FaultInjector | None = None) -> "Process":
        """Return a fresh environment of the purge function, with every safeguard of a delete."""
        return Process(self, PERMANENT, guarded=True, fuse=fuse)

    def operating(self, fuse: FaultInjector | None = None) -> Operating:
        """A fresh environment of the operator function."""
        fuse = fuse or FaultInjector()
        rows = FragileRows(self.rows, fuse)
        return Operating(
            people=self.people,
            approving=ApprovalService(
                approvals=ApprovalStore(rows, TERMS.keep, self.clock),
                ledger=Ledger(rows, TERMS, self.clock),
                keep_reasons=StopSignals(rows, HoldStore(rows, self.clock)),
                purge=FragileQueue(self.purge_queue, fuse),
                sweeps=FragileQueue(self.sweeps_queue, fuse),
                org_ids=frozenset({ORG}),
                metrics=self.metrics,
                clock=self.clock,
            ),
            undoing=UndoService(
                ledger=Ledger(rows, TERMS, self.clock),
                commands=FragileQueue(self.queue, fuse),
                org_ids=frozenset({ORG}),
                id_key=lambda: ID_KEY,
                metrics=self.metrics,
                clock=self.clock,
            ),
        )

    @property
    def depth(self) -> tuple[int, int]:
        """Return the number of messages in the queue and in its dead-letter queue."""
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
        raise AssertionError(f"The queue is not empty after {most} rounds")


class Process:
    """One worker over a world. After a crash make a new one."""

    def __init__(
        self,
        world: World,
        capabilities: frozenset[Capability] = EVERYTHING,
        lane: Lane = Lane.PEOPLE,
        *,
        guarded: bool = False,
        fuse: FaultInjector | None = None,
    ) -> None:
        self.world = world
        self.fuse = fuse or FaultInjector()
        self.queue = world.purge_queue if guarded else world.queue
        self._started = world.clock()
        rows = FragileRows(world.rows, self.fuse)
        self.transport = WatchedTransport(world, self.fuse)
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", self.transport)
        batch = AnnouncementBatch(rows, TERMS.keep, world.clock)
        read_ahead = ReadAhead(rows)
        ledger = Ledger(read_ahead, TERMS, world.clock, batch)
        self.budget = Budget(Pacing(rows, world.rate, world.clock, lane, world.metrics))
        tallyfy = HttpTallyfy(
            session,
            URL,
            Tokens(world.secrets, PREFIX, frozenset({ORG})),
            capabilities=capabilities,
            spend=self.budget.spend,
            time_left=self._time_left,
        )
        paced = PacedTallyfy(tallyfy, self.budget)
        limits = WorkerLimits(
            retry_base=world.retry_base,
            minimum_archive_age=timedelta(days=30),
            patience=timedelta(days=3.5),
        )
        executor = CommandExecutor(
            ledger=ledger,
            stop_signals=StopSignals(rows, HoldStore(rows, world.clock)),
            tallyfy=paced,
            rights=Rights(
                of_source=DECLARED_SOURCES.allow,
                by_plan=frozenset(rule.capability for rule in world.policy.acting) if world.policy else frozenset(),
            ),
            limits=limits,
            clock=world.clock,
            roll=world.roll,
            hold_tags=(world.policy.hold_tags if world.policy else None) or frozenset(),
            safeguards=self._safeguards(HttpRecords(tallyfy, session, time_left=self._time_left)) if guarded else None,
        )
        self.worker = Worker(
            ledger=ledger,
            read_ahead=read_ahead,
            executor=executor,
            search=TargetSearch(ledger=ledger, tallyfy=paced, retry_base=limits.retry_base, roll=world.roll),
            budget=self.budget,
            queue=FragileQueue(self.queue, self.fuse),
            outcomes=Outcomes(
                ledger=ledger,
                dead_letters=FragileQueue(world.dead_letters, self.fuse),
                bus=FragileBus(world.bus, self.fuse),
                metrics=world.metrics,
                clock=world.clock,
                replies=world.replies,
                batch=batch,
            ),
            metrics=world.metrics,
            capabilities=capabilities,
            limits=limits,
            clock=world.clock,
            roll=world.roll,
        )

    def _time_left(self) -> float:
        return TIMEOUT - (self.world.clock() - self._started).total_seconds()

    def _safeguards(self, records: HttpRecords) -> Safeguards:
        world = self.world
        return Safeguards(
            approvals=ApprovalStore(FragileRows(world.rows, self.fuse), TERMS.keep, world.clock),
            people=world.people,
            export=Export(records=records, objects=FragileObjects(world.objects, self.fuse), clock=world.clock),
            trail=AuditStore(FragileRows(world.rows, self.fuse)),
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
            with self.worker.for_batch(messages):
                for message in messages:
                    self.transport.intent = _intent_of(message)
                    try:
                        self.worker.handle(message)
                    except (Later, Retryable):
                        continue  # A failed item stays hidden until its visibility timeout ends.
                    finished.append(message)
                back = {message.receipt for message in self.worker.finish()}
                finished = [message for message in finished if message.receipt not in back]
        except Crash:
            return 0
        except Retryable:
            return 0  # The whole invocation failed, for example because unused pace tokens could not be returned.
        for message in finished:
            self.queue.delete(message)
        return len(finished)


def is_open(row: IntentRow) -> bool:
    """Whether an intent has not ended."""
    return row.status in OPEN
