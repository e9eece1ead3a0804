"""policy.toml: wrong values are refused by key, and right ones are read unchanged."""

import json
import re
import tomllib
from copy import deepcopy
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lifecycle.domain.capabilities import Action, Resource, State, capability
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.resources import STATUSES
from lifecycle.policy.conditions import CONDITIONS, Conditions
from lifecycle.policy.policy import Caps, Doing, PlanCaps, Policy
from tests.harness.builders import CONFIG, THING

SHIPPED = (CONFIG / "policy.toml").read_text(encoding="utf-8")
TEMPLATE = "7e" * 16
SOME = "name at least one"
OLD = "completed_days = 30"

FULL = f"""
zone = "Europe/Berlin"
hold_tags = ["keep", "Legal hold"]
growth_percent = 20
[caps]
count = 500
percent = 10
[[rules]]
name = "completed"
resource = "process"
action = "archive"
[rules.when]
status = ["complete", "problem"]
templates = ["{TEMPLATE}", "{THING}"]
owners = [4711, 12]
tags = ["Test", "Trial"]
title = ["Copy of *"]
completed_days = 30
created_days = 40
stalled_days = 20
[rules.unless]
tags = ["VIP"]
created_days = 4000
[rules.caps]
count = 100
percent = 5
[[rules]]
name = "old"
resource = "process"
action = "delete"
irreversible = true
[rules.when]
archived_days = 365
[[rules]]
name = "tags"
resource = "tag"
action = "delete"
irreversible = true
[rules.when]
unused = true
created_days = 90
[[rules]]
name = "audits"
resource = "task"
action = "keep"
[rules.when]
title = ["*audit*"]
"""


def rule(
    when: str = OLD,
    *,
    name: str = "completed",
    resource: str = "process",
    action: str = "archive",
    top: str = "",
    unless: str | None = None,
) -> str:
    excluded = "" if unless is None else f"[rules.unless]\n{unless}\n"
    return (
        f'[[rules]]\nname = "{name}"\nresource = "{resource}"\naction = "{action}"\n{top}\n'
        f"[rules.when]\n{when}\n{excluded}"
    )


def file(*rules: str, head: str = 'zone = "UTC"') -> str:
    return "\n".join((head, *(rules or (rule(),))))


def refusal(text: str) -> str:
    with pytest.raises(Rejected) as refused:
        Policy.parse(text)
    assert refused.value.code is Code.CONFIGURATION
    assert refused.value.reason.startswith("policy.toml")
    return refused.value.reason.removeprefix("policy.toml").removeprefix(": ").removeprefix(", ")


def refuses(text: str, key: str, why: str) -> None:
    """Exactly one problem, about that key."""
    line, _, reason = refusal(text).partition(": ")
    assert re.fullmatch(r"line [0-9]+", line)
    assert reason.startswith(f"{key}: " if key else why)
    assert why in reason
    assert "; line" not in reason


def test_the_smallest_policy_is_read() -> None:
    read = Policy.parse(file())
    assert (read.zone, read.hold_tags, read.growth_percent) == (ZoneInfo("UTC"), None, 50)
    assert read.caps == PlanCaps(count=1000, percent=30, few=10)
    [only] = read.rules
    assert (only.name, only.resource, only.action, only.irreversible) == (
        "completed",
        Resource.RUN,
        Doing.ARCHIVE,
        False,
    )
    assert (only.when, only.unless, only.caps) == (Conditions(completed_days=30), None, None)
    assert only.when.named == ("completed_days",)


