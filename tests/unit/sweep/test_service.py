"""The nightly sweep: what it plans, what it asks for, and what it does when it is cut off."""

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from lifecycle.aws.dynamodb import Key
from lifecycle.aws.metrics import Metric
from lifecycle.aws.scheduler import MemorySchedules
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import Status
from lifecycle.execution.wakeups import RememberedSchedules
from lifecycle.holds.store import HoldKind
from lifecycle.pacing.token_bucket import Rate
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from sandbox.simulator import DEFAULT_TOKEN, Fault, crowd, make_id
from sandbox.simulator.world import Run, Tag
from tests.harness.builders import NOW, ORG, PREFIX
from tests.harness.fault_injection import ANY_WRITE, Crash, FaultInjector, When
from tests.harness.sweep_run import POLICY, SweepRun
from tests.harness.world import World

SWEEP = "2026-06-01T04:10:00Z"
OWNER, TEMPLATE, TAG = 4711, "7e" * 16, "7a" * 16
LISTS = r"/runs$"


@pytest.fixture
def night() -> SweepRun:
    """Five processes: two are due."""
    return _night_of_five()


def _night_of_five(**world: object) -> SweepRun:
    made = SweepRun(World(**world))  # type: ignore[arg-type]
    _complete(made.world, 1, days=31)
    _complete(made.world, 2, days=400)
    _complete(made.world, 3, days=30)
    _complete(made.world, 4, days=31, status="active")
    _complete(made.world, 5, days=None)
    return made


def _id(number: int) -> str:
    return f"{number:032x}"


def _complete(world: World, number: int, *, days: float | None, status: str = "complete") -> Run:
    world.add(Resource.RUN, _id(number))
    run = world.simulator.organization.runs[_id(number)]
    run.status = status
    run.completed_at = None if days is None else world.clock() - timedelta(days=days)
    return run


def _start(night: SweepRun) -> None:
    """Deliver the schedule's message, which becomes one for the organization."""
    night.begin()
    assert night.deliver()


def _drain_working_the_first_only(night: SweepRun) -> int:
    """Deliver until the sweep is finished, while workers do no more than the first five; how often it was delivered."""
    for taken in range(300):
        if not night.queue.entries:
            return taken
        night.turn(work=False)
        if night.bulk.depth() <= 5:
            night.work()
    raise AssertionError("the sweep is not finished")


def _kinds(night: SweepRun) -> dict[str, int]:
    [report] = night.reports()
    found: dict[str, int] = json.loads(str(report["by_reason"]))
    return found


def _calls(night: SweepRun) -> int:
    return len(night.world.simulator.log.calls)


def _lists(night: SweepRun) -> int:
    """How many pages were read."""
    return sum(call.path.partition("?")[0].endswith("/runs") for call in night.world.simulator.log.calls)


def _letters(night: SweepRun) -> list[tuple[str, str]]:
    """Code and reason of each dead letter."""
    found = [entry.message.attributes for entry in night.world.dead_letters.entries.values()]
    return [(letter["code"], letter["reason"]) for letter in found]


# --- what it does ---


def test_a_sweep_in_mode_report_plans_and_sends_nothing(night: SweepRun) -> None:
    night.mode = Mode.REPORT
    night.begin()
    assert night.drain() == 2
    assert night.asked() == []
    assert night.world.writes() == []
    [plan] = night.plans()
    [report] = night.reports()
    assert {name: text for name, text in report.items() if name != "by_reason"} == {
        "schema_version": "1",
        "sweep_id": SWEEP,
        "org_id": ORG,
        "plan": plan.hash,
        "mode": "report",
        "seen": "5",
        "due": "2",
        "kept": "3",
        "failed": "0",
        "sent": "0",
        "estimated_minutes": "1",
        "stopped_by": "",
    }
    assert _kinds(night) == {"too young": 1, "status": 1, "no date": 1}
    assert night.world.metrics.counts[Metric.SWEEP_FINISHED] == 1
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == 0


def test_every_resource_is_in_the_plan_with_its_reason(night: SweepRun) -> None:
    night.mode = Mode.REPORT
    night.begin()
    night.drain()
    [plan] = night.plans()
    told = {entry.thing.id: (entry.decision.action, entry.decision.reason) for entry in night.entries(plan)}
    rule = "Rule 'completed': its status is complete;"
    assert told == {
        _id(1): (Action.ARCHIVE, f"{rule} it was completed 31 days ago, more than 30."),
        _id(2): (Action.ARCHIVE, f"{rule} it was completed 400 days ago, more than 30."),
        _id(3): (None, "Rule 'completed': it was completed 30 days ago; more than 30 are needed."),
        _id(4): (None, "Rule 'completed': its status is active."),
        _id(5): (None, "Rule 'completed': Tallyfy does not say when it was completed, so it is kept."),
    }
    assert night.objects.get(f"plans/{ORG}/{plan.hash}/report.html")


