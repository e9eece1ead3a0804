"""For any small set of resources and any events, applying a plan does what it says, once."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.domain.capabilities import Action, Resource, capability
from lifecycle.domain.intent import Status
from lifecycle.pacing.token_bucket import Rate
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from sandbox.simulator.world import Tag
from tests.harness.builders import NOW, ORG
from tests.harness.purge_run import PurgeRun
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World

KEEP = "7a" * 16
POLICY = """
zone = "UTC"
hold_tags = ["keep"]
[caps]
count = {count}
percent = {percent}
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
NOTHING_DONE = frozenset({Status.REJECTED, Status.UNCHANGED, Status.SUPERSEDED})


@dataclass(frozen=True)
class Made:
    """A process or, if it is a tag, a tag. ``meanwhile`` is what others do to it once the first commands are sent."""

    tag: bool
    status: str
    completed_days: int | None
    archived_days: int | None
    held: bool
    keep: bool
    named: bool
    meanwhile: str


made = st.builds(
    Made,
    tag=st.sampled_from([False, False, False, True]),
    status=st.sampled_from(["complete", "complete", "active"]),
    completed_days=st.sampled_from([None, 0, 30, 31, 45, 400]),
    archived_days=st.sampled_from([None, None, 60, 61, 200]),
    held=st.sampled_from([False] * 5 + [True]),
    keep=st.sampled_from([False] * 5 + [True]),
    named=st.sampled_from([True] * 9 + [False]),
    meanwhile=st.sampled_from(["nothing"] * 6 + ["touched", "held", "gone"]),
)


def _world(things: list[Made], policy: str) -> SweepRun:
    night = SweepRun(World(rate=Rate(6000, 6000)), policy=Policy.parse(policy))
    organization = night.world.simulator.organization
    # Unused tags are deleted; this tag is used by a resource that must be kept.
    organization.tags[KEEP] = Tag(KEEP, "Keep ", NOW)
    for number, thing in enumerate(things, start=1):
        name = f"{number:032x}"
        if thing.tag:
            night.world.add(Resource.TAG, name)
            continue
        night.world.add(Resource.RUN, name, archived_days=thing.archived_days)
        run = organization.runs[name]
        run.created_at += timedelta(minutes=number)
        if thing.archived_days is None:
            run.status = thing.status
        if thing.completed_days is not None:
            run.completed_at = NOW - timedelta(days=thing.completed_days)
        run.checklist_id, run.owner_id = "7e" * 16, 1001
        run.tags = {KEEP} if thing.keep else set()
        if thing.held:
            night.world.holds.add(ORG, Resource.RUN, name, reason="an audit", by="Ada")
        if not thing.named:
            organization.runs[f"{name}/delete"] = organization.runs.pop(name)
            run.id = f"{name}/delete"
    return night


def _meanwhile(night: SweepRun, things: list[Made]) -> None:
    organization = night.world.simulator.organization
    for number, thing in enumerate(things, start=1):
        name = f"{number:032x}"
        if thing.tag or not thing.named or name not in organization.runs:
            continue
        match thing.meanwhile:
            case "touched":
                organization.runs[name].last_updated = NOW + timedelta(seconds=1)
            case "held":
                night.world.holds.add(ORG, Resource.RUN, name, reason="another audit", by="Ada")
            case "gone":
                del organization.runs[name]
            case _:
                pass


@settings(max_examples=120, deadline=None)
@given(
    things=st.lists(made, max_size=24),
    caps=st.sampled_from([(5000, 100), (5000, 100), (5000, 30), (6, 100)]),
    by=st.sampled_from(Mode),
    kills=st.frozensets(st.integers(1, 8), max_size=3),
)
def test_applying_a_plan_does_what_it_says_and_counts_everything_once(
    things: list[Made], caps: tuple[int, int], by: Mode, kills: frozenset[int]
) -> None:
    night = _world(things, POLICY.format(count=caps[0], percent=caps[1]))
    night.mode, by_hand = by, by is Mode.REPORT
    night.kill_after(*kills)
    night.begin()
    while not night.plans():
        night.turn(work=False)
    [plan] = night.plans()
    if by_hand:
        night.drain(work=False)
        night.apply(plan.hash)
    while night.queue.entries and not night.asked():
        night.turn(work=False)
    _meanwhile(night, things)
    night.drain()
    for who in ("bob", "cleo"):
        if night.world.approvals.open(ORG):
            PurgeRun(night.world).press("approve", plan.hash, who)
            night.drain()

    # Counts: every resource is due, kept or unreadable.
    entries = night.entries(plan)
    due = {entry.thing.id: entry for entry in entries if entry.decision.action is not None}
    assert plan.seen == plan.due + plan.kept + plan.failed == len(things) + 1
    assert (plan.due, len(entries)) == (len(due), plan.due + plan.kept)
    assert plan.failed == sum(not thing.named for thing in things if not thing.tag)
    assert sum(plan.kept_by.values()) == plan.kept

    # The commands are those of the plan: all of them by hand, and what can be undone by the schedule.
    meant = {
        name: entry.decision.action
        for name, entry in due.items()
        if by_hand or not capability(entry.thing.resource, entry.decision.action or Action.ARCHIVE).irreversible
    }
    asked = {command.id: command.action for command in night.asked()}
    assert asked == ({} if plan.stops else meant)
    assert bool(plan.stops) is (len(due) > caps[0] or len(due) * 100 > caps[1] * (plan.seen - plan.failed))

    # Each command has one outcome, and it had an effect in Tallyfy if the ledger calls it done.
    ends = {command.id: night.world.intent(command.intent_id).status for command in night.asked()}
    effects = Counter(str(call.id) for call in night.world.simulator.log.calls if call.acted)
    done = {str(name) for name, status in ends.items() if status is Status.DONE}
    assert set(ends.values()) <= {Status.DONE, *NOTHING_DONE}
    assert (set(effects), set(effects.values())) == (done, {1} if done else set())
    left_alone = {
        f"{number:032x}"
        for number, thing in enumerate(things, start=1)
        if not thing.tag and thing.meanwhile != "nothing"
    }
    assert set(asked) - done == set(asked) & left_alone
