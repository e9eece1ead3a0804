"""Two releases at once: rows and messages of the previous and the next release are read, and none becomes poison.

``tests/releases/`` has the rows of each release and the messages of its queues. Add a file with each release, and never
change an old one.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.dynamodb import Key, Put, Row
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.errors import Code, Throttled
from lifecycle.domain.intent import OPEN, Status
from lifecycle.execution.status import StatusService
from tests.harness.builders import ID_KEY, NOW, ORG
from tests.harness.sweep_run import SweepRun
from tests.harness.world import TERMS, World

LEFT = sorted(Path(__file__).parents[2].joinpath("releases").glob("*.json"))
RUN = "a1" * 16


def left_by(path: Path) -> tuple[World, dict[str, Any]]:
    """A world with the rows of another release, at the time when they were taken."""
    left: dict[str, Any] = json.loads(path.read_text())
    world = World()
    world.clock.now = datetime.fromisoformat(left["taken_at"])
    for row in left["rows"]:
        world.rows.table[Key(row["pk"], row["sk"])] = Row(row["values"], row["version"])
    for number in range(1, 9):
        world.add(Resource.RUN, f"{number:032x}")
    world.add(Resource.RUN, RUN, archived_days=40)
    return world, left


@pytest.mark.parametrize("path", LEFT, ids=lambda path: path.stem)
def test_rows_of_an_earlier_release_are_read(path: Path) -> None:
    world, left = left_by(path)
    lookup = StatusService(ledger=world.ledger, id_key=lambda: ID_KEY, clock=world.clock)
    intents = [row["values"] for row in left["rows"] if row["sk"] == "intent"]
    assert len(intents) >= 6
    for row in intents:
        state = lookup.status_of(row["intent_id"])
        assert (state.status, bool(state.reason)) == (Status(row["status"]), True)
    assert world.holds.reasons(ORG)
    assert ApprovalStore(world.rows, TERMS.keep, world.clock).open(ORG) is not None
    assert world.pacing.reserve(ORG, 1).calls == 1


@pytest.mark.parametrize("path", LEFT, ids=lambda path: path.stem)
def test_messages_of_an_earlier_release_are_carried_out(path: Path) -> None:
    world, left = left_by(path)
    for body in left["commands"]:
        permanent = json.loads(body)["action"] == "delete"
        (world.purge_queue if permanent else world.queue).send(body)
    world.drain(world.process())
    world.purge().deliver(10)
    for body in left["commands"]:
        command = json.loads(body)
        row = world.intent(command["intent_id"])
        assert command["action"] == "delete" or row.status not in OPEN, row
    assert "poison" not in {entry.message.attributes["code"] for entry in world.dead_letters.entries.values()}
    night = SweepRun(world)
    for body in left["jobs"]:
        night.queue.send(body)
        night.deliver()
    assert "poison" not in {entry.message.attributes["code"] for entry in world.dead_letters.entries.values()}


# --- and of the one after ---------------------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    made = World()
    made.add(Resource.RUN, RUN)
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda message: {**message, "version": 2},
        lambda message: {**message, "urgency": "high"},
        lambda message: {**message, "resource": "folder"},
        lambda message: {**message, "action": "hide"},
    ],
    ids=["its version", "a new field", "a new kind of thing", "a new action"],
)
def test_a_message_of_a_later_release_stays_in_the_queue(
    world: World, change: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    command = world.command(Resource.RUN, RUN, Action.ARCHIVE, "later")
    world.queue.send(json.dumps(change(json.loads(command.to_json()))))
    for _ in range(20):
        world.clock.advance(timedelta(hours=2))
        world.process().deliver()
    assert world.depth == (1, 0)
    assert world.state(Resource.RUN, RUN) is State.ACTIVE
    world.clock.advance(timedelta(days=3))
    world.process().deliver()
    [letter] = world.dead_letters.entries.values()
    assert letter.message.attributes["code"] == Code.POISON


def _with_status(world: World, intent: str, status: str) -> None:
    key = Key(f"intent#{intent}", "intent")
    [row] = world.rows.read(key)
    assert row is not None
    world.rows.write(Put(key, {**row.values, "status": status}, row.version))


def test_a_row_with_a_status_of_a_later_release_is_left_alone_and_named(world: World) -> None:
    command = world.command(Resource.RUN, RUN, Action.ARCHIVE, "later")
    world.send(command)
    _with_status(world, command.intent_id, "postponed")
    world.process().deliver()
    assert world.depth == (1, 0)
    assert world.state(Resource.RUN, RUN) is State.ACTIVE
    with pytest.raises(Throttled, match="postponed"):
        world.ledger.find(command.intent_id)
    _with_status(world, command.intent_id, "waiting")  # the later release carried it out, or was rolled back
    world.drain(world.process())
    assert world.intent(command.intent_id).status is Status.DONE


def test_fields_that_a_later_release_adds_to_rows_are_ignored(world: World) -> None:
    command = world.command(Resource.RUN, RUN, Action.ARCHIVE, "later")
    world.send(command)
    for key in list(world.rows.table):
        row = world.rows.table[key]
        world.rows.table[key] = Row({**row.values, "mood": "fine"}, row.version)
    world.drain(world.process())
    assert world.intent(command.intent_id).status is Status.DONE
    assert world.clock() >= NOW
