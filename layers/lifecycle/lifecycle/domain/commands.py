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
SLACK = "slack"
"""The source of commands from Slack. No sender can have this name."""
LINE_PATTERN = r"^[^\x00-\x1f\x7f]+$"
SOURCE_PATTERN = r"^[a-z0-9][a-z0-9-]{0,47}$"
HASH_PATTERN = r"^[0-9a-f]{64}$"

type Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""A Tallyfy id: 32 lowercase hex characters. Checked before any URL is built, because a suffix such as ``/delete``
behind an id would reach another endpoint."""


def _line(most: int) -> StringConstraints:
    """One line of text without control characters, so that it can be logged and shown as it is."""
    return StringConstraints(min_length=1, max_length=most, pattern=LINE_PATTERN, strip_whitespace=True)


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        # Pydantic turns only a ValueError into a problem of this field.
        msg = "the time lies outside the years 1 to 9999 in UTC"
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
    """What the sender saw. If the resource no longer looks like this, nothing is done."""

    name: ShortLine | None = None
    status: ShortLine | None = None
    completed_at: Utc | None = None
    archived_at: Utc | None = None
    last_updated: Utc | None = None
    tags: Names | None = None
    """Titles of all its tags. What Tallyfy does not show counts as changed, here and for the owners."""
    owners: Names | None = None
    """User ids of all its owners, as text."""

    @model_serializer(mode="wrap")
    def _as_said(self, plain: SerializerFunctionWrapHandler) -> dict[str, object]:
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
    """A process by what people call it: an exact tag, or its exact name among the processes of one template."""

    tag: ShortLine | None = None
    name: ShortLine | None = None
    template: Id | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        check_find(self.tag, self.name, self.template)
        return self


class _Asked(_Strict):
    """What a request and a command have in common: what is to be done, to which thing."""

    action: Action
    resource: Kind
    org_id: Id
    id: Id | None = None
    find: Find | None = None
    if_none: Literal["ignore"] | None = None
    """With ``find``: no thing that fits is nothing to do, instead of a dead letter. Several still are one."""
    expect: Expect | None = None
    if_changed: Literal["ignore"] | None = None
    """With ``expect``: a thing that no longer looks like this is left alone, without a dead letter."""
    allow_in_use: bool = False
    """Delete a tag although processes or templates carry it."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.id is None and self.find is None:
            msg = "say which thing is meant: id, or find"
            raise ValueError(msg)
        if self.find is not None and (not self.resource.kind.findable or self.action is Action.DELETE):
            msg = "find is for archiving and restoring processes; anything else needs an id"
            raise ValueError(msg)
        if self.if_none is not None and self.find is None:
            msg = "if_none goes with find: a thing with an id is always meant"
            raise ValueError(msg)
        if self.if_changed is not None and self.expect is None:
            msg = "if_changed goes with expect: without it, nothing is compared"
            raise ValueError(msg)
        if self.allow_in_use and not self.resource.shows("uses"):
            msg = "allow_in_use is for tags only"
            raise ValueError(msg)
        return self


class CommandRequest(_Asked):
    """What a sender asks for. Unknown fields are refused: a typo never widens an action."""

    reason: Line | None = None
    requested_by: ShortLine | None = None
    not_after: Utc | None = None
    delivery_id: ShortLine | None = None
    """Names this delivery where the signature scheme itself signs no delivery id."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.id is not None and self.find is not None:
            msg = "id and find exclude each other"
            raise ValueError(msg)
        return self

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read JSON, or raise ``Rejected`` naming the fields that are wrong (never their values)."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            raise Rejected(Code.INVALID, describe(error, cls)) from None


class Command(_Asked):
    """The message that the queues carry. ``issued_at`` is our clock at intake; all times are UTC.

    A command with ``find`` gets its ``id`` from the worker, once it has found exactly one thing.
    """

    version: Literal[1] = 1
    requested_by: ShortLine
    source: Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]
    reason: Line
    issued_at: Utc
    not_after: Utc
    intent_id: Annotated[str, StringConstraints(pattern=INTENT_PATTERN)]
    plan: Annotated[str, StringConstraints(pattern=HASH_PATTERN)] | None = None
    """The plan that asks for it: it ends when that is taken back, and what cannot be undone was approved with it."""
    undoes: Annotated[str, StringConstraints(pattern=INTENT_PATTERN)] | None = None
    """The intent that this one takes back."""
    reply_to: Annotated[str, StringConstraints(max_length=500)] | None = None
    """Where a person in a chat tool waits for the result. A secret of that tool: never logged."""

    @property
    def capability(self) -> Capability:
        """What this asks for. Raises ``Rejected`` where no such thing exists."""
        return capability(self.resource, self.action)

    @property
    def meaning(self) -> str:
        """What makes two commands the same: all that was asked, none of the times or names given at intake.

        An undo is the same whoever asks for it: two people may, and it is done once.
        """
        kept = {"action", "resource", "org_id", "reason", "expect", "allow_in_use"}
        kept |= {"requested_by"} if self.undoes is None else set()
        kept.add("id" if self.find is None else "find")
        return json.dumps(self.model_dump(mode="json", include=kept), sort_keys=True)

    @property
    def thing_id(self) -> str:
        """The id of the thing; asked only once it is known."""
        if self.id is None:
            raise Rejected(Code.INVALID, "The thing has not been found yet.")
        return self.id

    def to_json(self) -> str:
        """As ASCII JSON: SQS refuses some characters that a reason may contain."""
        said = self.model_dump(mode="json")
        # Defaults are left out: a worker of the previous release does not know newer fields.
        return json.dumps({name: value for name, value in said.items() if value not in (None, False)})


def one_line(text: str, *, most: int) -> str:
    """The text as one line without control characters, cut off where it is too long."""
    if text and len(text) <= most and text.isprintable() and text[0] != " " != text[-1]:
        return text  # Most texts are one line. Looking at each character costs seven times as much.
    return "".join(c if c.isprintable() else " " for c in text).strip()[:most] or "-"


_UNKNOWN_WORDS = frozenset({"extra_forbidden", "enum", "literal_error"})


def is_of_a_newer_release(error: ValidationError) -> bool:
    """Whether a message is wrong only in fields and words that this release does not know.

    One of another release is never poison: it waits for a worker that knows it.
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
    """Which fields are wrong and why, in one line of ASCII without the values that were sent.

    ``model`` is what the input should be: with it, an unknown field gets the known ones.
    """
    # Only here: what explains errors is not needed at start, and seldom later.
    from lifecycle.domain.validation import MOST, problems  # noqa: PLC0415 - see above

    found = problems(error, patterns=PATTERNS, model=model)[:MOST]
    text = "; ".join(f"{problem.key or 'body'}: {problem.text}"[:200] for problem in found)
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


LONGEST_WAIT = timedelta(days=14)
"""How long a command may wait to be carried out, dead-letter queue included. A sender may only shorten it."""


LONGEST_GRACE = timedelta(days=60)
"""How long a permanent delete may wait for its approval and for the age of what it deletes."""
