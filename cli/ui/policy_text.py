"""A policy in words."""

from collections.abc import Iterator

from rich.text import Text

from cli.ui.console import RED, plain
from lifecycle.domain.capabilities import State
from lifecycle.plans.pagination_check import ListingQuery
from lifecycle.policy.conditions import Conditions, listed
from lifecycle.policy.policy import Audience, Caps, Doing, PlanCaps, Policy, Rule

_AUDIENCES = {Audience.OWNER: "the owner", Audience.CHANNEL: "the channel"}


def in_words(policy: Policy) -> Text:
    """The whole policy: its rules in the order in which they are asked, its caps, what everyone leaves alone."""
    held = listed(sorted(policy.hold_tags)) if policy.hold_tags else ""
    lines = [
        Text(f"Days are counted in {policy.zone.key}."),
        plain(f"On hold, for everyone: what carries the tag {held}." if held else "No tag puts a resource on hold."),
        Text("Rules that keep come first. Then the first match decides. An undecidable condition keeps the thing."),
    ]
    for number, rule in enumerate((*policy.keeping, *policy.acting), start=1):
        lines += [Text(), *_rule(number, rule)]
    lines += [
        Text(),
        Text(f"A plan does at most {_caps(policy.caps)}. A larger plan is not applied at all."),
        Text(
            f"A change of this file that makes a plan grow by more than {policy.growth_percent} % waits for a person."
        ),
        Text(f"digest  {policy.digest}"),
    ]
    return Text("\n").join(lines)


def _rule(number: int, rule: Rule) -> Iterator[Text]:
    keeps = rule.action is Doing.KEEP
    what = f"{rule.resource.label}, in any state" if keeps else _considered(rule)
    head = Text(f"{number:>3}  {rule.name}: {rule.action} {what}")
    if rule.irreversible:
        head.append(" – irreversible: applied only by `lifecycle apply`, never by the schedule")
        head.stylize(RED)
    yield head
    yield from _clauses("when", "and", rule.when, excludes=keeps)
    if rule.unless is not None:
        yield from _clauses("unless", "or", rule.unless, excludes=True)
    if rule.warn_days is not None and rule.warn is not None:
        yield Text(f"       {_warning(rule.warn_days, rule.warn)}")
    if rule.caps is not None:
        yield Text(f"       at most {_caps(rule.caps)}")


def _warning(days: int, audiences: frozenset[Audience]) -> str:
    """Whom the rule warns, and how long before it acts."""
    whom = " and ".join(text for one, text in _AUDIENCES.items() if one in audiences)
    return f"warns {whom} {days} {'day' if days == 1 else 'days'} before; the days count from the delivery"


def _considered(rule: Rule) -> str:
    """The things that a rule is asked about. The word active is left to the status."""
    name = ListingQuery(rule.resource, rule.considers).name
    return name if rule.considers is State.ARCHIVED else name.removeprefix(f"{State.ACTIVE} ")


def _clauses(first: str, more: str, conditions: Conditions, *, excludes: bool) -> Iterator[Text]:
    for place, name in enumerate(conditions.named):
        clause = conditions.sentence(name, excludes=excludes)
        yield plain(f"       {more if place else first:<6} {clause}", most=2000)


def _caps(caps: Caps | PlanCaps) -> str:
    parts = [f"{caps.count} things"] if caps.count is not None else []
    if caps.percent is not None:
        few = caps.few if isinstance(caps, PlanCaps) else 0
        allowed = f" (up to {few} are not counted in percent)" if few else ""
        parts.append(f"{caps.percent} % of the resources that it considers{allowed}")
    return " and ".join(parts)
