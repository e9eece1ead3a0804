"""Doing exactly what a plan says, once: its limits, the first five, the rest, and what only a person may start."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from lifecycle.aws.dynamodb import Key
from lifecycle.aws.metrics import Metric
from lifecycle.domain.capabilities import PERMANENT, Action, Resource, State
from lifecycle.domain.commands import Command, Expect
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import Status
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.pacing.token_bucket import Rate
from lifecycle.plans.commands import expectation
from lifecycle.plans.plan_file import Plan, fact_line
from lifecycle.plans.plan_lines import parse_json
from lifecycle.plans.plan_store import key_of
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.tallyfy.client import Tallyfy
from sandbox.simulator import Fault
from sandbox.simulator.world import Run
from tests.harness.builders import NOW, ORG
from tests.harness.fault_injection import ANY_WRITE, FaultInjector, When
from tests.harness.purge_run import PurgeRun
from tests.harness.sweep_run import POLICY, SweepRun
from tests.harness.world import World

OTHER_ORG = "1b" * 16


def _id(number: int) -> str:
    return f"{number:032x}"


def _night(due: int, *, kept: int = 0, policy: str = POLICY, mode: Mode = Mode.APPLY) -> SweepRun:
    """So many processes that are due, and others that are too young; oldest first."""
    night = SweepRun(World(rate=Rate(6000, 6000)), mode=mode, policy=Policy.parse(policy))
    for number in range(1, due + kept + 1):
        run = _run(night, number)
        run.completed_at = night.world.clock() - timedelta(days=45 if number <= due else 5)
    return night


def _run(night: SweepRun, number: int) -> Run:
    night.world.add(Resource.RUN, _id(number))
    run = night.world.simulator.organization.runs[_id(number)]
    run.created_at += timedelta(minutes=number)
    run.status, run.checklist_id, run.owner_id = "complete", "7d" * 16, 1001
    return run


def _planned(night: SweepRun) -> Plan:
    """Make a plan and apply nothing of it."""
    night.mode = Mode.REPORT
    night.begin()
    night.drain()
    return night.plans()[-1]


def _due(night: SweepRun, plan: Plan) -> list[str]:
    """The ids of what is due, in the order of the plan."""
    return [entry.thing.id for entry in night.entries(plan) if entry.decision.action is not None]


def _first_sent(night: SweepRun) -> None:
    """Deliver until the first ones are on their way."""
    night.begin()
    night.deliver()
    night.deliver()


def _letters(night: SweepRun) -> list[tuple[str, str]]:
    """Code and reason of each dead letter."""
    found = [entry.message.attributes for entry in night.world.dead_letters.entries.values()]
    return [(letter["code"], letter["reason"]) for letter in found]


def _effects(night: SweepRun) -> Counter[str]:
    """How often each thing was changed in Tallyfy."""
    return Counter(str(call.id) for call in night.world.simulator.log.calls if call.acted)


def _statuses(night: SweepRun) -> Counter[Status]:
    """How the intents that were asked for ended, each once."""
    intents = {command.intent_id for command in night.asked()}
    return Counter(night.world.intent(intent).status for intent in intents)


def _refused(night: SweepRun, why: str) -> None:
    """Nothing was done, and the job of a person lies among the dead letters with the reason."""
    [(code, reason)] = _letters(night)
    assert code == Code.PLAN_STOPPED
    assert why in reason
    assert (night.asked(), night.world.writes(), night.applications()) == ([], [], [])
    assert night.world.rows.table[Key(f"sweep#{ORG}", "current")].values["sweep_id"] == "", "others may go on"


# --- what it does ---


def test_exactly_the_actions_of_the_plan_are_carried_out() -> None:
    night = _night(130, kept=20)
    night.begin()
    night.drain()
    [plan] = night.plans()
    due = _due(night, plan)
    assert [command.id for command in night.asked()] == due
    assert night.archived() == set(due)
    assert (plan.seen, plan.due, plan.kept, plan.failed) == (150, 130, 20, 0)
    assert _statuses(night) == {Status.DONE: 130}
    assert night.reports()[0]["sent"] == "130"


def test_a_plan_applied_by_hand_runs_in_the_name_of_the_person() -> None:
    night = _night(130, kept=20)
    plan = _planned(night)
    assert night.world.writes() == []
    night.apply(plan.hash, by="ada")
    night.drain()
    assert night.archived() == set(_due(night, plan))
    assert {(command.source, command.requested_by) for command in night.asked()} == {("plan", "ada")}
    [told] = night.applications()
    assert (told["plan"], told["sent"], told["stopped_by"]) == (plan.hash, "130", "")
    assert night.world.metrics.counts[Metric.PLAN_APPLIED] == 1
    assert len(night.reports()) == 1, "no sweep was finished by it"


def test_a_resource_that_became_due_after_the_plan_is_not_touched() -> None:
    night = _night(6, kept=6)
    plan = _planned(night)
    for number in range(7, 13):
        night.world.simulator.organization.runs[_id(number)].completed_at = NOW - timedelta(days=100)
    _run(night, 99).completed_at = NOW - timedelta(days=100)
    night.apply(plan.hash)
    night.drain()
    assert night.archived() == {_id(number) for number in range(1, 7)}


def test_only_five_commands_are_sent_before_they_were_read_back() -> None:
    night = _night(12)
    _first_sent(night)
    for _ in range(3):  # Nobody has worked on them yet.
        assert len(night.asked()) == 5
        assert not night.turn(work=False)
    night.work()
    looked = len(night.world.simulator.log.calls)
    night.drain(work=False)
    again = night.world.simulator.log.calls[looked:]
    assert [call.id for call in again] == [_id(number) for number in range(1, 6)]
    assert len(night.asked()) == 12


def test_the_canary_commands_are_read_back_after_the_configured_wait() -> None:
    night = _night(12)
    _first_sent(night)
    [entry] = night.queue.entries.values()
    hidden = entry.visible_at - night.world.clock().timestamp()
    assert night.world.retry_base <= hidden <= night.world.retry_base + 2


def test_a_plan_with_nothing_due_is_applied_and_does_nothing() -> None:
    night = _night(0, kept=3)
    night.begin()
    assert night.drain() == 2
    assert night.reports()[0]["stopped_by"] == ""
    assert night.asked() == []


# --- limits ---

LIMITS: list[tuple[str, int, int, str]] = [
    ("[caps]\ncount = 12", 12, 40, ""),
    ("[caps]\ncount = 11", 12, 40, "The plan would act on 12 things; its cap is 11."),
    ("[caps]\npercent = 60", 12, 8, ""),
    ("[caps]\npercent = 59", 12, 8, "The plan would act on 12 of 20 things"),
    ("", 12, 8, "The plan would act on 12 of 20 things"),  # the default is 30 %
    ("", 10, 0, ""),  # of a few, percents say nothing
]


@pytest.mark.parametrize(("caps", "due", "kept", "why"), LIMITS)
@pytest.mark.parametrize("rule", [False, True])
def test_nobody_can_apply_a_plan_over_a_cap(caps: str, due: int, kept: int, why: str, rule: bool) -> None:  # noqa: FBT001 - a case
    policy = POLICY.replace("[caps]\ncount = 5000\npercent = 100", caps)
    if rule and caps:
        policy = f"{POLICY}{caps.replace('[caps]', '[rules.caps]')}\n"
        why = why.replace("The plan", "Rule 'completed'")
    night = _night(due, kept=kept, policy=policy)
    night.begin()
    night.drain()
    [plan] = night.plans()
    [report] = night.reports()
    if not why:
        assert (plan.stops, len(night.archived())) == ((), due)
        return
    assert (night.asked(), night.world.writes()) == ([], [])
    assert why in str(report["stopped_by"])
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == 1
    night.apply(plan.hash)
    night.drain()
    _refused(night, why)


@dataclass
class Shorter:
    """A Tallyfy that says there is one more of everything than it shows."""

    tallyfy: Tallyfy

    def __getattr__(self, name: str) -> object:
        return getattr(self.tallyfy, name)

    def page(self, org_id: str, resource: Resource, number: int, query: dict[str, str]) -> object:
        listing = self.tallyfy.page(org_id, resource, number, query)
        return replace(listing, total=(listing.total or 0) + 1)


def test_nobody_can_apply_an_incomplete_plan() -> None:
    night = _night(3)
    night.seen_through = Shorter  # type: ignore[assignment]
    night.begin()
    night.drain()
    [plan] = night.plans()
    assert plan.due == 3
    assert plan.unseen == (
        "The list of active processes was read 3 times and was never consistent: Tallyfy counts 4 things but listed 3.",
    )
    assert (night.asked(), night.reports()[0]["stopped_by"]) == ([], plan.unseen[0])
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == 1
    night.apply(plan.hash)
    night.drain()
    _refused(night, plan.unseen[0])


def test_a_failed_preflight_also_stops_a_person() -> None:
    night = _night(3)
    night.world.simulator.organization.members[1001].role = "light"
    night.begin()
    night.drain()
    [plan] = night.plans()
    assert plan.stops
    night.apply(plan.hash)
    night.drain()
    _refused(night, plan.stops[0])


WIDER = POLICY.replace("completed_days = 30", "completed_days = 3")


def _with_a_history(kept: int) -> SweepRun:
    """A first plan was applied by the schedule; then the policy was changed."""
    night = _night(2, kept=kept)
    night.begin("the-first")
    night.drain()
    assert len(night.archived()) == 2
    return night


def test_a_changed_policy_that_acts_on_far_more_needs_a_person_once() -> None:
    night = _with_a_history(20)
    night.policy = Policy.parse(WIDER)
    night.begin("the-second")
    night.drain()
    plan = night.plans()[-1]
    assert (plan.due, plan.stops, len(plan.person)) == (20, (), 1)
    assert len(night.archived()) == 2
    assert night.reports()[-1]["stopped_by"] == plan.person[0]
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == 1
    night.begin("the-third")
    night.drain()
    assert len(night.archived()) == 2, "what was refused is not taken for applied"
    night.apply(night.plans()[-1].hash, by="ada")
    night.drain()
    assert len(night.archived()) == 22
    for number in range(100, 120):
        _run(night, number).completed_at = night.world.clock() - timedelta(days=10)
    night.begin("the-fourth")
    night.drain()
    assert len(night.archived()) == 42
    assert night.reports()[-1]["stopped_by"] == ""


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (WIDER, 10),  # not many more
        (POLICY.replace("= 30", "= 40"), 20),  # fewer
        (POLICY.replace("UTC", "Europe/Berlin"), 20),  # as many
    ],
)
def test_a_changed_policy_that_acts_on_little_more_needs_no_person(policy: str, kept: int) -> None:
    night = _with_a_history(kept)
    night.policy = Policy.parse(policy)
    _run(night, 200).completed_at = night.world.clock() - timedelta(days=90)
    night.begin("the-second")
    night.drain()
    assert night.plans()[-1].person == ()
    assert _id(200) in night.archived()


def test_the_first_plan_ever_needs_no_person() -> None:
    night = _night(50)
    night.begin()
    night.drain()
    assert len(night.archived()) == 50


def test_a_policy_that_this_release_cannot_read_waits_for_a_person() -> None:
    night = _with_a_history(20)
    row = night.world.rows.table[key := Key(f"sweep#{ORG}", "applied")]
    night.world.rows.table[key] = type(row)({**row.values, "policy": '{"rules": "of another time"}'}, row.version)
    _run(night, 200).completed_at = night.world.clock() - timedelta(days=90)
    night.begin("the-second")
    night.drain()
    assert night.plans()[-1].person == ("This release cannot read the policy that was applied last.",)
    assert len(night.archived()) == 2


def test_a_stopped_plan_does_not_count_as_the_last_applied_policy() -> None:
    night = _with_a_history(20)
    night.policy = Policy.parse(WIDER.replace("count = 5000", "count = 5"))
    night.begin("the-second")
    night.drain()
    night.policy = Policy.parse(WIDER)
    night.begin("the-third")
    night.drain()
    assert night.plans()[-1].person
    assert len(night.archived()) == 2


@pytest.mark.parametrize(("age", "old"), [(timedelta(days=7), False), (timedelta(days=7, seconds=1), True)])
def test_a_plan_older_than_seven_days_is_refused(age: timedelta, old: bool) -> None:  # noqa: FBT001 - a case
    night = _night(3)
    plan = _planned(night)
    night.world.clock.advance(age - (night.world.clock() - plan.made_at))
    night.apply(plan.hash)
    night.deliver()
    if old:
        _refused(night, "The plan is older than 7 days. Make a new plan.")
    else:
        night.drain()
        assert len(night.archived()) == 3


def test_a_plan_of_another_policy_is_refused() -> None:
    night = _night(3, kept=3)
    plan = _planned(night)
    night.policy = Policy.parse(WIDER)
    night.apply(plan.hash)
    night.drain()
    _refused(night, "policy.toml was changed after the plan was made. Make a new plan.")


# --- what a plan is kept as ---


def _moved(night: SweepRun, plan: Plan, **changes: object) -> None:
    """Write another summary over the one of a plan."""
    said = json.loads(plan.model_dump_json()) | changes
    night.objects.put(key_of(ORG, plan.hash, "plan.json"), json.dumps(said).encode(), kind="application/json")


def test_a_plan_of_another_organization_is_refused() -> None:
    night = _night(3)
    plan = _planned(night)
    for name in ("plan.jsonl.gz", "plan.json", "report.html"):
        body = night.objects.get(key_of(ORG, plan.hash, name)) or b""
        night.objects.put(key_of(OTHER_ORG, "ab" * 32, name), body, kind="text/plain")
    night.apply("ab" * 32)
    night.drain()
    _refused(night, f"Organization {ORG} has no plan {'ab' * 32}.")


@pytest.mark.parametrize("change", [{"org_id": OTHER_ORG}, {"hash": "ab" * 32}])
def test_a_plan_stored_under_a_wrong_name_is_refused(change: dict[str, object]) -> None:
    night = _night(3)
    plan = _planned(night)
    _moved(night, plan, **change)
    night.apply(plan.hash)
    night.drain()
    _refused(night, "contains another plan. Nothing was done.")


@pytest.mark.parametrize("place", [0, 1, 40, -2, -1])
@pytest.mark.parametrize("by_hand", [False, True])
def test_lines_with_one_changed_byte_are_refused(place: int, by_hand: bool) -> None:  # noqa: FBT001 - a case
    night = _night(12)
    if by_hand:
        plan = _planned(night)
        night.apply(plan.hash)
    else:
        night.begin()
        night.kill_after(2)  # once the plan stands
        night.deliver()
        assert not night.deliver()
        [plan] = night.plans()
    key = key_of(ORG, plan.hash, "plan.jsonl.gz")
    body = bytearray(night.objects.get(key) or b"")
    body[len(body) // 2 + place if place > 1 else place] ^= 1
    night.objects.put(key, bytes(body), kind="application/gzip")
    night.drain()
    _refused(night, f"The lines of plan {plan.hash} were changed")


def test_lines_changed_during_the_application_stop_it() -> None:
    night = _night(12)
    _first_sent(night)
    night.work()
    [plan] = night.plans()
    key = key_of(ORG, plan.hash, "plan.jsonl.gz")
    body = gzip.decompress(night.objects.get(key) or b"").replace(_id(7).encode(), _id(8).encode())
    night.objects.put(key, gzip.compress(body), kind="application/gzip")
    night.drain()
    assert len(night.asked()) == 5
    assert [code for code, _ in _letters(night)] == [Code.PLAN_STOPPED]


@pytest.mark.parametrize("name", ["plan.json", "plan.jsonl.gz"])
def test_a_plan_with_a_missing_file_is_refused(name: str) -> None:
    night = _night(3)
    plan = _planned(night)
    del night.objects.bodies[key_of(ORG, plan.hash, name)]  # type: ignore[attr-defined]
    night.apply(plan.hash)
    night.drain()
    _refused(night, "has no plan" if name == "plan.json" else "are gone")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"format": 2}'])
def test_a_summary_that_is_not_a_summary_is_refused(body: bytes) -> None:
    night = _night(3)
    plan = _planned(night)
    night.objects.put(key_of(ORG, plan.hash, "plan.json"), body, kind="application/json")
    night.apply(plan.hash)
    night.drain()
    _refused(night, "was written by another release")


@pytest.mark.parametrize(
    "change",
    [
        {"made_at": (NOW + timedelta(hours=1)).isoformat()},
        {"sweep_id": "another"},
        {"zone": "Europe/Berlin"},
        {"due": 11},
        {"seen": 13},
        {"kept_by": {"too young": 1}},
        {"failed": 1},
        {"unseen": ["Something."]},
        {"ages": []},
        {"due": 1, "kept": 11},
        {"rules": []},
        {"stops": ["Something."]},
        {"capped": ["Something."]},
        {"person": ["Something."]},
    ],
)
def test_a_summary_that_disagrees_with_the_lines_is_refused(change: dict[str, object]) -> None:
    night = _night(12)
    plan = _planned(night)
    _moved(night, plan, **change)
    night.apply(plan.hash)
    night.drain()
    _refused(night, f"plan.json of plan {plan.hash} does not match")


def test_nobody_can_remove_the_stops_of_a_plan() -> None:
    night = _night(12, policy=POLICY.replace("count = 5000", "count = 5"))
    plan = _planned(night)
    assert plan.stops
    _moved(night, plan, stops=[])
    night.apply(plan.hash)
    night.drain()
    _refused(night, "does not match its lines")


def test_nobody_can_remove_the_rules_of_a_plan() -> None:
    night = _night(12, policy=f"{POLICY}[rules.caps]\ncount = 5\n")
    plan = _planned(night)
    _moved(night, plan, stops=[], rules=[])
    night.apply(plan.hash)
    night.drain()
    _refused(night, "does not match its lines")


def test_no_approval_is_requested_for_a_summary_that_disagrees_with_the_lines() -> None:
    """It shows one thing to delete, and its lines name twelve. What can be undone in it was applied before."""
    night = _night(0, policy=LASTING)
    for number in range(1, 13):
        night.world.add(Resource.RUN, _id(number), archived_days=61)
    night.begin()
    night.drain()
    [plan] = night.plans()
    assert plan.due == 12
    rules = [rule.model_dump(mode="json") | {"due": min(rule.due, 1)} for rule in plan.rules]
    _moved(night, plan, due=1, kept=plan.kept + 11, rules=rules)
    night.apply(plan.hash)
    night.drain()
    _refused(night, "does not match its lines")
    assert night.world.approvals.open(ORG) == []


def test_nobody_can_make_an_incomplete_plan_complete() -> None:
    night = _night(3)
    night.seen_through = Shorter  # type: ignore[assignment]
    plan = _planned(night)
    assert plan.unseen
    _moved(night, plan, unseen=[])
    night.apply(plan.hash)
    night.drain()
    _refused(night, "does not match its lines")


def test_the_age_of_a_plan_cannot_be_changed() -> None:
    night = _night(3)
    plan = _planned(night)
    night.world.clock.advance(timedelta(days=8))
    _moved(night, plan, made_at=night.world.clock().isoformat())
    night.apply(plan.hash)
    night.drain()
    _refused(night, "does not match its lines")


# --- the first five are read back ---


def _worked(due: int = 12) -> SweepRun:
    """The first five were sent and done."""
    night = _night(due)
    _first_sent(night)
    night.work()
    assert len(night.archived()) == min(due, 5)
    return night


def _active_again(run: Run) -> None:
    run.restore(NOW)


def _renamed(run: Run) -> None:
    run.name = "Something else"


def _of_another_template(run: Run) -> None:
    run.checklist_id = "7e" * 16


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_active_again, "was to be archived, but Tallyfy shows it as active."),
        (_renamed, "is archived, but its name or template is not the planned one."),
        (_of_another_template, "is archived, but its name or template is not the planned one."),
    ],
)
@pytest.mark.parametrize("number", [1, 5])
def test_a_canary_that_differs_from_the_plan_stops_the_rest_permanently(
    spoil: Callable[[Run], None], why: str, number: int
) -> None:
    night = _worked()
    spoil(night.world.simulator.organization.runs[_id(number)])
    night.drain()
    assert len(night.asked()) == 5
    [report] = night.reports()
    assert report["stopped_by"] == f"The process {_id(number)} {why}"
    assert report["sent"] == "5"
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == 1
    [plan] = night.plans()
    night.begin()  # the schedule once more, and a person
    night.apply(plan.hash, by="ada")
    night.drain()
    assert len(night.asked()) == 5
    [told] = night.applications()
    assert told["stopped_by"] == report["stopped_by"]
    night.begin("the-next-night")
    night.drain()
    assert len(night.plans()) == 2
    assert len(night.archived()) >= 11, "a new plan goes on"


def test_a_canary_that_is_gone_stops_the_rest() -> None:
    night = _worked()
    del night.world.simulator.organization.runs[_id(2)]
    night.drain()
    assert len(night.asked()) == 5
    assert night.reports()[0]["stopped_by"] == f"The process {_id(2)} was to be archived, but Tallyfy shows it as gone."


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.answer_status(403, method="DELETE", id=_id(3)), Status.REJECTED),
        (Fault.answer_status(500, method="DELETE", id=_id(3), times=-1), Status.DEAD_LETTERED),
        (Fault.answer_status(422, method="DELETE", id=_id(3)), Status.REJECTED),
    ],
)
def test_a_canary_that_tallyfy_refuses_or_fails_stops_the_rest(fault: Fault, status: Status) -> None:
    night = _night(12)
    night.world.simulator.add_fault(fault)
    night.begin()
    night.drain()
    assert len(night.asked()) == 5
    assert _statuses(night) == {Status.DONE: 4, status: 1}
    assert str(night.reports()[0]["stopped_by"]).startswith(f"The process {_id(3)} ended as {status}: ")
    assert len(night.archived()) == 4


def _touched(night: SweepRun, number: int) -> None:
    night.world.simulator.organization.runs[_id(number)].last_updated = NOW


def _held(night: SweepRun, number: int) -> None:
    night.world.holds.add(ORG, Resource.RUN, _id(number), reason="an audit", by="Ada")


def _gone(night: SweepRun, number: int) -> None:
    del night.world.simulator.organization.runs[_id(number)]


def _archived_by_others(night: SweepRun, number: int) -> None:
    night.world.simulator.organization.runs[_id(number)].archive(NOW)


def _restored_before(night: SweepRun, number: int) -> None:
    """Archived and restored through us, before the plan was made."""
    for action in (Action.ARCHIVE, Action.RESTORE):
        night.world.send(night.world.command(Resource.RUN, _id(number), action, f"{action}-{number}"))
        night.world.drain(night.world.process())
        night.world.clock.advance(timedelta(seconds=1))


SKIPS: Sequence[tuple[Callable[[SweepRun, int], None], Status]] = (
    (_touched, Status.REJECTED),
    (_held, Status.REJECTED),
    (_gone, Status.REJECTED),
    (_archived_by_others, Status.UNCHANGED),
)


@pytest.mark.parametrize(("change", "status"), SKIPS)
def test_the_rest_continues_if_all_canaries_were_rightly_skipped(
    change: Callable[[SweepRun, int], None], status: Status
) -> None:
    night = _night(12)
    _first_sent(night)
    for number in range(1, 6):
        change(night, number)
    night.drain()
    assert len(night.asked()) == 12
    assert _statuses(night) == {status: 5, Status.DONE: 7}
    assert _effects(night) == {_id(number): 1 for number in range(6, 13)}
    assert night.reports()[0]["stopped_by"] == ""


def test_the_rest_continues_if_people_restored_the_canaries() -> None:
    night = _night(12)
    night.begin()
    while not night.plans():
        night.turn(work=False)
    for number in range(1, 6):
        _restored_before(night, number)
    night.drain()
    assert _statuses(night) == {Status.SUPERSEDED: 5, Status.DONE: 7}
    assert night.archived() == {_id(number) for number in range(6, 13)}


@pytest.mark.parametrize("change", [change for change, _ in SKIPS])
def test_the_canary_continues_until_five_commands_were_done(change: Callable[[SweepRun, int], None]) -> None:
    """A Tallyfy that says yes and archives nothing: after five calls the rest is stopped, not after 35."""
    night = _night(40)
    _first_sent(night)
    for number in range(1, 6):
        change(night, number)
    before = night.archived()
    while night.queue.entries:
        night.turn()
        for name in night.archived() - before:
            night.world.simulator.organization.runs[name].restore(night.world.clock())
    assert len(night.world.writes()) == 5
    assert len(night.asked()) == 10
    assert "Tallyfy shows it as active" in str(night.reports()[0]["stopped_by"])


def test_each_due_resource_is_done_skipped_or_failed_and_counted_once() -> None:
    night = _night(20)
    _first_sent(night)
    for number, (change, _) in enumerate(SKIPS, start=7):
        change(night, number)
    night.world.simulator.add_fault(Fault.answer_status(403, method="DELETE", id=_id(15)))
    night.drain()
    [plan] = night.plans()
    counted = _statuses(night)
    assert counted.total() == plan.due == 20
    assert counted == {Status.DONE: 15, Status.REJECTED: 4, Status.UNCHANGED: 1}
    assert len(_letters(night)) == 4, "each with its reason"


# --- pauses and time ---


def test_a_pause_before_the_canary_sends_no_command() -> None:
    night = _night(12)
    night.begin()
    night.kill_after(2)
    night.deliver()
    night.deliver()
    assert len(night.plans()) == 1
    night.world.pacing.pause(ORG, "Ada")
    for _ in range(3):
        assert not night.turn()
    assert night.asked() == []
    night.world.pacing.resume(ORG)
    night.drain()
    assert len(night.archived()) == 12


def _sent_at_each_step(night: SweepRun, then: Callable[[], None], at: int) -> None:
    """Do something after a step of the sweep."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            then()

    night.after_step = count


