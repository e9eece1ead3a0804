"""The chain of segments: each change, removal, move or addition is found, with its place."""

import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from lifecycle.audit.chain import (
    NOTHING,
    Head,
    Record,
    Segment,
    SegmentHeader,
    What,
    concluded,
    digest,
    hour_of,
    key_of,
    segment_in,
    start_of,
    verify,
)
from lifecycle.domain.clock import millis
from lifecycle.domain.intent import IntentRow, Status
from tests.harness.builders import NOW, ORG, THING

HOUR = timedelta(hours=1)
MANY = 100_000


def record(number: int, at: int | None = None) -> Record:
    return Record(
        at=millis(NOW) + number if at is None else at,
        what=What.INTENT_CONCLUDED,
        org_id=ORG,
        resource="run",
        id=THING,
        by="Ada",
        intent_id=f"int_{number:048x}",
    )


def chain(*sizes: int) -> tuple[list[bytes], Head]:
    """Segments with the given numbers of records, one for each hour, as the writer makes them."""
    bodies, head = [], Head()
    for number, size in enumerate(sizes):
        begin = millis(NOW + number * HOUR)
        lines = [record(index, begin + index).to_line() for index in range(size)]
        segment = Segment.following(head, hour_of(NOW + number * HOUR), lines, [])
        bodies.append(b"".join(segment.encoded()))
        hour, sha256 = segment.heading.hour, hashlib.sha256(bodies[-1]).hexdigest()
        head = replace(head, segment=segment.heading.segment, sha256=sha256, hour=hour, through=hour)
    return bodies, head


def lines_of(body: bytes) -> list[bytes]:
    return body.splitlines(keepends=True)


def resealed(body: bytes, **changes: object) -> bytes:
    """A segment with another header."""
    first, *rest = lines_of(body)
    heading = {**json.loads(first), **changes}
    return b"".join([json.dumps(heading, separators=(",", ":")).encode() + b"\n", *rest])


# --- records --------------------------------------------------------------------------------------------------------


def test_a_line_is_canonical_begins_with_its_time_and_omits_blank_fields() -> None:
    line = Record(at=1_764_633_600_000, what=What.HOLD_SET, by="Ada", reason="an  audit é").to_line()
    assert line == '{"at":1764633600000,"what":"hold.set","by":"Ada","reason":"an  audit \\u00e9"}'
    assert Record.parse(line) == Record(at=1_764_633_600_000, what="hold.set", by="Ada", reason="an  audit é")


def test_the_order_of_lines_is_the_order_of_events() -> None:
    rng = random.Random(5)
    records = [
        record(rng.randrange(1000), at)
        for at in (1_000_000_000_000, 1_764_633_599_999, 1_764_633_600_000, 9_999_999_999_999)
    ]
    lines = [one.to_line() for one in records]
    assert sorted(random.Random(1).sample(lines, 4)) == lines


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2Jb", "a\u2028b", "a\ud800b", "a\x00b"])
def test_a_record_is_one_line_for_any_text(text: str) -> None:
    line = Record(at=1, what=What.HOLD_SET, by=text, reason=text).to_line()
    assert line.isascii()
    assert line.isprintable()
    parsed = Record.parse(line)
    assert parsed is not None
    assert parsed.reason.startswith("a ")


