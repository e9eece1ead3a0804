"""The rules of a sweep: ``policy.toml``, checked as a whole.

An empty, blank, misspelt or misplaced value is an error that names the key. No value, and no missing value, ever means
"everything".
"""

import hashlib
import json
import re
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, field_validator, model_validator

from lifecycle.domain.capabilities import Action, Capability, State, capability
from lifecycle.domain.commands import Kind, ShortLine
from lifecycle.domain.config_file import OperatorsFile
from lifecycle.policy.conditions import CONDITIONS, Conditions, Some, Table, not_empty

type Count = Annotated[int, Field(strict=True, ge=1)]
type Percent = Annotated[int, Field(strict=True, ge=1, le=100)]


def _rule_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,47}", name):
        msg = "a rule's name is up to 48 characters of a-z, 0-9 and -"
        raise ValueError(msg)
    return name


type RuleName = Annotated[str, AfterValidator(_rule_name)]

_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""Names of zones that depend on the machine or mean none."""
_BOUNDING = tuple(key for key, condition in CONDITIONS.items() if condition.bounding)
"""A rule that acts needs one of these."""
_FEW = 10
"""Up to this number, percent caps do not apply: one of three resources is already a third."""


class Doing(StrEnum):
    """The action of a rule on a resource that fits it."""

    KEEP = "keep"
    ARCHIVE = "archive"
    DELETE = "delete"


class Audience(StrEnum):
    """The people who are warned before a rule acts."""

    OWNER = "owner"
    """Each owner of a process, each assignee of a task: a message of their own in the channel for warnings."""
    CHANNEL = "channel"
    """Everybody in the channel for warnings, which notices.toml names."""


class Caps(Table):
    """The most that a rule may act on. If there is more, the whole plan stops."""

    count: Count | None = None
    percent: Percent | None = None
    """Of the resources of its kind and state that were seen."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.count is None and self.percent is None:
            msg = "name count, percent or both"
            raise ValueError(msg)
        return self


class PlanCaps(Table):
    """The caps of a whole plan. Their defaults apply if the file does not set them."""

    count: Count = 1000
    percent: Percent = 30
    few: Annotated[int, Field(strict=True, ge=0)] = _FEW
    """Up to this number, the percent cap does not apply. If the file sets ``percent`` and not this key, it applies from
    the first resource."""

    @model_validator(mode="before")
    @classmethod
    def _written_binds(cls, said: object) -> object:
        return {"few": 0, **said} if isinstance(said, dict) and "percent" in said else said


