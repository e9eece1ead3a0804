"""Whatever nights are missed, deliveries fail and people edit: nothing is done earlier than warned and promised."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lifecycle.aws.dynamodb import MemoryTable, Put
from lifecycle.aws.s3 import MemoryObjects
from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.errors import Retryable
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.plans.plan_file import write_lines
from lifecycle.plans.warning_marks import MarkWriter, SentWarnings, WarningMarks, store_marks
from lifecycle.policy.evaluate import Decision, evaluate
from lifecycle.policy.policy import Policy, Rule
from lifecycle.policy.warnings import WarnFirst
from lifecycle.sweep.jobs import SCHEDULE, JobKind, SweepJob
from lifecycle.sweep.state import SweepState, newest_key
from lifecycle.sweep.warn_job import WarningDeliveries, WarningNotice, WarnJob
from tests.harness.builders import ORG
from tests.harness.fault_injection import Crash

START = datetime(2026, 3, 20, 3, tzinfo=UTC)
ONE, TWO = "01" * 16, "02" * 16
RECIPIENTS = {ONE: frozenset({"person:ada"}), TWO: frozenset({"person:ada", "channel:ops"})}
ZONES = ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/Los_Angeles")

STEPS = st.one_of(
    st.tuples(st.sampled_from(["sweep", "sweep", "sweep", "report"]), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([1, 12, 24, 24, 72, 24 * 8, 24 * 40, -30])),
    st.tuples(
        st.sampled_from(["hold", "lift", "reopen", "complete", "own", "rename", "hide", "show"]), st.integers(1, 2)
    ),
    st.tuples(st.sampled_from(["out", "gone", "back", "crash"]), st.integers(1, 2)),
    st.tuples(st.just("days"), st.sampled_from([0, 1, 3, 7, 20])),
    st.tuples(st.just("age"), st.sampled_from([5, 10, 30])),
    st.tuples(st.just("zone"), st.integers(0, len(ZONES) - 1)),
)


@dataclass(frozen=True)
class WarningMessage:
    """A warning as its recipient saw it."""

    recipient: str
    id: str
    at: datetime
    promised: datetime
    epoch: int


@dataclass
class History:
    """Two processes, their people and a policy, over many nights. It keeps its own, simpler account of what is owed."""

    now: datetime = START
    days: int = 7
    age: int = 10
    zone: str = "UTC"
    held: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    out: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    crash: int = 0
    sweeps: int = 0
    acted: int = 0
    messages: list[WarningMessage] = field(default_factory=list)
    doubtful: set[tuple[str, str, int]] = field(default_factory=set)
    """Messages whose delivery was not recorded, because the process died: these may come twice."""

    def __post_init__(self) -> None:
        self.rows, self.objects = MemoryTable(), MemoryObjects()
        self.state = SweepState(rows=self.rows, clock=lambda: self.now, terms="")
        self.marks = WarningMarks(self.objects, SentWarnings(self.rows))
        self.queue: list[tuple[str, WarningNotice]] = []
        self.epochs: Counter[str] = Counter()
        self.looked: dict[str, object] = {}
        self.waiting: SweepJob | None = None
        self.things = {
            name: ResourceSnapshot(
                resource=Resource.RUN,
                id=name,
                state=State.ACTIVE,
                name="Onboarding",
                status="complete",
                created_at=START - timedelta(days=300),
                completed_at=START - timedelta(days=200),
                owners=frozenset({"1"}),
            )
            for name in (ONE, TWO)
        }

    @property
    def policy(self) -> Policy:
        rule: dict[str, object] = {
            "name": "completed",
            "resource": "process",
            "action": "archive",
            "when": {"completed_days": self.age},
        }
        if self.days:
            rule |= {"warn_days": self.days, "warn": ["owner"]}
        return Policy.model_validate({"zone": self.zone, "rules": [rule]})

    def recipients(self, org_id: str, rule: Rule, thing: ResourceSnapshot) -> frozenset[str]:
        return RECIPIENTS[thing.id]

    def warn(self, recipient: str, notice: WarningNotice) -> None:
        self.queue.append((recipient, notice))

    def sweep(self, *, begins: bool) -> None:
        self.sweeps += 1
        sweep_id, policy, newest = f"sweep-{self.sweeps}", self.policy, self.state.newest(ORG)
        warn_first = WarnFirst(
            policy=policy,
            sweep_id=sweep_id,
            now=self.now,
            recipients=lambda rule, thing: self.recipients(ORG, rule, thing),
            marks=self.marks.load(ORG, newest.plan) if newest else {},
            begins=begins,
        )
        acts: list[str] = []
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "marks")
            with write_lines(path) as file:
                marker = MarkWriter(file)
                for thing in self.things.values():
                    if thing.id in self.hidden:
                        continue
                    held = Holds({f"run#{name}": "an audit" for name in self.held}, frozenset())
                    decided = evaluate(thing, policy, held, self.now)
                    self._look(thing, decided)
                    decision, mark = warn_first.decide(thing, decided)
                    if mark:
                        marker.add(mark)
                    if decision.action:
                        self._check(thing.id)
                        acts.append(thing.id)
                for mark in warn_first.rest():
                    marker.add(mark)
            plan = f"{self.sweeps:064x}"
            store_marks(self.objects, ORG, plan, path)
        [row] = self.rows.read(newest_key(ORG))
        self.state.rows.write(_newest(plan, sweep_id, row.version if row else 0))
        if begins:
            self.waiting = SweepJob(
                sweep_id=f"{sweep_id}:warn", org_id=ORG, kind=JobKind.WARN, plan=plan, requested_by=SCHEDULE
            )
            self.deliver()
            for name in acts:
                self.acted += 1
                # It is archived, restored and completed once more: a life of its own.
                self.things[name] = replace(self.things[name], completed_at=self.now)

    def deliver(self) -> None:
        """Hand over what the newest sweep has to say, and post what was handed over."""
        if self.waiting is not None:
            job = WarnJob(
                state=self.state,
                marks=self.marks,
                warner=self,
                clock=lambda: self.now,
                after_step=self._die_in_the_job,
            )
            with suppress(Crash):
                job.run(self.waiting, ORG)
                self.waiting = None
        deliveries = WarningDeliveries(self.state, self.marks.sent)
        taken, self.queue = self.queue, []
        for recipient, notice in taken:
            if recipient in self.out:
                self.queue.append((recipient, notice))
            elif recipient not in self.gone and deliveries.is_wanted(ORG, notice.plan, notice.sweep_id, recipient):
                self._post(recipient, notice)
                if self.crash == 2:
                    # The function dies before it records the delivery, and the queue delivers the message again.
                    self.crash = 0
                    self.doubtful |= {(mark.id, recipient, self.epochs[mark.id]) for mark in notice.things}
                    self.queue.append((recipient, notice))
                else:
                    deliveries.record(ORG, notice.sweep_id, recipient)

    def _die_in_the_job(self) -> None:
        if self.crash == 1:
            self.crash = 0
            raise Crash

    def _post(self, recipient: str, notice: WarningNotice) -> None:
        for mark in notice.things:
            seen = WarningMessage(recipient, mark.id, self.now, notice.not_before, self.epochs[mark.id])
            self.messages.append(seen)

    def _look(self, thing: ResourceSnapshot, decided: Decision) -> None:
        """What the sweep saw of a thing. Another look, or a thing that is not due, begins another account of it."""
        look = (thing.completed_at, thing.owners, self.age) if decided.action else None
        if look is None or (self.days and look != self.looked.get(thing.id)):
            self.epochs[thing.id] += 1
            self.looked[thing.id] = look

    def _check(self, name: str) -> None:
        about = [one for one in self.messages if one.id == name]
        for one in about:
            assert self.now >= one.promised, "earlier than a promise"
        if self.days:
            here = [one for one in about if one.epoch == self.epochs[name]]
            assert {one.recipient for one in here} == RECIPIENTS[name], "somebody was not warned"
            first = {one.recipient: one.at for one in reversed(here)}
            assert self.now >= max(first.values()) + timedelta(days=self.days), "fewer days than the rule says"

    def step(self, what: str, number: int) -> None:
        name = ONE if number == 1 else TWO
        match what:
            case "sweep" | "report":
                self.sweep(begins=what == "sweep")
            case "wait":
                self.now += timedelta(hours=number)
                self.deliver()
            case "hold":
                self.held.add(name)
            case "lift":
                self.held.discard(name)
            case "hide":
                self.hidden.add(name)
            case "show":
                self.hidden.discard(name)
            case "out" | "gone":
                (self.out if what == "out" else self.gone).add("person:ada" if number == 1 else "channel:ops")
            case "back":
                self.out, self.gone = set(), set()
            case "crash":
                self.crash = number
            case "days" | "age":
                setattr(self, what, number)
            case "zone":
                self.zone = ZONES[number]
            case _:
                self._change(name, what)

    def _change(self, name: str, what: str) -> None:
        changes: Mapping[str, Mapping[str, object]] = {
            "reopen": {"status": "active"},
            "complete": {"status": "complete", "completed_at": self.now - timedelta(days=30)},
            "own": {"owners": frozenset({str(len(self.messages))})},
            "rename": {"name": f"Renamed {self.sweeps}"},
        }
        self.things[name] = replace(self.things[name], **changes[what])  # type: ignore[arg-type]

    def ends(self) -> None:
        """Nobody was warned twice about the same, and once nothing disturbs any more, what is due is done."""
        counts = Counter((one.id, one.recipient, one.epoch) for one in self.messages)
        for what, count in counts.items():
            assert count == 1 or what in self.doubtful, "warned twice"
        self.step("back", 0)
        self.held, self.hidden, self.crash, acted = set(), set(), 0, self.acted
        if any(thing.status != "complete" for thing in self.things.values()):
            return
        for _ in range(3):
            self.step("sweep", 0)
            self.step("wait", 24 * 250)
        self.step("sweep", 0)
        assert self.acted > acted, "what is due is never done"


def _newest(plan: str, sweep_id: str, version: int) -> Put:
    return Put(newest_key(ORG), {"sweep_id": sweep_id, "plan": plan}, version)


def _play(steps: list[tuple[str, int]]) -> None:
    history = History()
    for what, number in steps:
        with suppress(Retryable):
            history.step(what, number)
    history.ends()
    event("acted" if history.acted else "did nothing")


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, min_size=4, max_size=30))
def test_nothing_is_done_earlier_than_people_were_warned_and_promised(steps: list[tuple[str, int]]) -> None:
    _play(steps)


@pytest.mark.prove
@settings(max_examples=10_000, deadline=None)
@given(st.lists(STEPS, min_size=4, max_size=60))
def test_10000_histories_do_nothing_earlier_than_people_were_warned_and_promised(steps: list[tuple[str, int]]) -> None:
    _play(steps)
