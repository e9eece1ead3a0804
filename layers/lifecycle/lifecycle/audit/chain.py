"""The audit trail: what was done, by whom, why and with which outcome, in a chain of segments.

A *record* is one canonical line of JSON. A *segment* is a header and the sorted records of one hour; the header has the
hash of the previous segment. The *head* names the newest segment and its hash. A line begins with its time, so sorted
lines are in the order of events, and a misplaced record is found without parsing. Pure; ``lifecycle.audit.sealer``
writes the segments.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from lifecycle.domain.intent import IntentRow

NOTHING = "0" * 64
"""The hash that the first segment names as the previous one."""
_HOUR = "%Y-%m-%dT%H"


class What(StrEnum):
    """What can be recorded. Values are added and never renamed."""

    INTENT_CONCLUDED = "intent.concluded"
    HOLD_SET = "hold.set"
    HOLD_LIFTED = "hold.lifted"
    PAUSE_SET = "pause.set"
    PAUSE_ENDED = "pause.ended"
    APPROVAL_ASKED = "approval.asked"
    APPROVAL_GIVEN = "approval.given"
    APPROVAL_WITHDRAWN = "approval.withdrawn"
    APPROVAL_REJECTED = "approval.rejected"
    PLAN_MADE = "plan.made"
    PLAN_APPLIED = "plan.applied"
    PLAN_STOPPED = "plan.stopped"
    PLAN_REVERTED = "plan.reverted"
    EXPORT_VERIFIED = "export.verified"
    EXPORT_ERASED = "export.erased"
    UNREADABLE = "record.unreadable"
    """A row that is not a record, which this code never writes. The record has its hash."""


def _line(most: int) -> BeforeValidator:
    def bounded(text: object) -> object:
        if not isinstance(text, str):
            return text
        cut = text[:most]  # Most texts are printable. Looking at each character costs much more.
        return cut.strip() if cut.isprintable() else "".join(c if c.isprintable() else " " for c in cut).strip()

    return BeforeValidator(bounded)


type Short = Annotated[str, _line(200)]
type Long = Annotated[str, _line(500)]


class Record(BaseModel):
    """One recorded change. Long texts are cut; blank fields are left out of the line.

    It says who, what, why and how it ended. Of contents it has only hashes.
    """

    model_config = ConfigDict(
        frozen=True, defer_build=True
    )  # Imported here: most functions import this module and write no record.

    at: int
    """Milliseconds, UTC. The first field: lines are ordered by it."""
    what: Short
    """One of ``What``, or a value of a later release."""
    org_id: Short = ""
    resource: Short = ""
    id: Short = ""
    action: Short = ""
    by: Short = ""
    """Who requested it, decided it or approved it."""
    source: Short = ""
    intent_id: Short = ""
    redrive: int = 0
    """How often an operator had redriven the command."""
    status: Short = ""
    code: Short = ""
    reason: Long = ""
    """Why it ended with this outcome."""
    why: Long = ""
    """Why it was requested, in the words of the requester."""
    rule: Short = ""
    """The rule of the policy that decided it."""
    plan: Short = ""
    """The hash of the plan that it belongs to."""
    asked: Short = ""
    """The hash of the command, with the facts that it was bound to."""
    evidence: Short = ""
    """The hash of its evidence: an answer, the manifest of an export, or the facts that approvers saw."""

    def to_line(self) -> str:
        """Canonical JSON in ASCII, one line without the line break."""
        return json.dumps(self.model_dump(exclude_defaults=True), separators=(",", ":"))

    @classmethod
    def parse(cls, line: str | bytes) -> Self | None:
        """Read a line; ``None`` if it is not a record."""
        try:
            return cls.model_validate_json(line)
        except ValidationError:
            return None


def concluded(intent: IntentRow) -> Record:
    """The record of an intent that has just ended."""
    return Record(
        at=intent.concluded_at,
        what=What.INTENT_CONCLUDED,
        org_id=intent.org_id,
        resource=intent.resource,
        id=intent.id,
        action=intent.action,
        by=intent.requested_by,
        source=intent.source,
        intent_id=intent.intent_id,
        redrive=intent.redrive,
        status=intent.status.value,
        code=intent.code,
        reason=intent.reason,
        why=intent.why,
        asked=digest(intent.meaning),
        evidence=digest(intent.evidence),
    )


def digest(text: str) -> str:
    """SHA-256 in hex; blank for a blank text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() if text else ""


def hour_of(moment: datetime) -> str:
    """The hour of a time, UTC, such as ``2026-08-01T09``. Hours sort as text."""
    return moment.astimezone(UTC).strftime(_HOUR)


def start_of(hour: str) -> datetime:
    """When an hour begins."""
    return datetime.strptime(hour, _HOUR).replace(tzinfo=UTC)


