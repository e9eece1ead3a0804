"""The measurements: medians with bootstrap intervals, as tables on the terminal and as a JSON file."""

import json
import os
import platform
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its 95 % confidence interval."""

    median: float
    low: float
    high: float

    def show(self, digits: int = 0) -> str:
        """Format the estimate for people."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


def estimate(samples: Sequence[float]) -> Estimate:
    """Return the median and the percentile interval of 2,000 bootstrap draws. Equal samples give an equal result."""
    draw = random.Random(len(samples))
    medians = sorted(median(draw.choices(samples, k=len(samples))) for _ in range(_DRAWS))
    return Estimate(median(samples), medians[int(_DRAWS * 0.025)], medians[int(_DRAWS * 0.975) - 1])


@dataclass(slots=True)
class Results:
    """All tables of a run. ``save`` writes them as JSON."""

    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def add(self, title: str, rows: list[dict[str, object]]) -> None:
        """Store a table and print it."""
        self.tables[title] = rows
        shown = Table(title=title)
        for name in rows[0]:
            shown.add_column(name, justify="left" if name == next(iter(rows[0])) else "right")
        for row in rows:
            shown.add_row(*(_shown(value) for value in row.values()))
        Console(width=150).print(shown)

    def save(self, path: Path) -> None:
        """Write the tables as JSON, with a description of the machine."""
        machine = {"python": platform.python_version(), "machine": platform.machine(), "processors": os.cpu_count()}
        path.parent.mkdir(parents=True, exist_ok=True)
        tables = {
            title: [{name: _stored(value) for name, value in row.items()} for row in rows]
            for title, rows in self.tables.items()
        }
        path.write_text(json.dumps({"measured_on": machine, "tables": tables}, indent=2) + "\n")


def _shown(value: object) -> str:
    if isinstance(value, Estimate):
        return value.show(2 if value.median < 10 else 0)
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _stored(value: object) -> object:
    return [value.median, value.low, value.high] if isinstance(value, Estimate) else value
