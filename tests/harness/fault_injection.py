"""Fault injection: one process crashes, or AWS fails, just before or after one of its steps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, override

import requests
from requests.adapters import BaseAdapter

from lifecycle.aws.dynamodb import Key, Put, Row, VersionedTable
from lifecycle.aws.eventbridge import Bus, Detail, Event
from lifecycle.aws.s3 import Objects
from lifecycle.aws.scheduler import Schedules
from lifecycle.aws.sqs import Message, Queue
from lifecycle.domain.errors import Code, Retryable
from sandbox.simulator.transport import SimulatorTransport

if TYPE_CHECKING:
    from tests.harness.world import World

type When = Literal["before", "after"]


type Harm = Literal["crash", "outage"]


URL = "https://tallyfy.test/api"


POINTS = (
    "pace",
    "claim",
    "look",
    "mark",
    "act",
    "release",
    "conclude",
    "end",
    "dead_letter",
    "mark_delivered",
    "announce",
    "hide",
)
"""The steps at which a process can fail. `conclude` records an outcome under a claim, `end` one without a claim."""


AWS_POINTS = tuple(point for point in POINTS if point not in {"look", "act"})


ANY_WRITE = "any write"
"""Matches every step of a process that writes something."""


ANY_STEP = "any step"


_READS = frozenset({"read", "look", "fetch"})


class Crash(BaseException):
    """The process has crashed. It is a `BaseException`, so that no `except Exception` catches it."""


@dataclass(slots=True)
class FaultInjector:
    """Injects one fault at one step of a process."""

    point: str = ""
    when: When = "before"
    harm: Harm = "crash"
    skip: int = 0
    """The number of matching steps that pass before the fault."""
    dead: bool = False
    blown: bool = False
    taken: list[str] = field(default_factory=list)
    """Every step so far."""
    before_step: Callable[[str], None] = lambda _: None
    """Called before each step, to act concurrently with the process."""

    @contextmanager
    def step(self, point: str) -> Iterator[None]:
        """Wrap one step."""
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
        raise Retryable(Code.UNAVAILABLE, f"AWS failed at '{point}' (injected).")


@dataclass(slots=True)
class FragileRows:
    """Rows with a possible fault at each read and write."""

    rows: VersionedTable
    fuse: FaultInjector

    def read(self, *keys: Key) -> list[Row | None]:
        with self.fuse.step("read"):
            return self.rows.read(*keys)

    def write(self, *changes: Put) -> None:
        with self.fuse.step(self._point(changes)):
            self.rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        with self.fuse.step("accept"):
            return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        with self.fuse.step("read"):
            return self.rows.partition(pk)

    def _point(self, changes: tuple[Put, ...]) -> str:
        first = changes[0]
        for kind, point in (("pace#", "pace"), ("approval#", "ask"), ("resource#", "claim"), ("word#", "word")):
            if first.key.pk.startswith(kind):
                return point
        if first.key.sk == "announced":
            return "mark_delivered"
        status = (first.values or {}).get("status")
        if len([change for change in changes if not change.key.pk.startswith("audit#")]) > 1:
            return "release" if status == "waiting" else "conclude"
        if status == "in_progress":
            return "mark"
        [before] = self.rows.read(first.key)
        return "mark_delivered" if before is not None and before.values.get("status") == status else "end"


@dataclass(slots=True)
class FragileQueue:
    """A queue with a possible fault at each send."""

    queue: Queue
    fuse: FaultInjector

    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
        with self.fuse.step("dead_letter"):
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
    """A bus with a possible fault at each announcement."""

    bus: Bus
    fuse: FaultInjector

    def announce(self, detail_type: str, detail: Detail) -> None:
        with self.fuse.step("announce"):
            self.bus.announce(detail_type, detail)

    def announce_all(self, events: Sequence[Event]) -> dict[int, str]:
        with self.fuse.step("announce"):
            return self.bus.announce_all(events)


@dataclass(slots=True)
class FragileObjects:
    """An object store with a possible fault at each object."""

    objects: Objects
    fuse: FaultInjector

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
    """Schedules with a possible fault at each creation."""

    schedules: Schedules
    fuse: FaultInjector

    def at(self, moment: datetime, name: str, body: str) -> None:
        with self.fuse.step("schedule"):
            self.schedules.at(moment, name, body)


class WatchedTransport(BaseAdapter):
    """Tallyfy as one process reaches it. Each effect is attributed to the intent that the process was carrying out."""

    def __init__(self, world: "World", fuse: FaultInjector) -> None:
        super().__init__()
        self._world = world
        self._inner = SimulatorTransport(world.simulator)
        self._fuse = fuse
        self.intent = ""
        self.after_look: Callable[[], None] | None = None
        """Called once, after a process has read the thing and before it acts, to change the thing in between."""
        self.on_call: Callable[[], None] = lambda: None
        """Called before every call, to simulate the time that the network takes."""

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
        """Do nothing: no connection is open."""


def _intent_of(message: Message) -> str:
    """Return the current intent, without any check."""
    _, _, rest = message.body.partition('"intent_id": "')
    return rest.partition('"')[0]
