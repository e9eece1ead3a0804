"""For any line of a plan, the command equals the one that the model makes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.aws.sqs import MemoryQueue
from lifecycle.deletion.safeguards import name_in_plan
from lifecycle.domain.capabilities import TABLE, Action, Capability, State
from lifecycle.domain.commands import SWEEP, Command, Expect, one_line
from lifecycle.domain.intent_ids import intent_id
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.application import Application
from lifecycle.plans.commands import PlanCommands
from lifecycle.plans.plan_file import Entry, Plan, PlanFooter, PlanHeader
from lifecycle.plans.plan_lines import PlannedAction
from lifecycle.policy.evaluate import Decision, Mode
from tests.harness.builders import ID_KEY, NOW, ORG, Clock

PLAN = Plan(
    **PlanHeader(org_id=ORG, sweep_id="s", made_at=NOW, policy="p", zone="UTC").model_dump(),
    **PlanFooter(seen=1, due=1, kept=0, failed=0, kept_by={}, rules=(), ages=()).model_dump(exclude={"unseen"}),
    hash="ab" * 32,
    mode=Mode.REPORT,
    per_minute=100,
    estimated_minutes=1,
)
APPLIED = Application(stage="rest", requested_by="ada", source="plan", begun_at=NOW.isoformat())
texts = st.one_of(
    st.text(max_size=12),
    st.text('ab \t\n\x00\x7f\u00a0\u2028\ud83d"\\é😀', max_size=8),
    st.sampled_from(['"action": "archive"', "x" * 200, "x" * 201, " padded ", f"{'x' * 499} y"]),
)
times = st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - see timezones
names = st.none() | st.frozensets(texts, max_size=4) | st.just(frozenset(str(number) for number in range(101)))
snapshots = st.builds(
    ResourceSnapshot,
    resource=st.sampled_from([doing.resource for doing in TABLE]),
    id=st.integers(0, 2**128 - 1).map("{:032x}".format),
    state=st.sampled_from([State.ACTIVE, State.ARCHIVED]),
    name=st.none() | texts,
    status=st.none() | texts,
    completed_at=st.none() | times,
    archived_at=st.none() | times,
    last_updated=st.none() | times,
    owners=names,
    tags=names,
)
doings = st.sampled_from([doing for doing in TABLE if doing.action is not Action.RESTORE])


def modelled(thing: ResourceSnapshot, doing: Capability, reason: str) -> Command:
    """The command as the model makes it."""
    facts: dict[str, object] = {}
    for name in ("completed_at", "archived_at", "last_updated", "status", "name"):
        value = getattr(thing, name)
        if value is not None and (not isinstance(value, str) or one_line(value, most=200) == value):
            facts[name] = value
    for name in ("tags", "owners"):
        several = getattr(thing, name)
        if several is not None and len(several) <= 100 and all(one_line(text, most=200) == text for text in several):
            facts[name] = tuple(several)
    return Command(
        action=doing.action,
        resource=doing.resource,
        org_id=ORG,
        id=thing.id,
        requested_by="ada",
        source="plan",
        reason=one_line(reason, most=500),
        issued_at=NOW,
        not_after=NOW + timedelta(days=2),
        intent_id=intent_id(ID_KEY, SWEEP, name_in_plan(PLAN.hash, doing, thing.id)),
        plan=PLAN.hash,
        expect=Expect.model_validate(facts) if facts else None,
    )


@given(thing=snapshots, doing=doings, reason=texts)
def test_a_command_made_from_a_line_equals_the_one_of_the_model(
    thing: ResourceSnapshot, doing: Capability, reason: str
) -> None:
    thing = replace(thing, resource=doing.resource)
    line = Entry(thing, Decision(doing.action, "a rule", reason, "a rule")).to_line().encode()
    action = PlannedAction.parse(line)
    assert action is not None
    assert (action.capability, action.id) == (doing, thing.id)
    bulk, purge = MemoryQueue(Clock(NOW)), MemoryQueue(Clock(NOW))
    PlanCommands(bulk=bulk, purge=purge, id_key=lambda: ID_KEY, clock=lambda: NOW).send(PLAN, [action], APPLIED)
    [message] = (purge if doing.permanent else bulk).receive(1)
    assert Command.model_validate_json(message.body) == modelled(thing, doing, reason)
    assert message.body.isascii()


@given(thing=snapshots, reason=texts)
def test_a_line_that_keeps_a_resource_makes_no_command(thing: ResourceSnapshot, reason: str) -> None:
    line = Entry(thing, Decision(None, "kept", reason)).to_line().encode()
    assert PlannedAction.parse(line) is None


@given(text=st.text() | texts, most=st.integers(1, 20))
def test_a_plan_line_is_parsed_the_same_with_and_without_the_shortcut(text: str, most: int) -> None:
    slow = "".join(char if char.isprintable() else " " for char in text).strip()[:most] or "-"
    assert one_line(text, most=most) == slow
