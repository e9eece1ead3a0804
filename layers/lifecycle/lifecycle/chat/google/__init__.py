"""Google Chat: an app with an HTTP endpoint, verified by Google's ID token and the app's own service account."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from lifecycle.aws import api_gateway
from lifecycle.aws.api_gateway import HttpRequest, Response
from lifecycle.chat.google.cards import message, reply
from lifecycle.chat.google.requests import read_event, why_not_google
from lifecycle.chat.request import ChatRequest
from lifecycle.chat.tool import ChatTool, Poster
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.messages import Answer

if TYPE_CHECKING:
    import requests

    from lifecycle.chat.posting import SecretAddresses

WEBHOOK_HOSTS = ("chat.googleapis.com",)


class GoogleTool:
    """See ``ChatTool``."""

    facts = CHAT_TOOLS["google"]
    answers_presses_later = False

    def verify(self, proofs: Sequence[bytes], request: HttpRequest, *, now: float) -> str:  # noqa: ARG002 - see below
        """See ``ChatTool``. The authorizer has checked the token's signature, audience and time."""
        return why_not_google(proofs, request)

    def sign(self, secret: str, body: bytes, *, timestamp: int) -> Mapping[str, str]:  # noqa: ARG002 - Google alone can
        """See ``ChatTool``. Nobody but Google can make its token: there are no headers to add."""
        return {}

    def read(self, request: HttpRequest) -> ChatRequest:
        """See ``ChatTool``."""
        return read_event(request.body)

    def render(self, answer: Answer, request: HttpRequest | None) -> Response:
        """See ``ChatTool``."""
        if request is None:
            return api_gateway.answer(HTTPStatus.OK, message(answer, endpoint=None))
        return api_gateway.answer(HTTPStatus.OK, reply(answer, endpoint=request.uri))

    def poster(self, session: "requests.Session", also: str | None) -> Poster:
        """See ``ChatTool``."""
        # Only here: what posts is not needed where requests come in.
        from lifecycle.chat.posting import SecretAddresses  # noqa: PLC0415 - see above

        label = self.facts.label
        return GooglePoster(SecretAddresses(session=session, label=label, hosts=WEBHOOK_HOSTS, also=also))


@dataclass(frozen=True, slots=True)
class GooglePoster:
    """Posts to the incoming webhook of a space. What comes by it can have no buttons that come back."""

    addresses: "SecretAddresses"

    def post(self, address: str, answer: Answer, secret: Callable[[], str]) -> bool:
        """See ``Poster``. The address is the name of the space, such as ``spaces/AAAA``."""
        return self.addresses.post(address, message(answer, endpoint=None), secret)


TOOL: ChatTool = GoogleTool()
