"""The client of Tallyfy's API: it reads and changes resources over one pooled session.

Reads are lenient (unknown or missing fields, ``progress`` as a number or an object, empty bodies). Writes are never
repeated blindly: if their effect is unknown, they raise ``Ambiguous``. A redirect is never followed with the token.
Source: Tallyfy's API reference; comments name surprising facts.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Protocol

import requests
from requests.adapters import HTTPAdapter

from lifecycle.aws.secrets import Secrets, Unusable, token_in
from lifecycle.domain.capabilities import Capability, Resource, State
from lifecycle.domain.commands import Find
from lifecycle.domain.errors import Ambiguous, Code, LifecycleError, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.domain.urls import checked_base_url
from lifecycle.tallyfy.bodies import load
from lifecycle.tallyfy.complete_list import CompleteList

_CONNECT_SECONDS = 3.05
_READ_SECONDS = 10.0
_LEAST_SECONDS = 2.0
"""In seconds. With less time left no call is started, because its answer could not be recorded."""
_MOST_PAGES = 20
PER_PAGE = 100
"""The largest page of a list that Tallyfy allows."""
_DEFAULT_RETRY_AFTER = 60.0
_LONGEST_RETRY_AFTER = 3600.0
_UNAUTHORIZED_TRIES = 2
_LONGEST_ANSWER = 30.0
"""How many seconds a whole answer may take to arrive."""
_READINGS = 3
"""How often an inconsistent list is read."""
_NOT_NOW = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS})
_SAYS_WHEN = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Statuses that may have ``Retry-After`` (RFC 9110, 10.2.3)."""
_GATEWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
"""Statuses of a gateway in front of Tallyfy. Tallyfy may still be working on the call."""

type Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a write. ``evidence`` is JSON of facts that only this answer has (``deleted_references``)."""

    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list, the number of pages, and the total of rows; ``total`` is ``None`` if the page has none."""

    things: list[ResourceSnapshot]
    pages: int
    total: int | None = None
    unreadable: int = 0
    """The number of rows that are not JSON objects, so nothing is known about them."""


class DoesNotAddUp(Retryable):
    """A list that changed while it was read, or whose total differs from its rows."""


class Tallyfy(Protocol):
    """The calls that commands and sweeps make."""

    def look(self, org_id: str, resource: Resource, thing_id: str) -> ResourceSnapshot | None:
        """Read a resource, active or archived. ``None`` if it does not exist.

        Raises ``Rejected`` (403, or too many archived resources to be sure), ``Retryable`` and its subclasses.
        """

    def act(self, doing: Capability, org_id: str, thing_id: str) -> Receipt:
        """Carry out one capability, once.

        Raises ``Rejected`` (4xx: read again, it may be done already), ``Ambiguous`` (read again), ``Throttled``,
        ``TokenRefused``.
        """

    def search(self, org_id: str, find: Find, *, archived: bool) -> list[ResourceSnapshot]:
        """Every process with exactly that tag, or of exactly that name and template.

        Empty if no tag has the title. Raises what ``look`` raises, and ``Rejected`` if several tags have it.
        """

    def page(self, org_id: str, resource: Resource, number: int, query: Mapping[str, str]) -> Listing:
        """One page of a list, counted from 1, with at most ``PER_PAGE`` rows. Raises what ``look`` raises."""

    def account(self, org_id: str) -> tuple[Json, Json]:
        """The caller's membership and the organization's settings; two calls.

        Raises what ``look`` raises, and ``Rejected`` if Tallyfy does not show the organization to this token.
        """


def pooled_session() -> requests.Session:
    """A session that keeps its connections. The library does not retry.

    Environment proxies and .netrc are ignored: either could send the token elsewhere or replace it.
    """
    session = requests.Session()
    session.trust_env = False
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=4, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class Tokens:
    """The tokens of the configured organizations."""

    def __init__(self, secrets: Secrets, prefix: str, org_ids: frozenset[str]) -> None:
        self._secrets = secrets
        self._prefix = prefix
        self._org_ids = org_ids

    def of(self, org_id: str, *, fresh: bool = False) -> str:
        """The token. Raises ``Rejected`` for an unknown organization, ``TokenRefused`` for a secret without a token."""
        if org_id not in self._org_ids:
            raise Rejected(Code.ORGANIZATION_UNKNOWN, f"Organization {org_id} is not one of this stack's.")
        name = f"{self._prefix}/tokens/{org_id}"
        try:
            text = self._secrets.get(name, fresh=fresh)
        except Retryable as error:
            if error.code is Code.CONFIGURATION or isinstance(error, Unusable):
                raise TokenRefused(Code.TOKEN_REFUSED, error.reason) from error
            raise
        token = token_in(text)
        if token is None:
            raise TokenRefused(Code.TOKEN_REFUSED, f"Secret '{name}' holds no token. Put the plain token in it.")
        return token


