"""A sweep of many things: its memory, its processor time, what it stores, and what enqueueing a thing costs.

The processor time includes making the pages of the fake Tallyfy. ``BENCH_MILLION=1`` adds a sweep of a million things.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.plans.plan_file import LINES, open_lines
from lifecycle.plans.plan_store import key_of
from sandbox.build import ROOT
from tests.benchmarks.cases import ORG
from tests.benchmarks.results import Results, estimate
from tests.benchmarks.runtime import FakeServices, FunctionProcess, Throttle
from tests.benchmarks.staging import StagingFolder
from tests.benchmarks.sweep_part import Part, size_of
from tests.harness.builders import ORG as SWEPT
from tests.property.large_dataset import Cost, read_all

MILLION = 1_000_000
COUNTS = (50_000, 100_000, 200_000, *((MILLION,) if os.environ.get("BENCH_MILLION") else ()))
ENQUEUED = 20_000
ROUNDS = 7
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/BulkQueue"
MEGABYTE = 1_000_000
MOST_PEAK, MOST_LINES = 200, 60
"""The bounds for a million things: MiB of memory, MB of the plan's lines."""
KEPT = {"lines": "plans/*/*/plan.jsonl.gz", "report": "plans/*/*/report.html", "pages": "sweeps/**/*.gz"}
"""What a sweep stores. The pages that it read are removed after a week, the rest after ``PlanDays``."""


def alone(folder: Path, count: int, *plan: str) -> Part:
    """``measured`` in a new process, so that the peak of memory is its own."""
    command = [sys.executable, "-m", "tests.benchmarks.sweep_part", str(folder), str(count), *plan]
    told = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    return Part(Cost(**told.pop("cost")), **told)


@pytest.mark.benchmark
def test_memory_time_and_storage_of_a_sweep_by_the_number_of_things(results: Results, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for count in COUNTS:
        folder = tmp_path / str(count)
        folder.mkdir()
        plan = alone(folder, count)
        applied = alone(folder, count, plan.cost.plans[0])
        assert applied.cost.sent == plan.cost.due
        peak = max(plan.cost.peak_megabytes, applied.cost.peak_megabytes)
        kept = {name: size_of(folder / "objects", pattern) / MEGABYTE for name, pattern in KEPT.items()}
        rows.append(
            {
                "things": count,
                "due": plan.cost.due,
                "plan, CPU µs a thing": plan.processor / count * 1e6,
                "apply, CPU µs a command": applied.processor / plan.cost.due * 1e6,
                "peak MiB": round(peak),
                **{f"{name}, MB": megabytes for name, megabytes in kept.items()},
                "scratch, MB": max(plan.scratch, applied.scratch) / MEGABYTE,
            }
        )
        assert peak < MOST_PEAK
        assert kept["lines"] * MILLION / count < MOST_LINES
    results.add("A sweep", rows)
    times = [float(str(row["plan, CPU µs a thing"])) for row in rows]
    assert max(times) < 1.5 * min(times), "the time should be linear in the number of things"


@pytest.mark.benchmark
def test_enqueueing_a_thing_of_a_plan_beside_a_send_message(
    staged: StagingFolder, services: FakeServices, processor: Throttle, results: Results, tmp_path: Path
) -> None:
    plan = read_all(ENQUEUED, tmp_path, kills=0)
    lines = tmp_path / key_of(SWEPT, plan.plans[0], LINES)
    with open_lines(lines) as file:
        body = file.readlines()[1].decode()
    summary = (tmp_path / key_of(SWEPT, plan.plans[0], "plan.json")).read_text()
    enqueue = {"queue": QUEUE, "plan": summary, "lines": str(lines)}
    single = {"queue": QUEUE, "body": json.dumps(json.loads(body)), "times": "500"}

    with (
        FunctionProcess(staged, "enqueue", services.port, ORG) as ours,
        FunctionProcess(staged, "send_message", services.port, ORG) as floor,
    ):

        def spent() -> tuple[float, float]:
            answer, mine = ours.invoke(enqueue, processor, 1.0)
            assert answer == {"sent": plan.due}
            _, other = floor.invoke(single, processor, 1.0)
            return mine.cpu / plan.due * 1000, other.cpu / int(single["times"]) * 1000

        spent()
        pairs = [spent() for _ in range(ROUNDS)]
    results.add(
        f"Enqueueing {plan.due:,} things of a plan, beside SendMessage with stock boto3, {ROUNDS} rounds",
        [
            {
                "CPU µs a thing": estimate([mine for mine, _ in pairs]),
                "CPU µs a SendMessage": estimate([other for _, other in pairs]),
                "thing / SendMessage": estimate([mine / other for mine, other in pairs]),
            }
        ],
    )
