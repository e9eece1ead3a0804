"""Reads ``sources.toml``: who may ask for what, how each sender proves its identity, and what its payloads mean."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from lifecycle.domain.capabilities import TABLE, Capability, Resource, capability
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.commands import PLAN, SOURCE_PATTERN, SWEEP, UNDO, Id
from lifecycle.domain.config_file import OperatorsFile
from lifecycle.domain.validation import did_you_mean
from lifecycle.intake.expressions import Expression, check_begins
from lifecycle.intake.handshakes import Handshake
from lifecycle.intake.mapping import CommandRule
from lifecycle.intake.payload import PayloadEncoding
from lifecycle.intake.schemes import Scheme, build_scheme, scheme_names

LONGEST_DELAY = timedelta(days=366)

_NAMES = frozenset(c.name for c in TABLE)
_PERIOD = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Mapping[str, timedelta] = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def _period(value: object) -> object:
    found = _PERIOD.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        msg = 'write a number and m, h or d, such as "14d"'
        raise ValueError(msg)
    return int(found[1]) * _UNITS[found[2]]


def _as_right(wrong: str) -> str:
    """A right as `may` spells it, where it has a word of `resource`, such as ``process``."""
    word, dot, action = wrong.partition(".")
    return f"{Resource.named(word) or word}{dot}{action}"


def _built(value: object) -> object:
    if isinstance(value, dict):
        return build_scheme(str(value.get("name")), value.get("settings", {}))
    return value


def _with_preset(table: Mapping[str, object]) -> Mapping[str, object]:
    from lifecycle.intake.presets import preset_names, with_preset  # noqa: PLC0415 - only who uses a preset pays

    try:
        return with_preset(table)
    except KeyError:
        known = [*scheme_names(), *preset_names()]
        wrong = str(table["scheme"])
        msg = f"there is no scheme or preset '{wrong}'.{did_you_mean(wrong, known)} Write one of: {', '.join(known)}"
        raise ValueError(msg) from None


type Period = Annotated[timedelta, BeforeValidator(_period), Field(le=LONGEST_DELAY)]


class Source(BaseModel):
    """One sender. It has only the listed rights. An irreversible action needs its name and ``irreversible``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Annotated[InstanceOf[Scheme], BeforeValidator(_built)]
    """How the sender proves its identity, with the settings of that scheme."""
    may: frozenset[str] = Field(min_length=1)
    """Capability names, such as ``run.archive``."""
    irreversible: bool = False
    """Also needed for actions that cannot be undone."""
    organizations: frozenset[Id] | None = None
    """The organizations of the stack that it may act in; by default, all of them."""
    preset: str | None = None
    """The preset that ``scheme`` names; set when the file is read."""
    handshake: Handshake | None = None
    """How it checks the URL before it sends deliveries."""
    acknowledge: Literal["salesforce"] | None = None
    """The answer that it expects to a delivery; ``None`` for the default answer."""
    payload: PayloadEncoding = PayloadEncoding()
    """How it encodes what it sends."""
    when: Expression | None = None
    """Accepts the payloads for which this is true. The others are answered with 200 ``ignored``."""
    after: Period | None = None
    """Carry the command out this much later, unless a newer command concerns the resource by then."""
    commands: tuple[CommandRule, ...] = ()
    """What a payload becomes; by default, the payload is a command in this project's own format."""

    @model_validator(mode="before")
    @classmethod
    def _scheme_takes_its_settings(cls, table: object) -> object:
        """Separate the settings of the scheme, which stand beside the source's own keys in the file."""
        if not isinstance(table, dict) or not isinstance(table.get("scheme"), str):
            return table
        if "preset" in table:
            msg = "preset: this is not a key; write the preset's name as 'scheme'"
            raise ValueError(msg)
        if table["scheme"] not in scheme_names():
            table = _with_preset(table)
        settings = {key: value for key, value in table.items() if key not in cls.model_fields}
        own = {key: value for key, value in table.items() if key in cls.model_fields}
        return {**own, "scheme": {"name": table["scheme"], "settings": settings}}

    @model_serializer(mode="wrap")
    def _as_in_the_file(self, plain: SerializerFunctionWrapHandler) -> dict[str, object]:
        settings = self.scheme.model_dump(mode="json", exclude_defaults=True)
        return {**plain(self), "scheme": self.scheme.name, **settings}

    @model_validator(mode="after")
    def _rights_are_known(self) -> Self:
        unknown = sorted(self.may - _NAMES)
        if unknown:
            near = did_you_mean(_as_right(unknown[0]), _NAMES)
            msg = f"'may' names what does not exist: {', '.join(unknown)}.{near} Allowed: {', '.join(sorted(_NAMES))}"
            raise ValueError(msg)
        lasting = sorted(c.name for c in TABLE if c.irreversible and c.name in self.may)
        if lasting and not self.irreversible:
            msg = f"{', '.join(lasting)} cannot be undone: write irreversible = true as well, or leave it out"
            raise ValueError(msg)
        if self.organizations is not None and not self.organizations:
            msg = "'organizations' is empty: name at least one, or leave the line out for all of the stack's"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _irreversible_rights_are_proven(self) -> Self:
        if self.irreversible and self.scheme.why_not_irreversible:
            raise ValueError(self.scheme.why_not_irreversible)
        if self.irreversible and self.after is not None:
            msg = "an action that cannot be undone cannot be delayed: leave out 'after' or 'irreversible'"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _commands_are_allowed(self) -> Self:
        if self.when is not None and not self.commands:
            msg = "'when' filters what 'commands' translate: declare commands, or leave 'when' out"
            raise ValueError(msg)
        check_begins(self.when or "body", ("body", "headers"))
        for number, rule in enumerate(self.commands):
            if not self.reaches(rule.org_id):
                msg = f"commands[no. {number + 1}] names an organization that 'organizations' does not list"
                raise ValueError(msg)
            doing = capability(rule.resource, rule.action)
            if rule.delivery is None and not self.scheme.names_deliveries:
                msg = (
                    f"commands[no. {number + 1}] needs 'delivery': an expression over the body, such as body.event_id, "
                    "that is the same when an event is sent again and differs for every new event"
                )
                raise ValueError(msg)
            if not self.allows(doing):
                msg = f"commands[no. {number + 1}] makes {doing.name}, which 'may' does not list"
                raise ValueError(msg)
        return self

    def allows(self, doing: Capability) -> bool:
        """Whether this source may ask for it."""
        return doing.name in self.may and (self.irreversible or not doing.irreversible)

    def reaches(self, org_id: str) -> bool:
        """Whether this source may act in this organization."""
        return self.organizations is None or org_id in self.organizations


class Sources(OperatorsFile):
    """The whole file."""

    file_name = "sources.toml"

    sources: Mapping[Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)], Source]

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        taken = sorted(({SWEEP, PLAN, UNDO} | CHAT_TOOLS.keys()) & set(self.sources))
        if taken:
            msg = f"{', '.join(taken)}: this name is reserved; give the source another one"
            raise ValueError(msg)
        return self

    def allow(self, source: str, doing: Capability) -> bool:
        """Whether a source of this name exists and may ask for it."""
        return source in self.sources and self.sources[source].allows(doing)
