"""For any order of actions of people, delays, crashes and copies: a delete needs every safeguard at that time."""

import json
from contextlib import suppress
from datetime import datetime, timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st

from lifecycle.approvals.rules import ApprovalStatus
from lifecycle.deletion.export_readback import verify
from lifecycle.domain.capabilities import ORDINARY, Action, Resource, State
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import LifecycleError
from lifecycle.domain.intent import Status
from sandbox.simulator import Fault
from sandbox.simulator.world import Run, Task, Thread
from tests.harness.builders import ORG
from tests.harness.fault_injection import ANY_STEP, FaultInjector
from tests.harness.purge_run import Press, PurgeRun, operate

RUN = "a1" * 16
ADA = "arn:aws:iam::123456789012:user/ada"
MINIMUM = timedelta(days=30)

type Step = tuple[str, int]

FAULTS = (
    Fault.reset("after", method="DELETE"),
    Fault.delay(50, method="DELETE"),
    Fault.answer_status(503, path="/tasks"),
    Fault.rate_limit(30),
)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["copy", "again", "work"]), st.just(0)),
    st.tuples(st.sampled_from(["rename", "rename-back", "comment", "restore", "archive", "hold", "lift"]), st.just(0)),
    st.tuples(st.sampled_from(["approve", "reject", "withdraw"]), st.integers(0, 4)),
    st.tuples(st.sampled_from(["ask-restore", "undo"]), st.just(0)),
    st.tuples(st.just("approve"), st.integers(1, 2)),
    st.tuples(st.just("wait"), st.sampled_from([1, 10, 71, 73, 24 * 8, 24 * 29])),
    st.tuples(
        st.sampled_from([f"{harm} {when}" for harm in ("crash", "outage") for when in ("before", "after")]),
        st.integers(0, 60),
    ),
    st.tuples(st.just("fault"), st.integers(0, len(FAULTS) - 1)),
)


