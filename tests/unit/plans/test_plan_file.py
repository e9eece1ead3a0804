"""A plan, written down: what goes in comes out, whatever it is called, and everything is counted once."""

import hashlib
import json
from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.plans.plan_file import (
    AGES,
    AgeBar,
    Entry,
    Plan,
    PlanFooter,
    PlanHeader,
    PlanWriter,
    RuleTotals,
    Totals,
    entries,
    fact_line,
    header_of,
)
from lifecycle.policy.evaluate import Decision, Mode, evaluate
from lifecycle.policy.policy import Policy
from tests.harness.builders import NOW, ORG, THING

KEPT = Decision(None, "too young", "It is too young.")
DUE = Decision(Action.ARCHIVE, "rule completed", "Its time has come.", "completed")
POLICY = Policy.parse("""
zone = "Europe/Berlin"
[[rules]]
name = "completed"
resource = "process"
action = "archive"
when = { completed_days = 30 }
[[rules]]
name = "audits"
resource = "process"
action = "keep"
when = { title = ["*audit*"] }
[[rules]]
name = "old"
resource = "process"
action = "delete"
irreversible = true
when = { archived_days = 90 }
[[rules]]
name = "stalled"
resource = "process"
action = "archive"
when = { stalled_days = 90 }
""")
HEADING = PlanHeader(
    org_id=ORG, sweep_id="2026-06-01T04:10:00Z", made_at=NOW, policy=POLICY.digest, zone="Europe/Berlin"
)


def run(number: int = 1, **facts: object) -> ResourceSnapshot:
    known = ResourceSnapshot(
        resource=Resource.RUN,
        id=f"{number:032x}",
        state=State.ACTIVE,
        name="Onboard Acme",
        status="complete",
        created_at=NOW - timedelta(days=100),
        completed_at=NOW - timedelta(days=31),
        owners=frozenset({"4711"}),
        tags=frozenset(),
    )
    return replace(known, **facts)  # type: ignore[arg-type] # each test gives the fields of Thing


def written(
    *made: Entry, failed: int = 0, heading: PlanHeader = HEADING, **said: tuple[str, ...]
) -> tuple[bytes, PlanWriter]:
    writer = PlanWriter(heading, POLICY)
    lines = [writer.begin()]
    writer.fail(failed)
    lines += [writer.add(entry) for entry in made]
    lines.append(writer.end(PlanFooter.model_validate({**writer.totals().model_dump(), **said})))
    return b"".join(lines), writer


# --- a line -----------------------------------------------------------------------------------------------------------

