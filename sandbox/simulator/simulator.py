"""The simulator: one world, its log, faults, limit and clock, behind one `handle`."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sandbox.simulator import people
from sandbox.simulator.api import CallResult, SimulatorApi
from sandbox.simulator.deliveries import Post, WebhookDeliveries, post
from sandbox.simulator.faults import Fault, Faults, Strike
from sandbox.simulator.limit import Limit, Meter
from sandbox.simulator.log import CallLog, LoggedCall
from sandbox.simulator.messages import CallRefused, ReceivedRequest, Response, error, fingerprint, rate_limited
from sandbox.simulator.quirks import Quirks
from sandbox.simulator.seed import Seed, build, default_seed
from sandbox.simulator.world import Organization, Run, TallyfyState


class ConnectionReset(Exception):
    """The caller's connection must be reset instead of answered."""


class CallerGaveUp(Exception):
    """The caller's time-out passed during a wait."""


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


class Simulator:
    """A simulated Tallyfy. Thread-safe; waits happen outside the lock."""

    def __init__(self, seed: Seed | None = None, *, clock: Callable[[], datetime] = utc_now, send: Post = post) -> None:
        self.lock = threading.RLock()
        self.seed = seed or default_seed()
        self._clock = clock
        self.deliveries = WebhookDeliveries(self.now, send)
        self.reset()

    def reset(self) -> None:
        """Return to the seed's state, quirks, limit and clock. Clear the log and the faults."""
        with self.lock:
            self.shift = timedelta()
            self.log = CallLog()
            self.faults = Faults()
            self.deliveries.clear()
            self._late: list[tuple[datetime, ReceivedRequest, Strike]] = []
            self.load(self.seed)

    def load(self, seed: Seed) -> None:
        """Replace the state, the quirks and the limit with those of a seed."""
        with self.lock:
            self._api = SimulatorApi(build(seed, self.now()), seed.quirks)
            self.set_limit(seed.limit)

    def merge(self, seed: Seed) -> None:
        """Add the objects of a seed to the state. An object with a known id is replaced."""
        with self.lock:
            build(seed, self.now(), into=self.world)

    @property
    def world(self) -> TallyfyState:
        """The state. Hold `lock` while other threads make calls."""
        return self._api.world

    @property
    def organization(self) -> Organization:
        """The world's only organization."""
        return self.world.only

    @property
    def quirks(self) -> Quirks:
        """The choices in force."""
        return self._api.quirks

    @quirks.setter
    def quirks(self, quirks: Quirks) -> None:
        self._api.quirks = quirks

    @property
    def limit(self) -> Limit | None:
        """The rate limit in force."""
        return self._limit

    def set_limit(self, limit: Limit | None) -> None:
        """Set or remove the rate limit, and start a new count."""
        with self.lock:
            self._limit = limit
            self._meters: dict[str, Meter] = {}

    def now(self) -> datetime:
        """The simulator's time: the clock plus the shift."""
        return self._clock() + self.shift

    def advance(self, seconds: float) -> None:
        """Shift the simulator's time."""
        with self.lock:
            self.shift += timedelta(seconds=seconds)

    def add_fault(self, *faults: Fault) -> None:
        """Arm faults."""
        with self.lock:
            for fault in faults:
                self.faults.add(fault)

    def effects(self, action: str | None = None, id: str | None = None) -> int:
        """Count the calls that changed state."""
        with self.lock:
            return self.log.effects(action, id)

    def launch(self, run_id: str, name: str, *, org_id: str | None = None) -> None:
        """A person starts a process without a template. Raises ``CallRefused`` if there is no such organization."""
        with self.lock:
            organization, now = self._organization(org_id), self.now()
            run = Run(run_id, name, now, now, started_at=now, owner_id=next(iter(organization.members), None))
            self._tell(organization, people.launch(organization, run, now))

    def complete(self, run_id: str) -> None:
        """A person completes a process, with its tasks. Raises ``CallRefused``."""
        with self.lock:
            organization = self._owner(run_id)
            self._tell(organization, people.complete(organization, run_id, self.now()))

    def reopen(self, run_id: str) -> None:
        """A person opens a completed process again. Raises ``CallRefused``."""
        with self.lock:
            organization = self._owner(run_id)
            self._tell(organization, people.reopen(organization, run_id, self.now()))

    def handle(self, call: ReceivedRequest, wait: Callable[[float], None] = time.sleep) -> Response:
        """Answer one call. `wait` waits for a delay, or raises CallerGaveUp if the caller would not wait that long.

        If the caller gives up before the call took effect, it takes effect later, when the clock passes the delay.
        """
        with self.lock:
            self.settle(only_due=True)
            strike = self.faults.take(call)
        if strike.delay and strike.delay.when == "before":
            try:
                wait(strike.delay.seconds)
            except CallerGaveUp:
                with self.lock:
                    self._late.append((self.now() + timedelta(seconds=strike.delay.seconds), call, strike))
                raise
        answer = self._act(call, strike)
        if strike.delay and strike.delay.when == "after":
            wait(strike.delay.seconds)
        if answer is None:
            raise ConnectionReset
        return answer

    def settle(self, *, only_due: bool = False) -> None:
        """Let late calls take effect: all of them, or those that are due."""
        with self.lock:
            now = self.now()
            due = [late for late in self._late if not only_due or late[0] <= now]
            self._late = [late for late in self._late if late not in due]
            for _, call, strike in sorted(due, key=lambda late: late[0]):
                self._act(call, strike)

    def _organization(self, org_id: str | None) -> Organization:
        found = self.organization if org_id is None else self.world.organizations.get(org_id)
        if found is None:
            raise CallRefused(error(404, "Not found."))
        return found

    def _owner(self, run_id: str) -> Organization:
        found = next((one for one in self.world.organizations.values() if run_id in one.runs), None)
        if found is None:
            raise CallRefused(error(404, "Not found."))
        return found

    def _tell(self, organization: Organization, events: list[people.Event]) -> None:
        targets = [(watcher.id, watcher.url) for watcher in organization.watchers.values()]
        for event in events:
            self.deliveries.enqueue(targets, event.id, event.payload(self.quirks))

    def _act(self, call: ReceivedRequest, strike: Strike) -> Response | None:
        """Carry a call out as far as its faults allow, and log it. None means a reset."""
        with self.lock:
            now = self.now()
            fault = strike.other
            answer: Response | None
            if fault and fault.when == "before":
                reply = self._api.describe(call)
                answer = fault.answer()
            else:
                reply = self._reply(call, now)
                answer = fault.answer() if fault else reply.answer
            self.log.calls.append(
                LoggedCall(
                    time=now,
                    method=call.method,
                    path=call.path,
                    query=dict(call.query),
                    status=answer.status if answer else None,
                    acted=reply.acted,
                    resource=reply.resource,
                    id=reply.id,
                    action=reply.action,
                    token=fingerprint(call.token),
                    fault=strike.name,
                )
            )
            return answer

    def _reply(self, call: ReceivedRequest, now: datetime) -> CallResult:
        if self._limit is not None:
            known = self.world.member(call.token)
            key = known[0].id if known else ""
            retry_after = self._meters.setdefault(key, Meter(self._limit)).admit(now)
            if retry_after is not None:
                reply = self._api.describe(call)
                return CallResult(rate_limited(retry_after), reply.resource, reply.action, reply.id)
        return self._api.reply(call, now)