def test_a_due_resource_gets_a_command_with_its_reason_and_the_seen_facts(night: SweepRun) -> None:
    night.begin()
    night.drain()
    asked = {command.id: command for command in night.asked()}
    assert set(asked) == {_id(1), _id(2)}
    one = asked[_id(1)]
    assert (one.action, one.resource, one.source, one.requested_by) == (
        Action.ARCHIVE,
        Resource.RUN,
        "sweep",
        "schedule",
    )
    assert one.reason == "Rule 'completed': its status is complete; it was completed 31 days ago, more than 30."
    assert one.not_after == one.issued_at + timedelta(days=2)
    assert one.expect is not None
    assert (one.expect.status, one.expect.completed_at) == ("complete", NOW - timedelta(days=31))
    assert (one.expect.name, one.expect.tags, one.expect.last_updated) == (
        "Process 0000",
        (),
        NOW - timedelta(days=900),
    )


def test_a_due_resource_is_archived_by_the_worker(night: SweepRun) -> None:
    night.begin()
    assert night.drain() == 3
    assert night.archived() == {_id(1), _id(2)}
    assert len(night.world.writes()) == 2


@pytest.mark.parametrize("change", ["status", "completed", "name", "touched", "owner", "tag"])
def test_a_resource_that_changed_since_the_plan_is_skipped(night: SweepRun, change: str) -> None:
    _start(night)
    night.deliver()
    organization = night.world.simulator.organization
    run = organization.runs[_id(1)]
    match change:
        case "status":
            run.status = "active"
        case "completed":
            run.completed_at = NOW
        case "name":
            run.name = "Another"
        case "touched":
            run.last_updated = NOW
        case "owner":
            run.owner_id = OWNER
        case _:
            organization.tags[TAG] = Tag(TAG, "wanted", NOW)
            run.tags = {TAG}
    if change == "owner":
        # Nobody was shown as owner when it was seen, so none is expected.
        night.drain()
        assert night.archived() == {_id(1), _id(2)}
        return
    night.drain()
    assert night.archived() == {_id(2)}
    [(code, _)] = _letters(night)
    assert code == "changed"


def test_a_new_owner_counts_as_a_change(night: SweepRun) -> None:
    runs = night.world.simulator.organization.runs
    runs[_id(1)].owner_id = 1001
    _start(night)
    night.deliver()
    runs[_id(1)].owner_id = OWNER
    night.drain()
    assert night.archived() == {_id(2)}
    assert [code for code, _ in _letters(night)] == ["changed"]


HOLDS: list[tuple[HoldKind, str]] = [
    (Resource.RUN, _id(1)),
    (Resource.TEMPLATE, TEMPLATE),
    ("owner", str(OWNER)),
]


def _held(night: SweepRun) -> None:
    """The first process has a template and an owner; the second others."""
    runs = night.world.simulator.organization.runs
    runs[_id(1)].checklist_id, runs[_id(1)].owner_id = TEMPLATE, OWNER
    runs[_id(2)].checklist_id, runs[_id(2)].owner_id = "7f" * 16, 1001


@pytest.mark.parametrize(("kind", "name"), HOLDS)
def test_a_resource_on_hold_is_kept_and_counted(night: SweepRun, kind: HoldKind, name: str) -> None:
    _held(night)
    for run in list(night.world.simulator.organization.runs.values())[2:]:
        run.checklist_id, run.owner_id = "7f" * 16, 1001
    night.world.holds.add(ORG, kind, name, reason="an audit", by="Ada")
    night.begin()
    night.drain()
    assert [command.id for command in night.asked()] == [_id(2)]
    assert night.archived() == {_id(2)}
    assert _kinds(night) == {"on hold": 1, "too young": 1, "status": 1, "no date": 1}


@pytest.mark.parametrize(("kind", "name"), HOLDS)
def test_a_resource_put_on_hold_after_the_plan_is_kept_by_the_worker(
    night: SweepRun, kind: HoldKind, name: str
) -> None:
    _held(night)
    _start(night)
    night.deliver()
    assert len(night.asked()) == 2
    night.world.holds.add(ORG, kind, name, reason="an audit", by="Ada")
    night.drain()
    assert night.archived() == {_id(2)}
    assert [code for code, _ in _letters(night)] == ["held"]


def test_a_hold_tag_is_recognized_in_any_spelling(night: SweepRun) -> None:
    night.policy = Policy.parse(f'hold_tags = ["keep"]\n{POLICY}')
    organization = night.world.simulator.organization
    organization.tags[TAG] = Tag(TAG, " KEEP", NOW)
    organization.runs[_id(1)].tags = {TAG}
    night.begin()
    night.drain()
    assert night.archived() == {_id(2)}
    assert _kinds(night)["on hold"] == 1


def test_two_sweeps_have_one_effect(night: SweepRun) -> None:
    """Most commands of the first night come to the workers only after the second night."""
    for number in range(10, 20):
        _complete(night.world, number, days=50)
    night.begin("the-first-night")
    _drain_working_the_first_only(night)
    late = list(night.bulk.entries.values())
    night.bulk.entries.clear()
    assert len(late) == 7
    night.begin("the-second-night")
    night.drain()
    assert night.plans()[-1].due == 7
    assert len(night.world.writes()) == len(night.archived()) == 12
    for entry in late:
        night.bulk.send(entry.message.body)
    night.work()
    assert len(night.asked()) == 12 + 7
    assert len(night.world.writes()) == 12
    night.begin("the-third-night")
    night.drain()
    assert night.plans()[-1].due == 0
    assert len(night.world.writes()) == 12