class Life:
    """One process with a requested delete, and its history."""

    def __init__(self, days: int) -> None:
        self.purging = PurgeRun()
        world = self.purging.world
        created = world.clock() - timedelta(days=900)
        task = Task("1" * 32, "Task", created, run_id=RUN, threads=[Thread("2" * 32, "Done.")])
        self.run = Run(RUN, "Onboard Acme", created, created, owner_id=1, checklist_id="c1" * 16, tasks=[task])
        self.run.archive(world.clock() - timedelta(days=days))
        world.simulator.organization.add_run(self.run)
        self.command = self.purging.ask(Resource.RUN, RUN)
        self.kept = False
        """Whether a stop signal was accepted after the delete was requested. If so, the delete is never carried out."""
        self.deletes = 0
        world.before_write = self.at_the_delete

    def at_the_delete(self, call: str) -> None:
        """The conditions that must be true at every delete call."""
        world = self.purging.world
        if not call.startswith("DELETE"):
            return
        self.deletes += 1
        request = self.purging.wanted(self.command)
        assert request.stands(millis(world.clock())) is ApprovalStatus.APPROVED, call
        assert request.approved_by, call
        assert set(request.approved_by) <= {"bob", "cleo"}, call
        assert not self.kept, call
        manifest, wrong = verify(world.objects, self.folder)
        assert manifest is not None, call
        assert (manifest.complete, wrong) == (True, ()), call
        if world.state(Resource.RUN, RUN) is State.GONE:
            return  # A call of ours took effect after we had given it up; this one does nothing.
        shown = json.loads(request.shown)
        assert self.run.archived_at is not None, call
        assert world.clock() - self.run.archived_at >= MINIMUM, call
        assert shown["title"] == self.run.name, call
        assert datetime.fromisoformat(shown["archived_at"]) == self.run.archived_at, call
        assert (manifest.name, manifest.made_at >= self.run.last_updated) == (self.run.name, True), call

    @property
    def folder(self) -> str:
        """The folder of the export that the ledger names."""
        return str(json.loads(self.purging.world.intent(self.command.intent_id).evidence)["export"])

    def take(self, step: Step) -> None:
        what, number = step
        words = what.split()
        match words[0]:
            case "wait":
                self.purging.advance(timedelta(hours=number))
            case "work":
                self.purging.work()
            case "approve" | "reject" | "withdraw" as said:
                self.press(said, ("ada", "bob", "cleo", "dan", "eve")[number])
            case "crash" | "outage" as harm:
                self.purging.fuse = FaultInjector(
                    ANY_STEP, "before" if words[1] == "before" else "after", harm, skip=number
                )
            case "fault":
                self.purging.world.simulator.add_fault(FAULTS[number])
            case "hold" | "lift":
                self.hold(on=what == "hold")
            case "ask-restore":
                self.ask_restore()
            case "undo":
                self.undo()
            case "copy" | "again":
                self.send(what)
            case _ if RUN in self.purging.world.simulator.organization.runs:
                self.edit(what)
            case _:
                pass

    def ask_restore(self) -> None:
        world = self.purging.world
        world.clock.advance(timedelta(seconds=1))
        world.send(world.command(Resource.RUN, RUN, Action.RESTORE, f"restore-{world.clock()}"))
        self.kept = True
        world.process(ORDINARY).deliver(10)

    def undo(self) -> None:
        world = self.purging.world
        with suppress(LifecycleError):
            operate(world.operating(), "POST /commands/{intent_id}/undo", ADA, intent_id=self.command.intent_id)
            self.kept = True

    def press(self, what: Press, who: str) -> None:
        request = self.purging.world.approvals.newest(ORG, self.command.intent_id)
        with suppress(LifecycleError):
            self.purging.press(what, request.hash if request else "", who)

    def hold(self, *, on: bool) -> None:
        if on:
            self.kept = True
            self.purging.world.holds.add(ORG, Resource.RUN, RUN, reason="a claim", by="Grace")
        else:
            self.purging.world.holds.lift(ORG, Resource.RUN, RUN)

    def send(self, what: str) -> None:
        world = self.purging.world
        if what == "copy":
            world.purge_queue.send(self.command.to_json())
        for letter in world.dead_letters.receive(10) if what == "again" else ():
            world.purge_queue.send(letter.body, {"redrive": str(letter.redrive + 1)})
            world.dead_letters.delete(letter)

    def edit(self, what: str) -> None:
        now = self.purging.world.clock()
        match what:
            case "rename" | "rename-back" | "comment":
                self.run.name = {"rename": "Onboard Ajax", "rename-back": "Onboard Acme"}.get(what, self.run.name)
                self.run.last_updated = now
            case "restore":
                self.run.restore(now)
            case "archive" if self.run.archived_at is None:
                self.run.archive(now)
            case _:
                pass


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([10, 29, 40, 40]), st.lists(STEPS, max_size=10), st.lists(STEPS, max_size=10))
def test_a_resource_is_deleted_only_if_every_safeguard_passes_and_only_once(
    days: int, before: list[Step], after: list[Step]
) -> None:
    life = Life(days)
    for step in [*before, ("work", 0), ("approve", 1), *after]:
        life.take(step)
    purging = life.purging
    purging.fuse = FaultInjector()
    purging.work()
    purging.advance(timedelta(days=70))
    event(life.purging.world.intent(life.command.intent_id).code)
    acted = [call for call in purging.deletes(RUN) if call.acted]
    assert len(acted) <= 1
    row = purging.world.intent(life.command.intent_id)
    assert row.status not in {Status.WAITING, Status.IN_PROGRESS}, (row.code, "it waits for ever")
    assert (purging.world.state(Resource.RUN, RUN) is State.GONE) == bool(acted)
    if acted:
        manifest, wrong = verify(purging.world.objects, life.folder)
        assert manifest is not None
        assert (manifest.complete, wrong) == (True, ())
    if row.status is Status.DONE:
        assert acted
        assert json.loads(row.evidence)["export"] == life.folder