def test_long_texts_are_cut() -> None:
    names = [name for name in Record.model_fields if name not in {"at", "redrive"}]
    long = Record.model_validate({"at": 1, **dict.fromkeys(names, "é" * 100_000)})
    assert {name for name in names if len(getattr(long, name)) > 200} == {"reason", "why"}
    assert max(len(getattr(long, name)) for name in names) == 500
    assert len(long.to_line()) < 25_000


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"at":"x","what":"y"}', '{"at":1}', b"\xff", '{"at":1,"what":"y"'])
def test_a_line_that_is_not_a_record_is_none(line: str | bytes) -> None:
    assert Record.parse(line) is None


def test_a_record_of_a_later_release_is_read() -> None:
    assert Record.parse('{"at":1,"what":"thing.new","colour":"red"}') == Record(at=1, what="thing.new")


INTENT = IntentRow(
    intent_id="int_" + "a" * 48,
    meaning='{"name": "Payroll of Mr. Secret"}',
    action="archive",
    resource="run",
    org_id=ORG,
    id=THING,
    source="crm",
    requested_by="Ada",
    why="The customer left.",
    issued_at=1,
    status=Status.DONE,
    redrive=2,
    code="acted",
    reason="The process is archived.",
    concluded_at=millis(NOW),
    evidence='{"deleted_references": ["Private"]}',
)


def test_the_record_of_an_outcome_has_who_what_why_how_and_only_hashes_of_contents() -> None:
    made = concluded(INTENT)
    assert made.model_dump(exclude={"asked", "evidence"}, exclude_defaults=True) == {
        "at": millis(NOW),
        "what": "intent.concluded",
        "org_id": ORG,
        "resource": "run",
        "id": THING,
        "action": "archive",
        "by": "Ada",
        "source": "crm",
        "intent_id": INTENT.intent_id,
        "redrive": 2,
        "status": "done",
        "code": "acted",
        "reason": "The process is archived.",
        "why": "The customer left.",
    }
    assert made.asked == hashlib.sha256(INTENT.meaning.encode()).hexdigest()
    assert made.evidence == hashlib.sha256(INTENT.evidence.encode()).hexdigest()
    assert "Secret" not in made.to_line()
    assert "Private" not in made.to_line()
    assert concluded(replace(INTENT, evidence="")).evidence == ""
    assert digest("half a character \ud800") != ""


# --- hours, keys, segments --------------------------------------------------------------------------------------------


def test_hours_are_utc_and_sort_as_text() -> None:
    there = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert hour_of(there) == "2026-02-28T19"
    assert start_of("2026-02-28T19") == datetime(2026, 2, 28, 19, tzinfo=UTC)
    hours = [hour_of(NOW + number * HOUR) for number in range(10_000)]
    assert sorted(hours) == hours


def test_the_key_of_a_segment_has_its_hour_and_number() -> None:
    assert key_of("2026-02-28T09", 17) == "audit/2026/02/28/09-17.jsonl"
    assert segment_in("audit/2026/02/28/09-17.jsonl") == 17
    for other in ("audit/2026/02/28/09-x.jsonl", "audit/2026/02/28/09-17.jsonl.gz", "audit/", "", "a/09-²3.jsonl"):
        assert segment_in(other) == 0


def test_the_first_line_names_the_previous_segment() -> None:
    bodies, head = chain(2, 3)
    first, second = (json.loads(lines_of(body)[0]) for body in bodies)
    hour = hour_of(NOW)
    assert first == {"segment": 1, "hour": hour, "previous": NOTHING, "records": 2, "late": 0, "after": ""}
    sha256 = hashlib.sha256(bodies[0]).hexdigest()
    later = hour_of(NOW + HOUR)
    assert second == {"segment": 2, "hour": later, "previous": sha256, "records": 3, "late": 0, "after": hour}
    assert head.sha256 == hashlib.sha256(bodies[1]).hexdigest()


def test_the_same_head_and_lines_make_the_same_bytes_in_any_order() -> None:
    lines = [record(number).to_line() for number in range(50)]
    shuffled = random.Random(3).sample(lines, 50)
    one, other = (b"".join(Segment.following(Head(), hour_of(NOW), made, []).encoded()) for made in (lines, shuffled))
    assert one == other


# --- breaks -----------------------------------------------------------------------------------------------------------


def test_an_intact_chain_has_no_breaks() -> None:
    for sizes in ((), (1,), (3, 1, 200, 7)):
        bodies, head = chain(*sizes)
        assert verify(bodies, head) == ()


def test_an_empty_chain_has_no_breaks() -> None:
    assert verify([], None) == ()


@pytest.fixture(scope="module")
def large() -> tuple[list[bytes], Head]:
    """A hundred thousand records in four segments."""
    return chain(30_000, 1, 49_999, 20_000)


def _changed(lines: list[bytes], rng: random.Random) -> str:
    place = rng.randrange(len(lines))
    lines[place] = lines[place].replace(b'"by":"Ada"', b'"by":"Eve"')
    return "was changed"


def _removed(lines: list[bytes], rng: random.Random) -> str:
    del lines[rng.randrange(len(lines))]
    return "1 record was removed"


def _reordered(lines: list[bytes], rng: random.Random) -> str:
    one, other = rng.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return "not in order"


def _inserted(lines: list[bytes], rng: random.Random) -> str:
    place = rng.randrange(len(lines))
    lines.insert(place, lines[place].replace(b'"by":"Ada"', b'"by":"Eve"'))
    return "1 record was inserted"


def _repeated(lines: list[bytes], rng: random.Random) -> str:
    place = rng.randrange(1, len(lines))
    lines[place] = lines[place - 1]
    return "not in order"


@pytest.mark.parametrize("harm", [_changed, _removed, _reordered, _inserted, _repeated])
@pytest.mark.parametrize("seed", range(5))
def test_one_changed_record_among_a_hundred_thousand_is_found(
    large: tuple[list[bytes], Head], harm: Callable[[list[bytes], random.Random], str], seed: int
) -> None:
    bodies, head = large
    rng = random.Random(seed)
    at = rng.choice((0, 2, 3))
    first, *lines = lines_of(bodies[at])
    said = harm(lines, rng)
    broken = [*bodies[:at], b"".join([first, *lines]), *bodies[at + 1 :]]
    [sentence] = verify(broken, head)
    assert sentence.startswith(f"Segment {at + 1} (")
    assert said in sentence


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_removed_record_is_found_although_the_first_line_was_adjusted(at: int) -> None:
    bodies, head = chain(5, 5, 5)
    lines = lines_of(bodies[at])
    broken = [*bodies[:at], resealed(b"".join(lines[:-1]), records=4), *bodies[at + 1 :]]
    [sentence] = verify(broken, head)
    assert re.match(rf"Segment {at + 1} .* was changed: its hash is not the one that ", sentence)
    assert sentence.endswith("the head names." if at == 2 else f"segment {at + 2} names.")


def test_a_chain_rebuilt_after_a_change_does_not_match_the_head() -> None:
    bodies, head = chain(3, 3, 3)
    changed = bodies[0].replace(b"Ada", b"Eve")
    second = resealed(bodies[1], previous=hashlib.sha256(changed).hexdigest())
    third = resealed(bodies[2], previous=hashlib.sha256(second).hexdigest())
    [sentence] = verify([changed, second, third], head)
    assert sentence.startswith("Segment 3 ")
    assert "the head names" in sentence


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ((1, 2, 3), ["Segment 1 is missing."]),
        ((0, 2, 3), ["Segment 2 is missing."]),
        ((0, 3), ["Segments 2 to 3 are missing."]),
        ((0, 1, 2), ["The end is cut off: the last segment there is 3, the head names 4."]),
        ((), ["The end is cut off: the last segment there is 0, the head names 4."]),
        ((1,), ["Segment 1 is missing.", "The end is cut off: the last segment there is 2, the head names 4."]),
        ((1, 0, 2, 3), ["Segment 1 is not in its place: it comes after segment 2."]),
        ((0, 1, 3, 2), ["Segment 3 is not in its place: it comes after segment 4."]),
        ((0, 1, 1, 2, 3), ["Segment 2 is there 2 times."]),
    ],
)
def test_a_segment_that_is_missing_swapped_or_repeated_is_named(kept: Sequence[int], said: list[str]) -> None:
    bodies, head = chain(2, 2, 2, 2)
    assert list(verify([bodies[index] for index in kept], head)) == said


