"""Who may do what from a chat tool: ``people.toml``, checked as a whole."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lifecycle.judgement.toml import OperatorsFile
from lifecycle.words.capabilities import TABLE, Capability
from lifecycle.words.commands import Id

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


class People(OperatorsFile):
    """The whole file."""

    file_name = "people.toml"

    people: Mapping[Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")], Person]

    @model_validator(mode="after")
    def _nobody_twice(self) -> Self:
        users = [person.slack for person in self.people.values()]
        if len(set(users)) != len(users):
            msg = "two people have the same slack user"
            raise ValueError(msg)
        return self

    def find(self, team: str, user: str) -> tuple[str, Person] | None:
        """The person behind a Slack user, with their name here."""
        return next(((n, p) for n, p in self.people.items() if p.slack == f"{team}/{user}"), None)
