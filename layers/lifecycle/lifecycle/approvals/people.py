"""The people in ``people.toml`` and their rights.

A channel proves who a person is: a chat tool vouches for its user, and API Gateway authenticates the AWS identity. A
tool that proves no person (``lifecycle.domain.chat_tools``) lets people request what is reversible, and counts for no
approval.

A name in a payload proves nothing. Nor does the name of a role's session if the user of the role chooses it
(AssumeRole, ``RoleSessionName``): one person could ask under one name and approve under another.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model, model_validator

from lifecycle.domain.capabilities import PERMANENT, TABLE, Capability
from lifecycle.domain.chat_tools import CHAT_TOOLS, ChatToolFacts
from lifecycle.domain.commands import SOURCE_PATTERN, Id
from lifecycle.domain.config_file import OperatorsFile
from lifecycle.domain.validation import did_you_mean

_REVERSIBLE = frozenset(c.name for c in TABLE if not c.irreversible)
_IRREVERSIBLE = frozenset(c.name for c in TABLE if c.irreversible)
_PERMANENT = frozenset(c.name for c in PERMANENT)

_IDENTITY_CENTER = "AWSReservedSSO_"
"""The prefix of the roles that Identity Center makes, one for each permission set and account."""

_ARN = r"^arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:[A-Za-z0-9+=,.@_/-]+$"
_ROLE_NAME = r"^[A-Za-z0-9_+=,.@-]{1,64}$"

type Several = Annotated[int, Field(strict=True, ge=1, le=10)]


class _PersonFields(BaseModel):
    """One person. Their identity in each chat tool is added below, by ``CHAT_TOOLS``."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # ``People`` builds what it needs.

    iam: Annotated[str, StringConstraints(pattern=_ARN)] | None = None
    """The whole ARN, a user's or a session's (``arn:aws:sts::…:assumed-role/<role>/ada``). See ``People.is_proven``."""
    may: Annotated[frozenset[str], Field(min_length=1)] | None = None
    asks: Annotated[frozenset[str], Field(min_length=1)] | None = None
    """Which permanent deletes this person may ask for. It happens only once others have approved it."""
    approves: Annotated[frozenset[str], Field(min_length=1)] | None = None
    """What this person may approve if somebody else requests it."""
    tallyfy: Annotated[int, Field(strict=True, ge=1)] | None = None
    """The number of this user in Tallyfy: warnings about what they own name them."""
    organization: Id | None = None
    """The organizations of this person; by default, the only organization of the stack."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.iam is None and not any(self.known_in(tool) for tool in CHAT_TOOLS):
            msg = f"write how this person is identified: {', '.join(CHAT_TOOLS)}, iam or several of them"
            raise ValueError(msg)
        if self.iam is not None and not self.iam.partition("::")[2].partition(":")[2].startswith(
            ("user/", "assumed-role/")
        ):
            msg = "iam must be the ARN of a user, or of a session of a role: …:assumed-role/<role>/<session>"
            raise ValueError(msg)
        if not self.may and not self.approves and not self.asks:
            msg = "write what this person may do (may), request (asks) or approve (approves)"
            raise ValueError(msg)
        rights = (
            ("may", self.may, _REVERSIBLE),
            ("asks", self.asks, _PERMANENT),
            ("approves", self.approves, _IRREVERSIBLE),
        )
        for key, named, known in rights:
            wrong = sorted((named or set()) - known)
            if wrong:
                near = did_you_mean(wrong[0], known)
                msg = f"'{key}' may hold {', '.join(sorted(known))}, not {', '.join(wrong)}.{near}"
                raise ValueError(msg)
        return self

    def known_in(self, tool: str) -> str | None:
        """The identity of this person in a chat tool; ``None`` if they have none there."""
        found: str | None = getattr(self, tool)
        return found

    def seen_through(self, tool: ChatToolFacts) -> Self:
        """This person, with only the rights that they have in a chat tool."""
        return self if tool.proves_person else self.model_copy(update={"asks": None, "approves": None})

    @property
    def identities(self) -> frozenset[str]:
        """The identities by channel, such as ``iam:arn:…`` and ``slack:T012ABCDE/U034FGHIJ``."""
        known = {"iam": self.iam} | {tool: self.known_in(tool) for tool in CHAT_TOOLS}
        return frozenset(f"{channel}:{identity}" for channel, identity in known.items() if identity is not None)

    def allows(self, doing: Capability) -> bool:
        """Whether this person may use this capability; for a permanent delete, whether they may request one."""
        return doing.name in ((self.asks if doing.permanent else self.may) or ())

    def keeps(self, resource: str) -> bool:
        """Whether this person may put resources of a kind on hold: any right on that kind is enough."""
        named = (self.may or frozenset()) | (self.asks or frozenset()) | (self.approves or frozenset())
        return any(name.partition(".")[0] == resource for name in named)

    def approves_of(self, doings: frozenset[Capability], org_id: str) -> bool:
        """Whether this person may approve all of these capabilities in that organization."""
        here = self.organization is None or self.organization == org_id
        return here and bool(doings) and {doing.name for doing in doings} <= (self.approves or set())


if TYPE_CHECKING:

    class Person(_PersonFields):
        """One person. In each chat tool of ``CHAT_TOOLS`` they may have a name, see ``known_in``."""
else:
    _names: dict[str, Any] = {
        tool.name: (Annotated[str, StringConstraints(pattern=tool.identity)] | None, None)
        for tool in CHAT_TOOLS.values()
    }
    Person = create_model("Person", __base__=_PersonFields, __module__=__name__, **_names)


class Role(BaseModel):
    """What the file says about an IAM role."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    session_name_fixed: Annotated[bool, Field(strict=True)]
    """Whether its trust policy allows each user only their own session name (``sts:RoleSessionName``)."""