@pytest.mark.parametrize("cut", [-1, -2, -40, 10])
def test_a_segment_that_was_cut_off_is_found(cut: int) -> None:
    bodies, head = chain(2, 2, 2)
    [sentence, *_] = verify([bodies[0], bodies[1][:cut], bodies[2]], head)
    assert sentence.startswith("Segment 2")


def test_a_segment_cut_off_at_the_end_of_a_line_is_found() -> None:
    bodies, head = chain(2, 2)
    cut = b"".join(lines_of(bodies[1])[:-1])
    [sentence] = verify([bodies[0], cut], head)
    assert "1 record was removed" in sentence


def test_a_first_line_that_cannot_be_read_is_named() -> None:
    bodies, head = chain(2, 2, 2)
    assert verify([bodies[0], b"\xff" + bodies[1], bodies[2]], head) == ("Segment 2: its first line cannot be read.",)
    assert verify([b"", bodies[1], bodies[2]], head) == ("Segment 1: its first line cannot be read.",)


def test_a_replaced_beginning_is_found() -> None:
    bodies, head = chain(2, 2)
    sentences = verify([resealed(bodies[0], previous="a" * 64), bodies[1]], head)
    assert "Segment 1 does not begin the chain: it names one before it." in sentences


def test_a_segment_beyond_the_head_is_named_unless_it_is_being_written() -> None:
    bodies, head = chain(2, 2, 2)
    _, before = chain(2, 2)
    assert verify(bodies, head) == ()
    [sentence] = verify(bodies, before)
    assert sentence.startswith("Segment 3 is beyond the head (2)")
    writing = replace(before, pending=hour_of(NOW + 2 * HOUR))
    assert verify(bodies, writing) == ()
    assert len(verify([*bodies[:2], resealed(bodies[2], previous="a" * 64)], writing)) == 1
    assert len(verify([*bodies, bodies[2]], writing)) > 0


