"""What Microsoft Teams and Google Chat send."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import override

import requests
from requests.adapters import BaseAdapter

from tests.harness.builders import NOW

TEAMS_KEY = base64.b64encode(b"k" * 32).decode()
TENANT, ADA_ID = "72f988bf-86f1-41af-91ab-2d7cd011db47", "8f0c2a3e-1b2d-4c5e-9f60-718293a4b5c6"
ADA_IN_TEAMS = f"{TENANT}/{ADA_ID}"
TEAM = "19:team@thread.tacv2"

ADA_IN_GOOGLE = "1a2b3c4/ada@example.com"
APP_ACCOUNT = "service-123456789012@gcp-sa-gsuiteaddons.iam.gserviceaccount.com"
SPACE = "spaces/AAAA1234567"


def teams_message(text: str, *, at: datetime = NOW, **changes: object) -> bytes:
    """An activity that mentions the webhook. A change to ``None`` leaves the field out."""
    made: dict[str, object] = {
        "type": "message",
        "id": "1485983408511",
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "text": f"<at>Tallyfy</at> {text}",
        "textFormat": "plain",
        "from": {"id": "29:1abc", "name": "Ada", "aadObjectId": ADA_ID},
        "conversation": {"id": "19:chat@thread.tacv2;messageid=1", "tenantId": TENANT},
        "channelData": {"tenant": {"id": TENANT}, "team": {"id": TEAM}},
    }
    return json.dumps({name: value for name, value in {**made, **changes}.items() if value is not None}).encode()


def google_event(text: str, *, kind: str = "messagePayload", **changes: object) -> bytes:
    """A line that was written to the app, as a Workspace add-on receives it. ``changes`` are of ``chat``."""
    message = {"name": f"{SPACE}/messages/BBBB", "argumentText": text, "text": f"@Tallyfy {text}"}
    chat: dict[str, object] = {
        "user": {
            "name": "users/1234",
            "displayName": "Ada",
            "email": "ada@example.com",
            "type": "HUMAN",
            "domainId": "1a2b3c4",
        },
        "eventTime": NOW.isoformat(),
        kind: {"message": message, "space": {"name": SPACE, "type": "ROOM"}},
    }
    common = {"hostApp": "CHAT", "userLocale": "en"}
    return json.dumps({"commonEventObject": common, "chat": {**chat, **changes}}).encode()


def google_press(kind: str, value: str, *, reason: str | None = None) -> bytes:
    """A press of a button of a card."""
    event = json.loads(google_event("", kind="buttonClickedPayload"))
    event["commonEventObject"]["parameters"] = {"kind": kind, "value": value}
    if reason is not None:
        event["commonEventObject"]["formInputs"] = {f"reason-{value}": {"stringInputs": {"value": [reason]}}}
    return json.dumps(event).encode()


def google_claims(**changes: str) -> dict[str, str]:
    """The claims of Google's token, as the authorizer passes them."""
    return {
        "iss": "https://accounts.google.com",
        "aud": "https://api.example.com/chat/google",
        "email": APP_ACCOUNT,
        "email_verified": "true",
        **changes,
    }


class Wire(BaseAdapter):
    """A chat tool's side of what is posted: keeps each request, and answers or fails as told."""

    def __init__(self, status: int | Exception = 200) -> None:
        super().__init__()
        self.status = status
        self.posted: list[requests.PreparedRequest] = []

    @override
    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        assert timeout == 5.0
        self.posted.append(request)
        if isinstance(self.status, Exception):
            raise self.status
        response = requests.Response()
        response.status_code = self.status
        response.headers["Location"] = "https://example.com/"
        response.url = request.url or ""
        response.request = request
        return response

    @override
    def close(self) -> None:
        """Nothing is held open."""