def test_a_repeated_start_sends_no_new_commands(night: SweepRun) -> None:
    for _ in range(3):
        night.begin()
    night.drain()
    assert len(night.asked()) == 2
    assert len(night.reports()) == len(night.plans()) == 1


def test_two_concurrent_invocations_make_one_plan_and_send_it_once(night: SweepRun) -> None:
    night.begin()
    night.begin()
    other = iter([True])

    def meanwhile() -> None:
        if next(other, False):
            night.deliver()

    night.deliver()
    night.deliver()
    night.after_step = meanwhile
    night.drain()
    assert len(night.plans()) == 1
    assert len({command.intent_id for command in night.asked()}) == len(night.asked()) == 2
    assert len(night.world.writes()) == 2


def test_commands_are_sent_with_all_their_fields(night: SweepRun) -> None:
    night.world.simulator.organization.runs[_id(1)].name = "Büro \u2028 „Süd“ 🎉"
    _start(night)
    night.deliver()
    assert night.bulk.entries
    for entry in night.bulk.entries.values():
        assert Command.model_validate_json(entry.message.body).to_json() == entry.message.body
        assert entry.message.body.isascii()


def test_a_report_of_5000_estimates_its_duration_at_the_configured_rate() -> None:
    night, _ = _many()
    night.mode = Mode.REPORT
    night.world.pacing.rate = Rate(100, 100)
    night.begin()
    night.drain()
    [report] = night.reports()
    assert report["estimated_minutes"] == "65"  # 3,217 processes, two calls each, 100 calls a minute
    assert night.asked() == []


# --- what it is told ---


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        '{"sweep_id": 5}',
        '{"sweep_id": ""}',
        '{"sweep_id": "../plans"}',
        '{"sweep_id": "a", "org_id": "../x"}',
        json.dumps({"sweep_id": "a", "org_id": ORG, "kind": "apply"}),
        json.dumps({"sweep_id": "a", "org_id": ORG, "kind": "apply", "plan": "a" * 64}),
        json.dumps({"sweep_id": "a", "org_id": ORG, "kind": "apply", "requested_by": "ada"}),
        json.dumps({"sweep_id": "a", "kind": "apply", "plan": "a" * 64, "requested_by": "ada"}),
        json.dumps({"sweep_id": "a", "org_id": ORG, "kind": "apply", "plan": "../a", "requested_by": "ada"}),
        json.dumps({"sweep_id": "a", "org_id": ORG, "plan": "a" * 64, "requested_by": "ada"}),
    ],
)
def test_an_invalid_sweep_message_is_dead_lettered(night: SweepRun, body: str) -> None:
    night.queue.send(body)
    assert night.deliver()
    assert [code for code, _ in _letters(night)] == ["poison"]
    assert _calls(night) == 0
    assert night.world.rows.table == {}


def test_a_scheduled_sweep_of_an_unknown_organization_is_ignored(night: SweepRun) -> None:
    night.queue.send(json.dumps({"sweep_id": "a", "org_id": "1b" * 16}))
    assert night.deliver()
    assert _calls(night) == 0
    assert (night.reports(), _letters(night), night.world.rows.table) == ([], [], {})


@pytest.mark.parametrize("kind", ["apply", "undo"])
def test_a_persons_job_for_an_unknown_organization_is_dead_lettered_with_the_reason(night: SweepRun, kind: str) -> None:
    job = {"sweep_id": "a", "org_id": "1b" * 16, "kind": kind, "plan": "0" * 64, "requested_by": "ada"}
    night.queue.send(json.dumps(job))
    assert night.deliver()
    [(code, _)] = _letters(night)
    assert code == "organization_unknown"
    assert _calls(night) == 0


def test_the_daily_check_reports_problems_and_reads_no_list(night: SweepRun) -> None:
    night.world.simulator.organization.members[1001].role = "light"
    night.queue.send(json.dumps({"sweep_id": "a", "kind": "check"}))
    assert night.drain() == 3  # the start, the organization and the digest
    assert night.world.metrics.counts[Metric.PREFLIGHT_FAILED] == 1
    [(name, detail)] = night.world.bus.announced
    assert name == "lifecycle.preflight.failed"
    assert "light" in str(detail["reason"])
    assert _lists(night) == 0
    assert (night.plans(), night.asked(), night.reports()) == ([], [], [])


def test_the_daily_check_is_silent_without_problems_and_waits_for_no_sweep(night: SweepRun) -> None:
    _start(night)
    night.deliver()  # It waits for its first ones, and has the organization to itself.
    night.queue.send(json.dumps({"sweep_id": "a", "org_id": ORG, "kind": "check"}))
    announced = len(night.world.bus.announced)
    assert night.deliver()
    assert len(night.world.bus.announced) == announced
    assert night.world.metrics.counts[Metric.PREFLIGHT_FAILED] == 0


