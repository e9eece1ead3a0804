"""The webhook of an organization: registering it, listing it, removing it.

Source: Tallyfy's connector for n8n (2026-08). What it does not send is refused. It does not show the answer to a
removal (204 here), nor what a second registration does to the first (``Quirks`` chooses).
"""

from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.simulator.messages import CallRefused, Json, ReceivedRequest, Response, as_json, data, error, unprocessable
from sandbox.simulator.quirks import Quirks
from sandbox.simulator.rows import stamp
from sandbox.simulator.world import Member, Organization, Watcher

type WatcherAction = Literal["add", "list", "remove"]


class _NewWatcher(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    object_type: Literal["organization"]
    object_id: str
    notification_type: Literal["webhook"]
    frequency: Literal["electric"]
    webhook: str


def answer(
    action: WatcherAction,
    organization: Organization,
    member: Member,
    call: ReceivedRequest,
    quirks: Quirks,
    now: datetime,
) -> tuple[Response, bool]:
    """Carry out one call; whether it changed something. Raises ``CallRefused``.

    404 where the feature is not rolled out, 403 for a member who is no admin.
    """
    if quirks.watchers == "missing":
        raise CallRefused(error(404, "Not found."))
    if member.role != "admin":
        raise CallRefused(error(403, "You do not have permission to perform this action."))
    last = call.route.rpartition("/")[2]
    match action:
        case "list":
            return _listed(organization, call, quirks), False
        case "remove":
            if not last.isdigit() or organization.watchers.pop(int(last), None) is None:
                raise CallRefused(error(404, "Not found."))
            return Response(204), True
        case "add":
            if call.route.split("/")[-2] != str(member.id):
                raise CallRefused(error(403, "You do not have permission to perform this action."))
            return _added(organization, member, call.body, quirks, now), True


def _listed(organization: Organization, call: ReceivedRequest, quirks: Quirks) -> Response:
    if call.query.get("notification") != "webhook":
        raise CallRefused(unprocessable("notification", "notification=webhook is the only documented list."))
    rows = [_row(watcher, quirks) for watcher in organization.watchers.values()]
    return as_json(200, rows) if quirks.watcher_rows == "bare" else data(rows)


def _added(organization: Organization, member: Member, body: bytes, quirks: Quirks, now: datetime) -> Response:
    try:
        asked = _NewWatcher.model_validate_json(body)
    except ValidationError as problem:
        [first, *_] = problem.errors()
        raise CallRefused(unprocessable(str(first["loc"][0]) if first["loc"] else "body", first["msg"])) from problem
    if asked.object_id != organization.id:
        raise CallRefused(unprocessable("object_id", "It is not the organization in the path."))
    if urlsplit(asked.webhook).scheme not in {"http", "https"}:
        raise CallRefused(unprocessable("webhook", "It is not a URL."))
    if any(known.url == asked.webhook for known in organization.watchers.values()):
        raise CallRefused(unprocessable("webhook", "It is registered already; what happens then is not documented."))
    if quirks.second_watcher == "replaces":
        organization.watchers.clear()
    organization.watcher_count += 1
    watcher = Watcher(organization.watcher_count, member.id, asked.webhook, now)
    organization.watchers[watcher.id] = watcher
    row = _row(watcher, quirks)
    return as_json(201, row) if quirks.watcher_rows == "bare" else data(row, 201)


def _row(watcher: Watcher, quirks: Quirks) -> Json:
    return {
        "id": watcher.id,
        "user_id": watcher.user_id,
        "object_type": "organization",
        "notification_type": "webhook",
        "frequency": "electric",
        quirks.watcher_url: watcher.url,
        "created_at": stamp(watcher.created_at),
    }
