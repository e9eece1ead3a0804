"""One organization of Tallyfy over HTTP, for the commands that change something there themselves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from cli.ui.errors import CliError
from lifecycle.domain.urls import checked_base_url

if TYPE_CHECKING:
    import requests

type Json = Mapping[str, object]

_SECONDS = 30.0
_MOST_WAITS = 5
_LONGEST_WAIT = 120.0
GAP = 0.6
"""Seconds between two of many calls: 100 a minute, the lowest limit that Tallyfy publishes."""


class TallyfyStopped(CliError):
    """Tallyfy cannot be asked any more, or not with this token."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer: its status, its JSON (an empty object where there is none), and whether it had a body."""

    status: int
    body: object
    empty: bool

    @property
    def succeeded(self) -> bool:
        """Whether Tallyfy says that it did it: 2xx, and no ``"error": true`` in the body."""
        failed = isinstance(self.body, dict) and bool(self.body.get("error"))
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES and not failed

    @property
    def row(self) -> Json:
        """The object under ``data``; the whole body where there is no such field."""
        data = self._data
        return data if isinstance(data, dict) else {}

    @property
    def rows(self) -> list[Json]:
        """The list under ``data``, or the body that is a list itself."""
        data = self._data
        return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []

    @property
    def shape(self) -> str:
        """How it answered, in one word."""
        if self.status == HTTPStatus.NO_CONTENT:
            return "no_content"
        return "empty" if self.empty else "data"

    @property
    def _data(self) -> object:
        return self.body.get("data", self.body) if isinstance(self.body, dict) else self.body


@dataclass(slots=True)
class TallyfyCalls:
    """Calls under one token, at a pace, again after a 429."""

    session: "requests.Session"
    base_url: str
    token: str
    sleep: Callable[[float], None]
    gap: float = 0.0
    """Seconds to wait before each call. A few calls need no wait."""
    waits: list[float] = field(default_factory=list)
    """The seconds that Tallyfy asked to wait, one entry for each 429."""

    def call(self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None) -> Seen:
        """Make one call; ``path`` is below the base URL.

        Raises:
            TallyfyStopped: The token is refused, or Tallyfy asks to wait again and again.
            requests.RequestException: Tallyfy cannot be reached. A write may have been done.
        """
        url = f"{checked_base_url(self.base_url)}{path}"
        for _ in range(_MOST_WAITS):
            self.sleep(self.gap)
            answer = self.session.request(
                method,
                url,
                params=query,
                json=body,
                headers={
                    "Authorization": f"Bearer {self.token}",
                    "Accept": "application/json",
                    "X-Tallyfy-Client": "APIClient",
                },
                timeout=_SECONDS,
                allow_redirects=False,
            )
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                raise TallyfyStopped("Tallyfy refused the token (401). Make a new one, then run the command again.")
            if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                return Seen(answer.status_code, _json(answer.content), not answer.content.strip())
            self.waits.append(_retry_after(answer.headers.get("Retry-After", "")))
            self.sleep(self.waits[-1])
        raise TallyfyStopped("Tallyfy asked to wait five times in a row (429). Run the command again later.")


def _json(content: bytes) -> object:
    try:
        body: object = json.loads(content or b"{}")
    except ValueError:
        return {"error": True}
    return body if isinstance(body, dict | list) else {}


def _retry_after(text: str) -> float:
    return min(float(text), _LONGEST_WAIT) if text.isascii() and text.isdigit() else 60.0