class HttpTallyfy:
    """Tallyfy over HTTP.

    ``spend(org_id)`` is called before every call. ``time_left`` returns seconds and limits all timeouts. Only
    ``capabilities`` can be carried out: the ordinary worker is built without the permanent ones.
    """

    def __init__(
        self,
        session: requests.Session,
        base_url: str,
        tokens: Tokens,
        *,
        capabilities: frozenset[Capability],
        spend: Callable[[str], None],
        time_left: Callable[[], float],
    ) -> None:
        self._session = session
        self._base_url = checked_base_url(base_url)
        self._tokens = tokens
        self._capabilities = capabilities
        self._spend = spend
        self._time_left = time_left

    def look(self, org_id: str, resource: Resource, thing_id: str) -> ResourceSnapshot | None:
        """See ``Tallyfy``."""
        path = f"/organizations/{org_id}/{resource.collection}/{thing_id}"
        found = self._read(org_id, path, resource.kind.read_query)
        if found is not None:
            return _the(thing_id, thing_from(resource, _data(found)))
        if resource.kind.archive is None:
            return None
        archived = {"archived": "only", **resource.kind.newest_first}
        return self._settled(
            lambda: next((seen for seen in self._all(org_id, resource, archived) if seen.id == thing_id), None)
        )

    def act(self, doing: Capability, org_id: str, thing_id: str) -> Receipt:
        """See ``Tallyfy``."""
        if doing not in self._capabilities:
            raise Rejected(Code.NOT_POSSIBLE, f"{doing.name} cannot be carried out by this function.")
        try:
            answer = self._call(org_id, doing.method, doing.path(org_id, thing_id))
        except requests.RequestException as error:
            raise Ambiguous(
                Code.UNCERTAIN,
                f"The call was cut off ({type(error).__name__}), so its effect is unknown.",
                outage=True,
                may_still_land=True,
            ) from error
        body = _json(answer)
        succeeded = _succeeded(answer)
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or (succeeded and (body is None or _is_error(body))):
            wait = _requested_wait(answer)
            raise Ambiguous(
                Code.UNCERTAIN,
                f"Tallyfy answered {answer.status_code} with an error, so the effect is unknown.",
                retry_after=wait,
                counted=wait is None,
                outage=wait is None and (not succeeded or body is None),
                may_still_land=answer.status_code in _GATEWAY,
            )
        if not succeeded or body is None:
            raise _refused(answer.status_code, doing.name)
        if _contradicts(doing, thing_id, body):
            raise Ambiguous(Code.UNCERTAIN, "Tallyfy answered 200, but with another state than the requested one.")
        references = body.get("deleted_references")
        return Receipt(json.dumps({"deleted_references": references}) if references else "")

    def account(self, org_id: str) -> tuple[Json, Json]:
        """See ``Tallyfy``."""
        member = self._read(org_id, f"/organizations/{org_id}/me", {})
        organization = self._read(org_id, f"/organizations/{org_id}", {})
        if member is None or organization is None:
            raise Rejected(Code.NOT_FOUND, f"Tallyfy does not show organization {org_id} to this token.")
        return _data(member), _data(organization)

    def page(self, org_id: str, resource: Resource, number: int, query: Mapping[str, str]) -> Listing:
        """See ``Tallyfy``. Pages are read by number: ``links.next`` names another host and is never followed."""
        path = f"/organizations/{org_id}/{resource.collection}"
        found = self._read(
            org_id, path, {**resource.kind.list_query, **query, "page": str(number), "per_page": str(PER_PAGE)}
        )
        rows = found.get("data") if found else None
        if found is None or not isinstance(rows, list) or len(rows) > PER_PAGE:
            # Reading this as an empty list would make a resource after an ambiguous delete count as gone.
            raise Retryable(Code.UNAVAILABLE, f"Tallyfy did not list its things of kind {resource.label} by the page.")
        only_archived = query.get("archived") == "only"
        things = [thing_from(resource, row, listed_as_archived=only_archived) for row in rows if isinstance(row, dict)]
        pages = _total_pages(found) if rows else number
        return Listing(things, pages, _counted(found, "total"), len(rows) - len(things))

    def body(self, org_id: str, path: str, query: Mapping[str, str]) -> Json | None:
        """The whole answer to a read below the organization. ``None``: 404. For ``export_reader``."""
        return self._read(org_id, f"/organizations/{org_id}{path}", query)

    def stream(self, org_id: str, path: str) -> requests.Response:
        """A read below the organization whose uncompressed body has not been read yet. For ``export_reader``."""
        return self._call(org_id, "GET", f"/organizations/{org_id}{path}", stream=True)

    def search(self, org_id: str, find: Find, *, archived: bool) -> list[ResourceSnapshot]:
        """See ``Tallyfy``."""
        query = {"archived": "only"} if archived else {}
        if find.tag is not None:
            tag_id = self._tag_of(org_id, find.tag)
            if tag_id is None:
                return []
            query["tag_ids"] = tag_id
        else:
            query |= {"checklist_id": str(find.template), "q": str(find.name)}
        state = State.ARCHIVED if archived else State.ACTIVE
        # The API's filters may match more than their names say, so every row is compared again.
        seen = self._settled(lambda: list(self._all(org_id, Resource.RUN, query)))
        return [thing for thing in seen if thing.state is state and _is_meant(find, thing)]

    def _tag_of(self, org_id: str, title: str) -> str | None:
        """The id of the one tag of exactly this title, if any: Tallyfy filters processes by the ids of tags."""
        tags = self._settled(lambda: list(self._all(org_id, Resource.TAG, {"all": "true"})))
        ids = {tag.id for tag in tags if tag.name == title}
        if len(ids) > 1:
            raise Rejected(
                Code.AMBIGUOUS_MATCH, f"{len(ids)} tags have exactly this title, but only one may. Nothing was done."
            )
        return ids.pop() if ids else None

    def _settled[T](self, read: Callable[[], T]) -> T:
        """Read a list again if it is inconsistent. Raises ``DoesNotAddUp`` if it always is."""
        for _ in range(_READINGS - 1):
            with suppress(DoesNotAddUp):
                return read()
        return read()

    def _all(self, org_id: str, resource: Resource, query: Mapping[str, str]) -> Iterator[ResourceSnapshot]:
        """Every resource of a list, up to a limit. Raises ``Rejected`` beyond it, ``DoesNotAddUp`` at the end."""
        whole = CompleteList()
        for number in range(1, _MOST_PAGES + 1):
            listing = self.page(org_id, resource, number, query)
            unreadable = [None] * listing.unreadable
            whole.add_page([*(thing.id for thing in listing.things), *unreadable], listing.total)
            yield from listing.things
            if number >= listing.pages:
                if whole.trouble:
                    raise DoesNotAddUp(Code.UNAVAILABLE, whole.trouble)
                return
        raise Rejected(
            Code.UNDETERMINED,
            f"The {resource.label} is not among the first {_MOST_PAGES * PER_PAGE} that Tallyfy lists, so it cannot be "
            "judged. Nothing was done.",
        )

    def _read(self, org_id: str, path: str, query: Mapping[str, str]) -> Json | None:
        try:
            answer = self._call(org_id, "GET", path, query)
        except requests.RequestException as error:
            reason = f"Tallyfy could not be reached ({type(error).__name__})."
            raise Retryable(Code.UNAVAILABLE, reason, outage=True) from error
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        body = _json(answer)
        refused = HTTPStatus.BAD_REQUEST <= answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        if refused and answer.status_code != HTTPStatus.REQUEST_TIMEOUT:
            raise _refused(answer.status_code, "reading")
        wait = _requested_wait(answer)
        if wait is not None:
            raise Throttled(Code.THROTTLED, f"Tallyfy asked for a pause ({answer.status_code}).", retry_after=wait)
        if not _succeeded(answer) or not body or _is_error(body):
            reason = f"Tallyfy answered {answer.status_code} and nothing readable."
            raise Retryable(Code.UNAVAILABLE, reason, outage=True)
        return body

    def _call(
        self, org_id: str, method: str, path: str, query: Mapping[str, str] | None = None, *, stream: bool = False
    ) -> requests.Response:
        """One call; after a 401 once more with a fresh token (a 401 means that nothing was done)."""
        for attempt in range(_UNAUTHORIZED_TRIES):
            token = self._tokens.of(org_id, fresh=attempt > 0)
            left = self._time_left()
            if left < _LEAST_SECONDS:
                raise Throttled(
                    Code.OUT_OF_TIME,
                    "The function is nearly out of time. The next invocation continues.",
                    retry_after=1,
                )
            # With the second that is kept for recording, they end before the function does.
            connect = min(_CONNECT_SECONDS, left / 4)
            self._spend(org_id)
            answer = self._session.request(
                method,
                self._base_url + path,
                params=query,
                headers={
                    "Authorization": f"Bearer {token}",
                    "Accept": "application/json",
                    "X-Tallyfy-Client": "APIClient",
                    # Only an uncompressed body has the size that its header says.
                    **({"Accept": "*/*", "Accept-Encoding": "identity"} if stream else {}),
                },
                timeout=(connect, min(_READ_SECONDS, left - connect - 1)),
                allow_redirects=False,
                stream=True,
            )
            if answer.status_code in _NOT_NOW:
                answer.close()  # The body is not needed, and reading it frees the connection.
            if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                raise Throttled(
                    Code.THROTTLED,
                    "Tallyfy asked for a pause (429).",
                    retry_after=retry_after(answer.headers.get("Retry-After"), datetime.now(UTC)),
                )
            if answer.status_code != HTTPStatus.UNAUTHORIZED:
                return answer if stream else load(answer, seconds=self._seconds_for_an_answer(left))
        raise TokenRefused(
            Code.TOKEN_REFUSED,
            (
                f"Tallyfy refused the token of organization {org_id} (401). A token expires when its user logs "
                "out, and after about six months. Store a new one; no deploy is needed."
            ),
        )

    def _seconds_for_an_answer(self, left: float) -> Callable[[], float]:
        """How many seconds an answer may still take, if the function had ``left`` seconds when the call began."""
        # One second is kept to record the outcome.
        return lambda: min(self._time_left() - 1, _LONGEST_ANSWER - (left - self._time_left()))


