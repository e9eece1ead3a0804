"""The simulator behind a `requests` session, in process, without sockets or sleeps."""

import io
from collections.abc import Mapping
from typing import Any, override
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from sandbox.simulator.admin import WithAdmin
from sandbox.simulator.messages import ReceivedRequest, Response, parse_query
from sandbox.simulator.simulator import CallerGaveUp, ConnectionReset, Simulator


class SimulatorTransport(BaseAdapter):
    """Mount it: `session.mount("https://tallyfy.test/api", SimulatorTransport(simulator))`.

    A reset raises ConnectionError. A delay takes no real time. One longer than the read time-out raises ReadTimeout.
    With a delay after acting the call takes effect at once, with one before acting when the clock has passed it.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self.simulator = simulator
        self._calls = WithAdmin(simulator)

    @override
    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer a request."""
        patience = timeout[1] if isinstance(timeout, tuple) else timeout

        def wait(seconds: float) -> None:
            if patience is not None and seconds > patience:
                raise CallerGaveUp

        try:
            answer = self._calls.handle(_call(request), wait)
        except ConnectionReset as reset:
            message = "Connection reset by peer (simulated)"
            raise requests.exceptions.ConnectionError(message, request=request) from reset
        except CallerGaveUp as late:
            message = f"Read timed out. (read timeout={patience})"
            raise requests.exceptions.ReadTimeout(message, request=request) from late
        return self._response(request, answer)

    @override
    def close(self) -> None:
        """Do nothing: no connection is open."""

    def _response(self, request: requests.PreparedRequest, answer: Response) -> requests.Response:
        raw = HTTPResponse(
            answer.file() if answer.file else io.BytesIO(answer.body),
            headers=dict(answer.headers),
            status=answer.status,
            preload_content=False,
        )
        response = requests.Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict(answer.headers)
        response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        response.raw = raw
        response.reason = str(raw.reason or "")
        response.url = request.url or ""
        response.request = request
        setattr(response, "connection", self)  # noqa: B010 - requests sets it too, but its stubs do not declare it
        return response


def _call(request: requests.PreparedRequest) -> ReceivedRequest:
    url = urlsplit(request.url or "")
    body: Any = request.body or b""
    return ReceivedRequest(
        method=request.method or "GET",
        path=unquote(url.path),
        query=parse_query(url.query),
        headers={name.lower(): _text(value) for name, value in request.headers.items()},
        body=body.encode() if isinstance(body, str) else body,
    )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
