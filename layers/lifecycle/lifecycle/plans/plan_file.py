"""What a sweep will do, written down before anything is done: every thing seen, with the decision and its reason.

A plan is a file of lines (``plan.jsonl``) whose SHA-256 is its name, and a summary (``plan.json``). Whoever applies it
names the hash, so that what was looked at is what is done.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Id, Utc
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.policy.conditions import whole_days
from lifecycle.policy.evaluate import Decision, Mode
from lifecycle.policy.policy import Policy

type Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

AGES = ("≤ 7 days", "8–30 days", "31–90 days", "91–365 days", "> 1 year", "unknown")
_AGE_LIMITS = (7, 30, 90, 365)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RuleTotals(_Frozen):
    """One rule: how many things it was asked about, and how many are due by it."""

    name: str
    resource: Resource
    action: Action
    irreversible: bool
    considered: int
    due: int


class AgeBar(_Frozen):
    """How many things of a kind and status are of an age since their completion, archiving or creation."""

    resource: Resource
    status: str
    age: str
    things: int
    due: int


class Totals(_Frozen):
    """What was counted. ``seen`` is always ``due + kept + failed``; ``kept_by`` counts kinds of reasons."""

    seen: int
    due: int
    kept: int
    failed: int
    kept_by: dict[str, int]
    rules: tuple[RuleTotals, ...]
    ages: tuple[AgeBar, ...]


class PlanFooter(Totals):
    """The last line of a plan: what was counted, and what it comes to."""

    unseen: tuple[str, ...] = ()
    """What could not be seen. A plan that says so is incomplete and is never applied."""
    stops: tuple[str, ...] = ()
    """Why it is not applied."""
    capped: tuple[str, ...] = ()
    """Those of ``stops`` that are caps: a person may still apply the oldest things of it."""
    person: tuple[str, ...] = ()
    """Why only a person may apply it."""


class PlanHeader(_Frozen):
    """The first line of a plan: under which terms its decisions were made. ``made_at`` is the clock of all of them."""

    format: Literal[1] = 1
    org_id: Id
    sweep_id: str
    made_at: Utc
    policy: str
    zone: str
    unseen: tuple[str, ...] = ()
    """What could not be seen. A plan that says so is incomplete and is never applied."""


class Plan(PlanHeader, PlanFooter):
    """The summary. All but the mode, the name and the notes stands in the lines, which its hash is of."""

    hash: Hash
    mode: Mode
    org_name: str | None = None
    notes: tuple[str, ...] = ()
    per_minute: int
    estimated_minutes: int

    @property
    def can_begin(self) -> bool:
        """Whether caps alone stop it, so that a person may apply its oldest things with ``--first``."""
        return bool(self.capped) and not self.unseen and set(self.stops) == set(self.capped)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing and what was decided about it."""

    thing: ResourceSnapshot
    decision: Decision

    def to_line(self) -> str:
        """As one line of JSON, facts that are not known left out."""
        facts = _THING.dump_python(self.thing, mode="json", exclude_none=True)
        for name in ("owners", "tags"):
            if name in facts:
                facts[name] = sorted(facts[name])
        said = self.decision
        judged = {"action": said.action, "kind": said.kind, "reason": said.reason, "rule": said.rule}
        line = json.dumps({**facts, **{name: value for name, value in judged.items() if value}}, ensure_ascii=False)
        # Tallyfy's JSON can hold half a character, which no file can. One such name must not stop a whole plan.
        return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", line)

    @classmethod
    def parse(cls, line: str | bytes) -> Self:
        """Read a line back. Raises ``ValueError`` if it is none."""
        row = json.loads(line)
        if not isinstance(row, dict):
            msg = "no line of a plan"
            raise ValueError(msg)  # noqa: TRY004 - a line is right or wrong; that it is JSON makes no difference
        said = {"action": row.pop("action", None), **{name: row.pop(name, "") for name in ("kind", "reason", "rule")}}
        return cls(_THING.validate_python(row), _DECISION.validate_python(said))


