"""What a sender may ask for (``CommandRequest``) and what the queues carry to the worker (``Command``)."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from lifecycle.domain.capabilities import Action, Capability, Resource, capability
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.intent_ids import INTENT_PATTERN
from lifecycle.domain.kinds import OTHER_NAMES

ID_PATTERN = r"^[0-9a-f]{32}$"
SWEEP = "sweep"
"""The source of commands that a scheduled sweep makes. No sender can have this name."""
PLAN = "plan"
"""The source of commands of a plan that a person applied. No sender can have this name."""
UNDO = "undo"
"""The source of commands that undo an earlier one. No sender can have this name."""
LINE_PATTERN = r"^[^\x00-\x1f\x7f]+$"
SOURCE_PATTERN = r"^[a-z0-9][a-z0-9-]{0,47}$"
HASH_PATTERN = r"^[0-9a-f]{64}$"

type Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""A Tallyfy id: 32 lowercase hex characters. It is checked before any URL is built, because a suffix such as
``/delete`` after an id would reach another endpoint."""


def _line(most: int) -> StringConstraints:
    """One line of text without control characters, so that it can be logged and shown as it is."""
    return StringConstraints(min_length=1, max_length=most, pattern=LINE_PATTERN, strip_whitespace=True)


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        # Pydantic reports only a ValueError as a problem of this field.
        msg = "the time is outside the years 1 to 9999 in UTC"
        raise ValueError(msg) from None


def _kind_name(value: object) -> object:
    return OTHER_NAMES.get(value, value) if isinstance(value, str) else value


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


type Utc = Annotated[AwareDatetime, AfterValidator(_utc)]
type Kind = Annotated[Resource, BeforeValidator(_kind_name)]
type ShortLine = Annotated[str, _line(200)]
type Line = Annotated[str, _line(500)]
type Names = Annotated[tuple[ShortLine, ...], Field(max_length=100), AfterValidator(_in_order)]
"""A set of names, sorted, so that equal sets have equal JSON."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Expect(_Strict):
    """What the sender saw. If the resource looks different now, the command does nothing."""

    name: ShortLine | None = None
    status: ShortLine | None = None
    completed_at: Utc | None = None
    archived_at: Utc | None = None
    last_updated: Utc | None = None
    tags: Names | None = None
    """Titles of all its tags. If Tallyfy does not show the tags, they count as changed; so do the owners."""
    owners: Names | None = None
    """User ids of all its owners, as text."""

    @model_serializer(mode="wrap")
    def _only_mentioned(self, plain: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Keep an expected absence (``"archived_at": null``) apart from a field that was not mentioned."""
        return {name: value for name, value in plain(self).items() if name in self.model_fields_set}

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            msg = "expect needs at least one of: " + ", ".join(type(self).model_fields)
            raise ValueError(msg)
        return self


def check_find(tag: str | None, name: str | None, template: str | None) -> None:
    """Raise ``ValueError`` unless a process is named by a tag, or by its name together with its template."""
    if (tag is None) == (name is None) or (name is None) != (template is None):
        msg = "find needs either tag, or name together with template"
        raise ValueError(msg)


class Find(_Strict):
    """A process by the name that people use: an exact tag, or its exact name among the processes of one template."""

    tag: ShortLine | None = None
    name: ShortLine | None = None
    template: Id | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        check_find(self.tag, self.name, self.template)
        return self


class _Target(_Strict):
    """The fields that a request and a command share: the action and the resource."""

    action: Action
    resource: Kind
    org_id: Id
    id: Id | None = None
    find: Find | None = None
    if_none: Literal["ignore"] | None = None
    """With ``find``: no match ends the command without a dead letter. Several matches are still an error."""
    expect: Expect | None = None
    if_changed: Literal["ignore"] | None = None
    """With ``expect``: if the resource looks different, the command does nothing and writes no dead letter."""
    allow_in_use: bool = False
    """Delete a tag although processes or templates carry it."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.id is None and self.find is None:
            msg = "name the resource: write id or find"
            raise ValueError(msg)
        if self.find is not None and (not self.resource.kind.findable or self.action is Action.DELETE):
            msg = "find is for archiving and restoring processes; anything else needs an id"
            raise ValueError(msg)
        if self.if_none is not None and self.find is None:
            msg = "if_none is allowed only with find"
            raise ValueError(msg)
        if self.if_changed is not None and self.expect is None:
            msg = "if_changed goes with expect: without it, nothing is compared"
            raise ValueError(msg)
        if self.allow_in_use and not self.resource.shows("uses"):
            msg = "allow_in_use is for tags only"
            raise ValueError(msg)
        return self


class CommandRequest(_Target):
    """What a sender asks for. Unknown fields are refused, so a typo never widens an action."""

    reason: Line | None = None
    requested_by: ShortLine | None = None
    not_after: Utc | None = None
    delivery_id: ShortLine | None = None
    """Identifies this delivery if the signature scheme does not sign a delivery id."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.id is not None and self.find is not None:
            msg = "write either id or find, not both"
            raise ValueError(msg)
        return self

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read JSON, or raise ``Rejected`` naming the fields that are wrong (never their values)."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            raise Rejected(Code.INVALID, describe(error, cls)) from None


