"""What people do with processes in Tallyfy, and which events of the organization's webhook follow from it.

The webhook has an event for a launch, for a completion and for each task that is completed. None is documented for
reopening, archiving or restoring a process. A process that is completed again sends ``process.completed`` again, with
another ``completed_at``. Source: Tallyfy's connector for n8n (2026-08).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sandbox.simulator import rows
from sandbox.simulator.messages import CallRefused, Json, error, unprocessable
from sandbox.simulator.quirks import Quirks
from sandbox.simulator.world import FeedEntry, Organization, Run, Verb

type EventName = Literal["process.launched", "process.completed", "task.completed"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. ``row`` is the process or the task, as it is afterwards."""

    name: EventName
    id: str
    row: Json

    def payload(self, quirks: Quirks) -> Json:
        """What is sent. Where the row stands beside the event is not documented."""
        kind = self.name.partition(".")[0]
        match quirks.webhook_payload:
            case "flat":
                return {"event": self.name, **self.row}
            case "data":
                return {"event": self.name, "data": self.row}
            case "run" if kind == "process":
                return {"event": self.name, "run": self.row}
            case _:
                return {"event": self.name, kind: self.row}


def launch(organization: Organization, run: Run, now: datetime) -> list[Event]:
    """Start a process."""
    organization.add_run(run)
    _note(organization, "created", run, now)
    return [_of_run("process.launched", organization, run)]


def complete(organization: Organization, run_id: str, now: datetime) -> list[Event]:
    """Complete each open task of a process, and with the last one the process. Raises ``CallRefused``."""
    run = _active(organization, run_id)
    if run.status == "complete":
        raise CallRefused(unprocessable("id", "The process is complete already."))
    open_tasks = [task for task in run.tasks if task.completed_at is None]
    for task in open_tasks:
        task.status, task.completed_at = "completed", now
    run.status, run.completed_at, run.last_updated = "complete", now, now
    _note(organization, "completed", run, now)
    tasks = [Event("task.completed", task.id, rows.task_row(organization, task)) for task in open_tasks]
    return [*tasks, _of_run("process.completed", organization, run)]


def reopen(organization: Organization, run_id: str, now: datetime) -> list[Event]:
    """Open a completed process again, with its last task. No event is documented. Raises ``CallRefused``."""
    run = _active(organization, run_id)
    if run.status != "complete":
        raise CallRefused(unprocessable("id", "The process is not complete."))
    for task in run.tasks[-1:]:
        task.status, task.completed_at = "in-progress", None
    run.status, run.completed_at, run.last_updated = "active", None, now
    _note(organization, "updated", run, now)
    return []


def _active(organization: Organization, run_id: str) -> Run:
    run = organization.runs.get(run_id)
    if run is None:
        raise CallRefused(error(404, "Not found."))
    if run.archived_at is not None:
        raise CallRefused(unprocessable("id", "The process is archived."))
    return run


def _note(organization: Organization, verb: Verb, run: Run, now: datetime) -> None:
    organization.feed.append(FeedEntry(verb, "run", run.id, run.owner_id or 0, now))


def _of_run(name: EventName, organization: Organization, run: Run) -> Event:
    """A process with the parts that Tallyfy's webhooks add to it (page "Webhook payload structure")."""
    added: Json = {
        "process-tasks": {_alias(task.title): task.id for task in run.tasks},
        "ko-form-fields": {_alias(label): value for label, value in run.form_fields.items()},
        "guest-links": {},
    }
    return Event(name, run.id, {**rows.run_row(organization, run), **added})


def _alias(title: str) -> str:
    return "-".join(title.lower().split())
