"""Every way a command can end, and every way it can wait, named by what happens."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import cast, override

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext as RealContext

from functions.worker import app
from lifecycle.aws.dynamodb import Key, MemoryTable, Row
from lifecycle.aws.metrics import Metric
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.bootstrap.observability import metrics
from lifecycle.domain.capabilities import ORDINARY, PERMANENT, TABLE, Action, Capability, Resource, State
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.intent import Status
from lifecycle.holds.store import HoldKind
from lifecycle.pacing.token_bucket import Lane, Rate
from sandbox.simulator import STANDARD_TOKEN, Fault
from sandbox.simulator.world import Run, Task, Template
from tests.harness.builders import ORG, PREFIX, LambdaContext
from tests.harness.fault_injection import When
from tests.harness.world import EVERYTHING, LEASE, VISIBILITY, World

RUN = "a1" * 16
OTHER = "a2" * 16


@dataclass
class Case:
    """One world, mostly with one process to archive, and one worker."""

    world: World = field(default_factory=World)
    capabilities: frozenset[Capability] = EVERYTHING

    def __post_init__(self) -> None:
        self.worker = self.world.process(self.capabilities)

    def ask(
        self, action: Action = Action.ARCHIVE, resource: Resource = Resource.RUN, thing: str = RUN, **more: object
    ) -> Command:
        self.world.clock.advance(timedelta(seconds=1))
        delivery = str(more.pop("delivery", f"{resource}-{thing}-{action}-{self.world.clock()}"))
        command = self.world.command(resource, thing, action, delivery, **more)
        self.world.send(command)
        return command

    def fail(self, *faults: Fault) -> None:
        self.world.simulator.add_fault(*faults)

    def crash(self, point: str, when: When) -> None:
        """The worker dies in its next invocation; a new one takes its place and the message comes back."""
        self.worker.fuse.point, self.worker.fuse.when = point, when
        self.worker.deliver()
        assert self.worker.fuse.dead
        self.worker = self.world.process(self.capabilities)
        self.wait(VISIBILITY)

    def aws_fails(self, point: str, when: When = "before") -> None:
        fuse = self.worker.fuse
        fuse.point, fuse.when, fuse.harm, fuse.blown = point, when, "outage", False

    def wait(self, seconds: float) -> None:
        self.world.clock.advance(timedelta(seconds=seconds))
        self.world.land()

    def hidden_for(self) -> float:
        found = self.world.next_visible()
        assert found is not None, "the queue is empty"
        return found

    def effects(self, command: Command) -> int:
        return len(self.world.effects[command.intent_id])

    def is_at(self, command: Command, status: Status, code: Code) -> None:
        row = self.world.intent(command.intent_id)
        assert (row.status, row.code) == (status, code), row

    def is_dead(self, command: Command, status: Status, code: Code) -> None:
        """It ended without being done: with a dead letter that says why, and announced."""
        self.is_at(command, status, code)
        row = self.world.intent(command.intent_id)
        assert row.pending == ()
        [letter] = self.world.letters(command.intent_id)
        assert (letter["code"], letter["reason"]) == (row.code, row.reason)
        assert self.world.announced(command.intent_id)[-1] == status
        assert self.world.next_visible() is None


@pytest.fixture
def case() -> Case:
    made = Case()
    made.world.add(Resource.RUN, RUN)
    return made


# --- done -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("doing", TABLE, ids=lambda doing: doing.name)
def test_each_capability_is_carried_out_with_one_look_and_one_write(doing: Capability) -> None:
    case = Case()
    active = doing.action is Action.ARCHIVE or doing.resource is Resource.TAG
    case.world.add(doing.resource, RUN, archived_days=None if active else 40)
    command = case.ask(doing.action, doing.resource)
    assert case.worker.deliver() == 1
    case.is_at(command, Status.DONE, Code.ACTED)
    assert case.world.state(doing.resource, RUN) is doing.reaches
    assert case.effects(command) == len(case.world.writes()) == 1
    assert case.world.announced(command.intent_id) == ["done"]
    assert case.world.depth == (0, 0)


def test_an_outcome_event_holds_the_requester_and_the_command_and_no_more(case: Case) -> None:
    command = case.ask()
    case.worker.deliver()
    [(name, detail)] = case.world.bus.announced
    assert name == "lifecycle.command.done"
    assert dict(detail) == {
        "schema_version": "1",
        "intent_id": command.intent_id,
        "status": "done",
        "code": "acted",
        "reason": "The process is archived.",
        "action": "archive",
        "resource": "run",
        "org_id": ORG,
        "id": RUN,
        "source": "operator",
        "requested_by": "Ada",
        "dead_lettered": False,
        "concluded_at": case.world.clock().isoformat(),
    }


def test_the_references_a_template_lost_are_kept_as_evidence() -> None:
    case = Case()
    case.world.add(Resource.TEMPLATE, RUN)
    case.world.add(Resource.TEMPLATE, OTHER)
    case.world.simulator.organization.templates[OTHER].references.append(RUN)
    command = case.ask(resource=Resource.TEMPLATE)
    case.worker.deliver()
    evidence = json.loads(case.world.intent(command.intent_id).evidence)
    assert [lost["checklist_id"] for lost in evidence["deleted_references"]] == [OTHER]


def test_a_resource_already_in_the_requested_state_is_unchanged_without_a_write() -> None:
    case = Case()
    case.world.add(Resource.RUN, RUN, archived_days=3)
    command = case.ask()
    case.worker.deliver()
    case.is_at(command, Status.UNCHANGED, Code.NOTHING_TO_DO)
    assert case.world.writes() == []
    assert case.world.announced(command.intent_id) == ["unchanged"]


@pytest.mark.parametrize("fault", [Fault.answer_status(503, "after"), Fault.reset("after"), Fault.html(502, "after")])
def test_a_write_that_acted_and_then_failed_is_confirmed_and_not_repeated(case: Case, fault: Fault) -> None:
    case.fail(fault.model_copy(update={"method": "DELETE"}))
    command = case.ask()
    assert case.worker.deliver() == 1
    case.is_at(command, Status.DONE, Code.CONFIRMED)
    assert case.effects(command) == len(case.world.writes()) == 1


def test_a_write_cut_off_with_its_second_look_is_found_done_by_the_next_attempt(case: Case) -> None:
    case.fail(Fault.answer_status(503, "after", method="DELETE"), Fault.reset("before", method="GET", skip=1))
    command = case.ask()
    assert case.worker.deliver() == 0
    case.is_at(command, Status.WAITING, Code.UNCERTAIN)
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.CONFIRMED)
    assert case.effects(command) == len(case.world.writes()) == 1


def test_a_copy_of_a_done_command_does_nothing_a_year_later(case: Case) -> None:
    command = case.ask()
    case.worker.deliver()
    case.wait(300 * 86_400)
    case.world.simulator.organization.runs[RUN].restore(case.world.clock())
    case.world.send(command)
    assert case.worker.deliver() == 1
    assert case.world.state(Resource.RUN, RUN) is State.ACTIVE
    assert case.effects(command) == 1
    assert case.world.announced(command.intent_id) == ["done"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["claim", "look", "act", "conclude", "announce", "mark_delivered"])
def test_a_worker_killed_at_any_step_leaves_one_effect_in_the_end(case: Case, point: str, when: When) -> None:
    command = case.ask()
    case.crash(point, when)
    case.world.drain(case.worker)
    assert case.world.intent(command.intent_id).status is Status.DONE
    assert case.effects(command) == len(case.world.writes()) == 1
    assert "done" in case.world.announced(command.intent_id)


def test_a_delete_killed_after_its_call_is_not_reported_as_not_found() -> None:
    case = Case()
    case.world.add(Resource.RUN, RUN, archived_days=40)
    command = case.ask(Action.DELETE)
    case.crash("act", "after")
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.CONFIRMED)


# --- rejected ---------------------------------------------------------------------------------------------------------


def _process_task(case: Case) -> Command:
    case.world.add(Resource.TASK, OTHER, run_id=RUN)
    return case.ask(resource=Resource.TASK, thing=OTHER)


def _held(case: Case) -> Command:
    case.world.holds.add(ORG, Resource.RUN, RUN, reason="an audit", by="Ada")
    return case.ask()


def _too_young(case: Case) -> Command:
    case.world.add(Resource.RUN, OTHER, archived_days=29)
    return case.ask(Action.DELETE, thing=OTHER)


def _tag_in_use(case: Case) -> Command:
    case.world.add(Resource.TAG, OTHER)
    case.world.simulator.organization.runs[RUN].tags.add(OTHER)
    return case.ask(Action.DELETE, Resource.TAG, OTHER)


def _forbidden(case: Case) -> Command:
    case.world.add(Resource.RUN, OTHER, archived_days=40)
    [member] = case.world.simulator.organization.members.values()
    member.role = "standard"
    return case.ask(Action.DELETE, thing=OTHER)


@pytest.mark.parametrize(
    ("asking", "code"),
    [
        pytest.param(lambda case: case.ask(thing=OTHER), Code.NOT_FOUND, id="no such thing"),
        pytest.param(_process_task, Code.PROCESS_TASK, id="a task of a process"),
        pytest.param(_held, Code.HELD, id="a hold"),
        pytest.param(_too_young, Code.TOO_YOUNG, id="archived too recently"),
        pytest.param(lambda case: case.ask(Action.DELETE), Code.NOT_ARCHIVED, id="not archived"),
        pytest.param(_tag_in_use, Code.IN_USE, id="a tag in use"),
        pytest.param(
            lambda case: case.ask(source="automation", action=Action.DELETE), Code.RIGHT_MISSING, id="no right"
        ),
        pytest.param(lambda case: case.ask(expect={"name": "Another name"}), Code.CHANGED, id="changed since"),
        pytest.param(_forbidden, Code.FORBIDDEN, id="403"),
    ],
)
def test_an_impossible_command_is_rejected_at_once_with_a_dead_letter(
    case: Case, asking: Callable[[Case], Command], code: Code
) -> None:
    command = asking(case)
    assert case.worker.deliver() == 1
    case.is_dead(command, Status.REJECTED, code)
    assert case.effects(command) == 0
    assert case.world.metrics.counts[Metric.REJECTED] == 1
    [letter] = case.world.letters(command.intent_id)
    assert letter["attempts"] == "1"
    assert letter["redrive"] == "0"
    assert letter["failed_at"] == case.world.clock().isoformat()


def test_a_tag_in_use_is_deleted_if_the_command_says_so(case: Case) -> None:
    case.world.add(Resource.TAG, OTHER)
    case.world.simulator.organization.runs[RUN].tags.add(OTHER)
    command = case.ask(Action.DELETE, Resource.TAG, OTHER, allow_in_use=True)
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.ACTED)


def test_a_hold_does_not_stop_a_restore() -> None:
    case = Case()
    case.world.add(Resource.RUN, RUN, archived_days=3)
    case.world.holds.add(ORG, Resource.RUN, RUN, reason="an audit", by="Ada")
    command = case.ask(Action.RESTORE)
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.ACTED)


# --- on hold ----------------------------------------------------------------------------------------------------------

TEMPLATE = "7e" * 16
TAG = "7a" * 16
KEEP = frozenset({"Keep"})


def _settled(resource: Resource = Resource.RUN, action: Action = Action.ARCHIVE, owner: int | None = 4711) -> Case:
    """A world with one thing of which Tallyfy says all, and a worker that knows a hold tag."""
    case = Case()
    archived_first = action is Action.DELETE and resource is not Resource.TAG
    case.world.add(resource, RUN, archived_days=40 if archived_first else None)
    case.world.add(Resource.TAG, TAG)
    organization = case.world.simulator.organization
    organization.tags[TAG].title = "KEEP"
    if resource is Resource.RUN:
        organization.runs[RUN].checklist_id, organization.runs[RUN].owner_id = TEMPLATE, owner
    elif resource is Resource.TEMPLATE:
        organization.templates[RUN].owner_id = owner
    elif resource is Resource.TASK and owner is not None:
        organization.tasks[RUN].owners = [owner]
    executor = replace(case.worker.worker.executor, hold_tags=KEEP)
    case.worker.worker = replace(case.worker.worker, executor=executor)
    return case


def _hold(case: Case, kind: HoldKind, name: str) -> None:
    case.world.holds.add(ORG, kind, name, reason="an audit", by="Ada")


def _is_kept(case: Case, command: Command) -> None:
    """Nothing but reading was asked of Tallyfy, and an operator finds out why."""
    assert case.worker.deliver() == 1
    case.is_dead(command, Status.REJECTED, Code.HELD)
    assert case.world.writes() == []
    assert [call.method for call in case.world.simulator.log.calls] in (["GET"], ["GET", "GET"])


@pytest.mark.parametrize(
    ("kind", "name"), [(Resource.RUN, RUN), (Resource.TEMPLATE, TEMPLATE), ("owner", "4711")], ids=str
)
@pytest.mark.parametrize("action", [Action.ARCHIVE, Action.DELETE])
def test_a_process_is_kept_by_a_hold_on_it_its_template_or_its_owner(action: Action, kind: HoldKind, name: str) -> None:
    case = _settled(action=action)
    _hold(case, kind, name)
    command = case.ask(action)
    _is_kept(case, command)
    assert "an audit" in case.world.intent(command.intent_id).reason


@pytest.mark.parametrize("doing", [one for one in TABLE if one.action is not Action.RESTORE], ids=lambda one: one.name)
def test_a_resource_on_hold_permits_only_a_restore(doing: Capability) -> None:
    case = _settled(doing.resource, doing.action)
    _hold(case, doing.resource, RUN)
    _is_kept(case, case.ask(doing.action, doing.resource))


@pytest.mark.parametrize("resource", [Resource.TASK, Resource.TEMPLATE])
def test_a_resource_whose_owner_is_on_hold_is_kept(resource: Resource) -> None:
    case = _settled(resource)
    _hold(case, "owner", "4711")
    _is_kept(case, case.ask(resource=resource))


@pytest.mark.parametrize("resource", [Resource.RUN, Resource.TASK, Resource.TEMPLATE])
@pytest.mark.parametrize("action", [Action.ARCHIVE, Action.DELETE])
def test_a_resource_with_a_hold_tag_is_kept(resource: Resource, action: Action) -> None:
    case = _settled(resource, action)
    organization = case.world.simulator.organization
    carriers: dict[str, Run | Task | Template] = {
        **organization.runs,
        **organization.tasks,
        **organization.templates,
    }
    carriers[RUN].tags.add(TAG)
    _is_kept(case, case.ask(action, resource))


def test_a_hold_tag_itself_is_kept() -> None:
    case = _settled()
    _is_kept(case, case.ask(Action.DELETE, Resource.TAG, TAG, allow_in_use=True))


@pytest.mark.parametrize("resource", [Resource.RUN, Resource.TEMPLATE])
def test_a_resource_without_a_known_owner_is_kept_while_any_owner_is_on_hold(resource: Resource) -> None:
    case = _settled(resource, owner=None)
    _hold(case, "owner", "9")
    _is_kept(case, case.ask(resource=resource))


@pytest.mark.parametrize("owner", [4711, None])
def test_a_command_without_a_hold_runs_beside_one_with_a_hold(owner: int | None) -> None:
    case = _settled(owner=owner)
    for kind, name in ((Resource.RUN, OTHER), (Resource.TASK, RUN), (Resource.TEMPLATE, RUN), (Resource.TAG, TAG)):
        _hold(case, kind, name)
    case.world.holds.add("1b" * 16, Resource.RUN, RUN, reason="another organization's", by="Ada")
    command = case.ask()
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.ACTED)
    assert len(case.world.simulator.log.calls) == 2


@pytest.mark.parametrize(("kind", "name"), [(Resource.RUN, RUN), (Resource.TEMPLATE, TEMPLATE), ("owner", "4711")])
def test_a_hold_set_while_the_worker_looks_keeps_the_resource(kind: HoldKind, name: str) -> None:
    case = _settled()
    case.worker.transport.after_look = lambda: _hold(case, kind, name)
    _is_kept(case, case.ask())


def test_a_lifted_hold_no_longer_keeps_the_resource() -> None:
    case = _settled()
    _hold(case, Resource.TEMPLATE, TEMPLATE)
    command = case.ask()
    _is_kept(case, command)
    assert case.world.holds.lift(ORG, Resource.TEMPLATE, TEMPLATE)
    case.world.send_again()
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.ACTED)


def test_a_hold_set_after_the_call_does_not_hide_the_effect() -> None:
    case = _settled()
    case.fail(Fault.answer_status(503, "after", method="DELETE"), Fault.reset("before", method="GET", skip=1))
    command = case.ask()
    assert case.worker.deliver() == 0
    _hold(case, Resource.RUN, RUN)
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.CONFIRMED)


@dataclass(slots=True)
class Blind(MemoryTable):
    """Rows of which the holds cannot be read for a while."""

    blind: bool = True

    @override
    def read(self, *keys: Key) -> list[Row | None]:
        self._see(*keys)
        return MemoryTable.read(self, *keys)

    @override
    def partition(self, pk: str) -> dict[str, Row]:
        self._see(Key(pk, ""))
        return MemoryTable.partition(self, pk)

    def _see(self, *keys: Key) -> None:
        if self.blind and any(key.pk.startswith("holds#") for key in keys):
            raise Retryable(Code.UNAVAILABLE, "The holds cannot be read (made up).")


@pytest.mark.parametrize("owner", [4711, None], ids=["by its keys", "among all"])
def test_holds_that_cannot_be_read_keep_everything_until_they_can(owner: int | None) -> None:
    rows = Blind()
    case = Case(World(rows=rows))
    case.world.add(Resource.RUN, RUN)
    case.world.simulator.organization.runs[RUN].checklist_id = TEMPLATE
    case.world.simulator.organization.runs[RUN].owner_id = owner
    command = case.ask()
    for attempts in (1, 2):
        assert case.worker.deliver() == 0
        case.is_at(command, Status.WAITING, Code.UNAVAILABLE)
        assert case.world.intent(command.intent_id).attempts == attempts
        case.wait(case.hidden_for())
    assert case.world.writes() == []
    rows.blind = False
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)


def test_an_undo_does_not_depend_on_the_holds() -> None:
    case = Case(World(rows=Blind()))
    case.world.add(Resource.RUN, RUN, archived_days=3)
    command = case.ask(Action.RESTORE)
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.ACTED)


# --- sent again -------------------------------------------------------------------------------------------------------


def test_a_rejection_sent_again_after_its_cause_is_gone_is_done(case: Case) -> None:
    case.world.simulator.organization.runs.clear()
    command = case.ask()
    case.worker.deliver()
    case.is_dead(command, Status.REJECTED, Code.NOT_FOUND)
    case.world.add(Resource.RUN, RUN)
    assert case.world.send_again() == 1
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.ACTED)
    assert case.world.announced(command.intent_id) == ["rejected", "done"]


def test_a_dead_letter_of_an_old_copy_can_still_be_redriven(case: Case) -> None:
    case.world.simulator.organization.runs.clear()
    command = case.ask()
    case.worker.deliver()
    case.world.send_again()
    case.fail(Fault.answer_status(500))
    case.worker.deliver()  # the copy that was sent again opens the intent, and has to wait
    case.world.send(command)
    case.worker.deliver()  # an old copy ends it
    case.is_at(command, Status.REJECTED, Code.NOT_FOUND)
    case.world.drain(case.worker)
    case.world.add(Resource.RUN, RUN)
    assert case.world.send_again() == 1
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.ACTED)


# --- tried again ------------------------------------------------------------------------------------------------------


def test_a_failure_is_counted_and_retried_with_growing_delays(case: Case) -> None:
    case.fail(Fault.answer_status(503, method="GET", times=3))
    command = case.ask()
    waits = []
    for attempts in (1, 2, 3):
        assert case.worker.deliver() == 0
        case.is_at(command, Status.WAITING, Code.UNAVAILABLE)
        assert case.world.intent(command.intent_id).attempts == attempts
        waits.append(case.hidden_for())
        case.wait(waits[-1])
    assert waits == [23, 45, 90]  # base 30 s, doubled, half of it jittered; the roll is 0.5
    assert case.worker.deliver() == 1
    case.is_at(command, Status.DONE, Code.ACTED)
    assert case.world.metrics.counts[Metric.RETRIED] == 3


def test_the_sixth_failure_is_dead_lettered_with_its_reason(case: Case) -> None:
    case.fail(Fault.answer_status(503, times=-1))
    command = case.ask()
    case.world.drain(case.worker)
    case.is_dead(command, Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED)
    [letter] = case.world.letters(command.intent_id)
    assert letter["attempts"] == "6"
    assert letter["intent_id"] == command.intent_id
    assert "6 attempts failed" in letter["reason"]
    assert "503" in letter["reason"]
    assert len(case.world.simulator.log.calls) == 6


def test_a_dead_lettered_command_is_done_once_when_redriven_after_the_outage(case: Case) -> None:
    case.fail(Fault.answer_status(503, times=-1))
    command = case.ask()
    case.world.drain(case.worker)
    case.world.simulator.faults.clear()
    case.world.send_again()
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)
    assert case.world.intent(command.intent_id).attempts == 1
    assert case.effects(command) == 1
    assert case.world.announced(command.intent_id) == ["dead_lettered", "done"]


def test_six_crashes_dead_letter_a_command_in_doubt_and_a_redrive_confirms_it() -> None:
    case = Case()
    case.world.add(Resource.RUN, RUN, archived_days=40)
    command = case.ask(Action.DELETE)
    for _ in range(5):
        case.crash("claim", "after")
    case.crash("act", "after")
    case.worker.deliver()
    case.is_dead(command, Status.DEAD_LETTERED, Code.ATTEMPTS_EXHAUSTED)
    case.world.send_again()
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.CONFIRMED)
    assert case.effects(command) == 1


def test_a_refused_second_look_leaves_the_write_in_doubt(case: Case) -> None:
    case.fail(Fault.answer_status(503, "after", method="DELETE"), Fault.answer_status(403, method="GET", skip=1))
    command = case.ask()
    assert case.worker.deliver() == 0
    case.is_at(command, Status.WAITING, Code.UNCERTAIN)
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.CONFIRMED)


def test_an_unreadable_ledger_stops_every_command_and_each_is_retried(case: Case) -> None:
    command = case.ask()
    case.aws_fails("claim")
    assert case.worker.deliver() == 0
    assert case.world.simulator.log.calls == []
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)


def test_an_outcome_that_could_not_be_written_is_written_later(case: Case) -> None:
    command = case.ask()
    case.aws_fails("conclude")
    assert case.worker.deliver() == 0
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.CONFIRMED)
    assert case.effects(command) == 1


def test_an_outcome_written_despite_an_error_of_aws_is_announced_later(case: Case) -> None:
    command = case.ask()
    case.aws_fails("conclude", "after")
    assert case.worker.deliver() == 0
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)
    assert case.world.announced(command.intent_id) == ["done"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_missing_announcement_is_sent_later_without_a_second_effect(case: Case, when: When) -> None:
    command = case.ask()
    case.aws_fails("announce", when)
    assert case.worker.deliver() == 0
    case.is_at(command, Status.DONE, Code.ACTED)
    case.world.drain(case.worker)
    assert case.effects(command) == len(case.world.writes()) == 1
    assert set(case.world.announced(command.intent_id)) == {"done"}
    assert case.world.intent(command.intent_id).pending == ()


def test_a_dead_letter_that_could_not_be_sent_is_sent_later(case: Case) -> None:
    command = case.ask(thing=OTHER)
    case.aws_fails("dead_letter")
    assert case.worker.deliver() == 0
    assert case.world.letters(command.intent_id) == []
    case.world.drain(case.worker)
    case.is_dead(command, Status.REJECTED, Code.NOT_FOUND)


def test_a_message_that_could_not_be_hidden_comes_back_with_the_visibility_timeout(case: Case) -> None:
    case.fail(Fault.answer_status(503))
    command = case.ask()
    case.aws_fails("hide")
    assert case.worker.deliver() == 0
    assert case.hidden_for() == VISIBILITY
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)


# --- told to wait -----------------------------------------------------------------------------------------------------


def test_a_429_counts_no_attempt_and_delays_every_worker(case: Case) -> None:
    case.world.add(Resource.RUN, OTHER)
    case.fail(Fault.rate_limit(50))
    first, second = case.ask(), case.ask(thing=OTHER)
    assert case.worker.deliver(2) == 0
    assert len(case.world.simulator.log.calls) == 1
    assert case.world.intent(first.intent_id).attempts == 0
    assert case.world.intent(second.intent_id).status is Status.ACCEPTED
    other = case.world.process()
    case.ask(thing="a3" * 16)
    assert other.deliver() == 0
    assert len(case.world.simulator.log.calls) == 1
    assert case.hidden_for() >= 48
    case.world.drain(case.worker)
    case.is_at(first, Status.DONE, Code.ACTED)
    assert case.world.metrics.counts[Metric.THROTTLED] >= 3
    assert case.world.metrics.counts[Metric.RETRIED] == 0


def test_a_thousand_429s_do_not_dead_letter_a_command(case: Case) -> None:
    case.fail(Fault.rate_limit(1, times=40))
    command = case.ask()
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)


def test_the_rate_limiter_admits_the_permitted_commands_and_the_rest_wait() -> None:
    case = Case(World(rate=Rate(60, 4)))
    for number in range(5):
        case.ask(thing=case.world.add(Resource.RUN, f"{number:032x}"))
    assert case.worker.deliver(10) == 2
    waits = sorted(entry.visible_at - case.world.clock().timestamp() for entry in case.world.queue.entries.values())
    assert waits == [1, 3, 5]
    assert case.world.metrics.counts[Metric.THROTTLED] == 3


def test_a_refused_token_waits_for_a_person_and_raises_an_alarm(case: Case) -> None:
    case.world.simulator.world.rotate_token(ORG, 1001, "a new token")
    command = case.ask()
    assert case.worker.deliver() == 0
    assert case.hidden_for() == 300
    assert case.world.metrics.counts[Metric.TOKEN_REFUSED] == 1
    assert case.world.intent(command.intent_id).attempts == 0
    assert case.world.secrets.fetched[f"{PREFIX}/tokens/{ORG}"] == 1
    case.world.secrets.texts[f"{PREFIX}/tokens/{ORG}"] = "a new token"
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)


def test_a_pause_stops_an_archive_but_not_a_restore(case: Case) -> None:
    case.world.add(Resource.RUN, OTHER, archived_days=3)
    case.world.pacing.pause(ORG, by="Ada")
    archive, restore = case.ask(), case.ask(Action.RESTORE, thing=OTHER)
    assert case.worker.deliver(2) == 1
    case.is_at(restore, Status.DONE, Code.ACTED)
    assert case.world.intent(archive.intent_id).status is Status.ACCEPTED
    assert case.world.metrics.counts[Metric.PAUSED] == 1
    case.world.pacing.resume(ORG)
    case.world.drain(case.worker)
    case.is_at(archive, Status.DONE, Code.ACTED)


def test_a_command_that_waited_too_long_is_dead_lettered_before_the_queue_drops_it(case: Case) -> None:
    case.world.pacing.pause(ORG, by="Ada")
    command = case.ask()
    case.world.drain(case.worker, most=200)
    case.is_dead(command, Status.DEAD_LETTERED, Code.WAITED_TOO_LONG)
    assert case.world.clock() - command.issued_at < timedelta(days=4)


def test_a_redriven_command_that_waits_too_long_is_dead_lettered_again(case: Case) -> None:
    case.world.pacing.pause(ORG, by="Ada")
    command = case.ask()
    case.world.drain(case.worker)
    case.world.send_again()
    case.world.drain(case.worker)
    case.is_dead(command, Status.DEAD_LETTERED, Code.WAITED_TOO_LONG)
    assert case.world.intent(command.intent_id).redrive == 1


def test_a_function_that_is_nearly_out_of_time_starts_no_call(case: Case) -> None:
    case.world.add(Resource.RUN, OTHER)
    first, second = case.ask(), case.ask(thing=OTHER)
    case.worker.transport.after_look = lambda: case.wait(59)
    assert case.worker.deliver(2) == 0
    assert case.world.writes() == []
    case.is_at(first, Status.WAITING, Code.OUT_OF_TIME)
    assert case.world.intent(first.intent_id).attempts == 0
    case.world.drain(case.worker)
    case.is_at(second, Status.DONE, Code.ACTED)


# --- others at work ---------------------------------------------------------------------------------------------------


def test_a_concurrent_copy_waits_and_finds_the_command_done(case: Case) -> None:
    command = case.ask()
    other = case.world.process()

    def meanwhile() -> None:
        case.world.send(command)
        assert other.deliver() == 0

    case.worker.transport.after_look = meanwhile
    assert case.worker.deliver() == 1
    case.world.drain(other)
    assert case.effects(command) == len(case.world.writes()) == 1
    assert case.world.announced(command.intent_id) == ["done"]


def test_another_command_for_the_same_resource_waits_for_the_first(case: Case) -> None:
    archive = case.ask()
    other = case.world.process()

    def meanwhile() -> None:
        case.ask()
        assert other.deliver() == 0

    case.worker.transport.after_look = meanwhile
    case.worker.deliver()
    case.world.drain(other)
    case.is_at(archive, Status.DONE, Code.ACTED)
    assert len(case.world.writes()) == 1


def test_a_worker_frozen_past_its_lease_neither_acts_nor_records(case: Case) -> None:
    command = case.ask()
    other = case.world.process()

    def meanwhile() -> None:
        case.wait(LEASE + 1)
        case.world.send(command)
        assert other.deliver() == 1

    case.worker.transport.after_look = meanwhile
    assert case.worker.deliver() == 0
    case.is_at(command, Status.DONE, Code.ACTED)
    case.world.drain(case.worker)
    assert case.effects(command) == len(case.world.writes()) == 1


def test_an_older_command_that_arrives_late_is_superseded_by_the_undo(case: Case) -> None:
    archive = case.ask()
    case.worker.deliver()
    restore = case.ask(Action.RESTORE)
    case.worker.deliver()
    late = replace_intent(case, archive)
    case.world.send(late)
    case.worker.deliver()
    case.is_at(restore, Status.DONE, Code.ACTED)
    case.is_at(late, Status.SUPERSEDED, Code.SUPERSEDED)
    assert case.world.letters(late.intent_id) == []
    assert case.world.announced(late.intent_id) == ["superseded"]
    assert case.world.state(Resource.RUN, RUN) is State.ACTIVE


def replace_intent(case: Case, command: Command) -> Command:
    """As old as `command`, from another delivery."""
    made = case.world.command(command.resource, command.thing_id, command.action, "another delivery")
    return made.model_copy(update={"issued_at": command.issued_at})


def test_an_undo_waits_for_a_call_with_an_unknown_result(case: Case) -> None:
    """Tallyfy finishes the archiving 40 seconds after we hung up: the undo has to see that."""
    case.fail(Fault.delay(40, method="DELETE"))
    archive = case.ask()
    case.worker.deliver()
    restore = case.ask(Action.RESTORE)
    case.world.drain(case.worker)
    case.world.land()
    assert case.world.state(Resource.RUN, RUN) is State.ACTIVE
    case.is_at(restore, Status.DONE, Code.ACTED)
    assert case.effects(archive) == 1


def test_an_older_command_does_not_undo_a_newer_one_that_was_cut_off() -> None:
    case = Case()
    case.world.add(Resource.RUN, RUN, archived_days=3)
    older = case.world.command(Resource.RUN, RUN, Action.ARCHIVE, "older")
    newer = case.ask(Action.RESTORE)
    case.worker.fuse.point, case.worker.fuse.when = "act", "after"
    case.worker.deliver()
    case.worker = case.world.process()
    case.wait(LEASE + 1)
    case.world.send(older)
    case.worker.deliver()
    case.is_at(older, Status.SUPERSEDED, Code.SUPERSEDED)
    case.world.drain(case.worker)
    case.is_at(newer, Status.DONE, Code.CONFIRMED)
    assert case.effects(newer) == len(case.world.writes()) == 1


def test_a_command_that_arrives_too_late_expires_with_a_dead_letter(case: Case) -> None:
    command = case.ask(not_after=case.world.clock() + timedelta(minutes=1))
    case.wait(120)
    case.worker.deliver()
    case.is_dead(command, Status.EXPIRED, Code.EXPIRED)
    assert case.world.simulator.log.calls == []


# --- not understood ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", '{"action": "archive"}', "null", "\ud800"],
    ids=["empty", "cut", "list", "part", "null", "half"],
)
def test_poison_is_dead_lettered_at_once_and_the_rest_of_the_batch_is_unharmed(case: Case, body: str) -> None:
    case.world.queue.send(body)
    command = case.ask()
    assert case.worker.deliver(2) == 2
    case.is_at(command, Status.DONE, Code.ACTED)
    [entry] = case.world.dead_letters.entries.values()
    assert (entry.message.body, entry.message.attributes["code"]) == (body, "poison")
    assert [name for name, _ in case.world.bus.announced] == ["lifecycle.command.poison", "lifecycle.command.done"]
    assert case.world.metrics.counts[Metric.POISON] == 1


def test_a_reused_intent_id_is_poison_and_the_recorded_command_stays(case: Case) -> None:
    case.world.add(Resource.RUN, OTHER)
    command = case.ask(delivery="one")
    case.worker.deliver()
    case.world.queue.send(case.world.command(Resource.RUN, OTHER, Action.ARCHIVE, "one").to_json())
    case.worker.deliver()
    [entry] = case.world.dead_letters.entries.values()
    assert entry.message.attributes["code"] == "intent_conflict"
    case.is_at(command, Status.DONE, Code.ACTED)
    assert case.world.state(Resource.RUN, OTHER) is State.ACTIVE


def test_a_conflicting_copy_that_waited_too_long_does_not_end_the_recorded_intent(case: Case) -> None:
    case.fail(Fault.answer_status(503))
    command = case.ask(delivery="one")
    case.worker.deliver()
    old = case.world.command(Resource.RUN, OTHER, Action.ARCHIVE, "one")
    [entry] = case.world.queue.entries.values()
    message = replace(entry.message, body=old.to_json(), receipt="x", sent_at=case.world.clock() - timedelta(days=3.9))
    case.worker.worker.handle(message)
    case.is_at(command, Status.WAITING, Code.UNAVAILABLE)
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)


@pytest.mark.parametrize(
    ("capabilities", "action"), [(ORDINARY, Action.DELETE), (PERMANENT, Action.ARCHIVE)], ids=["ordinary", "permanent"]
)
def test_each_worker_dead_letters_commands_outside_its_capabilities(
    capabilities: frozenset[Capability], action: Action
) -> None:
    case = Case(capabilities=capabilities)
    case.world.add(Resource.RUN, RUN, archived_days=40)
    command = case.ask(action)
    assert case.worker.deliver() == 1
    [entry] = case.world.dead_letters.entries.values()
    assert entry.message.attributes["code"] == "not_possible"
    assert case.world.simulator.log.calls == []
    assert case.world.intent(command.intent_id).status is Status.ACCEPTED


def test_a_token_with_fewer_rights_still_archives(case: Case) -> None:
    [member] = case.world.simulator.organization.members.values()
    member.role, member.token = "standard", STANDARD_TOKEN
    case.world.secrets.texts[f"{PREFIX}/tokens/{ORG}"] = STANDARD_TOKEN
    command = case.ask()
    case.worker.deliver()
    case.is_at(command, Status.DONE, Code.ACTED)


# --- the whole batch --------------------------------------------------------------------------------------------------


def _event(case: Case, most: int) -> dict[str, object]:
    """What Lambda's event source hands to the function."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": message.receipt,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": str(message.receives),
                    "SentTimestamp": str(int(message.sent_at.timestamp() * 1000)),
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:commands",
                "awsRegion": "eu-west-1",
            }
            for number, message in enumerate(case.world.queue.receive(most))
        ]
    }