class Command(_Target):
    """The message that the queues carry. ``issued_at`` is our clock at intake; all times are UTC.

    A command with ``find`` gets its ``id`` from the worker, once it has found exactly one resource.
    """

    version: Literal[1] = 1
    requested_by: ShortLine
    source: Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]
    reason: Line
    issued_at: Utc
    not_after: Utc
    intent_id: Annotated[str, StringConstraints(pattern=INTENT_PATTERN)]
    plan: Annotated[str, StringConstraints(pattern=HASH_PATTERN)] | None = None
    """The hash of its plan. Reverting the plan ends the command. An approval of the plan covers all its commands."""
    undoes: Annotated[str, StringConstraints(pattern=INTENT_PATTERN)] | None = None
    """The intent that this command undoes."""
    reply_to: Annotated[str, StringConstraints(max_length=500)] | None = None
    """Where to reply to a person in a chat tool. The address is a secret, so it is never logged."""

    @property
    def capability(self) -> Capability:
        """What this command asks for. Raises ``Rejected`` if Tallyfy has no such call."""
        return capability(self.resource, self.action)

    @property
    def meaning(self) -> str:
        """JSON that is equal for two commands which ask for the same. Times and ids of intake are left out.

        An undo has the same meaning for every person who asks for it: two people may ask, and it is done once.
        """
        kept = {"action", "resource", "org_id", "reason", "expect", "allow_in_use"}
        kept |= {"requested_by"} if self.undoes is None else set()
        kept.add("id" if self.find is None else "find")
        return json.dumps(self.model_dump(mode="json", include=kept), sort_keys=True)

    @property
    def thing_id(self) -> str:
        """The id of the resource. Raises ``Rejected`` if the worker has not found it yet."""
        if self.id is None:
            raise Rejected(Code.INVALID, "The resource has not been found yet.")
        return self.id

    def to_json(self) -> str:
        """As ASCII JSON: SQS refuses some characters that a reason may contain."""
        fields = self.model_dump(mode="json")
        # Defaults are left out, because a worker of the previous release refuses fields that it does not know.
        return json.dumps({name: value for name, value in fields.items() if value not in (None, False)})


def one_line(text: str, *, most: int) -> str:
    """The text as one line without control characters, cut to at most ``most`` characters."""
    if text and len(text) <= most and text.isprintable() and text[0] != " " != text[-1]:
        return text  # Most texts are one line already. Checking each character costs seven times as much.
    return "".join(c if c.isprintable() else " " for c in text).strip()[:most] or "-"


_UNKNOWN_WORDS = frozenset({"extra_forbidden", "enum", "literal_error"})


def is_of_a_newer_release(error: ValidationError) -> bool:
    """Whether the only problems of a message are fields and values that this release does not know.

    A message of another release is never poison: it waits for a worker that understands it.
    """
    return all(detail["type"] in _UNKNOWN_WORDS for detail in error.errors(include_url=False, include_input=False))


PATTERNS: Mapping[str, str] = {
    ID_PATTERN: "an id is 32 characters of 0-9 and a-f",
    SOURCE_PATTERN: "a name is up to 48 characters of a-z, 0-9 and -, and begins with a letter or digit",
    LINE_PATTERN: "must be one line, without control characters",
    INTENT_PATTERN: "a command id is int_ and 48 characters of 0-9 and a-f",
    HASH_PATTERN: "a hash is 64 characters of 0-9 and a-f",
}
"""What a person reads instead of a regular expression."""


def describe(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Which fields are wrong and why, as one line of ASCII without the values that were sent.

    With ``model``, the model of the input, the text for an unknown field lists the known ones.
    """
    # Imported here: few inputs are wrong, and the import costs time at start.
    from lifecycle.domain.validation import MOST, problems  # noqa: PLC0415 - see above

    found = problems(error, patterns=PATTERNS, model=model)[:MOST]
    text = "; ".join(f"{problem.key or 'body'}: {problem.text}"[:200] for problem in found)
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


LONGEST_WAIT = timedelta(days=14)
"""How long a command stays valid, time in the dead-letter queue included. A sender can only shorten it."""


LONGEST_GRACE = timedelta(days=60)
"""How long a permanent delete may wait for its approval and for the minimum age of the resource."""