class SegmentHeader(BaseModel):
    """The first line of a segment."""

    model_config = ConfigDict(frozen=True)

    segment: int
    hour: str
    previous: str
    """SHA-256 of the bytes of the previous segment."""
    records: int
    late: int
    """How many of the records belong to the previous hour and arrived after it was sealed."""
    after: str
    """The hour of the previous segment; blank for the first."""

    def to_line(self) -> str:
        """As canonical JSON."""
        return json.dumps(self.model_dump(), separators=(",", ":"))

    @classmethod
    def parse(cls, line: bytes) -> Self | None:
        """Read the first line of a segment; ``None`` if it is not a header."""
        try:
            return cls.model_validate_json(line)
        except ValidationError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the chain ends."""

    segment: int = 0
    sha256: str = NOTHING
    hour: str = ""
    """The number of the newest segment."""
    through: str = ""
    """The newest hour that was sealed or empty; an hour without records makes no segment."""
    pending: str = ""
    """The hour of a segment that is being written; it may exist already."""
    lease_until: int = 0
    """The end of the writer's lease (milliseconds, UTC)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The next segment after a head: the records of an hour and the late records of the previous hour."""

    heading: SegmentHeader
    lines: Sequence[str]

    @classmethod
    def following(cls, head: Head, hour: str, own: Iterable[str], late: Sequence[str]) -> Self:
        """Put the lines in order. The same head and lines always make the same bytes."""
        lines = sorted({*own, *late})
        heading = SegmentHeader(
            segment=head.segment + 1,
            hour=hour,
            previous=head.sha256,
            records=len(lines),
            late=len(late),
            after=head.hour,
        )
        return cls(heading, lines)

    def encoded(self) -> Iterator[bytes]:
        """The bytes of the segment, line by line."""
        yield f"{self.heading.to_line()}\n".encode()
        for line in self.lines:
            yield f"{line}\n".encode()


def key_of(hour: str, segment: int) -> str:
    """The object key of a segment."""
    return f"audit/{start_of(hour):%Y/%m/%d/%H}-{segment}.jsonl"


def segment_in(key: str) -> int:
    """The number of a segment, from its key; 0 if it is not the key of a segment."""
    stem, _, ending = key.rpartition("/")[2].rpartition(".")
    number = stem.rpartition("-")[2]
    return int(number) if ending == "jsonl" and number.isascii() and number.isdigit() else 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a segment that was read: number, header, hash and problem, but not its bytes."""

    number: int
    heading: SegmentHeader | None
    sha256: str
    wrong: str
    """What is wrong with the segment itself; empty if nothing is."""


def verify(segments: Iterable[bytes], head: Head | None, *, gone_before: str = "") -> tuple[str, ...]:
    """One sentence for each break of the chain; empty if it is intact. Segments are read one at a time.

    ``gone_before``: segments of earlier hours may have been removed at the end of their retention.
    """
    head = head or Head()
    found: list[_Found] = []
    for body in segments:
        found.append(_look_at(body, found[-1].number + 1 if found else 1))
    if found and _is_being_written(found[-1], head):
        found.pop()
    if not found and head.hour < gone_before:
        return ()
    return (*_places(found, head, gone_before), *_contents(found, head))


def _look_at(body: bytes, place: int) -> _Found:
    first, *lines = body.split(b"\n")
    heading = SegmentHeader.parse(first)
    sha256 = hashlib.sha256(body).hexdigest()
    if heading is None:
        return _Found(place, None, sha256, "its first line cannot be read")
    return _Found(heading.segment, heading, sha256, _wrong(heading, lines))


def _wrong(heading: SegmentHeader, lines: list[bytes]) -> str:
    if lines[-1:] != [b""]:
        return "it is cut off in the middle"
    lines.pop()
    lost = heading.records - len(lines)
    if lost > 0:
        return f"{_records(lost)} removed: it was sealed with {heading.records}"
    if lost < 0:
        return f"{_records(-lost)} inserted: it was sealed with {heading.records}"
    if any(one >= other for one, other in pairwise(lines)):
        return "its records are not in order"
    return ""


def _records(number: int) -> str:
    return "1 record was" if number == 1 else f"{number} records were"


def _is_being_written(last: _Found, head: Head) -> bool:
    """A segment is written before the head names it."""
    made = last.heading
    if made is None or not head.pending:
        return False
    return (made.segment, made.hour, made.previous) == (head.segment + 1, head.pending, head.sha256)


def _places(found: Sequence[_Found], head: Head, gone_before: str) -> Iterator[str]:
    """Which segments are missing, repeated or in the wrong place."""
    numbers = [one.number for one in found]
    times = Counter(numbers)
    first = 1
    if found and (oldest := found[0].heading) is not None and oldest.after and oldest.after < gone_before:
        first = oldest.segment
    missing = [number for number in range(first, head.segment + 1) if number not in times]
    tail = max([0, *numbers]) + 1
    for begin, end in _runs([number for number in missing if number < tail]):
        yield f"Segment {begin} is missing." if begin == end else f"Segments {begin} to {end} are missing."
    if missing and missing[-1] >= tail:
        yield f"The end is cut off: the last segment there is {tail - 1}, the head names {head.segment}."
    for number, often in sorted(times.items()):
        if often > 1:
            yield f"Segment {number} is there {often} times."
        if number > head.segment:
            yield f"Segment {number} is beyond the head ({head.segment}): it was added, or the head was set back."
    for one, other in pairwise(numbers):
        if one > other:
            yield f"Segment {other} is not in its place: it comes after segment {one}."


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _contents(found: Sequence[_Found], head: Head) -> Iterator[str]:
    """Which segments have another hash than the next segment, or the head, names."""
    named = {one.heading.segment - 1: one.heading.previous for one in found if one.heading is not None}
    by = {number: f"segment {number + 1}" for number in named}
    if head.segment:
        named[head.segment], by[head.segment] = head.sha256, "the head"
    for one in found:
        hour = f" ({one.heading.hour})" if one.heading else ""
        if one.wrong:
            yield f"Segment {one.number}{hour}: {one.wrong}."
        elif one.number in named and named[one.number] != one.sha256:
            yield f"Segment {one.number}{hour} was changed: its hash is not the one that {by[one.number]} names."
        if one.number == 1 and one.heading is not None and one.heading.previous != NOTHING:
            yield "Segment 1 does not begin the chain: it names one before it."
