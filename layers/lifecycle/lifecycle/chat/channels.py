"""Posts answers: to whoever wrote, or to a channel of ``notices.toml``."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from lifecycle.aws.secrets import Secrets
from lifecycle.chat.request import CHANNEL_MARK
from lifecycle.chat.tool import Poster
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.messages import Answer


@dataclass(frozen=True, slots=True)
class AnswerPosts:
    """``poster`` gives what posts to a tool. Secrets begin with ``prefix``."""

    poster: Callable[[str], Poster]
    secrets: Secrets
    prefix: str

    def post(self, to: str, answer: Answer) -> None:
        """Post to ``<tool>:<address>``, or to ``<tool>:@<channel>``, whose address is a secret.

        Raises ``Retryable`` if that may work later, and ``Rejected`` if it never can.
        """
        tool, _, address = to.partition(":")
        if address.startswith(CHANNEL_MARK):
            url = self.secrets.get(f"{self.prefix}/notices/{address.removeprefix(CHANNEL_MARK)}").strip()
            # Slack's address is the URL itself; the other tools look the URL of an address up in their secret.
            taken = self.poster(tool).post(url, answer, lambda: json.dumps({url: url}))
        else:
            secret = f"{self.prefix}/chat-replies/{tool}"
            taken = self.poster(tool).post(address, answer, lambda: self.secrets.get(secret))
        if not taken:
            raise Retryable(Code.UNAVAILABLE, f"The chat tool {tool} did not take a message.")


def channel_address(tool: str, channel: str) -> str:
    """Where a channel of ``notices.toml`` is posted to, as ``AnswerPosts.post`` takes it."""
    return f"{tool}:{CHANNEL_MARK}{channel}"


def is_channel(to: str) -> bool:
    """Whether a message goes to a channel of ``notices.toml``, and not to somebody who asked."""
    return to.partition(":")[2].startswith(CHANNEL_MARK)
