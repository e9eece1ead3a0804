"""`lifecycle smoke` against the deployed template: it passes, and leaves nothing behind."""

import json
from pathlib import Path

import pytest

from tests.e2e.bench import Bench
from tests.e2e.test_terminal import type_as

pytestmark = pytest.mark.e2e


def test_a_deployed_stack_is_proven_and_nothing_is_left(bench: Bench, tmp_path: Path) -> None:
    bench.stack.hear_notices()
    before = bench.stack.sqs.list_queues()["QueueUrls"]
    files = ("--journal", str(tmp_path / "journal.json"))
    proved = type_as(bench, bench.stack.administrator("hedy"), "smoke", "--json", *files)
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert len(json.loads(proved.stdout)) == 16
    assert bench.stack.sqs.list_queues()["QueueUrls"] == before
    assert not list(tmp_path.iterdir())
    deletes = [call.path for call in bench.simulator.log() if call.method == "DELETE"]
    assert deletes[-1].endswith("/delete"), "the task that it made is gone for good"
