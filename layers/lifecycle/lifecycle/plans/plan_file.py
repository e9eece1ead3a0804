"""The file of a plan: every resource that a sweep saw, with a decision and its reason, written before anything is done.

A plan is a file of lines (``plan.jsonl.gz``) and a summary (``plan.json``). Its name is the SHA-256 of the uncompressed
lines. A person who applies a plan gives that hash, so exactly the reviewed plan is applied.
"""

import gzip
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Id, Utc
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.policy.conditions import whole_days
from lifecycle.policy.evaluate import Decision, Mode
from lifecycle.policy.policy import Policy

LINES = "plan.jsonl.gz"
"""The name of the file of lines."""
_GZIP = b"\x1f\x8b"
_LEVEL = 6
"""Measured on a plan of processes: 43 bytes and 4 µs a line. Level 1: 55 bytes, 1.7 µs. Level 9: 40 bytes, 8.5 µs."""
_BUFFER = 1 << 18

type Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

AGES = ("≤ 7 days", "8–30 days", "31–90 days", "91–365 days", "> 1 year", "unknown")
_AGE_LIMITS = (7, 30, 90, 365)


class _PlanModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RuleTotals(_PlanModel):
    """One rule: how many resources it applies to, and on how many it acts."""

    name: str
    resource: Resource
    action: Action
    irreversible: bool
    considered: int
    due: int


class AgeBar(_PlanModel):
    """How many resources of one kind and status have this age, counted from archiving, completion or creation."""

    resource: Resource
    status: str
    age: str
    things: int
    due: int


class Totals(_PlanModel):
    """The counts. ``seen`` is always ``due + kept + failed``; ``kept_by`` counts the kinds of reasons."""

    seen: int
    due: int
    kept: int
    failed: int
    kept_by: dict[str, int]
    rules: tuple[RuleTotals, ...]
    ages: tuple[AgeBar, ...]


class PlanFooter(Totals):
    """The last line of a plan: the counts and the resulting stops."""

    unseen: tuple[str, ...] = ()
    """The lists that could not be read. A plan with any is incomplete and never applied."""
    stops: tuple[str, ...] = ()
    """Why nobody may apply it."""
    capped: tuple[str, ...] = ()
    """The caps among ``stops``. If there are no other stops, a person may still apply the oldest resources."""
    person: tuple[str, ...] = ()
    """Why only a person may apply it."""


class PlanHeader(_PlanModel):
    """The first line of a plan: the terms of its decisions. All ages are counted at ``made_at``."""

    format: Literal[1] = 1
    org_id: Id
    sweep_id: str
    made_at: Utc
    policy: str
    zone: str
    unseen: tuple[str, ...] = ()
    """The lists that could not be read. A plan with any is incomplete and never applied."""


class Plan(PlanHeader, PlanFooter):
    """The summary. The hash covers all of it but the mode, the organization's name, the notes and the rate."""

    hash: Hash
    mode: Mode
    org_name: str | None = None
    notes: tuple[str, ...] = ()
    per_minute: int
    estimated_minutes: int

    @property
    def can_begin(self) -> bool:
        """Whether only caps stop it, so that a person may apply its oldest resources with ``--first``."""
        return bool(self.capped) and not self.unseen and set(self.stops) == set(self.capped)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of owners and templates by their ids, for people. Without a name here, the id is shown.

    They decide nothing, and the hash does not cover them.
    """

    owners: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource and the decision about it."""

    thing: ResourceSnapshot
    decision: Decision

    def to_line(self) -> str:
        """The entry as one line of JSON, without unknown facts."""
        facts = _THING.dump_python(self.thing, mode="json", exclude_none=True)
        for name in ("owners", "tags"):
            if name in facts:
                facts[name] = sorted(facts[name])
        decided = self.decision
        decision = {"action": decided.action, "kind": decided.kind, "reason": decided.reason, "rule": decided.rule}
        line = json.dumps({**facts, **{name: value for name, value in decision.items() if value}}, ensure_ascii=False)
        # Tallyfy's JSON can contain half a character (a lone surrogate), which UTF-8 cannot. It must not stop a plan.
        return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", line)

    @classmethod
    def parse(cls, line: str | bytes) -> Self:
        """Read a line back. Raises ``ValueError`` if it is not a line of a plan."""
        row = json.loads(line)
        if not isinstance(row, dict):
            msg = "this is not a line of a plan"
            raise ValueError(msg)  # noqa: TRY004 - a line is valid or not, whatever its type
        decision = {
            "action": row.pop("action", None),
            **{name: row.pop(name, "") for name in ("kind", "reason", "rule")},
        }
        return cls(_THING.validate_python(row), _DECISION.validate_python(decision))


