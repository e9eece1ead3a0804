"""Seed files: the initial state of a simulated Tallyfy.

A seed file is JSON of the shape of `Seed`. A time is ISO 8601 with an offset, or an age such as `-45d`, `-6h` or
`-90s`, counted back from the moment of loading, so that "archived recently" stays true.
"""

import hashlib
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from sandbox.simulator.limit import Limit
from sandbox.simulator.quirks import Quirks
from sandbox.simulator.world import (
    IDENTIFIER,
    Asset,
    FeedEntry,
    Member,
    Organization,
    Role,
    Run,
    Tag,
    TallyfyState,
    Task,
    Template,
    Thread,
    Verb,
)

_AGE: Final = re.compile(r"-(\d{1,6})([smhd])")

type Identifier = Annotated[str, StringConstraints(pattern=f"^{IDENTIFIER.pattern}$")]
type Age = Annotated[str, StringConstraints(pattern=f"^{_AGE.pattern}$")]
type Moment = AwareDatetime | Age


def make_id(*words: str | int) -> str:
    """Return an id that looks real and is always the same for the same arguments."""
    return hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()[:32]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeedMember(_Model):
    """A member and their token."""

    id: int = 1001
    name: str = "Lifecycle Service"
    email: str = "lifecycle@example.com"
    role: Role = "admin"
    token: Annotated[str, StringConstraints(min_length=1)]


class SeedThread(_Model):
    """A comment."""

    id: Identifier
    content: str = ""


class SeedAsset(_Model):
    """A file with its content, or with a size and bytes that are generated as they are read."""

    id: Identifier
    filename: str
    content: str = ""
    size: int | None = Field(default=None, ge=0)


class SeedTask(_Model):
    """A one-off task, or a task of the run that contains it."""

    id: Identifier
    title: str = "Task"
    status: str = "not-started"
    owners: list[int] = Field(default_factory=list)
    tags: list[Identifier] = Field(default_factory=list)
    created_at: Moment = "-60d"
    completed_at: Moment | None = None
    deadline: Moment | None = None
    archived_at: Moment | None = None
    """For one-off tasks only: tasks of a run follow their run."""
    threads: list[SeedThread] = Field(default_factory=list)
    assets: list[SeedAsset] = Field(default_factory=list)


class SeedRun(_Model):
    """A process. `status` applies while it is not archived."""

    id: Identifier
    name: str = "Process"
    status: str = "active"
    checklist_id: Identifier | None = None
    owner_id: int | None = 1001
    created_at: Moment = "-90d"
    last_updated: Moment | None = None
    completed_at: Moment | None = None
    archived_at: Moment | None = None
    due_date: Moment | None = None
    is_public: bool = False
    tags: list[Identifier] = Field(default_factory=list)
    form_fields: dict[str, str] = Field(default_factory=dict)
    tasks: list[SeedTask] = Field(default_factory=list)
    threads: list[SeedThread] = Field(default_factory=list)
    """Comments on the process itself."""


class SeedTag(_Model):
    """A tag. Runs, templates and tasks list the tags they carry."""

    id: Identifier
    title: str
    color: str = "#2f80ed"
    auto_generated: bool = False
    created_at: Moment = "-200d"


class SeedTemplate(_Model):
    """A template; `references` names the templates that it launches."""

    id: Identifier
    title: str = "Template"
    created_at: Moment = "-300d"
    owner_id: int | None = 1001
    archived_at: Moment | None = None
    tags: list[Identifier] = Field(default_factory=list)
    references: list[Identifier] = Field(default_factory=list)
    steps: list[str] = Field(default_factory=list)
    """The titles of its steps."""
    threads: list[SeedThread] = Field(default_factory=list)


class SeedActivity(_Model):
    """An earlier line of the activity feed."""

    verb: Verb
    entity_type: str = "run"
    entity_id: Identifier
    actor_id: int = 1001
    created_at: Moment = "-60d"


class SeedOrganization(_Model):
    """A tenant."""

    id: Identifier
    name: str = "Example Ltd"
    auto_archive: bool = False
    auto_archive_processes_after: int | None = None
    members: list[SeedMember] = Field(default_factory=list)
    runs: list[SeedRun] = Field(default_factory=list)
    tasks: list[SeedTask] = Field(default_factory=list)
    tags: list[SeedTag] = Field(default_factory=list)
    templates: list[SeedTemplate] = Field(default_factory=list)
    feed: list[SeedActivity] = Field(default_factory=list)


class Seed(_Model):
    """The whole initial state."""

    organizations: list[SeedOrganization] = Field(min_length=1)
    quirks: Quirks = Field(default_factory=Quirks)
    limit: Limit | None = None

    @model_validator(mode="after")
    def _tokens_are_distinct(self) -> Self:
        tokens = [member.token for organization in self.organizations for member in organization.members]
        if len(set(tokens)) != len(tokens):
            message = "two members have the same token"
            raise ValueError(message)
        return self


