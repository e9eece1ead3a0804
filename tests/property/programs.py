"""Seeded programs of deliveries, crashes and faults, run on our worker and on Powertools' idempotency utility.

Each intent has its own resource and should have exactly one effect in the end. Both sides get the same simulator,
the same deliveries and copies (an hour to thirteen days late among them), the same faults and the same crash points.
People reverse some reported effects by hand, as after a mistake; a late copy must not repeat the effect.
"""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Literal, Protocol, cast, override

import requests
from aws_lambda_powertools.utilities.idempotency import BasePersistenceLayer, IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from lifecycle.domain.capabilities import TABLE, Action, Capability, Resource, State
from lifecycle.domain.commands import Command
from sandbox.simulator import DEFAULT_TOKEN, Fault, LoggedCall, Quirks
from tests.harness.fault_injection import URL, Crash, FaultInjector, Harm, WatchedTransport, When
from tests.harness.world import TIMEOUT, VISIBILITY, Process, World, is_open

type Side = Literal["ours", "powertools"]

DOINGS = tuple(c for c in TABLE if not c.permanent)
RECORD_KEPT = 3600
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens. `number` is the intent it concerns."""

    what: Literal["deliver", "copy", "wait", "fault", "put back"]
    number: int = 0
    seconds: int = 0
    point: str = ""
    when: When = "before"
    harm: Harm = "crash"
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """The intents of a program and its events."""

    doings: tuple[Capability, ...]
    steps: tuple[Step, ...]


def program(seed: int) -> Program:
    """The program of this number."""
    draw = random.Random(seed)
    doings = tuple(draw.choice(DOINGS) for _ in range(draw.randint(1, 3)))
    steps = [_early(draw, len(doings)) for _ in range(draw.randint(3, 10))]
    left = 12 * DAY
    for _ in range(draw.randint(0, 4)):
        seconds = draw.choice([RECORD_KEPT - 60, RECORD_KEPT + 60, 6 * 3600, DAY, 3 * DAY, 6 * DAY, 12 * DAY])
        number = draw.randrange(len(doings))
        if seconds > left:
            continue
        left -= seconds
        # Queued messages are delivered before a long wait, because a queue keeps nothing for days.
        steps += [Step("deliver")] * 4
        if draw.random() < 0.5:
            # Not while a call that its caller gave up on may still take effect: whose that effect is, nobody could say.
            steps += [Step("wait", seconds=61), Step("put back", number)]
        steps += [Step("wait", seconds=seconds), Step("copy", number), _delivery(draw)]
    return Program(doings, tuple(steps))


def _early(draw: random.Random, intents: int) -> Step:
    match draw.choices(["deliver", "copy", "wait", "fault"], [6, 1, 3, 2])[0]:
        case "deliver":
            return _delivery(draw)
        case "copy":
            return Step("copy", draw.randrange(intents))
        case "wait":
            return Step("wait", seconds=draw.choice([1, 20, 61, 91, 361, 361, 900, 3661]))
        case _:
            return Step("fault", fault=_fault(draw))


def _delivery(draw: random.Random) -> Step:
    if draw.random() < 0.5:
        return Step("deliver")
    point, when = draw.choice(["claim", "act", "record"]), draw.choice(["before", "after"])
    harm: Harm = "crash" if point == "act" or draw.random() < 0.6 else "outage"
    return Step("deliver", point=point, when="before" if when == "before" else "after", harm=harm)


def _fault(draw: random.Random) -> Fault:
    when: When = draw.choice(["before", "after"])
    method = draw.choice(["DELETE", "PUT"])
    kinds: list[Callable[[], Fault]] = [
        lambda: Fault.answer_status(draw.choice([500, 503]), when),
        lambda: Fault.reset(when),
        lambda: Fault.html(502, when),
        lambda: Fault.rate_limit(draw.choice([1, 30])),
        lambda: Fault.delay(11, "after", method=method),
        # Tallyfy finishes, within a minute, a call that its caller gave up on.
        lambda: Fault.delay(draw.choice([12, 50]), "before", method=method),
    ]
    return draw.choice(kinds)().model_copy(update={"times": draw.choice([1, 1, 2])})


class Contestant(Protocol):
    """One side of the comparison."""

    def deliver(self, step: Step) -> None:
        """One invocation; if it dies, the next has a fresh process."""

    def acknowledged(self, command: Command) -> bool:
        """Whether the intent was reported as done."""

    def drain(self) -> None:
        """Deliver without faults until nothing is left to deliver."""


class Ours:
    """The real worker."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._process = world.process()

    def deliver(self, step: Step) -> None:
        """See `Contestant`."""
        self._process.fuse = _set(self._process.fuse, step, {"record": "conclude"})
        _deliver(self._process)
        if self._process.fuse.dead:
            self._process = self.world.process()

    def acknowledged(self, command: Command) -> bool:
        """See `Contestant`."""
        return "done" in self.world.announced(command.intent_id)

    def drain(self) -> None:
        """See `Contestant`. The operator sends again what was given up."""
        self.world.drain(self.world.process())
        while self.world.send_again():
            self.world.drain(self.world.process())