def _the(thing_id: str, seen: ResourceSnapshot) -> ResourceSnapshot:
    """Raise ``Retryable`` for an answer about another resource."""
    if seen.id != thing_id:
        raise Retryable(
            Code.UNAVAILABLE, "Tallyfy answered with another resource than the requested one, or with none."
        )
    return seen


def _requested_wait(answer: requests.Response) -> float | None:
    """How long an answer asks to wait, in seconds; ``None`` if it has no ``Retry-After``."""
    header = answer.headers.get("Retry-After")
    return retry_after(header, datetime.now(UTC)) if header and answer.status_code in _SAYS_WHEN else None


def retry_after(header: str | None, now: datetime) -> float:
    """Seconds to wait, from seconds or an HTTP date (RFC 9110, 10.2.3); a minute if it is unreadable."""
    wait = _DEFAULT_RETRY_AFTER
    if header and header.strip().isdecimal():
        wait = float(header.strip()[:9])
    elif header:
        with suppress(ValueError, TypeError, OverflowError):
            moment = parsedate_to_datetime(header)
            wait = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(wait, 1.0), _LONGEST_RETRY_AFTER)


def thing_from(resource: Resource, row: Json, *, listed_as_archived: bool = False) -> ResourceSnapshot:
    """Reduce Tallyfy's object to facts. A field that is missing or unreadable is ``None``, never a guess."""
    removed_at = moment(row.get("archived_at")) or moment(row.get("deleted_at"))
    removed = bool(row.get("archived_at") or row.get("deleted_at") or row.get("status") == "archived")
    gone = State.ARCHIVED if resource.kind.archive is not None else State.GONE
    run_id = row.get("run_id")
    flag = row.get("is_oneoff_task")
    # An archived process may hide its tasks, so a count would be too low.
    tasks, comments = (None, None) if removed or not resource.shows("tasks") else _counts(row)
    belongs_to_none = True if "run_id" in row and run_id is None else None
    return ResourceSnapshot(
        resource=resource,
        id=str(row.get("id", "")),
        state=gone if removed or listed_as_archived else State.ACTIVE,
        name=_text(row.get("name")) or _text(row.get("title")),
        status=_text(row.get("status")),
        created_at=moment(row.get("created_at")),
        completed_at=moment(row.get("completed_at")),
        archived_at=removed_at,
        last_updated=moment(row.get("last_updated")),
        template_id=_text(row.get("checklist_id")),
        owners=_owners(row),
        tags=_tags(row.get("tags")),
        run_id=str(run_id) if run_id else None,
        one_off=flag if isinstance(flag, bool) else belongs_to_none,
        tasks=tasks,
        comments=comments,
        has_open_issue=True if row.get("has_open_issue") is True else None,
        uses=_uses(row.get("statistics")),
    )


