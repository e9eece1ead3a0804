"""Checks that a whole list was read, by comparing its rows with its total. Items that move shift the pages.

Pure. The sweep reads lists of any length over several invocations; see ``plans.pagination_check`` for its check.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class CompleteList:
    """One reading of a list, page by page."""

    totals: set[int | None] = field(default_factory=set)
    """The totals that the pages named."""
    ids: set[object] = field(default_factory=set)
    unnamed: int = 0
    """Rows without a readable id."""

    def add_page(self, ids: Iterable[object], total: int | None) -> None:
        """Take in a page: the id of each row, and the total that came with it."""
        self.totals.add(total)
        for name in ids:
            if isinstance(name, str | int) and name != "":
                self.ids.add(name)
            else:
                self.unnamed += 1

    @property
    def trouble(self) -> str:
        """Why the list may be incomplete, as a sentence; empty if every page named the number of rows that came."""
        came = len(self.ids) + self.unnamed
        if self.totals == {came}:
            return ""
        totals = " or ".join(sorted("an unknown number" if total is None else str(total) for total in self.totals))
        return f"{came} rows came of a list of {totals}: it changed while it was read."