def load_seed(path: Path) -> Seed:
    """Read a seed file."""
    return Seed.model_validate_json(path.read_bytes())


def build(seed: Seed, now: datetime, *, into: TallyfyState | None = None) -> TallyfyState:
    """Make a world from a seed, or add a seed to an existing world. An object with a known id is replaced."""
    world = into or TallyfyState()
    for sown in seed.organizations:
        organization = world.organizations.setdefault(sown.id, Organization(sown.id, sown.name))
        organization.name = sown.name
        organization.auto_archive = sown.auto_archive
        organization.auto_archive_processes_after = sown.auto_archive_processes_after
        for member in sown.members:
            organization.members[member.id] = Member(**member.model_dump())
        for tag in sown.tags:
            organization.tags[tag.id] = Tag(tag.id, tag.title, _at(tag.created_at, now), tag.color, tag.auto_generated)
        for template in sown.templates:
            organization.templates[template.id] = _template(template, now)
        for task in sown.tasks:
            organization.tasks[task.id] = _task(task, now, None)
        for run in sown.runs:
            organization.add_run(_run(run, now))
        organization.feed += [
            FeedEntry(line.verb, line.entity_type, line.entity_id, line.actor_id, _at(line.created_at, now))
            for line in sown.feed
        ]
    return world


def _run(sown: SeedRun, now: datetime) -> Run:
    created = _at(sown.created_at, now)
    run = Run(
        id=sown.id,
        name=sown.name,
        created_at=created,
        last_updated=created,
        status=sown.status,
        checklist_id=sown.checklist_id,
        owner_id=sown.owner_id,
        started_by=sown.owner_id,
        started_at=created,
        completed_at=_maybe(sown.completed_at, now),
        due_date=_maybe(sown.due_date, now),
        is_public=sown.is_public,
        tags=set(sown.tags),
        form_fields=dict(sown.form_fields),
        tasks=[_task(task, now, sown.id) for task in sown.tasks],
        threads=_threads(sown.threads),
    )
    if sown.archived_at is not None:
        run.archive(_at(sown.archived_at, now))
    run.last_updated = _maybe(sown.last_updated, now) or run.archived_at or run.completed_at or created
    return run


def _task(sown: SeedTask, now: datetime, run_id: str | None) -> Task:
    task = Task(
        id=sown.id,
        title=sown.title,
        created_at=_at(sown.created_at, now),
        run_id=run_id,
        status=sown.status,
        owners=list(sown.owners),
        tags=set(sown.tags),
        completed_at=_maybe(sown.completed_at, now),
        deadline=_maybe(sown.deadline, now),
        threads=_threads(sown.threads),
        assets=[Asset(**asset.model_dump()) for asset in sown.assets],
    )
    if run_id is None and sown.archived_at is not None:
        task.archive(_at(sown.archived_at, now))
    return task


def _template(sown: SeedTemplate, now: datetime) -> Template:
    created, archived = _at(sown.created_at, now), _maybe(sown.archived_at, now)
    return Template(
        id=sown.id,
        title=sown.title,
        created_at=created,
        last_updated=archived or created,
        archived_at=archived,
        tags=set(sown.tags),
        references=list(sown.references),
        steps=list(sown.steps),
        owner_id=sown.owner_id,
        threads=_threads(sown.threads),
    )


def _threads(sown: list[SeedThread]) -> list[Thread]:
    return [Thread(thread.id, thread.content) for thread in sown]


def _maybe(moment: datetime | str | None, now: datetime) -> datetime | None:
    return None if moment is None else _at(moment, now)


def _at(moment: datetime | str, now: datetime) -> datetime:
    if isinstance(moment, datetime):
        return moment.astimezone(now.tzinfo)
    found = _AGE.fullmatch(moment)
    if found is None:
        message = f"not a time and not an age: {moment!r}"
        raise ValueError(message)
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    return now - timedelta(**{units[found[2]]: int(found[1])})


class DefaultIds:
    """The ids of the default seed, named by their purpose."""

    ORGANIZATION: Final = make_id("organization")
    RUN: Final = make_id("run", "complete")
    ACTIVE_RUN: Final = make_id("run", "active")
    RUN_ARCHIVED_LONG_AGO: Final = make_id("run", "archived long ago")
    RUN_ARCHIVED_RECENTLY: Final = make_id("run", "archived recently")
    TASK: Final = make_id("task", "one-off")
    ARCHIVED_TASK: Final = make_id("task", "one-off, archived")
    PROCESS_TASK: Final = make_id("task", "of a run")
    USED_TAG: Final = make_id("tag", "used")
    UNUSED_TAG: Final = make_id("tag", "unused")
    MACHINE_TAG: Final = make_id("tag", "made by the machine")
    TEMPLATE: Final = make_id("template", "used")
    REFERRING_TEMPLATE: Final = make_id("template", "referring")
    ARCHIVED_TEMPLATE: Final = make_id("template", "archived long ago")


