"""Late answers to a person in a chat tool."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import requests

_SECONDS = 3.0
_SLACK = "hooks.slack.com"


class Replies(Protocol):
    """Where a person hears how it went."""

    def reply(self, url: str, text: str) -> bool:
        """Show a text to the person behind the URL. Best effort: ``False`` if it could not be delivered."""


@dataclass(slots=True)
class MemoryReplies:
    """Keeps what was said."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def reply(self, url: str, text: str) -> bool:
        """See ``Replies``."""
        self.said.append((url, text))
        return True


class SlackReplies:
    """Slack's ``response_url`` (valid for 30 minutes and five answers). Posts to Slack's own host and nowhere else.

    ``also`` names one more host with its port, for a simulator on loopback.
    """

    def __init__(self, session: "requests.Session", also: str | None = None) -> None:
        self._session = session
        self._also = also

    def reply(self, url: str, text: str) -> bool:
        """See ``Replies``."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        slack = parts.scheme == "https" and parts.netloc == _SLACK
        if not slack and (self._also is None or f"{parts.scheme}://{parts.netloc}" != self._also):
            return False
        try:
            answer = self._session.post(
                url,
                json={"response_type": "ephemeral", "replace_original": False, "text": text},
                timeout=_SECONDS,
                allow_redirects=False,
            )
        except OSError:  # what requests raises is one; importing it here would cost every intake 0.1 s at start
            return False
        return answer.ok
