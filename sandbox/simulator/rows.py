"""Tallyfy's objects as JSON rows, with the parts that a caller requested with `with=`."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from sandbox.simulator.messages import Json
from sandbox.simulator.world import Asset, FeedEntry, Member, Organization, Run, Tag, Task, Template, Thread

type Includes = frozenset[str]


def stamp(moment: datetime | None) -> str | None:
    """Format a time without milliseconds, one of Tallyfy's two formats."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_millis(moment: datetime | None) -> str | None:
    """Format a time with milliseconds, Tallyfy's other format."""
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def progress(run: Run) -> Json:
    """Count a run's tasks, as reads show them."""
    done = sum(task.completed_at is not None for task in run.tasks)
    total = len(run.tasks)
    return {"complete": done, "total": total, "percent": round(100 * done / total) if total else 0}


def run_row(
    organization: Organization,
    run: Run,
    includes: Includes = frozenset(),
    values: bool = False,
    *,
    archived_too: bool = False,
) -> Json:
    """Show a run as reads do. `archived_too` adds the threads that were archived with the run."""
    template = organization.templates.get(run.checklist_id or "")
    row: Json = {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "progress": progress(run),
        "checklist_id": run.checklist_id,
        "checklist_title": template.title if template else None,
        "owner_id": run.owner_id,
        "started_by": run.started_by,
        "created_at": stamp(run.created_at),
        "started_at": stamp(run.started_at),
        "last_updated": stamp(run.last_updated),
        "completed_at": stamp_millis(run.completed_at),
        "archived_at": stamp_millis(run.archived_at),
        "due_date": stamp(run.due_date),
        "tags": tag_rows(organization, run),
        "is_public": run.is_public,
        "type": "procedure",
    }
    row |= _included(organization, run, includes, archived_too=archived_too)
    if "tags" in includes:
        row["tags"] = {"data": row["tags"]}
    if values:
        row["form_fields_values"] = dict(run.form_fields)
    return row


def _included(organization: Organization, run: Run, includes: Includes, *, archived_too: bool) -> Json:
    """The parts that a read requests besides the run itself."""
    template = organization.templates.get(run.checklist_id or "")
    row: Json = {}
    shown = [task for task in run.tasks if task.archived_at is None]
    if "checklist" in includes:
        row["checklist"] = {"data": template_row(organization, template)} if template else None
    if "tasks" in includes or "tasks.threads" in includes or "tasks.form_fields" in includes:
        nested = frozenset(name.removeprefix("tasks.") for name in includes if name.startswith("tasks."))
        row["tasks"] = {"data": [task_row(organization, task, nested) for task in shown]}
    if "threads" in includes:
        row["threads"] = _thread_rows(run.threads, archived_too=archived_too)
    if "assets" in includes:
        row["assets"] = {"data": [asset_row(asset) for task in shown for asset in task.assets if not asset.deleted_at]}
    if "form_fields" in includes:
        fields = [{"label": label, "value": value} for label, value in run.form_fields.items()]
        row["form_fields"] = {"data": fields}
    if "stages" in includes:
        row["stages"] = {"data": []}
    return row


def archived_run_row(organization: Organization, run: Run) -> Json:
    """Show a run as the archive answer does, where progress is a plain number."""
    return {**run_row(organization, run), "progress": progress(run)["percent"]}


def task_row(
    organization: Organization, task: Task, includes: Includes = frozenset(), *, archived_too: bool = False
) -> Json:
    """Show a task. `archived_too` adds the parts that were archived with the task."""
    row: Json = {
        "id": task.id,
        "title": task.title,
        "run_id": task.run_id,
        "status": task.status,
        "is_oneoff_task": task.run_id is None,
        "owners": {"users": list(task.owners), "guests": [], "groups": []},
        "created_at": stamp(task.created_at),
        "completed_at": stamp_millis(task.completed_at),
        "archived_at": stamp_millis(task.archived_at),
        "deleted_at": stamp(task.archived_at),
        "deadline": stamp(task.deadline),
    }
    if "tags" in includes:
        row["tags"] = {"data": tag_rows(organization, task)}
    if "threads" in includes:
        row["threads"] = _thread_rows(task.threads, archived_too=archived_too)
    if "assets" in includes:
        row["assets"] = {"data": [asset_row(asset) for asset in task.assets if archived_too or not asset.deleted_at]}
    for name in includes & {"comments", "form_fields", "activities"}:
        row[name] = {"data": []}
    for name in includes & {"step", "summary"}:
        row[name] = None
    return row


