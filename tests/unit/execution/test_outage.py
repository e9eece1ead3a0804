"""An outage of everything is not a failed attempt of each command. What fails alone still ends after six attempts."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import override

import pytest

from lifecycle.aws.metrics import Metric
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.intent import Status
from sandbox.simulator import Fault
from tests.harness.builders import ORG
from tests.harness.sweep_run import SweepRun
from tests.harness.world import Process, World

MINUTES = timedelta(minutes=1)
RUNS = [f"{number:032x}" for number in range(1, 61)]


def _dice() -> Callable[[], float]:
    """Numbers in [0, 1), the same in every run."""
    state = [1]

    def roll() -> float:
        state[0] = state[0] * 48271 % 2147483647
        return state[0] / 2147483647

    return roll


@dataclass(slots=True)
class BreakableSecrets(MemorySecrets):
    """Secrets Manager, as long as it is not down."""

    is_down: bool = False

    @override
    def get(self, name: str, *, fresh: bool = False) -> str:
        if self.is_down:
            raise Retryable(Code.UNAVAILABLE, f"Secret '{name}' could not be read.", outage=True)
        return MemorySecrets.get(self, name, fresh=fresh)


class Crew:
    """Three workers on one queue, while time passes."""

    def __init__(self, runs: list[str], action: Action = Action.ARCHIVE) -> None:
        self.world = World(roll=_dice())
        self.secrets = BreakableSecrets(self.world.secrets.texts)
        self.world.secrets = self.secrets
        self.workers = [self.world.process() for _ in range(3)]
        self.intents = {}
        for run in runs:
            self.world.add(Resource.RUN, run, archived_days=1 if action is Action.RESTORE else None)
            command = self.world.command(Resource.RUN, run, action, run)
            self.intents[run] = command.intent_id
            self.world.send(command)

    def work(self, lasting: timedelta | None = None) -> None:
        """Deliver what is visible until then, or until the queue is empty."""
        world = self.world
        end = world.clock() + (lasting or timedelta(days=4))
        while (wait := world.next_visible()) is not None and world.clock() + timedelta(seconds=wait) < end:
            world.clock.advance(timedelta(seconds=wait))
            for worker in self.workers:
                worker.deliver(10)
        if lasting is not None:
            world.clock.advance(end - world.clock())

    def status(self, run: str) -> Status:
        """How the command about a run stands."""
        return self.world.intent(self.intents[run]).status

    @property
    def asked(self) -> int:
        """How often Tallyfy was called."""
        return len(self.world.simulator.log.calls)


@contextmanager
def down(crew: Crew, *faults: Fault) -> Iterator[None]:
    """Tallyfy is down for everything, or as the faults say."""
    crew.world.simulator.add_fault(*(faults or [Fault.answer_status(503, times=-1)]))
    yield
    crew.world.simulator.faults.clear()


@contextmanager
def without_secrets(crew: Crew) -> Iterator[None]:
    """Secrets Manager is down, and no token is cached."""
    crew.secrets.is_down = True
    yield
    crew.secrets.is_down = False


OUTAGES: dict[str, Callable[[Crew], AbstractContextManager[None]]] = {
    "Tallyfy answers 503": down,
    "Tallyfy answers 408": lambda crew: down(crew, Fault.answer_status(408, times=-1)),
    "Tallyfy shows an error page": lambda crew: down(crew, Fault.html(502, times=-1)),
    "Connections are reset": lambda crew: down(crew, Fault.reset(times=-1)),
    "Tallyfy reads, and takes no write": lambda crew: down(
        crew, *(Fault.answer_status(503, times=-1, method=method) for method in ("PUT", "DELETE"))
    ),
    "Secrets Manager is down": without_secrets,
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
@pytest.mark.parametrize("action", [Action.ARCHIVE, Action.RESTORE])
def test_no_command_ends_in_twenty_minutes_of_outage(
    outage: Callable[[Crew], AbstractContextManager[None]], action: Action
) -> None:
    crew = Crew(RUNS, action)
    with outage(crew):
        crew.work(20 * MINUTES)
    crew.work()
    wanted = State.ACTIVE if action is Action.RESTORE else State.ARCHIVED
    assert {crew.world.state(Resource.RUN, run) for run in RUNS} == {wanted}
    assert crew.world.depth == (0, 0)


def test_no_command_ends_in_five_hours_of_outage_and_all_are_done_half_an_hour_later() -> None:
    crew = Crew(RUNS)
    with down(crew):
        crew.work(timedelta(hours=5))
    crew.work(30 * MINUTES)
    assert {crew.status(run) for run in RUNS} == {Status.DONE}
    assert crew.world.depth == (0, 0)


def test_no_command_ends_in_three_days_of_outage() -> None:
    crew = Crew(RUNS)
    with down(crew):
        crew.work(timedelta(days=3))
    crew.work()
    assert {crew.status(run) for run in RUNS} == {Status.DONE}


def test_during_an_outage_tallyfy_is_called_once_every_few_minutes() -> None:
    crew = Crew(RUNS)
    with down(crew):
        crew.work(10 * MINUTES)
        before = crew.asked
        crew.work(60 * MINUTES)
    # A probe looks once, and asks once more whether Tallyfy answers at all; the breaker opens for 150 s at least.
    assert 10 <= crew.asked - before <= 2 * 60 * 60 / 150


def test_no_command_ends_while_tallyfy_flaps() -> None:
    crew = Crew(RUNS)
    for _ in range(20):
        with down(crew):
            crew.work(3 * MINUTES)
        crew.work(timedelta(seconds=2))
    crew.work()
    assert {crew.status(run) for run in RUNS} == {Status.DONE}


@pytest.mark.parametrize("broken", [RUNS[:1], RUNS[:2], RUNS[:5]], ids=["one", "two", "five"])
def test_a_broken_command_ends_after_six_attempts_while_all_others_are_done(broken: list[str]) -> None:
    crew = Crew(RUNS)
    for run in broken:
        crew.world.simulator.add_fault(Fault.answer_status(500, times=-1, id=run))
    crew.work(4 * 60 * MINUTES)
    assert {crew.status(run) for run in broken} == {Status.DEAD_LETTERED}
    assert {crew.world.letters(crew.intents[run])[0]["code"] for run in broken} == {Code.ATTEMPTS_EXHAUSTED}
    assert {crew.status(run) for run in RUNS if run not in broken} == {Status.DONE}


@pytest.mark.parametrize("count", [1, 3])
def test_a_broken_command_ends_after_six_attempts_when_it_is_the_only_one(count: int) -> None:
    crew = Crew(RUNS[:count])
    for run in RUNS[:count]:
        crew.world.simulator.add_fault(Fault.answer_status(500, times=-1, id=run))
    crew.work(4 * 60 * MINUTES)
    assert {crew.status(run) for run in RUNS[:count]} == {Status.DEAD_LETTERED}


def test_an_outage_is_reported_when_it_begins_and_when_it_ends() -> None:
    crew = Crew(RUNS)
    with down(crew):
        crew.work(20 * MINUTES)
    crew.work()
    told = [signal for signal, _ in crew.world.metrics.notes if signal in {Metric.OUTAGE, Metric.OUTAGE_OVER}]
    assert told == [Metric.OUTAGE, Metric.OUTAGE_OVER]


def test_a_pause_wins_over_an_outage() -> None:
    crew = Crew(RUNS)
    with down(crew):
        crew.work(5 * MINUTES)
        crew.world.pacing.pause(ORG, "Ada")
        crew.world.metrics.notes.clear()
        crew.work(60 * MINUTES)
        codes = {facts["code"] for signal, facts in crew.world.metrics.notes if signal is not Metric.OUTAGE}
    assert codes == {Code.PAUSED}


def test_a_refused_token_counts_as_an_answer_and_ends_the_outage() -> None:
    crew = Crew(RUNS[:1])
    _opened(crew.world)
    crew.world.clock.advance(MINUTES)
    crew.world.simulator.world.rotate_token(ORG, 1001, "a new token")
    crew.workers[0].deliver()
    assert crew.world.pacing.reserve(ORG, 2).calls == 2
    assert crew.world.metrics.counts[Metric.TOKEN_REFUSED] == 1


def test_an_ordinary_command_needs_no_extra_write() -> None:
    crew = Crew(RUNS[:1])
    process: Process = crew.workers[0]
    process.deliver()
    assert process.fuse.taken.count("pace") == 1


def test_a_failure_that_cannot_be_recorded_keeps_the_doubt_about_a_write() -> None:
    crew = Crew(RUNS[:1])
    crew.world.simulator.add_fault(Fault.reset("after", method="DELETE"))
    crew.world.simulator.add_fault(Fault.answer_status(503, method="GET", skip=1))
    process: Process = crew.workers[0]
    process.fuse.point, process.fuse.harm, process.fuse.skip = "pace", "outage", 1
    process.deliver()
    assert crew.world.intent(crew.intents[RUNS[0]]).maybe_acted


def test_an_outage_of_one_organization_does_not_stop_another() -> None:
    crew = Crew([])
    other = "0f" * 16
    for thing in "abc":
        crew.world.pacing.failed(ORG, thing, 0.5)
    assert crew.world.pacing.reserve(ORG, 2).calls == 0
    assert crew.world.pacing.reserve(other, 2).calls == 2


def _opened(world: World) -> None:
    for thing in "abc":
        world.pacing.failed(ORG, thing, 1.0)


def test_a_sweep_makes_no_call_while_the_breaker_is_open_and_goes_on_afterwards() -> None:
    night = SweepRun(World())
    night.world.add(Resource.RUN, RUNS[0])
    _opened(night.world)
    night.begin()
    night.deliver()
    assert night.world.simulator.log.calls == []
    night.world.clock.advance(MINUTES)
    night.drain()
    assert night.world.metrics.counts[Metric.SWEEP_FINISHED] == 1


def test_a_sweep_that_reaches_tallyfy_ends_the_outage() -> None:
    night = SweepRun(World())
    _opened(night.world)
    night.world.clock.advance(MINUTES)
    night.begin()
    night.deliver()  # one message for each organization
    night.deliver()
    assert night.world.metrics.counts[Metric.OUTAGE_OVER] == 1
    assert night.world.pacing.reserve(ORG, 20).calls == 20


def test_a_sweep_that_fails_as_a_probe_keeps_the_breaker_open_for_longer() -> None:
    night = SweepRun(World())
    _opened(night.world)
    night.world.clock.advance(MINUTES)
    night.world.simulator.add_fault(Fault.answer_status(503, times=-1))
    night.begin()
    night.deliver()  # one message for each organization
    night.deliver()
    admission = night.world.pacing.reserve(ORG, 2)
    assert (admission.calls, admission.wait) == (0, 30.0)
