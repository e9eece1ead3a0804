"""A Tallyfy with any number of processes that needs no memory: each page is made on request.

`read_all` is a whole sweep over it, in invocations that run out of time or are killed; `send_all` applies its plan.
Both report their cost. Call each in its own process, so that the peak of memory is its own.
"""

import gc
import hashlib
import io
import json
import random
import resource
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import override
from urllib.parse import parse_qs, urlparse

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from lifecycle.approvals.people import People
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.dynamodb import MemoryTable, Put
from lifecycle.aws.eventbridge import MemoryBus
from lifecycle.aws.metrics import MemoryMetrics
from lifecycle.aws.s3 import FolderObjects
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import Later, MemoryQueue, Message, Queue
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.wakeup_check import WakeupService
from lifecycle.execution.wakeups import Wakeups
from lifecycle.holds.store import HoldStore
from lifecycle.intake.sources import Sources
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Rate
from lifecycle.plans.application import Application, PlanPart, Stage, application_key
from lifecycle.plans.executor import ApplyTerms
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.sweep.assembly import SweepParts, assemble
from lifecycle.sweep.digest import Digest
from lifecycle.sweep.preflight import Preflight
from lifecycle.sweep.service import SweepService
from lifecycle.sweep.state import state_key
from lifecycle.tallyfy.client import PER_PAGE, HttpTallyfy, Tokens
from tests.harness.builders import ID_KEY, NOW, ORG, PREFIX, SOURCES, Clock
from tests.harness.warnings import FakeWarner

POLICY = """
zone = "Europe/Berlin"
hold_tags = ["keep"]
[caps]
count = 100000
percent = 100
[[rules]]
name = "completed"
resource = "process"
action = "archive"
[rules.when]
status = ["complete"]
completed_days = 30
"""
SWEEP = "crowd"
INVOCATION = 330.0
"""Seconds. A plan is written with 300 left, so what is left for reading is little."""
_CALL = timedelta(seconds=0.3)
_KILLS = 0.004


