"""Names in a policy that match nothing are reported, because they are often typos."""

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.policy.policy import Policy
from lifecycle.policy.unmatched_names import UnmatchedNames
from tests.harness.builders import THING

TEMPLATE = "7e" * 16
OTHER = "6f" * 16


def rule(name: str, when: str, *, action: str = "archive", unless: str = "") -> str:
    acts = action == "archive"
    conditions = f"created_days = 9{', ' * bool(when)}{when}" if acts else when
    return f'[[rules]]\nname = "{name}"\nresource = "process"\naction = "{action}"\nwhen = {{ {conditions} }}\n' + (
        f"unless = {{ {unless} }}\n" if unless else ""
    )


def missing(*rules: str, met: tuple[ResourceSnapshot, ...] = ()) -> tuple[str, ...]:
    unmatched = UnmatchedNames(Policy.parse('zone = "UTC"\n' + "".join(rules)))
    for thing in met:
        unmatched.match(thing)
    return unmatched.missing()


def run(**facts: object) -> ResourceSnapshot:
    return ResourceSnapshot(resource=Resource.RUN, id=THING, state=State.ACTIVE, **facts)  # type: ignore[arg-type] # fields of Thing


def said(name: str, kind: str, words: str) -> str:
    return f"Rule '{name}' names the {kind} '{words}', but no resource has it."


def test_every_unmatched_name_is_reported_with_its_rule() -> None:
    rules = (
        rule("a", f"tags = ['Test', 'Trial'], owners = [4711], templates = ['{TEMPLATE}']", unless="tags = ['V I P']"),
        rule("b", "owners = [12]", action="keep"),
    )
    assert missing(*rules) == (
        said("a", "tag", "Test"),
        said("a", "tag", "Trial"),
        said("a", "template", TEMPLATE),
        said("a", "owner", "4711"),
        said("a", "tag", "V I P"),
        said("b", "owner", "12"),
    )


def test_a_matched_name_is_not_reported() -> None:
    text = rule("a", f"tags = ['Test'], owners = [4711], templates = ['{TEMPLATE}']", unless="tags = ['VIP']")
    assert (
        missing(text, met=(run(tags=frozenset({"Test", "VIP"}), owners=frozenset({"4711"}), template_id=TEMPLATE),))
        == ()
    )
    one_by_one = (run(tags=frozenset({"VIP"})), run(owners=frozenset({"1", "4711"})), run(template_id=TEMPLATE))
    assert missing(text, met=one_by_one) == (said("a", "tag", "Test"),)


def test_a_similar_name_does_not_match() -> None:
    text = rule("a", f"tags = ['Test'], owners = [4711], templates = ['{TEMPLATE}']")
    likes = run(tags=frozenset({"Tests", "4711", TEMPLATE}), owners=frozenset({"471", "47110"}), template_id=OTHER)
    assert len(missing(text, met=(likes, run(name="Test")))) == 3


def test_a_listed_template_matches() -> None:
    text = rule("a", f"templates = ['{TEMPLATE}']")
    assert missing(text, met=(ResourceSnapshot(resource=Resource.TEMPLATE, id=TEMPLATE, state=State.ACTIVE),)) == ()


def test_names_are_compared_as_the_rule_compares_them() -> None:
    lower = run(tags=frozenset({" vip "}))
    # A rule that acts compares tags exactly, so this one acts on nothing.
    assert missing(rule("a", "tags = ['VIP']"), met=(lower,)) == (said("a", "tag", "VIP"),)
    # A rule that keeps compares loosely.
    assert missing(rule("a", "", unless="tags = ['VIP']"), met=(lower,)) == ()
    assert missing(rule("a", "tags = ['VIP']", action="keep"), met=(lower,)) == ()
    assert missing(rule("a", "", unless="tags = ['Pr\u00fcfung']"), met=(run(tags=frozenset({"Pru\u0308fung"})),)) == ()


def test_a_name_in_two_rules_is_reported_once_with_the_first() -> None:
    rules = (rule("a", "owners = [4711]"), rule("b", "owners = [4711]"), rule("c", "", unless="owners = [4711]"))
    assert missing(*rules) == (said("a", "owner", "4711"),)


def test_facts_that_are_not_shown_match_nothing() -> None:
    assert missing(rule("a", "tags = ['Test']"), met=(run(),)) == (said("a", "tag", "Test"),)


def test_a_policy_without_names_reports_nothing() -> None:
    assert missing(rule("a", "title = ['Copy of *']"), met=(run(tags=frozenset({"Test"})),)) == ()
