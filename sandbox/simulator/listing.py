"""Lists as Tallyfy returns them: filters, sorting and pages."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Final, Literal

from sandbox.simulator.messages import CallRefused, Json, Response, as_json, unprocessable
from sandbox.simulator.world import Organization, Run, Tag, Task, Template, live

type Query = Mapping[str, str]

PER_PAGE: Final = 10
MOST_PER_PAGE: Final = 100
NEXT_PAGE_HOST: Final = "https://pages.tallyfy.invalid"
"""The host of every next-page link, on purpose: a client that follows one would send its token to another host."""


def page[T](path: str, query: Query, items: Iterable[T], row: Callable[[T], Json]) -> Response:
    """Return one page of `items` as rows."""
    everything: Sequence[T] = items if isinstance(items, list) else list(items)
    per_page = min(_number(query.get("per_page"), PER_PAGE), MOST_PER_PAGE)
    current = _number(query.get("page"), 1)
    pages = max(1, math.ceil(len(everything) / per_page))
    cut = everything[(current - 1) * per_page : current * per_page]
    links: dict[str, str] = {}
    if current < pages:
        links["next"] = f"{NEXT_PAGE_HOST}{path}?page={current + 1}"
    if current > 1:
        links["previous"] = f"{NEXT_PAGE_HOST}{path}?page={current - 1}"
    pagination: Json = {
        "total": len(everything),
        "count": len(cut),
        "per_page": per_page,
        "current_page": current,
        "total_pages": pages,
        "links": links or [],  # PHP writes an empty map as a list
    }
    return as_json(200, {"data": [row(item) for item in cut], "meta": {"pagination": pagination}})


def runs(organization: Organization, query: Query) -> list[Run]:
    """Select runs. Tallyfy has no filter on dates, so there is none here."""
    status = query.get("status")
    found: Iterable[Run] = live(organization.runs, "only" if status == "archived" else _archived(query))
    if status and status != "archived":
        found = [run for run in found if run.status == status]
    if wanted := query.get("checklist_id"):
        found = [run for run in found if run.checklist_id == wanted]
    if owners := _words(query.get("owners")):
        found = [run for run in found if str(run.owner_id) in owners]
    if words := query.get("q"):
        found = [run for run in found if words.lower() in run.name.lower()]
    if "tag" in query or "tag_ids" in query:
        tags = _words(query.get("tag_ids")) | _words(query.get("tag"))  # ids, both of them
        found = [run for run in found if run.tags & tags]
    return _sorted(found, query)


def tasks(organization: Organization, query: Query) -> list[Task]:
    """Select tasks, one-off or of runs."""
    found: Iterable[Task] = live(organization.tasks, _archived(query))
    if (oneoff := query.get("is_oneoff")) in {"true", "false", "1", "0"}:
        found = [task for task in found if (task.run_id is None) is (oneoff in {"true", "1"})]
    if status := query.get("status"):
        found = [task for task in found if task.status == status]
    if created := query.get("created"):
        first, last = _days(created)
        found = [task for task in found if first <= task.created_at.date() <= last]
    if "tag" in query:  # of tasks it is the tag's name
        wanted = {tag.id for tag in organization.tags.values() if tag.title == query["tag"] and not tag.deleted_at}
        found = [task for task in found if task.tags & wanted]
    return _sorted(found, query)


def templates(organization: Organization, query: Query) -> list[Template]:
    """Select templates."""
    found: Iterable[Template] = live(organization.templates, _archived(query))
    if words := query.get("q"):
        found = [template for template in found if words.lower() in template.title.lower()]
    return _sorted(found, query)


def tags(organization: Organization, query: Query) -> list[Tag]:
    """Select tags. Tags that Tallyfy generated are listed only with `all=true`."""
    everything = query.get("all") == "true"
    found = [tag for tag in organization.tags.values() if not tag.deleted_at and (everything or not tag.auto_generated)]
    return _sorted(found, query)


def _archived(query: Query) -> Literal["no", "only", "both"]:
    match query.get("archived"):
        case "only":
            return "only"
        case "true" | "1":
            return "both"
        case _:
            return "no"


def _sorted[T: (Run, Task, Tag, Template)](found: Iterable[T], query: Query) -> list[T]:
    """Sort by a field; `-` means descending. Empty values come last. An unknown field is ignored."""
    wanted = query.get("sort", query.get("sort_by", ""))
    name = wanted.removeprefix("-")
    rows = list(found)
    if name not in {"created_at", "last_updated", "completed_at", "archived_at", "name", "title", "status"}:
        return rows
    known = [row for row in rows if getattr(row, name, None) is not None]
    rest = [row for row in rows if getattr(row, name, None) is None]
    known.sort(key=lambda row: getattr(row, name), reverse=wanted.startswith("-"))
    return known + rest


def _words(text: str | None) -> set[str]:
    return {word.strip() for word in (text or "").split(",") if word.strip()}


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and 0 < int(text) < 10**9 else default


def _days(text: str) -> tuple[date, date]:
    """Read `YYYY-MM-DD` or `YYYY-MM-DD:YYYY-MM-DD`."""
    first, _, last = text.partition(":")
    try:
        return date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError as problem:
        raise CallRefused(unprocessable("created", "The created filter is not a date.")) from problem