# --- what is refused, by name -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "key", "why"),
    [
        ("complete_days = 30", "complete_days", "unknown key"),
        ("owner = 4711", "owner", "unknown key"),
        ('"" = 30', "", "unknown key"),
        ("Owners = [4711]", "Owners", "unknown key"),
        ("owners = []", "owners", SOME),
        ('owners = [""]', "owners[no. 1]", "must be a whole number"),
        ('owners = ["*"]', "owners[no. 1]", "must be a whole number"),
        ('owners = ["4711"]', "owners[no. 1]", "must be a whole number"),
        ("owners = [4711, true]", "owners[no. 2]", "must be a whole number"),
        ("owners = [4711.0]", "owners[no. 1]", "must be a whole number"),
        ("owners = [0]", "owners[no. 1]", "must be at least 1"),
        ("owners = [-4711]", "owners[no. 1]", "must be at least 1"),
        ("owners = 4711", "owners", "must be a list in square brackets"),
        ("owners = [[4711]]", "owners[no. 1]", "must be a whole number"),
        ("status = []", "status", SOME),
        ('status = [""]', "status", "a status is one of active, complete"),
        ('status = ["done"]', "status", "a status is one of active, complete"),
        ('status = ["complete", "Complete"]', "status", "a status is one of active, complete"),
        ('status = ["*"]', "status", "a status is one of active, complete"),
        ('status = ["archived"]', "status", "a status is one of active, complete"),
        ('status = "complete"', "status", "must be a list in square brackets"),
        ("tags = []", "tags", SOME),
        ('tags = [""]', "tags[no. 1]", "must not be empty"),
        ('tags = ["  "]', "tags[no. 1]", "must not be empty"),
        ('tags = ["Test", "a\\nb"]', "tags[no. 2]", "one line"),
        ("tags = [1]", "tags[no. 1]", "must be a text in quotes"),
        ("tags = {}", "tags", "must be a list in square brackets"),
        ("templates = []", "templates", SOME),
        ('templates = [""]', "templates[no. 1]", "an id is 32 characters"),
        ('templates = ["*"]', "templates[no. 1]", "an id is 32 characters"),
        (f'templates = ["{TEMPLATE.upper()}"]', "templates[no. 1]", "an id is 32 characters"),
        (f'templates = ["{TEMPLATE}/delete"]', "templates[no. 1]", "an id is 32 characters"),
        ("title = []", "title", SOME),
        ('title = [""]', "title[no. 1]", "must not be empty"),
        ('title = ["*"]', "title", "fits every name"),
        ('title = ["Copy of *", "**"]', "title", "fits every name"),
        ('title = ["? *"]', "title", "fits every name"),
        ("completed_days = 30.0", "completed_days", "must be a whole number"),
        ("created_days = 30.5", "created_days", "must be a whole number"),
        ("created_days = true", "created_days", "must be a whole number"),
        ('created_days = "30"', "created_days", "must be a whole number"),
        ('created_days = ""', "created_days", "must be a whole number"),
        ("created_days = 0", "created_days", "must be at least 1"),
        ("created_days = -30", "created_days", "must be at least 1"),
        ("created_days = 36501", "created_days", "must be at most 36500"),
        ("created_days = nan", "created_days", "must be a whole number"),
        ("created_days = 2026-01-01", "created_days", "must be a whole number"),
    ],
)
@pytest.mark.parametrize("table", ["when", "unless"])
def test_a_condition_that_is_empty_blank_or_misspelt_is_refused(line: str, key: str, why: str, table: str) -> None:
    if table == "unless":
        text = file(rule(unless=line))
    else:
        text = file(rule(line if line.startswith("completed") else f"{OLD}\n{line}"))
    refuses(text, f"rules[completed].{table}.{key}", why)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (file(rule("")), "when"),
        (file(rule("", action="keep")), "when"),
        (file(rule(unless="")), "unless"),
    ],
)
def test_empty_conditions_are_refused(text: str, key: str) -> None:
    refuses(text, f"rules[completed].{key}", "name at least one condition: status, templates, owners, tags, title")


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        # unknown keys at each level
        (file(head='zone = "UTC"\nzones = "UTC"'), "zones", "unknown key"),
        (file(head='zone = "UTC"\ndry_run = true'), "dry_run", "unknown key"),
        (file(head='zone = "UTC"\n[caps]\nhold_tags = ["keep"]'), "caps.hold_tags", "unknown key"),
        (file(rule(top='owner = "4711"')), "rules[completed].owner", "unknown key"),
        (file(rule(top=OLD)), "rules[completed].completed_days", "unknown key"),
        (file(rule(top="caps = { cuont = 1, percent = 3 }")), "rules[completed].caps.cuont", "unknown key"),
        (file(rule(f"{OLD}\nunless = {{ tags = ['VIP'] }}")), "rules[completed].when.unless", "unknown key"),
        # the zone
        (file(head=""), "zone", "this key is missing"),
        (file(head='zone = ""'), "zone", "name of a time zone"),
        (file(head='zone = " "'), "zone", "name of a time zone"),
        (file(head='zone = "Europe/Berln"'), "zone", "name of a time zone"),
        (file(head='zone = "Europe"'), "zone", "name of a time zone"),
        (file(head='zone = "../Europe/Berlin"'), "zone", "name of a time zone"),
        (file(head='zone = "localtime"'), "zone", "name of a time zone"),
        (file(head='zone = "Factory"'), "zone", "name of a time zone"),
        (file(head=f'zone = "{"x" * 300}"'), "zone", "name of a time zone"),
        (file(head="zone = 2"), "zone", "name of a time zone"),
        (file(head="zone = []"), "zone", "name of a time zone"),
        # hold tags
        (file(head='zone = "UTC"\nhold_tags = []'), "hold_tags", SOME),
        (file(head='zone = "UTC"\nhold_tags = [""]'), "hold_tags[no. 1]", "must not be empty"),
        (file(head='zone = "UTC"\nhold_tags = "keep"'), "hold_tags", "must be a list in square brackets"),
        # growth and caps
        (file(head='zone = "UTC"\ngrowth_percent = 0'), "growth_percent", "must be at least 1"),
        (file(head='zone = "UTC"\ngrowth_percent = 1001'), "growth_percent", "must be at most 1000"),
        (file(head='zone = "UTC"\ngrowth_percent = true'), "growth_percent", "must be a whole number"),
        (file(head='zone = "UTC"\ngrowth_percent = 50.0'), "growth_percent", "must be a whole number"),
        (file(head='zone = "UTC"\n[caps]\npercent = 0'), "caps.percent", "must be at least 1"),
        (file(head='zone = "UTC"\n[caps]\npercent = 101'), "caps.percent", "must be at most 100"),
        (file(head='zone = "UTC"\n[caps]\ncount = 0'), "caps.count", "must be at least 1"),
        (file(head='zone = "UTC"\n[caps]\ncount = true'), "caps.count", "must be a whole number"),
        (file(head='zone = "UTC"\n[caps]\ncount = ""'), "caps.count", "must be a whole number"),
        (file(rule(top="caps = {}")), "rules[completed].caps", "name count, percent or both"),
        (file(rule(top="caps = { percent = 0 }")), "rules[completed].caps.percent", "must be at least 1"),
        (file(rule(top="caps = { percent = 101 }")), "rules[completed].caps.percent", "must be at most 100"),
        (file(rule(top="caps = { count = 0 }")), "rules[completed].caps.count", "must be at least 1"),
        # the rules themselves
        ('zone = "UTC"', "rules", "this key is missing"),
        ('zone = "UTC"\nrules = []', "rules", SOME),
        ('zone = "UTC"\nrules = {}', "rules", "must be a list in square brackets"),
        (file(rule(name="")), "rules[no. 1].name", "a rule's name"),
        (file(rule(name="two words")), "rules[no. 1].name", "a rule's name"),
        (file(rule(name="a" * 49)), "rules[no. 1].name", "a rule's name"),
        (file(rule(name="-a")), "rules[no. 1].name", "a rule's name"),
        (file(rule(name="a\\n")), "rules[no. 1].name", "a rule's name"),
        (
            file(rule(resource="")),
            "rules[completed].resource",
            "must be one of process, run, task",
        ),
        (
            file(rule(resource="*")),
            "rules[completed].resource",
            "must be one of process, run, task",
        ),
        (file(rule(action="")), "rules[completed].action", "must be one of keep, archive, delete"),
        (file(rule(action="restore")), "rules[completed].action", "must be one of keep, archive, delete"),
        (file(rule(top='irreversible = "no"')), "rules[completed].irreversible", "must be true or false"),
        (file(rule(top="irreversible = 0")), "rules[completed].irreversible", "must be true or false"),
        (file(rule(), rule()), "", "two rules are called completed"),
        (file(rule(), rule(name="b"), rule("tags = ['x']", action="keep")), "", "two rules are called completed"),
        # unused is true or missing
        (
            file(rule("unused = false", resource="tag", action="delete")),
            "rules[completed].when.unused",
            "leave the key out",
        ),
        (
            file(rule("unused = 1", resource="tag", action="delete")),
            "rules[completed].when.unused",
            "must be true or false",
        ),
        (
            file(rule('unused = "yes"', resource="tag", action="delete")),
            "rules[completed].when.unused",
            "must be true or false",
        ),
    ],
)
def test_an_unknown_blank_or_out_of_range_value_is_refused(text: str, key: str, why: str) -> None:
    refuses(text, key, why)