def _deliver(process: Process) -> None:
    process.deliver(10)
    process.world.land()


def _set(fuse: FaultInjector, step: Step, names: dict[str, str]) -> FaultInjector:
    """The fuse is shared by all parts of a process: it is set, not replaced."""
    fuse.point = names.get(step.point, step.point)
    fuse.when, fuse.harm, fuse.skip, fuse.blown = step.when, step.harm, 0, False
    return fuse


@dataclass(slots=True)
class _Stored:
    record: DataRecord
    expires: float
    in_progress_until: float


class MemoryIdempotency(BasePersistenceLayer):
    """Powertools' own layer over memory, with the conditions that its DynamoDB layer writes under.

    Powertools reads the real clock: times are shifted on their way in and out, so that ours counts.
    """

    def __init__(self, world: World) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Powertools leaves it without annotations
        self.fuse = FaultInjector()
        self._world = world
        self._stored: dict[str, _Stored] = {}

    @override
    def _put_record(self, data_record: DataRecord) -> None:
        with self.fuse.step("claim"):
            now = self._world.clock().timestamp()
            found = self._stored.get(data_record.idempotency_key)
            if found is not None and found.expires > now:
                in_progress = found.record._status == "INPROGRESS"
                if not (in_progress and found.in_progress_until < now):
                    raise IdempotencyItemAlreadyExistsError
            self._keep(data_record)

    @override
    def _get_record(self, idempotency_key: str) -> DataRecord:
        found = self._stored.get(idempotency_key)
        if found is None:
            raise IdempotencyItemNotFoundError
        ahead = time.time() - self._world.clock().timestamp()
        record = found.record
        return DataRecord(
            idempotency_key=idempotency_key,
            status=record._status,
            expiry_timestamp=int(found.expires + ahead),
            in_progress_expiry_timestamp=int((found.in_progress_until + ahead) * 1000),
            response_data=record.response_data,
        )

    @override
    def _update_record(self, data_record: DataRecord) -> None:
        with self.fuse.step("record"):
            self._keep(data_record)

    @override
    def _delete_record(self, data_record: DataRecord) -> None:
        with self.fuse.step("forget"):
            self._stored.pop(data_record.idempotency_key, None)

    def _keep(self, record: DataRecord) -> None:
        now, real = self._world.clock().timestamp(), time.time()
        until = (record.in_progress_expiry_timestamp or 0) / 1000
        self._stored[record.idempotency_key] = _Stored(
            record, now + (record.expiry_timestamp or 0) - real, now + until - real if until else 0.0
        )