def test_a_pause_between_batches_stops_at_once_and_continues_afterwards() -> None:
    night = _night(250)
    _sent_at_each_step(night, lambda: night.world.pacing.pause(ORG, "Ada"), at=3 + 1 + 1)
    night.begin()
    for _ in range(6):
        night.turn(work=False)
        if night.bulk.depth() <= 5:
            night.work()
    assert night.world.pacing.paused_by(ORG)
    assert len(night.asked()) == 5 + 100
    night.world.pacing.resume(ORG)
    night.drain()
    assert len(night.archived()) == len(night.asked()) == 250


def test_with_little_time_left_the_next_invocation_sends_the_next_batch() -> None:
    night = _night(250)

    def tired() -> None:
        night.time_left = 29.0

    _sent_at_each_step(night, tired, at=3 + 1 + 1)
    night.begin()
    while night.time_left > 30:
        night.turn()
    assert len(night.asked()) == 5 + 100
    night.turn()
    assert len(night.asked()) == 5 + 100
    night.time_left = 900.0
    night.drain()
    assert len(night.archived()) == len(night.asked()) == 250


def test_with_little_time_left_the_canary_is_not_sent() -> None:
    night = _night(12)
    plan = _planned(night)
    night.time_left = 29.0
    night.apply(plan.hash)
    assert not night.deliver()
    assert night.asked() == []


