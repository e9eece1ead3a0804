"""Who may do what as a person: ``people.toml``, checked as a whole.

A person is known by what a channel proves about them: the Slack user that Slack signs for, the AWS identity that API
Gateway has authenticated. A name in a payload proves nothing. Nor does the name of a role's session where whoever
assumes the role chooses it (AssumeRole, ``RoleSessionName``): one person could ask under one name and approve under
another.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lifecycle.domain.capabilities import TABLE, Capability
from lifecycle.domain.commands import SOURCE_PATTERN, Id
from lifecycle.domain.config_file import OperatorsFile
from lifecycle.domain.validation import did_you_mean

_REVERSIBLE = frozenset(c.name for c in TABLE if not c.irreversible)
_IRREVERSIBLE = frozenset(c.name for c in TABLE if c.irreversible)

_IDENTITY_CENTER = "AWSReservedSSO_"
"""How the names of the roles begin that Identity Center makes, one for each permission set and account."""

_SLACK_USER = r"^T[A-Z0-9]{2,20}/[UW][A-Z0-9]{2,20}$"
_ARN = r"^arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:[A-Za-z0-9+=,.@_/-]+$"
_ROLE_NAME = r"^[A-Za-z0-9_+=,.@-]{1,64}$"

type Several = Annotated[int, Field(strict=True, ge=1, le=10)]


class Person(BaseModel):
    """One person. What cannot be taken back is never asked for from a chat line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slack: Annotated[str, StringConstraints(pattern=_SLACK_USER)] | None = None
    """Workspace and user, such as ``T012ABCDE/U034FGHIJ``: a user id alone is not unique between workspaces."""
    iam: Annotated[str, StringConstraints(pattern=_ARN)] | None = None
    """The whole ARN, a user's or a session's (``arn:aws:sts::…:assumed-role/<role>/ada``). See ``People.is_proven``."""
    may: Annotated[frozenset[str], Field(min_length=1)] | None = None
    approves: Annotated[frozenset[str], Field(min_length=1)] | None = None
    """What this person may approve when somebody else asks for it."""
    organization: Id | None = None
    """Whose things are meant; left out, the stack's only organization."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.slack is None and self.iam is None:
            msg = "say by what this person is known: slack, iam or both"
            raise ValueError(msg)
        if self.iam is not None and not self.iam.partition("::")[2].partition(":")[2].startswith(
            ("user/", "assumed-role/")
        ):
            msg = "iam is the ARN of a user, or of a session of a role: …:assumed-role/<role>/<session>"
            raise ValueError(msg)
        if not self.may and not self.approves:
            msg = "say what this person may ask for (may) or may approve (approves)"
            raise ValueError(msg)
        for key, named, known in (("may", self.may, _REVERSIBLE), ("approves", self.approves, _IRREVERSIBLE)):
            wrong = sorted((named or set()) - known)
            if wrong:
                near = did_you_mean(wrong[0], known)
                msg = f"'{key}' may hold {', '.join(sorted(known))}, not {', '.join(wrong)}.{near}"
                raise ValueError(msg)
        return self

    @property
    def identities(self) -> frozenset[str]:
        """By what channels know them, such as ``iam:arn:…`` and ``slack:T012ABCDE/U034FGHIJ``."""
        known = {"iam": self.iam, "slack": self.slack}
        return frozenset(f"{channel}:{said}" for channel, said in known.items() if said is not None)

    def allows(self, doing: Capability) -> bool:
        """Whether this person may ask for it."""
        return doing.name in (self.may or ())

    def approves_of(self, doings: frozenset[Capability], org_id: str) -> bool:
        """Whether this person may approve all of these in that organization."""
        here = self.organization is None or self.organization == org_id
        return here and bool(doings) and {doing.name for doing in doings} <= (self.approves or set())


class Role(BaseModel):
    """What is known of an IAM role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_name_fixed: Annotated[bool, Field(strict=True)]
    """Whether its trust policy lets nobody choose another session name than their own (``sts:RoleSessionName``)."""


