"""Examples of decisions of the policy."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.policy.conditions import Check, Tristate, whole_days
from lifecycle.policy.evaluate import Decision, evaluate, explain
from lifecycle.policy.policy import Policy
from tests.harness.builders import NOW, THING

TEMPLATE = "7e" * 16
OTHER = "6f" * 16
NONE = Holds({})
EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
"""Dates before Tallyfy existed are unknown."""

COMPLETED = """
[[rules]]
name = "completed"
resource = "process"
action = "archive"
when = { status = ["complete"], completed_days = 30 }
"""


def policy(rules: str = COMPLETED, zone: str = "UTC") -> Policy:
    return Policy.parse(f'zone = "{zone}"\n{rules}')


def archive(when: str, *, name: str = "rule", resource: str = "process", unless: str = "") -> str:
    excluded = f"unless = {{ {unless} }}\n" if unless else ""
    irreversible = "irreversible = true\n" if resource in {"tag", "template"} else ""
    return (
        f'[[rules]]\nname = "{name}"\nresource = "{resource}"\naction = "archive"\n{irreversible}'
        f"when = {{ {when} }}\n{excluded}"
    )


def keep(when: str, *, name: str = "kept", resource: str = "process") -> str:
    return f'[[rules]]\nname = "{name}"\nresource = "{resource}"\naction = "keep"\nwhen = {{ {when} }}\n'


def delete(when: str, *, name: str = "old", resource: str = "process", unless: str = "") -> str:
    excluded = f"unless = {{ {unless} }}\n" if unless else ""
    return (
        f'[[rules]]\nname = "{name}"\nresource = "{resource}"\naction = "delete"\nirreversible = true\n'
        f"when = {{ {when} }}\n{excluded}"
    )


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def thing(resource: Resource = Resource.RUN, **changes: object) -> ResourceSnapshot:
    """A resource with all facts, such as a process that was completed 31 days ago."""
    process = resource is Resource.RUN
    done = process or resource is Resource.TASK
    known = ResourceSnapshot(
        resource=resource,
        id=THING,
        state=State.ACTIVE,
        name="Onboard Acme",
        status="complete" if done else None,
        created_at=ago(100),
        completed_at=ago(31) if done else None,
        last_updated=ago(31),
        template_id=TEMPLATE if process else None,
        owners=None if resource is Resource.TAG else frozenset({"4711"}),
        tags=None if resource is Resource.TAG else frozenset({"Test"}),
        one_off=True if resource is Resource.TASK else None,
        uses=0 if resource is Resource.TAG else None,
    )
    return replace(known, **changes)  # type: ignore[arg-type] # each test gives the fields of Thing


def archived(resource: Resource = Resource.RUN, **changes: object) -> ResourceSnapshot:
    """The same resource, archived 20 days ago, as Tallyfy shows it then."""
    facts: dict[str, object] = {"state": State.ARCHIVED, "archived_at": ago(20), "last_updated": ago(20)}
    return thing(resource, **{**facts, "status": "archived" if resource is Resource.RUN else None, **changes})


def judged(seen: ResourceSnapshot, rules: str = COMPLETED, holds: Holds = NONE, *, zone: str = "UTC") -> Decision:
    return evaluate(seen, policy(rules, zone), holds, NOW)


def answer(seen: ResourceSnapshot, condition: str, *, excludes: bool = False) -> Check:
    """The answer of one condition, in a rule that acts or in an exception."""
    alone = condition.startswith(("completed_days", "created_days", "stalled_days", "unused"))
    if excludes:
        rules = keep(condition, resource=seen.resource)
    elif seen.state is State.ARCHIVED:
        rules = delete(condition if "archived_days" in condition else f"{condition}, archived_days = 1")
    else:
        rules = archive(condition if alone else f"{condition}, created_days = 1", resource=seen.resource)
    [asked] = explain(seen, policy(rules), NONE, NOW).rules
    name = condition.partition(" ")[0]
    [check] = [check for check in asked.when if check.condition == name]
    return check


# --- the decision -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "kind", "acts"),
    [
        (thing(), "rule completed", True),
        (thing(status="completed"), "rule completed", True),
        (thing(status=" Complete "), "rule completed", True),
        (thing(completed_at=ago(30)), "too young", False),
        (thing(completed_at=ago(30.6)), "rule completed", True),
        (thing(completed_at=NOW), "too young", False),
        (thing(completed_at=NOW + timedelta(microseconds=1)), "future date", False),
        (thing(completed_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)), "future date", False),
        (thing(completed_at=None), "no date", False),
        (thing(created_at=None), "no date", False),
        (thing(created_at=ago(31)), "rule completed", True),
        (thing(created_at=ago(31) + timedelta(microseconds=1)), "odd date", False),
        (thing(created_at=NOW), "odd date", False),
        (thing(created_at=NOW + timedelta(days=400)), "odd date", False),
        (thing(completed_at=EARLIEST, created_at=EARLIEST), "rule completed", True),
        (thing(completed_at=EARLIEST - timedelta(microseconds=1), created_at=ago(9999)), "odd date", False),
        (thing(completed_at=datetime(1980, 1, 1, tzinfo=UTC)), "odd date", False),
        (thing(completed_at=datetime(1970, 1, 1, tzinfo=UTC), created_at=None), "odd date", False),
        (thing(completed_at=datetime(1, 1, 1, tzinfo=UTC)), "odd date", False),
        # the last change and the archiving do not decide
        (thing(last_updated=NOW), "rule completed", True),
        (thing(last_updated=None), "rule completed", True),
        # somebody reopened it: its completion date is still there
        (thing(status="active"), "status", False),
        (thing(status=None), "no status", False),
        (thing(status=""), "no status", False),
        (thing(status="  "), "no status", False),
        # no rule considers another state
        (archived(), "no rule", False),
        (thing(state=State.GONE), "no rule", False),
        (thing(Resource.TEMPLATE), "no rule", False),
        (thing(Resource.TASK), "no rule", False),
        (thing(Resource.TAG), "no rule", False),
        # no readable id, and facts of another kind
        (thing(id=""), "no id", False),
        (thing(id=f"{THING}/delete"), "no id", False),
        (thing(id=f"{THING}\n"), "no id", False),
        (thing(id=THING.upper()), "no id", False),
        (thing(run_id=OTHER), "another kind", False),
        (thing(one_off=True), "another kind", False),
        (thing(one_off=False), "another kind", False),
        (thing(Resource.TEMPLATE, template_id=TEMPLATE), "another kind", False),
        (thing(Resource.TAG, template_id=TEMPLATE), "another kind", False),
    ],
)  # fmt: skip
def test_the_first_rule_that_fits_decides_about_each_example(seen: ResourceSnapshot, kind: str, *, acts: bool) -> None:
    decision = judged(seen)
    assert (decision.kind, decision.action) == (kind, Action.ARCHIVE if acts else None)
    assert decision.reason.endswith(".")
    assert decision.reason[0].isupper()


def test_the_reason_names_the_rule_and_the_facts() -> None:
    assert judged(thing()) == Decision(
        Action.ARCHIVE,
        "rule completed",
        "Rule 'completed': its status is complete; it was completed 31 days ago, more than 30.",
        "completed",
    )
    assert judged(thing(completed_at=ago(1))) == Decision(
        None, "too young", "Rule 'completed': it was completed 1 day ago; more than 30 are needed."
    )
    assert judged(thing(status=None)) == Decision(
        None, "no status", "Rule 'completed': Tallyfy does not say its status, so it is kept.", "completed"
    )
    assert judged(archived()) == Decision(None, "no rule", "No rule acts on a process that is archived.")


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"one_off": True, "run_id": None}, "rule rule"),
        ({"one_off": False, "run_id": None}, "task of a process"),
        ({"one_off": True, "run_id": OTHER}, "task of a process"),
        ({"one_off": False, "run_id": OTHER}, "task of a process"),
        ({"one_off": None, "run_id": OTHER}, "task of a process"),
        ({"one_off": None, "run_id": None}, "task of unknown kind"),
    ],
)
def test_only_a_task_that_is_certainly_one_off_is_acted_on(facts: dict[str, object], kind: str) -> None:
    decision = judged(thing(Resource.TASK, **facts), archive("completed_days = 30", resource="task"))
    assert decision.kind == kind
    assert (decision.action is not None) is (kind == "rule rule")


@pytest.mark.parametrize(
    ("seen", "rules", "action"),
    [
        (thing(Resource.TASK), archive("completed_days = 30", resource="task"), Action.ARCHIVE),
        (archived(Resource.TASK), delete("archived_days = 19", resource="task"), Action.DELETE),
        (thing(Resource.TEMPLATE), archive("created_days = 30", resource="template"), Action.ARCHIVE),
        (archived(Resource.TEMPLATE), delete("archived_days = 19", resource="template"), Action.DELETE),
        (archived(), delete("archived_days = 19"), Action.DELETE),
        (archived(), delete("archived_days = 20"), None),
        (thing(Resource.TAG), delete("unused = true", resource="tag"), Action.DELETE),
        # Tallyfy's older word for deleting a tag
        (thing(Resource.TAG), archive("unused = true", resource="tag"), Action.DELETE),
    ],
)
def test_a_rule_can_act_on_every_kind(seen: ResourceSnapshot, rules: str, action: Action | None) -> None:
    assert judged(seen, rules).action is action


@pytest.mark.parametrize("resource", Resource)
def test_a_rule_considers_only_its_own_kind_and_state(resource: Resource) -> None:
    rules = "".join(archive("created_days = 1", name=f"a-{kind}", resource=kind) for kind in Resource)
    rules += "".join(
        delete("archived_days = 1", name=f"d-{kind}", resource=kind) for kind in Resource if kind is not Resource.TAG
    )
    assert judged(thing(resource), rules).rule == f"a-{resource}"
    if resource is not Resource.TAG:
        assert judged(archived(resource), rules).rule == f"d-{resource}"
    assert judged(thing(resource, state=State.GONE), rules).kind == "no rule"


# --- which rule decides -----------------------------------------------------------------------------------------------


def test_the_first_rule_that_fits_decides_and_is_named() -> None:
    one, two = (archive(f"completed_days = {days}", name=name) for name, days in (("one", 20), ("two", 10)))
    assert judged(thing(), one + two).rule == "one"
    assert judged(thing(), two + one).rule == "two"
    assert judged(thing(completed_at=ago(15)), one + two).rule == "two"


def test_a_resource_that_fits_no_rule_is_kept_with_the_answer_of_the_first_rule() -> None:
    one, two, three = (archive(f"completed_days = {days}", name=f"r{days}") for days in (40, 50, 60))
    assert judged(thing(), one).reason == "Rule 'r40': it was completed 31 days ago; more than 40 are needed."
    assert judged(thing(), one + two).reason.endswith("needed. The other rule does not fit either.")
    assert judged(thing(), one + two + three).reason.endswith("needed. The 2 other rules do not fit either.")
    assert judged(thing(), one + two + three).rule == ""


def test_an_undecided_rule_keeps_what_later_rules_would_act_on() -> None:
    unclear = archive("tags = ['Test'], created_days = 1", name="unclear")
    decision = judged(thing(tags=None), unclear + COMPLETED)
    assert (decision.action, decision.kind, decision.rule) == (None, "no tags", "unclear")
    assert judged(thing(tags=None), COMPLETED + unclear).rule == "completed"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_rule_that_keeps_wins_at_any_place_in_the_file(position: int) -> None:
    acting = [archive("created_days = 1", name="first"), COMPLETED]
    acting.insert(position, keep("title = ['onboard*']"))
    decision = judged(thing(), "".join(acting))
    assert decision == Decision(None, "rule kept", "Rule 'kept': its name fits 'onboard*', so it is kept.", "kept")
    assert judged(thing(name="Offboard Acme"), "".join(acting)).action is Action.ARCHIVE


def test_a_rule_that_keeps_considers_every_state() -> None:
    rules = delete("archived_days = 1") + keep("tags = ['Test']")
    assert judged(archived(), rules).rule == "kept"
    assert judged(archived(tags=frozenset()), rules).rule == "old"


def test_a_rule_that_keeps_considers_only_its_own_kind() -> None:
    assert judged(thing(), COMPLETED + keep("title = ['onboard*']", resource="task")).rule == "completed"


def test_all_conditions_of_a_rule_that_keeps_must_hold() -> None:
    rules = COMPLETED + keep("tags = ['Test'], owners = [12]")
    assert judged(thing(), rules).rule == "completed"
    assert judged(thing(owners=frozenset({"12"})), rules).rule == "kept"
    assert judged(thing(owners=None), rules).rule == "kept"
    assert judged(thing(owners=None, tags=frozenset()), rules).rule == "completed"


@pytest.mark.parametrize(
    ("unless", "seen", "acts"),
    [
        ("tags = ['VIP']", thing(), True),
        ("tags = ['VIP']", thing(tags=frozenset({"VIP"})), False),
        ("tags = ['VIP']", thing(tags=frozenset({" vip "})), False),
        ("tags = ['VIP']", thing(tags=None), False),
        # one of them is enough
        ("tags = ['VIP'], owners = [12]", thing(owners=frozenset({"12", "4711"})), False),
        ("tags = ['VIP'], owners = [12]", thing(), True),
        ("tags = ['VIP'], owners = [12]", thing(owners=None), False),
        ("created_days = 99", thing(), False),
        ("created_days = 100", thing(), True),
        ("status = ['complete']", thing(), False),
        ("stalled_days = 1", thing(), True),
    ],
)
def test_an_exception_keeps_if_any_condition_holds_or_is_unknown(
    unless: str, seen: ResourceSnapshot, *, acts: bool
) -> None:
    decision = judged(seen, archive("completed_days = 30", unless=unless))
    assert (decision.action is not None) is acts


def test_an_exception_keeps_from_later_rules_too() -> None:
    first = archive("completed_days = 30", name="first", unless="tags = ['Test']")
    later = archive("completed_days = 1", name="later")
    assert judged(thing(), first + later).rule == "first"
    assert judged(thing(), first + later).action is None
    assert judged(thing(tags=None), first + later).action is None
    assert judged(thing(), later + first).rule == "later"
    # It is an exception only for resources to which the rule applies.
    assert judged(thing(completed_at=ago(9)), first + later).rule == "later"


def test_an_exception_comes_before_an_unknown_condition() -> None:
    rules = archive("owners = [4711], completed_days = 30", unless="created_days = 9, tags = ['Test']")
    decision = judged(thing(owners=None, tags=None), rules)
    assert (decision.kind, decision.rule) == ("excluded", "rule")


def test_the_reason_names_the_exception() -> None:
    rules = archive("completed_days = 30", unless="tags = ['Test'], owners = [12]")
    assert judged(thing(), rules) == Decision(
        None, "excluded", "Rule 'rule': it carries the tag 'Test', so it is kept.", "rule"
    )
    assert judged(thing(owners=None, tags=frozenset()), rules) == Decision(
        None, "no owner", "Rule 'rule': Tallyfy does not say who owns it, so it is kept.", "rule"
    )


@pytest.mark.parametrize(
    ("tags", "owners", "fits"),
    [
        # yes and yes; yes and unknown; no beats unknown
        (frozenset({"Test"}), frozenset({"4711"}), Tristate.YES),
        (frozenset({"Test"}), None, Tristate.UNKNOWN),
        (None, frozenset({"4711"}), Tristate.UNKNOWN),
        (None, None, Tristate.UNKNOWN),
        (frozenset(), frozenset({"4711"}), Tristate.NO),
        (frozenset(), None, Tristate.NO),
        (None, frozenset({"12"}), Tristate.NO),
    ],
)
def test_conditions_are_joined_by_three_valued_logic(
    tags: frozenset[str] | None, owners: frozenset[str] | None, fits: Tristate
) -> None:
    seen = thing(tags=tags, owners=owners)
    rules = archive("tags = ['Test'], owners = [4711], completed_days = 30", name="first")
    [asked] = explain(seen, policy(rules), NONE, NOW).rules
    assert asked.fits is fits
    # A plain no leaves the resource to later rules; an unknown answer does not.
    later = judged(seen, rules + archive("completed_days = 1", name="later"))
    assert later.rule == {Tristate.YES: "first", Tristate.UNKNOWN: "first", Tristate.NO: "later"}[fits]
    assert (later.action is None) is (fits is Tristate.UNKNOWN)


# --- each condition ---------------------------------------------------------------------------------------------------

YES, NO, UNKNOWN = Tristate.YES, Tristate.NO, Tristate.UNKNOWN


@pytest.mark.parametrize(
    ("condition", "seen", "expected", "kind"),
    [
        ("status = ['complete']", thing(), YES, "status"),
        ("status = ['completed']", thing(), YES, "status"),
        ("status = ['active', 'complete']", thing(status="COMPLETED"), YES, "status"),
        ("status = ['active']", thing(), NO, "status"),
        ("status = ['active']", thing(status="something new"), UNKNOWN, "unknown status"),
        ("completed_days = 30", thing(status="something new"), UNKNOWN, "unknown status"),
        ("stalled_days = 30", thing(status="something new"), UNKNOWN, "unknown status"),
        ("status = ['issue']", thing(status="issue"), YES, "status"),
        ("status = ['improvement']", thing(status="improvement"), YES, "status"),
        # Tallyfy's filter for problems shows these too
        ("status = ['problem']", thing(status="issue"), YES, "status"),
        ("status = ['problem']", thing(has_open_issue=True), YES, "status"),
        ("status = ['issue']", thing(status="problem"), NO, "status"),
        ("status = ['active']", thing(status=None), UNKNOWN, "no status"),
        # an archived process shows "archived" instead of its status
        ("status = ['complete']", archived(), UNKNOWN, "no status"),
        ("status = ['complete']", archived(status="Archived"), UNKNOWN, "no status"),
        ("templates = ['%s']", thing(), YES, "template"),
        ("templates = ['%s']", thing(template_id=OTHER), NO, "template"),
        ("templates = ['%s']", thing(template_id=None), UNKNOWN, "no template"),
        ("templates = ['%s']", thing(Resource.TEMPLATE, id=TEMPLATE), YES, "template"),
        ("templates = ['%s']", thing(Resource.TEMPLATE, id=OTHER), NO, "template"),
        ("owners = [4711]", thing(), YES, "owner"),
        ("owners = [4711, 12]", thing(), YES, "owner"),
        ("owners = [12]", thing(), NO, "owner"),
        ("owners = [471, 47111]", thing(), NO, "owner"),
        ("owners = [4711]", thing(owners=frozenset()), NO, "owner"),
        ("owners = [4711]", thing(owners=None), UNKNOWN, "no owner"),
        # somebody else owns it too
        ("owners = [4711]", thing(owners=frozenset({"4711", "12"})), NO, "owner"),
        ("owners = [4711, 12]", thing(owners=frozenset({"4711", "12"})), YES, "owner"),
        ("tags = ['Test']", thing(), YES, "tags"),
        ("tags = ['VIP', 'Test']", thing(tags=frozenset({"a", "Test"})), YES, "tags"),
        ("tags = ['Test']", thing(tags=frozenset()), NO, "tags"),
        ("tags = ['test']", thing(), NO, "tags"),
        ("tags = ['Tes']", thing(), NO, "tags"),
        ("tags = ['Test']", thing(tags=None), UNKNOWN, "no tags"),
        ("title = ['onboard *']", thing(), YES, "title"),
        ("title = ['*ACME']", thing(), YES, "title"),
        ("title = ['x*', 'onboard acm?']", thing(), YES, "title"),
        ("title = ['onboard']", thing(), NO, "title"),
        ("title = ['nboard*']", thing(), NO, "title"),
        ("title = ['onboard ac?']", thing(), NO, "title"),
        ("title = ['onboard*']", thing(name=None), UNKNOWN, "no name"),
        ("title = ['a*']", thing(name="A\nB"), YES, "title"),
        # brackets are literal
        ("title = ['[Test] *']", thing(name="[Test] Acme"), YES, "title"),
        ("title = ['[Test] *']", thing(name="t Acme"), NO, "title"),
        ("title = ['[Onboard]*']", thing(), NO, "title"),
        ("title = ['[!x]*']", thing(), NO, "title"),
        ("title = ['*[a-z]*']", thing(), NO, "title"),
        # Unicode forms of a letter are equal
        ("title = ['stra?e *']", thing(name="Straße 5"), YES, "title"),
        ("title = ['STRASSE *']", thing(name="Straße 5"), YES, "title"),
        ("title = ['Pr\u00fcfung*']", thing(name="Pru\u0308fung 7"), YES, "title"),
        ("completed_days = 30", thing(), YES, "age"),
        ("completed_days = 31", thing(), NO, "too young"),
        ("completed_days = 30", thing(status="active"), NO, "not complete"),
        ("completed_days = 30", thing(status="active", completed_at=None), NO, "not complete"),
        ("completed_days = 30", thing(status=None), UNKNOWN, "no status"),
        ("completed_days = 30", thing(completed_at=None), UNKNOWN, "no date"),
        ("completed_days = 30", archived(), YES, "age"),
        ("created_days = 99", thing(), YES, "age"),
        ("created_days = 100", thing(), NO, "too young"),
        ("created_days = 9", thing(created_at=None), UNKNOWN, "no date"),
        ("created_days = 9", thing(created_at=NOW + timedelta(days=1)), UNKNOWN, "future date"),
        ("created_days = 9", thing(created_at=datetime(1980, 1, 1, tzinfo=UTC)), UNKNOWN, "odd date"),
        ("archived_days = 19", archived(), YES, "age"),
        ("archived_days = 20", archived(), NO, "too young"),
        ("archived_days = 9", archived(archived_at=None), UNKNOWN, "no date"),
        ("archived_days = 9", archived(archived_at=NOW + timedelta(days=1)), UNKNOWN, "future date"),
        ("archived_days = 9", archived(archived_at=ago(32)), UNKNOWN, "odd date"),
        ("archived_days = 9", archived(archived_at=ago(101), completed_at=None), UNKNOWN, "odd date"),
        ("archived_days = 9", archived(completed_at=None), YES, "age"),
        ("archived_days = 9", archived(created_at=None), UNKNOWN, "no date"),
        ("stalled_days = 30", thing(status="active"), YES, "age"),
        ("stalled_days = 31", thing(status="active"), NO, "too young"),
        ("stalled_days = 30", thing(), NO, "not stalled"),
        ("stalled_days = 30", thing(status=None), UNKNOWN, "no status"),
        ("stalled_days = 30", thing(status="active", last_updated=None), UNKNOWN, "no date"),
        ("stalled_days = 30", thing(status="active", last_updated=ago(101)), UNKNOWN, "odd date"),
        ("stalled_days = 30", thing(status="active", last_updated=NOW + timedelta(1)), UNKNOWN, "future date"),
        ("unused = true", thing(Resource.TAG), YES, "in use"),
        ("unused = true", thing(Resource.TAG, uses=1), NO, "in use"),
        ("unused = true", thing(Resource.TAG, uses=None), UNKNOWN, "use unknown"),
    ],
)  # fmt: skip
def test_a_condition_is_answered_with_yes_no_or_unknown(
    condition: str, seen: ResourceSnapshot, expected: Tristate, kind: str
) -> None:
    check = answer(seen, condition.replace("%s", TEMPLATE))
    assert (check.answer, check.kind) == (expected, kind)
    assert check.seen


@pytest.mark.parametrize(
    ("condition", "seen", "expected"),
    [
        # a condition that keeps is compared loosely
        ("owners = [4711]", thing(owners=frozenset({"4711", "12"})), YES),
        ("owners = [4711]", thing(owners=frozenset({"12"})), NO),
        ("owners = [4711]", thing(owners=None), UNKNOWN),
        ("tags = ['test']", thing(), YES),
        ("tags = ['test']", thing(tags=frozenset({" TEST"})), YES),
        ("tags = ['Pr\u00fcfung']", thing(tags=frozenset({"pru\u0308fung"})), YES),
        ("tags = ['tes']", thing(), NO),
        ("tags = ['test']", thing(tags=None), UNKNOWN),
        ("archived_days = 1", thing(), NO),
        ("archived_days = 19", archived(), YES),
        ("stalled_days = 1", archived(), NO),
        ("stalled_days = 1", thing(status="active"), YES),
    ],
)
def test_a_condition_that_keeps_compares_text_loosely(
    condition: str, seen: ResourceSnapshot, expected: Tristate
) -> None:
    assert answer(seen, condition, excludes=True).answer is expected


# --- holds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holds", "seen", "reason"),
    [
        (Holds({f"run#{THING}": "an audit"}), thing(), "It is on hold: an audit"),
        (Holds({f"template#{TEMPLATE}": "an audit"}), thing(), "All processes of its template are on hold: an audit"),
        (Holds({"owner#4711": "an audit"}), thing(), "Everything that its owner 4711 owns is on hold: an audit"),
        (Holds({}, frozenset({"test"})), thing(), "It carries the hold tag 'Test'."),
        (Holds({}, frozenset({"Pr\u00fcfung"})), thing(tags=frozenset({"Pru\u0308fung"})), "It carries the hold tag"),
        (Holds({}, frozenset({"keep"})), thing(tags=None), "Tallyfy does not show its tags"),
        (Holds({"owner#12": "an audit"}), thing(owners=None), "Some owners are on hold"),
        (Holds({f"template#{OTHER}": "an audit"}), thing(template_id=None), "Some templates are on hold"),
    ],
)
def test_a_hold_comes_before_every_rule_and_says_why(holds: Holds, seen: ResourceSnapshot, reason: str) -> None:
    for rules in (COMPLETED, archive("created_days = 1") + COMPLETED, keep("title = ['o*']") + COMPLETED):
        decision = judged(seen, rules, holds)
        assert (decision.action, decision.kind, decision.rule) == (None, "on hold", "")
        assert decision.reason.startswith(reason)
    assert judged(seen, archive("completed_days = 30")).action is Action.ARCHIVE


def test_a_hold_on_something_else_holds_nothing() -> None:
    others = (f"run#{OTHER}", f"task#{THING}", f"template#{OTHER}", "owner#12", "owner#471")
    holds = Holds(dict.fromkeys(others, "an audit"), frozenset({"keep"}))
    assert judged(thing(), COMPLETED, holds).action is Action.ARCHIVE


# --- explaining -------------------------------------------------------------------------------------------------------


def test_an_explanation_shows_each_condition_of_every_rule_for_the_kind_and_state() -> None:
    rules = (
        COMPLETED
        + archive("created_days = 200", name="never", unless="tags = ['VIP'], title = ['o*']")
        + delete("archived_days = 1")
        + archive("created_days = 1", name="tasks", resource="task")
        + keep("owners = [12]")
    )
    told = explain(thing(), policy(rules), NONE, NOW)
    assert told.decision == evaluate(thing(), policy(rules), NONE, NOW)
    assert [(asked.rule.name, asked.fits) for asked in told.rules] == [
        ("completed", YES),
        ("never", NO),
        ("kept", NO),
    ]
    never = told.rules[1]
    assert [(check.condition, check.answer, check.seen) for check in (*never.when, *never.unless)] == [
        ("created_days", NO, "it was created 100 days ago; more than 200 are needed"),
        ("tags", NO, "it carries none of the tags named"),
        ("title", YES, "its name fits 'o*'"),
    ]


def test_the_explanation_of_a_held_resource_has_its_hold_and_its_rules() -> None:
    told = explain(thing(), policy(), Holds({f"run#{THING}": "an audit"}), NOW)
    assert told.decision.kind == "on hold"
    assert [asked.fits for asked in told.rules] == [YES]


# --- calendar days ----------------------------------------------------------------------------------------------------

# name, zone, completed, now, calendar days in the zone
DAYS = {
    "a minute apart, a day apart": ("UTC", "2026-05-31T23:59:30Z", "2026-06-01T00:00:30Z", 1),
    "nearly a day apart, the same day": ("UTC", "2026-06-01T00:00:30Z", "2026-06-01T23:59:30Z", 0),
    "the same moments lie on one day in Kiritimati": (
        "Pacific/Kiritimati", "2026-05-31T23:59:30Z", "2026-06-01T00:00:30Z", 0),
    "Kiritimati is fourteen hours ahead": ("Pacific/Kiritimati", "2026-05-31T09:59:59Z", "2026-05-31T10:00:00Z", 1),
    "Kiritimati, the whole day": ("Pacific/Kiritimati", "2026-05-31T10:00:00Z", "2026-06-01T09:59:59Z", 0),
    "Midway is eleven hours behind": ("Pacific/Midway", "2026-06-01T10:59:59Z", "2026-06-01T11:00:00Z", 1),
    "Kathmandu is 5:45 ahead": ("Asia/Kathmandu", "2026-06-01T18:14:59Z", "2026-06-01T18:15:00Z", 1),
    "Kathmandu, the whole day": ("Asia/Kathmandu", "2026-06-01T18:15:00Z", "2026-06-02T18:14:59Z", 0),
    "Apia before it skipped a day": ("Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-30T09:59:59Z", 0),
    "Apia's 30 December 2011 never was, and counts as a date": (
        "Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-30T10:00:00Z", 2),
    "Apia across the skipped day": ("Pacific/Apia", "2011-12-29T12:00:00Z", "2012-01-01T12:00:00Z", 4),
    "Berlin, the night of 23 hours": ("Europe/Berlin", "2026-03-28T22:30:00Z", "2026-03-29T22:30:00Z", 2),
    "Berlin, the day of 23 hours": ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", 0),
    "Berlin, the day of 23 hours ends": ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 1),
    "Berlin, the hour that never was": ("Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", 0),
    "Berlin, the day of 25 hours": ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", 0),
    "Berlin, the day of 25 hours ends": ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 1),
    "Berlin, the hour that comes twice": ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", 0),
    "New York, the day of 23 hours": ("America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59Z", 0),
    "New York, the day of 23 hours ends": ("America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", 1),
    "New York, the day of 25 hours": ("America/New_York", "2026-11-01T04:00:00Z", "2026-11-02T04:59:59Z", 0),
    "New York, the day of 25 hours ends": ("America/New_York", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", 1),
    "over both changes of the clock": ("Europe/Berlin", "2026-03-01T12:00:00Z", "2026-11-01T12:00:00Z", 245),
    "Berlin, a second before midnight": ("Europe/Berlin", "2026-06-01T21:59:59Z", "2026-06-01T22:00:00Z", 1),
    "Berlin, at midnight": ("Europe/Berlin", "2026-06-01T22:00:00Z", "2026-06-02T21:59:59Z", 0),
    "Berlin, a second after midnight": ("Europe/Berlin", "2026-06-01T22:00:01Z", "2026-06-02T22:00:00Z", 1),
    "now at midnight": ("Europe/Berlin", "2026-05-01T12:00:00Z", "2026-05-31T22:00:00Z", 31),
    "now a second before midnight": ("Europe/Berlin", "2026-05-01T12:00:00Z", "2026-05-31T21:59:59Z", 30),
    "the same two moments in UTC": ("UTC", "2026-05-01T12:00:00Z", "2026-05-31T22:00:00Z", 30),
    "UTC has another date than Los Angeles": ("America/Los_Angeles", "2026-06-01T03:00:00Z", "2026-06-02T12:00:00Z", 2),
    "the same two moments a day nearer in UTC": ("UTC", "2026-06-01T03:00:00Z", "2026-06-02T12:00:00Z", 1),
    "the same moment": ("Europe/Berlin", "2026-06-01T12:00:00Z", "2026-06-01T12:00:00Z", 0),
    "over a leap day": ("UTC", "2024-02-28T12:00:00Z", "2024-03-01T00:00:00Z", 2),
    "where there is no leap day": ("UTC", "2023-02-28T12:00:00Z", "2023-03-01T00:00:00Z", 1),
    "a leap day, a year later": ("UTC", "2024-02-29T12:00:00Z", "2025-02-28T12:00:00Z", 365),
    "a leap day, a year and a day later": ("UTC", "2024-02-29T12:00:00Z", "2025-03-01T12:00:00Z", 366),
    "a leap day, four years later": ("UTC", "2024-02-29T12:00:00Z", "2028-02-29T12:00:00Z", 1461),
    "a leap day that begins earlier elsewhere": ("Asia/Tokyo", "2024-02-28T15:00:00Z", "2024-02-29T15:00:00Z", 1),
    "the end of the year": ("UTC", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z", 1),
    "the end of the year, an hour earlier in Berlin": (
        "Europe/Berlin", "2025-12-31T22:59:59Z", "2025-12-31T23:00:00Z", 1),
    "the end of the year, five hours later in New York": (
        "America/New_York", "2026-01-01T00:00:00Z", "2026-01-01T05:00:00Z", 1),
    "the oldest that is believed": ("UTC", "2010-01-01T00:00:00Z", "2026-06-01T00:00:00Z", 5995),
}  # fmt: skip


@pytest.mark.parametrize(("zone", "completed", "now", "days"), DAYS.values(), ids=DAYS)
def test_days_are_calendar_days_in_the_zone_of_the_policy(zone: str, completed: str, now: str, days: int) -> None:
    then, moment = datetime.fromisoformat(completed), datetime.fromisoformat(now)
    assert whole_days(then, moment, ZoneInfo(zone)) == days
    seen = thing(completed_at=then, created_at=then)

    def fits(more_than: int) -> bool:
        rules = archive(f"completed_days = {more_than}")
        return evaluate(seen, policy(rules, zone), NONE, moment).action is Action.ARCHIVE

    # More than that many days: neither a day too early nor a day too late.
    assert not fits(max(days, 1))
    assert days <= 1 or fits(days - 1)
    told = evaluate(seen, policy(archive("completed_days = 9999"), zone), NONE, moment).reason
    assert f"it was completed {days} {'day' if days == 1 else 'days'} ago" in told


FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "since", "now", "days"),
    [
        ("UTC", FIRST, LAST, 3652058),
        ("UTC", LAST, FIRST, -3652058),
        ("Asia/Kathmandu", FIRST, FIRST, 0),
        ("America/New_York", LAST, LAST, 0),
        # year 1 begins in year 0 west of Greenwich, and year 9999 ends in year 10000 east of it
        ("America/New_York", FIRST, NOW, None),
        ("Pacific/Kiritimati", NOW, LAST, None),
    ],
)
def test_a_moment_without_a_date_in_the_zone_has_no_age(
    zone: str, since: datetime, now: datetime, days: int | None
) -> None:
    assert whole_days(since, now, ZoneInfo(zone)) == days


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Apia"])
@pytest.mark.parametrize("moment", [FIRST, datetime(1980, 1, 1, tzinfo=UTC), LAST, None])
def test_an_impossible_date_keeps_the_resource_in_every_zone(zone: str, moment: datetime | None) -> None:
    facts = ("created_at", "completed_at", "last_updated", "archived_at")
    rules = (
        archive("completed_days = 1", name="done") + archive("stalled_days = 1", name="s") + delete("archived_days = 1")
    )
    for status in ("complete", "active"):
        for seen in (thing(status=status), archived()):
            odd = replace(seen, **dict.fromkeys(facts, moment))
            assert judged(odd, rules, zone=zone).action is None


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati"])
def test_an_age_outside_the_calendar_keeps(zone: str) -> None:
    seen = thing(completed_at=LAST, created_at=LAST)
    decision = evaluate(seen, policy(archive("completed_days = 1"), zone), NONE, LAST)
    assert decision.action is None
    if zone == "Pacific/Kiritimati":
        assert decision.kind == "no date"
        assert decision.reason == "Rule 'rule': when it was completed has no date in Pacific/Kiritimati, so it is kept."