def test_the_daily_check_wakes_overdue_commands(night: SweepRun) -> None:
    world = night.world
    delete = world.command(Resource.RUN, "a1" * 16, Action.DELETE, "parked")
    world.ledger.accept(delete)
    RememberedSchedules(MemorySchedules(), world.rows).at(world.clock(), "lost", delete.to_json())
    world.clock.advance(timedelta(hours=2))
    night.queue.send(json.dumps({"sweep_id": "a", "org_id": ORG, "kind": "check"}))
    assert night.deliver()
    assert [entry.message.body for entry in night.purge.entries.values()] == [delete.to_json()]


def test_a_message_of_a_later_release_waits_for_it(night: SweepRun) -> None:
    night.queue.send(json.dumps({"sweep_id": "a", "kind": "tidy", "version": 2}))
    assert not night.deliver()
    assert night.queue.depth() == 1
    assert _letters(night) == []


# --- what is in its way ---


def test_a_pause_stops_a_sweep_and_it_continues_afterwards(night: SweepRun) -> None:
    _start(night)
    night.world.pacing.pause(ORG, "Ada")
    assert not night.deliver()
    assert _calls(night) == 0
    night.world.pacing.resume(ORG)
    night.drain()
    assert night.archived() == {_id(1), _id(2)}


def test_a_pause_costs_no_slot_of_the_pace(night: SweepRun) -> None:
    night.world.rate = night.world.pacing.rate = Rate(1, 2)
    _start(night)
    night.world.pacing.pause(ORG, "Ada")
    assert not night.deliver()
    assert night.world.pacing.reserve(ORG, 2).calls == 2


def test_each_call_costs_a_slot_of_the_pace(night: SweepRun) -> None:
    night.world.rate = night.world.pacing.rate = Rate(1, 40)
    for number in range(10, 13):
        _complete(night.world, number, days=50)
    _start(night)
    night.deliver()  # two calls to see that all is in order, one page
    assert _calls(night) == 3
    assert night.world.pacing.reserve(ORG, 40).calls == 37
    night.world.clock.advance(timedelta(hours=2))
    night.work()
    night.world.clock.advance(timedelta(hours=2))
    calls = _calls(night)
    night.deliver()  # five are read back
    assert _calls(night) == calls + 5
    assert night.world.pacing.reserve(ORG, 40).calls == 35


def test_a_short_wait_for_the_pace_is_slept_and_a_long_one_hidden(night: SweepRun) -> None:
    night.mode = Mode.REPORT
    night.world.pacing.rate = Rate(60, 1)
    night.world.pacing.overdraw(ORG, 5)
    _start(night)
    assert night.deliver()
    assert night.slept[0] == pytest.approx(5.0, abs=1.1)
    slept = len(night.slept)
    night.world.pacing.overdraw(ORG, 300)
    night.begin("second")
    night.deliver()
    calls = _calls(night)
    assert not night.deliver()
    assert _calls(night) == calls
    assert len(night.slept) == slept
    night.drain()
    assert len(night.reports()) == 2


@pytest.mark.parametrize("per_minute", [1, 3, 20, 100])
def test_a_sweep_keeps_any_rate_and_finishes(per_minute: int) -> None:
    night = _night_of_five(rate=Rate(per_minute, 2))
    for number in range(10, 16):
        _complete(night.world, number, days=50)
    began = night.world.clock()
    night.begin()
    night.drain(most=80)
    assert len(night.archived()) == 8
    passed = (night.world.clock() - began).total_seconds()
    # Calls that must be made at once go ahead of the pace: at most four of the five that are read back.
    assert _calls(night) <= passed / 60 * per_minute + 2 + 5
    assert night.world.dead_letters.depth() == 0


def test_with_little_time_left_no_page_is_read_and_the_sweep_continues_later(night: SweepRun) -> None:
    _start(night)
    night.time_left = 29.0
    assert not night.deliver()
    assert _calls(night) == 0
    night.time_left = 900.0
    night.drain()
    assert night.archived() == {_id(1), _id(2)}


def test_with_too_little_time_to_write_the_plan_the_next_invocation_writes_it(night: SweepRun) -> None:
    _start(night)
    night.time_left = 299.0
    assert not night.deliver()
    assert _lists(night) == 1
    assert night.objects.keys("plans/") == []
    night.time_left = 900.0
    night.drain()
    assert _lists(night) == 1, "what was read is not read again"
    assert night.archived() == {_id(1), _id(2)}


@pytest.mark.parametrize("path", ["/me$", LISTS])
def test_a_429_delays_every_worker(night: SweepRun, path: str) -> None:
    _start(night)
    night.world.simulator.add_fault(Fault.rate_limit(120, path=path))
    assert not night.deliver()
    assert night.world.pacing.reserve(ORG, 1).calls == 0
    night.world.clock.advance(timedelta(seconds=121))
    night.drain()
    assert night.archived() == {_id(1), _id(2)}


