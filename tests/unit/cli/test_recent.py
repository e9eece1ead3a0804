import json
from datetime import timedelta

import pytest

from lifecycle.domain.commands import Command
from lifecycle.domain.intent import Status
from tests.harness.builders import command
from tests.unit.cli.harness import ORG, CliHarness


def ended(desk: CliHarness, number: int, status: Status = Status.DONE, **more: object) -> Command:
    made = command(intent_id=f"int_{number:048x}", id=f"{number:032x}", issued_at=desk.clock().isoformat(), **more)
    desk.end(made, status)
    return made


def listed(desk: CliHarness, *words: str) -> list[str]:
    result = desk.run("recent", *words, "--json")
    assert result.exit_code == 0, result.output
    return [one["intent_id"] for one in json.loads(result.stdout)]


def test_commands_are_listed_newest_last_with_source_resource_and_outcome(desk: CliHarness) -> None:
    first = ended(desk, 1)
    desk.clock.advance(timedelta(minutes=5))
    second = ended(desk, 2, Status.REJECTED)
    result = desk.run("recent")
    assert result.exit_code == 0, result.output
    assert result.output.index(first.thing_id) < result.output.index(second.thing_id)
    for part in (f"{first.action} process {first.thing_id}", first.source, first.requested_by, "done", "rejected"):
        assert part in result.output, part
    assert listed(desk) == [first.intent_id, second.intent_id]


def test_earlier_hours_are_read_until_enough_commands_are_found(desk: CliHarness) -> None:
    made = []
    for number in range(4):
        made.append(ended(desk, number).intent_id)
        desk.clock.advance(timedelta(hours=5))
    assert listed(desk, "--limit", "2") == made[-2:]
    assert listed(desk) == made
    assert listed(desk, "--hours", "8") == made[-1:]
    assert "No matching command ended in the last 1 hours" in desk.run("recent", "--hours", "1").output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--status", "rejected"), [2]),
        (("--source", "nobody"), []),
        (("--thing", f"{1:032x}"), [1]),
        (("--by", "GRACE"), [3]),
        (("--org", ORG), [1, 2, 3]),
    ],
)
def test_recent_filters_by_source_outcome_thing_and_person(
    desk: CliHarness, words: tuple[str, ...], expected: list[int]
) -> None:
    ended(desk, 1)
    ended(desk, 2, Status.REJECTED)
    ended(desk, 3, requested_by="Grace Hopper")
    assert listed(desk, *words) == [f"int_{number:048x}" for number in expected]


def test_records_that_are_not_commands_are_not_listed(desk: CliHarness) -> None:
    assert desk.run("pause", "--reason", "x").exit_code == 0
    assert listed(desk) == []


def test_follow_prints_each_new_command_once(desk: CliHarness) -> None:
    ended(desk, 1)
    numbers = iter((2, 3))

    def work() -> None:
        number = next(numbers, None)
        if number is None:
            raise KeyboardInterrupt
        ended(desk, number)
        desk.clock.advance(timedelta(minutes=40))

    desk.while_waiting = work
    result = desk.run("recent", "--follow", "--json")
    assert result.exit_code == 130
    found = [json.loads(line)["intent_id"] for line in result.stdout.splitlines()]
    assert found == [f"int_{number:048x}" for number in (1, 2, 3)]
