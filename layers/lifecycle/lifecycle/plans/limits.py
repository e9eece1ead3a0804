"""What stops a plan before its first command: it acts on more than anyone expected.

A cap is never applied to a part: over it, nothing is done.
"""

from collections.abc import Iterator

from lifecycle.plans.plan_file import Totals
from lifecycle.policy.policy import Caps, PlanCaps, Policy

_FEW = 10
"""So many more things are no growth, whatever they are in percent."""


def over_caps(totals: Totals, policy: Policy) -> tuple[str, ...]:
    """Each cap that is exceeded, as a sentence; empty if all is within them."""
    return tuple(_over(totals, policy))


def most_first(policy: Policy) -> int:
    """The most that ``lifecycle apply --first`` may be told: no cap on a count is ever passed by it."""
    counts = (rule.caps.count for rule in policy.acting if rule.caps is not None and rule.caps.count is not None)
    return min((policy.caps.count, *counts))


def grows(due: int, before: int, policy: Policy) -> str | None:
    """Why a person must apply it: the policy was changed and now acts on far more. ``None``: nobody must."""
    if due <= before + _FEW or due * 100 <= before * (100 + policy.growth_percent):
        return None
    return (
        f"policy.toml was changed: it acts on {due} things where the one applied last would act on {before}; "
        f"more than {policy.growth_percent} % more."
    )


def _over(totals: Totals, policy: Policy) -> Iterator[str]:
    groups = {(rule.resource, rule.considers) for rule in policy.acting}
    considered = 0
    for rule, counted in zip(policy.acting, totals.rules, strict=True):
        if (rule.resource, rule.considers) in groups:
            groups.remove((rule.resource, rule.considers))
            considered += counted.considered
        if rule.caps is not None:
            what = f"Rule '{rule.name}'"
            yield from _beyond(what, counted.due, considered=counted.considered, caps=rule.caps, few=0)
    yield from _beyond("The plan", totals.due, considered=considered, caps=policy.caps, few=policy.caps.few)


def _beyond(what: str, due: int, *, considered: int, caps: Caps | PlanCaps, few: int) -> Iterator[str]:
    """Up to ``few`` things are not measured in percent: one of three is a third."""
    if caps.count is not None and due > caps.count:
        yield f"{what} would act on {due} things; its cap is {caps.count}."
    if caps.percent is not None and due > few and due * 100 > considered * caps.percent:
        share = -(-due * 100 // max(considered, 1))
        yield f"{what} would act on {due} of {considered} things, {share} %; its cap is {caps.percent} %."
