"""The report of a plan: one HTML file for people who review the plan before it is applied.

The page contains everything that it needs and makes no requests. Values from Tallyfy are only text in it, never markup
or code: this package escapes them, the page's script only sets text content, and the page's Content Security Policy
allows no other script. The page is written as a stream. Only the first rows are kept in memory, for readers without
JavaScript.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import batched
from string import Template

from lifecycle.plans.plan_file import Entry, Names, Plan
from lifecycle.plans.report.chart import ages
from lifecycle.plans.report.rows import Rows, blank
from lifecycle.plans.report.summary import approval, facts, headline, next_step, notices, places, totals
from lifecycle.plans.report.text import escape, moment, number

MOST_ROWS = 50_000
"""The most rows of the page. Browsers open a larger page slowly; ``plan.jsonl.gz`` has all rows."""
_BATCH = 200
"""The number of entries in one piece of the page."""
_SPLIT = "<!-- rows -->"
# The characters that could end the script element, and two that older JavaScript took for a line break.
_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def render(plan: Plan, entries: Iterable[Entry], names: Names | None = None) -> Iterator[str]:
    """Write the page piece by piece. ``entries`` is read once. Due resources get a row before kept ones.

    The page contains all of ``names``, so pass only those of the plan.
    """
    style, script = _part("page.css"), _part("page.js")
    before, after = _part("page.html").split(_SPLIT)
    yield Template(before).substitute(
        csp=_policy(style, script),
        style=style,
        title=escape(headline(plan).title),
        heading=escape(headline(plan).sentence),
        lead=escape(headline(plan).lead),
        place=escape(plan.org_name or plan.org_id),
        made=moment(plan.made_at, plan.zone),
        notices=notices(plan),
        places=places(plan),
        totals=totals(plan),
        ages=ages(plan),
    )
    chosen, rows = _Chosen(plan), Rows(plan, names or Names())
    yield f'<script type="application/json" id="data">{_json(rows.terms())[:-1]},"rows":['
    separator = ""
    for batch in batched(chosen.of(entries), _BATCH, strict=False):
        yield separator + _json([rows.row(entry) for entry in batch])[1:-1]
        separator = ","
    yield f'],"words":{_json(rows.words)}}}</script>\n'
    yield Template(after).substitute(
        script=script,
        left_out=chosen.left_out(),
        unread=_unread(plan),
        count=len(rows.first),
        all=rows.written + 1,
        shown=_shown(len(rows.first), rows.written),
        rows=rows.table(),
        blank=blank(),
        facts=facts(plan),
        next=next_step(plan),
        approval=approval(plan),
    )


@dataclass(slots=True)
class _Chosen:
    """Limits the rows of the page. Rows for due resources are reserved: the plan says how many there are."""

    plan: Plan
    _due: int = 0
    _kept: int = 0
    _left: int = field(default=0)

    def of(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.decision.action is not None and self._due + self._kept < MOST_ROWS:
                self._due += 1
            elif entry.decision.action is None and self._kept < MOST_ROWS - self.plan.due:
                self._kept += 1
            else:
                self._left += 1
                continue
            yield entry

    def left_out(self) -> str:
        if not self._left:
            return ""
        of_them = "all that would be acted on" if self._due >= self.plan.due else "as many of the due ones as fit"
        return (
            f'<p class="note"><strong>{number(self._left)} rows are left out.</strong> This page has '
            f"{number(self._due + self._kept)} rows, {of_them} among them; <code>plan.jsonl.gz</code> has all.</p>"
        )


def _unread(plan: Plan) -> str:
    if not plan.failed:
        return ""
    return (
        f'<p class="note">{number(plan.failed)} of the listed things could not be read. They are kept, '
        "and have no row here.</p>"
    )


def _shown(first: int, written: int) -> str:
    return f"Showing {number(first)} of {number(written)} rows"


@cache
def _part(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """The Content Security Policy: the page loads and sends nothing, and only this style and this script are used."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",  # the empty icon: without it, browsers request one
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)
