"""Slack: slash commands and buttons, verified by the app's signing secret."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from lifecycle.aws import api_gateway
from lifecycle.aws.api_gateway import HttpRequest, Response
from lifecycle.chat.request import ChatRequest
from lifecycle.chat.slack.blocks import shown
from lifecycle.chat.slack.requests import read_line, read_press, signature, why_not_slack
from lifecycle.chat.tool import ChatTool, Poster
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.messages import Answer

if TYPE_CHECKING:
    import requests

ACTIONS = "POST /chat/slack/actions"
"""The route of pressed buttons. Every other route takes slash commands."""


class SlackTool:
    """See ``ChatTool``."""

    facts = CHAT_TOOLS["slack"]
    answers_presses_later = True

    def verify(self, proofs: Sequence[bytes], request: HttpRequest, *, now: float) -> str:
        """See ``ChatTool``."""
        return why_not_slack(proofs, request, now=now)

    def sign(self, secret: str, body: bytes, *, timestamp: int) -> Mapping[str, str]:
        """See ``ChatTool``."""
        at = str(timestamp)
        return {"x-slack-request-timestamp": at, "x-slack-signature": signature(secret.encode(), body, at)}

    def read(self, request: HttpRequest) -> ChatRequest:
        """See ``ChatTool``."""
        return read_press(request.body) if request.route == ACTIONS else read_line(request.body)

    def render(self, answer: Answer, request: HttpRequest | None) -> Response:  # noqa: ARG002 - for other tools
        """See ``ChatTool``."""
        return api_gateway.answer(HTTPStatus.OK, shown(answer))

    def poster(self, session: "requests.Session", also: str | None) -> Poster:
        """See ``ChatTool``."""
        # Only here: what posts is not needed where requests come in.
        from lifecycle.chat.slack.replies import SlackPoster  # noqa: PLC0415 - see above

        return SlackPoster(session, also)


TOOL: ChatTool = SlackTool()
