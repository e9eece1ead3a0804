"""What a rule can ask of a resource: one class per key of ``when`` and ``unless``.

To add a condition, write its class and name it in ``Conditions``. The policy's checks, the evaluation, ``lifecycle
policy``, ``lifecycle explain`` and the reference use the declared conditions. A condition can only ask for a fact that
Tallyfy's lists show: see ``only_when_read`` in ``lifecycle.domain.kinds``.

Every condition answers yes, no or unknown. The answer is unknown if the fact is missing, unreadable, impossible or in
the future.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Self, override
from unicodedata import normalize
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.commands import Id, ShortLine
from lifecycle.domain.kinds import Fact
from lifecycle.domain.resources import STATUSES, ResourceSnapshot, known_status
from lifecycle.domain.validation import did_you_mean
from lifecycle.holds.rules import alike

type Days = Annotated[int, Field(strict=True, ge=1, le=36500)]
type UserId = Annotated[int, Field(strict=True, ge=1)]

_EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
"""Tallyfy did not exist before this date. An earlier date is a default of some system."""
_EVERY_STATE = frozenset(State)


def not_empty[Several: (tuple[object, ...], frozenset[object])](several: Several) -> Several:
    """Refuse an empty list. ``min_length`` would also report a list with one wrong item as empty."""
    if not several:
        msg = "name at least one, or leave the key out"
        raise ValueError(msg)
    return several


type Some[Item] = Annotated[tuple[Item, ...], AfterValidator(not_empty)]


class Table(BaseModel):
    """A table of the file. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tristate(StrEnum):
    """The answer to one condition."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition, asked of one resource. ``kind`` groups equal answers for a report."""

    answer: Tristate
    kind: str
    seen: str
    """A clause about the resource, such as "it was completed 12 days ago, more than 30 are needed"."""
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What a condition is asked about. If it ``excludes``, text is compared loosely, so that it keeps in doubt."""

    thing: ResourceSnapshot
    zone: ZoneInfo
    now: datetime
    excludes: bool


class Condition[Value](ABC):
    """One key of ``when`` and ``unless``. ``Value`` is the type of its value."""

    needs: ClassVar[Fact]
    """The fact that it checks. It applies to the kinds whose lists show this fact."""
    example: ClassVar[str]
    """A value as a person writes it in the file, such as ``["complete"]``."""
    bounding: ClassVar[bool] = False
    """Whether it can limit a rule that acts. Any other condition can match everything by mistake."""
    states: ClassVar[frozenset[State]] = _EVERY_STATE
    """The states of resources for which the answer can be yes."""
    about_progress: ClassVar[bool] = False
    """Whether it shows if people still work on the resource."""

    def fits(self, resource: Resource) -> bool:
        """Whether it applies to a kind."""
        return resource.lists(self.needs)

    def checked(self, value: Value) -> Value:
        """The value as it is compared. Raises ``ValueError`` for a value that makes no sense."""
        return value

    @abstractmethod
    def check(self, value: Value, asked: Question) -> Check:
        """The answer for one resource."""

    @abstractmethod
    def sentence(self, value: Value, *, excludes: bool) -> str:
        """The condition as a clause, such as "it was completed more than 30 days ago"."""


class StatusIs(Condition[tuple[str, ...]]):
    """Its status is one of these."""

    needs = "status"
    example = '["complete"]'
    about_progress = True

    @override
    def checked(self, value: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple("complete" if word == "completed" else word for word in value)
        wrong = [word for word in plain if word not in STATUSES]
        if wrong:
            msg = f"a status is one of {', '.join(STATUSES)}.{did_you_mean(wrong[0], STATUSES)}"
            raise ValueError(msg)
        return plain

    @override
    def check(self, value: tuple[str, ...], asked: Question) -> Check:
        thing = asked.thing
        if _says_archived(thing):
            # Tallyfy shows this instead of the status. A restore brings the status back.
            return Check(Tristate.UNKNOWN, "no status", "Tallyfy does not say which status it had when it was archived")
        status = known_status(thing.status)
        if status is None:
            return _no_status(thing)
        # Tallyfy's filter for problems also lists resources with an open issue.
        problem = "problem" in value and (status == "issue" or thing.has_open_issue is True)
        return Check(_if(problem or status in value), "status", f"its status is {status}")

    @override
    def sentence(self, value: tuple[str, ...], *, excludes: bool) -> str:
        return f"its status is {listed(value, quoted=False)}"


class Templates(Condition[tuple[str, ...]]):
    """It is one of these templates, or was launched from one."""

    needs = "template_id"
    example = '["0123456789abcdef0123456789abcdef"]'

    @override
    def fits(self, resource: Resource) -> bool:
        return super().fits(resource) or resource is Resource.TEMPLATE

    @override
    def check(self, value: tuple[str, ...], asked: Question) -> Check:
        thing = asked.thing
        own = thing.id if thing.resource is Resource.TEMPLATE else thing.template_id
        if own is None:
            return Check(Tristate.UNKNOWN, "no template", "Tallyfy does not say its template")
        verb = "is" if own in value else "is not"
        return Check(_if(own in value), "template", f"its template {verb} one of those named")

    @override
    def sentence(self, value: tuple[str, ...], *, excludes: bool) -> str:
        return f"its template is {listed(value, quoted=False)}"


class Owners(Condition[tuple[int, ...]]):
    """In `when`: nobody but these users owns it. In `unless`: at least one of these users owns it."""

    needs = "owners"
    example = "[4711]"

    @override
    def check(self, value: tuple[int, ...], asked: Question) -> Check:
        owners = asked.thing.owners
        if owners is None:
            return Check(Tristate.UNKNOWN, "no owner", "Tallyfy does not say who owns it")
        meant = owners & {str(user) for user in value}
        # A rule for one person's resources must not act on resources that somebody else owns too.
        answer = bool(meant) if asked.excludes else bool(owners) and meant == owners
        return Check(_if(answer), "owner", f"it is owned by {', '.join(sorted(owners)) or 'nobody'}")

    @override
    def sentence(self, value: tuple[int, ...], *, excludes: bool) -> str:
        return f"{'one of its owners is' if excludes else 'nobody owns it but'} {listed(value, quoted=False)}"


class Tags(Condition[tuple[str, ...]]):
    """It carries at least one of these tags."""

    needs = "tags"
    example = '["Test"]'

    @override
    def check(self, value: tuple[str, ...], asked: Question) -> Check:
        tags = asked.thing.tags
        if tags is None:
            return Check(Tristate.UNKNOWN, "no tags", "Tallyfy does not show its tags")
        same: Callable[[str], str] = alike if asked.excludes else str
        wanted = {same(word) for word in value}
        carried = sorted(tag for tag in tags if same(tag) in wanted)
        seen = f"it carries the tag '{carried[0]}'" if carried else "it carries none of the tags named"
        return Check(_if(carried), "tags", seen)

    @override
    def sentence(self, value: tuple[str, ...], *, excludes: bool) -> str:
        return f"it carries the tag {listed(value)}"


class Title(Condition[tuple[str, ...]]):
    """Its name fits one of these patterns: ``*`` is any text, ``?`` any character; case does not matter."""

    needs = "name"
    example = '["Copy of *"]'

    @override
    def checked(self, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not pattern.strip("*? ") for pattern in value):
            msg = "a pattern of nothing but wildcards fits every name; write some of the name"
            raise ValueError(msg)
        return value

    @override
    def check(self, value: tuple[str, ...], asked: Question) -> Check:
        name = asked.thing.name
        if name is None:
            return Check(Tristate.UNKNOWN, "no name", "Tallyfy does not say its name")
        fitting = [pattern for pattern in value if _fits(name, pattern)]
        return Check(_if(fitting), "title", f"its name fits '{fitting[0]}'" if fitting else "its name does not fit")

    @override
    def sentence(self, value: tuple[str, ...], *, excludes: bool) -> str:
        return f"its name fits {listed(value)}"


class CompletedDays(Condition[int]):
    """It was completed more than so many days ago, and is still complete."""

    needs = "completed_at"
    example = "30"
    bounding = True
    about_progress = True

    @override
    def check(self, value: int, asked: Question) -> Check:
        thing = asked.thing
        status = known_status(thing.status)
        archived = thing.state is State.ARCHIVED
        if status is None and not (archived and _says_archived(thing)):
            return _no_status(thing)
        if status != "complete" and not archived:
            # Somebody reopened it; Tallyfy keeps the completion date.
            return Check(Tristate.NO, "not complete", f"it is not complete (status: {status})")
        return _age(asked, "completed", thing.completed_at, value, after=(thing.created_at,))

    @override
    def sentence(self, value: int, *, excludes: bool) -> str:
        return f"it was completed {days_ago(value)}"


class CreatedDays(Condition[int]):
    """It was created more than so many days ago."""

    needs = "created_at"
    example = "30"
    bounding = True

    @override
    def check(self, value: int, asked: Question) -> Check:
        return _age(asked, "created", asked.thing.created_at, value)

    @override
    def sentence(self, value: int, *, excludes: bool) -> str:
        return f"it was created {days_ago(value)}"


class ArchivedDays(Condition[int]):
    """It was archived more than so many days ago."""

    needs = "archived_at"
    example = "30"
    bounding = True
    states = _EVERY_STATE - {State.ACTIVE}

    @override
    def check(self, value: int, asked: Question) -> Check:
        thing = asked.thing
        if thing.state is State.ACTIVE:
            return Check(Tristate.NO, "not archived", "it is not archived")
        # A process that was archived while active has no completion date.
        after = (thing.created_at, thing.completed_at or thing.created_at)
        return _age(asked, "archived", thing.archived_at, value, after=after)

    @override
    def sentence(self, value: int, *, excludes: bool) -> str:
        return f"it was archived {days_ago(value)}"


class StalledDays(Condition[int]):
    """It is neither complete nor archived, and nobody touched it for more than so many days."""

    needs = "last_updated"
    example = "30"
    bounding = True
    about_progress = True
    states = frozenset({State.ACTIVE})

    @override
    def check(self, value: int, asked: Question) -> Check:
        thing = asked.thing
        if thing.state is not State.ACTIVE:
            # An archived process does not show whether it was complete.
            return Check(Tristate.NO, "not stalled", f"it is {thing.state}, not stalled")
        status = known_status(thing.status)
        if status is None:
            return _no_status(thing)
        if status == "complete":
            return Check(Tristate.NO, "not stalled", "it is complete, not stalled")
        return _age(asked, "last touched", thing.last_updated, value, after=(thing.created_at,))

    @override
    def sentence(self, value: int, *, excludes: bool) -> str:
        return f"it is not complete, and was last touched {days_ago(value)}"


class Unused(Condition[bool]):
    """No template and no process carries the tag, archived ones included."""

    needs = "uses"
    example = "true"
    bounding = True

    @override
    def checked(self, value: bool) -> bool:
        if not value:
            msg = "write unused = true, or leave the key out"
            raise ValueError(msg)
        return value

    @override
    def check(self, value: bool, asked: Question) -> Check:
        uses = asked.thing.uses
        if uses is None:
            return Check(Tristate.UNKNOWN, "use unknown", "Tallyfy does not say what carries it")
        return Check(_if(uses == 0), "in use", f"{uses or 'no'} templates or processes carry it")

    @override
    def sentence(self, value: bool, *, excludes: bool) -> str:
        return "no template and no process carries it"


class Conditions(Table):
    """The table ``when`` or ``unless`` of a rule. Days are calendar days in the policy's zone, *more than* that number.

    Each field declares its key, the type of its value, and its condition.
    """

    status: Annotated[Some[str] | None, StatusIs()] = None
    templates: Annotated[Some[Id] | None, Templates()] = None
    owners: Annotated[Some[UserId] | None, Owners()] = None
    tags: Annotated[Some[ShortLine] | None, Tags()] = None
    title: Annotated[Some[ShortLine] | None, Title()] = None
    completed_days: Annotated[Days | None, CompletedDays()] = None
    created_days: Annotated[Days | None, CreatedDays()] = None
    archived_days: Annotated[Days | None, ArchivedDays()] = None
    stalled_days: Annotated[Days | None, StalledDays()] = None
    unused: Annotated[Annotated[bool, Field(strict=True)] | None, Unused()] = None

    @property
    def named(self) -> tuple[str, ...]:
        """The keys that were written, in the order of this class."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    def checks(self, asked: Question) -> Iterator[Check]:
        """The answer to each condition that was written."""
        for name in self.named:
            found = CONDITIONS[name].check(getattr(self, name), asked)
            yield Check(found.answer, found.kind, found.seen, name)

    def sentence(self, name: str, *, excludes: bool) -> str:
        """One condition that was written, as a clause."""
        return CONDITIONS[name].sentence(getattr(self, name), excludes=excludes)

    @field_validator("*")
    @classmethod
    def _checked(cls, value: object, info: ValidationInfo) -> object:
        return value if value is None or info.field_name is None else CONDITIONS[info.field_name].checked(value)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.named:
            msg = f"name at least one condition: {', '.join(type(self).model_fields)}"
            raise ValueError(msg)
        return self


