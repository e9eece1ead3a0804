"""A hundred thousand processes make one plan within the memory of the function, despite interruptions."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.property.large_dataset import Cost, read_all, send_all

MEMORY = 512
"""Megabytes."""
KEPT = 200
"""Bytes for each thing, while the plan is written."""


def _alone(call: object, *args: object, **named: object) -> Cost:
    """Runs in its own process, so that its peak of memory is measured alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *args, **named).result()  # type: ignore[arg-type]


def test_an_interruption_anywhere_gives_the_same_plan_of_three_thousand_processes(tmp_path: Path) -> None:
    plain = read_all(3000, tmp_path / "plain", kills=0)
    costs = [read_all(3000, tmp_path / str(seed), seed=seed, kills=0.2) for seed in range(3)]
    assert min(cost.killed for cost in costs) > 0
    assert {tuple(cost.plans) for cost in costs} == {tuple(plain.plans)}
    assert len(plain.plans) == 1


@pytest.mark.prove
def test_a_hundred_thousand_processes_make_one_plan_within_the_function_s_memory(tmp_path: Path) -> None:
    console, count = Console(width=120), 100_000
    one = _alone(read_all, count, tmp_path / "a", seed=1)
    other = _alone(read_all, count, tmp_path / "b", seed=2)
    traced = _alone(read_all, count, tmp_path / "c", seed=3, traced=True)
    applied = _alone(send_all, count, tmp_path / "a", one.plans[0])
    table = Table(title=f"{count:,} processes")
    for name in ("", "invocations", "killed", "pages read twice", "due", "sent", "peak MB", "seconds", "bytes/thing"):
        table.add_column(name, justify="right" if name else "left")
    for name, cost in (("plan", one), ("plan", other), ("plan, traced", traced), ("apply", applied)):
        kept = f"{cost.sealing_bytes / count:.0f}" if cost.sealing_bytes else ""
        numbers = (cost.invocations, cost.killed, cost.pages_twice, cost.due, cost.sent)
        table.add_row(name, *map(str, numbers), f"{cost.peak_megabytes:.0f}", f"{cost.seconds:.1f}", kept)
    console.print(table)
    console.print(f"The plan was written in {one.sealing_seconds:.1f} s.", highlight=False)
    plans = {tuple(cost.plans) for cost in (one, other, traced)}
    assert len(plans) == 1
    assert len(one.plans) == 1
    assert (one.things, one.pages) == (count, count // 100)
    assert max(cost.peak_megabytes for cost in (one, other, applied)) < MEMORY
    assert traced.sealing_bytes / count <= KEPT
    assert min(cost.killed for cost in (one, other)) > 0
    assert applied.sent == one.due