def moment(value: object) -> datetime | None:
    """A time in UTC, or ``None``. Tallyfy writes ISO 8601 with a zone; a time without one could be any of 26 hours."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.astimezone(UTC) if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


_STATISTICS = ("active_template", "archived_template", "active_process", "archived_process")


def _uses(statistics: object) -> int | None:
    """How many templates and processes have a tag. All four counts must exist: a missing one could hide a use."""
    inner = statistics.get("data", statistics) if isinstance(statistics, dict) else None
    counts = [inner.get(name) for name in _STATISTICS] if isinstance(inner, dict) else []
    numbers = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    return sum(numbers) if len(numbers) == len(_STATISTICS) else None


def _tags(tags: object) -> frozenset[str] | None:
    """The titles of tags, from a plain list or one inside ``data``; ``None`` if any of them cannot be read."""
    inner = _rows(tags)
    if inner is None:
        return None
    titles = [row.get("title") if isinstance(row, dict) else None for row in inner]
    named = [title for title in titles if isinstance(title, str)]
    return frozenset(named) if len(named) == len(titles) else None


def _counts(row: Json) -> tuple[int | None, int | None]:
    """How many tasks and comments a process shows."""
    tasks = _rows(row.get("tasks"))
    if tasks is None:
        return None, None
    threads = [_rows(task.get("threads")) if isinstance(task, dict) else None for task in tasks]
    if "threads" in row:  # Comments on the process itself, if Tallyfy shows them.
        threads.append(_rows(row["threads"]))
    known = [len(thread) for thread in threads if thread is not None]
    return len(tasks), sum(known) if len(known) == len(threads) else None


def _rows(value: object) -> list[object] | None:
    """A list, plain or inside ``data``."""
    inner = value.get("data") if isinstance(value, dict) else value
    return inner if isinstance(inner, list) else None


def _owners(row: Json) -> frozenset[str] | None:
    """User ids: ``owner_id`` of a process or template, ``owners.users`` of a task; ``None`` if any is unreadable."""
    owners = row.get("owners")
    users = owners.get("users") if isinstance(owners, dict) else [row["owner_id"]] if "owner_id" in row else None
    if not isinstance(users, list):
        return None
    ids = [user.get("id") if isinstance(user, dict) else user for user in users]
    known = [str(number) for number in ids if isinstance(number, int) and not isinstance(number, bool)]
    return frozenset(known) if len(known) == len(ids) else None


def _is_meant(find: Find, seen: ResourceSnapshot) -> bool:
    if find.tag is not None:
        return find.tag in (seen.tags or ())
    return (seen.name, seen.template_id) == (find.name, find.template)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _succeeded(answer: requests.Response) -> bool:
    """Whether it is a 2xx. ``requests`` also calls a redirect ``ok``, but a redirect had no effect."""
    return HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES


def _json(answer: requests.Response) -> Json | None:
    """The body as an object, an empty one where there is no body; ``None`` for anything else (HTML, a list)."""
    if not answer.content:
        return {}
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _data(body: Json) -> Json:
    data = body.get("data", body)
    return data if isinstance(data, dict) else {}


def _is_error(body: Json) -> bool:
    return bool(body.get("error"))


def _contradicts(doing: Capability, thing_id: str, body: Json) -> bool:
    """Whether an answer shows another resource or state than the requested one. Missing fields are ignored."""
    data = _data(body)
    if data.get("id", thing_id) != thing_id:
        return True
    if "archived_at" not in data:
        return False
    return (doing.reaches is State.ACTIVE) == bool(data["archived_at"])


def _total_pages(body: Json) -> int:
    pages = _counted(body, "total_pages")
    return _MOST_PAGES + 1 if pages is None else pages


def _counted(body: Json, name: str) -> int | None:
    """A number of the pagination, or ``None``."""
    meta = body.get("meta")
    pagination = meta.get("pagination") if isinstance(meta, dict) else None
    number = pagination.get(name) if isinstance(pagination, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None


def _refused(status: int, what: str) -> LifecycleError:
    """The error for a 3xx or 4xx. Tallyfy's text is not repeated, because it can quote names."""
    if status == HTTPStatus.FORBIDDEN:
        return Rejected(
            Code.FORBIDDEN,
            f"Tallyfy forbids {what} to this token (403). Permanent deletion needs an Admin, the rest a Standard one.",
        )
    if status == HTTPStatus.REQUEST_TIMEOUT:
        reason = "Tallyfy answered 408, so the effect is unknown."
        return Ambiguous(Code.UNCERTAIN, reason, outage=True, may_still_land=True)
    return Rejected(Code.REFUSED, f"Tallyfy refused {what} with status {status}.")
