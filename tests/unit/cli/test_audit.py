"""`lifecycle audit`: what an operator sees of the trail, and what is told once it was tampered with."""

import json
import re
from datetime import timedelta

import pytest

from lifecycle.audit.chain import Head, Record, What, hour_of, segment_in
from lifecycle.audit.sealer import Sealer
from lifecycle.audit.store import AuditStore, audit_row
from lifecycle.aws.dynamodb import Key, Put
from lifecycle.aws.metrics import MemoryMetrics
from lifecycle.aws.s3 import MemoryObjects
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.clock import millis
from sandbox.simulator import make_id
from tests.harness.builders import NOW, command
from tests.unit.cli.harness import ARNS, OPERATOR, ORG, CliHarness
from tests.unit.cli.planned import at_night, organization, runs

HOUR = timedelta(hours=1)
THING, OTHER = make_id("thing"), make_id("other")
ELSEWHERE = "0b" * 16


def seal(desk: CliHarness) -> None:
    """The hourly run."""
    sealer = Sealer(
        trail=AuditStore(desk.stack.table),
        objects=desk.stack.segments,
        metrics=MemoryMetrics(),
        clock=desk.clock,
        time_left=lambda: 900.0,
    )
    assert sealer.seal()


@pytest.fixture
def busy(desk: CliHarness) -> CliHarness:
    """Three hours of work, of which the first two are sealed."""
    AuditStore(desk.stack.table).move(Head(through=hour_of(NOW - 2 * HOUR)), 0)
    holds = desk.stack.holds()
    holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Grace Hopper")
    desk.entrance.ordinary.send(command(org_id=ORG, id=OTHER, requested_by="Ada", reason="It is over.").to_json())
    desk.work()
    desk.clock.advance(HOUR)
    holds.add(ELSEWHERE, "owner", "4711", reason="a lawsuit", by="Grace Hopper")
    desk.clock.advance(timedelta(minutes=80))
    seal(desk)
    holds.lift(ORG, Resource.RUN, THING, by="Ada Lovelace")
    return desk


def shown(desk: CliHarness, *words: str) -> list[str]:
    """The lines of the table that begin with a time."""
    result = desk.run("audit", "show", *words)
    assert result.exit_code == 0, result.output
    return [line for line in result.output.splitlines() if re.match(r"\d{4}-\d{2}-\d{2} ", line)]


# --- show -----------------------------------------------------------------------------------------------------------


def test_sealed_and_unsealed_records_are_shown_newest_last(busy: CliHarness) -> None:
    lines = shown(busy)
    assert [re.search(r"hold\.\w+|archive: \w+", line)[0] for line in lines] in (  # type: ignore[index]
        ["hold.set", "archive: done", "hold.set", "hold.lifted"],
        ["archive: done", "hold.set", "hold.set", "hold.lifted"],  # two within one millisecond
    )
    assert [line.split()[-1] for line in lines] == ["1", "1", "2", "yet"]
    assert sorted(line[:19] for line in lines) == [line[:19] for line in lines]


def test_an_outcome_is_shown_with_who_why_and_how(busy: CliHarness) -> None:
    output = busy.run("audit", "show", "--thing", OTHER).output
    for text in ("archive: done", f"process {OTHER}", "Ada (operator)", "It is so.", "It is over.", "int_"):
        assert text in output


@pytest.mark.parametrize("link", [False, True])
def test_records_of_one_thing_are_found_by_id_or_link(
    busy: CliHarness,
    link: bool,  # noqa: FBT001 - a case
) -> None:
    lines = shown(busy, "--thing", f"https://go.tallyfy.com/{ORG}/process/{THING}" if link else THING)
    assert len(lines) == 2
    assert all(THING in line for line in lines)


def test_records_of_an_owner_an_intent_and_a_plan_are_found(busy: CliHarness) -> None:
    assert len(shown(busy, "--thing", "4711")) == 1
    assert shown(busy, "--thing", "471") == []
    AuditStore(busy.stack.table).record(Record(at=millis(busy.clock()), what=What.PLAN_MADE, org_id=ORG, plan="a" * 64))
    assert len(shown(busy, "--thing", "a" * 64)) == 1


