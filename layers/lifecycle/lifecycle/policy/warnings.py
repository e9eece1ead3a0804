"""Warn first: a rule with ``warn_days`` acts only on things whose people were warned so many days before.

Pure. A mark is made in the first night in which a thing is due. It counts from the moment at which everybody who is to
hear of it has the warning. A mark that a policy, a fact or a hold overtakes ends; the promise that was given to people
outlives it. So nothing happens earlier than a warning said, whatever was edited in between.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from lifecycle.domain.capabilities import Resource
from lifecycle.domain.clock import millis, moment
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.policy.conditions import CONDITIONS
from lifecycle.policy.evaluate import Decision
from lifecycle.policy.policy import Audience, Policy, Rule

WARN_FIRST = "warn first"
"""The kind of a decision to keep a thing until its people are warned. Reports group by it."""
WARNED = "warned"
"""The kind of a decision to keep a thing until the promised day."""
NOBODY = "nobody to warn"

type ThingKey = tuple[Resource, str]
type Recipients = Callable[[Rule, ResourceSnapshot], frozenset[str]]
"""Who is to hear of a thing, as names that deliveries are recorded under. Empty if nobody can be reached."""

DAY = 86_400_000
"""Milliseconds."""


class Deliveries(NamedTuple):
    """The messages of one sweep: when each recipient's was tried last, and when it arrived (milliseconds, UTC)."""

    tried: Mapping[str, int] = {}
    told: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningMark:
    """A thing that people are warned about. Moments are milliseconds since 1970, UTC."""

    resource: Resource
    id: str
    name: str = ""
    rule: str = ""
    basis: str = ""
    """What the rule says and what it looked at. Empty once the mark has ended and only its promise is left."""
    sweep_id: str = ""
    """The sweep whose deliveries count for it."""
    days: int = 0
    """What the warning says: nothing happens for so many days."""
    pending: frozenset[str] = frozenset()
    """Who is still to hear of it."""
    told: frozenset[str] = frozenset()
    """Who has heard of it."""
    not_before: int = 0
    """The latest promise that was given to anybody; 0 if none was."""

    @property
    def key(self) -> ThingKey:
        """What names the thing."""
        return self.resource, self.id

    @property
    def is_warned(self) -> bool:
        """Whether everybody who was to hear of it has."""
        return bool(self.told) and not self.pending

    def with_deliveries(self, deliveries: "Deliveries") -> "WarningMark":
        """The mark after messages were sent. A message that may have arrived is a promise as well."""
        heard = self.pending & deliveries.told.keys()
        moments = [sent[name] for sent in deliveries for name in self.pending & sent.keys()]
        return replace(
            self,
            pending=self.pending - heard,
            told=self.told | heard,
            not_before=max(self.not_before, *(moment + self.days * DAY for moment in moments), 0),
        )

    def ended(self) -> "WarningMark":
        """What is left of a mark whose thing is not due any more."""
        nobody: frozenset[str] = frozenset()
        return replace(self, basis="", rule="", sweep_id="", days=0, pending=nobody, told=nobody)


@dataclass(slots=True, kw_only=True)
class WarnFirst:
    """Decides for one sweep what may happen and who is to be warned. ``marks`` are those of the sweep before."""

    policy: Policy
    sweep_id: str
    now: datetime
    recipients: Recipients = field(default=lambda _rule, _thing: frozenset())
    marks: dict[ThingKey, WarningMark] = field(default_factory=dict)
    begins: bool = True
    """Whether this sweep warns. One that only reports makes no new mark."""

    def decide(self, thing: ResourceSnapshot, decision: Decision) -> tuple[Decision, WarningMark | None]:
        """The decision with its warning taken into account, and the mark that the next sweep has to know."""
        old = self.marks.pop((thing.resource, thing.id), None)
        waits = old is not None and millis(self.now) < old.not_before
        left = old.ended() if old and waits else None
        if decision.action is None:
            return decision, left
        rule = next(rule for rule in self.policy.acting if rule.name == decision.rule)
        if rule.warn_days is None:
            return (_kept(decision, WARNED, self._promise(old)), old) if old and waits else (decision, None)
        found = basis(rule, thing)
        mark = old if old and old.basis == found and old.is_warned else self._begun(thing, rule, found, old)
        if not mark.is_warned:
            kind, why = (WARN_FIRST, _first(mark)) if mark.pending else (NOBODY, _NOBODY)
            unchanged = old if old and old.basis == found else left
            return _kept(decision, kind, why), mark if self.begins else unchanged
        if rule.warn_days > mark.days:
            mark = replace(mark, days=rule.warn_days, not_before=mark.not_before + (rule.warn_days - mark.days) * DAY)
        if millis(self.now) < mark.not_before:
            return _kept(decision, WARNED, self._promise(mark)), mark
        return replace(decision, reason=f"{decision.reason} {_said(mark)}"), mark

    def rest(self) -> Iterator[WarningMark]:
        """The marks of things that this sweep did not see. They stay as they are."""
        return iter(self.marks.values())

    def _begun(self, thing: ResourceSnapshot, rule: Rule, found: str, old: WarningMark | None) -> WarningMark:
        """The mark of a thing whose people are to be warned. Whoever heard of the same mark is not told again."""
        same = old if old and old.basis == found else None
        told = same.told if same else frozenset()
        return WarningMark(
            resource=thing.resource,
            id=thing.id,
            name=thing.name or "",
            rule=rule.name,
            basis=found,
            sweep_id=self.sweep_id,
            days=max(rule.warn_days or 0, same.days if same else 0),
            pending=self.recipients(rule, thing) - told,
            told=told,
            not_before=old.not_before if old else 0,
        )

    def _promise(self, mark: WarningMark) -> str:
        when = moment(mark.not_before).astimezone(self.policy.zone)
        return f"Its people were warned: nothing happens before {when:%Y-%m-%d %H:%M} ({self.policy.zone.key})."


def basis(rule: Rule, thing: ResourceSnapshot) -> str:
    """A hash of what the rule does and asks, and of the facts that it asks about. Other edits leave it as it is."""
    asked = [*rule.when.named, *(rule.unless.named if rule.unless else ())]
    facts = {CONDITIONS[name].needs for name in asked} | ({"owners"} if Audience.OWNER in (rule.warn or ()) else set())
    said = [
        rule.resource,
        rule.action,
        rule.when.model_dump(mode="json", exclude_none=True),
        rule.unless.model_dump(mode="json", exclude_none=True) if rule.unless else None,
        thing.state,
        {name: _plain(getattr(thing, name)) for name in sorted(facts)},
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


_NOBODY = "Nobody can be warned of it, because notices.toml names no channel for warnings."


def _plain(fact: object) -> object:
    return sorted(fact) if isinstance(fact, frozenset) else fact.isoformat() if isinstance(fact, datetime) else fact


def _kept(decision: Decision, kind: str, why: str) -> Decision:
    return Decision(None, kind, f"{decision.reason} {why}", decision.rule)


def _days(days: int) -> str:
    return f"{days} {'day' if days == 1 else 'days'}"


def _first(mark: WarningMark) -> str:
    return f"Its people are warned first, {_days(mark.days)} before anything happens."


def _said(mark: WarningMark) -> str:
    return f"Its people were warned {_days(mark.days)} ago or earlier."