HOSTILE = {
    "a newline": "one\ntwo\r\nthree\rfour",
    "separators": "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven",
    "quotes": "\"; DROP TABLE 'things'; --\\\"",
    "a line of ours": '{"line": "totals", "due": 9}',
    "json": '","action":"delete","rule":"',
    "nothing": "",
    "blanks": "  \t ",
    "nul": "a\x00b",
    "half a character": "a\ud800b\udfffc",
    "a whole one, in two": "\U0001f5d1",
    "right to left": "\u202egpj.exe",
    "markup": "<script>alert(1)</script>&amp;",
    "a formula": "=HYPERLINK(1)",
    "long": "ä" * 5000,
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_line_may_contain_any_name(name: str) -> None:
    thing = run(name=name, status=name, tags=frozenset({name, "a"}), template_id=name or None)
    entry = Entry(thing, Decision(None, "tags", f"It carries '{name}'.", "r"))
    line = entry.to_line()
    assert Entry.parse(line) == entry
    assert Entry.parse(line.encode()) == entry
    # One line, for readers of bytes and for readers of text files alike.
    assert len(line.encode().splitlines()) == 1
    assert "\n" not in line
    assert "\r" not in line
    raw, _ = written(entry, Entry(run(2), KEPT))
    assert list(entries(raw.splitlines())) == [entry, Entry(run(2), KEPT)]
    assert list(entries(raw.splitlines(keepends=True))) == [entry, Entry(run(2), KEPT)]


moments = st.none() | st.datetimes(timezones=st.just(UTC))
texts = st.none() | st.text(max_size=20)
things = st.builds(
    ResourceSnapshot,
    resource=st.sampled_from(Resource),
    id=st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"),
    state=st.sampled_from(State),
    name=texts,
    status=texts,
    created_at=moments,
    completed_at=moments,
    archived_at=moments,
    last_updated=moments,
    template_id=texts,
    owners=st.none() | st.frozensets(st.text(max_size=5), max_size=3),
    tags=st.none() | st.frozensets(st.text(max_size=5), max_size=3),
    run_id=texts,
    one_off=st.none() | st.booleans(),
    uses=st.none() | st.integers(-1, 10**12),
)
decisions = st.builds(
    Decision, st.none() | st.sampled_from(Action), st.text(max_size=9), st.text(max_size=30), st.text(max_size=9)
)


@settings(max_examples=400, deadline=None)
@given(things, decisions)
def test_a_line_is_read_back_unchanged(thing: ResourceSnapshot, decision: Decision) -> None:
    entry = Entry(thing, decision)
    again = Entry.parse(entry.to_line())
    assert again == entry
    assert again.to_line() == entry.to_line()
    assert Entry.parse(fact_line(thing)) == Entry(thing, Decision(None, "", ""))


def test_unknown_facts_are_left_out_and_empty_sets_are_kept() -> None:
    bare = ResourceSnapshot(resource=Resource.TASK, id=THING, state=State.ARCHIVED)
    assert json.loads(fact_line(bare)) == {"resource": "task", "id": THING, "state": "archived"}
    assert json.loads(fact_line(replace(bare, tags=frozenset())))["tags"] == []
    assert json.loads(Entry(bare, DUE).to_line()) == {
        "resource": "task",
        "id": THING,
        "state": "archived",
        "action": "archive",
        "kind": "rule completed",
        "reason": "Its time has come.",
        "rule": "completed",
    }


def test_no_fact_has_the_name_of_another_key_of_a_line() -> None:
    assert {field.name for field in fields(ResourceSnapshot)}.isdisjoint({"action", "kind", "reason", "rule", "line"})


def test_the_same_facts_make_the_same_line() -> None:
    names = [f"tag {number}" for number in range(50)]
    one, two = (
        run(tags=frozenset(names), owners=frozenset(names)),
        run(tags=frozenset(reversed(names)), owners=frozenset(reversed(names))),
    )
    assert fact_line(one) == fact_line(two)
    assert json.loads(fact_line(one))["tags"] == sorted(names)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "5",
        "[]",
        '"a"',
        "{}",
        b"\xff",
        '{"resource": "run", "id": "a"}',
        '{"resource": "ship", "id": "a", "state": "active"}',
        '{"resource": "run", "id": "a", "state": "asleep"}',
        '{"resource": "run", "id": "a", "state": "active", "action": "burn"}',
        '{"resource": "run", "id": "a", "state": "active", "action": ["delete"]}',
        '{"resource": "run", "id": "a", "state": "active", "action": "delete", "rule": 5}',
        '{"resource": "run", "id": "a", "state": "active", "kind": null}',
        '{"resource": "run", "id": "a", "state": "active", "created_at": "soon"}',
        '{"resource": "run", "id": 5, "state": "active"}',
        '{"resource": "run", "id": "a", "state": "active", "tags": "Test"}',
    ],
)
def test_an_invalid_line_raises_a_value_error(line: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Entry.parse(line)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_plan_is_named_by_the_hash_of_its_bytes() -> None:
    raw, writer = written(Entry(run(1), DUE), Entry(run(2), KEPT))
    assert writer.digest == hashlib.sha256(raw).hexdigest()
    assert raw.endswith(b"\n")
    assert [json.loads(line).get("line") for line in raw.splitlines()] == ["header", None, None, "footer"]


@pytest.mark.parametrize(
    "other",
    [
        written(Entry(run(1), DUE), Entry(run(2), DUE)),
        written(Entry(run(2), KEPT), Entry(run(1), DUE)),
        written(Entry(run(1), DUE)),
        written(Entry(run(1, name="x"), DUE), Entry(run(2), KEPT)),
        written(Entry(run(1), DUE), Entry(run(2), KEPT), failed=1),
        written(Entry(run(1), DUE), Entry(run(2), KEPT), unseen=("a list",)),
        written(Entry(run(1), DUE), Entry(run(2), KEPT), stops=("a cap",)),
        written(Entry(run(1), DUE), Entry(run(2), KEPT), person=("it grew",)),
        written(Entry(run(1), replace(DUE, rule="old")), Entry(run(2), KEPT)),
        written(Entry(run(1), replace(DUE, action=Action.DELETE)), Entry(run(2), KEPT)),
        *(
            written(Entry(run(1), DUE), Entry(run(2), KEPT), heading=HEADING.model_copy(update=changed))
            for changed in (
                {"made_at": NOW + timedelta(microseconds=1)},
                {"policy": "0" * 64},
                {"zone": "UTC"},
                {"org_id": "1b" * 16},
                {"sweep_id": "another"},
                {"unseen": ("tags",)},
            )
        ),
    ],
)
def test_any_difference_changes_the_plans_hash(other: tuple[bytes, PlanWriter]) -> None:
    _, writer = written(Entry(run(1), DUE), Entry(run(2), KEPT))
    assert other[1].digest != writer.digest
    assert written(Entry(run(1), DUE), Entry(run(2), KEPT))[1].digest == writer.digest


def test_the_header_is_read_back() -> None:
    heading = HEADING.model_copy(update={"unseen": ("The list of tags did not add up.",)})
    raw, _ = written(Entry(run(), DUE), heading=heading)
    first, entry, last = raw.splitlines()
    assert header_of(first) == heading
    for other in (entry, last, b"", b"{}", b"\xff", first.replace(b'"format": 1', b'"format": 2')):
        with pytest.raises(ValueError, match=r".*"):
            header_of(other)


def test_a_truncated_line_raises_a_value_error() -> None:
    raw, _ = written(Entry(run(), DUE))
    cut = raw.splitlines()[1][:-5]
    with pytest.raises(ValueError, match=r".*"):
        list(entries([cut]))


def test_lines_are_read_one_by_one() -> None:
    endless = entries(iter([fact_line(run()).encode(), b"broken"]))
    assert next(endless).thing == run()
    with pytest.raises(ValueError, match=r".*"):
        next(endless)


def test_the_last_line_holds_the_counts_and_the_stops() -> None:
    raw, writer = written(Entry(run(), DUE), failed=2, stops=("a cap",))
    last = json.loads(raw.splitlines()[-1])
    assert (last["unseen"], last["stops"], last["person"]) == ([], ["a cap"], [])
    assert Totals.model_validate(last) == writer.totals()


# --- counting ---------------------------------------------------------------------------------------------------------


def test_resources_are_counted_by_rule_and_by_reason() -> None:
    archived = run(3, state=State.ARCHIVED)
    _, writer = written(
        Entry(run(1), DUE),
        Entry(run(2), KEPT),
        Entry(run(4), KEPT),
        Entry(run(5), replace(KEPT, kind="on hold")),
        Entry(archived, Decision(Action.DELETE, "rule old", "Old.", "old")),
        Entry(replace(archived, id="f" * 32), Decision(None, "no date", "No date.", "old")),
        Entry(
            ResourceSnapshot(resource=Resource.TAG, id=THING, state=State.ACTIVE), Decision(None, "no rule", "No rule.")
        ),
        failed=4,
    )
    totals = writer.totals()
    assert (totals.seen, totals.due, totals.kept, totals.failed) == (11, 2, 5, 4)
    assert totals.kept_by == {"too young": 2, "on hold": 1, "no date": 1, "no rule": 1}
    assert next(iter(totals.kept_by)) == "too young"  # the most frequent first
    # One line for each rule that acts, in the order of the file; what it was asked about is of its kind and state.
    assert totals.rules == (
        RuleTotals(
            name="completed", resource=Resource.RUN, action=Action.ARCHIVE, irreversible=False, considered=4, due=1
        ),
        RuleTotals(name="old", resource=Resource.RUN, action=Action.DELETE, irreversible=True, considered=2, due=1),
        RuleTotals(
            name="stalled", resource=Resource.RUN, action=Action.ARCHIVE, irreversible=False, considered=4, due=0
        ),
    )


def test_an_empty_plan_has_consistent_counts() -> None:
    raw, writer = written()
    assert (writer.totals().seen, writer.totals().ages, len(raw.splitlines())) == (0, (), 2)


@settings(max_examples=150, deadline=None)
@given(st.lists(things, max_size=15), st.integers(0, 5))
def test_every_resource_is_counted_exactly_once(seen: list[ResourceSnapshot], failed: int) -> None:
    made = [Entry(thing, evaluate(thing, POLICY, Holds({}), NOW)) for thing in seen]
    raw, writer = written(*made, failed=failed)
    totals = writer.totals()
    assert totals.seen == totals.due + totals.kept + totals.failed == len(seen) + failed
    assert totals.due == sum(rule.due for rule in totals.rules)
    assert totals.kept == sum(totals.kept_by.values())
    assert sum(bar.things for bar in totals.ages) == len(seen)
    assert sum(bar.due for bar in totals.ages) == totals.due
    assert all(0 <= bar.due <= bar.things for bar in totals.ages)
    assert all(0 <= rule.due <= rule.considered <= len(seen) for rule in totals.rules)
    assert list(entries(raw.splitlines(keepends=True))) == made
    assert Counter(entry.decision.kind for entry in made if entry.decision.action is None) == totals.kept_by
    assert writer.digest == hashlib.sha256(raw).hexdigest()


# --- ages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "age"),
    [
        (0, "≤ 7 days"),
        (7, "≤ 7 days"),
        (8, "8–30 days"),
        (30, "8–30 days"),
        (31, "31–90 days"),
        (90, "31–90 days"),
        (91, "91–365 days"),
        (365, "91–365 days"),
        (366, "> 1 year"),
        (20_000, "> 1 year"),
        (-1, "unknown"),
    ],
)
def test_a_resource_is_counted_in_its_age_group(days: int, age: str) -> None:
    _, writer = written(Entry(run(completed_at=NOW - timedelta(days=days)), KEPT))
    [bar] = writer.totals().ages
    assert bar == AgeBar(resource=Resource.RUN, status="complete", age=age, things=1, due=0)


