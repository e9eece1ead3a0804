"""One request and one answer, independent of the transport, and Tallyfy's error bodies."""

import hashlib
import json
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it reached the server: `path` is decoded, header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def token(self) -> str | None:
        """The bearer token, or None."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None

    @property
    def route(self) -> str:
        """The path as the router sees it: dots and doubled slashes resolved as an edge does, without the `/api` prefix.

        It resolves them on purpose: an unchecked id such as `../tasks/<id>` reaches another endpoint, as in Tallyfy.
        """
        path = self.path
        if "//" in path or "/." in path:
            path = posixpath.normpath("/" + path.lstrip("/"))
        return (path.removeprefix("/api") if path.startswith("/api/") else path).rstrip("/") or "/"


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to the caller: `body`, or a file that is read in chunks."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Callable[[], BinaryIO] | None = None


class CallRefused(Exception):
    """Ends a call with an error answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__(f"answered {answer.status}")
        self.answer = answer


def parse_query(text: str) -> dict[str, str]:
    """Read a query string. The last value of a repeated name counts, as in PHP."""
    return dict(parse_qsl(text, keep_blank_values=True))


def fingerprint(token: str | None) -> str | None:
    """Return a fingerprint of a token, which does not reveal it."""
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else None


def as_json(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """Make a JSON answer."""
    content = {"Content-Type": "application/json", **(headers or {})}
    return Response(status, json.dumps(body, separators=(",", ":")).encode(), content)


def data(body: object, status: int = 200) -> Response:
    """Make Tallyfy's ordinary success answer."""
    return as_json(status, {"data": body})


def error(status: int, message: str) -> Response:
    """Make Tallyfy's ordinary error answer."""
    return as_json(status, {"error": True, "message": message, "code": status})


def unprocessable(field_name: str, message: str) -> Response:
    """Make Tallyfy's 422 answer."""
    return as_json(422, {"message": message, "errors": {field_name: [message]}})


def rate_limited(retry_after: int) -> Response:
    """Make Tallyfy's 429 answer."""
    body = {"message": "Too many requests.", "code": "RATE_LIMIT_EXCEEDED"}
    return as_json(429, body, {"Retry-After": str(retry_after)})
