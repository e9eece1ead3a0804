"""A plan that people must approve, and one that a person takes back."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from lifecycle.approvals.rules import ApprovalStatus
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put
from lifecycle.aws.metrics import Metric
from lifecycle.deletion.export_readback import verify
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent import Status
from lifecycle.pacing.token_bucket import Rate
from lifecycle.plans.application import PlanPart
from lifecycle.plans.plan_file import Plan
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from lifecycle.sweep.jobs import JobKind, SweepJob
from sandbox.simulator import Fault
from sandbox.simulator.world import Run
from tests.harness.builders import ORG
from tests.harness.fault_injection import ANY_WRITE, FaultInjector, When
from tests.harness.purge_run import PurgeRun
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World

POLICY = """
zone = "UTC"
[caps]
count = 5000
percent = 100
[[rules]]
name = "completed"
resource = "process"
action = "archive"
[rules.when]
status = ["complete"]
completed_days = 30
[[rules]]
name = "long-archived"
resource = "process"
action = "delete"
irreversible = true
[rules.when]
archived_days = 60
[[rules]]
name = "dead-tags"
resource = "tag"
action = "delete"
irreversible = true
[rules.when]
unused = true
created_days = 180
"""
SLOW = POLICY.replace("archived_days = 60", "archived_days = 28")
EXPIRED = "lifecycle.approval.expired"
REVERSIBLE = POLICY[: POLICY.index('[[rules]]\nname = "long-archived"')]


def _id(number: int) -> str:
    return f"{number:032x}"


DELETED, TAGS = (_id(9001), _id(9002)), (_id(9011),)


def _night(due: int = 2, policy: str = POLICY) -> SweepRun:
    """So many processes to archive, two processes and a tag to delete."""
    night = SweepRun(World(rate=Rate(6000, 6000)), policy=Policy.parse(policy))
    for number in range(1, due + 1):
        night.world.add(Resource.RUN, _id(number))
        run = _run(night, _id(number))
        run.created_at += timedelta(minutes=number)
        run.status = "complete"
        run.completed_at = night.world.clock() - timedelta(days=45)
    for name in DELETED:
        night.world.add(Resource.RUN, name, archived_days=61)
    for name in TAGS:
        night.world.add(Resource.TAG, name)
    return night


def _run(night: SweepRun, name: str) -> Run:
    return night.world.simulator.organization.runs[name]


def _planned(night: SweepRun) -> Plan:
    night.mode = Mode.REPORT
    night.begin()
    night.drain()
    return night.plans()[-1]


def _gone(night: SweepRun) -> set[str]:
    return night.world.simulator.organization.gone


def _archived(night: SweepRun) -> set[str]:
    return night.archived() - set(DELETED)


def _letters(night: SweepRun) -> list[tuple[str, str]]:
    found = [entry.message.attributes for entry in night.world.dead_letters.entries.values()]
    return [(letter["code"], letter["reason"]) for letter in found]


def _asked(night: SweepRun) -> tuple[Plan, PurgeRun]:
    """A plan of which all but the irreversible half was applied, and people were asked about that."""
    plan = _planned(night)
    night.apply(plan.hash, by="ada")
    night.drain()
    return plan, PurgeRun(night.world)


def _stands(night: SweepRun, plan: Plan) -> ApprovalStatus:
    request = night.world.approvals.find(ORG, plan.hash)
    assert request is not None
    return request.stands(millis(night.world.clock()))


# --- two who did not ask ----------------------------------------------------------------------------------------------


def test_a_plan_approved_by_two_other_people_deletes_exactly_its_resources() -> None:
    night = _night()
    night.world.add(Resource.RUN, _id(9003), archived_days=60)  # a day too young
    plan, people = _asked(night)
    assert _archived(night) == {_id(1), _id(2), _id(9003)}
    assert (_gone(night), _stands(night, plan)) == (set(), ApprovalStatus.OPEN)
    people.press("approve", plan.hash, "bob")
    night.drain()
    assert (_gone(night), _stands(night, plan)) == (set(), ApprovalStatus.OPEN)
    people.press("approve", plan.hash, "bob")
    night.drain()
    assert (_gone(night), _stands(night, plan)) == (set(), ApprovalStatus.OPEN)
    people.press("approve", plan.hash, "cleo")
    assert _gone(night) == set()
    night.drain()
    assert _gone(night) == {*DELETED, *TAGS}
    effects = Counter(str(call.id) for call in night.world.simulator.log.calls if call.acted)
    assert effects == dict.fromkeys((_id(1), _id(2), *DELETED, *TAGS), 1)
    assert _letters(night) == []


def test_each_resource_of_a_plan_is_exported_before_its_delete() -> None:
    night = _night()
    plan, people = _asked(night)
    seen: dict[str, bool] = {}

    def look(call: str) -> None:
        for command in (command for command in night.asked() if command.capability.permanent):
            if command.thing_id in call:
                evidence = night.world.intent(command.intent_id).evidence
                folder = str(json.loads(evidence)["export"])
                manifest, wrong = verify(night.world.objects, folder)
                seen[command.thing_id] = manifest is not None and manifest.complete and not wrong

    for who in ("bob", "cleo"):
        people.press("approve", plan.hash, who)
    night.world.before_write = look
    night.drain()
    assert seen == dict.fromkeys((*DELETED, *TAGS), True)


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("ada", Code.OWN_REQUEST),
        ("dan", Code.UNKNOWN_APPROVAL),  # answers for tags, and there are processes in it
        ("eve", Code.UNKNOWN_APPROVAL),  # of another organization
    ],
)
def test_the_requester_or_a_person_without_the_right_is_no_second_approver(who: str, code: Code) -> None:
    night = _night()
    plan, people = _asked(night)
    people.press("approve", plan.hash, "bob")
    with pytest.raises(Rejected) as refused:
        people.press("approve", plan.hash, who)
    assert refused.value.code is code
    night.drain()
    assert _gone(night) == set()


@pytest.mark.parametrize("asker", ["ada", "Ada", "U034FGHIJ", "arn:aws:iam::123456789012:user/ada"])
def test_a_requester_is_recognized_by_each_of_their_identities(asker: str) -> None:
    night = _night()
    plan = _planned(night)
    night.queue.send(
        SweepJob(
            sweep_id="apply-1", org_id=ORG, kind=JobKind.APPLY, plan=plan.hash, requested_by=asker
        ).model_dump_json()
    )
    night.drain()
    with pytest.raises(Rejected) as refused:
        PurgeRun(night.world).press("approve", plan.hash, "ada")
    assert refused.value.code is Code.OWN_REQUEST


def test_a_rejection_of_a_plan_is_final_for_everybody() -> None:
    night = _night()
    plan, people = _asked(night)
    people.press("approve", plan.hash, "bob")
    people.press("reject", plan.hash, "cleo", "Not this year.")
    night.drain()
    for by in ("ada", "bob"):
        night.apply(plan.hash, by=by)
        night.drain()
    assert _gone(night) == set()
    assert _letters(night) == []
    refused = [facts for signal, facts in night.world.metrics.notes if signal is Metric.SUPERSEDED]
    assert {"cleo rejected" in str(facts["reason"]) for facts in refused} == {True}
    with pytest.raises(Rejected, match="rejected already"):
        people.press("approve", plan.hash, "bob")


def test_an_expired_approval_is_requested_again_without_earlier_votes() -> None:
    night = _night()
    plan, people = _asked(night)
    people.press("approve", plan.hash, "bob")
    night.drain()
    night.world.clock.advance(timedelta(hours=72))
    assert _stands(night, plan) is ApprovalStatus.EXPIRED
    with pytest.raises(Rejected, match="expired already"):
        people.press("approve", plan.hash, "cleo")
    night.drain()
    assert _gone(night) == set()
    night.apply(plan.hash, by="ada")
    night.drain()
    assert _stands(night, plan) is ApprovalStatus.OPEN
    people.press("approve", plan.hash, "cleo")
    night.drain()
    assert _gone(night) == set(), "what was said before it expired does not count"
    people.press("approve", plan.hash, "bob")
    night.drain()
    assert _gone(night) == {*DELETED, *TAGS}
    assert [name for name, _ in night.world.bus.announced].count("lifecycle.approval.asked") >= 2


def test_a_command_in_its_grace_period_does_not_delay_the_plan() -> None:
    night = _night(policy=SLOW)
    for name in DELETED:
        _run(night, name).archived_at = night.world.clock() - timedelta(days=29, hours=12)
    plan, people = _asked(night)
    for who in ("bob", "cleo"):
        people.press("approve", plan.hash, who)
    assert night.drain() < 30
    assert _letters(night) == []
    assert _gone(night) == set(TAGS)


def test_approvers_of_a_plan_are_reminded_once_and_informed_of_its_expiry() -> None:
    night = _night()
    _asked(night)
    for _ in range(6):
        night.world.clock.advance(timedelta(hours=24))
        night.check()
        night.drain()
    told = [name for name, _ in night.world.bus.announced if name.startswith("lifecycle.approval.")]
    assert told[0] == "lifecycle.approval.asked"
    assert told[told.count("lifecycle.approval.asked") :] == [
        "lifecycle.approval.reminded",
        "lifecycle.approval.expired",
    ]


def _told(night: SweepRun) -> list[str]:
    return [name for name, _ in night.world.bus.announced if name in {"lifecycle.approval.reminded", EXPIRED}]


def test_a_repeated_daily_check_informs_nobody_twice() -> None:
    night = _night()
    _asked(night)
    night.world.clock.advance(timedelta(hours=40))
    night.world.pacing.pause(ORG, "Ada")
    night.check()
    for _ in range(20):
        night.turn(work=False)
    assert _told(night) == ["lifecycle.approval.reminded"]


def test_a_check_ends_when_the_next_one_is_due_and_is_no_dead_letter() -> None:
    night = _night()
    _asked(night)
    night.world.pacing.pause(ORG, "Ada")
    night.queue.entries.clear()
    letters = _letters(night)
    night.check()
    assert night.drain(work=False) < 40
    assert _letters(night) == letters
    assert night.world.metrics.counts[Metric.DEAD_LETTERED] == 0


@pytest.mark.parametrize(
    ("hours", "first"), [(23, 3.5), (25, 21.5), (49, 0.5)], ids=["spring", "autumn", "a check that never ran"]
)
def test_every_hour_between_two_checks_is_covered_once(hours: int, first: float) -> None:
    night = _night()
    _asked(night)
    night.world.clock.advance(timedelta(hours=first))
    for _ in range(200 // hours):
        night.check()
        night.drain()
        night.world.clock.advance(timedelta(hours=hours))
    night.check()
    night.drain()
    assert _told(night)[-1:] == [EXPIRED]
    assert _told(night).count(EXPIRED) == 1


def test_nobody_is_reminded_of_a_plan_that_was_rejected() -> None:
    night = _night()
    plan, people = _asked(night)
    people.press("reject", plan.hash, "bob")
    for _ in range(4):
        night.world.clock.advance(timedelta(hours=24))
        night.check()
        night.drain()
    told = {name for name, _ in night.world.bus.announced if name.startswith("lifecycle.approval.")}
    assert told == {"lifecycle.approval.asked"}


def test_an_approval_of_a_plan_that_is_too_old_does_nothing() -> None:
    night = _night()
    plan, people = _asked(night)
    people.press("approve", plan.hash, "bob")
    people.press("approve", plan.hash, "cleo")
    night.world.clock.advance(timedelta(days=8))
    night.drain()
    assert _gone(night) == set()
    [(code, reason)] = _letters(night)
    assert (code, "older than 7 days" in reason) == (Code.PLAN_STOPPED, True)


def _renamed(night: SweepRun) -> None:
    _run(night, DELETED[0]).name = "Another"


def _restored(night: SweepRun) -> None:
    _run(night, DELETED[0]).restore(night.world.clock())


def _held(night: SweepRun) -> None:
    night.world.holds.add(ORG, Resource.RUN, DELETED[0], reason="the auditors", by="Grace")


def _forbidden(night: SweepRun) -> None:
    night.world.simulator.add_fault(Fault.answer_status(403, path="/activity-feeds", times=1))


@pytest.mark.parametrize(("change", "code"), [(_renamed, Code.CHANGED), (_restored, Code.CHANGED), (_held, Code.HELD)])
def test_a_changed_resource_is_kept_and_the_rest_is_deleted(change: Callable[[SweepRun], None], code: Code) -> None:
    night = _night()
    plan, people = _asked(night)
    for who in ("bob", "cleo"):
        people.press("approve", plan.hash, who)
    change(night)
    night.drain()
    assert _gone(night) == {DELETED[1], *TAGS}
    [kept] = [command for command in night.asked() if command.id == DELETED[0]]
    assert night.world.intent(kept.intent_id).code == code


def test_an_incomplete_export_stops_the_rest_of_the_plan() -> None:
    night = _night()
    for number in range(9020, 9030):
        night.world.add(Resource.RUN, _id(number), archived_days=61)
    plan, people = _asked(night)
    for who in ("bob", "cleo"):
        people.press("approve", plan.hash, who)
    _forbidden(night)
    night.drain()
    assert len(_gone(night)) == 4, "the first five but one"
    assert "its export is not complete" in str(night.applications()[-1]["stopped_by"])


def test_a_plan_without_irreversible_actions_needs_no_approval() -> None:
    night = _night(policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.drain()
    assert _archived(night) == {_id(1), _id(2)}
    assert night.world.approvals.open(ORG) == []


def test_an_archive_and_a_delete_in_a_plan_have_different_intent_ids() -> None:
    """Whoever read the one in an event has no use for it."""
    night = _night()
    plan, people = _asked(night)
    for who in ("bob", "cleo"):
        people.press("approve", plan.hash, who)
    [archive] = [command for command in night.asked() if command.id == _id(1)]
    forged = archive.model_copy(update={"action": Action.DELETE, "plan": plan.hash, "source": "plan", "expect": None})
    night.world.clock.advance(timedelta(days=40))
    del night.world.rows.table[next(key for key in night.world.rows.table if archive.intent_id in key.pk)]
    night.world.policy = night.policy
    worker = night.world.purge()
    worker.queue.send(forged.model_copy(update={"not_after": night.world.clock() + timedelta(days=1)}).to_json())
    night.world.drain(worker)
    assert night.world.intent(archive.intent_id).code in {Code.NOT_APPROVED, Code.SUPERSEDED}
    assert night.world.state(Resource.RUN, _id(1)) is State.ARCHIVED


# --- taken back -------------------------------------------------------------------------------------------------------


def _applied(night: SweepRun) -> Plan:
    plan = _planned(night)
    night.apply(plan.hash)
    night.drain()
    return plan


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta(days=1), timedelta(days=13)], ids=str)
def test_a_reverted_plan_is_undone_completely_and_permanently(later: timedelta) -> None:
    night = _night(due=130, policy=REVERSIBLE)
    plan = _applied(night)
    archives = night.asked()
    assert len(_archived(night)) == 130
    night.take_back(plan.hash)
    night.drain()
    assert _archived(night) == set()
    night.world.clock.advance(later)
    for command in archives:
        night.world.queue.send(command.to_json())
        night.world.queue.send(command.to_json(), {"redrive": "1"})
    night.world.drain(night.world.process(), most=2000)
    assert _archived(night) == set()
    assert len([call for call in night.world.simulator.log.calls if call.acted]) == 260
    night.take_back(plan.hash, by="ada")
    night.drain()
    assert len([call for call in night.world.simulator.log.calls if call.acted]) == 260
    assert night.world.letters(archives[0].intent_id) == []


def test_a_queued_command_of_a_reverted_plan_is_never_carried_out() -> None:
    """No worker has started the commands, so the ledger has no rows. Workers read the undo right before each call."""
    night = _night(due=130, policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.turn(work=False)
    night.work()
    while night.queue.entries:
        night.turn(work=False)
    assert len(_archived(night)) == 5
    waiting = [entry.message.body for entry in night.bulk.entries.values()]
    assert len(waiting) == 125
    night.take_back(plan.hash)
    while night.queue.entries:
        night.turn(work=False)
    undone = [entry.message.body for entry in night.bulk.entries.values()][125:]
    assert len(undone) == 5
    for body in (*waiting, *undone):
        night.world.queue.send(body)
    night.world.drain(night.world.process(), most=2000)
    assert _archived(night) == set()
    assert len([call for call in night.world.simulator.log.calls if call.acted]) == 10
    back = night.applied(plan, PlanPart.REVERTED)
    assert back.why == "5 undos were sent. Left alone: 125 never started and will not start."


def test_a_half_applied_plan_stops_once_it_is_reverted() -> None:
    night = _night(due=230, policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.turn()
    night.kill_after(1)
    night.turn()  # a batch was sent, and then it died
    night.after_step = lambda: None
    late = [entry.message.body for entry in night.queue.entries.values()]
    night.queue.entries.clear()
    assert len(_archived(night)) == 105
    night.world.clock.advance(timedelta(hours=7))  # its lock is given up by then
    night.take_back(plan.hash)
    night.drain()
    assert _archived(night) == set()
    for body in late:
        night.queue.send(body)
    night.apply(plan.hash, by="cleo")
    night.drain()
    assert _archived(night) == set()
    assert _letters(night) == [], "what people decided is no dead letter"
    assert "bob reverted the plan" in str(night.world.metrics.notes[-1])


def test_a_running_sweep_stops_once_its_plan_is_reverted() -> None:
    """What is refused to people by name, the schedule goes on with by its record."""
    night = _night(due=230, policy=REVERSIBLE)
    night.begin()
    while len(_archived(night)) < 5:
        night.turn()
    night.kill_after(1)
    night.turn()
    night.after_step = lambda: None
    [plan] = night.plans()
    late = [entry.message.body for entry in night.queue.entries.values()]
    night.queue.entries.clear()
    assert len(_archived(night)) == 105
    night.world.clock.advance(timedelta(hours=7))
    night.take_back(plan.hash)
    night.drain()
    assert _archived(night) == set()
    for body in late:
        night.queue.send(body)
    night.drain()
    assert _archived(night) == set()
    assert len(night.asked()) == 105 + 105
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == 0, "what people decided is no alarm"


def test_a_sent_but_unrecorded_batch_of_a_reverted_plan_is_not_carried_out() -> None:
    night = _night(due=30, policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.turn()
    while len(night.bulk.entries) < 25:
        night.fuse = FaultInjector(
            "dead_letter", "after", skip=24
        )  # the last command of the batch is sent, and then it dies
        night.turn(work=False)
    waiting = [entry.message.body for entry in night.bulk.entries.values()]
    assert night.applied(plan, PlanPart.REVERSIBLE).sent == 5
    night.queue.entries.clear()
    night.world.clock.advance(timedelta(hours=7))
    night.take_back(plan.hash)
    night.turn(work=False)
    undone = [entry.message.body for entry in night.bulk.entries.values()][len(waiting) :]
    assert len(undone) == 5
    for body in (*undone, *waiting):
        night.world.queue.send(body)
    night.world.drain(night.world.process(), most=500)
    assert _archived(night) == set()


def test_an_apply_after_the_revert_does_nothing() -> None:
    night = _night(policy=REVERSIBLE)
    plan = _planned(night)
    night.take_back(plan.hash)
    night.drain()
    night.apply(plan.hash)
    night.drain()
    assert (_archived(night), night.world.writes()) == (set(), [])
    assert _letters(night) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_revert_killed_at_any_write_undoes_each_resource_once(when: When) -> None:
    for writes in range(60):
        night = _night(due=7, policy=REVERSIBLE)
        plan = _applied(night)
        night.take_back(plan.hash)
        killed, skip, where = False, writes, f"killed {when} write {writes + 1}"
        while night.queue.entries:
            fuse = night.fuse = FaultInjector("" if killed else ANY_WRITE, when, skip=skip)
            night.turn()
            killed, skip = killed or fuse.blown, fuse.skip
        assert _archived(night) == set(), where
        assert len([call for call in night.world.simulator.log.calls if call.acted]) == 14, where
        assert _letters(night) == [], where
        if not killed:
            break
    assert 6 < writes < 59


def test_a_revert_keeps_resources_archived_by_somebody_else() -> None:
    night = _night(due=2, policy=REVERSIBLE)
    plan = _planned(night)
    _run(night, _id(1)).archive(night.world.clock())
    night.apply(plan.hash)
    night.drain()
    assert _archived(night) == {_id(1), _id(2)}
    night.take_back(plan.hash)
    night.drain()
    assert _archived(night) == {_id(1)}


def test_an_undo_of_one_command_and_a_revert_of_its_plan_are_the_same_undo() -> None:
    night = _night(due=2, policy=REVERSIBLE)
    plan = _applied(night)
    [one, _] = night.asked()
    undoing = night.world.operating().undoing
    undo = undoing.undo(one.intent_id, by="ada", person=night.world.people.people["ada"])
    night.take_back(plan.hash, by="bob")
    night.drain()
    night.world.drain(night.world.process())
    assert night.world.intent(undo).status is Status.DONE
    assert len(night.world.effects[undo]) == 1
    assert _letters(night) == []


def test_a_delete_still_waiting_at_the_revert_never_happens() -> None:
    """Two people approved it, the commands lie in the queue, and then the plan is taken back."""
    night = _night()
    plan, people = _asked(night)
    for who in ("bob", "cleo"):
        people.press("approve", plan.hash, who)
    while not night.purge.entries:
        night.turn(work=False)
    night.queue.entries.clear()
    night.world.clock.advance(timedelta(hours=7))
    night.take_back(plan.hash, by="ada")
    night.turn(work=False)
    night.work()
    assert _gone(night) == set()
    assert _archived(night) == set()
    purged = [command for command in night.asked() if command.capability.permanent]
    assert len(purged) == 3
    assert {night.world.intent(command.intent_id).code for command in purged} == {Code.UNDONE}
    assert night.applied(plan, PlanPart.IRREVERSIBLE).stage == "stopped"


def test_a_reverted_plan_cannot_be_approved() -> None:
    night = _night()
    plan, people = _asked(night)
    people.press("approve", plan.hash, "bob")
    night.take_back(plan.hash, by="ada")
    night.drain()
    assert night.world.approvals.open(ORG) == []
    with pytest.raises(Rejected, match="rejected already"):
        people.press("approve", plan.hash, "cleo")
    assert _gone(night) == set()


def test_a_redriven_dead_letter_of_a_reverted_plan_is_not_carried_out() -> None:
    night = _night(due=6, policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.turn()
    night.world.simulator.add_fault(Fault.answer_status(503, method="GET", id=_id(6), times=-1))
    night.drain()
    [letter] = [command for command in night.asked() if command.id == _id(6)]
    assert night.world.intent(letter.intent_id).status is Status.DEAD_LETTERED
    night.world.simulator.faults.clear()
    night.take_back(plan.hash)
    night.drain()
    assert night.world.send_again() == 1
    night.world.drain(night.world.process())
    assert _archived(night) == set()
    assert night.world.intent(letter.intent_id).status is Status.SUPERSEDED


# --- before any lock, and between any two calls -----------------------------------------------------------------------


def _held_by(night: SweepRun) -> object:
    """Whose lock stands on the organization."""
    return night.world.rows.table[Key(f"sweep#{ORG}", "current")].values["sweep_id"]


def test_a_plan_can_be_reverted_while_its_application_is_paused() -> None:
    night = _night(due=300, policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.turn()
    assert len(_archived(night)) == 5
    night.world.pacing.pause(ORG, "ada")
    for _ in range(3):
        night.turn()
    night.take_back(plan.hash)
    night.deliver()
    assert (night.applied(plan, PlanPart.REVERTED).stage, _held_by(night)) == ("done", ""), "others may go on"
    night.drain()
    assert (_held_by(night), _letters(night)) == ("", [])
    night.world.pacing.resume(ORG)
    night.work()
    assert _archived(night) == set()
    assert len(night.asked()) == 10, "five, and five undos"


def test_an_application_waiting_for_the_lock_ends_once_its_plan_is_reverted() -> None:
    night = _night(due=12, policy=REVERSIBLE)
    plan = _planned(night)
    night.mode = Mode.APPLY
    night.begin("another-night")
    night.deliver()
    night.deliver()
    night.apply(plan.hash)
    night.deliver()
    night.take_back(plan.hash)
    night.drain()
    assert plan.hash not in {command.plan for command in night.asked()}
    assert night.applied(plan, PlanPart.REVERTED).stage == "done"


@pytest.mark.parametrize("batch", range(1, 5))
def test_a_plan_reverted_between_any_two_batches_sends_no_more(batch: int) -> None:
    night = _night(due=330, policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.turn()
    seen: list[int] = []

    def count() -> None:
        seen.append(1)
        if len(seen) == batch:
            night.after_step = lambda: None
            night.world.rows.insert(
                Put(table_keys.reverted_plan(ORG, plan.hash), {"requested_by": "bob", "stage": "rest"}, 0)
            )

    night.after_step = count
    while night.queue.entries and len(seen) < batch:
        night.turn(work=False)
    sent = len(night.asked())
    night.drain(work=False)
    assert len(night.asked()) == sent == 5 + min(100 * batch, 325)
    night.work()
    assert len(_archived(night)) == 5, "those that were done before"


def test_a_plan_reverted_while_it_runs_stops_after_the_current_call() -> None:
    night = _night(due=30, policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.turn()
    while len(night.bulk.entries) < 25:
        night.turn(work=False)
    calls: list[str] = []

    def third(call: str) -> None:
        calls.append(call)
        if len(calls) == 3:
            night.world.rows.insert(
                Put(table_keys.reverted_plan(ORG, plan.hash), {"requested_by": "bob", "stage": "rest"}, 0)
            )

    night.world.before_write = third
    night.work()
    assert len(calls) == 3, "the one that had begun, and no more"
    night.world.before_write = lambda _: None
    night.queue.entries.clear()
    night.take_back(plan.hash)
    night.drain()
    assert _archived(night) == set()


def test_a_revert_keeps_resources_archived_by_hand_since() -> None:
    """Of the plan it was never done: neither by the command that waits nor by the undo is it brought back."""
    night = _night(due=12, policy=REVERSIBLE)
    plan = _planned(night)
    night.apply(plan.hash)
    night.turn()
    while len(night.bulk.entries) < 7:
        night.turn(work=False)
    _run(night, _id(12)).archive(night.world.clock())
    night.take_back(plan.hash)
    night.drain()
    assert _archived(night) == {_id(12)}


def test_a_second_revert_says_what_it_does_not_do() -> None:
    night = _night(due=7, policy=REVERSIBLE)
    plan = _applied(night)
    night.take_back(plan.hash)
    night.drain()
    undo = next(command for command in night.asked() if command.undoes)
    again = night.world.operating().undoing.undo(undo.intent_id, by="ada", person=night.world.people.people["ada"])
    night.world.drain(night.world.process())
    assert night.world.intent(again).status is Status.DONE
    asked = len(night.asked())
    night.take_back(plan.hash, by="cleo")
    night.drain()
    assert len(night.asked()) == asked
    told = [detail for name, detail in night.world.bus.announced if name == "lifecycle.plan.reverted"]
    assert [detail["sent"] for detail in told] == ["7", "0"]
    assert "whose undo was undone, stay as they are" in str(told[1]["stopped_by"])
    assert _archived(night) == {undo.id}


def test_a_revert_does_not_repeat_undos_of_single_commands() -> None:
    night = _night(due=2, policy=REVERSIBLE)
    plan = _applied(night)
    [one, _] = night.asked()
    undoing = night.world.operating().undoing
    undo = undoing.undo(one.intent_id, by="ada", person=night.world.people.people["ada"])
    night.world.drain(night.world.process())
    undoing.undo(undo, by="ada", person=night.world.people.people["ada"])
    night.world.drain(night.world.process())
    night.world.clock.advance(timedelta(minutes=1))
    night.take_back(plan.hash)
    night.drain()
    assert _archived(night) == {one.id}
    back = night.applied(plan, PlanPart.REVERTED)
    assert back.why == "1 undos were sent. Left alone: 1 undone before; later changes stay."


def test_a_paused_sweep_releases_its_lock_once_its_plan_is_reverted() -> None:
    night = _night(due=12, policy=REVERSIBLE)
    night.begin()
    while not night.asked():
        night.turn(work=False)
    night.world.pacing.pause(ORG, "ada")
    night.turn(work=False)
    [plan] = night.plans()
    night.take_back(plan.hash)
    night.deliver()
    assert _held_by(night) == ""
    night.world.pacing.resume(ORG)
    night.drain()
    assert (_archived(night), _letters(night)) == (set(), [])
    assert night.world.metrics.counts[Metric.PLAN_STOPPED] == 0


def test_an_incomplete_revert_row_reverts_the_plan_as_well() -> None:
    night = _night(due=2, policy=REVERSIBLE)
    plan = _applied(night)
    night.world.rows.write(Put(table_keys.reverted_plan(ORG, plan.hash), {}, 0))
    night.take_back(plan.hash)
    night.drain()
    assert _archived(night) == set()


def test_every_command_of_a_plan_names_its_plan() -> None:
    night = _night()
    plan, people = _asked(night)
    for who in ("bob", "cleo"):
        people.press("approve", plan.hash, who)
    night.drain()
    assert {command.plan for command in night.asked()} == {plan.hash}