def test_a_429_while_canaries_are_read_back_delays_every_worker(night: SweepRun) -> None:
    _start(night)
    night.deliver()
    night.work()
    night.world.clock.advance(timedelta(seconds=31))
    night.world.simulator.add_fault(Fault.rate_limit(120))
    assert not night.deliver()
    assert night.world.pacing.reserve(ORG, 1).calls == 0
    night.drain()
    assert len(night.reports()) == 1


def test_a_refused_token_raises_an_alarm_and_the_plan_is_applied_once_it_is_fixed(night: SweepRun) -> None:
    night.world.secrets.texts[f"{PREFIX}/tokens/{ORG}"] = "dead"
    _start(night)
    for hour in range(1, 4):
        assert not night.deliver()
        assert night.world.metrics.counts[Metric.TOKEN_REFUSED] == hour
        night.world.clock.advance(timedelta(hours=1))
    assert night.world.metrics.counts[Metric.PREFLIGHT_FAILED] == 1
    assert night.reports() == []
    night.world.secrets.texts[f"{PREFIX}/tokens/{ORG}"] = DEFAULT_TOKEN
    night.drain()
    [plan] = night.plans()
    assert plan.stops == ()
    assert night.archived() == {_id(1), _id(2)}


def test_a_problem_that_remains_after_the_reading_stops_the_plan(night: SweepRun) -> None:
    night.world.simulator.organization.members[1001].role = "light"
    night.begin()
    night.drain()
    [plan] = night.plans()
    [report] = night.reports()
    assert plan.due == 2
    assert plan.stops
    assert report["stopped_by"] == " ".join(plan.stops)
    assert (night.asked(), night.world.writes()) == ([], [])
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == night.world.metrics.counts[Metric.PREFLIGHT_FAILED] == 1


def test_a_forbidden_list_dead_letters_the_sweep_and_releases_its_lock(night: SweepRun) -> None:
    night.world.simulator.add_fault(Fault.answer_status(403, path=LISTS))
    _start(night)
    assert night.deliver()
    [entry] = night.world.dead_letters.entries.values()
    assert entry.message.attributes["code"] == Code.FORBIDDEN
    assert json.loads(entry.message.body)["org_id"] == ORG
    assert night.reports() == []
    night.begin("another")
    assert night.drain() == 3
    assert night.archived() == {_id(1), _id(2)}


def test_a_sweep_with_a_failing_list_comes_back(night: SweepRun) -> None:
    night.world.simulator.add_fault(
        Fault.answer_status(503, times=3, path=LISTS), Fault.html(502, path=LISTS), Fault.reset(path=LISTS)
    )
    _start(night)
    assert night.drain() == 7
    assert night.archived() == {_id(1), _id(2)}
    assert night.world.metrics.counts[Metric.RETRIED] == 5


def test_a_sweep_that_waited_too_long_ends_with_a_reason_and_releases_its_lock(night: SweepRun) -> None:
    night.world.simulator.add_fault(Fault.answer_status(503, path=LISTS, times=-1))
    night.begin()
    night.drain(most=120)
    assert [code for code, _ in _letters(night)] == ["waited_too_long"]
    night.world.simulator.faults.clear()
    night.begin("another")
    assert night.drain() == 3
    assert len(night.reports()) == 1


@pytest.mark.parametrize("bad", ["{}/delete", "../{}", "", "A{}"])
def test_a_row_without_a_readable_id_is_counted_and_stops_nothing(night: SweepRun, bad: str) -> None:
    run = night.world.simulator.organization.runs.pop(_id(1))
    run.id = bad.format(_id(1))
    night.world.simulator.organization.runs[run.id] = run
    night.begin()
    night.drain()
    assert [command.id for command in night.asked()] == [_id(2)]
    [report] = night.reports()
    assert (report["seen"], report["due"], report["kept"], report["failed"]) == ("5", "1", "3", "1")


def test_a_lone_surrogate_in_a_name_or_tag_stops_nothing_and_in_a_status_keeps_the_resource(night: SweepRun) -> None:
    organization = night.world.simulator.organization
    half, runs = "ab\ud83d", organization.runs
    organization.tags[TAG] = Tag(TAG, half, NOW)
    runs[_id(1)].name, runs[_id(1)].tags = half, {TAG}
    runs[_id(2)].status = half
    night.begin()
    night.drain()
    assert night.archived() == {_id(1)}
    assert _kinds(night) == {"no status": 1, "too young": 1, "status": 1, "no date": 1}


# --- one at a time ---


def test_a_second_sweep_waits_for_the_first(night: SweepRun) -> None:
    _start(night)
    night.deliver()
    night.begin("another")
    night.deliver()
    calls = _calls(night)
    assert not night.deliver()
    assert _calls(night) == calls
    assert f"Sweep {SWEEP} of this organization is not finished." in str(night.world.metrics.notes[-1])
    night.drain()
    assert len(night.reports()) == 2
    assert len(night.world.writes()) == 2


