"""A nightly sweep of a simulated organization, with the worker that carries out its plan."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import requests

from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.eventbridge import Detail
from lifecycle.aws.s3 import MemoryObjects, Objects
from lifecycle.aws.sqs import Later, MemoryQueue
from lifecycle.domain.capabilities import ORDINARY
from lifecycle.domain.commands import Command
from lifecycle.execution.ledger import Ledger
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.wakeup_check import WakeupService
from lifecycle.execution.wakeups import Wakeups
from lifecycle.holds.store import HoldStore
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.plans.application import Application, ApplicationStore, PlanPart
from lifecycle.plans.plan_file import LINES, Entry, Plan, entries
from lifecycle.plans.plan_store import PlanStore, key_of
from lifecycle.plans.warning_marks import SentWarnings
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.sweep.assembly import SweepParts, assemble
from lifecycle.sweep.daily_news import DailyNews
from lifecycle.sweep.digest import Digest
from lifecycle.sweep.preflight import Preflight
from lifecycle.sweep.service import SweepService
from lifecycle.sweep.state import SweepState
from lifecycle.sweep.warn_job import WarningDeliveries
from lifecycle.tallyfy.client import HttpTallyfy, Tallyfy, Tokens
from lifecycle.tallyfy.directory import TallyfyDirectory
from sandbox.simulator.transport import SimulatorTransport
from tests.harness.builders import ID_KEY, ORG, PREFIX
from tests.harness.fault_injection import (
    URL,
    Crash,
    FaultInjector,
    FragileBus,
    FragileObjects,
    FragileQueue,
    FragileRows,
)
from tests.harness.warnings import FakeWarner
from tests.harness.world import DECLARED_SOURCES, TERMS, World

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
class SweepRun:
    """The nightly sweep over a world: its queue, the queues it fills, and invocations that can die after any step."""

    world: World
    mode: Mode = Mode.APPLY
    policy: Policy = field(default_factory=lambda: Policy.parse(POLICY))
    objects: Objects = field(default_factory=MemoryObjects)
    seen_through: Callable[[Tallyfy], Tallyfy] = lambda tallyfy: tallyfy
    """Changes answers between Tallyfy and the sweep, for lists that no correct server returns."""
    fuse: FaultInjector = field(default_factory=FaultInjector)
    """The fault of the next invocation. A crash uses it up."""
    shows_names: bool = False
    """Whether reports show the names of owners and templates, which costs calls and writes."""

    warner: FakeWarner = field(default_factory=FakeWarner)

    def __post_init__(self) -> None:
        self.queue = self.world.sweeps_queue
        self.bulk = MemoryQueue(self.world.clock)
        self.purge = MemoryQueue(self.world.clock)
        self.slept: list[float] = []
        self.time_left = 900.0
        self.after_step: Callable[[], None] = lambda: None
        self._handed_on: list[Command] = []

    def sweep(self) -> SweepService:
        """A fresh environment of the function."""
        return assemble(self.parts())

    def parts(self) -> SweepParts:
        """Return the parts of a fresh environment."""
        world = self.world
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", SimulatorTransport(world.simulator))
        client = HttpTallyfy(
            session,
            URL,
            Tokens(world.secrets, PREFIX, frozenset({ORG})),
            capabilities=frozenset(),
            spend=lambda _: None,
            time_left=lambda: self.time_left,
        )
        tallyfy = self.seen_through(client)
        rows, bus = FragileRows(world.rows, self.fuse), FragileBus(world.bus, self.fuse)
        ledger = Ledger(rows, TERMS, world.clock)
        return SweepParts(
            rows=rows,
            ledger=ledger,
            holds=HoldStore(rows, world.clock),
            tallyfy=tallyfy,
            directory=TallyfyDirectory(client) if self.shows_names else None,
            pacing=Pacing(rows, world.pacing.rate, world.clock, metrics=world.metrics),
            queue=FragileQueue(self.queue, self.fuse),
            bulk=FragileQueue(self.bulk, self.fuse),
            purge=FragileQueue(self.purge, self.fuse),
            objects=FragileObjects(self.objects, self.fuse),
            bus=bus,
            outcomes=Outcomes(
                ledger=ledger,
                dead_letters=FragileQueue(world.dead_letters, self.fuse),
                bus=bus,
                metrics=world.metrics,
                clock=world.clock,
            ),
            metrics=world.metrics,
            preflight=Preflight(
                tallyfy=tallyfy,
                secrets=world.secrets,
                prefix=PREFIX,
                policy=self.policy,
                sources=DECLARED_SOURCES,
                metrics=world.metrics,
                bus=bus,
                clock=world.clock,
            ),
            waking=WakeupService(
                wakeups=Wakeups(rows),
                ordinary=FragileQueue(self.bulk, self.fuse),
                permanent=FragileQueue(self.purge, self.fuse),
                metrics=world.metrics,
            ),
            digest=Digest(
                queues={"dead-letters": FragileQueue(world.dead_letters, self.fuse)},
                bus=bus,
                metrics=world.metrics,
                clock=world.clock,
                news=DailyNews(
                    org_ids=frozenset({ORG}),
                    rows=rows,
                    approvals=ApprovalStore(rows, TERMS.keep, world.clock),
                    plans=PlanStore(self.objects),
                    clock=world.clock,
                ),
            ),
            approvals=ApprovalStore(rows, TERMS.keep, world.clock),
            people=world.people,
            warner=self.warner,
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
        """Send the message of the schedule."""
        self.queue.send(json.dumps({"sweep_id": sweep_id}))

    def apply(self, plan: str, *, by: str = "ada") -> None:
        """Send the message of a person who applies a plan by its hash."""
        job = {"sweep_id": f"apply-{by}-{plan[:12]}", "org_id": ORG, "kind": "apply", "plan": plan}
        self.queue.send(json.dumps({**job, "requested_by": by}))

    def take_back(self, plan: str, *, by: str = "bob") -> None:
        """Send the message of a person who undoes a plan."""
        job = {"sweep_id": f"undo-{by}-{plan[:12]}", "org_id": ORG, "kind": "undo", "plan": plan}
        self.queue.send(json.dumps({**job, "requested_by": by}))

    def check(self) -> None:
        """Send the message of the daily schedule for this organization."""
        job = {"sweep_id": f"{self.world.clock():%Y-%m-%dT%H:%M:%SZ}", "org_id": ORG, "kind": "check"}
        self.queue.send(json.dumps(job))

    def deliver(self) -> bool:
        """Run one invocation with the next visible message. Return whether the message was finished."""
        messages = self.queue.receive(1, hidden_for=5400)
        sweep = self.sweep()
        try:
            for message in messages:
                sweep.handle(message)
                self.queue.delete(message)
        except Crash:
            self.fuse = FaultInjector()
            return False
        except Later:
            return False
        return bool(messages)

    def work(self) -> None:
        """Let workers carry out the commands of the sweep."""
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
        raise AssertionError(f"The sweep is not finished after {most} invocations")

    def turn(self, *, work: bool = True) -> bool:
        """Wait for the next message and deliver it, see ``deliver``."""
        wait = min(entry.visible_at for entry in self.queue.entries.values()) - self.world.clock().timestamp()
        self.world.clock.advance(timedelta(seconds=max(0.0, wait)))
        finished = self.deliver()
        if work:
            self.work()
        return finished

    def deliver_warnings(self, *, recorded: bool = True) -> None:
        """Let the chat function post the warnings that were handed over, see ``FakeWarner.deliver``."""
        state = SweepState(rows=self.world.rows, clock=self.world.clock, terms="")
        self.warner.deliver(WarningDeliveries(state, SentWarnings(self.world.rows)), recorded=recorded)

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
        """Return the lines of a plan."""
        body = self.objects.get(key_of(plan.org_id, plan.hash, LINES)) or b""
        return list(entries(gzip.decompress(body).splitlines()))

    def applied(self, plan: Plan, part: PlanPart) -> Application:
        """Return the progress of a part of a plan."""
        return ApplicationStore(rows=self.world.rows, clock=self.world.clock).find(plan, part)

    def reports(self) -> list[Detail]:
        """Return the events of finished sweeps."""
        return [detail for name, detail in self.world.bus.announced if name == "lifecycle.sweep.finished"]

    def applications(self) -> list[Detail]:
        """Return the events of plans that people applied."""
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
