"""Reads everything that Tallyfy shows of a resource, unchanged: documents, lists and files.

The ordinary worker is built without it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Protocol
from urllib.parse import urljoin, urlsplit

import requests

from lifecycle.domain.commands import ID_PATTERN
from lifecycle.domain.errors import Code, LifecycleError, Rejected, Retryable, Throttled
from lifecycle.domain.urls import LOOPBACK
from lifecycle.tallyfy.bodies import OutOfBounds, pieces
from lifecycle.tallyfy.client import PER_PAGE, DoesNotAddUp, HttpTallyfy, Json
from lifecycle.tallyfy.complete_list import CompleteList

MOST_FILE_BYTES = 200 * 1024 * 1024
"""In bytes: twice the largest file that Tallyfy accepts. Anything larger is an error."""
_MOST_PAGES = 10_000
_MOST_HOPS = 3
_LEAST_SECONDS = 2.0
_KEPT_SECONDS = 60.0
"""In seconds: the time that must be left after a pause, for a call and for recording its outcome."""
_CONNECT_SECONDS = 3.05
_READ_SECONDS = 10.0
_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_MESSAGES = frozenset({"application/json", "text/html"})
"""Content types of messages of Tallyfy or its gateway. Every file comes as ``application/octet-stream``."""


class Records(Protocol):
    """The reads of an export. Paths are relative to the organization and made of checked ids."""

    def document(self, org_id: str, path: str, query: Mapping[str, str]) -> Json | None:
        """One object as Tallyfy shows it; ``None`` if there is none. Raises ``Rejected`` and ``Retryable``."""

    def rows(self, org_id: str, path: str, query: Mapping[str, str], *, per_page: int = PER_PAGE) -> Iterator[Json]:
        """Every row of a list, one page at a time. Raises what ``document`` raises, and ``DoesNotAddUp`` at the end."""

    def total(self, org_id: str, path: str, query: Mapping[str, str]) -> int:
        """How many rows a list has. Raises what ``document`` raises, and ``DoesNotAddUp`` if Tallyfy does not say."""

    def download(self, org_id: str, file_id: str, path: Path) -> int:
        """Write the bytes of a file to ``path`` and return their number. Raises ``Rejected`` if they cannot be read."""


class Through(Protocol):
    """Wraps a call, for example to repeat it."""

    def __call__[T](self, call: Callable[[], T]) -> T:
        """Make it."""


def at_once[T](call: Callable[[], T]) -> T:
    """Make a call without waiting."""
    return call()


class Patient:
    """Repeats a call after a pause that Tallyfy requested, if the pause fits into the time left.

    ``sleep`` and ``time_left`` use seconds.
    """

    def __init__(self, sleep: Callable[[float], None], time_left: Callable[[], float]) -> None:
        self._sleep = sleep
        self._time_left = time_left

    def __call__[T](self, call: Callable[[], T]) -> T:
        """See ``Through``. Raises the last error of ``call``."""
        while True:
            try:
                return call()
            except Throttled as wait:
                pause = wait.retry_after
                if wait.code is not Code.THROTTLED or pause is None or pause > self._time_left() - _KEPT_SECONDS:
                    raise
                self._sleep(pause)


class HttpRecords:
    """Records over HTTP. It uses the token, the ``spend`` and the time limits of an ``HttpTallyfy``.

    ``session`` is only for files on another host. ``through`` wraps each call; a download is one call.
    """

    def __init__(
        self,
        tallyfy: HttpTallyfy,
        session: requests.Session,
        *,
        time_left: Callable[[], float],
        through: Through = at_once,
    ) -> None:
        self._tallyfy = tallyfy
        self._session = session
        self._time_left = time_left
        self._through = through

    def document(self, org_id: str, path: str, query: Mapping[str, str]) -> Json | None:
        """See ``Records``."""
        body = self._through(partial(self._tallyfy.body, org_id, path, query))
        data = body.get("data", body) if body is not None else None
        if data is not None and not isinstance(data, dict):
            raise Retryable(Code.UNAVAILABLE, "Tallyfy answered with something that is not an object.")
        return data

    def rows(self, org_id: str, path: str, query: Mapping[str, str], *, per_page: int = PER_PAGE) -> Iterator[Json]:
        """See ``Records``. Pages are read by number: ``links.next`` names another host and is never followed."""
        whole = CompleteList()
        for number in range(1, _MOST_PAGES + 1):
            asked = {**query, "page": str(number), "per_page": str(per_page)}
            body = self._through(partial(self._tallyfy.body, org_id, path, asked))
            if body is None:
                raise Rejected(Code.NOT_FOUND, "Tallyfy has no such list (404).")
            found, pages, total = _page(body)
            if len(found) > per_page:
                raise DoesNotAddUp(Code.UNAVAILABLE, f"{len(found)} rows came on a page of {per_page}.")
            whole.add_page((row.get("id") for row in found), total)
            yield from found
            if pages is None or number >= pages or not found:
                break
        if whole.trouble:
            raise DoesNotAddUp(Code.UNAVAILABLE, whole.trouble)

    def total(self, org_id: str, path: str, query: Mapping[str, str]) -> int:
        """See ``Records``."""
        body = self._through(partial(self._tallyfy.body, org_id, path, {**query, "page": "1", "per_page": "1"}))
        total = _page(body)[2] if body is not None else None
        if total is None:
            raise DoesNotAddUp(Code.UNAVAILABLE, "Tallyfy does not say how many rows a list has.")
        return total

    def download(self, org_id: str, file_id: str, path: Path) -> int:
        """See ``Records``."""
        if not re.fullmatch(ID_PATTERN, file_id):
            raise Rejected(Code.INVALID, "A file's id is 32 characters of 0-9 and a-f.")
        return self._through(partial(self._download, org_id, file_id, path))

    def _download(self, org_id: str, file_id: str, path: Path) -> int:
        try:
            with closing(self._open(org_id, file_id)) as answer:
                return self._save(answer, path)
        except requests.RequestException as error:
            reason = f"A file's bytes were cut off ({type(error).__name__})."
            raise Retryable(Code.UNAVAILABLE, reason, outage=True) from error
        except OSError as error:
            raise Retryable(Code.UNAVAILABLE, f"A file could not be written to the disk: {error.strerror}.") from error

    def _open(self, org_id: str, file_id: str) -> requests.Response:
        """Request the bytes, and follow redirects to them.

        Tallyfy's page ("Download file", 2026-03) documents only a 200 with the bytes, but a file's ``uploaded_to_s3``
        shows that they are in S3. So a redirect is followed as a signed URL requires: by https only, and without the
        token. The other host must not see the token, and S3 would refuse the signature next to it.
        """
        answer = self._tallyfy.stream(org_id, f"/file/{file_id}/dl")
        for hop in range(_MOST_HOPS + 1):
            if answer.status_code not in _REDIRECTS:
                _refuse(answer, elsewhere=hop > 0)
                return answer
            answer.close()
            if hop == _MOST_HOPS:
                break
            where = urljoin(answer.url, answer.headers.get("Location", ""))
            if not _may_lie_there(where, answer.url):
                raise Rejected(Code.REFUSED, "Tallyfy redirected to an address that is not https.")
            timeout = (_CONNECT_SECONDS, min(_READ_SECONDS, self._seconds()))
            answer = self._session.request(
                "GET",
                where,
                headers={"Accept-Encoding": "identity"},
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )
        raise Rejected(Code.REFUSED, f"Tallyfy redirected more than {_MOST_HOPS} times.")

    def _save(self, answer: requests.Response, path: Path) -> int:
        header = answer.headers.get("Content-Length", "")
        length = int(header) if re.fullmatch(r"[0-9]{1,18}", header) else None
        if length is None and answer.headers.get("Transfer-Encoding", "").lower() != "chunked":
            raise Rejected(
                Code.UNDETERMINED, "The answer does not name its size, so a truncated file could not be detected."
            )
        if length is not None and length > MOST_FILE_BYTES:
            raise _too_large()
        size = 0
        try:
            with path.open("wb") as file:
                for piece in pieces(answer, most=MOST_FILE_BYTES, seconds=self._seconds, decode=False):
                    size += file.write(piece)
        except OutOfBounds:
            raise _too_large() from None
        if length not in {None, size} and not answer.headers.get("Content-Encoding"):
            raise Retryable(Code.UNAVAILABLE, f"{size} of {length} bytes of a file came.")
        return size

    def _seconds(self) -> float:
        left = self._time_left()
        if left < _LEAST_SECONDS:
            raise Throttled(
                Code.OUT_OF_TIME, "The function is nearly out of time. The next invocation continues.", retry_after=1
            )
        return left - 1


def _page(body: Json) -> tuple[list[Json], int | None, int | None]:
    """The rows of a page, how many pages there are, and how many rows in all."""
    rows, meta = body.get("data"), body.get("meta")
    pagination = meta.get("pagination") if isinstance(meta, dict) else None
    if not isinstance(rows, list) or not isinstance(pagination, dict) or not all(isinstance(row, dict) for row in rows):
        raise DoesNotAddUp(Code.UNAVAILABLE, "Tallyfy answered with something that is not a list with pages.")
    return rows, _number(pagination.get("total_pages")), _number(pagination.get("total"))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _may_lie_there(where: str, asked: str) -> bool:
    """Whether the URL is https, or on loopback like the configured Tallyfy (a simulator)."""
    there, here = urlsplit(where), urlsplit(asked)
    if not there.hostname or there.username is not None:
        return False
    return there.scheme == "https" or (
        there.scheme == "http" and there.hostname in LOOPBACK and here.scheme == "http" and here.hostname in LOOPBACK
    )


def _refuse(answer: requests.Response, *, elsewhere: bool) -> None:
    """Raise unless the answer is the file. The text of an error is not repeated, because it can quote names."""
    error = _trouble(answer, elsewhere=elsewhere)
    if error is not None:
        answer.close()
        raise error


def _trouble(answer: requests.Response, *, elsewhere: bool) -> LifecycleError | None:
    status = answer.status_code
    who = "The host of the file" if elsewhere else "Tallyfy"
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if status == HTTPStatus.OK and (elsewhere or kind not in _MESSAGES):
        return None
    if status == HTTPStatus.NOT_FOUND:
        return Rejected(Code.NOT_FOUND, f"{who} has no such file (404).")
    if status == HTTPStatus.FORBIDDEN:
        return Rejected(Code.FORBIDDEN, f"{who} forbids reading it (403).")
    passing = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in passing:
        return Rejected(Code.REFUSED, f"{who} refused it with status {status}.")
    return Retryable(Code.UNAVAILABLE, f"{who} answered {status}, and not with a file.", outage=not elsewhere)


def _too_large() -> Rejected:
    return Rejected(Code.TOO_LARGE, f"It is larger than {MOST_FILE_BYTES // 1024**2} MB.")