class ApprovalTerms(BaseModel):
    """How many people must approve, and for how many hours they may."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    single: Several = 1
    """Of one permanent delete."""
    plan: Several = 2
    """Of what cannot be undone in a plan."""
    hours: Annotated[int, Field(strict=True, ge=1, le=720)] = 72

    @property
    def least(self) -> Mapping[str, int]:
        """How many people must approve at least, by what a request is about (``approvals.About``)."""
        return {"command": self.single, "plan": self.plan}


class People(OperatorsFile):
    """The whole file."""

    file_name = "people.toml"
    pattern_texts: ClassVar[Mapping[str, str]] = {
        _SLACK_USER: "must be workspace and user, such as T012ABCDE/U034FGHIJ",
        _ARN: "must be the whole ARN that `aws sts get-caller-identity` shows",
        _ROLE_NAME: "must be the name of an IAM role, not its ARN",
    }

    approvals: ApprovalTerms = ApprovalTerms()
    roles: Mapping[Annotated[str, StringConstraints(pattern=_ROLE_NAME)], Role] = {}
    """IAM roles by their name."""
    people: Mapping[Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)], Person]

    @model_validator(mode="after")
    def _nobody_twice(self) -> Self:
        for key in ("slack", "iam"):
            users = [known for person in self.people.values() if (known := getattr(person, key)) is not None]
            if len(set(users)) != len(users):
                msg = f"two people have the same {key} user"
                raise ValueError(msg)
        return self

    def find(self, team: str, user: str) -> tuple[str, Person] | None:
        """The person behind a Slack user, with their name here."""
        return next(((n, p) for n, p in self.people.items() if p.slack == f"{team}/{user}"), None)

    def find_iam(self, arn: str) -> tuple[str, Person] | None:
        """The person behind an AWS identity, with their name here; nobody where the identity proves no person."""
        named = ((n, p) for n, p in self.people.items() if p.iam is not None and p.iam == arn)
        return next(named, None) if self.is_proven(arn) else None

    def is_proven(self, arn: str) -> bool:
        """Whether an ARN proves one person: an IAM user's, or a session's whose name nobody chooses for themselves.

        Identity Center names sessions after its users; other roles have to be listed under ``roles``.
        """
        kind, _, name = arn.partition("::")[2].partition(":")[2].partition("/")
        role = name.partition("/")[0]
        listed = self.roles.get(role)
        fixed = role.startswith(_IDENTITY_CENTER) or (listed is not None and listed.session_name_fixed)
        return kind == "user" or (kind == "assumed-role" and fixed)

    @property
    def unproven(self) -> tuple[str, ...]:
        """Whose ``iam`` proves no person."""
        return tuple(name for name, one in self.people.items() if one.iam is not None and not self.is_proven(one.iam))

    def is_reachable(self, name: str) -> bool:
        """Whether this person is known by anything that proves who they are."""
        return self.people[name].slack is not None or name not in self.unproven

    def needed(self, people: int, asked_by: str) -> int:
        """How many must approve. One more where AWS knows who asked and this file does not: it may be one of them.

        The same holds for a session whose name anybody could have chosen.
        """
        known = self.name_of(asked_by) in self.people and self.is_proven(asked_by)
        stranger = asked_by.startswith("arn:") and not known
        return people + stranger

    def identities_of(self, said: str) -> tuple[str, ...]:
        """Every identity of whoever is called so, see ``name_of``. An ARN counts, whoever it is."""
        person = self.people.get(self.name_of(said))
        own = {f"iam:{said.strip()}"} if said.strip().startswith("arn:") else set()
        return tuple(sorted((person.identities if person else frozenset()) | own))

    def name_of(self, said: str) -> str:
        """One name for whoever is called by their name here, their ARN or their Slack user; else what was said.

        Slack shows a user with or without the workspace, and mentions one as ``<@U034FGHIJ>``.
        """
        plain = said.strip()
        user = plain.removeprefix("<@").partition(">")[0].partition("|")[0]
        for name, person in self.people.items():
            bare = person.slack.partition("/")[2] if person.slack else None
            if plain.casefold() == name or plain in {person.iam, person.slack} or user == bare:
                return name
        return plain
