"""Creates one-off tasks, processes without a template, and tags, as Tallyfy's API pages document.

Sources: the API pages "Create one-off task" (``title``, ``task_type``, ``owners`` and ``deadline`` are required),
"Launch projects" (``separate_task_for_each_assignee`` puts the tasks into an empty process) and "Create tag" (a
``title`` of at most 30 characters that no other tag has).
"""

from datetime import datetime
from typing import Annotated, Literal, assert_never

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sandbox.simulator import rows
from sandbox.simulator.messages import CallRefused, Json, Response, data, unprocessable
from sandbox.simulator.seed import make_id
from sandbox.simulator.world import FeedEntry, Member, Organization, Run, Tag, Task

type TagId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class _CreationBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Owners(_CreationBody):
    users: tuple[int, ...] = ()
    guests: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class _NewTask(_CreationBody):
    title: str = Field(min_length=1, max_length=600)
    task_type: Literal["task", "approval", "expiring", "email", "expiring_email"]
    owners: _Owners
    deadline: AwareDatetime
    description: str = ""
    tags: tuple[TagId, ...] = ()
    separate_task_for_each_assignee: bool = False


class _NewTag(_CreationBody):
    title: str = Field(min_length=1, max_length=30)
    color: str = Field("#2f80ed", pattern="^#[0-9a-fA-F]{6}$")


def create(
    resource: Literal["task", "tag"], organization: Organization, member: Member, body: bytes, now: datetime
) -> Response:
    """Create the object that the body describes. Raises ``CallRefused`` (422) if a field is missing or undocumented."""
    try:
        match resource:
            case "task":
                row = _task(organization, member, _NewTask.model_validate_json(body), now)
            case "tag":
                row = _tag(organization, member, _NewTag.model_validate_json(body), now)
            case _:
                assert_never(resource)
    except ValidationError as error:
        [first, *_] = error.errors()
        field = str(first["loc"][0]) if first["loc"] else "body"
        raise CallRefused(unprocessable(field, first["msg"])) from error
    return data(row, 201)


def _task(organization: Organization, member: Member, asked: _NewTask, now: datetime) -> Json:
    task = Task(
        id=_new_id(organization, "task"),
        title=asked.title,
        created_at=now,
        owners=list(asked.owners.users),
        tags=set(asked.tags),
        deadline=asked.deadline,
    )
    if asked.separate_task_for_each_assignee:
        run = Run(_new_id(organization, "run"), asked.title, now, now, owner_id=member.id, started_by=member.id)
        task.run_id = run.id
        run.tasks = [task]
        organization.add_run(run)
        organization.feed.append(FeedEntry("created", "run", run.id, member.id, now))
    organization.tasks[task.id] = task
    return rows.task_row(organization, task, frozenset({"tags"}))


def _tag(organization: Organization, member: Member, asked: _NewTag, now: datetime) -> Json:
    if any(tag.title == asked.title and tag.deleted_at is None for tag in organization.tags.values()):
        raise CallRefused(unprocessable("title", "The title has already been taken."))
    tag = Tag(_new_id(organization, "tag"), asked.title, now, asked.color)
    organization.tags[tag.id] = tag
    organization.feed.append(FeedEntry("created", "tag", tag.id, member.id, now))
    return rows.tag_row(tag)


def _new_id(organization: Organization, kind: str) -> str:
    return make_id(organization.id, kind, len(organization.feed), len(organization.tasks), len(organization.gone))