def test_an_age_is_counted_from_archiving_completion_or_creation() -> None:
    def age(**facts: object) -> str:
        _, writer = written(Entry(run(1, **facts), KEPT))
        return writer.totals().ages[0].age

    dates = {"archived_at": NOW - timedelta(1), "completed_at": NOW - timedelta(10), "created_at": NOW - timedelta(40)}
    assert age(**dates) == "≤ 7 days"
    assert age(**{**dates, "archived_at": None}) == "8–30 days"
    assert age(**{**dates, "archived_at": None, "completed_at": None}) == "31–90 days"
    assert age(archived_at=None, completed_at=None, created_at=None) == "unknown"
    assert age(archived_at=datetime(9999, 12, 31, tzinfo=UTC)) == "unknown"


def test_ages_are_calendar_days_in_the_zone_of_the_policy() -> None:
    made_at = datetime(2026, 6, 1, 22, 0, tzinfo=UTC)  # midnight in Berlin
    heading = HEADING.model_copy(update={"made_at": made_at})
    _, writer = written(Entry(run(completed_at=made_at - timedelta(days=7, seconds=1)), KEPT), heading=heading)
    assert writer.totals().ages[0].age == "8–30 days"


def test_bars_are_by_kind_status_and_age_youngest_first() -> None:
    old = NOW - timedelta(days=400)
    _, writer = written(
        Entry(run(1, completed_at=old), DUE),
        Entry(run(2, completed_at=old, status="Complete"), KEPT),
        Entry(run(3), DUE),
        Entry(run(4, status=None), KEPT),
        Entry(ResourceSnapshot(resource=Resource.TAG, id=THING, state=State.ACTIVE), KEPT),
    )
    bars = [(bar.resource, bar.status, bar.age, bar.things, bar.due) for bar in writer.totals().ages]
    assert bars == [
        (Resource.RUN, "complete", "31–90 days", 1, 1),
        (Resource.RUN, "complete", "> 1 year", 2, 1),
        (Resource.RUN, "unknown", "31–90 days", 1, 0),
        (Resource.TAG, "unknown", "unknown", 1, 0),
    ]
    assert all(AGES.index(one[2]) < AGES.index(two[2]) for one, two in pairwise(bars) if one[:2] == two[:2])