def test_records_of_a_person_are_found_by_any_part_of_the_name(busy: CliHarness) -> None:
    assert len(shown(busy, "--by", "hopper")) == 2
    assert len(shown(busy, "--by", "ADA")) == 2
    assert shown(busy, "--by", "nobody") == []


def test_records_are_limited_to_one_organization_of_the_stack(busy: CliHarness) -> None:
    assert len(shown(busy, "--org", ORG)) == 3
    assert busy.run("audit", "show", "--org", ELSEWHERE).exit_code == 2


def test_one_day_is_shown_with_late_records_of_its_last_hour(desk: CliHarness) -> None:
    midnight = NOW.replace(hour=0) + timedelta(days=1)
    trail = AuditStore(desk.stack.table)
    trail.move(Head(through=hour_of(midnight - 2 * HOUR)), 0)

    def record(plan: str, minutes: int) -> None:
        made = Record(at=millis(midnight) + minutes * 60_000, what=What.PLAN_MADE, org_id=ORG, plan=plan)
        trail.record(made)

    record("before", -1)
    record("after", 0)
    desk.clock.now = midnight + timedelta(minutes=20)
    seal(desk)
    record("late", -2)
    desk.clock.now = midnight + timedelta(minutes=80)
    seal(desk)
    record("later still", -3)
    record("open", 65)
    first = desk.run("audit", "show", "--day", f"{midnight - HOUR:%Y-%m-%d}").output
    assert [word for word in ("before", "after", "late", "open") if f"Plan {word}." in first] == ["before", "late"]
    second = desk.run("audit", "show", "--day", f"{midnight:%Y-%m-%d}").output
    assert [word for word in ("before", "after", "late", "open") if f"Plan {word}." in second] == ["after", "open"]


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "2026-6-1T", "", "01.06.2026"])
def test_a_malformed_day_is_refused(busy: CliHarness, day: str) -> None:
    assert busy.run("audit", "show", "--day", day).exit_code == 2


def test_an_empty_result_says_that_no_record_matches(desk: CliHarness) -> None:
    result = desk.run("audit", "show")
    assert (result.exit_code, "No record matches" in result.output) == (0, True)


def test_only_the_newest_of_many_records_are_shown(desk: CliHarness) -> None:
    desk.stack.table.write(
        *(audit_row(Record(at=millis(NOW) + number, what=What.PLAN_MADE, plan=f"p{number}")) for number in range(1001))
    )
    output = desk.run("audit", "show").output
    assert "newest 1000" in output
    assert "p1000" in output
    assert "Plan p0." not in output


def test_text_in_records_cannot_move_the_cursor_or_set_a_colour(desk: CliHarness) -> None:
    line = f'{{"at":{millis(NOW)},"what":"plan.made","by":"[red]x[/red]\\u001b[2J"}}'
    desk.stack.table.write(Put(Key(f"audit#{hour_of(NOW)}", "x"), {"line": line}, 0))
    output = desk.run("audit", "show").output
    assert "[red]x[/red]" in output
    assert "\x1b" not in output


def test_actions_of_operators_are_recorded_under_their_aws_identity(desk: CliHarness) -> None:
    desk.run("hold", "add", "process", THING, "--reason", "an audit", "--force")
    desk.run("hold", "remove", "process", THING)
    desk.run("pause", "--reason", "a wrong rule")
    desk.run("resume")
    lines = shown(desk, "--by", OPERATOR)
    assert sorted(re.findall(r"(?:hold|pause)\.\w+", "\n".join(lines))) == [
        *("hold.lifted", "hold.set", "pause.ended", "pause.set"),
    ]


# --- verify ---------------------------------------------------------------------------------------------------------


