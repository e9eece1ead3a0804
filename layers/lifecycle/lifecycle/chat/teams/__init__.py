"""Microsoft Teams: an outgoing webhook, verified by the key of the team. It proves no person."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from lifecycle.aws import api_gateway
from lifecycle.aws.api_gateway import HttpRequest, Response
from lifecycle.chat.request import ChatRequest
from lifecycle.chat.teams.cards import shown
from lifecycle.chat.teams.requests import read_message, signature, why_not_teams
from lifecycle.chat.tool import ChatTool, Poster
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.messages import Answer

if TYPE_CHECKING:
    import requests

    from lifecycle.chat.posting import SecretAddresses

WORKFLOW_HOSTS = ("logic.azure.com", "api.powerplatform.com", "api.powerautomate.com")
"""Where the URLs of Workflows are ("When a Teams webhook request is received")."""


class TeamsTool:
    """See ``ChatTool``."""

    facts = CHAT_TOOLS["teams"]
    answers_presses_later = False

    def verify(self, proofs: Sequence[bytes], request: HttpRequest, *, now: float) -> str:
        """See ``ChatTool``."""
        return why_not_teams(proofs, request, now=now)

    def sign(self, secret: str, body: bytes, *, timestamp: int) -> Mapping[str, str]:  # noqa: ARG002 - in the body
        """See ``ChatTool``. The time stands in the body."""
        return {"authorization": f"HMAC {signature(base64.b64decode(secret), body)}"}

    def read(self, request: HttpRequest) -> ChatRequest:
        """See ``ChatTool``."""
        return read_message(request.body)

    def render(self, answer: Answer, request: HttpRequest | None) -> Response:  # noqa: ARG002 - for other tools
        """See ``ChatTool``."""
        return api_gateway.answer(HTTPStatus.OK, shown(answer))

    def poster(self, session: "requests.Session", also: str | None) -> Poster:
        """See ``ChatTool``."""
        # Only here: what posts is not needed where requests come in.
        from lifecycle.chat.posting import SecretAddresses  # noqa: PLC0415 - see above

        label = self.facts.label
        return TeamsPoster(SecretAddresses(session=session, label=label, hosts=WORKFLOW_HOSTS, also=also))


@dataclass(frozen=True, slots=True)
class TeamsPoster:
    """Posts to the Workflows URL of a team."""

    addresses: "SecretAddresses"

    def post(self, address: str, answer: Answer, secret: Callable[[], str]) -> bool:
        """See ``Poster``. The address is the id of the team."""
        return self.addresses.post(address, shown(answer), secret)


TOOL: ChatTool = TeamsTool()
