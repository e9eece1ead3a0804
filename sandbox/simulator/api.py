"""The Tallyfy API: routes, access checks and reads."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, assert_never
from urllib.parse import quote

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from sandbox.simulator import creation, listing, parameters, rows, watchers
from sandbox.simulator.lifecycle import Action, LifecycleActions, Resource
from sandbox.simulator.messages import CallRefused, Json, ReceivedRequest, Response, as_json, data, error, unprocessable
from sandbox.simulator.quirks import Quirks
from sandbox.simulator.watchers import WatcherAction
from sandbox.simulator.world import IDENTIFIER, Asset, Member, Organization, Tag, TallyfyState


@dataclass(frozen=True, slots=True)
class CallResult:
    """The answer to a call, and the object that the call addressed."""

    answer: Response
    resource: str | None = None
    action: str | None = None
    id: str | None = None
    acted: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """A call by a known member of the organization in its path."""

    organization: Organization
    member: Member
    call: ReceivedRequest
    id: str
    includes: rows.Includes
    quirks: Quirks

    @property
    def archived_too(self) -> bool:
        """Whether the answer includes the archived parts of a run or task."""
        return self.quirks.archived_parts == "shown"


@dataclass(frozen=True, slots=True)
class Read:
    """A route that changes nothing."""

    resource: str
    action: str
    answer: Callable[[Caller], Response]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """One of the ten lifecycle calls."""

    resource: Resource
    action: Action


@dataclass(frozen=True, slots=True)
class Tagging:
    """Puts a tag on a run or template. Tallyfy documents no path for this, so the path is our own."""

    resource: str = "tag"
    action: str = "attach"


@dataclass(frozen=True, slots=True)
class Create:
    """Creates an object. Source: Tallyfy's API pages "Create one-off task", "Launch projects" and "Create tag"."""

    resource: Literal["task", "tag"]
    action: str = "create"


@dataclass(frozen=True, slots=True)
class Watching:
    """Registers, lists or removes the webhook of the organization."""

    action: WatcherAction
    resource: str = "watcher"


@dataclass(frozen=True, slots=True)
class Stored:
    """The bytes of a file on the host that a download may redirect to. That host refuses Tallyfy's token."""

    resource: str = "file"
    action: str = "stored"


type Route = Read | Lifecycle | Tagging | Create | Watching | Stored


def _runs(caller: Caller) -> Response:
    values = caller.call.query.get("form_fields_values") == "true"
    return listing.page(
        caller.call.route,
        caller.call.query,
        listing.runs(caller.organization, caller.call.query),
        lambda run: rows.run_row(caller.organization, run, caller.includes, values, archived_too=caller.archived_too),
    )


def _run(caller: Caller) -> Response:
    values = caller.call.query.get("form_fields_values") == "true"
    run = _found(caller.organization.runs.get(caller.id))
    return data(rows.run_row(caller.organization, run, caller.includes, values, archived_too=caller.archived_too))


def _run_tasks(caller: Caller) -> Response:
    run = _found(caller.organization.runs.get(caller.id))
    shown = [task for task in run.tasks if caller.archived_too or task.archived_at is None]
    own = Organization(id=run.id, name=run.name, tasks={task.id: task for task in shown})
    query = caller.call.query
    return listing.page(
        caller.call.route,
        query,
        listing.tasks(own, query),
        lambda task: rows.task_row(caller.organization, task, caller.includes, archived_too=caller.archived_too),
    )


def _tasks(caller: Caller) -> Response:
    query = caller.call.query
    found = listing.tasks(caller.organization, query)
    return listing.page(
        caller.call.route,
        query,
        found,
        lambda task: rows.task_row(caller.organization, task, caller.includes, archived_too=caller.archived_too),
    )


def _task(caller: Caller) -> Response:
    task = _found(caller.organization.tasks.get(caller.id))
    if task.archived_at is not None:
        raise CallRefused(error(404, "Not found."))
    return data(rows.task_row(caller.organization, task, caller.includes))


def _tag_rows(caller: Caller) -> Callable[[Tag], Json]:
    if "statistics" not in caller.includes:
        return rows.tag_row
    counts = rows.tag_statistics(caller.organization)
    return lambda tag: rows.tag_row_with_statistics(tag, counts)


def _tags(caller: Caller) -> Response:
    query = caller.call.query
    return listing.page(caller.call.route, query, listing.tags(caller.organization, query), _tag_rows(caller))


def _tag(caller: Caller) -> Response:
    tag = _found(caller.organization.tags.get(caller.id))
    if tag.deleted_at is not None:
        raise CallRefused(error(404, "Not found."))
    return data(_tag_rows(caller)(tag))


def _templates(caller: Caller) -> Response:
    query = caller.call.query
    found = listing.templates(caller.organization, query)
    return listing.page(
        caller.call.route,
        query,
        found,
        lambda template: rows.template_row(caller.organization, template, caller.includes),
    )


