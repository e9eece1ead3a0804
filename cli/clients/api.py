"""The stack's HTTP API: post a signed delivery, ask for a status, wait for an outcome."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import requests

from cli.clients.answers import fields_of, read
from cli.ui.errors import CliError, Exit
from lifecycle.api.schemas.commands import Accepted, CommandStatus, Ignored
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import OPEN, Status

_SECONDS = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
REACHED = frozenset({Status.DONE, Status.UNCHANGED})
_WAITS_FOR_PEOPLE = frozenset({Code.AWAITING_APPROVAL.value, Code.IN_GRACE.value})


def is_concluded(status: CommandStatus) -> bool:
    """Whether the command has ended (unless an operator sends it again)."""
    return status["status"] not in OPEN


def is_deferred(status: CommandStatus) -> bool:
    """Whether the command waits for an approval or a date, so that polling it is useless."""
    return status["status"] is Status.WAITING and status["code"] in _WAITS_FOR_PEOPLE


@dataclass(frozen=True, slots=True)
class DeliveryAnswer:
    """The stack's answer to a delivery: the accepted commands, or the code and detail of the problem."""

    status: int
    intent_ids: tuple[str, ...] = ()
    code: str = ""
    detail: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the command was enqueued."""
        return self.status == HTTPStatus.ACCEPTED

    @property
    def taken(self) -> bool:
        """Whether the stack accepted the delivery, or ignored it because of the source's filter."""
        return self.accepted or self.status == HTTPStatus.OK

    @property
    def intent_id(self) -> str:
        """The intent of a delivery that became exactly one command, or an empty string."""
        return self.intent_ids[0] if len(self.intent_ids) == 1 else ""


class StatusApi:
    """One stack's API, by its URL: HTTPS, or loopback."""

    def __init__(self, session: requests.Session, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise CliError(f"The URL of the API must be https, or http on loopback. Got '{url}'.", Exit.USAGE)
        self._session = session
        self.url = url.rstrip("/")

    @property
    def seen_as(self) -> str:
        """The URL of this API as the functions see it, which some sources sign. It differs for the emulator only."""
        emulated = re.fullmatch(r"http://([^/:]+)(?::\d+)?/_aws/execute-api/([^/]+)/\$default", self.url)
        return f"https://{emulated[2]}.execute-api.{emulated[1]}" if emulated else self.url

    def signed_as(self, source: str) -> str:
        """The URL that the source's scheme signs, if it signs one."""
        return f"{self.seen_as}/webhooks/{source}"

    def post(
        self, source: str, body: bytes, headers: dict[str, str], *, key: str = "", query: str = ""
    ) -> DeliveryAnswer:
        """Deliver. ``key`` is a shared secret that goes into the path; ``query`` is the query of the URL, encoded.

        A refusal by the stack is returned, not raised.

        Raises:
            requests.RequestException: The API cannot be reached.
        """
        response = self._session.post(
            f"{self.url}/webhooks/{source}"
            + (f"/{quote(key, safe='')}" if key else "")
            + (f"?{query}" if query else ""),
            data=body,
            headers={**headers, "content-type": "application/json"},
            timeout=_SECONDS,
            allow_redirects=False,
        )
        match response.status_code:
            case HTTPStatus.ACCEPTED:
                return DeliveryAnswer(response.status_code, tuple(read(Accepted, response)["intent_ids"]))
            case HTTPStatus.OK:
                read(Ignored, response)
                return DeliveryAnswer(response.status_code)
            case status:
                code, detail = (str(fields_of(response).get(name) or "") for name in ("code", "detail"))
                return DeliveryAnswer(status, code=code, detail=detail)

    def chat(self, tool: str, body: bytes, headers: dict[str, str]) -> object:
        """Send a request as a chat tool does, and return what the tool would show.

        Raises:
            CliError: The stack refuses it.
        """
        response = self._session.post(
            f"{self.url}/chat/{tool}",
            data=body,
            headers=headers,
            timeout=_SECONDS,
            allow_redirects=False,
        )
        if response.ok:
            return response.json()
        fields = fields_of(response)
        code = Exit.UNREACHABLE if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else Exit.NOT_DONE
        message = f"The stack answered {response.status_code} {fields.get('code')}: {fields.get('detail')}"
        raise CliError(message, code)

    def status(self, intent_id: str) -> CommandStatus:
        """Ask once.

        Raises:
            CliError: The stack does not know the id, or it cannot answer.
        """
        # An id is one path segment. Anything else would reach another route.
        response = self._session.get(
            f"{self.url}/commands/{quote(intent_id, safe='')}", timeout=_SECONDS, allow_redirects=False
        )
        if response.ok:
            return read(CommandStatus, response)
        fields = fields_of(response)
        if response.status_code == HTTPStatus.NOT_FOUND and fields.get("code") == Code.UNKNOWN_INTENT:
            raise CliError(str(fields.get("detail")))
        detail = fields.get("detail") or "the answer cannot be read. Check the URL of the API."
        raise CliError(f"The API answered {response.status_code}: {detail}", Exit.UNREACHABLE)

    def healthy(self) -> bool:
        """Whether GET /health answers as this API does."""
        response = self._session.get(f"{self.url}/health", timeout=_SECONDS, allow_redirects=False)
        return response.ok and fields_of(response) == {"status": "ok"}

    def wait(
        self,
        intent_id: str,
        *,
        seconds: float,
        every: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
        until: Callable[[CommandStatus], bool] = is_concluded,
    ) -> CommandStatus:
        """Ask every ``every`` seconds until ``until`` holds, for about ``seconds``. The last status tells which.

        Raises:
            CliError: The stack does not know the id, or it could not answer at the end either.
            requests.RequestException: The API could not be reached at the end either.
        """
        left = seconds
        while True:
            try:
                status: CommandStatus | None = self.status(intent_id)
            except (requests.RequestException, CliError) as error:
                # A temporary failure must not end the wait. A lasting one is raised at the end.
                if left <= 0 or (isinstance(error, CliError) and error.code is not Exit.UNREACHABLE):
                    raise
                status = None
            if status is not None and (left <= 0 or until(status)):
                return status
            sleep(every)
            left -= every