def _thread_rows(threads: Iterable[Thread], *, archived_too: bool) -> Json:
    return {"data": [thread_row(thread) for thread in threads if archived_too or not thread.deleted_at]}


def thread_row(thread: Thread) -> Json:
    """Show a comment."""
    return {"id": thread.id, "content": thread.content, "deleted_at": stamp(thread.deleted_at)}


def asset_row(asset: Asset) -> Json:
    """Show a file, not its bytes."""
    return {"id": asset.id, "filename": asset.filename, "deleted_at": stamp(asset.deleted_at)}


def tag_row(tag: Tag) -> Json:
    """Show a tag."""
    return {
        "id": tag.id,
        "title": tag.title,
        "color": tag.color,
        "auto_generated": tag.auto_generated,
        "created_at": stamp(tag.created_at),
        "deleted_at": stamp_millis(tag.deleted_at),
    }


def tag_rows(organization: Organization, carrier: Run | Task | Template) -> list[Json]:
    """Show the tags of an object."""
    return [tag_row(organization.tags[tag]) for tag in sorted(carrier.tags) if tag in organization.tags]


def tag_statistics(organization: Organization) -> Counter[tuple[str, str]]:
    """Count the templates and runs that carry each tag, per tag and column, in one pass over all of them."""
    counts: Counter[tuple[str, str]] = Counter()
    for run in organization.runs.values():
        column = "archived_process" if run.archived_at else "active_process"
        counts.update((tag, column) for tag in run.tags)
    for template in organization.templates.values():
        column = "archived_template" if template.archived_at else "active_template"
        counts.update((tag, column) for tag in template.tags)
    return counts


def tag_row_with_statistics(tag: Tag, counts: Counter[tuple[str, str]]) -> Json:
    """Show a tag with its usage counts."""
    columns = ("active_template", "archived_template", "active_process", "archived_process")
    return {**tag_row(tag), "statistics": {"data": {column: counts[tag.id, column] for column in columns}}}


def template_row(organization: Organization, template: Template, includes: Includes = frozenset()) -> Json:
    """Show a template. Its tags are included only on request."""
    row: Json = {
        "id": template.id,
        "title": template.title,
        "status": "archived" if template.archived_at else "published",
        "type": "procedure",
        "created_at": stamp(template.created_at),
        "last_updated": stamp(template.last_updated),
        "archived_at": stamp_millis(template.archived_at),
        "owner_id": template.owner_id,
        "references": list(template.references),
    }
    if "tags" in includes:
        row["tags"] = tag_rows(organization, template)
    if "threads" in includes:
        row["threads"] = _thread_rows(template.threads, archived_too=True)
    if "steps" in includes:
        row["steps"] = {"data": [{"title": title, "position": n} for n, title in enumerate(template.steps, start=1)]}
    return row


def references(templates: Iterable[Template]) -> list[Json]:
    """Show which templates lost a reference."""
    return [{"checklist_id": template.id, "title": template.title} for template in templates]


def member_row(organization: Organization, member: Member) -> Json:
    """Show a member; never the token."""
    return {
        "id": member.id,
        "email": member.email,
        "full_name": member.name,
        "role": member.role,
        "organization_id": organization.id,
    }


def organization_row(organization: Organization) -> Json:
    """Show the organization's settings."""
    return {
        "id": organization.id,
        "name": organization.name,
        "auto_archive": organization.auto_archive,
        "auto_archive_processes_after": organization.auto_archive_processes_after,
    }


def feed_row(number: int, entry: FeedEntry) -> Json:
    """Show a line of the activity feed."""
    return {
        "id": number,
        "verb": entry.verb,
        "entity_type": entry.entity_type,
        "entity_id": entry.entity_id,
        "actor_id": entry.actor_id,
        "created_at": stamp_millis(entry.created_at),
    }
