"""A plan that does more than anyone expects is stopped before its first command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.plans.limits import grows, over_caps
from lifecycle.plans.plan_file import RuleTotals, Totals
from lifecycle.policy.policy import Policy

PLAN = "The plan would act on"


def policy(*caps: str, head: str = "", resources: tuple[str, ...] = ()) -> Policy:
    """As many rules as caps are given; each is a table of TOML, or nothing."""
    rules = [
        f'[[rules]]\nname = "r{number}"\nresource = "{resource}"\naction = "archive"\nwhen = {{ created_days = 9 }}\n'
        + (f"caps = {cap}\n" if cap else "")
        for number, (cap, resource) in enumerate(zip(caps, resources or ("process",) * len(caps), strict=True))
    ]
    return Policy.parse(f'zone = "UTC"\n{head}\n{"".join(rules)}')


def totals(judged: Policy, *counts: tuple[int, int]) -> Totals:
    """For each rule how many things it was asked about, and how many are due by it."""
    rules = tuple(
        RuleTotals(
            name=rule.name,
            resource=rule.resource,
            action=rule.capability.action,
            irreversible=rule.irreversible,
            considered=considered,
            due=due,
        )
        for rule, (considered, due) in zip(judged.acting, counts, strict=True)
    )
    due = sum(rule.due for rule in rules)
    seen = max((rule.considered for rule in rules), default=0)
    return Totals(seen=seen, due=due, kept=seen - due, failed=0, kept_by={}, rules=rules, ages=())


def over(judged: Policy, *counts: tuple[int, int]) -> tuple[str, ...]:
    return over_caps(totals(judged, *counts), judged)


WIDE = "[caps]\ncount = 100000\npercent = 100"


@pytest.mark.parametrize(
    ("cap", "considered", "due", "said"),
    [
        ("{ count = 20 }", 1000, 20, None),
        ("{ count = 20 }", 1000, 21, "Rule 'r0' would act on 21 things; its cap is 20."),
        ("{ count = 1 }", 1000, 2, "Rule 'r0' would act on 2 things; its cap is 1."),
        ("{ percent = 10 }", 1000, 100, None),
        ("{ percent = 10 }", 1000, 101, "Rule 'r0' would act on 101 of 1000 things, 11 %; its cap is 10 %."),
        ("{ percent = 10 }", 110, 11, None),
        ("{ percent = 10 }", 109, 11, "Rule 'r0' would act on 11 of 109 things, 11 %; its cap is 10 %."),
        ("{ percent = 99 }", 1000, 1000, "Rule 'r0' would act on 1000 of 1000 things, 100 %; its cap is 99 %."),
        ("{ percent = 100 }", 1000, 1000, None),
        # a cap that was written binds from the first thing
        ("{ percent = 1 }", 10, 10, "Rule 'r0' would act on 10 of 10 things, 100 %; its cap is 1 %."),
        ("{ percent = 50 }", 1, 1, "Rule 'r0' would act on 1 of 1 things, 100 %; its cap is 50 %."),
        ("{ percent = 1 }", 11, 11, "Rule 'r0' would act on 11 of 11 things, 100 %; its cap is 1 %."),
        ("{ count = 9, percent = 100 }", 10, 10, "Rule 'r0' would act on 10 things; its cap is 9."),
        ("", 0, 0, None),
        ("{ count = 1, percent = 1 }", 0, 0, None),
    ],
)
def test_a_rule_may_have_its_own_caps(cap: str, considered: int, due: int, said: str | None) -> None:
    assert over(policy(cap, head=WIDE), (considered, due)) == ((said,) if said else ())


@pytest.mark.parametrize(
    ("head", "considered", "due", "said"),
    [
        # on by default: 1000 and 30 %
        ("", 10_000, 1000, None),
        ("", 10_000, 1001, f"{PLAN} 1001 things; its cap is 1000."),
        ("", 1000, 300, None),
        ("", 1000, 301, f"{PLAN} 301 of 1000 things, 31 %; its cap is 30 %."),
        ("[caps]", 1000, 301, f"{PLAN} 301 of 1000 things, 31 %; its cap is 30 %."),
        ("[caps]\npercent = 40", 10_000, 1001, f"{PLAN} 1001 things; its cap is 1000."),
        ("[caps]\ncount = 5", 1000, 301, f"{PLAN} 301 things; its cap is 5."),
        ("[caps]\ncount = 5", 1000, 5, None),
        ("", 10, 10, None),
        ("", 36, 11, f"{PLAN} 11 of 36 things, 31 %; its cap is 30 %."),
        ("[caps]\npercent = 1", 10, 10, f"{PLAN} 10 of 10 things, 100 %; its cap is 1 %."),
        ("[caps]\npercent = 30", 3, 1, f"{PLAN} 1 of 3 things, 34 %; its cap is 30 %."),
        ("[caps]\npercent = 30\nfew = 1", 3, 1, None),
        ("[caps]\nfew = 0", 3, 1, f"{PLAN} 1 of 3 things, 34 %; its cap is 30 %."),
        ("[caps]\ncount = 500", 10, 10, None),
        ("", 37, 11, None),
    ],
)
def test_a_plan_has_caps_even_if_the_policy_sets_none(head: str, considered: int, due: int, said: str | None) -> None:
    found = over(policy("", head=head), (considered, due))
    assert found[:1] == ((said,) if said else ())
    assert bool(found) is bool(said)


def test_every_exceeded_cap_is_reported() -> None:
    judged = policy("{ count = 5, percent = 1 }", "", "{ count = 600 }")
    assert over(judged, (2000, 20), (2000, 500), (2000, 601)) == (
        "Rule 'r0' would act on 20 things; its cap is 5.",
        "Rule 'r2' would act on 601 things; its cap is 600.",
        "The plan would act on 1121 things; its cap is 1000.",
        "The plan would act on 1121 of 2000 things, 57 %; its cap is 30 %.",
    )


def test_two_rules_of_a_kind_are_measured_against_the_same_resources() -> None:
    """Forty of a hundred are forty percent, however many rules look at the hundred."""
    assert over(policy("", ""), (100, 20), (100, 20)) == (f"{PLAN} 40 of 100 things, 40 %; its cap is 30 %.",)
    assert over(policy("", "", resources=("process", "task")), (100, 20), (100, 20)) == ()
    assert over(policy("", "", resources=("process", "task")), (100, 40), (100, 21)) == (
        f"{PLAN} 61 of 200 things, 31 %; its cap is 30 %.",
    )


def test_active_and_archived_resources_are_measured_separately() -> None:
    judged = Policy.parse(
        'zone = "UTC"\n'
        '[[rules]]\nname = "a"\nresource = "process"\naction = "archive"\nwhen = { created_days = 9 }\n'
        '[[rules]]\nname = "b"\nresource = "process"\naction = "delete"\nirreversible = true\n'
        "when = { archived_days = 9 }\ncaps = { percent = 20 }\n"
    )
    assert over(judged, (900, 0), (100, 21)) == ("Rule 'b' would act on 21 of 100 things, 21 %; its cap is 20 %.",)


def test_rules_that_keep_are_not_counted() -> None:
    text = 'zone = "UTC"\n[[rules]]\nname = "k"\nresource = "process"\naction = "keep"\nwhen = { title = ["a"] }\n'
    assert over(Policy.parse(text)) == ()


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 2000), st.integers(1, 100))
def test_a_cap_permits_exactly_its_number(considered: int, due: int, count: int, percent: int) -> None:
    due = min(considered, due)
    judged = policy(f"{{ count = {count}, percent = {percent} }}", head=WIDE)
    found = over(judged, (considered, due))
    share = due / considered * 100 if considered else 0
    assert bool(found) is (due > count or share > percent + 1e-9)
    for why in found:
        assert "its cap is" in why
        if "%" in why:
            assert int(why.partition(" %")[0].rpartition(" ")[2]) > percent


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_a_larger_number_never_passes_a_cap_that_a_smaller_one_exceeds(considered: int, due: int, more: int) -> None:
    judged = policy("{ count = 40, percent = 20 }")
    if over(judged, (considered, due)):
        assert over(judged, (considered, due + more))


# --- growth -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("due", "before", "percent", "asks"),
    [
        (150, 100, 50, False),
        (151, 100, 50, True),
        (111, 100, 10, True),
        (110, 100, 10, False),
        (200, 100, 100, False),
        (201, 100, 100, True),
        (1100, 100, 1000, False),
        (1101, 100, 1000, True),
        # a few more are no growth
        (10, 0, 50, False),
        (11, 0, 50, True),
        (11, 1, 50, False),
        (12, 1, 50, True),
        (0, 0, 1, False),
        # less is no growth
        (50, 100, 1, False),
        (0, 1000, 1, False),
    ],
)
def test_a_policy_that_acts_on_far_more_needs_a_person(due: int, before: int, percent: int, *, asks: bool) -> None:
    said = grows(due, before, policy("", head=f"growth_percent = {percent}"))
    assert bool(said) is asks
    if said:
        assert said == (
            f"policy.toml was changed: it acts on {due} things, the policy applied last would act on {before}. "
            f"That is more than {percent} % above it."
        )


def test_growth_is_limited_to_half_by_default() -> None:
    assert grows(150, 100, policy("")) is None
    assert grows(151, 100, policy("")) is not None
