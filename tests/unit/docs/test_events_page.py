"""docs/events.md: every event that the code can announce is there, with the fields that it really has."""

import json
import re

import pytest

from lifecycle.approvals.rules import ApprovalNotice
from lifecycle.aws.eventbridge import MemoryBus
from lifecycle.deletion.safeguards import announce_request
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.clock import millis
from lifecycle.domain.intent import OPEN, Status
from tests.contract.test_approvals_store import request
from tests.harness.builders import NOW
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World
from tests.unit.docs.documents import ROOT, page, rows

HEADER = "| `detail-type` | fields of `detail` |"
FIELDS = {
    name: re.findall(r"`(\w+)`", fields)
    for part in page("events.md").split("\n## ")[1:]
    for names, fields in rows(part, HEADER)
    for name in re.findall(r"`([\w.]+)`", names)
}


def test_the_page_has_every_event_and_no_other() -> None:
    written = {
        found
        for path in (ROOT / "layers/lifecycle/lifecycle").rglob("*.py")
        for found in re.findall(r'"(lifecycle\.(?:sweep|plan|preflight|digest|command)\b[\w.]*)"', path.read_text())
    }
    ends = {f"lifecycle.command.{status}" for status in Status if status not in OPEN}
    notices = {f"lifecycle.approval.{notice}" for notice in ApprovalNotice}
    assert set(FIELDS) == written | ends | notices


def test_the_outcome_event_has_the_documented_fields() -> None:
    world = World()
    thing = world.add(Resource.RUN, "a1" * 16)
    world.send(world.command(Resource.RUN, thing, Action.ARCHIVE, "one"))
    world.queue.send("{}")
    world.drain(world.process())
    assert {name for name, _ in world.bus.announced} == {"lifecycle.command.done", "lifecycle.command.poison"}
    _has_its_fields(world.bus)


def test_sweep_preflight_and_digest_events_have_the_documented_fields() -> None:
    night = SweepRun(World())
    night.begin()
    night.drain()
    night.world.simulator.organization.members[1001].role = "light"
    night.world.dead_letters.send("{}", {"code": "held"})
    night.queue.send(json.dumps({"sweep_id": "a", "kind": "check"}))
    night.drain()
    named = {name for name, _ in night.world.bus.announced}
    assert named >= {"lifecycle.sweep.finished", "lifecycle.preflight.failed", "lifecycle.digest"}
    _has_its_fields(night.world.bus)


def test_the_approval_event_has_the_documented_fields() -> None:
    bus = MemoryBus()
    announce_request(bus, request(), millis(NOW))
    assert [name for name, _ in bus.announced] == ["lifecycle.approval.asked"]
    _has_its_fields(bus)


def _has_its_fields(bus: MemoryBus) -> None:
    for name, detail in bus.announced:
        assert sorted(detail) == sorted(FIELDS[name]), name
        for field, value in detail.items():
            assert isinstance(value, bool if field == "dead_lettered" else str), (name, field)


@pytest.mark.parametrize("name", FIELDS)
def test_every_event_has_its_schemas_version(name: str) -> None:
    assert FIELDS[name][0] == "schema_version"
