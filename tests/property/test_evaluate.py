"""A resource that must be kept is never acted on: ten thousand resources under as many policies and holds.

Each case has a number, and the number makes the same case again: `case(4711)`.
"""

import random
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.policy.conditions import CONDITIONS, Conditions, Tristate
from lifecycle.policy.evaluate import RuleEvaluation, evaluate, explain
from lifecycle.policy.policy import Doing, Policy, Rule

CASES = 10_000
THING = "5e" * 16
TEMPLATES = ("7e" * 16, "8f" * 16)
USERS = (7, 12, 4711)
TAGS = ("Test", "VIP", "keep")
NAMES = ("Copy of Onboarding", "Onboard Acme", "Audit 2026")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu", "Pacific/Apia")
FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """Everything that a decision depends on."""

    thing: ResourceSnapshot
    policy: Policy
    holds: Holds
    now: datetime

    @property
    def action(self) -> Action | None:
        return evaluate(self.thing, self.policy, self.holds, self.now).action

    @property
    def of_it(self) -> tuple[Rule, ...]:
        """The rules that act on things of its kind and state."""
        asked = (self.thing.resource, self.thing.state)
        return tuple(rule for rule in self.policy.acting if (rule.resource, rule.considers) == asked)


# --- making cases -----------------------------------------------------------------------------------------------------