# --- twice ---


def test_a_plan_applied_by_the_schedule_is_not_applied_again_by_hand() -> None:
    night = _night(12)
    night.begin()
    night.drain()
    [plan] = night.plans()
    for by in ("ada", "ada", "grace"):
        night.apply(plan.hash, by=by)
        night.drain()
    assert len(night.asked()) == len(night.world.writes()) == 12
    assert [told["sent"] for told in night.applications()] == ["12"] * 3
    assert len(night.reports()) == 1
    assert _letters(night) == []


def test_a_plan_applied_by_hand_is_not_applied_again_by_the_schedule() -> None:
    night = _night(12)
    plan = _planned(night)
    night.apply(plan.hash)
    night.drain()
    night.mode = Mode.APPLY
    night.begin("the-next-night")
    night.drain()
    assert len(night.world.writes()) == 12
    assert night.plans()[-1].due == 0


@pytest.mark.parametrize("people", [("ada", "ada"), ("ada", "grace")])
@pytest.mark.parametrize("work_every", [1, 2, 3])
def test_two_people_who_apply_the_same_plan_at_once_do_nothing_twice(people: tuple[str, str], work_every: int) -> None:
    night = _night(250)
    plan = _planned(night)
    for by in people:
        night.apply(plan.hash, by=by)
    turns = 0
    while night.queue.entries:
        turns += 1
        night.turn(work=turns % work_every == 0)
    night.work()
    assert len({command.intent_id for command in night.asked()}) == 250
    assert set(_effects(night).values()) == {1}
    assert len(night.archived()) == 250
    assert _letters(night) == []


