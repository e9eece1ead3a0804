"""Decides what should happen to a resource.

Pure: from a resource, the policy, the holds and the time it makes one decision, with its reason and its rule.

Holds and rules that keep come before every rule that acts. A rule with an unknown condition, see
``lifecycle.policy.conditions``, keeps the resource.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lifecycle.domain.capabilities import Action, State
from lifecycle.domain.commands import ID_PATTERN
from lifecycle.domain.kinds import KINDS
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.policy.conditions import Check, Question, Tristate
from lifecycle.policy.policy import Doing, Policy, Rule


class Mode(StrEnum):
    """What a sweep does with resources that are due."""

    REPORT = "report"
    APPLY = "apply"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do (``None``: keep it), why, in a sentence, and by which rule (empty if no rule decided).

    ``kind`` groups equal reasons for a report.
    """

    action: Action | None
    kind: str
    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class RuleEvaluation:
    """A rule and the answers to its conditions."""

    rule: Rule
    when: tuple[Check, ...]
    unless: tuple[Check, ...]

    @property
    def applies(self) -> Tristate:
        """Yes only if every condition in ``when`` holds."""
        return _every({check.answer for check in self.when})

    @property
    def fits(self) -> Tristate:
        """Yes only if it applies and no condition in ``unless`` holds."""
        return _every({self.applies, *(_not(check.answer) for check in self.unless)})


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, and every rule that considers the resource."""

    decision: Decision
    rules: tuple[RuleEvaluation, ...]


def evaluate(thing: ResourceSnapshot, policy: Policy, holds: Holds, now: datetime) -> Decision:
    """What should happen to a resource."""
    return _before_any_rule(thing, holds) or _by_rules(thing, policy, now)


def explain(thing: ResourceSnapshot, policy: Policy, holds: Holds, now: datetime) -> Explanation:
    """As ``evaluate``, with the answers of each rule for its kind and state."""
    rules = tuple(_rule(rule, thing, policy, now) for rule in policy.rules if _considers(rule, thing))
    return Explanation(evaluate(thing, policy, holds, now), rules)


def _before_any_rule(thing: ResourceSnapshot, holds: Holds) -> Decision | None:
    if not re.fullmatch(ID_PATTERN, thing.id):
        return Decision(None, "no id", "It has no readable id, so it cannot be named.")
    hold = holds.on(thing)
    if hold is not None:
        return Decision(None, "on hold", hold)
    other = _another_kind(thing)
    if other:
        return Decision(None, "another kind", f"It is listed as a {thing.resource.label} and says it is a {other}.")
    if thing.resource.shows("one_off") and (thing.run_id is not None or thing.one_off is False):
        return Decision(None, "task of a process", "It belongs to a process and goes with it.")
    if thing.resource.shows("one_off") and thing.one_off is None:
        return Decision(None, "task of unknown kind", "Tallyfy does not say whether it belongs to a process.")
    return None


def _another_kind(thing: ResourceSnapshot) -> str:
    """The label of another kind that the facts prove: an id of one kind is never used for another."""
    for fact in thing.resource.kind.never_shows:
        if getattr(thing, fact) is not None:
            return next(kind.label for kind in KINDS.values() if fact in kind.facts)
    return ""


def _by_rules(thing: ResourceSnapshot, policy: Policy, now: datetime) -> Decision:
    for rule in policy.keeping:
        if not _considers(rule, thing):
            continue
        found = _rule(rule, thing, policy, now)
        if found.fits is not Tristate.NO:
            return Decision(None, f"rule {rule.name}", f"{_reason(rule, found.when)}, so it is kept.", rule.name)
    missed: list[RuleEvaluation] = []
    for rule in policy.acting:
        if not _considers(rule, thing):
            continue
        found = _rule(rule, thing, policy, now)
        if found.applies is not Tristate.NO:
            return _by_rule(found)
        missed.append(found)
    if not missed:
        # Not "active", which is also a status: a complete process that is not archived would be called active.
        state = "not archived" if thing.state is State.ACTIVE else thing.state
        return Decision(None, "no rule", f"No rule acts on a {thing.resource.label} that is {state}.")
    return _missed(missed[0], len(missed) - 1)


def _by_rule(found: RuleEvaluation) -> Decision:
    """The decision of the first acting rule whose ``when`` holds, or may hold."""
    rule = found.rule
    if found.fits is Tristate.YES:
        return Decision(rule.capability.action, f"rule {rule.name}", f"{_reason(rule, found.when)}.", rule.name)
    # An exception excludes it from later rules too: adding an exception must never cause an action.
    excluded = next(_with(Tristate.YES, found.unless), None)
    check = excluded or next(_with(Tristate.UNKNOWN, (*found.when, *found.unless)))
    kind = "excluded" if excluded else check.kind
    return Decision(None, kind, f"{_reason(rule, [check])}, so it is kept.", rule.name)


def _missed(found: RuleEvaluation, others: int) -> Decision:
    """Kept because no rule applies. The reason is that of the first rule, which most people have in mind."""
    check = next(_with(Tristate.NO, found.when))
    more = {0: "", 1: " The other rule does not fit either."}.get(
        others, f" The {others} other rules do not fit either."
    )
    return Decision(None, check.kind, f"{_reason(found.rule, [check])}.{more}")


def _reason(rule: Rule, checks: Iterable[Check]) -> str:
    return f"Rule '{rule.name}': {'; '.join(check.seen for check in checks)}"


def _with(answer: Tristate, checks: Iterable[Check]) -> Iterator[Check]:
    return (check for check in checks if check.answer is answer)


def _every(answers: set[Tristate]) -> Tristate:
    return Tristate.NO if Tristate.NO in answers else Tristate.UNKNOWN if Tristate.UNKNOWN in answers else Tristate.YES


def _not(answer: Tristate) -> Tristate:
    return {Tristate.YES: Tristate.NO, Tristate.NO: Tristate.YES}.get(answer, answer)


def _considers(rule: Rule, thing: ResourceSnapshot) -> bool:
    """Whether a rule is for this kind and state. A rule that keeps is for every state."""
    return rule.resource is thing.resource and (rule.action is Doing.KEEP or rule.considers is thing.state)


def _rule(rule: Rule, thing: ResourceSnapshot, policy: Policy, now: datetime) -> RuleEvaluation:
    when = rule.when.checks(Question(thing, policy.zone, now, excludes=rule.action is Doing.KEEP))
    unless = rule.unless.checks(Question(thing, policy.zone, now, excludes=True)) if rule.unless else ()
    return RuleEvaluation(rule, tuple(when), tuple(unless))