def test_a_crashed_sweep_blocks_others_for_six_hours(night: SweepRun) -> None:
    _start(night)
    night.deliver()
    night.queue.entries.clear()
    night.begin("another")
    night.deliver()
    began = night.world.clock()
    night.drain()
    assert night.world.clock() - began > timedelta(hours=5, minutes=50)
    assert night.world.clock() - began < timedelta(hours=6, minutes=30)
    assert len(night.reports()) == 1


# --- cut off ---

DUE = 3217
PAGES, BATCHES = 50, 33


def _many(count: int = 5000) -> tuple[SweepRun, set[str]]:
    """So many processes; of 5,000, 3,217 are due."""
    world = World(rate=Rate(6000, 6000))
    # Of a template: where none is known, each command reads all holds.
    world.simulator.merge(crowd(count, status="complete", completed_at="-45d", checklist_id=TEMPLATE))
    runs = world.simulator.organization.runs
    ids = [make_id("run", number) for number in range(count)]
    due, closed = count * DUE // 5000, count * 4 // 5
    for run_id in ids[due:closed]:
        runs[run_id].completed_at = world.clock() - timedelta(days=3)
    for run_id in ids[closed:]:
        runs[run_id].status, runs[run_id].completed_at = "active", None
    for number, run_id in enumerate(ids):  # due ones on every page
        runs[run_id].created_at = world.clock() - timedelta(days=90, seconds=number * 7919 % count)
    return SweepRun(world), set(ids[:due])


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_of_5000_killed_at_random_steps_does_each_due_action_once(seed: int) -> None:
    night, due = _many()
    dice, kills = random.Random(seed), 0

    def perhaps_die() -> None:
        nonlocal kills
        if dice.random() < 0.25:
            kills += 1
            raise Crash

    night.after_step = perhaps_die
    night.begin()
    taken = _drain_working_the_first_only(night)
    assert kills > 10
    assert taken == kills + 3
    asked = night.asked()
    assert {command.id for command in asked} == due
    assert len({command.intent_id for command in asked}) == len(asked) == DUE
    [report] = night.reports()
    assert (report["seen"], report["due"], report["kept"]) == ("5000", str(DUE), str(5000 - DUE))
    assert _kinds(night) == {"too young": 783, "status": 1000}
    if seed:
        return
    night.work()
    bodies = [command.to_json() for command in asked]
    for body in dice.sample(bodies, 500):  # late copies of some
        night.world.queue.send(body)
    night.world.drain(night.world.process(), most=5000)
    effects = Counter(call.id for call in night.world.simulator.log.calls if call.acted)
    assert set(effects) == due
    assert set(effects.values()) == {1}


def test_a_sweep_killed_between_sending_a_batch_and_recording_it_repeats_intents_and_not_effects() -> None:
    """It dies in the middle of the first, the 10th, and so on: what was sent is sent again, under the same names."""
    night, due = _many(1200)
    night.begin()
    night.deliver()
    for skip in (0, 4):
        night.fuse = FaultInjector("dead_letter", "after", skip=skip)
        assert not night.turn(work=False)
    assert night.bulk.depth() == 6
    night.turn()
    for skip in (0, 99, 100, 150, 233):
        night.fuse = FaultInjector("dead_letter", "after", skip=skip)
        assert not night.turn(work=False)
    night.drain()
    asked = night.asked()
    assert len(asked) > len(due)
    assert {command.id for command in asked} == due
    assert len({command.intent_id for command in asked}) == len(due)
    effects = Counter(call.id for call in night.world.simulator.log.calls if call.acted)
    assert (set(effects), set(effects.values())) == (due, {1})
    assert night.world.dead_letters.depth() == 0


def test_two_concurrent_deliveries_of_one_sweep_give_each_resource_one_intent_id() -> None:
    night, due = _many(1200)
    night.begin()
    night.deliver()
    night.queue.send(next(iter(night.queue.entries.values())).message.body)
    steps = 0

    def other_comes_in() -> None:
        nonlocal steps
        steps += 1
        if steps in {5, 12, 13, 14, 15, 20}:
            night.after_step, mine = (lambda: None), night.after_step
            night.deliver()
            night.after_step = mine

    night.after_step = other_comes_in
    night.drain()
    asked = night.asked()
    assert {command.id for command in asked} == due
    assert len({command.intent_id for command in asked}) == len(due)
    assert {report["due"] for report in night.reports()} == {str(len(due))}
    effects = Counter(call.id for call in night.world.simulator.log.calls if call.acted)
    assert (set(effects), set(effects.values())) == (due, {1})


def test_every_list_is_read_before_the_first_command_is_sent() -> None:
    night, _ = _many()
    sent_at: list[int] = []
    night.after_step = lambda: sent_at.append(night.bulk.depth())
    night.begin()
    _drain_working_the_first_only(night)
    assert sent_at[: PAGES + 1] == [0] * (PAGES + 1)
    assert len(sent_at) == PAGES + 1 + BATCHES


