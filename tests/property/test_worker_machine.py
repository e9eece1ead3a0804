"""Any delivery, twice, late or interrupted, has one effect per intent, and nothing is lost.

Hypothesis writes the programs: deliveries, crashes at every step, AWS failing, Tallyfy failing, late copies, undos, an
operator sending dead letters again, and one worker running while another pauses between its read and its write.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from lifecycle.domain.capabilities import Action, Resource, State, capability
from lifecycle.domain.clock import millis
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.intent import DEAD, OPEN, Status
from lifecycle.execution.state_machine import Order, order, place
from sandbox.simulator import Fault, Quirks
from tests.harness.builders import ORG
from tests.harness.fault_injection import AWS_POINTS, POINTS
from tests.harness.purge_run import operate
from tests.harness.world import LEASE, TIMEOUT, World

THINGS: tuple[tuple[Resource, str], ...] = (
    (Resource.RUN, "a1" * 16),
    (Resource.RUN, "a2" * 16),
    (Resource.TASK, "b1" * 16),
    (Resource.TEMPLATE, "c1" * 16),
)
NOBODY = "dd" * 16
ADA = "arn:aws:iam::123456789012:user/ada"
UNDO = "POST /commands/{intent_id}/undo"
REACHED = frozenset({Status.DONE, Status.UNCHANGED})

whens: st.SearchStrategy[Literal["before", "after"]] = st.sampled_from(["before", "after"])
waits = st.sampled_from([1, 5, TIMEOUT - 1, LEASE + 1, 361, 901, 3601, 86_400])
faults = st.one_of(
    st.builds(Fault.answer_status, st.sampled_from([500, 503, 408]), whens),
    st.builds(Fault.reset, whens),
    st.builds(Fault.html, st.just(502), whens),
    st.builds(Fault.error_in_200, whens),
    st.builds(Fault.rate_limit, st.sampled_from([1, 30, 600])),
    st.builds(lambda: Fault.delay(11, "after")),
    # A call that its caller gave up on and that takes effect all the same, within the lease.
    st.builds(lambda seconds: Fault.delay(seconds, "before", method="DELETE"), st.sampled_from([12, 40])),
    st.builds(lambda seconds: Fault.delay(seconds, "before", method="PUT"), st.sampled_from([12, 40])),
)


@dataclass(frozen=True)
class Word:
    """A stop signal for a resource: a restore or a hold, and the number of calls when it was accepted."""

    thing: str
    place: Order
    calls: int


class WorkerMachine(RuleBasedStateMachine):
    copies: Bundle[str] = Bundle("copies")

    def __init__(self) -> None:
        super().__init__()
        self.world = World(quirks=Quirks())
        self.processes = [self.world.process(), self.world.process()]
        self.commands: list[Command] = []
        self.late: list[str] = []
        self.words: list[Word] = []
        self.undone: set[str] = set()
        self.by_hand: set[str] = set()
        for number, (resource, thing) in enumerate(THINGS):
            self.world.add(resource, thing, archived_days=40 if number == 1 else None)

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(
        target=copies,
        thing=st.sampled_from(THINGS),
        action=st.sampled_from([Action.ARCHIVE, Action.RESTORE]),
        patience=st.sampled_from([None, None, None, 120]),
        arrives=st.sampled_from(["now", "now", "late"]),
    )
    def ask(self, thing: tuple[Resource, str], action: Action, patience: int | None, arrives: str) -> str:
        return self._ask(*thing, action, patience, send=arrives == "now")

    @rule(target=copies)
    def ask_for_what_does_not_exist(self) -> str:
        return self._ask(Resource.RUN, NOBODY, Action.ARCHIVE, None)

    @rule(target=copies, thing=st.sampled_from(THINGS), number=st.sampled_from([0, 1]))
    def ask_then_undo(self, thing: tuple[Resource, str], number: int) -> MultipleResults[str]:
        archive = self._ask(*thing, Action.ARCHIVE, None)
        self._deliver(number)
        return multiple(archive, self._ask(*thing, Action.RESTORE, None))

    @rule(body=copies)
    def send_a_copy(self, body: str) -> None:
        self.world.queue.send(body)

    @rule(number=st.sampled_from([0, 1]), most=st.integers(1, 4))
    def deliver(self, number: int, most: int) -> None:
        self._deliver(number, most)

    @rule(number=st.sampled_from([0, 1]), point=st.sampled_from(POINTS), when=whens, skip=st.sampled_from([0, 0, 1]))
    def deliver_and_crash(self, number: int, point: str, when: Literal["before", "after"], skip: int) -> None:
        fuse = self.processes[number].fuse
        fuse.point, fuse.when, fuse.skip, fuse.harm, fuse.blown = point, when, skip, "crash", False
        self._deliver(number, 2)

    @rule(number=st.sampled_from([0, 1]), point=st.sampled_from(AWS_POINTS), when=whens)
    def deliver_while_aws_fails(self, number: int, point: str, when: Literal["before", "after"]) -> None:
        fuse = self.processes[number].fuse
        fuse.point, fuse.when, fuse.skip, fuse.harm, fuse.blown = point, when, 0, "outage", False
        self._deliver(number, 2)

    @rule(wait=st.sampled_from([0, 5, TIMEOUT + 5, LEASE + 5]), most=st.integers(1, 3), copy=copies)
    def two_at_once(self, wait: int, most: int, copy: str) -> None:
        """The first worker has read the resource. Before it writes, the other worker runs for any time."""

        def meanwhile() -> None:
            self.world.queue.send(copy)
            self.processes[1].deliver(most)
            self.world.clock.advance(timedelta(seconds=wait))
            self.world.land()
            self.processes[1].deliver(most)

        self.processes[0].transport.after_look = meanwhile
        self._deliver(0)
        self.processes[0].transport.after_look = None

    @rule(fault=faults, times=st.sampled_from([1, 1, 2, 4]))
    def tallyfy_fails(self, fault: Fault, times: int) -> None:
        self.world.simulator.add_fault(fault.model_copy(update={"times": times}))

    @rule(seconds=waits)
    def time_passes(self, seconds: int) -> None:
        self.world.clock.advance(timedelta(seconds=seconds))
        self.world.land()

    @rule()
    def operator_sends_again(self) -> None:
        self.world.send_again()

    @rule(target=copies, thing=st.sampled_from(THINGS), number=st.sampled_from([0, 1]))
    def ask_then_hold(self, thing: tuple[Resource, str], number: int) -> str:
        archive = self._ask(*thing, Action.ARCHIVE, None)
        self._hold(thing)
        self._deliver(number)
        return archive

    @rule(thing=st.sampled_from(THINGS))
    def somebody_puts_a_hold(self, thing: tuple[Resource, str]) -> None:
        self._hold(thing)

    def _hold(self, thing: tuple[Resource, str]) -> None:
        self.world.clock.advance(timedelta(seconds=1))
        self.world.holds.add(ORG, *thing, reason="audit", by="Ada")
        self._word(thing[1], order(millis(self.world.clock()), Action.RESTORE, ""))

    @rule(thing=st.sampled_from(THINGS))
    def somebody_lifts_a_hold(self, thing: tuple[Resource, str]) -> None:
        self.world.clock.advance(timedelta(seconds=1))
        self.world.holds.lift(ORG, *thing, by="Ada")

    @rule(paused=st.booleans())
    def somebody_pauses_or_resumes(self, paused: bool) -> None:  # noqa: FBT001 - a draw
        if paused:
            self.world.pacing.pause(ORG, "Ada")
        else:
            self.world.pacing.resume(ORG)

    @rule(number=st.integers(0, 30))
    def somebody_undoes_a_command(self, number: int) -> None:
        """An intent in any state: queued, waiting, interrupted, done, or an undo itself."""
        if not self.commands:
            return
        self.world.clock.advance(timedelta(seconds=1))
        target = self.commands[number % len(self.commands)]
        sent = len(self.world.queue.entries)
        try:
            _, told = operate(self.world.operating(), UNDO, ADA, intent_id=target.intent_id)
        except (Rejected, Retryable):
            return
        name = str(told["intent_id"])
        self.undone.add(target.intent_id)
        if len(self.world.queue.entries) > sent and name not in {command.intent_id for command in self.commands}:
            body = list(self.world.queue.entries.values())[-1].message.body
            self.commands.append(Command.model_validate_json(body))
        row = self.world.intent(name)
        if row.action == Action.RESTORE and row.code != Code.UNDONE:
            self._word(row.id, place(row))

    @rule(thing=st.sampled_from(THINGS[:2]))
    def somebody_restores_or_archives_by_hand(self, thing: tuple[Resource, str]) -> None:
        self.world.clock.advance(timedelta(seconds=1))
        run = self.world.simulator.organization.runs[thing[1]]
        if run.archived_at is None:
            run.archive(self.world.clock())
        else:
            run.restore(self.world.clock())
        self.by_hand.add(thing[1])

    @rule(body=consumes(copies))
    def a_sender_stops_repeating(self, body: str) -> None:
        """Keeps the pool of late copies small."""

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def each_intent_has_one_effect_at_most(self) -> None:
        twice = [intent for intent, calls in self.world.effects.items() if len(calls) > 1]
        assert not twice

    @invariant()
    def nothing_is_taken_away_after_a_newer_word_for_keeping_was_accepted(self) -> None:
        if not self.words:
            return
        made = {id(call): number for number, call in enumerate(self.world.simulator.log.calls)}
        issued = {command.intent_id: command for command in self.commands}
        for intent, calls in self.world.effects.items():
            command = issued[intent]
            if command.action is Action.RESTORE:
                continue
            row = self.world.intent(intent)
            for call in calls:
                sent_before = (call.fault or "").startswith("delay/before")  # it lands later than it was sent
                late = [w for w in self.words if w.thing == command.id and w.calls <= made[id(call)]]
                assert sent_before or not any(word.place > place(row) for word in late), (row, late)

    @invariant()
    def nothing_acts_without_an_intent(self) -> None:
        assert set(self.world.effects) <= {command.intent_id for command in self.commands}

    @invariant()
    def what_ended_without_doubt_tells_the_truth(self) -> None:
        for command in self.commands:
            row = self.world.intent(command.intent_id)
            effects = len(self.world.effects[command.intent_id])
            if row.status is Status.UNCHANGED or (row.status not in OPEN | REACHED and not row.maybe_acted):
                assert effects == 0, row
            elif row.code == "acted":
                assert effects == 1, row

    @invariant()
    def whatever_is_dead_and_owes_nothing_has_a_dead_letter_or_was_sent_again(self) -> None:
        sent_again = {c.intent_id for c in self.commands if self._waits(c.intent_id)}
        for command in self.commands:
            row = self.world.ledger.find(command.intent_id)
            if row is not None and row.status in DEAD and "dead_letter" not in row.pending:
                assert self.world.letters(row.intent_id) or row.intent_id in sent_again, row

    def teardown(self) -> None:
        """Everything is delivered again without faults."""
        world = self.world
        world.simulator.faults.clear()
        world.pacing.resume(ORG)
        for process in self.processes:
            process.fuse.point = ""
        for body in self.late:
            world.queue.send(body)
        world.clock.advance(timedelta(seconds=LEASE))
        world.land()
        world.drain(world.process())
        for command in self.commands:
            row = world.intent(command.intent_id)
            assert row.status not in OPEN, row
            assert row.pending == (), row
            assert row.status.value in world.announced(row.intent_id), row
            if row.status in DEAD:
                assert world.letters(row.intent_id), row
        self.each_intent_has_one_effect_at_most()
        self.what_ended_without_doubt_tells_the_truth()
        for resource, thing in THINGS:
            self._is_as_the_newest_says(resource, thing)

    # --- in short -----------------------------------------------------------------------------------------------------

    def _ask(self, resource: Resource, thing: str, action: Action, patience: int | None, *, send: bool = True) -> str:
        world = self.world
        world.clock.advance(timedelta(seconds=1))
        more = {} if patience is None else {"not_after": world.clock() + timedelta(seconds=patience)}
        command = world.command(resource, thing, action, f"delivery-{len(self.commands)}", **more)
        self.commands.append(command)
        world.ledger.accept(command)
        if action is Action.RESTORE:
            self._word(thing, order(millis(command.issued_at), action, command.intent_id))
        body = command.to_json()
        if send:
            world.queue.send(body)
        else:
            self.late.append(body)  # it arrives after newer ones, if not before then in the end
        return body

    def _word(self, thing: str, at: Order) -> None:
        self.words.append(Word(thing, at, len(self.world.simulator.log.calls)))

    def _deliver(self, number: int, most: int = 1) -> None:
        process = self.processes[number]
        process.deliver(most)
        process.fuse.point = ""
        if process.fuse.dead:
            self.processes[number] = self.world.process()
        self.world.land()

    def _waits(self, intent: str) -> bool:
        return any(intent in entry.message.body for entry in self.world.queue.entries.values())

    def _is_as_the_newest_says(self, resource: Resource, thing: str) -> None:
        if thing in self.by_hand:
            return  # changes in Tallyfy itself have no place in our order
        rows = [self.world.intent(c.intent_id) for c in self.commands if c.id == thing]
        if any(row.status in DEAD and self.world.effects[row.intent_id] for row in rows):
            return  # it acted, was interrupted, and ended before the next read: the ledger records only that
        reached = sorted((row for row in rows if row.status in REACHED), key=place)
        untouched = State.ARCHIVED if thing == THINGS[1][1] else State.ACTIVE
        wanted = capability(resource, Action(reached[-1].action)).reaches if reached else untouched
        assert self.world.state(resource, thing) is wanted, rows


_SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


class LongMachine(WorkerMachine):
    """The same, for `make prove`."""


# The same small set of programs each time, so that CI is quick and never surprises.
TestWorkerMachine = WorkerMachine.TestCase
TestWorkerMachine.settings = settings(
    max_examples=400, stateful_step_count=30, derandomize=True, deadline=None, suppress_health_check=_SLOW
)

# New programs each time.
TestWorkerMachineAtLength = pytest.mark.prove(LongMachine.TestCase)
TestWorkerMachineAtLength.settings = settings(
    max_examples=20_000, stateful_step_count=30, deadline=None, suppress_health_check=_SLOW
)
