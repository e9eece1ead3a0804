"""Whether the audit function can seal a hundred thousand records of one hour within its memory and time.

A separate process seals two such hours, because the second one also reads the first again. A fake table answers page by
page, as DynamoDB does, and generates its rows on the way, so that they take no memory.
"""

import json
import os
import subprocess
import sys

import pytest
from rich.console import Console

from tests.template.support import ROOT

MEBIBYTE = 1024 * 1024
MANY = 100_000

SEAL = """
import json, resource, sys, tempfile, time
from datetime import UTC, datetime
from pathlib import Path
from lifecycle.bootstrap import audit  # what the function loads
from lifecycle.aws.s3 import FolderObjects
from lifecycle.aws.dynamodb import DynamoTable
from lifecycle.aws.metrics import MemoryMetrics
from lifecycle.audit.store import AuditStore
from lifecycle.audit.chain import Head, verify
from lifecycle.domain.clock import millis
from lifecycle.audit.chain import start_of
from lifecycle.audit.sealer import Sealer

MANY = int(sys.argv[1])
REST = json.dumps({"what": "intent.concluded", "org_id": "a" * 32, "resource": "run", "id": "b" * 32,
    "action": "archive", "by": "schedule", "source": "sweep", "status": "done", "code": "acted",
    "reason": "The process is archived." * 4, "why": "It was completed more than 30 days ago. " * 4,
    "asked": "c" * 64, "evidence": "d" * 64}, separators=(",", ":"))[1:]

class Pages:
    def paginate(self, **asked):
        hour = asked["ExpressionAttributeValues"][":pk"]["S"].removeprefix("audit#")
        page = []
        if hour in ("2026-06-01T10", "2026-06-01T11"):
            start = millis(start_of(hour))
            for number in range(MANY):
                at = start + number * 3_600_000 // MANY
                line = '{"at":%d,"intent_id":"int_%048x",%s' % (at, number, REST)
                page.append({"pk": {"S": hour}, "sk": {"S": "%d#int_%048x#intent.concluded" % (at, number)},
                    "version": {"N": "1"}, "expires_at": {"N": "1"}, "line": {"S": line}})
                if len(page) == 1000:
                    yield {"Items": page}
                    page = []
        yield {"Items": page}

class Client:
    def __init__(self):
        self.head = {}
    def get_paginator(self, name):
        return Pages()
    def get_item(self, **asked):
        return self.head
    def put_item(self, **asked):
        self.head = {"Item": asked["Item"]}

with tempfile.TemporaryDirectory() as folder:
    objects, trail = FolderObjects(Path(folder)), AuditStore(DynamoTable(Client(), "ledger"))
    trail.move(Head(through="2026-06-01T09"), 0)
    began = time.monotonic()
    done = Sealer(trail=trail, objects=objects, metrics=MemoryMetrics(),
        clock=lambda: datetime(2026, 6, 1, 12, 20, tzinfo=UTC), time_left=lambda: 900.0).seal()
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    bodies = [objects.get(key) for key in objects.keys("audit/")]
    print(json.dumps({"done": done, "peak": peak, "seconds": seconds, "sizes": [len(body) for body in bodies],
        "records": [body.count(b"\\n") - 1 for body in bodies], "breaks": verify(bodies, trail.head()[0])}))
"""


@pytest.mark.benchmark
def test_sealing_100000_records_of_one_hour_fits_in_the_function() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEAL, str(MANY)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "layers" / "lifecycle")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["done"]
    assert told["breaks"] == []
    assert told["records"] == [MANY, MANY]
    assert min(told["sizes"]) > 50 * MEBIBYTE
    console = Console()
    console.print(f"two hours of {MANY} records: {told['seconds']:.1f} s, at most {told['peak'] / MEBIBYTE:.0f} MiB")
    assert told["peak"] < 384 * MEBIBYTE, "the function has 512 MB, and the runtime needs some of it"