def _killed(skip: int, when: When) -> tuple[SweepRun, bool]:
    """A night that is killed once, after so many writes of all its invocations; whether it came to that."""
    night = _night_of_five()
    night.begin()
    killed = False
    while night.queue.entries:
        fuse = night.fuse = FaultInjector("" if killed else ANY_WRITE, when, skip=skip)
        night.turn()
        killed, skip = killed or fuse.blown, fuse.skip
    return night, killed


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sweep_killed_around_any_write_does_each_due_action_once_and_reports_it(when: When) -> None:
    for writes in range(200):
        night, killed = _killed(writes, when)
        where = f"killed {when} write {writes + 1}"
        assert night.archived() == {_id(1), _id(2)}, where
        assert len(night.world.writes()) == 2, where
        assert _letters(night) == [], where
        assert night.reports(), where
        assert night.world.rows.table[Key(f"sweep#{ORG}", "current")].values["sweep_id"] == "", where
        if not killed:
            break
    assert 20 < writes < 199


# --- what was changed, and what is over ---


def _changes_its_mode(night: SweepRun) -> None:
    night.mode = Mode.REPORT


def _changes_its_policy(night: SweepRun) -> None:
    night.policy = Policy.parse(POLICY.replace("30", "7"))


def _changes_its_zone(night: SweepRun) -> None:
    night.policy = Policy.parse(POLICY.replace("UTC", "Europe/Berlin"))


@pytest.mark.parametrize("change", [_changes_its_mode, _changes_its_policy, _changes_its_zone])
@pytest.mark.parametrize("steps", [1, 5, 10, 11, 12, 15])
def test_a_sweep_whose_terms_changed_after_its_start_stops_with_a_reason(
    steps: int, change: Callable[[SweepRun], None]
) -> None:
    night, _ = _many(1000)
    taken = night.kill_after(steps)
    night.begin()
    while taken.taken < steps:
        night.turn(work=False)
        if night.bulk.depth() <= 5:
            night.work()
    asked = len(night.asked())
    assert (asked > 5) is (steps > 10 + 1)
    change(night)
    night.drain(work=False)
    [(code, reason)] = _letters(night)
    assert code == "changed"
    assert reason.startswith("The sweep stopped: The mode or the policy was changed")
    assert len(night.asked()) == asked
    assert night.reports() == []
    assert night.world.metrics.counts[Metric.SWEEP_FINISHED] == 0


def test_the_next_sweep_follows_the_new_terms(night: SweepRun) -> None:
    night.kill_after(1)
    night.begin()
    night.deliver()
    night.deliver()
    _changes_its_policy(night)
    night.drain()
    night.begin("the-next-night")
    night.drain()
    assert len(night.reports()) == 1
    assert night.archived() == {_id(1), _id(2), _id(3)}


@pytest.mark.parametrize("change", [lambda _: None, _changes_its_mode, _changes_its_policy])
@pytest.mark.parametrize("mode", Mode)
def test_a_finished_sweep_delivered_again_does_nothing(
    night: SweepRun, mode: Mode, change: Callable[[SweepRun], None]
) -> None:
    night.mode = mode
    night.begin()
    night.drain()
    asked, calls = night.asked(), _calls(night)
    change(night)
    night.begin()
    night.drain()
    night.queue.send(json.dumps({"sweep_id": SWEEP, "org_id": ORG}))
    night.drain()
    assert night.asked() == asked
    assert _calls(night) == calls
    assert len(night.reports()) == night.world.metrics.counts[Metric.SWEEP_FINISHED] == 1
    assert night.world.dead_letters.depth() == 0


# --- what people took back ---


def _by_hand(night: SweepRun, action: Action) -> None:
    """A person archives or restores the first process through us."""
    night.world.clock.advance(timedelta(minutes=1))
    command = night.world.command(Resource.RUN, _id(1), action, f"by hand {night.world.clock()}")
    night.world.send(command)
    night.world.drain(night.world.process())
    assert night.world.intent(command.intent_id).status is Status.DONE
    night.world.clock.advance(timedelta(minutes=1))


def _night(night: SweepRun, sweep_id: str) -> Command | None:
    """A whole night; what it asked for the first process."""
    before = len(night.asked())
    night.begin(sweep_id)
    night.drain()
    return next((command for command in night.asked()[before:] if command.id == _id(1)), None)


@pytest.fixture
def restored(night: SweepRun) -> SweepRun:
    """A sweep archived the first process, and a person restored it through us."""
    _night(night, "the-first-night")
    assert night.world.state(Resource.RUN, _id(1)) is State.ARCHIVED
    _by_hand(night, Action.RESTORE)
    return night


def test_a_restored_process_is_kept_in_every_sweep_without_a_dead_letter(restored: SweepRun) -> None:
    for number in range(40):
        restored.world.clock.advance(timedelta(days=1))
        assert _night(restored, f"night-{number}") is None
        plan = restored.plans()[-1]
        [entry] = [entry for entry in restored.entries(plan) if entry.thing.id == _id(1)]
        assert (entry.decision.action, entry.decision.kind) == (None, "restored by a person")
        assert "int_" in entry.decision.reason
        assert plan.kept_by["restored by a person"] == 1
    assert restored.world.state(Resource.RUN, _id(1)) is State.ACTIVE
    assert len([call for call in restored.world.writes() if call.id == _id(1)]) == 2
    assert len(restored.reports()) == 41
    assert restored.world.dead_letters.depth() == 0