DEFAULT_TOKEN: Final = "simulator-admin-token"  # noqa: S105 - valid only in the simulator
STANDARD_TOKEN: Final = "simulator-standard-token"  # noqa: S105 - likewise
LIGHT_TOKEN: Final = "simulator-light-token"  # noqa: S105 - likewise


def default_seed() -> Seed:
    """One organization with objects of every kind, and an admin, a standard and a light member."""
    ids = DefaultIds
    organization = SeedOrganization(
        id=ids.ORGANIZATION,
        members=[
            SeedMember(token=DEFAULT_TOKEN),
            SeedMember(id=1002, name="Sam Standard", email="sam@example.com", role="standard", token=STANDARD_TOKEN),
            SeedMember(id=1003, name="Lou Light", email="lou@example.com", role="light", token=LIGHT_TOKEN),
        ],
        runs=_default_runs(),
        tasks=[
            SeedTask(id=ids.TASK, title="Order a new badge", owners=[1002]),
            SeedTask(id=ids.ARCHIVED_TASK, title="Return the old badge", created_at="-90d", archived_at="-45d"),
        ],
        tags=[
            SeedTag(id=ids.USED_TAG, title="customers"),
            SeedTag(id=ids.UNUSED_TAG, title="left over"),
            SeedTag(id=ids.MACHINE_TAG, title="imported", auto_generated=True),
        ],
        templates=[
            SeedTemplate(id=ids.TEMPLATE, title="Customer onboarding", tags=[ids.USED_TAG]),
            SeedTemplate(id=ids.REFERRING_TEMPLATE, title="Sales hand-over", references=[ids.TEMPLATE]),
            SeedTemplate(id=ids.ARCHIVED_TEMPLATE, title="Fax onboarding", archived_at="-400d"),
        ],
    )
    return Seed(organizations=[organization])


def _default_runs() -> list[SeedRun]:
    ids = DefaultIds
    work = SeedTask(
        id=ids.PROCESS_TASK,
        title="Collect the signed contract",
        status="completed",
        owners=[1001],
        created_at="-90d",
        completed_at="-61d",
        threads=[SeedThread(id=make_id("thread"), content="Signed on paper, scan attached.")],
        assets=[SeedAsset(id=make_id("asset"), filename="contract.txt", content="the signed contract")],
    )
    more = SeedTask(id=make_id("task", "of a run", 2), title="Open the account", created_at="-90d")
    return [
        SeedRun(
            id=ids.RUN,
            name="Onboard Acme",
            status="complete",
            checklist_id=ids.TEMPLATE,
            completed_at="-60d",
            tags=[ids.USED_TAG],
            form_fields={"Customer": "Acme"},
            tasks=[work, more],
        ),
        SeedRun(id=ids.ACTIVE_RUN, name="Onboard Globex", checklist_id=ids.TEMPLATE, created_at="-3d"),
        SeedRun(
            id=ids.RUN_ARCHIVED_LONG_AGO,
            name="Onboard Initech",
            status="complete",
            checklist_id=ids.TEMPLATE,
            created_at="-500d",
            completed_at="-450d",
            archived_at="-400d",
        ),
        SeedRun(
            id=ids.RUN_ARCHIVED_RECENTLY,
            name="Onboard Umbrella",
            status="complete",
            completed_at="-30d",
            archived_at="-2d",
        ),
    ]


def crowd(count: int, *, token: str = DEFAULT_TOKEN, **fields: object) -> Seed:
    """One organization with `count` runs, ids `make_id("run", n)`; `fields` are those of SeedRun."""
    runs = [SeedRun.model_validate({"id": make_id("run", n), "name": f"Run {n}", **fields}) for n in range(count)]
    return Seed(
        organizations=[SeedOrganization(id=DefaultIds.ORGANIZATION, members=[SeedMember(token=token)], runs=runs)]
    )


def long_run(tasks: int, comments: int, files: int, *, size: int, **fields: object) -> Seed:
    """One organization with one run, whose tasks share `comments` comments and `files` files of `size` bytes."""
    threads = [SeedThread(id=make_id("thread", n), content=f"Comment {n}") for n in range(comments)]
    assets = [SeedAsset(id=make_id("asset", n), filename=f"scan {n}.pdf", size=size) for n in range(files)]
    of_run = [
        SeedTask(
            id=make_id("task", n), title=f"Task {n}", threads=threads[n::tasks], assets=assets[n::tasks], owners=[1001]
        )
        for n in range(tasks)
    ]
    run = SeedRun.model_validate({"id": DefaultIds.RUN, "name": "Long run", "tasks": of_run, **fields})
    return Seed(
        organizations=[
            SeedOrganization(id=DefaultIds.ORGANIZATION, members=[SeedMember(token=DEFAULT_TOKEN)], runs=[run])
        ]
    )
