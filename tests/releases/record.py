"""Records what this release leaves in its buckets, for the tests of later ones: python -m tests.releases.record v0.2.0.

tests/unit/cli/test_earlier_release.py reads it. Run it once for each release, before its tag.
"""

import base64
import json
import re
import sys
from pathlib import Path

from lifecycle.aws.s3 import MemoryObjects
from lifecycle.aws.table_keys import AUDIT_HEAD
from tests.unit.cli.harness import CliHarness
from tests.unit.cli.planned import at_night, organization, runs
from tests.unit.docs.test_erasure import Followed


def left() -> dict[str, object]:
    """A plan of three processes, the export of a permanent delete, and a sealed hour of the audit trail."""
    deleted = Followed()
    night = at_night(CliHarness(), organization(runs(3)))
    night.begin()
    night.drain()
    [plan] = night.plans()
    head = deleted.world.rows.table[AUDIT_HEAD]
    rows = [
        {"pk": key.pk, "sk": key.sk, "values": dict(row.values)}
        for key, row in night.world.rows.table.items()
        if key.pk.startswith("sweep#")
    ]
    objects = {"exports": deleted.exports, "audit": deleted.desk.stack.segments, "plans": night.objects}
    kept = {name: _as_text(one) for name, one in objects.items() if isinstance(one, MemoryObjects)}
    assert set(kept) == set(objects)
    taken = {"taken_at": night.world.clock().isoformat(), "plan": plan.hash, "head": {"values": dict(head.values)}}
    return {**taken, "rows": rows, **kept}


def _as_text(objects: MemoryObjects) -> dict[str, str]:
    """Every object but reports, which no release reads again."""
    kept = {key: body for key, body in sorted(objects.bodies.items()) if not key.endswith(".html")}
    return {key: base64.b64encode(body).decode() for key, body in kept.items()}


def main(arguments: list[str]) -> None:
    """Write the folder of the release that the first argument names. An old one is never changed."""
    [name] = arguments
    assert re.fullmatch(r"v\d+\.\d+\.\d+", name), name
    folder = Path(__file__).parent / name
    folder.mkdir()
    (folder / "objects.json").write_text(json.dumps(left(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