def test_a_restored_process_that_was_completed_again_is_archived_again(restored: SweepRun) -> None:
    restored.world.clock.advance(timedelta(days=3))
    restored.world.simulator.organization.runs[_id(1)].completed_at = restored.world.clock()
    restored.world.clock.advance(timedelta(days=31))
    asked = _night(restored, "a-later-night")
    assert asked is not None
    assert restored.world.intent(asked.intent_id).code == Code.ACTED
    assert restored.world.state(Resource.RUN, _id(1)) is State.ARCHIVED


def test_a_process_restored_in_tallyfy_is_kept_whoever_archived_it(restored: SweepRun) -> None:
    _by_hand(restored, Action.ARCHIVE)
    restored.world.simulator.organization.runs[_id(1)].restore(restored.world.clock())
    for number in range(3):
        restored.world.clock.advance(timedelta(days=1))
        assert _night(restored, f"night-{number}") is None
    [entry] = [entry for entry in restored.entries(restored.plans()[-1]) if entry.thing.id == _id(1)]
    assert "somebody restored it in Tallyfy" in entry.decision.reason
    assert restored.world.state(Resource.RUN, _id(1)) is State.ACTIVE


def test_an_older_plan_does_not_archive_a_process_restored_in_tallyfy(night: SweepRun) -> None:
    """Two plans name it. One was applied, and somebody restored it in Tallyfy; then the other one is applied."""
    night.mode = Mode.REPORT
    for name in ("one", "other"):
        night.begin(name)
        night.drain()
        night.world.clock.advance(timedelta(hours=1))
    one, other = night.plans()
    night.apply(one.hash)
    night.drain()
    night.world.clock.advance(timedelta(hours=1))
    night.world.simulator.organization.runs[_id(1)].restore(night.world.clock())
    night.apply(other.hash)
    night.drain()
    assert night.world.state(Resource.RUN, _id(1)) is State.ACTIVE
    [asked] = [command for command in night.asked() if (command.id, command.plan) == (_id(1), other.hash)]
    row = night.world.intent(asked.intent_id)
    assert (row.status, row.code) == (Status.SUPERSEDED, Code.RESTORED_BY_PERSON)


@pytest.mark.parametrize("in_tallyfy", [False, True])
def test_a_restored_process_is_neither_due_nor_counted_against_a_cap(night: SweepRun, in_tallyfy: bool) -> None:  # noqa: FBT001 - a case
    """Eight such things and a cap of ten: what is due tonight goes, and so does what is due on every later night."""
    runs = night.world.simulator.organization.runs
    for number in range(6000, 6006):
        night.world.add(Resource.RUN, _id(number))
        runs[_id(number)].status, runs[_id(number)].completed_at = "complete", NOW - timedelta(days=45)
    night.begin("the-first-night")
    night.drain()
    night.world.clock.advance(timedelta(minutes=5))
    taken_back = sorted(night.archived())
    assert len(taken_back) == 8
    for name in taken_back:
        if in_tallyfy:
            runs[name].restore(night.world.clock())
        else:
            night.world.send(night.world.command(Resource.RUN, name, Action.RESTORE, f"back {name}"))
    night.world.drain(night.world.process())
    night.policy = Policy.parse(POLICY.replace("count = 5000", "count = 10"))
    for late in range(2):
        night.world.clock.advance(timedelta(days=1))
        for number in range(3):
            name = _id(7000 + 10 * late + number)
            night.world.add(Resource.RUN, name)
            runs[name].status, runs[name].completed_at = "complete", night.world.clock() - timedelta(days=45)
        night.begin(f"a-later-night-{late}")
        night.drain()
        plan = night.plans()[-1]
        # Number 3 is old enough on the first of these nights.
        assert (plan.due, plan.stops, plan.kept_by["restored by a person"]) == (4 - late, (), 8)
    assert {name for name in taken_back if runs[name].archived_at is not None} == set()


def test_a_person_may_archive_a_process_that_a_person_restored(restored: SweepRun) -> None:
    _by_hand(restored, Action.ARCHIVE)
    assert restored.world.state(Resource.RUN, _id(1)) is State.ARCHIVED


def test_a_restore_stops_a_waiting_command_of_a_sweep(night: SweepRun) -> None:
    _start(night)
    night.deliver()
    while not night.plans():
        night.turn(work=False)
    for action in (Action.ARCHIVE, Action.RESTORE):
        _by_hand(night, action)
    night.drain()
    asked = next(command for command in night.asked() if command.id == _id(1))
    assert night.world.intent(asked.intent_id).code == Code.RESTORED_BY_PERSON
    assert night.world.state(Resource.RUN, _id(1)) is State.ACTIVE
