"""A plan as CSV (RFC 4180) for a spreadsheet: UTF-8 with a byte order mark, because Excel needs it.

The page of the report writes the same columns and the same text.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from io import StringIO
from zoneinfo import ZoneInfo

from lifecycle.domain.capabilities import capability
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.plan_file import Entry, Names, Plan
from lifecycle.plans.report.text import link, plain, status_word

COLUMNS = (
    "decision",
    "irreversible",
    "kind",
    "id",
    "name",
    "rule",
    "reason_kind",
    "reason",
    "status",
    "state",
    "created",
    "completed",
    "archived",
    "last_updated",
    "template_id",
    "template",
    "owner_ids",
    "owners",
    "tags",
    "link",
)
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that make a spreadsheet run a cell as a formula; in some languages the wide forms do so too."""


def csv_lines(plan: Plan, entries: Iterable[Entry], names: Names) -> Iterator[str]:
    """The lines with their line breaks: the names of the columns, then one line for each resource."""
    yield "\ufeff" + _line(COLUMNS)
    zone = ZoneInfo(plan.zone)
    for entry in entries:
        yield _line(_cells(plan, entry, names, zone))


def _cells(plan: Plan, entry: Entry, names: Names, zone: ZoneInfo) -> Iterable[str]:
    thing, decision = entry.thing, entry.decision
    final = decision.action is not None and capability(thing.resource, decision.action).irreversible
    return (
        decision.action.value if decision.action else "keep",
        "yes" if final else "no",
        thing.resource.label,
        plain(thing.id),
        plain(thing.name or ""),
        plain(decision.rule),
        plain(decision.kind),
        plain(decision.reason),
        plain(status_word(thing.status)),
        thing.state.value,
        *(_day(when, zone) for when in (thing.created_at, thing.completed_at, thing.archived_at, thing.last_updated)),
        plain(thing.template_id or ""),
        template_of(thing, names),
        plain(", ".join(sorted(thing.owners or ()))),
        owners_of(thing, names),
        plain(", ".join(sorted(thing.tags or ()))),
        link(plan.org_id, thing.resource, thing.id) or "",
    )


def _day(when: datetime | None, zone: ZoneInfo) -> str:
    day = day_in(when, zone)
    return day.isoformat() if day else ""


def day_in(when: datetime | None, zone: ZoneInfo) -> date | None:
    """The day in a time zone; ``None`` if the time is unknown or has no date there."""
    try:
        return None if when is None else when.astimezone(zone).date()
    except OverflowError:
        return None


def _line(texts: Iterable[str]) -> str:
    written = StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow([_harmless(text) for text in texts])
    return written.getvalue()


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def owners_of(thing: ResourceSnapshot, names: Names) -> str:
    """The names of the owners; the id of an owner whose name is not known."""
    return ", ".join(plain(names.owners.get(number, number)) for number in sorted(thing.owners or ()))


def template_of(thing: ResourceSnapshot, names: Names) -> str:
    """The name of the template; its id if the name is not known."""
    return plain(names.templates.get(thing.template_id or "", thing.template_id or ""))