def test_a_rule_needs_all_its_parts() -> None:
    assert refusal('zone = "UTC"\nrules = [{}]') == "; ".join(
        f"line 2: rules[no. 1].{key}: this key is missing" for key in ("name", "resource", "action", "when")
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (rule('status = ["complete"]'), "a rule that acts needs one of completed_days, created_days"),
        (rule('title = ["Copy of *"]\nowners = [4711]\ntags = ["Test"]'), "a rule that acts needs one of"),
        (rule(f"{OLD}\narchived_days = 3"), "run.archive is for active things, which have no archived_days"),
        (rule(unless="archived_days = 3"), "run.archive is for active things, which have no archived_days"),
        (rule(action="delete", top="irreversible = true"), "run.delete is for archived things: write archived_days"),
        (
            rule("archived_days = 9\nstalled_days = 9", action="delete", top="irreversible = true"),
            "run.delete is for archived things, which have no stalled_days",
        ),
        (
            rule("archived_days = 9", action="delete", top="irreversible = true", unless="stalled_days = 9"),
            "run.delete is for archived things, which have no stalled_days",
        ),
        (rule("archived_days = 9", action="delete"), "run.delete cannot be undone: write irreversible = true"),
        (rule("created_days = 9", resource="template"), "template.archive cannot be undone: write irreversible = true"),
        (rule("unused = true", resource="tag"), "tag.delete cannot be undone: write irreversible = true"),
        (rule(top="irreversible = true"), "run.archive can be undone: leave irreversible out"),
        (rule(resource="task", top="irreversible = true"), "task.archive can be undone: leave irreversible out"),
        (rule(action="keep", top="irreversible = true"), "a rule that keeps has none of irreversible, unless"),
        (rule(action="keep", unless="tags = ['VIP']"), "a rule that keeps has none of irreversible, unless"),
        (rule(action="keep", top="caps = { count = 1 }"), "a rule that keeps has none of irreversible, unless"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(text: str, why: str) -> None:
    refuses(file(text), "rules[completed]", why)


@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_allowed_only_for_kinds_that_have_the_fact(name: str, resource: Resource) -> None:
    condition = f"{name} = {CONDITIONS[name].example}"
    text = file(rule(condition, resource=resource, action="keep"))
    acting = file(
        rule(
            "created_days = 9" if resource is not Resource.TAG else "unused = true",
            resource=resource,
            top="irreversible = true" if resource in {Resource.TAG, Resource.TEMPLATE} else "",
            unless=condition,
        )
    )
    if CONDITIONS[name].fits(resource):
        assert Policy.parse(text).rules[0].when.named == (name,)
        if name != "archived_days":
            [made] = Policy.parse(acting).rules
            assert made.unless is not None
            assert made.unless.named == (name,)
    else:
        for wrong in (text, acting):
            refuses(wrong, "rules[completed]", f"{name} cannot be asked of a {resource.label}")


@pytest.mark.parametrize(
    "text", ["zone = ", "zone", "[[rules]", 'zone = "UTC"\nzone = "UTC"', "zone = \"UTC\nrules = ''", "\x00"]
)
def test_a_file_that_is_not_toml_is_refused(text: str) -> None:
    assert refusal(text).lstrip().startswith("is not TOML: ")


def test_an_empty_file_is_refused() -> None:
    assert refusal("") == "line 1: zone: this key is missing; line 1: rules: this key is missing"


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [*STATUSES, "completed"])
def test_every_status_of_tallyfy_is_known(word: str) -> None:
    [read] = Policy.parse(file(rule(f'{OLD}\nstatus = ["{word}"]'))).rules
    assert read.when.status == ("complete" if word == "completed" else word,)


@pytest.mark.parametrize(
    ("resource", "action", "when", "considers", "action_meant"),
    [
        ("process", "archive", OLD, State.ACTIVE, Action.ARCHIVE),
        ("run", "delete", "archived_days = 90", State.ARCHIVED, Action.DELETE),
        ("task", "archive", OLD, State.ACTIVE, Action.ARCHIVE),
        ("task", "delete", "archived_days = 90", State.ARCHIVED, Action.DELETE),
        ("template", "archive", "created_days = 90", State.ACTIVE, Action.ARCHIVE),
        ("blueprint", "delete", "archived_days = 90", State.ARCHIVED, Action.DELETE),
        ("tag", "delete", "unused = true", State.ACTIVE, Action.DELETE),
        # the call that older pages name "archive tag" deletes it
        ("tag", "archive", "unused = true", State.ACTIVE, Action.DELETE),
    ],
)
def test_a_rule_has_a_capability_and_the_state_that_it_considers(
    resource: str, action: str, when: str, considers: State, action_meant: Action
) -> None:
    reversible = resource in {"process", "task"} and action == "archive"
    text = file(rule(when, resource=resource, action=action, top="" if reversible else "irreversible = true"))
    policy = Policy.parse(text)
    [read] = policy.rules
    assert (read.considers, read.capability) == (considers, capability(read.resource, action_meant))
    assert policy.allows(read.capability)
    assert not policy.allows(capability(Resource.RUN, Action.RESTORE))


def test_rules_that_keep_and_rules_that_act_are_separated_in_order() -> None:
    keep = 'tags = ["VIP"]'
    names = [("a", "archive", OLD), ("b", "keep", keep), ("c", "archive", OLD), ("d", "keep", keep)]
    policy = Policy.parse(file(*(rule(when, name=name, action=action) for name, action, when in names)))
    assert [read.name for read in policy.acting] == ["a", "c"]
    assert [read.name for read in policy.keeping] == ["b", "d"]
    assert not Policy.parse(file(rule(keep, action="keep"))).allows(capability(Resource.RUN, Action.ARCHIVE))


def test_a_pattern_may_contain_brackets() -> None:
    assert Policy.parse(file(rule(f'{OLD}\ntitle = ["[*]"]'))).rules[0].when.title == ("[*]",)


def test_blanks_around_a_value_are_ignored() -> None:
    [read] = Policy.parse(file(rule(f'{OLD}\ntags = [" Test "]'))).rules
    assert read.when.tags == ("Test",)


def test_a_rule_may_have_only_one_of_the_two_caps() -> None:
    assert Policy.parse(file(rule(top="caps = { count = 5 }"))).rules[0].caps == Caps(count=5)
    assert Policy.parse(file(rule(top="caps = { percent = 5 }"))).rules[0].caps == Caps(percent=5)


def test_a_policy_is_immutable() -> None:
    policy = Policy.parse(FULL)
    for frozen, name in ((policy, "zone"), (policy.rules[0], "action"), (policy.rules[0].when, "created_days")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(frozen, name, None)


# --- the file that is shipped -----------------------------------------------------------------------------------------


def test_the_shipped_policy_is_valid_and_only_does_what_can_be_undone() -> None:
    policy = Policy.parse(SHIPPED)
    assert [(read.name, read.capability.name, read.irreversible) for read in policy.acting] == [
        ("completed", "run.archive", False)
    ]
    assert policy.hold_tags == frozenset({"keep"})
    assert (policy.caps, policy.growth_percent) == (PlanCaps(count=1000, percent=30, few=10), 50)


def test_the_examples_in_the_shipped_policy_are_valid() -> None:
    uncommented = re.sub(r"^# (?=\[|\w+ = )", "", SHIPPED, flags=re.MULTILINE)
    policy = Policy.parse(uncommented)
    assert [read.name for read in policy.rules] == ["completed", "audits", "old-tests", "dead-tags"]
    assert uncommented.count("[[rules]]") == SHIPPED.count("[[rules]]") == len(policy.rules)


def test_the_shipped_policy_explains_every_condition() -> None:
    for name in Conditions.model_fields:
        assert re.search(rf"^# .*\b{name}\b", SHIPPED, flags=re.MULTILINE), name


# --- the name of a policy ---------------------------------------------------------------------------------------------


def _backwards(value: object) -> object:
    """The same tables with their keys in the opposite order."""
    if isinstance(value, dict):
        return {name: _backwards(inner) for name, inner in reversed(value.items())}
    return [_backwards(inner) for inner in value] if isinstance(value, list) else value


def test_the_digest_does_not_depend_on_layout_comments_or_the_order_of_keys() -> None:
    digest = Policy.parse(FULL).digest
    assert re.fullmatch("[0-9a-f]{64}", digest)
    commented = "\n\n".join(f"  {line}  # why" if line else line for line in FULL.splitlines())
    assert Policy.parse(commented).digest == digest
    assert Policy.model_validate(_backwards(tomllib.loads(FULL))).digest == digest
    assert Policy.parse(FULL.replace('["keep", "Legal hold"]', '["Legal hold", "keep"]')).digest == digest
    assert Policy.parse(FULL.replace('"process"', '"run"')).digest == digest


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The places of the values. No other value alone makes sense in the omitted places."""
    if isinstance(value, dict):
        return [place for name, inner in value.items() for place in _places(inner, (*path, name))]
    if isinstance(value, list):
        return [place for number, inner in enumerate(value) for place in _places(inner, (*path, number))]
    return [] if value is True or path[-1] in {"resource", "action"} else [path]


def _other(value: int | str) -> int | str:
    if isinstance(value, int):
        return value + 1
    sensible = {"Europe/Berlin": "UTC", "complete": "active", "problem": "delayed"}
    return sensible.get(value, value[:-1] + ("0" if value[-1] != "0" else "1"))


@pytest.mark.parametrize("path", _places(tomllib.loads(FULL)), ids=lambda path: ".".join(map(str, path)))
def test_the_digest_changes_with_every_value(path: tuple[str | int, ...]) -> None:
    said: dict[str, object] = tomllib.loads(FULL)
    *way, last = path
    inner: Any = said
    for step in way:
        inner = inner[step]
    inner[last] = _other(inner[last])
    assert Policy.model_validate(said).digest != Policy.parse(FULL).digest


def test_the_digest_changes_with_the_action_the_kind_and_the_order_of_rules() -> None:
    texts = [
        file(rule("created_days = 9")),
        file(rule("created_days = 9", resource="task")),
        file(rule("created_days = 9", action="keep")),
        file(rule("created_days = 9", resource="template", top="irreversible = true")),
        file(rule("created_days = 9", resource="tag", action="delete", top="irreversible = true")),
        file(rule("created_days = 9\nunused = true", resource="tag", action="delete", top="irreversible = true")),
        file(rule("created_days = 9"), rule("created_days = 9", name="b")),
        file(rule("created_days = 9", name="b"), rule("created_days = 9")),
    ]
    digests = {Policy.parse(text).digest for text in texts}
    assert len(digests) == len(texts)


def test_a_default_written_out_gives_the_same_digest() -> None:
    said = 'zone = "UTC"\ngrowth_percent = 50\n[caps]\ncount = 1000\npercent = 30\nfew = 10'
    assert Policy.parse(file(rule(top="irreversible = false"), head=said)).digest == Policy.parse(file()).digest


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(
    lambda text: bool(text.strip().strip("*? "))
)
ids = st.integers(0, 16**32 - 1).map(lambda number: f"{number:032x}")
days = st.integers(1, 36500)
conditions: dict[str, st.SearchStrategy[object]] = {
    "status": st.lists(st.sampled_from([*STATUSES, "completed"]), min_size=1, max_size=3),
    "templates": st.lists(ids, min_size=1, max_size=2),
    "owners": st.lists(st.integers(1, 2**40), min_size=1, max_size=3),
    "tags": st.lists(words, min_size=1, max_size=3),
    "title": st.lists(words, min_size=1, max_size=3),
    "completed_days": days,
    "created_days": days,
    "stalled_days": days,
}
some_conditions = st.fixed_dictionaries({}, optional=conditions)


@st.composite
def rules(draw: st.DrawFn, name: str) -> dict[str, object]:
    action = draw(st.sampled_from(["archive", "keep"]))
    made: dict[str, object] = {
        "name": name,
        "resource": "process",
        "action": action,
    }
    when = draw(some_conditions)
    made["when"] = {**when, "created_days": draw(days)}
    if action == "archive":
        unless = draw(some_conditions)
        made |= {"unless": unless} if unless else {}
        caps = draw(st.fixed_dictionaries({}, optional={"count": st.integers(1), "percent": st.integers(1, 100)}))
        made |= {"caps": caps} if caps else {}
    return made


@st.composite
def files(draw: st.DrawFn) -> dict[str, object]:
    names = draw(
        st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,47}", fullmatch=True), min_size=1, max_size=3, unique=True)
    )
    made: dict[str, object] = {
        "zone": draw(st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/Argentina/Buenos_Aires"])),
        "rules": [draw(rules(name)) for name in names],
    }
    if draw(st.booleans()):
        made["hold_tags"] = draw(st.lists(words, min_size=1, max_size=3))
    if draw(st.booleans()):
        made["caps"] = {"count": draw(st.integers(1)), "percent": draw(st.integers(1, 100))}
    return made


@settings(max_examples=150, deadline=None)
@given(files())
def test_a_policy_is_read_back_from_its_json(said: dict[str, object]) -> None:
    policy = Policy.model_validate(deepcopy(said))
    text = policy.to_json()
    again = Policy.from_json(text)
    assert again == policy
    assert again.digest == policy.digest
    assert again.to_json() == text
    assert text.isascii()


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"zone": "UTC", "rules": []}', '{"zone": "UTC"'])
def test_json_of_something_else_raises_value_error(text: str) -> None:
    with pytest.raises(ValidationError):
        Policy.from_json(text)


def test_a_policy_of_a_newer_release_raises_value_error() -> None:
    said = json.loads(Policy.parse(FULL).to_json())
    said["rules"][0]["when"]["mood"] = ["bad"]
    with pytest.raises(ValidationError, match="mood"):
        Policy.from_json(json.dumps(said))