@pytest.mark.parametrize("step", [1, 2, 3])
def test_another_delivery_of_the_same_job_in_the_middle_does_nothing_twice(step: int) -> None:
    night = _night(250)
    plan = _planned(night)
    night.apply(plan.hash)
    night.apply(plan.hash)
    night.deliver()  # of the one
    night.deliver()  # and of the other
    night.work()
    _sent_at_each_step(night, lambda: _other(night), at=step)
    night.drain()
    assert len({command.intent_id for command in night.asked()}) == 250
    assert set(_effects(night).values()) == {1}
    assert len(night.archived()) == 250
    assert _letters(night) == []


def _other(night: SweepRun) -> None:
    night.after_step = lambda: None
    night.world.clock.advance(timedelta(hours=1))
    night.deliver()


def test_a_person_waits_for_the_sweep_and_the_sweep_for_a_person() -> None:
    night = _night(12)
    _first_sent(night)
    [plan] = night.plans()
    night.apply(plan.hash)
    assert not night.deliver()
    assert len(night.asked()) == 5
    assert "is not finished" in str(night.world.metrics.notes[-1])
    night.drain()
    assert len(night.world.writes()) == 12
    later = _night(12)
    plan = _planned(later)
    later.apply(plan.hash)
    later.deliver()
    later.mode = Mode.APPLY
    later.begin("meanwhile")
    later.deliver()
    assert not later.deliver()
    assert len(later.asked()) == 5
    later.drain()
    assert len(later.world.writes()) == 12


