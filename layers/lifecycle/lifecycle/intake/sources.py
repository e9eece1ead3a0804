"""Who may ask for what, how they prove who they are, what their payloads mean: ``sources.toml``, checked as a whole."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from lifecycle.domain.capabilities import TABLE, Capability, capability
from lifecycle.domain.commands import PLAN, SLACK, SOURCE_PATTERN, SWEEP, UNDO, Id
from lifecycle.domain.config_file import OperatorsFile
from lifecycle.domain.events import OWN_EVENTS
from lifecycle.intake.mapping import CommandRule, Expression
from lifecycle.intake.signatures import HeaderName, Scheme, Signature

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


type Period = Annotated[timedelta, BeforeValidator(_period), Field(le=LONGEST_DELAY)]


class Source(BaseModel):
    """One sender. Its rights are what is listed; an irreversible action needs both its name and the right."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Scheme
    may: frozenset[str] = Field(min_length=1)
    """Capability names, such as ``run.archive``."""
    irreversible: bool = False
    organizations: frozenset[Id] | None = None
    """Narrows the stack's organizations; left out, all of them."""
    signature: Signature | None = None
    """For ``hmac``: how it differs from our own plain one."""
    header: HeaderName | None = None
    """For ``shared-secret``: the header that holds it; left out, it is the last part of the path."""
    event_source: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,256}$")] | None = None
    """For ``eventbridge``: the event's own ``source``."""
    detail_types: frozenset[str] = frozenset()
    """For ``eventbridge``: the detail-types that are meant."""
    account: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")] | None = None
    """For ``eventbridge``: the AWS account that must have sent it. EventBridge sets it; a sender cannot."""
    when: Expression | None = None
    """Only payloads for which this is true; the rest is answered with 200 ``ignored``."""
    after: Period | None = None
    """Carry it out that much later, unless something newer happens to the thing until then."""
    commands: tuple[CommandRule, ...] = ()
    """What a payload becomes; left out, the payload is a command as ours."""

    @model_validator(mode="after")
    def _rights_are_known(self) -> Self:
        unknown = sorted(self.may - _NAMES)
        if unknown:
            msg = f"'may' names what does not exist: {', '.join(unknown)}. Write one of: {', '.join(sorted(_NAMES))}"
            raise ValueError(msg)
        lasting = sorted(c.name for c in TABLE if c.irreversible and c.name in self.may)
        if lasting and not self.irreversible:
            msg = f"{', '.join(lasting)} cannot be taken back: write irreversible = true as well, or leave it out"
            raise ValueError(msg)
        if self.organizations is not None and not self.organizations:
            msg = "'organizations' is empty: name at least one, or leave the line out for all of the stack's"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _parts_fit_the_scheme(self) -> Self:
        for part, scheme in (("signature", Scheme.HMAC), ("header", Scheme.SHARED_SECRET)):
            if getattr(self, part) is not None and self.scheme is not scheme:
                msg = f"'{part}' belongs to the scheme {scheme} only"
                raise ValueError(msg)
        of_events = self.event_source is not None or self.detail_types or self.account is not None
        if of_events and self.scheme is not Scheme.EVENTBRIDGE:
            msg = f"'event_source', 'detail_types' and 'account' belong to the scheme {Scheme.EVENTBRIDGE} only"
            raise ValueError(msg)
        if self.scheme is Scheme.EVENTBRIDGE and not (self.event_source and self.detail_types):
            msg = "an eventbridge source needs 'event_source' and at least one of 'detail_types'"
            raise ValueError(msg)
        if self.event_source == OWN_EVENTS:
            msg = f"'event_source' is {OWN_EVENTS}, our own: what we announce never starts anything"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _lasting_rights_are_proven(self) -> Self:
        if self.irreversible and self.scheme is Scheme.SHARED_SECRET:
            msg = "a shared secret proves nothing about the payload: irreversible actions need a signature"
            raise ValueError(msg)
        if self.irreversible and self.scheme is Scheme.EVENTBRIDGE and self.account is None:
            msg = "an event names its own source: irreversible actions over the bus need 'account'"
            raise ValueError(msg)
        if self.irreversible and self.after is not None:
            msg = "what cannot be taken back is not done later by itself: leave out 'after' or 'irreversible'"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _commands_are_allowed(self) -> Self:
        if self.when is not None and not self.commands:
            msg = "'when' filters what 'commands' translate: declare commands, or leave 'when' out"
            raise ValueError(msg)
        for number, rule in enumerate(self.commands):
            if not self.reaches(rule.org_id):
                msg = f"commands[{number}] names an organization that 'organizations' does not list"
                raise ValueError(msg)
            doing = capability(rule.resource, rule.action)
            named = self.scheme in {Scheme.STANDARD_WEBHOOKS, Scheme.EVENTBRIDGE}
            if rule.delivery is None and not named:
                msg = f"commands[{number}] needs 'delivery': what tells an event from a later one with the same content"
                raise ValueError(msg)
            if not self.allows(doing):
                msg = f"commands[{number}] makes {doing.name}, which 'may' does not list"
                raise ValueError(msg)
        return self

    def allows(self, doing: Capability) -> bool:
        """Whether this source may ask for it."""
        return doing.name in self.may and (self.irreversible or not doing.irreversible)

    def reaches(self, org_id: str) -> bool:
        """Whether this source may ask for things of this organization."""
        return self.organizations is None or org_id in self.organizations

    def sends(self, event_source: object, detail_type: object, account: object) -> bool:
        """Whether an event of EventBridge is this source's."""
        return (
            self.scheme is Scheme.EVENTBRIDGE
            and event_source == self.event_source
            and isinstance(detail_type, str)
            and detail_type in self.detail_types
            and (self.account is None or self.account == account)
        )


class Sources(OperatorsFile):
    """The whole file."""

    file_name = "sources.toml"

    sources: Mapping[Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)], Source]

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        taken = sorted({SWEEP, PLAN, UNDO, SLACK} & set(self.sources))
        if taken:
            msg = f"{', '.join(taken)}: this name is ours; give the source another one"
            raise ValueError(msg)
        return self

    def allow(self, source: str, doing: Capability) -> bool:
        """Whether a source of this name exists and may ask for it."""
        return source in self.sources and self.sources[source].allows(doing)
