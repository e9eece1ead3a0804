"""Handles a request of any chat tool: verifies it, reads it, acts, and answers in the tool's format."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from lifecycle.aws.api_gateway import HttpRequest, Response
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.secrets import Secrets, signing_secrets
from lifecycle.chat.service import ChatService
from lifecycle.chat.tool import ChatTool
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.messages import Answer
from lifecycle.execution.reply_channel import Replies, destination

_LATER = "It could not be taken now. Try again in a moment; nothing is done twice."


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDoor:
    """Handles requests of chat tools. The secret ``<prefix>/chat/<tool>`` verifies that the tool sent them."""

    tool: Callable[[str], ChatTool]
    service: ChatService
    secrets: Secrets
    prefix: str
    replies: Replies
    metrics: Metrics
    clock: Callable[[], datetime]

    def respond(self, name: str, request: HttpRequest) -> Response:
        """Answer a request.

        Raises ``Rejected`` (``SIGNATURE_REFUSED``, ``UNKNOWN_ROUTE``) for unverified requests, and ``Retryable``. A
        problem that the person can fix is returned as an answer, because chat tools do not show errors.
        """
        tool = self.tool(name)
        self._verify(tool, request)
        asked, later = None, False
        try:
            asked = tool.read(request)
            later = asked.pressed is not None and tool.answers_presses_later
            answer = self.service.answer(tool.facts, asked)
        except Rejected as error:
            self.metrics.emit(Metric.REFUSED, {"source": name, "code": error.code, "reason": error.reason})
            if asked is None:
                raise
            answer = Answer(text=error.reason)
        except Retryable:
            if asked is not None and later:
                self._post(name, asked.usable_address, Answer(text=_LATER))
            raise
        if not later:
            return tool.render(answer, request)
        self._post(name, asked.usable_address, answer)
        # The person who pressed the button gets the answer as a separate message.
        return {"statusCode": int(HTTPStatus.OK), "body": ""}

    def _post(self, name: str, address: str | None, answer: Answer) -> None:
        to = destination(name, address)
        if to is None or not self.replies.reply(to, answer):
            self.metrics.emit(Metric.REPLY_FAILED, {"source": name})

    def _verify(self, tool: ChatTool, request: HttpRequest) -> None:
        name = tool.facts.name
        try:
            proofs = signing_secrets(self.secrets.get(f"{self.prefix}/chat/{name}"))
        except Retryable as error:
            if error.code is not Code.CONFIGURATION:
                raise
            self.metrics.emit(Metric.SIGNATURE_REFUSED, {"source": name, "why": error.reason})
            reason = f"{tool.facts.label} is not set up here: its secret does not exist yet."
            raise Rejected(Code.UNKNOWN_ROUTE, reason) from error
        why = tool.verify(proofs, request, now=self.clock().timestamp())
        if why:
            self.metrics.emit(Metric.SIGNATURE_REFUSED, {"source": name, "why": why})
            raise Rejected(Code.SIGNATURE_REFUSED, f"{tool.facts.label} did not send this request: {why}.")