def test_a_missing_head_is_reported() -> None:
    bodies, _ = chain(2, 2)
    assert len(verify(bodies, None)) == 2


def test_only_segments_past_their_retention_may_be_missing() -> None:
    bodies, head = chain(2, 2, 2, 2)
    old, newer = hour_of(NOW + HOUR), hour_of(NOW + 2 * HOUR)
    assert verify(bodies[2:], head, gone_before=newer) == ()
    assert verify(bodies[2:], head, gone_before=old) == ("Segments 1 to 2 are missing.",)
    assert verify([bodies[1], bodies[3]], head, gone_before=old) == ("Segment 3 is missing.",)
    assert verify([], head, gone_before=hour_of(NOW + 9 * HOUR)) == ()
    assert len(verify([], head, gone_before=newer)) == 1
    assert len(verify([bodies[2].replace(b"Ada", b"Eve"), bodies[3]], head, gone_before=newer)) == 1


def test_a_change_of_any_byte_is_found() -> None:
    bodies, head = chain(3, 3)
    rng = random.Random(11)
    for _ in range(300):
        at = rng.randrange(2)
        place = rng.randrange(len(bodies[at]))
        other = bytes([bodies[at][place] ^ (1 << rng.randrange(7))])
        broken = bodies[at][:place] + other + bodies[at][place + 1 :]
        assert verify([*bodies[:at], broken, *bodies[at + 1 :]], head), (at, place, other)


def test_a_segment_header_is_read_back_unchanged() -> None:
    bodies, _ = chain(2, 2)
    headings = [SegmentHeader.parse(lines_of(body)[0]) for body in bodies]
    assert [one.to_line().encode() + b"\n" for one in headings if one] == [lines_of(body)[0] for body in bodies]
    assert all(one < other for one, other in pairwise(lines_of(bodies[1])[1:]))