class ApprovalTerms(BaseModel):
    """How many people must approve, and after how many hours a request expires."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    single: Several = 1
    """Approvals that one permanent delete needs."""
    plan: Several = 2
    """Approvals that the irreversible part of a plan needs."""
    hours: Annotated[int, Field(strict=True, ge=1, le=720)] = 72

    @property
    def least(self) -> Mapping[str, int]:
        """The least number of approvals, by the subject of a request (``rules.About``)."""
        return {"command": self.single, "plan": self.plan}


class People(OperatorsFile):
    """The whole file."""

    file_name = "people.toml"
    pattern_texts: ClassVar[Mapping[str, str]] = {
        **{
            tool.identity: f"must name a person in {tool.label}, such as {tool.example}" for tool in CHAT_TOOLS.values()
        },
        _ARN: "must be the whole ARN that `aws sts get-caller-identity` shows",
        _ROLE_NAME: "must be the name of an IAM role, not its ARN",
    }

    approvals: ApprovalTerms = ApprovalTerms()
    roles: Mapping[Annotated[str, StringConstraints(pattern=_ROLE_NAME)], Role] = {}
    """IAM roles by their name."""
    people: Mapping[Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)], Person]

    @model_validator(mode="after")
    def _nobody_twice(self) -> Self:
        for key in (*CHAT_TOOLS, "iam"):
            users = [known for person in self.people.values() if (known := getattr(person, key)) is not None]
            if len(set(users)) != len(users):
                msg = f"two people have the same {key} user"
                raise ValueError(msg)
        return self

    def find(self, tool: str, identities: Iterable[str]) -> tuple[str, Person] | None:
        """The person behind the first of these identities in a chat tool that is known, with their name here."""
        for identity in identities:
            for name, person in self.people.items():
                if identity and person.known_in(tool) == identity:
                    return name, person
        return None

    def anybody_asks(self, tool: ChatToolFacts, doing: Capability) -> bool:
        """Whether anybody may ask for this permanent delete in a chat tool. Nobody may where it proves no person."""
        people = (person for person in self.people.values() if person.known_in(tool.name) is not None)
        return tool.proves_person and any(doing.name in (person.asks or ()) for person in people)

    def find_iam(self, arn: str) -> tuple[str, Person] | None:
        """The person behind an AWS identity, with their name here; ``None`` if the identity proves no person."""
        named = ((n, p) for n, p in self.people.items() if p.iam is not None and p.iam == arn)
        return next(named, None) if self.is_proven(arn) else None

    def is_proven(self, arn: str) -> bool:
        """Whether an ARN proves one person: an IAM user, or a session whose name its user cannot choose.

        Identity Center names sessions after its users; other roles have to be listed under ``roles``.
        """
        kind, _, name = arn.partition("::")[2].partition(":")[2].partition("/")
        role = name.partition("/")[0]
        listed = self.roles.get(role)
        fixed = role.startswith(_IDENTITY_CENTER) or (listed is not None and listed.session_name_fixed)
        return kind == "user" or (kind == "assumed-role" and fixed)

    @property
    def unproven(self) -> tuple[str, ...]:
        """The names of people whose ``iam`` proves no person."""
        return tuple(name for name, one in self.people.items() if one.iam is not None and not self.is_proven(one.iam))

    def is_reachable(self, name: str) -> bool:
        """Whether at least one identity proves who this person is."""
        person = self.people[name]
        proving = (tool.name for tool in CHAT_TOOLS.values() if tool.proves_person)
        return any(map(person.known_in, proving)) or (person.iam is not None and name not in self.unproven)

    def needed(self, people: int, asked_by: str) -> int:
        """How many people must approve. One more if the requester's AWS identity is not in this file.

        Such a requester may be one of the approvers. The same applies to a session whose name its user could choose.
        """
        known = self.name_of(asked_by) in self.people and self.is_proven(asked_by)
        stranger = asked_by.startswith("arn:") and not known
        return people + stranger

    def identities_of(self, text: str) -> tuple[str, ...]:
        """Every identity of the person of this name, see ``name_of``. An unknown ARN is an identity too."""
        person = self.people.get(self.name_of(text))
        own = {f"iam:{text.strip()}"} if text.strip().startswith("arn:") else set()
        return tuple(sorted((person.identities if person else frozenset()) | own))

    def name_of(self, text: str) -> str:
        """The name of a person given by name, ARN or chat identity; for anybody else, the text itself.

        A tool may show a user without the workspace, and mention one as ``<@U034FGHIJ>``.
        """
        plain = text.strip()
        user = plain.removeprefix("<@").partition(">")[0].partition("|")[0]
        for name, person in self.people.items():
            known = [found for tool in CHAT_TOOLS if (found := person.known_in(tool))]
            bare = {found.partition("/")[2] for found in known}
            if plain.casefold() == name or plain in {person.iam, *known} or user in bare:
                return name
        return plain