def test_a_person_who_continues_a_plan_sends_the_same_commands() -> None:
    """Ada's job died for good after three of the first five were sent. Grace's comes when the lock has run out."""
    night = _night(12)
    plan = _planned(night)
    night.apply(plan.hash, by="ada")
    night.fuse = FaultInjector("dead_letter", "after", skip=2)
    assert not night.deliver()
    assert len(night.asked()) == 3
    night.work()
    night.queue.entries.clear()
    night.world.clock.advance(timedelta(hours=7))
    night.apply(plan.hash, by="grace")
    night.drain()
    assert {command.requested_by for command in night.asked()} == {"ada"}
    assert len(night.archived()) == len(night.world.writes()) == 12
    assert _letters(night) == []


# --- cut off ---


@pytest.fixture(scope="module")
def undisturbed() -> SweepRun:
    night = _night(230, kept=20)
    night.kill_after()
    night.begin()
    night.drain()
    return night


STEPS = 3 + 1 + 3  # pages, the plan, batches


def test_a_sweep_has_one_step_for_each_page_and_batch_and_one_more(undisturbed: SweepRun) -> None:
    assert undisturbed.after_step.taken == STEPS  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_sweep_killed_after_any_step_makes_the_same_plan_and_does_each_action_once(
    undisturbed: SweepRun, step: int
) -> None:
    night = _night(230, kept=20)
    night.kill_after(step)
    night.begin()
    night.drain()
    assert [plan.hash for plan in night.plans()] == [plan.hash for plan in undisturbed.plans()]
    assert {command.intent_id for command in night.asked()} == {command.intent_id for command in undisturbed.asked()}
    assert _effects(night) == _effects(undisturbed)
    assert _letters(night) == []
    assert len(night.reports()) == 1