@dataclass
class Crowd(BaseAdapter):
    """A number of processes, returned page by page. Three of seven are due."""

    count: int
    clock: Clock
    pages: list[int] = field(default_factory=list)
    """The requested pages, in order."""

    def __post_init__(self) -> None:
        super().__init__()

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
        assert request.method == "GET"
        self.clock.advance(_CALL)
        asked = urlparse(str(request.url))
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 200, str(request.url), request
        body = json.dumps(self._answer(asked.path, parse_qs(asked.query))).encode()
        answer.raw = HTTPResponse(io.BytesIO(body), preload_content=False)
        return answer

    @override
    def close(self) -> None:
        """There is nothing to close."""

    def _answer(self, path: str, query: Mapping[str, list[str]]) -> object:
        if path.endswith("/me"):
            return {"data": {"id": 1001, "role": "admin", "organization_id": ORG}}
        if not path.endswith("/runs"):
            return {"data": {"id": ORG, "name": "A crowd", "auto_archive": False}}
        page = int(query["page"][0])
        self.pages.append(page)
        pages = -(-self.count // PER_PAGE)
        rows = [made(number) for number in range((page - 1) * PER_PAGE, min(page * PER_PAGE, self.count))]
        return {"data": rows, "meta": {"pagination": {"total": self.count, "total_pages": pages, "current_page": page}}}


def made(number: int) -> dict[str, object]:
    """A process as Tallyfy shows it."""
    status, days = [("complete", 45), ("complete", 400), ("active", 0), ("complete", 31)][number % 7 % 4]
    completed = NOW - timedelta(days=days, seconds=number % 3600)
    kept = number % 7 > 3
    return {
        "id": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "name": f"Onboard customer {number} of the northern region",
        "status": status,
        "progress": {"complete": 3, "total": 3, "percent": 100},
        "checklist_id": hashlib.sha256(f"template {number % 40}".encode()).hexdigest()[:32],
        "checklist_title": f"Template {number % 40}",
        "owner_id": 1000 + number % 50,
        "created_at": (NOW - timedelta(days=900) + timedelta(seconds=60 * number % 3600)).isoformat(),
        "last_updated": completed.isoformat(),
        "completed_at": completed.isoformat() if status == "complete" else None,
        "archived_at": None,
        "tags": [{"id": "7a" * 16, "title": "keep"}] if kept else [{"id": "7b" * 16, "title": f"team {number % 9}"}],
    }


@dataclass(frozen=True)
class Cost:
    """The cost. ``sealing_bytes`` is the peak of memory in bytes while the plan was written."""

    things: int
    due: int
    plans: list[str]
    pages: int
    pages_twice: int
    invocations: int
    killed: int
    seconds: float
    simulated_minutes: float
    peak_megabytes: float
    sealing_bytes: int
    sealing_seconds: float
    sent: int = 0


class Killed(BaseException):
    """The process was killed."""


@dataclass
class Counting(Queue):
    """A queue that keeps no message, only how many there were."""

    sent: int = 0
    most_at_once: int = 0

    @override
    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
        self.sent += 1

    @override
    def send_all(self, bodies: Sequence[str]) -> None:
        self.sent += len(bodies)
        self.most_at_once = max(self.most_at_once, len(bodies))

    @override
    def hide(self, message: Message, seconds: int) -> None:
        raise NotImplementedError

    @override
    def receive(self, most: int = 10, *, hidden_for: int = 30) -> list[Message]:
        raise NotImplementedError

    @override
    def delete(self, message: Message) -> None:
        raise NotImplementedError

    @override
    def depth(self) -> int:
        return self.sent


@dataclass
class Crowded:
    """A sweep over many processes, with a folder for its objects."""

    count: int
    folder: Path
    mode: Mode = Mode.REPORT
    seed: int = 0
    kills: float = _KILLS

    def __post_init__(self) -> None:
        self.clock = Clock(NOW)
        self.crowd = Crowd(self.count, self.clock)
        self.rows, self.queue = MemoryTable(), MemoryQueue(self.clock)
        self.bulk, self.bus, self.metrics = Counting(), MemoryBus(), MemoryMetrics()
        self.dice = random.Random(self.seed)
        self.started = self.clock()
        self.killed = 0

    def sweep(self) -> SweepService:
        """A fresh environment of the function."""
        return assemble(self.parts())

    def parts(self) -> SweepParts:
        """The parts of a fresh environment."""
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", self.crowd)
        secrets = MemorySecrets({f"{PREFIX}/tokens/{ORG}": "a token"})
        tallyfy = HttpTallyfy(
            session,
            "https://tallyfy.test/api",
            Tokens(secrets, PREFIX, frozenset({ORG})),
            capabilities=frozenset(),
            spend=lambda _: None,
            time_left=self.time_left,
        )
        ledger = Ledger(self.rows, LedgerTerms(timedelta(0), timedelta(days=400), 6), self.clock)
        policy = Policy.parse(POLICY)
        return SweepParts(
            rows=self.rows,
            ledger=ledger,
            holds=HoldStore(self.rows, self.clock),
            tallyfy=tallyfy,
            pacing=Pacing(self.rows, Rate(100, 16), self.clock),
            queue=self.queue,
            bulk=self.bulk,
            purge=Counting(),
            objects=FolderObjects(self.folder),
            bus=self.bus,
            outcomes=Outcomes(
                ledger=ledger,
                dead_letters=MemoryQueue(self.clock),
                bus=self.bus,
                metrics=self.metrics,
                clock=self.clock,
            ),
            metrics=self.metrics,
            preflight=Preflight(
                tallyfy=tallyfy,
                secrets=secrets,
                prefix=PREFIX,
                policy=policy,
                sources=Sources.parse(SOURCES),
                metrics=self.metrics,
                bus=self.bus,
                clock=self.clock,
            ),
            waking=WakeupService(
                wakeups=Wakeups(self.rows),
                ordinary=MemoryQueue(self.clock),
                permanent=MemoryQueue(self.clock),
                metrics=self.metrics,
            ),
            digest=Digest(queues={}, bus=self.bus, metrics=self.metrics, clock=self.clock),
            approvals=ApprovalStore(self.rows, timedelta(days=400), self.clock),
            people=People.parse("[people]\n"),
            warner=FakeWarner(),
            policy=policy,
            mode=self.mode,
            org_ids=frozenset({ORG}),
            id_key=lambda: ID_KEY,
            retry_base=30.0,
            clock=self.clock,
            sleep=lambda seconds: self.clock.advance(timedelta(seconds=seconds)),
            time_left=self.time_left,
            after_step=self.after_step,
        )

    def time_left(self) -> float:
        """Of this invocation."""
        return INVOCATION - (self.clock() - self.started).total_seconds()

    def after_step(self) -> None:
        """The process dies at random times."""
        if self.dice.random() < self.kills:
            self.killed += 1
            raise Killed

    def run(self) -> int:
        """Deliver until all is done. Returns the number of invocations."""
        self.queue.send(json.dumps({"sweep_id": SWEEP, "org_id": ORG}))
        for invocation in range(1, 1000):
            wait = min(entry.visible_at for entry in self.queue.entries.values()) - self.clock().timestamp()
            self.clock.advance(timedelta(seconds=max(0.0, wait)))
            self.started = self.clock()
            [message] = self.queue.receive(1, hidden_for=5400)
            try:
                self.sweep().handle(message)
            except (Killed, Later):
                continue
            self.queue.delete(message)
            return invocation
        raise AssertionError("it does not come to an end")

    def plans(self) -> list[str]:
        """The hashes of the plans that were made."""
        keys = FolderObjects(self.folder).keys("plans/")
        return [key.split("/")[2] for key in keys if key.endswith("/plan.json")]

    def remember_as_looked_at(self, plan: str) -> None:
        """As if the first five of a plan had been done and read back."""
        state = Application(stage=Stage.REST, requested_by="schedule", source="sweep", begun_at=NOW.isoformat())
        self.rows.write(Put(application_key(ORG, plan, PlanPart.REVERSIBLE), asdict(state), 0))


def read_all(count: int, folder: Path, *, seed: int = 0, kills: float = _KILLS, traced: bool = False) -> Cost:
    """Plan over ``count`` processes. ``traced``: also measure the memory of writing the plan, which takes longer."""
    night = Crowded(count, folder, seed=seed, kills=kills)
    last_page = -(-count // PER_PAGE)
    sealing = {"bytes": 0, "began": 0.0, "seconds": 0.0}
    plain = night.after_step

    def watched() -> None:
        [row] = night.rows.read(state_key(SWEEP, ORG))
        planned = bool(row and row.values["plan"])
        if not planned and night.crowd.pages[-1] == last_page:
            # All is read, and the plan comes next. Dying here would only make it come later.
            gc.collect()
            if traced:
                tracemalloc.start()
            sealing["began"] = time.monotonic()
            return
        if planned and not sealing["seconds"]:
            sealing["seconds"] = time.monotonic() - sealing["began"]
            if traced:
                sealing["bytes"] = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
        plain()

    night.after_step = watched  # type: ignore[method-assign]
    began = time.monotonic()
    invocations = night.run()
    [report] = [detail for name, detail in night.bus.announced if name == "lifecycle.sweep.finished"]
    return Cost(
        things=int(str(report["seen"])),
        due=int(str(report["due"])),
        plans=night.plans(),
        pages=len(night.crowd.pages),
        pages_twice=len(night.crowd.pages) - len(set(night.crowd.pages)),
        invocations=invocations,
        killed=night.killed,
        seconds=time.monotonic() - began,
        simulated_minutes=(night.clock() - NOW).total_seconds() / 60,
        peak_megabytes=_peak(),
        sealing_bytes=int(sealing["bytes"]),
        sealing_seconds=sealing["seconds"],
    )


def send_all(count: int, folder: Path, plan: str) -> Cost:
    """Go on with a plan whose first five were read back: send everything else, in invocations that are killed."""
    night = Crowded(count, folder, mode=Mode.APPLY, kills=0.02)
    night.remember_as_looked_at(plan)
    apply_job = night.sweep().apply_job
    terms = ApplyTerms(by="schedule", source="sweep")
    began, stage = time.monotonic(), ""
    with apply_job.plans.open(ORG, plan) as (summary, lines):
        while stage != Stage.DONE:
            night.started = night.clock()
            with suppress(Killed):
                stage = apply_job.executor.carry_on(summary, lines, PlanPart.REVERSIBLE, terms).stage
    return Cost(
        things=summary.seen,
        due=summary.due,
        plans=[plan],
        pages=0,
        pages_twice=0,
        invocations=night.killed + 1,
        killed=night.killed,
        seconds=time.monotonic() - began,
        simulated_minutes=0,
        peak_megabytes=_peak(),
        sealing_bytes=0,
        sealing_seconds=0,
        sent=night.bulk.sent,
    )


def _peak() -> float:
    """The most memory this process has had, in MiB. Where /proc tells: rusage would start with that of the parent."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
