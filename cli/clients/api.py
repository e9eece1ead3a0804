"""The stack's HTTP API: post a signed delivery, ask for a status, wait for an end."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import requests

from cli.ui.errors import CliError, Exit
from lifecycle.domain.intent import Status

_SECONDS = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN = frozenset({Status.ACCEPTED, Status.IN_PROGRESS, Status.WAITING})
REACHED = frozenset({Status.DONE, Status.UNCHANGED})


@dataclass(frozen=True, slots=True)
class Report:
    """What the status endpoint says of an intent."""

    intent_id: str
    status: Status
    reason: str

    @property
    def concluded(self) -> bool:
        """Whether this is its end (unless an operator sends it again)."""
        return self.status not in OPEN


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What a delivery was answered."""

    status: int
    intent_id: str = ""
    code: str = ""
    detail: str = ""
    intent_ids: tuple[str, ...] = ()
    """All of them, where a delivery became several commands."""

    @property
    def accepted(self) -> bool:
        """Whether a queue has the command."""
        return self.status == HTTPStatus.ACCEPTED


class StatusApi:
    """One stack's API, by its URL: HTTPS, or loopback."""

    def __init__(self, session: requests.Session, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise CliError(f"The API's URL must be https (or http on loopback), not '{url}'.", Exit.USAGE)
        self._session = session
        self.url = url.rstrip("/")

    @property
    def seen_as(self) -> str:
        """This API's URL as the functions see it: some sources sign it. Only the emulator's is called by another."""
        emulated = re.fullmatch(r"http://([^/:]+)(?::\d+)?/_aws/execute-api/([^/]+)/\$default", self.url)
        return f"https://{emulated[2]}.execute-api.{emulated[1]}" if emulated else self.url

    def signed_as(self, source: str) -> str:
        """The URL that a delivery of this source is signed for, where its scheme signs one."""
        return f"{self.seen_as}/webhooks/{source}"

    def post(self, source: str, body: bytes, headers: dict[str, str], *, key: str = "", query: str = "") -> ApiResponse:
        """Deliver. What the stack refuses is an answer; being out of reach is `requests.RequestException`.

        `key` is a shared secret that goes into the path; `query` is the query of the URL, encoded.
        """
        told = self._session.post(
            f"{self.url}/webhooks/{source}"
            + (f"/{quote(key, safe='')}" if key else "")
            + (f"?{query}" if query else ""),
            data=body,
            headers={**headers, "content-type": "application/json"},
            timeout=_SECONDS,
            allow_redirects=False,
        )
        said = _object(told)
        several = said.get("intent_ids")
        intent_id, code, detail = (str(said.get(name) or "") for name in ("intent_id", "code", "detail"))
        return ApiResponse(
            told.status_code, intent_id, code, detail, tuple(map(str, several)) if isinstance(several, list) else ()
        )

    def slash(self, form: bytes, headers: dict[str, str]) -> str:
        """Send a slash command as Slack does, and return the line that Slack would show.

        Raises:
            Trouble: The stack refuses it.
        """
        told = self._session.post(
            f"{self.url}/chat/slack",
            data=form,
            headers={**headers, "content-type": "application/x-www-form-urlencoded"},
            timeout=_SECONDS,
            allow_redirects=False,
        )
        said = _object(told)
        if not told.ok:
            code = Exit.UNREACHABLE if told.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else Exit.NOT_DONE
            raise CliError(f"The stack answered {told.status_code} {said.get('code')}: {said.get('detail')}", code)
        return str(said.get("text") or "")

    def status(self, intent_id: str) -> Report:
        """Ask once.

        Raises:
            Trouble: The stack does not know the id, or answers something else.
        """
        # An id is one path segment: anything else would ask another route.
        told = self._session.get(
            f"{self.url}/commands/{quote(intent_id, safe='')}", timeout=_SECONDS, allow_redirects=False
        )
        said = _object(told)
        if told.status_code == HTTPStatus.NOT_FOUND and said.get("code") == "unknown_intent":
            raise CliError(str(said.get("detail")))
        if not told.ok or said.get("status") not in set(Status):
            detail = said.get("detail") or "nothing readable. Is the API's URL right?"
            raise CliError(f"The API answered {told.status_code}: {detail}", Exit.UNREACHABLE)
        return Report(intent_id, Status(str(said["status"])), str(said.get("reason") or ""))

    def healthy(self) -> bool:
        """Whether GET /health answers as ours does."""
        told = self._session.get(f"{self.url}/health", timeout=_SECONDS, allow_redirects=False)
        return told.ok and _object(told) == {"status": "ok"}

    def wait(
        self,
        intent_id: str,
        *,
        seconds: float,
        every: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
        until: Callable[[Report], bool] = lambda report: report.concluded,
    ) -> Report:
        """Ask until it has ended, or for about so many seconds; the last report tells which."""
        left = seconds
        while True:
            try:
                report: Report | None = self.status(intent_id)
            except (requests.RequestException, CliError) as error:
                # A passing failure must not end the wait; a lasting one is told in the end.
                if left <= 0 or (isinstance(error, CliError) and error.code is not Exit.UNREACHABLE):
                    raise
                report = None
            if report is not None and (left <= 0 or until(report)):
                return report
            sleep(every)
            left -= every


def _object(answer: requests.Response) -> dict[str, object]:
    try:
        found = answer.json()
    except requests.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
