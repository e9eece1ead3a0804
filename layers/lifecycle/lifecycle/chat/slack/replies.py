"""Later answers in Slack, by the ``response_url`` of a request (valid for 30 minutes and five answers).

Source: https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lifecycle.chat.slack.blocks import shown
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.messages import Answer

if TYPE_CHECKING:
    import requests

_SECONDS = 5.0
_SLACK = "hooks.slack.com"
_WORTH_ANOTHER_TRY = frozenset({HTTPStatus.TOO_MANY_REQUESTS})


class SlackPoster:
    """Posts to Slack's own host and nowhere else. ``also`` is the origin of a simulator on loopback."""

    def __init__(self, session: "requests.Session", also: str | None = None) -> None:
        self._session = session
        self._also = also

    def post(self, address: str, answer: Answer, secret: Callable[[], str]) -> bool:  # noqa: ARG002 - for other tools
        """See ``Poster``. The address is itself the secret: whoever knows it may post there."""
        if not self._is_slack(address):
            raise Rejected(Code.INVALID, "The address of the answer is not one of Slack's. Nothing was posted.")
        try:
            response = self._session.post(
                address,
                json={**shown(answer), "replace_original": answer.replaces},
                timeout=_SECONDS,
                allow_redirects=False,
            )
        except OSError:  # The root of what requests raises.
            return False
        if HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            return True
        if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR and response.status_code not in _WORTH_ANOTHER_TRY:
            raise Rejected(Code.REFUSED, f"Slack answered {response.status_code}: the address has expired.")
        return False

    def _is_slack(self, address: str) -> bool:
        try:
            parts = urlsplit(address)
        except ValueError:
            return False
        if parts.scheme == "https" and parts.netloc == _SLACK:
            return True
        return self._also is not None and f"{parts.scheme}://{parts.netloc}" == self._also
