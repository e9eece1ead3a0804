"""How long a caller waits for the first answer of a cold function, beside a floor measured in the same minute.

Each round starts every case once, in random order. A ratio compares a case and its floor in the same round.
``BENCH_ROUNDS`` sets the number of rounds, ``BENCH_INSTRUCTIONS=1`` also counts instructions with valgrind.
"""

import os
import random
import re
import shutil
from dataclasses import dataclass
from statistics import median

import pytest

from tests.benchmarks.cases import CASES, FLOORS, ORG, Case
from tests.benchmarks.results import Results, estimate
from tests.benchmarks.runtime import FakeServices, FunctionProcess, Spent, Throttle
from tests.benchmarks.staging import StagingFolder

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
FULL_PROCESSOR = 1769
"""The memory in MB with which a function has one whole processor."""


@dataclass(frozen=True, slots=True)
class Cold:
    """One cold start: the initialization, the first answer, the peak memory in MiB and the number of calls."""

    init: Spent
    first: Spent
    peak: float
    calls: int

    @property
    def wall(self) -> float:
        """The time that the caller waits, in ms."""
        return self.init.wall + self.first.wall

    def modelled(self, memory: int) -> float:
        """The time in ms that the caller would wait if only the processor took time. Robust on a busy machine."""
        return self.init.cpu + self.first.cpu * max(1.0, FULL_PROCESSOR / memory)


def start(case: Case, staged: StagingFolder, services: FakeServices, processor: Throttle) -> Cold:
    """Start a function, and measure its first answer."""
    services.reset()
    with FunctionProcess(staged, case.task, services.port, ORG) as process:
        answer, first = process.invoke(case.event(), processor, min(1.0, staged.memory(case.task) / FULL_PROCESSOR))
        assert case.holds(answer), f"{case.name}: {answer}"
        return Cold(process.init, first, process.peak, sum(services.reset().values()))


@pytest.mark.benchmark
def test_cold_starts_beside_their_floors(
    staged: StagingFolder, services: FakeServices, processor: Throttle, results: Results
) -> None:
    cases = (*FLOORS, *CASES)
    found: dict[str, list[Cold]] = {case.name: [] for case in cases}
    for case in cases:  # Fill the file system's cache.
        start(case, staged, services, processor)
    for _ in range(ROUNDS):
        for case in random.sample(cases, len(cases)):
            found[case.name].append(start(case, staged, services, processor))
    rows = [_row(case, found, staged.memory(case.task), staged) for case in cases]
    results.add(f"Cold start, ms, {ROUNDS} rounds, {processor.name}: median (95 % interval)", rows)


def _row(case: Case, found: dict[str, list[Cold]], memory: int, staged: StagingFolder) -> dict[str, object]:
    mine, floor = found[case.name], found[case.floor or case.name]
    floor_memory = staged.memory("") if case.floor else memory
    pairs = list(zip(mine, floor, strict=True))
    return {
        "function": case.name,
        "MB": memory,
        "Init": estimate([one.init.wall for one in mine]),
        "first answer": estimate([one.first.wall for one in mine]),
        "Init + first": estimate([one.wall for one in mine]),
        "/ floor": estimate([one.wall / other.wall for one, other in pairs]),
        "CPU": f"{median(one.init.cpu for one in mine):.0f} + {median(one.first.cpu for one in mine):.0f}",
        "/ floor by CPU": estimate([one.modelled(memory) / other.modelled(floor_memory) for one, other in pairs]),
        "calls": max(one.calls for one in mine),
        "peak MiB": round(max(one.peak for one in mine)),
    }


@pytest.mark.benchmark
@pytest.mark.skipif("BENCH_INSTRUCTIONS" not in os.environ, reason="takes minutes; BENCH_INSTRUCTIONS=1 asks for it")
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_of_cold_starts(
    staged: StagingFolder, services: FakeServices, processor: Throttle, results: Results
) -> None:
    rows: list[dict[str, object]] = []
    for case in (*FLOORS, *CASES):
        services.reset()
        log = staged.folder / "valgrind.log"
        log.unlink(missing_ok=True)
        wrapper = (
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            f"--log-file={log}",
        )
        with FunctionProcess(staged, case.task, services.port, ORG, wrapper) as process:
            answer, _ = process.invoke(case.event(), processor, 1.0)
            assert case.holds(answer)
            process.finish()
        counted = re.search(r"I\s+refs:\s+([\d,]+)", log.read_text())
        assert counted is not None
        rows.append({"function": case.name, "million instructions": int(counted[1].replace(",", "")) // 1_000_000})
    results.add("Instructions from the start to the first answer", rows)
