"""Who may do what from a chat tool: ``people.toml``, checked as a whole."""

import tomllib
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lifecycle.words.capabilities import TABLE, Capability
from lifecycle.words.commands import Id, describe
from lifecycle.words.errors import Code, Rejected

_REVERSIBLE = frozenset(c.name for c in TABLE if not c.irreversible)


class Person(BaseModel):
    """One person. What cannot be taken back is never asked for from a chat line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slack: Annotated[str, StringConstraints(pattern=r"^T[A-Z0-9]{2,20}/[UW][A-Z0-9]{2,20}$")]
    """Workspace and user, such as ``T012ABCDE/U034FGHIJ``: a user id alone is not unique between workspaces."""
    may: frozenset[str] = Field(min_length=1)
    organization: Id | None = None
    """Whose things are meant; left out, the stack's only organization."""

    @model_validator(mode="after")
    def _only_what_can_be_undone(self) -> Self:
        wrong = sorted(self.may - _REVERSIBLE)
        if wrong:
            msg = f"'may' may hold {', '.join(sorted(_REVERSIBLE))}, not {', '.join(wrong)}"
            raise ValueError(msg)
        return self

    def allows(self, doing: Capability) -> bool:
        """Whether this person may ask for it."""
        return doing.name in self.may


class People(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    people: Mapping[Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")], Person]

    @model_validator(mode="after")
    def _nobody_twice(self) -> Self:
        users = [person.slack for person in self.people.values()]
        if len(set(users)) != len(users):
            msg = "two people have the same slack user"
            raise ValueError(msg)
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the TOML, or raise ``Rejected`` saying which key is wrong and what to write instead."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise Rejected(Code.CONFIGURATION, f"people.toml is not TOML: {error}") from None
        except ValidationError as error:
            raise Rejected(Code.CONFIGURATION, f"people.toml: {describe(error)}") from None

    def find(self, team: str, user: str) -> tuple[str, Person] | None:
        """The person behind a Slack user, with their name here."""
        return next(((n, p) for n, p in self.people.items() if p.slack == f"{team}/{user}"), None)