LASTING = """
zone = "UTC"
[caps]
percent = 100
[[rules]]
name = "completed"
resource = "process"
action = "archive"
[rules.when]
status = ["complete"]
completed_days = 30
[[rules]]
name = "dead-tags"
resource = "tag"
action = "delete"
irreversible = true
[rules.when]
unused = true
created_days = 180
[[rules]]
name = "old-templates"
resource = "template"
action = "archive"
irreversible = true
[rules.when]
created_days = 500
[[rules]]
name = "long-archived"
resource = "process"
action = "delete"
irreversible = true
[rules.when]
archived_days = 60
"""

ARCHIVED, DEAD_TAGS, TEMPLATES, DELETED = (_id(1), _id(2)), (_id(11), _id(12)), (_id(21),), (_id(31), _id(32))


def _lasting() -> SweepRun:
    """Two processes to archive; two tags and two processes to delete, a template to archive; and some to keep."""
    night = _night(2, kept=1, policy=LASTING)
    for tag in DEAD_TAGS:
        night.world.add(Resource.TAG, tag)
    for template in TEMPLATES:
        night.world.add(Resource.TEMPLATE, template)
    for run in DELETED:
        night.world.add(Resource.RUN, run, archived_days=61)
    night.world.add(Resource.RUN, _id(33), archived_days=60)
    return night


def _left(night: SweepRun) -> dict[str, State]:
    """The state of all that cannot be brought back."""
    kinds = {Resource.TAG: DEAD_TAGS, Resource.TEMPLATE: TEMPLATES, Resource.RUN: (*DELETED, _id(33))}
    return {name: night.world.state(kind, name) for kind, names in kinds.items() for name in names}


UNTOUCHED = {
    **dict.fromkeys((*DEAD_TAGS, *TEMPLATES), State.ACTIVE),
    **dict.fromkeys((*DELETED, _id(33)), State.ARCHIVED),
}
DONE = {
    **dict.fromkeys((*DEAD_TAGS, *DELETED), State.GONE),
    **dict.fromkeys((*TEMPLATES, _id(33)), State.ARCHIVED),
}


def test_the_schedule_never_carries_out_irreversible_actions() -> None:
    night = _lasting()
    for number in range(3):
        night.begin(f"night-{number}")
        night.drain()
        night.world.clock.advance(timedelta(hours=1))
    assert {command.id for command in night.asked()} == set(ARCHIVED)
    assert _left(night) == UNTOUCHED
    [first, *_] = night.plans()
    assert first.due == 7
    assert [note for note in first.notes if "waits for a person" in note] == [
        f"Rule '{rule}' cannot be undone. It waits for a person who types the plan's hash."
        for rule in ("dead-tags", "old-templates", "long-archived")
    ]


def _press(night: SweepRun, plan: Plan, who: str, what: Literal["approve", "reject"] = "approve") -> None:
    """Somebody says yes or no to what cannot be undone in a plan."""
    PurgeRun(night.world).press(what, plan.hash, who)


def _approved(night: SweepRun, plan: Plan) -> None:
    """Apply a plan and let two people approve what cannot be undone in it; nothing of that is begun yet."""
    night.apply(plan.hash)
    night.drain()
    assert _left(night) == UNTOUCHED
    for who in ("bob", "cleo"):
        _press(night, plan, who)


def test_a_person_who_applies_the_hash_sends_deletes_through_the_purge_queue() -> None:
    night = _lasting()
    plan = _planned(night)
    _approved(night, plan)
    purged: list[str] = []
    while night.queue.entries:
        night.turn(work=False)
        for queue, permanent in ((night.bulk, False), (night.purge, True)):
            for entry in queue.entries.values():
                command = Command.model_validate_json(entry.message.body)
                assert command.capability.permanent is permanent
                purged += [command.thing_id] if permanent else []
        night.work()
    assert set(purged) == {*DEAD_TAGS, *DELETED}
    assert _left(night) == DONE
    assert night.archived() == {*ARCHIVED, _id(33)}
    assert {(command.source, command.requested_by) for command in night.asked()} == {("plan", "ada")}
    assert _statuses(night) == {Status.DONE: 7}
    assert [told["sent"] for told in night.applications()] == ["2", "7"]


