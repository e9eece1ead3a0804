"""What should become of a thing that nobody asked about?

Pure: the thing, the policy, the holds and *now* in; one decision, with its reason and the rule that made it, out.

Everything keeps unless a rule says otherwise, and a date that is missing, unreadable or in the future keeps as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from lifecycle.words.capabilities import Action, Resource, State
from lifecycle.words.commands import ID_PATTERN
from lifecycle.words.things import Thing

_EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
"""Older than Tallyfy: a date before this is a default of some system, not a completion."""


class Mode(StrEnum):
    """What a sweep does with what is due."""

    REPORT = "report"
    APPLY = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Act on things of a kind that have been complete for more than so many calendar days."""

    name: str
    resource: Resource
    action: Action
    completed_days: int

    def __post_init__(self) -> None:
        """Refuse an age that would mean "everything"."""
        if self.completed_days < 1:
            msg = f"rule '{self.name}' needs an age of at least one day, not {self.completed_days}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules in order, the first that matches decides. Days are counted in ``zone``."""

    rules: tuple[Rule, ...]
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, ``None`` for "keep"; why, in a sentence; by which rule, empty where none matched.

    ``kind`` groups equal reasons for a report.
    """

    action: Action | None
    kind: str
    reason: str
    rule: str = ""


def decide(thing: Thing, policy: Policy, holds: Mapping[str, str], now: datetime) -> Decision:
    """Judge one thing. ``holds`` maps held ids to the reason of the hold. Exclusion beats every rule."""
    if not re.fullmatch(ID_PATTERN, thing.id):
        return Decision(None, "no id", "It has no readable id, so it cannot be named.")
    if thing.id in holds:
        return Decision(None, "on hold", f"It is on hold: {holds[thing.id]}")
    if thing.state is not State.ACTIVE:
        return Decision(None, "not active", f"It is {thing.state}.")
    for rule in policy.rules:
        if rule.resource is thing.resource:
            return _by(rule, thing, policy, now)
    return Decision(None, "no rule", "No rule speaks of things of its kind.")


def _by(rule: Rule, thing: Thing, policy: Policy, now: datetime) -> Decision:
    if thing.status is None or thing.status.lower() not in {"complete", "completed"}:
        return Decision(None, "not complete", f"It is not complete (status: {thing.status or 'unknown'}).")
    if thing.completed_at is None:
        return Decision(None, "no date", "Tallyfy does not say when it was completed, so it is kept.")
    if thing.completed_at < _EARLIEST or (thing.created_at is not None and thing.completed_at < thing.created_at):
        return Decision(None, "odd date", "Its completion lies before it can have been, so it is kept.")
    if thing.completed_at > now:
        return Decision(None, "future date", "Its completion lies in the future, so it is kept.")
    try:
        completed_on = thing.completed_at.astimezone(policy.zone).date()
    except OverflowError:
        # The first hours of year 1, a common way to write "never", have no date west of Greenwich.
        return Decision(None, "no date", "Its completion has no date in the time zone of the policy, so it is kept.")
    days = (now.astimezone(policy.zone).date() - completed_on).days
    if days <= rule.completed_days:
        return Decision(None, "too young", f"Completed {days} days ago; more than {rule.completed_days} are needed.")
    reason = f"It was completed {days} days ago, more than {rule.completed_days} (rule '{rule.name}')."
    return Decision(rule.action, f"rule {rule.name}", reason, rule.name)
