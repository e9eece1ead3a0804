"""The ten lifecycle calls: permission, precondition, effect and answer of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, assert_never

from sandbox.simulator import rows
from sandbox.simulator.messages import CallRefused, Response, as_json, data, error, unprocessable
from sandbox.simulator.quirks import Quirks, Repeat
from sandbox.simulator.world import FeedEntry, Member, Organization, Run, Tag, Task, Template, Verb

type Action = Literal["archive", "restore", "delete"]
type Resource = Literal["run", "task", "tag", "template"]


@dataclass(frozen=True, slots=True)
class Effect:
    """The answer, and whether the state changed."""

    answer: Response
    acted: bool


@dataclass(frozen=True, slots=True)
class LifecycleActions:
    """Carries out lifecycle calls for one member of one organization."""

    organization: Organization
    member: Member
    quirks: Quirks
    now: datetime

    def perform(self, resource: Resource, action: Action, identifier: str) -> Effect:
        """Carry out one call, or raise Refused."""
        self._admit(resource, action)
        if resource == "tag":
            return self._delete_tag(identifier)
        thing = self._find(resource, action, identifier)
        if thing is None:
            return Effect(Response(204), acted=False)
        if isinstance(thing, Task) and thing.run_id is not None:
            raise CallRefused(error(400, "This task belongs to a process; only one-off tasks can be changed here."))
        match action:
            case "archive":
                effect = self._archive(thing)
            case "restore":
                effect = self._restore(thing)
            case "delete":
                effect = self._delete(thing)
            case _:
                assert_never(action)
        if effect.acted:
            verbs: Mapping[Action, Verb] = {"archive": "archived", "restore": "unarchived", "delete": "deleted"}
            self.organization.feed.append(
                FeedEntry(verbs[action], _entity(resource), identifier, self.member.id, self.now)
            )
        return effect

    def _admit(self, resource: Resource, action: Action) -> None:
        lasting = action == "delete" and not (resource == "tag" and self.quirks.tag_delete == "soft")
        allowed = {"admin"} if lasting else {"admin", "standard"}
        if self.member.role not in allowed:
            raise CallRefused(error(403, "You do not have permission to perform this action."))

    def _find(self, resource: Resource, action: Action, identifier: str) -> Run | Task | Template | None:
        """Find the object. Return None if it is already deleted and that counts as success."""
        shelves: dict[str, Mapping[str, Run] | Mapping[str, Task] | Mapping[str, Template]] = {
            "run": self.organization.runs,
            "task": self.organization.tasks,
            "template": self.organization.templates,
        }
        thing = shelves[resource].get(identifier)
        if thing is None:
            if action == "delete" and identifier in self.organization.gone:
                _repeated(self.quirks.delete_deleted, "already deleted")
                return None
            raise CallRefused(error(404, "Not found."))
        return thing

    def _archive(self, thing: Run | Task | Template) -> Effect:
        acted = thing.archived_at is None
        if not acted:
            _repeated(self.quirks.archive_archived, "already archived")
        lost: list[Template] = []
        if acted and isinstance(thing, Template):
            lost = self.organization.archive_template(thing, self.now)
        elif acted and not isinstance(thing, Template):
            thing.archive(self.now)
        match thing:
            case Run():
                answer = data(rows.archived_run_row(self.organization, thing))
            case Task():
                answer = (
                    Response(204)
                    if self.quirks.task_archive == "no_content"
                    else data(rows.task_row(self.organization, thing))
                )
            case Template():
                answer = self._references("Template archived.", lost)
            case _:
                assert_never(thing)
        return Effect(answer, acted)

    def _restore(self, thing: Run | Task | Template) -> Effect:
        acted = thing.archived_at is not None
        if not acted:
            _repeated(self.quirks.restore_active, "not archived")
        match thing:
            case Run():
                if acted:
                    thing.restore(self.now)
                return Effect(data(rows.run_row(self.organization, thing)), acted)
            case Task():
                if acted:
                    thing.restore()
                row = rows.task_row(self.organization, thing)
            case Template():
                if acted:
                    self.organization.restore_template(thing, self.now)
                row = rows.template_row(self.organization, thing)
            case _:
                assert_never(thing)
        return Effect(data(row) if self.quirks.restore == "data" else Response(204), acted)

    def _delete(self, thing: Run | Task | Template) -> Effect:
        if thing.archived_at is None and not isinstance(thing, Task):
            message = "It must be archived before it can be deleted."
            refusals = {404: error(404, message), 422: unprocessable("id", message)}
            raise CallRefused(refusals[self.quirks.delete_unarchived])
        match thing:
            case Run():
                row = rows.run_row(self.organization, thing)
                self.organization.delete_run(thing)
                answers = {"data": data(row), "empty": Response(200), "no_content": Response(204)}
                answer = answers[self.quirks.run_delete]
            case Task():
                self.organization.delete_task(thing)
                answer = Response(204)
            case Template():
                answer = self._references("Template deleted.", self.organization.delete_template(thing, self.now))
            case _:
                assert_never(thing)
        return Effect(answer, acted=True)

    def _delete_tag(self, identifier: str) -> Effect:
        permanent = self.quirks.tag_delete == "permanent"
        tag = self.organization.tags.get(identifier)
        if tag is None or tag.deleted_at is not None:
            if permanent:
                return Effect(Response(204), acted=False)
            if tag is None:
                raise CallRefused(error(404, "Not found."))
            _repeated(self.quirks.delete_deleted, "already deleted")
            return Effect(data(rows.tag_row(tag)), acted=False)
        self._remove_tag(tag)
        return Effect(Response(204) if permanent else data(rows.tag_row(tag)), acted=True)

    def _remove_tag(self, tag: Tag) -> None:
        self.organization.delete_tag(tag, self.now)
        self.organization.feed.append(FeedEntry("deleted", "tag", tag.id, self.member.id, self.now))

    def _references(self, message: str, lost: list[Template]) -> Response:
        empty: object = [] if self.quirks.empty_references == "list" else {}
        return as_json(200, {"message": message, "deleted_references": rows.references(lost) or empty})


def _repeated(choice: Repeat, what: str) -> None:
    """Refuse a call that has nothing left to do, unless the quirks count that as a success."""
    match choice:
        case 404:
            raise CallRefused(error(404, f"Not found: {what}."))
        case 422:
            raise CallRefused(unprocessable("id", f"It is {what}."))
        case 200:
            return
        case _:
            assert_never(choice)


def _entity(resource: Resource) -> str:
    return "checklist" if resource == "template" else resource
