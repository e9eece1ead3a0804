"""The ages of resources by status, and how many of them are due: as a chart and as a table."""

from collections.abc import Iterator
from itertools import groupby

from lifecycle.domain.capabilities import Resource
from lifecycle.plans.plan_file import AGES, AgeBar, Plan
from lifecycle.plans.report.text import counted, escape, number, plural, status_word

_STEP, _BAR = 60, 38
_TOP, _HEIGHT = 34, 112
_TALL = _TOP + _HEIGHT + 22


def ages(plan: Plan) -> str:
    """One figure for each kind of resource, with one panel for each status."""
    if not plan.ages:
        return "<p>Nothing was seen.</p>"
    bars = sorted(plan.ages, key=lambda bar: (list(Resource).index(bar.resource), bar.status))
    figures = "".join(_figure(kind, list(its)) for kind, its in groupby(bars, key=lambda bar: bar.resource))
    return f'{_PATTERN}<div class="figures">{figures}</div>'


# A hatch, so that readers need not distinguish colours.
_PATTERN = (
    '<svg class="defs" aria-hidden="true" focusable="false" width="0" height="0"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="hatch-under" width="6" height="6"/><rect class="hatch-over" width="2.6" height="6"/></pattern>'
    "</defs></svg>"
)


def _figure(resource: Resource, bars: list[AgeBar]) -> str:
    name = plural(resource.label).capitalize()
    highest = max(1, *(bar.things for bar in bars))
    panels = {status: list(its) for status, its in groupby(bars, key=lambda bar: bar.status)}
    # The status with the most due resources comes first.
    ranked = sorted(panels.items(), key=lambda panel: (-_due(panel[1]), -_things(panel[1])))
    # The column for unknown ages is shown only if a resource has one.
    shown = AGES if any(bar.age == AGES[-1] for bar in bars) else AGES[:-1]
    drawn = "".join(_panel(resource, status, its, highest, shown) for status, its in ranked)
    return (
        f'<figure class="card{" small" if len(panels) == 1 else ""}"><figcaption><h3>{name}</h3>'
        '<span class="legend"><svg class="key" aria-hidden="true" focusable="false" width="14" height="14">'
        '<rect class="bar-due" width="14" height="14" rx="3"/></svg> due '
        '<svg class="key" aria-hidden="true" focusable="false" width="14" height="14">'
        '<rect class="bar-kept" width="14" height="14" rx="3"/></svg> kept</span></figcaption>'
        f'<div class="panels">{drawn}</div>'
        f"<details><summary>{name}: the numbers as a table</summary>{_table(name, ranked)}</details></figure>"
    )


def _panel(resource: Resource, status: str, bars: list[AgeBar], highest: int, shown: tuple[str, ...]) -> str:
    known = {bar.age: bar for bar in bars}
    columns = "".join(_column(place, known[age], highest) for place, age in enumerate(shown) if age in known)
    labels = "".join(
        f'<text class="tick" x="{_STEP * place + _STEP // 2}" y="{_TALL - 5}">{escape(name)}</text>'
        for place, name in enumerate(age.removesuffix(" days") for age in shown)
    )
    said = "; ".join(f"{bar.age}: {number(bar.things)}, of these {number(bar.due)} due" for bar in _in_order(bars))
    title = f"{plural(resource.label).capitalize()} with status {status_word(status)}, by age. {said}."
    floor, width = _TOP + _HEIGHT, _STEP * len(shown)
    # All panels of a figure have one scale. A panel is only as tall as its own highest bar.
    top = floor - _TOP - max(_tall(bar.things, highest) for bar in bars)
    return (
        f'<div class="panel"><p><strong>{escape(status_word(status))}</strong> '
        f'<span class="sub">{number(_things(bars))}{f", {number(_due(bars))} due" if _due(bars) else ""}</span></p>'
        f'<svg class="ages" role="img" aria-label="{escape(title)}" focusable="false" '
        f'viewBox="0 {top:.1f} {width} {_TALL - top:.1f}">'
        f'<line class="floor" x1="0" x2="{width}" y1="{floor}" y2="{floor}"/>{columns}{labels}</svg></div>'
    )


def _column(place: int, bar: AgeBar, highest: int) -> str:
    middle, floor = _STEP * place + _STEP // 2, _TOP + _HEIGHT
    height = _tall(bar.things, highest)
    due = max(height * bar.due / bar.things, 2) if bar.due else 0
    left = middle - _BAR / 2
    drawn = (
        f'<rect class="bar-kept" x="{left:g}" y="{floor - height:.1f}" width="{_BAR}" height="{height:.1f}" rx="2"/>'
    )
    above = floor - height - 6
    if bar.due:
        drawn += f'<rect class="bar-due" x="{left:g}" y="{floor - due:.1f}" width="{_BAR}" height="{due:.1f}" rx="2"/>'
        drawn += f'<text class="due" x="{middle}" y="{above - 13:.1f}">{number(bar.due)} due</text>'
    return drawn + f'<text class="all" x="{middle}" y="{above:.1f}">{number(bar.things)}</text>'


def _tall(things: int, highest: int) -> float:
    return max(_HEIGHT * things / highest, 2)


def _table(name: str, panels: list[tuple[str, list[AgeBar]]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(status_word(status))}</th><td>{escape(bar.age)}</td>'
        f'<td class="n">{number(bar.things)}</td><td class="n">{number(bar.due)}</td></tr>'
        for status, bars in panels
        for bar in _in_order(bars)
    )
    every = [bar for _, bars in panels for bar in bars]
    return (
        f'<table class="plain"><caption>{name} by status and age: {counted(_things(every), "thing")}, '
        f"{number(_due(every))} due</caption>"
        '<thead><tr><th scope="col">Status</th><th scope="col">Age</th><th scope="col" class="n">Things</th>'
        f'<th scope="col" class="n">Due</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _in_order(bars: list[AgeBar]) -> Iterator[AgeBar]:
    return iter(sorted(bars, key=lambda bar: AGES.index(bar.age)))


def _things(bars: list[AgeBar]) -> int:
    return sum(bar.things for bar in bars)


def _due(bars: list[AgeBar]) -> int:
    return sum(bar.due for bar in bars)