_THING: TypeAdapter[ResourceSnapshot] = TypeAdapter(ResourceSnapshot)
_DECISION: TypeAdapter[Decision] = TypeAdapter(Decision)
_HALF = re.compile("[\ud800-\udfff]")


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The things of a plan, without its first and last line. Raises ``ValueError`` for a line that is none."""
    return (Entry.parse(line) for line in lines if not line.startswith(_OTHER_LINE))


def heading_of(line: bytes) -> PlanHeader:
    """Read the first line. Raises ``ValueError`` if it is none, or one of a newer release."""
    return PlanHeader.model_validate_json(line)


_OTHER_LINE = b'{"line": '


class LineKind(StrEnum):
    """What the lines around the entries are called."""

    HEADING = "heading"
    TOTALS = "totals"


def fact_line(thing: ResourceSnapshot) -> str:
    """A thing as one line, before anything was decided about it."""
    return Entry(thing, Decision(None, "", "")).to_line()


@dataclass(slots=True)
class Writer:
    """Writes a plan line by line, counts, and names it by the hash of its bytes. Nothing of a line is kept."""

    heading: PlanHeader
    policy: Policy
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _failed: int = 0
    _kept: Counter[str] = field(default_factory=Counter)
    _due: Counter[str] = field(default_factory=Counter)
    _considered: Counter[tuple[Resource, State]] = field(default_factory=Counter)
    _ages: Counter[tuple[Resource, str, int, bool]] = field(default_factory=Counter)

    def begin(self) -> bytes:
        """The first line."""
        return self._line(json.dumps({"line": LineKind.HEADING, **self.heading.model_dump(mode="json")}))

    def add(self, entry: Entry) -> bytes:
        """One thing."""
        thing, decision = entry.thing, entry.decision
        if decision.action is None:
            self._kept[decision.kind] += 1
        else:
            self._due[decision.rule] += 1
        self._considered[thing.resource, thing.state] += 1
        status = (thing.status or "unknown").lower()
        self._ages[thing.resource, status, self._age(thing), decision.action is not None] += 1
        return self._line(entry.to_line())

    def fail(self, count: int) -> None:
        """Count rows that could not be read at all."""
        self._failed += count

    def end(self, closing: PlanFooter) -> bytes:
        """The last line."""
        return self._line(json.dumps({"line": LineKind.TOTALS, **closing.model_dump(mode="json")}))

    @property
    def digest(self) -> str:
        """The name of the plan, once ``end`` was written."""
        return self._hash.hexdigest()

    def totals(self) -> Totals:
        """What was counted so far."""
        due, kept = self._due.total(), self._kept.total()
        return Totals(
            seen=due + kept + self._failed,
            due=due,
            kept=kept,
            failed=self._failed,
            kept_by=dict(self._kept.most_common()),
            rules=tuple(self._rules()),
            ages=tuple(self._bars()),
        )

    def _rules(self) -> Iterator[RuleTotals]:
        for rule in self.policy.acting:
            yield RuleTotals(
                name=rule.name,
                resource=rule.resource,
                action=rule.capability.action,
                irreversible=rule.irreversible,
                considered=self._considered[rule.resource, rule.considers],
                due=self._due[rule.name],
            )

    def _bars(self) -> Iterator[AgeBar]:
        groups = sorted({(resource, status, age) for resource, status, age, _ in self._ages})
        for resource, status, age in groups:
            due, kept = (self._ages[resource, status, age, affected] for affected in (True, False))
            yield AgeBar(resource=resource, status=status, age=AGES[age], things=due + kept, due=due)

    def _age(self, thing: ResourceSnapshot) -> int:
        since = thing.archived_at or thing.completed_at or thing.created_at
        days = None if since is None else whole_days(since, self.heading.made_at, self.policy.zone)
        if days is None or days < 0:
            return len(AGES) - 1
        return next((place for place, limit in enumerate(_AGE_LIMITS) if days <= limit), len(_AGE_LIMITS))

    def _line(self, text: str) -> bytes:
        raw = text.encode() + b"\n"
        self._hash.update(raw)
        return raw
