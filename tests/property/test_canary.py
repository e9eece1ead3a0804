"""Whatever happens to the first commands, at most five calls are made before five were done and read back."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.domain.capabilities import Resource
from lifecycle.domain.intent import Status
from lifecycle.pacing.token_bucket import Rate
from lifecycle.plans.application import PlanPart, Stage
from lifecycle.policy.policy import Policy
from sandbox.simulator import Fault
from tests.harness.builders import NOW, ORG
from tests.harness.fault_injection import ANY_WRITE, FaultInjector
from tests.harness.sweep_run import POLICY, SweepRun
from tests.harness.world import World

fates = st.sampled_from(["done"] * 3 + ["touched", "held", "gone", "restored", "refused"])


def _id(number: int) -> str:
    return f"{number:032x}"


def _night(count: int) -> SweepRun:
    night = SweepRun(World(rate=Rate(6000, 6000)), policy=Policy.parse(POLICY))
    for number in range(count):
        night.world.add(Resource.RUN, _id(number))
        run = night.world.simulator.organization.runs[_id(number)]
        run.created_at += timedelta(minutes=number)
        run.status, run.completed_at = "complete", NOW - timedelta(days=45)
    return night


def _befall(night: SweepRun, number: int, fate: str) -> None:
    runs = night.world.simulator.organization.runs
    match fate:
        case "touched":
            runs[_id(number)].last_updated = NOW + timedelta(seconds=1)
        case "held":
            night.world.holds.add(ORG, Resource.RUN, _id(number), reason="an audit", by="Ada")
        case "gone":
            del runs[_id(number)]
        case "restored":
            runs[_id(number)].name = "Another"
        case "refused":
            night.world.simulator.add_fault(Fault.answer_status(403, method="DELETE", id=_id(number), times=-1))
        case _:
            pass


@settings(max_examples=60, deadline=None)
@given(mix=st.lists(fates, min_size=1, max_size=30), fuse=st.integers(0, 60), work_every=st.integers(1, 3))
def test_the_rest_is_sent_only_after_five_were_done(mix: list[str], fuse: int, work_every: int) -> None:
    night = _night(len(mix))
    night.begin()
    while not night.plans():
        night.turn(work=False)
    [plan] = night.plans()
    for number, fate in enumerate(mix):
        _befall(night, number, fate)
    night.fuse = FaultInjector(ANY_WRITE, "after", skip=fuse)
    turns, calls_before_rest = 0, 0
    while night.queue.entries:
        turns += 1
        night.turn(work=turns % work_every == 0)
        stage = night.applied(plan, PlanPart.REVERSIBLE).stage
        if stage in {Stage.CANARY, Stage.STOPPED}:
            calls_before_rest = len(night.world.writes())
    night.work()
    assert calls_before_rest <= 5 if "refused" not in mix else calls_before_rest <= 5 + 5
    state = night.applied(plan, PlanPart.REVERSIBLE)
    bad = mix.index("refused") if "refused" in mix else len(mix)
    good_before = [number for number, fate in enumerate(mix[:bad]) if fate == "done"]
    if state.stage == "done":
        assert state.proven >= min(5, mix.count("done"))
        assert state.sent == len(mix)
        assert len(night.archived()) == mix.count("done")
    else:
        assert (state.stage, bad < len(mix), len(good_before) < 5) == ("stopped", True, True)
        assert len(night.archived()) <= 5
    done = {command.id for command in night.asked() if night.world.intent(command.intent_id).status is Status.DONE}
    assert done == night.archived()