def _odd(pick: random.Random, now: datetime) -> datetime | None:
    """A date that must not cause an action: missing, unreadable (read as missing), impossible or in the future."""
    return pick.choice(
        [
            None,
            None,
            now + timedelta(seconds=1),
            now + timedelta(days=pick.randint(1, 4000)),
            EARLIEST - timedelta(seconds=pick.randint(1, 10**8)),
            datetime(1980, 1, 1, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            FIRST,
            LAST,
        ]
    )


def _dates(pick: random.Random, now: datetime) -> dict[str, datetime | None]:
    """Creation, completion, last change and archiving: usually in this order, often a day from a rule's limit."""
    gaps = [timedelta(days=pick.choice([0, 1, 29, 30, 31, 60]), seconds=pick.randint(0, 86_400)) for _ in range(4)]
    moments = [now - sum(gaps[place:], timedelta()) for place in range(4)]
    made: dict[str, datetime | None] = dict(
        zip(("created_at", "completed_at", "last_updated", "archived_at"), moments, strict=True)
    )
    for name in made:
        if pick.random() < 0.08:
            made[name] = _odd(pick, now)
    if pick.random() < 0.05:
        made["created_at"] = now  # all other dates are before it
    return made


def _set[Item](pick: random.Random, items: tuple[Item, ...]) -> frozenset[Item]:
    return frozenset(pick.sample(items, pick.choice([0, 1, 1, 2])))


def _thing(pick: random.Random, now: datetime) -> ResourceSnapshot:
    resource = pick.choice([Resource.RUN, Resource.RUN, *Resource])
    state = pick.choice([State.ACTIVE, State.ACTIVE, State.ACTIVE, State.ARCHIVED, State.ARCHIVED, State.GONE])
    dates = _dates(pick, now)
    if state is State.ACTIVE:
        dates["archived_at"] = None
    known = ResourceSnapshot(
        resource=resource,
        id=THING if pick.random() < 0.98 else pick.choice(["", THING.upper(), f"{THING}/delete"]),
        state=state,
        name=pick.choice(NAMES),
        status=pick.choice(["complete", "Completed", "complete", "active", "problem", "mystery", ""]),
        template_id=pick.choice(TEMPLATES) if resource is Resource.RUN else None,
        owners=None if resource is Resource.TAG else frozenset(map(str, _set(pick, USERS))),
        tags=None if resource is Resource.TAG else _set(pick, TAGS),
        run_id=pick.choice([None] * 9 + [TEMPLATES[0]]) if resource is Resource.TASK else None,
        one_off=pick.choice([True] * 7 + [False, None]) if resource is Resource.TASK else None,
        uses=pick.choice([0, 0, 1]) if resource is Resource.TAG else None,
    )
    known = replace(known, **dates)  # type: ignore[arg-type] # mypy takes any name for any field
    if resource is Resource.RUN and state is State.ARCHIVED and pick.random() < 0.8:
        known = replace(known, status="archived")
    for name in ("name", "status", "template_id", "owners", "tags", "uses"):
        if pick.random() < 0.05:
            known = _without(known, name)
    if resource is not Resource.TASK and pick.random() < 0.02:
        known = replace(known, run_id=THING) if pick.random() < 0.5 else replace(known, one_off=True)
    return known


def _without(thing: ResourceSnapshot, name: str) -> ResourceSnapshot:
    lost: dict[str, Any] = {name: None}
    return replace(thing, **lost)


_FIT: Mapping[str, frozenset[Resource]] = {
    name: frozenset(filter(condition.fits, Resource)) for name, condition in CONDITIONS.items()
}
_DAYS = ("completed_days", "created_days", "archived_days", "stalled_days")


def _condition(pick: random.Random, name: str) -> object:
    match name:
        case "status":
            return pick.sample(["complete", "active", "problem"], pick.choice([1, 2]))
        case "templates":
            return list(_set(pick, TEMPLATES)) or [TEMPLATES[0]]
        case "owners":
            return list(_set(pick, USERS)) or [USERS[0]]
        case "tags":
            return list(_set(pick, TAGS)) or [TAGS[0]]
        case "title":
            return [pick.choice(["*onboard*", "copy of *", "audit ????"])]
        case _ if name in _DAYS:
            return pick.choice([1, 29, 30, 31, 60])
        case _:
            return tomllib.loads(f"value = {CONDITIONS[name].example}")["value"]


def _conditions(pick: random.Random, resource: Resource, not_asked: str, most: int) -> dict[str, object]:
    asked = [name for name, kinds in _FIT.items() if resource in kinds and name != not_asked]
    return {name: _condition(pick, name) for name in pick.sample(asked, min(len(asked), pick.randint(1, most)))}


def _rule(pick: random.Random, number: int, resource: Resource, action: Doing) -> Rule:
    """Any rule that makes sense."""
    made: dict[str, object] = {"name": f"r{number}", "resource": resource, "action": action}
    if action is Doing.KEEP:
        return Rule.model_validate({**made, "when": _conditions(pick, resource, "", 2)})
    archived = action is Doing.DELETE and resource is not Resource.TAG
    never = "stalled_days" if archived else "archived_days"
    bounding = [name for name in (*_DAYS, "unused") if resource in _FIT[name] and name != never]
    needed = "archived_days" if archived else pick.choice(bounding)
    when = {needed: _condition(pick, needed)}
    if pick.random() < 0.5:
        when = {**_conditions(pick, resource, never, 2), **when}
    made |= {"when": when, "irreversible": archived or resource in {Resource.TAG, Resource.TEMPLATE}}
    if pick.random() < 0.3:
        made["unless"] = _conditions(pick, resource, never, 2)
    return Rule.model_validate(made)


def _policy(pick: random.Random, thing: ResourceSnapshot) -> Policy:
    rules = []
    for number in range(pick.randint(1, 4)):
        resource = thing.resource if pick.random() < 0.9 else pick.choice(list(Resource))
        fitting = Doing.DELETE if thing.state is State.ARCHIVED else Doing.ARCHIVE
        action = pick.choice([fitting, fitting, fitting, fitting, Doing.KEEP, Doing.ARCHIVE, Doing.DELETE])
        rules.append(_rule(pick, number, resource, action))
    return Policy.model_validate({"zone": pick.choice(ZONES), "rules": rules})


def _a_hold(pick: random.Random) -> str:
    own = [f"{resource}#{THING}" for resource in Resource]
    return pick.choice([*own, *(f"template#{name}" for name in TEMPLATES), *(f"owner#{user}" for user in USERS)])


def _holds(pick: random.Random) -> Holds:
    keys = [_a_hold(pick) for _ in range(pick.choice([0, 0, 0, 0, 1, 2]))]
    return Holds(dict.fromkeys(keys, "an audit"), frozenset(pick.choice([(), (), (), ("KEEP",), ("other",)])))


def case(number: int) -> Case:
    """The case of that number, always the same."""
    pick = random.Random(number)
    now = EARLIEST + timedelta(days=pick.randint(1, 9000), seconds=pick.randint(0, 86_399))
    if pick.random() < 0.02:
        now = pick.choice([FIRST, LAST])
    try:
        thing = _thing(pick, now)
    except OverflowError:  # there is no time before year 1
        now, thing = LAST, _thing(pick, LAST - timedelta(days=4000))
    return Case(thing, _policy(pick, thing), _holds(pick), now)


@cache
def _all() -> tuple[Case, ...]:
    return tuple(map(case, range(CASES)))


@cache
def _kept() -> tuple[tuple[int, Case], ...]:
    return tuple((number, made) for number, made in enumerate(_all()) if made.action is None)


# --- what must hold ---------------------------------------------------------------------------------------------------


def test_the_cases_act_often_and_keep_for_every_reason() -> None:
    """The cases act often, and keep for every possible reason."""
    decisions = [evaluate(made.thing, made.policy, made.holds, made.now) for made in _all()]
    acting = Counter((made.thing.resource, decision.action) for made, decision in zip(_all(), decisions, strict=True))
    for resource in Resource:
        for action in (Action.ARCHIVE, Action.DELETE):
            assert resource is Resource.TAG or acting[resource, action] >= 30, (resource, action)
    assert acting[Resource.TAG, Action.DELETE] >= 30
    assert sum(count for (_, action), count in acting.items() if action) > CASES / 10
    kinds = Counter(decision.kind for decision in decisions if decision.action is None)
    reasons = (
        "on hold", "no id", "another kind", "task of a process", "task of unknown kind", "no rule", "excluded",
        "no date", "odd date", "future date", "too young", "not complete", "not stalled", "no status", "unknown status",
        "no owner",
        "no tags", "no name", "no template", "use unknown", "in use", "status", "owner", "tags", "title", "template",
    )  # fmt: skip
    assert {kind: kinds[kind] for kind in reasons if kinds[kind] < 3} == {}


def _is_held(made: Case) -> bool:
    """The expected decision, computed without the tested code."""
    thing, keys = made.thing, set(made.holds.by_key)
    named = f"{thing.resource}#{thing.id}" in keys
    owned = any(f"owner#{user}" in keys for user in thing.owners or ())
    launched = thing.resource is Resource.RUN and f"template#{thing.template_id}" in keys
    carried = {tag.lower() for tag in thing.tags or ()} & {tag.lower() for tag in made.holds.tags}
    return bool(named or owned or launched or carried)


_DECIDING = {
    "completed_days": "completed_at",
    "created_days": "created_at",
    "archived_days": "archived_at",
    "stalled_days": "last_updated",
}


def _local(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


def test_a_resource_that_must_be_kept_is_never_acted_on() -> None:
    for number, made in enumerate(_all()):
        thing = made.thing
        decision = evaluate(thing, made.policy, made.holds, made.now)
        if decision.action is None:
            continue
        [rule] = [rule for rule in made.policy.rules if rule.name == decision.rule]
        assert not _is_held(made), number
        assert thing.id == THING, number
        # its kind and state, and never a task of a process
        assert rule.resource is thing.resource, number
        assert decision.action is (Action.DELETE if rule.action is Doing.DELETE else rule.capability.action), number
        archived = decision.action is Action.DELETE and thing.resource is not Resource.TAG
        assert thing.state is (State.ARCHIVED if archived else State.ACTIVE), number
        assert thing.run_id is None, number
        assert thing.one_off is (True if thing.resource is Resource.TASK else None), number
        # its dates
        bounds = [name for name in rule.when.named if name in _DECIDING]
        assert bounds or rule.when.unused, number
        for bound in bounds:
            moment = getattr(thing, _DECIDING[bound])
            assert moment is not None, number
            assert EARLIEST <= moment <= made.now, number
            assert thing.created_at is not None, number
            assert moment >= thing.created_at, number
            days = (_local(made.now, made.policy.zone) - _local(moment, made.policy.zone)).days
            assert days > getattr(rule.when, bound), number
        # the other conditions
        if rule.when.unused:
            assert thing.uses == 0, number
        if rule.when.owners:
            assert thing.owners, number
            assert thing.owners <= set(map(str, rule.when.owners)), number
        if rule.when.tags:
            assert thing.tags is not None, number
            assert thing.tags & set(rule.when.tags), number
        if rule.when.completed_days and thing.state is State.ACTIVE:
            assert (thing.status or "").lower() in {"complete", "completed"}, number
        if rule.unless and rule.unless.tags:
            assert thing.tags is not None, number
            assert not thing.tags & set(rule.unless.tags), number
        if rule.unless and rule.unless.owners:
            assert thing.owners is not None, number
            assert not thing.owners & set(map(str, rule.unless.owners)), number


def _changed(made: Case, rules: tuple[Rule, ...]) -> Case:
    return replace(made, policy=made.policy.model_copy(update={"rules": rules}))


def test_adding_a_rule_that_keeps_never_causes_an_action() -> None:
    for number, made in _kept():
        pick = random.Random(-number)
        rules = list(made.policy.rules)
        rules.insert(pick.randint(0, len(rules)), _rule(pick, 9, made.thing.resource, Doing.KEEP))
        assert _changed(made, tuple(rules)).action is None, number


def test_adding_an_exception_never_causes_an_action() -> None:
    for number, made in _kept():
        pick = random.Random(-number)
        place = pick.randrange(len(made.policy.rules))
        rule = made.policy.rules[place]
        if rule.action is Doing.KEEP:
            continue
        never = "stalled_days" if rule.considers is State.ARCHIVED else "archived_days"
        more = _conditions(pick, rule.resource, never, 2)
        before = rule.unless.model_dump(exclude_none=True) if rule.unless else {}
        unless = Conditions.model_validate({**more, **before})
        rules = list(made.policy.rules)
        rules[place] = rule.model_copy(update={"unless": unless})
        assert _changed(made, tuple(rules)).action is None, number


def test_adding_a_hold_never_causes_an_action() -> None:
    for number, made in _kept():
        pick = random.Random(-number)
        more = Holds({**made.holds.by_key, _a_hold(pick): "a lawsuit"}, made.holds.tags | {pick.choice(TAGS)})
        assert replace(made, holds=more).action is None, number


def _facts(made: Case) -> Iterator[str]:
    """Facts that Tallyfy could stop showing and that a decision could depend on."""
    thing = made.thing
    yield from ("name", "status", "created_at", "last_updated", "archived_at", "owners", "uses")
    if thing.resource is Resource.RUN:
        yield "template_id"
    if thing.resource is Resource.TASK and thing.run_id is None:
        yield "one_off"
    # Tallyfy is not known to show the tags of tasks, so their absence holds nothing.
    if thing.resource is not Resource.TASK or not made.holds.tags:
        yield "tags"
    # A completion after the archiving makes the archiving odd. What was never completed has none to compare with.
    if (
        thing.state is State.ACTIVE
        or not thing.archived_at
        or not thing.completed_at
        or thing.archived_at >= thing.completed_at
    ):
        yield "completed_at"


def test_losing_a_fact_never_causes_an_action() -> None:
    for number, made in _kept():
        for name in _facts(made):
            if getattr(made.thing, name) is not None:
                without = replace(made, thing=_without(made.thing, name))
                assert without.action is None, (number, name)


def test_requiring_more_days_never_causes_an_action() -> None:
    """Except where the rule that kept it does not apply any more, so that a later rule decides."""
    for number, made in _kept():
        told = explain(made.thing, made.policy, made.holds, made.now)
        if told.decision.rule and len(made.of_it) > 1:
            continue
        pick = random.Random(-number)
        rules = []
        for rule in made.policy.rules:
            more = {name: getattr(rule.when, name) + pick.randint(0, 40) for name in rule.when.named if name in _DAYS}
            acts = rule.action is not Doing.KEEP
            rules.append(rule.model_copy(update={"when": rule.when.model_copy(update=more)}) if acts else rule)
        assert _changed(made, tuple(rules)).action is None, number


def test_the_place_of_a_rule_that_keeps_does_not_matter() -> None:
    for number, made in enumerate(_all()):
        moved = _changed(made, (*made.policy.acting, *made.policy.keeping))
        assert moved.action is made.action, number


def test_the_explanation_agrees_with_the_decision() -> None:
    before_any_rule = {"no id", "on hold", "another kind", "task of a process", "task of unknown kind"}
    for number, made in enumerate(_all()):
        told = explain(made.thing, made.policy, made.holds, made.now)
        assert told.decision == evaluate(made.thing, made.policy, made.holds, made.now), number
        if told.decision.kind in before_any_rule:
            continue
        keeping = [asked for asked in told.rules if asked.rule.action is Doing.KEEP and asked.fits is not Tristate.NO]
        acting = [asked for asked in told.rules if asked.rule.action is not Doing.KEEP and _applies(asked)]
        if keeping:
            assert (told.decision.action, told.decision.rule) == (None, keeping[0].rule.name), number
        elif acting:
            assert told.decision.rule == acting[0].rule.name, number
            assert (told.decision.action is not None) is (acting[0].fits is Tristate.YES), number
        else:
            assert (told.decision.action, told.decision.rule) == (None, ""), number


def _applies(asked: RuleEvaluation) -> bool:
    return all(check.answer is not Tristate.NO for check in asked.when)


# --- whatever comes ---------------------------------------------------------------------------------------------------

moments = st.datetimes(timezones=st.just(UTC))
texts = st.none() | st.text(st.characters(codec=None), max_size=12)
anything = st.builds(
    ResourceSnapshot,
    resource=st.sampled_from(Resource),
    id=st.just(THING) | st.text(max_size=40),
    state=st.sampled_from(State),
    name=texts,
    status=texts,
    created_at=st.none() | moments,
    completed_at=st.none() | moments,
    archived_at=st.none() | moments,
    last_updated=st.none() | moments,
    template_id=texts,
    owners=st.none() | st.frozensets(st.text(max_size=3), max_size=2),
    tags=st.none() | st.frozensets(st.text(st.characters(codec=None), max_size=4), max_size=2),
    run_id=texts,
    one_off=st.none() | st.booleans(),
    uses=st.none() | st.integers(),
)


@settings(max_examples=500, deadline=None)
@given(anything, st.integers(0, CASES), moments)
def test_any_resource_at_any_time_gets_a_decision(thing: ResourceSnapshot, number: int, now: datetime) -> None:
    made = case(number)
    rules = tuple(_rule(random.Random(number), 9 + place, thing.resource, doing) for place, doing in enumerate(Doing))
    policy = made.policy.model_copy(update={"rules": (*made.policy.rules, *rules)})
    decision = evaluate(thing, policy, made.holds, now)
    assert decision.kind
    assert decision.reason
    # Only a tag can be due without any age: because nothing carries it.
    assert decision.action is None or now >= EARLIEST or thing.resource is Resource.TAG


def test_the_cases_cover_every_condition_and_kind_of_rule() -> None:
    assert set(_FIT) == set(Conditions.model_fields)
    for name, kinds in _FIT.items():
        for resource in Resource:
            said = {
                "name": "a",
                "resource": resource,
                "action": "keep",
                "when": {name: _condition(random.Random(1), name)},
            }
            if resource in kinds:
                Rule.model_validate(said)
            else:
                with pytest.raises(ValueError, match="cannot be asked"):
                    Rule.model_validate(said)
