"""What stops a plan before its first command: it is incomplete, outdated, or acts on more than anyone expected.

A cap never shortens a plan: a plan that exceeds one is not applied at all.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from lifecycle.domain.commands import SWEEP
from lifecycle.plans.plan_file import Plan, Totals
from lifecycle.policy.policy import Caps, PlanCaps, Policy

FRESH = timedelta(days=7)
"""A plan is a snapshot. After this time, make a new one."""
_FEW = 10
"""Up to this many additional resources never count as growth, whatever the percentage."""


def refusals(plan: Plan, policy: Policy, now: datetime, *, source: str, first: int = 0) -> tuple[str, ...]:
    """Why a plan must not be applied, as sentences; empty if it may be.

    A person may apply a plan that the schedule (``source`` is ``sweep``) may not. With ``first``, only this many of the
    oldest resources are acted on, so the caps are compared with this number.
    """
    acting = [rule.name for rule in policy.acting]
    changed = plan.policy != policy.digest or [rule.name for rule in plan.rules] != acting
    # The plan's hash does not cover its summary, so the caps are checked again.
    capped = () if changed else over_caps(plan, policy)
    stops = tuple(dict.fromkeys((*plan.stops, *capped)))
    if first:
        most = most_first(policy)
        stops = tuple(why for why in stops if why not in capped)
        stops += (f"--first {first} is more than the cap of {most}.",) if first > most else ()
    return (
        *plan.unseen,
        *stops,
        *(plan.person if source == SWEEP else ()),
        *(("policy.toml was changed after the plan was made. Make a new plan.",) if changed else ()),
        *too_old(plan, now),
    )


def too_old(plan: Plan, now: datetime) -> tuple[str, ...]:
    """Why a plan of this age is not applied any more; empty while it is fresh."""
    if now - plan.made_at <= FRESH:
        return ()
    return (f"The plan is older than {FRESH.days} days. Make a new plan.",)


def over_caps(totals: Totals, policy: Policy) -> tuple[str, ...]:
    """Each cap that is exceeded, as a sentence; empty if all is within them."""
    return tuple(_over(totals, policy))


def most_first(policy: Policy) -> int:
    """The highest number that ``lifecycle apply --first`` accepts: it never exceeds a cap on a count."""
    counts = (rule.caps.count for rule in policy.acting if rule.caps is not None and rule.caps.count is not None)
    return min((policy.caps.count, *counts))


def grows(due: int, before: int, policy: Policy) -> str | None:
    """Why a person must apply the plan: the policy was changed and acts on far more resources; ``None`` otherwise."""
    if due <= before + _FEW or due * 100 <= before * (100 + policy.growth_percent):
        return None
    return (
        f"policy.toml was changed: it acts on {due} things, the policy applied last would act on {before}. "
        f"That is more than {policy.growth_percent} % above it."
    )


def _over(totals: Totals, policy: Policy) -> Iterator[str]:
    groups = {(rule.resource, rule.considers) for rule in policy.acting}
    considered = 0
    for rule, counts in zip(policy.acting, totals.rules, strict=True):
        if (rule.resource, rule.considers) in groups:
            groups.remove((rule.resource, rule.considers))
            considered += counts.considered
        if rule.caps is not None:
            what = f"Rule '{rule.name}'"
            yield from _exceeded(what, counts.due, considered=counts.considered, caps=rule.caps, few=0)
    yield from _exceeded("The plan", totals.due, considered=considered, caps=policy.caps, few=policy.caps.few)


def _exceeded(what: str, due: int, *, considered: int, caps: Caps | PlanCaps, few: int) -> Iterator[str]:
    """Up to ``few`` resources are never compared in percent: one of three would already be a third."""
    if caps.count is not None and due > caps.count:
        yield f"{what} would act on {due} things; its cap is {caps.count}."
    if caps.percent is not None and due > few and due * 100 > considered * caps.percent:
        share = -(-due * 100 // max(considered, 1))
        yield f"{what} would act on {due} of {considered} things, {share} %; its cap is {caps.percent} %."