class Powertools:
    """A handler as the utility's documentation has it: one idempotent function around the call to Tallyfy."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._store = MemoryIdempotency(world)
        self._config = IdempotencyConfig(event_key_jmespath="intent_id", expires_after_seconds=RECORD_KEPT)
        self._done: set[str] = set()
        self._restart()

    def _restart(self) -> None:
        self._store.fuse = FaultInjector()
        self._transport = WatchedTransport(self.world, self._store.fuse)
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", self._transport)

        def carry_out(command: dict[str, str]) -> dict[str, str]:
            asked = (Resource(command["resource"]), Action(command["action"]))
            [doing] = [c for c in DOINGS if (c.resource, c.action) == asked]
            answer = session.request(
                doing.method,
                URL + doing.path(command["org_id"], command["id"]),
                headers={"Authorization": f"Bearer {DEFAULT_TOKEN}", "X-Tallyfy-Client": "APIClient"},
                timeout=(3.05, 10),
            )
            answer.raise_for_status()
            return {"status": "done"}

        self._carry_out: Callable[..., object] = idempotent_function(
            carry_out, data_keyword_argument="command", config=self._config, persistence_store=self._store
        )

    def deliver(self, step: Step) -> None:
        """See `Contestant`. What fails comes back with the visibility timeout."""
        _set(self._store.fuse, step, {})
        world = self.world
        messages = world.queue.receive(10, hidden_for=VISIBILITY)
        ends = world.clock().timestamp() + TIMEOUT
        self._config.register_lambda_context(_context(lambda: int((ends - world.clock().timestamp()) * 1000)))
        finished = []
        try:
            for message in messages:
                command = json.loads(message.body)
                self._transport.intent = command["intent_id"]
                try:
                    self._carry_out(command=command)
                except Exception:  # noqa: BLE001, S112 - as the batch utility: whatever it is, the item failed
                    continue
                finished.append((message, command["intent_id"]))
        except Crash:
            self._restart()
            finished = []
        for message, intent in finished:
            self._done.add(intent)
            world.queue.delete(message)
        world.land()

    def acknowledged(self, command: Command) -> bool:
        """See `Contestant`."""
        return command.intent_id in self._done

    def drain(self) -> None:
        """See `Contestant`."""
        for _ in range(500):
            wait = self.world.next_visible()
            if wait is None:
                return
            self.world.clock.advance(timedelta(seconds=wait))
            self.deliver(Step("deliver"))
        raise AssertionError("the queue is not empty after 500 rounds")


def _context(left: Callable[[], int]) -> LambdaContext:
    return cast("LambdaContext", SimpleNamespace(get_remaining_time_in_millis=left))


@dataclass(slots=True)
class Tally:
    """The effects of many intents. An effect changed Tallyfy's state; a write was carried out, changing it or not."""

    programs: int = 0
    intents: int = 0
    effects: int = 0
    writes: int = 0
    several: int = 0
    none: int = 0
    odd: list[int] = field(default_factory=list)
    """Seeds of programs in which an intent had not exactly one effect, the first few."""

    def add(self, other: "Tally") -> None:
        """Take in the tally of other programs."""
        self.programs += other.programs
        self.intents += other.intents
        self.effects += other.effects
        self.writes += other.writes
        self.several += other.several
        self.none += other.none
        self.odd = (self.odd + other.odd)[:5]

    @property
    def ratio(self) -> float:
        """Effects per intent."""
        return self.effects / self.intents


def run(side: Side, seed: int) -> Tally:
    """Run one program on one side, to its end."""
    script = program(seed)
    world = World(quirks=Quirks(archive_archived=200, restore_active=200))
    contestant: Contestant = Ours(world) if side == "ours" else Powertools(world)
    commands = []
    for number, doing in enumerate(script.doings):
        thing = world.add(doing.resource, f"{number + 1:032x}", archived_days=_age(doing))
        world.clock.advance(timedelta(seconds=1))
        commands.append(world.command(doing.resource, thing, doing.action, f"{seed}-{number}"))
        world.send(commands[-1])
    for step in script.steps:
        _take(step, world, contestant, commands)
    world.simulator.faults.clear()
    world.clock.advance(timedelta(minutes=2))
    world.land()
    contestant.drain()
    if side == "ours":
        assert not any(is_open(world.intent(command.intent_id)) for command in commands), seed
    counts = [len(world.effects[command.intent_id]) for command in commands]
    odd = any(count != 1 for count in counts)
    return Tally(
        programs=1,
        intents=len(counts),
        effects=sum(counts),
        writes=sum(map(_was_carried_out, world.writes())),
        several=sum(count > 1 for count in counts),
        none=counts.count(0),
        odd=[seed] if odd else [],
    )


def run_many(side: Side, seeds: range) -> Tally:
    """Run many programs on one side."""
    tally = Tally()
    for seed in seeds:
        tally.add(run(side, seed))
    return tally


def _age(doing: Capability) -> int | None:
    return 40 if doing.reaches is State.ACTIVE else None


def _take(step: Step, world: World, contestant: Contestant, commands: list[Command]) -> None:
    command = commands[step.number]
    match step.what:
        case "deliver":
            contestant.deliver(step)
        case "copy":
            world.queue.send(command.to_json())
        case "wait":
            world.clock.advance(timedelta(seconds=step.seconds))
            world.land()
        case "fault":
            assert step.fault is not None
            world.simulator.add_fault(step.fault)
        case "put back":
            if contestant.acknowledged(command) and world.state(command.resource, command.thing_id) is _wanted(command):
                world.add(
                    command.resource, command.thing_id, archived_days=0 if _wanted(command) is State.ACTIVE else None
                )


def _wanted(command: Command) -> State:
    return command.capability.reaches


def _was_carried_out(call: LoggedCall) -> bool:
    before = call.fault is not None and call.fault.endswith("/before") and call.fault != "delay/before"
    return not before and call.status != 429