# --- the summary ------------------------------------------------------------------------------------------------------


def plan(**changes: object) -> Plan:
    _, writer = written(Entry(run(), DUE), failed=1)
    said = {
        **HEADING.model_dump(),
        **writer.totals().model_dump(),
        "hash": writer.digest,
        "mode": Mode.APPLY,
        "per_minute": 100,
        "estimated_minutes": 1,
    }
    return Plan.model_validate({**said, **changes})


def test_the_summary_is_read_back() -> None:
    made = plan(stops=("a cap",), person=("growth",), notes=("a note",), unseen=("tags",), org_name="Acme")
    assert Plan.model_validate_json(made.model_dump_json(indent=1)) == made


def test_a_summary_with_additional_keys_is_still_read() -> None:
    said = json.loads(plan().model_dump_json()) | {"mood": "good"}
    assert Plan.model_validate(said) == plan()


@pytest.mark.parametrize(
    "changes",
    [
        {"hash": ""},
        {"hash": "0" * 63},
        {"hash": "../" + "0" * 61},
        {"hash": "A" * 64},
        {"format": 2},
        {"org_id": "x"},
        {"made_at": NOW.replace(tzinfo=None)},
        {"mode": "on"},
        {"due": None},
    ],
)
def test_an_invalid_summary_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        plan(**changes)


def test_a_plan_cannot_be_changed_after_it_was_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        plan().due = 0  # type: ignore[misc] # that is what is tried
