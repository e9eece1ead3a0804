"""Late answers to a person in a chat tool."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lifecycle.chat.slack.blocks import result

if TYPE_CHECKING:
    import requests

_SECONDS = 3.0
_SLACK = "hooks.slack.com"


@dataclass(slots=True)
class MemoryReplies:
    """Keeps what was said."""

    said: list[tuple[str, str]] = field(default_factory=list)
    offered: list[str | None] = field(default_factory=list)
    """With each of them, the intent that could be undone."""

    def reply(self, url: str, text: str, *, undo: str | None = None) -> bool:
        """See ``Replies``."""
        self.said.append((url, text))
        self.offered.append(undo)
        return True


class SlackReplies:
    """Slack's ``response_url`` (valid for 30 minutes and five answers). Posts to Slack's own host and nowhere else.

    ``also`` names one more host with its port, for a simulator on loopback. ``seconds`` is how long Slack is given.
    """

    def __init__(self, session: "requests.Session", also: str | None = None, *, seconds: float = _SECONDS) -> None:
        self._session = session
        self._also = also
        self._seconds = seconds

    def reply(self, url: str, text: str, *, undo: str | None = None) -> bool:
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
                json={**result(text, undo).body(), "replace_original": False},
                timeout=self._seconds,
                allow_redirects=False,
            )
        except OSError:  # what requests raises is one; importing it here would cost every intake 0.1 s at start
            return False
        return answer.ok