CONTEXT = cast("RealContext", LambdaContext())


def test_a_fully_throttled_batch_reports_its_failures_without_raising(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "worker", lambda: replace(case.worker.worker, metrics=metrics))
    case.world.pacing.block(ORG, 60)
    for _ in range(3):
        case.ask()
    answer = app.handler(_event(case, 10), CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": f"message-{number}"} for number in range(3)]}
    assert case.hidden_for() >= 57


def test_a_mixed_batch_reports_only_the_messages_to_retry(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "worker", lambda: replace(case.worker.worker, metrics=metrics))
    case.world.add(Resource.RUN, OTHER)
    case.fail(Fault.answer_status(503, id=OTHER))
    case.ask()
    case.ask(thing=OTHER)
    case.world.queue.send("poison")
    answer = app.handler(_event(case, 10), CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}


# --- people and bulk --------------------------------------------------------------------------------------------------


def _crowd(world: World, most: int, first: int = 0) -> list[Command]:
    """So many commands in the queue, of which the pace lets through one at a time."""
    made = []
    for number in range(first, first + most):
        thing = world.add(Resource.RUN, f"{number:032x}")
        made.append(world.command(Resource.RUN, thing, Action.ARCHIVE, f"delivery {number}"))
        world.send(made[-1])
    return made


def _waits_behind(lane: Lane) -> float:
    """How long a person's command is hidden once 50 others of a lane were turned away."""
    world = World(rate=Rate(60, 2))
    for first in range(0, 50, 10):
        _crowd(world, 10, first)
        world.process(lane=lane).deliver(10)
    kept, world.queue.entries = dict(world.queue.entries), {}
    assert len(kept) == 49
    [person] = _crowd(world, 1, 900)
    assert world.process(lane=Lane.PEOPLE).deliver() == 0
    found = world.next_visible()
    assert found is not None
    assert world.intent(person.intent_id).status is Status.ACCEPTED
    return found


def test_a_persons_command_waits_behind_other_people_and_not_behind_a_sweep() -> None:
    assert _waits_behind(Lane.BULK) <= 3
    assert _waits_behind(Lane.PEOPLE) >= 90


def test_a_running_sweep_does_not_delay_a_person() -> None:
    """Hundreds of a sweep's commands come back again and again; a person comes at any time and is soon served."""
    world = World(rate=Rate(60, 2))
    _crowd(world, 100)
    bulk, people, own = world.process(lane=Lane.BULK), world.process(lane=Lane.PEOPLE), MemoryQueue(world.clock)
    sweeps = world.queue.entries
    waited = []
    for number in range(900, 910):
        for _ in range(40):
            world.clock.advance(timedelta(seconds=1))
            bulk.deliver(10)
        world.queue.entries = own.entries
        began = world.clock()
        [command] = _crowd(world, 1, number)
        world.drain(people)
        assert world.intent(command.intent_id).status is Status.DONE
        waited.append((world.clock() - began).total_seconds())
        world.queue.entries = sweeps
    assert max(waited) <= 10
    assert len(sweeps) < 100, "the sweep goes on meanwhile"


def test_a_sweeps_command_survives_a_burst_of_peoples_commands() -> None:
    """A thousand commands of people keep the pace full for 20 minutes, and a sweep has three of its own."""
    world = World(rate=Rate(100, 10))
    _crowd(world, 1000)
    rush, world.queue.entries = world.queue.entries, {}
    due, swept = _crowd(world, 3, 5000), world.queue.entries
    people, bulk = world.process(), world.process(lane=Lane.BULK)
    for entries, process in [(rush, people), (swept, bulk)] * 1500:
        if process is people:
            world.clock.advance(timedelta(seconds=2))
        world.queue.entries = entries
        while process.deliver(10):
            pass
    assert (len(rush), len(swept)) == (0, 0)
    assert {world.intent(command.intent_id).status for command in due} == {Status.DONE}
    assert world.dead_letters.depth() == 0


@pytest.mark.parametrize(("roll", "seconds"), [(0.0, 1800), (0.5, 2700), (0.999999, 3600)])
def test_messages_without_a_place_in_the_queue_return_within_the_hour_at_different_times(
    roll: float, seconds: int
) -> None:
    case = Case(World(rate=Rate(1, 2), roll=lambda: roll))
    case.world.pacing.overdraw(ORG, 100)
    command = case.ask(thing=case.world.add(Resource.RUN, RUN))
    assert case.worker.deliver() == 0
    assert case.hidden_for() == pytest.approx(seconds, abs=1)
    assert case.world.intent(command.intent_id).status is Status.ACCEPTED
    case.world.drain(case.worker)
    case.is_at(command, Status.DONE, Code.ACTED)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("told", [30, 3600])
def test_a_503_with_retry_after_is_obeyed_like_a_429_and_counts_no_attempt(case: Case, method: str, told: int) -> None:
    command = case.ask()
    case.fail(Fault.answer_status(503, method=method, retry_after=told))
    case.worker.deliver()
    row = case.world.intent(command.intent_id)
    assert (row.status, row.attempts) == (Status.WAITING, 0), row
    hidden = case.world.next_visible()
    assert hidden is not None
    assert hidden >= told
    assert case.world.pacing.reserve(ORG, 1).calls == 0