def _template(caller: Caller) -> Response:
    template = _found(caller.organization.templates.get(caller.id))
    if template.archived_at is not None:
        raise CallRefused(error(404, "Not found."))
    return data(rows.template_row(caller.organization, template, caller.includes))


def _me(caller: Caller) -> Response:
    return data(rows.member_row(caller.organization, caller.member))


def _members(caller: Caller) -> Response:
    members = list(caller.organization.members.values())
    query = caller.call.query
    return listing.page(caller.call.route, query, members, lambda member: rows.member_row(caller.organization, member))


def _organization(caller: Caller) -> Response:
    return data(rows.organization_row(caller.organization))


def _feed(caller: Caller) -> Response:
    query = caller.call.query
    found = [
        (number, entry)
        for number, entry in enumerate(caller.organization.feed, start=1)
        if query.get("entity_type", entry.entity_type) == entry.entity_type
        and query.get("entity_id", entry.entity_id) == entry.entity_id
        and query.get("verb", entry.verb) == entry.verb
    ]
    return listing.page(caller.call.route, query, found[::-1], lambda pair: rows.feed_row(*pair))


def _file(caller: Caller) -> Response:
    asset = _found(_asset(caller.organization, caller.id))
    if asset.deleted_at is not None and not caller.archived_too:
        raise CallRefused(error(404, "Not found."))
    if caller.quirks.files_at is not None:
        return Response(302, b"", {"Location": f"{caller.quirks.files_at}/storage/{asset.id}?signature=made-up"})
    return _bytes(asset)


def _asset(organization: Organization, identifier: str) -> Asset | None:
    assets = (asset for task in organization.tasks.values() for asset in task.assets)
    return next((asset for asset in assets if asset.id == identifier), None)


def _bytes(asset: Asset) -> Response:
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{quote(asset.filename, errors="replace")}"',
        "Content-Length": str(asset.length),
    }
    return Response(200, headers=headers, file=asset.open)


def _found[T](thing: T | None) -> T:
    if thing is None:
        raise CallRefused(error(404, "Not found."))
    return thing


# One line per call. "<id>" never matches a slash, so an id such as "<id>/delete" is another call, as in Tallyfy.
ROUTES: Final[tuple[tuple[str, str, Route], ...]] = (
    ("DELETE", "/runs/<id>", Lifecycle("run", "archive")),
    ("PUT", "/runs/<id>/activate", Lifecycle("run", "restore")),
    ("DELETE", "/runs/<id>/delete", Lifecycle("run", "delete")),
    ("DELETE", "/tasks/<id>", Lifecycle("task", "archive")),
    ("PUT", "/tasks/<id>/restore", Lifecycle("task", "restore")),
    ("DELETE", "/tasks/<id>/delete", Lifecycle("task", "delete")),
    ("DELETE", "/tags/<id>", Lifecycle("tag", "delete")),
    ("DELETE", "/checklists/<id>", Lifecycle("template", "archive")),
    ("PUT", "/checklists/<id>/restore", Lifecycle("template", "restore")),
    ("DELETE", "/checklists/<id>/delete", Lifecycle("template", "delete")),
    ("POST", "/tags/<id>/subjects", Tagging()),
    ("POST", "/tasks", Create("task")),
    ("POST", "/tags", Create("tag")),
    ("POST", "/users/<user>/add-watcher", Watching("add")),
    ("GET", "/watchers", Watching("list")),
    ("DELETE", "/remove-watcher/<watcher>", Watching("remove")),
    ("GET", "", Read("organization", "read", _organization)),
    ("GET", "/me", Read("member", "read", _me)),
    ("GET", "/users", Read("member", "list", _members)),
    ("GET", "/runs", Read("run", "list", _runs)),
    ("GET", "/runs/<id>", Read("run", "read", _run)),
    ("GET", "/runs/<id>/tasks", Read("run", "tasks", _run_tasks)),
    ("GET", "/tasks", Read("task", "list", _tasks)),
    ("GET", "/tasks/<id>", Read("task", "read", _task)),
    ("GET", "/tags", Read("tag", "list", _tags)),
    ("GET", "/tags/<id>", Read("tag", "read", _tag)),
    ("GET", "/checklists", Read("template", "list", _templates)),
    ("GET", "/checklists/<id>", Read("template", "read", _template)),
    ("GET", "/activity-feeds", Read("activity", "list", _feed)),
    ("GET", "/file/<id>/dl", Read("file", "download", _file)),
)


def _routing() -> Map:
    ours = [Rule(f"/organizations/<org>{path}", methods=[method], endpoint=route) for method, path, route in ROUTES]
    # `/me` and files also exist outside an organization's path; the token then identifies the organization.
    bare = [
        Rule(path, methods=["GET"], endpoint=route) for _, path, route in ROUTES if path in {"/me", "/file/<id>/dl"}
    ]
    stored = Rule("/storage/<id>", methods=["GET"], endpoint=Stored())
    return Map([*ours, *bare, stored], strict_slashes=False, merge_slashes=False)


