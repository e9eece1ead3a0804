"""What 0.1.0 left in its buckets is read, verified and carried out by this release.

``tests/releases/v0.1.0/objects.json`` has a plan of three processes, the export of a permanent delete and a sealed hour
of the audit trail, as that release wrote them. Add a folder with each release, and never change an old one.
"""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lifecycle.aws.dynamodb import Key, Put
from lifecycle.aws.table_keys import AUDIT_HEAD
from lifecycle.deletion.export_readback import verify
from tests.harness.sweep_run import SweepRun
from tests.template.support import ROOT
from tests.unit.cli.harness import CliHarness
from tests.unit.cli.planned import at_night, organization, runs

LEFT = sorted((ROOT / "tests" / "releases").glob("*/objects.json"))


@pytest.fixture(params=LEFT, ids=lambda path: path.parent.name)
def left(request: pytest.FixtureRequest) -> dict[str, Any]:
    path: Path = request.param
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture
def desk() -> CliHarness:
    return CliHarness()


@pytest.fixture
def night(desk: CliHarness, left: dict[str, Any]) -> SweepRun:
    """The sweeps of a stack that has the rows and buckets of the earlier release. The desk stands before it."""
    desk.clock.now = datetime.fromisoformat(left["taken_at"])
    made = at_night(desk, organization(runs(3)))
    for row in left["rows"]:
        made.world.rows.write(Put(Key(row["pk"], row["sk"]), row["values"], 0))
    made.world.rows.write(Put(AUDIT_HEAD, left["head"]["values"], 0))
    for objects, kind in ((made.objects, "plans"), (desk.stack.evidence, "exports"), (desk.stack.segments, "audit")):
        for key, body in left[kind].items():
            objects.put(key, base64.b64decode(body), kind="application/octet-stream")
    return made


def test_a_plan_is_shown_and_applied(desk: CliHarness, night: SweepRun, left: dict[str, Any]) -> None:
    shown = desk.run("overview")
    assert f"{left['plan'][:12]}: 3 due of 3 seen" in shown.output, shown.output
    applied = desk.run("apply", left["plan"], "--yes")
    assert applied.exit_code == 0, applied.output
    night.drain()
    assert len(night.archived()) == 3


@pytest.mark.usefixtures("night")
def test_an_export_still_matches_its_manifest(desk: CliHarness, left: dict[str, Any]) -> None:
    [manifest] = [key for key in left["exports"] if key.endswith("/manifest.json")]
    found, wrong = verify(desk.stack.evidence, manifest.rpartition("/")[0])
    assert wrong == ()
    assert found is not None
    assert found.complete


@pytest.mark.usefixtures("night")
def test_the_audit_trail_is_unbroken_up_to_its_head(desk: CliHarness) -> None:
    verified = desk.run("audit", "verify")
    assert verified.exit_code == 0, verified.output
    assert "unbroken: 1 segments" in verified.output


@pytest.mark.usefixtures("night")
def test_one_changed_byte_is_noticed(desk: CliHarness) -> None:
    [(key, body)] = desk.stack.segments.bodies.items()
    desk.stack.segments.bodies[key] = body.replace(b"bob", b"eve")
    assert desk.run("audit", "verify").exit_code == 1