def test_a_person_can_apply_the_irreversible_half_that_the_schedule_left() -> None:
    night = _lasting()
    night.begin()
    night.drain()
    _approved(night, night.plans()[0])
    night.drain()
    assert _left(night) == DONE
    assert {command.id for command in night.asked() if command.source == "plan"} == {*DEAD_TAGS, *TEMPLATES, *DELETED}
    assert len(night.world.writes()) == 7
    assert [told["sent"] for told in night.applications()] == ["2", "7"]


def test_a_difference_in_the_reversible_half_stops_the_irreversible_half() -> None:
    night = _lasting()
    plan = _planned(night)
    night.apply(plan.hash)
    night.deliver()
    night.work()
    night.world.simulator.organization.runs[_id(1)].name = "Another"
    night.drain()
    assert _left(night) == UNTOUCHED
    [told] = night.applications()
    assert "its name or template is not" in str(told["stopped_by"])


def test_a_delete_that_did_not_happen_stops_the_rest() -> None:
    """Tallyfy says yes and does nothing."""
    night = _lasting()
    for number in range(40, 50):
        night.world.add(Resource.TAG, _id(number))
    plan = _planned(night)
    _approved(night, plan)
    while not night.purge.entries:
        night.turn(work=False)
        if not night.purge.entries:
            night.work()
    first = [Command.model_validate_json(entry.message.body).thing_id for entry in night.purge.entries.values()]
    night.work()
    tag = night.world.simulator.organization.tags[first[0]]
    tag.deleted_at = None
    night.drain()
    assert f"The tag {tag.id} was to be gone, but Tallyfy shows it as active." in str(
        night.applications()[1]["stopped_by"]
    )
    assert len([command for command in night.asked() if command.capability.irreversible]) == 5


@dataclass
class Crowded:
    """A Tallyfy with so much archived that nobody can look through all of it."""

    tallyfy: Tallyfy

    def __getattr__(self, name: str) -> object:
        return getattr(self.tallyfy, name)

    def look(self, org_id: str, resource: Resource, thing_id: str) -> ResourceSnapshot | None:
        seen = self.tallyfy.look(org_id, resource, thing_id)
        if seen is None and resource is not Resource.TAG:
            raise Rejected(Code.UNDETERMINED, "It is not among the first 2000.")
        return seen


def test_a_delete_is_accepted_if_the_archive_is_too_large_to_search() -> None:
    night = _lasting()
    plan = _planned(night)
    night.seen_through = Crowded  # type: ignore[assignment]
    _approved(night, plan)
    night.drain()
    assert _left(night) == DONE
    assert _letters(night) == []
    assert [told["stopped_by"] for told in night.applications()] == ["", ""]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_plan_of_a_person_killed_at_any_write_is_done_once(when: When) -> None:
    for writes in range(300):
        night = _lasting()
        plan = _planned(night)
        night.apply(plan.hash)
        killed, skip, where = False, writes, f"killed {when} write {writes + 1}"
        for approver in ("bob", "cleo", ""):
            while night.queue.entries:
                fuse = night.fuse = FaultInjector("" if killed else ANY_WRITE, when, skip=skip)
                night.turn()
                killed, skip = killed or fuse.blown, fuse.skip
            if approver:
                assert _left(night) == UNTOUCHED, where
                _press(night, plan, approver)
        assert _left(night) == DONE, where
        assert night.archived() == {*ARCHIVED, _id(33)}, where
        assert len(night.world.writes()) == 7, where
        assert _letters(night) == [], where
        assert night.applications(), where
        if not killed:
            break
    assert 20 < writes < 299


# --- whose right it is ---


def _foreign(night: SweepRun, resource: Resource, name: str, action: Action) -> str:
    """A command that says it comes from a plan; its intent."""
    command = night.world.command(resource, name, action, f"{resource}/{name}", source="plan")
    worker = night.world.purge() if action is Action.DELETE else night.world.process()
    worker.queue.send(command.to_json())
    night.world.drain(worker)
    return command.intent_id


@pytest.mark.parametrize(
    ("rule", "resource", "name", "action"),
    [
        ("dead-tags", Resource.TAG, DEAD_TAGS[0], Action.DELETE),
        ("old-templates", Resource.TEMPLATE, TEMPLATES[0], Action.ARCHIVE),
        ("long-archived", Resource.RUN, DELETED[0], Action.DELETE),
    ],
)
def test_a_plan_gets_its_rights_only_from_the_policy(rule: str, resource: Resource, name: str, action: Action) -> None:
    night = _lasting()
    others = [part for part in LASTING.split("[[rules]]") if f'"{rule}"' not in part]
    night.world.policy = Policy.parse("[[rules]]".join(others))
    intent = night.world.intent(_foreign(night, resource, name, action))
    assert (intent.status, intent.code) == (Status.REJECTED, Code.RIGHT_MISSING)
    assert _left(night) == UNTOUCHED
    allowed = _lasting()
    allowed.world.policy = Policy.parse(LASTING)
    intent = allowed.world.intent(_foreign(allowed, resource, name, action))
    # The right alone deletes nothing: it has to be part of a plan that was approved.
    code = Code.ACTED if action is Action.ARCHIVE else Code.NOT_APPROVED
    assert intent.code == code


def test_a_plan_without_a_policy_has_no_rights() -> None:
    night = _lasting()
    assert night.world.policy is None
    intent = night.world.intent(_foreign(night, Resource.TAG, DEAD_TAGS[0], Action.DELETE))
    assert intent.code == Code.RIGHT_MISSING


def _take_back(night: SweepRun, plan: Plan) -> None:
    job = {"sweep_id": "undo", "org_id": ORG, "kind": "undo", "plan": plan.hash, "requested_by": "ada"}
    night.queue.send(json.dumps(job))


def test_reverting_a_plan_restores_its_templates_and_stops_those_still_waiting() -> None:
    """Archiving a template is approved as what cannot be undone; what can come back of it does."""
    night = _lasting()
    plan = _planned(night)
    _approved(night, plan)
    night.drain()
    assert _left(night) == DONE
    _take_back(night, plan)
    night.drain()
    assert _left(night) == {**DONE, **dict.fromkeys(TEMPLATES, State.ACTIVE)}