_URLS: Final = _routing()


@dataclass(slots=True)
class SimulatorApi:
    """Answers calls from the state of a world. Not thread-safe: the simulator holds the lock."""

    world: TallyfyState
    quirks: Quirks = field(default_factory=Quirks)

    def reply(self, call: ReceivedRequest, now: datetime) -> CallResult:
        """Answer one call. A refusal is returned as an error answer, not raised."""
        found = self._match(call)
        return found if isinstance(found, CallResult) else self._follow(*found, call, now)

    def describe(self, call: ReceivedRequest) -> CallResult:
        """Identify what a call addresses, without carrying it out."""
        found = self._match(call)
        if isinstance(found, CallResult):
            return found
        route, values = found
        return CallResult(Response(200), route.resource, route.action, values.get("id"))

    def _match(self, call: ReceivedRequest) -> tuple[Route, dict[str, str]] | CallResult:
        try:
            route, values = _URLS.bind("").match(call.route, method=call.method)
        except NotFound:
            return CallResult(error(404, "Not found."))
        except MethodNotAllowed:
            return CallResult(error(405, "Method not allowed."))
        return route, dict(values)

    def _follow(self, route: Route, values: dict[str, str], call: ReceivedRequest, now: datetime) -> CallResult:
        identifier = values.get("id", "")
        acted = False
        if isinstance(route, Stored):
            return CallResult(self._stored(call, identifier), route.resource, route.action, identifier)
        try:
            organization, member = self._admit(call, values.get("org"))
            _check(values)
            includes = frozenset(filter(None, call.query.get("with", "").split(",")))
            caller = Caller(organization, member, call, identifier, includes, self.quirks)
            match route:
                case Read():
                    parameters.check(route.resource, route.action, call.query)
                    answer = route.answer(caller)
                case Lifecycle():
                    office = LifecycleActions(organization, member, self.quirks, now)
                    effect = office.perform(route.resource, route.action, identifier)
                    answer, acted = effect.answer, effect.acted
                case Tagging():
                    answer, acted = _attach(caller)
                case Watching():
                    parameters.check(route.resource, route.action, call.query)
                    answer, acted = watchers.answer(route.action, organization, member, call, self.quirks, now)
                case Create():
                    answer, acted = creation.create(route.resource, organization, member, call.body, now), True
                case _:
                    assert_never(route)
        except CallRefused as refusal:
            answer = refusal.answer
        return CallResult(answer, route.resource, route.action, identifier or None, acted)

    def _stored(self, call: ReceivedRequest, identifier: str) -> Response:
        """Return the bytes to a caller with the signed URL. Refuse a token sent beside the signature, as S3 does."""
        if "authorization" in call.headers:
            return error(400, "Only one auth mechanism allowed.")
        if "signature" not in call.query:
            return error(403, "Forbidden.")
        found = (_asset(organization, identifier) for organization in self.world.organizations.values())
        asset = next((asset for asset in found if asset is not None), None)
        return error(404, "Not found.") if asset is None else _bytes(asset)

    def _admit(self, call: ReceivedRequest, organization_id: str | None) -> tuple[Organization, Member]:
        """Authenticate the caller: it must name its client and hold a token of the organization."""
        if not call.headers.get("x-tallyfy-client"):
            raise CallRefused(error(400, "The X-Tallyfy-Client header is missing."))
        known = self.world.member(call.token) if call.token else None
        if known is None:
            raise CallRefused(error(401, "Unauthenticated."))
        organization, member = known
        if organization_id not in {None, organization.id}:
            elsewhere = organization_id in self.world.organizations
            raise CallRefused(error(403, "You are not a member.") if elsewhere else error(404, "Not found."))
        return organization, member


def _check(values: dict[str, str]) -> None:
    if "id" in values and not IDENTIFIER.fullmatch(values["id"]):
        raise CallRefused(error(404, "Not found."))


def _attach(caller: Caller) -> tuple[Response, bool]:
    """Tag the object that `{"subject_id": …}` names. An archived object cannot be tagged."""
    tag = _found(caller.organization.tags.get(caller.id))
    try:
        body = json.loads(caller.call.body)
    except ValueError as problem:
        raise CallRefused(unprocessable("subject_id", "The body is not JSON.")) from problem
    wanted = str(body.get("subject_id")) if isinstance(body, dict) else ""
    subject = caller.organization.runs.get(wanted) or caller.organization.templates.get(wanted)
    if tag.deleted_at is not None or subject is None or subject.archived_at is not None:
        raise CallRefused(unprocessable("subject_id", "Subject not found"))
    acted = tag.id not in subject.tags
    subject.tags.add(tag.id)
    return as_json(201, {"data": rows.tag_row(tag)}), acted
