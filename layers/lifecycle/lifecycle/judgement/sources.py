"""Who may ask for what: the declarations of ``sources.toml``, checked as a whole."""

import tomllib
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lifecycle.judgement.signatures import Scheme
from lifecycle.words.capabilities import TABLE, Capability
from lifecycle.words.commands import SOURCE_PATTERN, Id, describe
from lifecycle.words.errors import Code, Rejected

_NAMES = frozenset(c.name for c in TABLE)


class Source(BaseModel):
    """One sender. Its rights are what is listed; an irreversible action needs both its name and the right."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Scheme
    may: frozenset[str] = Field(min_length=1)
    """Capability names, such as ``run.archive``."""
    irreversible: bool = False
    organizations: frozenset[Id] | None = None
    """Narrows the stack's organizations; left out, all of them."""

    @model_validator(mode="after")
    def _known_and_consistent(self) -> Self:
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

    def allows(self, doing: Capability) -> bool:
        """Whether this source may ask for it."""
        return doing.name in self.may and (self.irreversible or not doing.irreversible)

    def reaches(self, org_id: str) -> bool:
        """Whether this source may ask for things of this organization."""
        return self.organizations is None or org_id in self.organizations


class Sources(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: Mapping[Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)], Source]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the TOML, or raise ``Rejected`` saying which key is wrong and what to write instead."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise Rejected(Code.CONFIGURATION, f"sources.toml is not TOML: {error}") from None
        except ValidationError as error:
            raise Rejected(Code.CONFIGURATION, f"sources.toml: {describe(error)}") from None

    def allow(self, source: str, doing: Capability) -> bool:
        """Whether a source of this name exists and may ask for it."""
        return source in self.sources and self.sources[source].allows(doing)
