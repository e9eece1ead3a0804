"""What a chat tool is: a folder of this package behind one Protocol. Nothing else of the product knows any tool.

To add one, declare it in ``lifecycle.domain.chat_tools``, and write ``chat/<name>/__init__.py`` with ``TOOL``, a
``ChatTool``.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from lifecycle.aws.api_gateway import HttpRequest, Response
from lifecycle.chat.request import ChatRequest
from lifecycle.domain.chat_tools import CHAT_TOOLS, ChatToolFacts
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.messages import Answer

if TYPE_CHECKING:
    import requests


class ChatTool(Protocol):
    """One chat tool. Every method is total: whatever a stranger sends, it raises only what its docstring names."""

    facts: ChatToolFacts
    answers_presses_later: bool
    """Whether the tool shows nothing of the response to a press, so that its answer has to be posted."""

    def verify(self, proofs: Sequence[bytes], request: HttpRequest, *, now: float) -> str:
        """Why the tool did not send this request; empty if it did. It quotes nothing that was sent.

        ``proofs`` are the one or two texts of the secret ``<prefix>/chat/<name>``; none accepts nobody. ``now`` is in
        seconds since 1970, UTC.
        """

    def sign(self, secret: str, body: bytes, *, timestamp: int) -> Mapping[str, str]:
        """The headers with which the tool sends a body: for tests and the command line. ``timestamp`` is in seconds."""

    def read(self, request: HttpRequest) -> ChatRequest:
        """Read a request that was verified. Raises ``Rejected`` if it is no line and no press."""

    def render(self, answer: Answer, request: HttpRequest | None) -> Response:
        """What the tool shows, as the body of a response to ``request``; ``None``: of a message that follows later."""

    def poster(self, session: "requests.Session", also: str | None) -> "Poster":
        """What posts later answers. ``also``: the origin of a simulator on loopback that may be posted to as well."""


class Poster(Protocol):
    """Posts answers of one tool."""

    def post(self, address: str, answer: Answer, secret: Callable[[], str]) -> bool:
        """Post to an address of this tool. ``False``: the tool did not take it, and may later.

        ``secret`` is the text of ``<prefix>/chat-replies/<name>``. Raises ``Rejected`` where posting can never work,
        and ``Retryable`` where the secret cannot be read.
        """


def load_tool(name: str) -> ChatTool:
    """Import a tool by its name. Only the one that is asked for: each costs a cold start some time.

    Raises ``Rejected`` if there is no tool of this name.
    """
    if name not in CHAT_TOOLS:
        raise Rejected(Code.UNKNOWN_ROUTE, "There is no chat tool of this name.")
    tool: ChatTool = importlib.import_module(f"lifecycle.chat.{name}").TOOL
    return tool
