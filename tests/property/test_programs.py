"""One effect per intent, counted over thousands of programs and compared with the usual implementation."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

import pytest
from rich.console import Console
from rich.table import Table

from tests.property.programs import Side, Tally, run_many

SIDES: tuple[Side, ...] = ("ours", "powertools")


def test_a_thousand_programs_have_exactly_one_effect_for_each_intent() -> None:
    tally = run_many("ours", range(1000))
    assert (tally.several, tally.none, tally.odd) == (0, 0, [])
    assert tally.ratio == 1.0


def test_the_programs_show_the_difference_between_the_two_implementations() -> None:
    tally = run_many("powertools", range(150))
    assert tally.several > 0
    assert tally.ratio > 1.0


@pytest.mark.prove
def test_ten_thousand_programs_have_exactly_one_effect_for_each_intent() -> None:
    console, began = Console(width=120), time.monotonic()
    programs, chunk = 10_000, 250
    tallies = {side: Tally() for side in SIDES}
    # A fresh interpreter for each worker: nothing of this process is shared.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = {
            pool.submit(run_many, side, range(start, start + chunk)): side
            for start in range(1_000_000, 1_000_000 + programs, chunk)
            for side in SIDES
        }
        for number, done in enumerate(as_completed(asked), start=1):
            tallies[asked[done]].add(done.result())
            if number % 8 == 0:
                passed = time.monotonic() - began
                console.print(f"  {number * 100 // len(asked):3} % of the programs, {passed:.0f} s", highlight=False)
    table = Table(title=f"{programs:,} programs, {time.monotonic() - began:.0f} s")
    for name in (
        "",
        "programs",
        "intents",
        "effects",
        "effects/intents",
        "with 2+ effects",
        "with 0 effects",
        "writes",
    ):
        table.add_column(name, justify="right" if name else "left")
    for side, tally in tallies.items():
        numbers = (tally.programs, tally.intents, tally.effects)
        table.add_row(
            side, *map(str, numbers), f"{tally.ratio:.3f}", str(tally.several), str(tally.none), str(tally.writes)
        )
    console.print(table)
    console.print(
        "An effect changed Tallyfy's state; a write was carried out there, whether it changed anything or not."
    )
    ours = tallies["ours"]
    console.print(f"effects/intents = {ours.ratio:.3f}", highlight=False)
    assert (ours.programs, ours.several, ours.none, ours.odd) == (programs, 0, 0, [])
    assert tallies["powertools"].ratio > ours.ratio == 1.0