def test_a_reverted_plan_stops_commands_that_wait_for_the_rate() -> None:
    """What was approved and is not done must not go on meanwhile."""
    night = _lasting()
    plan = _planned(night)
    _approved(night, plan)
    night.turn(work=False)
    assert [command.action for command in night.asked() if command.capability.permanent]
    _take_back(night, plan)
    night.queue.entries.pop(next(iter(night.queue.entries)))  # The one who applies it comes back later.
    assert night.deliver()
    night.work()
    assert {name: state for name, state in _left(night).items() if state is State.GONE} == {}


def test_the_source_sweep_has_no_irreversible_rights() -> None:
    night = _lasting()
    night.world.policy = Policy.parse(LASTING)
    command = night.world.command(Resource.TAG, DEAD_TAGS[0], Action.DELETE, "x", source="sweep")
    night.world.send(command)
    night.world.drain(night.world.process(PERMANENT))
    assert night.world.intent(command.intent_id).code == Code.RIGHT_MISSING


# --- what is expected of a thing ---


def _thing(**facts: object) -> ResourceSnapshot:
    return ResourceSnapshot(resource=Resource.RUN, id=_id(1), state=State.ACTIVE, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, None),
        ({"status": "x" * 201}, None),
        ({"status": "a\nb"}, None),
        ({"name": " padded "}, None),
        ({"name": "x" * 200}, {"name": "x" * 200}),
        ({"name": "half \ud83d", "status": "active"}, {"status": "active"}),
        ({"tags": frozenset()}, {"tags": ()}),
        ({"tags": frozenset({"b", "a"})}, {"tags": ("a", "b")}),
        ({"tags": frozenset({"a", " b"}), "owners": frozenset({"5"})}, {"owners": ("5",)}),
        ({"tags": frozenset(str(number) for number in range(101))}, None),
        (
            {"tags": frozenset(str(number) for number in range(101)), "archived_at": datetime(2026, 1, 1, tzinfo=UTC)},
            {"archived_at": datetime(2026, 1, 1, tzinfo=UTC)},
        ),
    ],
)
def test_only_facts_that_fit_a_command_are_expected(
    facts: dict[str, object], expected: dict[str, object] | None
) -> None:
    made = expectation(parse_json(fact_line(_thing(**facts)).encode()))
    assert (Expect.model_validate_json(json.dumps(made)).model_dump() if made else None) == expected


# --- the oldest of a plan that is over its caps ---

FEW_AT_ONCE = POLICY.replace("count = 5000\npercent = 100", "count = 8\npercent = 10")


def _first(night: SweepRun, plan: Plan, first: int, by: str = "ada") -> None:
    """What a person sends who begins with the oldest things of a plan."""
    job = {"sweep_id": f"apply-{by}-{first}", "org_id": ORG, "kind": "apply", "plan": plan.hash}
    night.queue.send(json.dumps({**job, "requested_by": by, "first": first}))


def test_first_acts_on_the_oldest_resources_and_the_rest_stays_due() -> None:
    night = _night(30, policy=FEW_AT_ONCE)
    for number in range(1, 31):  # the youngest by creation is the oldest by completion
        night.world.simulator.organization.runs[_id(number)].completed_at = NOW - timedelta(days=40 + number)
    plan = _planned(night)
    assert plan.can_begin
    assert plan.capped == plan.stops
    assert any(f"lifecycle apply {plan.hash} --first 8" in note for note in plan.notes)
    _first(night, plan, 8)
    night.drain()
    assert night.archived() == {_id(number) for number in range(23, 31)}
    assert _letters(night) == []
    records = [row.values for key, row in night.world.rows.table.items() if key.pk.startswith("audit#")]
    assert any("only the oldest 8 of 30 things" in str(values) for values in records)
    night.begin("the-next-night")
    night.drain()
    assert night.plans()[-1].due == 22


@pytest.mark.parametrize(("first", "rule", "most"), [(9, "", 8), (4, "[rules.caps]\ncount = 3\n", 3)])
def test_first_never_exceeds_a_cap_on_a_count(first: int, rule: str, most: int) -> None:
    night = _night(30, policy=f"{FEW_AT_ONCE}{rule}")
    plan = _planned(night)
    _first(night, plan, first)
    night.drain()
    _refused(night, f"--first {first} is more than the cap of {most}.")


def test_first_overrides_only_caps() -> None:
    night = _night(30, policy=FEW_AT_ONCE)
    night.world.simulator.organization.members[1001].role = "light"
    plan = _planned(night)
    assert not plan.can_begin
    _first(night, plan, 8)
    night.drain()
    [(code, reason)] = _letters(night)
    assert code == Code.PLAN_STOPPED
    assert "may not archive" in reason
    assert night.archived() == set()


def test_a_person_who_continues_with_first_acts_on_the_same_resources() -> None:
    night = _night(30, policy=FEW_AT_ONCE)
    plan = _planned(night)
    _first(night, plan, 7)
    night.turn()
    night.queue.entries.clear()
    night.world.clock.advance(timedelta(hours=7))
    _first(night, plan, 8, by="grace")
    night.drain()
    assert len(night.archived()) == 7
    night.apply(plan.hash)
    night.drain()
    assert len(night.archived()) == 7


def test_irreversible_actions_among_the_oldest_need_the_same_approvals() -> None:
    night = _lasting()
    night.policy = Policy.parse(LASTING.replace("percent = 100", "count = 6\npercent = 1"))
    plan = _planned(night)
    assert plan.can_begin
    _first(night, plan, 6)
    night.drain()
    assert _left(night) == UNTOUCHED
    for who in ("bob", "cleo"):
        _press(night, plan, who)
    night.drain()
    assert len(_effects(night)) == 6
    assert len(night.world.writes()) == 6


def test_a_rule_that_archives_active_work_is_noted_in_plan_and_report() -> None:
    running = POLICY.replace('status = ["complete"]\ncompleted_days', "created_days")
    assert running != POLICY
    night = _night(2, policy=running)
    plan = _planned(night)
    assert any("although people may still work on it" in note for note in plan.notes)
    page = (night.objects.get(key_of(ORG, plan.hash, "report.html")) or b"").decode()
    assert "although people may still work on it" in page
