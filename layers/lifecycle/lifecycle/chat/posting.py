"""Posting to an address that stands in a secret, such as the incoming webhook of a team or a space."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lifecycle.domain.errors import Code, Rejected

if TYPE_CHECKING:
    import requests

_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretAddresses:
    """Posts JSON to the URL that a secret holds for a place: ``{"<place>": "https://…"}``.

    ``hosts`` are the ends of the host names that may be posted to. ``also`` is the origin of a simulator on loopback.
    """

    session: "requests.Session"
    label: str
    hosts: tuple[str, ...]
    also: str | None = None

    def post(self, place: str, body: Mapping[str, object], secret: Callable[[], str]) -> bool:
        """See ``Poster``."""
        url = self._url(place, secret())
        try:
            response = self.session.post(url, json=body, timeout=_SECONDS, allow_redirects=False)
        except OSError:  # The root of what requests raises.
            return False
        if HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            return True
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status_code == 429:  # noqa: PLR2004
            return False
        raise Rejected(Code.REFUSED, f"{self.label} answered {response.status_code} to an answer. Renew its URL.")

    def _url(self, place: str, text: str) -> str:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        url = found.get(place) if isinstance(found, dict) else None
        if not isinstance(url, str) or not self._is_theirs(url):
            reason = f"The secret of {self.label}'s answers names no usable URL for this place, so it hears none."
            raise Rejected(Code.CONFIGURATION, reason)
        return url

    def _is_theirs(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if self.also is not None and f"{parts.scheme}://{parts.netloc}" == self.also:
            return True
        plain = parts.scheme == "https" and port in {None, 443} and not parts.username and not parts.password
        return plain and any(host == end or host.endswith(f".{end}") for end in self.hosts)