class Rule(Table):
    """One rule. ``when``: all conditions must hold. ``unless``: one that holds or is unknown keeps the resource."""

    name: RuleName
    resource: Kind
    action: Doing
    irreversible: Annotated[bool, Field(strict=True)] = False
    when: Conditions
    unless: Conditions | None = None
    caps: Caps | None = None
    warn_days: Annotated[int, Field(strict=True, ge=1, le=365)] | None = None
    """People are warned of a resource at least this many days before the rule acts on it (``policy.warnings``)."""
    warn: Annotated[frozenset[Audience], AfterValidator(not_empty)] | None = None

    @property
    def capability(self) -> Capability:
        """The capability that this rule needs; ``None`` for a rule that keeps."""
        return capability(self.resource, Action(self.action.value))

    @property
    def takes_running(self) -> bool:
        """Whether it archives resources that people may still work on, because no condition is about progress."""
        asked = any(CONDITIONS[key].about_progress for key in self.when.named)
        return self.action is Doing.ARCHIVE and self.resource.shows("status") and not asked

    @property
    def considers(self) -> State:
        """The state of the resources that it considers."""
        return State.ARCHIVED if self.capability.archived_first else State.ACTIVE

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self._fits_its_kind()
        if self.action is Doing.KEEP:
            if self.irreversible or self.unless or self.caps or self.warn or self.warn_days:
                msg = "a rule that keeps has none of irreversible, unless, caps, warn_days, warn: write a second rule"
                raise ValueError(msg)
            return self
        if (self.warn is None) != (self.warn_days is None):
            msg = 'warn_days and warn go together, such as warn_days = 7 and warn = ["owner", "channel"]'
            raise ValueError(msg)
        if not set(self.when.named) & set(_BOUNDING):
            msg = f"a rule that acts needs one of {', '.join(_BOUNDING)} in 'when'"
            raise ValueError(msg)
        never = [key for key in self._asked if self.considers not in CONDITIONS[key].states]
        if never:
            msg = f"{self.capability.name} is for {self.considers} things, which have no {', '.join(never)}"
            raise ValueError(msg)
        if self.considers is State.ARCHIVED and self.when.archived_days is None:
            msg = f"{self.capability.name} is for archived things: write archived_days in 'when'"
            raise ValueError(msg)
        if self.capability.irreversible and not self.irreversible:
            msg = f"{self.capability.name} cannot be undone: write irreversible = true if that is intended"
            raise ValueError(msg)
        if self.irreversible and not self.capability.irreversible:
            msg = f"{self.capability.name} can be undone: leave irreversible out"
            raise ValueError(msg)
        return self

    @property
    def _asked(self) -> tuple[str, ...]:
        """The keys in ``when`` and ``unless``."""
        return (*self.when.named, *(self.unless.named if self.unless else ()))

    def _fits_its_kind(self) -> None:
        wrong = [key for key in self._asked if not CONDITIONS[key].fits(self.resource)]
        if wrong:
            msg = f"{', '.join(wrong)} cannot be asked of a {self.resource.label}"
            raise ValueError(msg)


class Policy(OperatorsFile):
    """The whole file. Rules that keep come first; of the others the first that fits decides."""

    file_name = "policy.toml"

    zone: ZoneInfo
    hold_tags: Annotated[frozenset[ShortLine], AfterValidator(not_empty)] | None = None
    caps: PlanCaps = PlanCaps()
    growth_percent: Annotated[int, Field(strict=True, ge=1, le=1000)] = 50
    """How much a plan may grow after a change of the policy before a person must apply it."""
    rules: Some[Rule]

    @field_validator("zone", mode="before")
    @classmethod
    def _known_zone(cls, name: object) -> object:
        msg = "write the name of a time zone, such as Europe/Berlin"
        if isinstance(name, ZoneInfo):
            return name
        if not isinstance(name, str):
            raise ValueError(msg)  # noqa: TRY004 - only a ValueError becomes a problem of this key
        if name in _NO_ZONES:
            raise ValueError(msg)
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # "Europe" is a folder of zones, not a zone.
            raise ValueError(msg) from None

    @property
    def acting(self) -> tuple[Rule, ...]:
        """The rules that act, in order."""
        return tuple(rule for rule in self.rules if rule.action is not Doing.KEEP)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about rules that are allowed but seldom intended, as sentences."""
        return tuple(
            f"Rule '{rule.name}' archives a {rule.resource.label} although people may still work on it. "
            'Write status = ["complete"] if only finished ones are meant.'
            for rule in self.acting
            if rule.takes_running
        )

    @property
    def keeping(self) -> tuple[Rule, ...]:
        """The rules that keep."""
        return tuple(rule for rule in self.rules if rule.action is Doing.KEEP)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, independent of its layout."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The content as canonical JSON, which ``from_json`` reads."""
        said = self.model_dump(mode="json", exclude_none=True)
        if self.hold_tags is not None:
            said["hold_tags"] = sorted(self.hold_tags)
        for rule in said["rules"]:
            if "warn" in rule:
                rule["warn"] = sorted(rule["warn"])
        return json.dumps(said, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read JSON of ``to_json``. Raises ``ValueError`` if this release does not understand it."""
        return cls.model_validate_json(text)

    def allows(self, doing: Capability) -> bool:
        """Whether a rule needs this capability. Applying a plan gives no more rights than its policy."""
        return any(rule.capability is doing for rule in self.acting)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"two rules are called {', '.join(twice)}"
            raise ValueError(msg)
        return self