_THING: TypeAdapter[ResourceSnapshot] = TypeAdapter(ResourceSnapshot)
_DECISION: TypeAdapter[Decision] = TypeAdapter(Decision)
_HALF = re.compile("[\ud800-\udfff]")


@contextmanager
def open_lines(path: Path) -> Iterator[IO[bytes]]:
    """Read a file of lines, a piece at a time. An uncompressed file works as well.

    Reading raises ``OSError``, ``EOFError`` or ``zlib.error`` if the file is damaged.
    """
    with path.open("rb") as raw:
        if raw.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:
            yield raw
            return
        with gzip.open(raw) as text:
            yield io.BufferedReader(text, _BUFFER)


@contextmanager
def write_lines(path: Path) -> Iterator[gzip.GzipFile]:
    """Write a file of lines. The same lines give the same bytes: neither a name nor a time is stored."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as text:
        yield text


def entry_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines about resources: all but the first and the last one."""
    return (line for line in lines if not line.startswith(_OTHER_LINE))


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The resources of a plan. Raises ``ValueError`` for an invalid line."""
    return (Entry.parse(line) for line in entry_lines(lines))


def header_of(line: bytes) -> PlanHeader:
    """Read the first line. Raises ``ValueError`` if it is not one, or if a newer release wrote it."""
    return PlanHeader.model_validate_json(line)


_OTHER_LINE = b'{"line": '


class LineKind(StrEnum):
    """The first and the last line."""

    HEADER = "header"
    FOOTER = "footer"


def fact_line(thing: ResourceSnapshot) -> str:
    """A resource as one line, without a decision."""
    return Entry(thing, Decision(None, "", "")).to_line()


@dataclass(slots=True)
class PlanWriter:
    """Makes the lines of a plan, counts and hashes them. It keeps no line."""

    header: PlanHeader
    policy: Policy
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _failed: int = 0
    _kept: Counter[str] = field(default_factory=Counter)
    _due: Counter[str] = field(default_factory=Counter)
    _considered: Counter[tuple[Resource, State]] = field(default_factory=Counter)
    _ages: Counter[tuple[Resource, str, int, bool]] = field(default_factory=Counter)

    def begin(self) -> bytes:
        """The first line."""
        return self._line(json.dumps({"line": LineKind.HEADER, **self.header.model_dump(mode="json")}))

    def add(self, entry: Entry) -> bytes:
        """The line of one resource."""
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
        """Count rows of Tallyfy that could not be read at all."""
        self._failed += count

    def end(self, footer: PlanFooter) -> bytes:
        """The last line."""
        return self._line(json.dumps({"line": LineKind.FOOTER, **footer.model_dump(mode="json")}))

    @property
    def digest(self) -> str:
        """The hash of all lines so far: the plan's name, once ``end`` was called."""
        return self._hash.hexdigest()

    def totals(self) -> Totals:
        """The counts so far."""
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
        days = None if since is None else whole_days(since, self.header.made_at, self.policy.zone)
        if days is None or days < 0:
            return len(AGES) - 1
        return next((place for place, limit in enumerate(_AGE_LIMITS) if days <= limit), len(_AGE_LIMITS))

    def _line(self, text: str) -> bytes:
        raw = text.encode() + b"\n"
        self._hash.update(raw)
        return raw