def test_an_unbroken_trail_is_counted(busy: CliHarness) -> None:
    result = busy.run("audit", "verify")
    assert result.exit_code == 0
    assert "unbroken: 2 segments with 3 records" in result.output
    assert f"{hour_of(NOW)} to {hour_of(NOW + HOUR)}" in result.output


def newest(desk: CliHarness) -> str:
    return max(desk.stack.segments.bodies, key=segment_in)


def test_a_changed_record_is_reported(busy: CliHarness) -> None:
    bodies = busy.stack.segments.bodies
    bodies[newest(busy)] = bodies[newest(busy)].replace(b"Grace", b"Gracy")
    result = busy.run("audit", "verify")
    assert result.exit_code == 1
    assert "Segment 2" in result.output
    assert "was changed" in result.output
    assert "broken in 1 places" in result.output


def test_a_removed_last_segment_is_reported(busy: CliHarness) -> None:
    del busy.stack.segments.bodies[newest(busy)]
    result = busy.run("audit", "verify")
    assert (result.exit_code, "The end is cut off" in result.output) == (1, True)


def test_a_removed_head_is_reported(busy: CliHarness) -> None:
    _, version = AuditStore(busy.stack.table).head()
    busy.stack.table.write(Put(Key("audit#head", "head"), None, version))
    result = busy.run("audit", "verify")
    assert (result.exit_code, "beyond the head" in result.output) == (1, True)


def test_a_moved_segment_and_a_foreign_object_are_reported(busy: CliHarness) -> None:
    bodies = busy.stack.segments.bodies
    bodies["audit/2031/01/01/00-2.jsonl"] = bodies.pop(newest(busy))
    bodies["audit/notes.txt"] = b"x"
    result = busy.run("audit", "verify")
    assert result.exit_code == 1
    assert "audit/2031/01/01/00-2.jsonl holds segment 2" in result.output
    assert "audit/notes.txt is not a segment" in result.output


def test_segments_removed_after_their_retention_are_not_a_break(
    busy: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    del busy.stack.segments.bodies[min(busy.stack.segments.bodies, key=segment_in)]
    assert busy.run("audit", "verify").exit_code == 1
    monkeypatch.setattr(busy.stack, "parameters", lambda: {"AuditDays": "60"})
    assert busy.run("audit", "verify").exit_code == 1
    busy.clock.advance(timedelta(days=60) - HOUR)
    assert busy.run("audit", "verify").exit_code == 0


def test_a_trail_that_is_being_written_is_read_at_one_moment(busy: CliHarness) -> None:
    """The writer seals another hour while the segments are listed."""

    class Busy(MemoryObjects):
        def keys(self, prefix: str) -> list[str]:
            found = MemoryObjects.keys(self, prefix)
            if busy.clock() < NOW + 4 * HOUR:
                busy.clock.advance(2 * HOUR)
                seal(busy)
            return found

    busy.stack.segments = Busy(busy.stack.segments.bodies)
    result = busy.run("audit", "verify")
    assert result.exit_code == 0
    assert "unbroken: 3 segments with 4 records" in result.output


def test_a_trail_without_segments_says_that_nothing_is_proven(desk: CliHarness) -> None:
    result = desk.run("audit", "verify")
    assert (result.exit_code, "nothing is proven" in result.output, "unbroken" in result.output) == (4, True, False)


def test_who_started_a_sweep_and_who_applied_its_plan_are_named(desk: CliHarness) -> None:
    made = at_night(desk, organization(runs(3)))
    assert desk.run("sweep", "start").exit_code == 0
    made.drain()
    [plan] = made.plans()
    made.begin("2026-06-02T04:10:00Z")
    made.drain()
    desk.stack.who = "bob"
    assert desk.run("apply", plan.hash, "--yes").exit_code == 0
    made.drain()
    found = json.loads(desk.run("audit", "show", "--json").stdout)
    done = [(one["what"], one["by"]) for one in found if one["what"].startswith("plan.")]
    assert done == [("plan.made", OPERATOR), ("plan.made", "schedule"), ("plan.applied", ARNS["bob"])]
