"""A message to a Microsoft Teams outgoing webhook, verified and read. Pure and total over any body.

Teams signs the body with a key that it shows once to the owner of the team. Whoever knows the key can sign in the name
of anybody, so a request proves the team and no person.
Source: https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook
"""

import base64
import binascii
import hashlib
import hmac
import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.chat.json_fields import Fields, load, text
from lifecycle.chat.request import ChatRequest
from lifecycle.domain.errors import Code, Rejected

_SCHEME = "HMAC "
_TOLERANCE = 300
"""Seconds between the message's own time and ours. Teams waits five seconds for an answer."""
_LEAST_KEY = 16
_MENTION = re.compile(r"<at\b[^>]*>(.*?)</at>", re.IGNORECASE | re.DOTALL)
_ANCHOR = re.compile(r"""<a\b[^>]*?href=["']([^"'<>]*)["'][^>]*>.*?</a>""", re.IGNORECASE | re.DOTALL)
_MARKED_LINK = re.compile(r"\[[^\[\]]*\]\((https?://[^()\s]+)\)")
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


def why_not_teams(proofs: Sequence[bytes], request: HttpRequest, *, now: float) -> str:
    """Why Teams did not send this; empty if it did. All keys are compared, in constant time."""
    sent = request.headers.get("authorization", "")
    if not sent.startswith(_SCHEME) or not sent.isascii():
        return "it is not signed"
    wanted = [signature(key, request.body) for proof in proofs if (key := _key(proof))]
    matches = [hmac.compare_digest(one, sent.removeprefix(_SCHEME).strip()) for one in wanted]
    if not any(matches):
        return "its signature does not match"
    activity = load(request.body) or {}
    at = _moment(text(activity, "timestamp"))
    if at is None or not text(activity, "id"):
        return "it has no time or no id of its own"
    return "it is too old or from the future" if abs(now - at) > _TOLERANCE else ""


def signature(key: bytes, body: bytes) -> str:
    """What stands behind ``HMAC`` in the header ``Authorization``."""
    return base64.b64encode(hmac.new(key, body, hashlib.sha256).digest()).decode()


def read_message(body: bytes) -> ChatRequest:
    """Read the activity. Raises ``Rejected`` if it is no message."""
    activity = load(body)
    if activity is None or text(activity, "type") != "message":
        raise Rejected(Code.INVALID, "The body is no message of Microsoft Teams.")
    tenant = text(activity, "channelData", "tenant", "id") or text(activity, "conversation", "tenantId")
    person = text(activity, "from", "aadObjectId")
    return ChatRequest(
        identities=(f"{tenant}/{person}".lower(),) if tenant and person else (),
        line=plain_text(text(activity, "text")),
        delivery=_delivery(activity),
        address=text(activity, "channelData", "team", "id") or text(activity, "channelData", "teamsTeamId"),
    )


def plain_text(written: str) -> str:
    """A line without Teams' forms: our own mention goes, another one is its name, a link is where it leads."""
    line = _MENTION.sub("", written, count=1)
    line = _MENTION.sub(lambda found: f"@{found[1]}", line)
    line = _ANCHOR.sub(lambda found: found[1], line)
    line = _MARKED_LINK.sub(lambda found: found[1], line)
    return html.unescape(_TAG.sub(" ", line))


def _delivery(activity: Fields) -> str:
    message = text(activity, "id")
    return f"{text(activity, 'conversation', 'id')}:{message}" if message else ""


def _key(proof: bytes) -> bytes:
    """The key's bytes. Empty, and so of no use, if the text is no base64 of a key."""
    try:
        key = base64.b64decode(proof.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return key if len(key) >= _LEAST_KEY else b""


def _moment(written: str) -> float | None:
    try:
        at = datetime.fromisoformat(written)
        return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