def _declared() -> Iterator[tuple[str, Condition[Any]]]:
    for name, field in Conditions.model_fields.items():
        yield name, next(found for found in field.metadata if isinstance(found, Condition))


CONDITIONS: Mapping[str, Condition[Any]] = dict(_declared())
"""Every condition, by its key."""


def whole_days(since: datetime, now: datetime, zone: ZoneInfo) -> int | None:
    """Calendar days in ``zone`` between two times; ``None`` if the zone has no such date."""
    try:
        return (now.astimezone(zone).date() - since.astimezone(zone).date()).days
    except OverflowError:
        # Some systems write "never" as the first hours of year 1, which have no date west of Greenwich.
        return None


def listed(values: Iterable[object], *, quoted: bool = True) -> str:
    """Alternatives, such as "'a' or 'b'"."""
    return " or ".join(f"'{value}'" if quoted else str(value) for value in values)


def days_ago(days: int) -> str:
    """The number of days of a rule as text, such as "more than 30 days ago"."""
    return f"more than {days} {'day' if days == 1 else 'days'} ago"


def _age(
    asked: Question, what: str, moment: datetime | None, wanted: int, *, after: tuple[datetime | None, ...] = ()
) -> Check:
    """Whether ``moment`` is more than ``wanted`` days ago. All of ``after`` must be known, and none may be later."""
    if moment is None:
        return Check(Tristate.UNKNOWN, "no date", f"Tallyfy does not say when it was {what}")
    if moment > asked.now:
        return Check(Tristate.UNKNOWN, "future date", f"it was {what} in the future")
    if moment < _EARLIEST or any(earlier is not None and moment < earlier for earlier in after):
        return Check(Tristate.UNKNOWN, "odd date", f"it was {what} before it can have been")
    if None in after:
        return Check(Tristate.UNKNOWN, "no date", f"it was {what}, but Tallyfy does not say when it was created")
    days = whole_days(moment, asked.now, asked.zone)
    if days is None:
        return Check(Tristate.UNKNOWN, "no date", f"when it was {what} has no date in {asked.zone}")
    seen = f"it was {what} {days} {'day' if days == 1 else 'days'} ago"
    if days > wanted:
        return Check(Tristate.YES, "age", f"{seen}, more than {wanted}")
    return Check(Tristate.NO, "too young", f"{seen}; more than {wanted} are needed")


def _fits(name: str, pattern: str) -> bool:
    """Match brackets literally: "[Test] *" must not match every name that begins with T, e, s or t."""
    name, literal = normalize("NFC", name), normalize("NFC", pattern).replace("[", "[[]")
    # Case folding turns "ß" into two letters, which "?" does not match, so the unfolded name is tried too.
    return any(fnmatchcase(fold(name), fold(literal)) for fold in (str.casefold, str.lower))


def _if(holds: object) -> Tristate:
    return Tristate.YES if holds else Tristate.NO


def _says_archived(thing: ResourceSnapshot) -> bool:
    return (thing.status or "").strip().lower() == State.ARCHIVED


def _no_status(thing: ResourceSnapshot) -> Check:
    """The answer to a missing or unknown status."""
    if not (thing.status or "").strip():
        return Check(Tristate.UNKNOWN, "no status", "Tallyfy does not say its status")
    return Check(Tristate.UNKNOWN, "unknown status", "its status is a word that this release does not know")
