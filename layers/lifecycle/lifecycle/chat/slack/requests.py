"""A Slack slash command, and a press of one of our buttons there, read. Pure and total over any form.

Sources: https://docs.slack.dev/interactivity/implementing-slash-commands,
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload,
https://docs.slack.dev/messaging/formatting-message-text and
https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.chat.request import ChatRequest, Pressed
from lifecycle.domain.errors import Code, Rejected

_MOST_FIELDS = 100
_TOLERANCE = 300
"""Seconds, as Slack recommends."""
_TIME = re.compile(r"[0-9]{1,12}", re.ASCII)
_MARKED = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")
"""A link, or a mention of a person, a channel or a group, with what Slack shows for it."""
_MENTION = re.compile(r"[@#!]")


def why_not_slack(proofs: Sequence[bytes], request: HttpRequest, *, now: float) -> str:
    """Why Slack did not send this; empty if it did. All secrets are compared, in constant time."""
    sent = request.headers.get("x-slack-signature", "")
    at = request.headers.get("x-slack-request-timestamp", "")
    if not sent or not at:
        return "it is not signed"
    if not _TIME.fullmatch(at) or not sent.isascii():
        return "its signature or its timestamp is unreadable"
    matches = [hmac.compare_digest(signature(proof, request.body, at), sent) for proof in proofs if proof]
    if not any(matches):
        return "its signature does not match"
    return "it is too old or from the future" if abs(now - int(at)) > _TOLERANCE else ""


def signature(secret: bytes, body: bytes, timestamp: str) -> str:
    """The header ``x-slack-signature`` of a body."""
    return "v0=" + hmac.new(secret, b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()


def read_line(body: bytes) -> ChatRequest:
    """Read the form of a slash command. Raises ``Rejected`` if it is none."""
    fields = _form(body)
    user = fields.get("user_id", "")
    homes = (fields.get("team_id", ""), fields.get("enterprise_id", ""))
    trigger = fields.get("trigger_id", "")
    return ChatRequest(
        identities=_identities(homes, user),
        line=plain_text(fields.get("text", "")),
        delivery=trigger,
        address=fields.get("response_url", ""),
    )


def read_press(body: bytes) -> ChatRequest:
    """Read the form around the payload of a press. Raises ``Rejected`` if it tells of none."""
    try:
        payload = json.loads(_form(body).get("payload", ""))
    except (ValueError, RecursionError):
        payload = None
    fields = _fields(payload)
    actions = fields.get("actions")
    pressed = _fields(actions[0]) if isinstance(actions, list) and actions else {}
    if fields.get("type") != "block_actions" or not pressed:
        raise Rejected(Code.INVALID, "The body tells of no button that was pressed.")
    value = _text(pressed.get("value"))
    return ChatRequest(
        identities=_identities(_homes(fields), _text(_fields(fields.get("user")).get("id"))),
        pressed=Pressed(_text(pressed.get("action_id")), value, _reason(fields, value)),
        delivery=_text(fields.get("trigger_id")),
        address=_text(fields.get("response_url")),
    )


def plain_text(text: str) -> str:
    """A line without Slack's forms: a link is its URL alone, whatever it is shown as; a mention is its name."""
    return _MARKED.sub(_shown, text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _shown(found: re.Match[str]) -> str:
    target, label = found[1], found[2] or ""
    if not _MENTION.match(target):
        return target
    return label if label.startswith(("@", "#")) else f"@{label or target[1:]}"


def _reason(fields: Mapping[str, object], value: str) -> str:
    """What stands in the field for a reason that goes with this button."""
    blocks = _fields(_fields(fields.get("state")).get("values"))
    entry = _fields(_fields(blocks.get(f"reason-{value}")).get("reason"))
    return _text(entry.get("value"))


def _identities(homes: Sequence[str], user: str) -> tuple[str, ...]:
    return tuple(f"{home}/{user}" for home in homes if home and user)


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise Rejected(Code.INVALID, "The body is no form.") from None


def _homes(payload: Mapping[str, object]) -> tuple[str, ...]:
    """Where a person is at home: their workspace, their Enterprise organization, or both.

    ``team`` is where they pressed, ``user.team_id`` where they are at home. In a channel shared with another company
    these differ, and home counts. Within an Enterprise organization home is the organization: then the workspace counts
    too, if it belongs to it. An app installed for a whole organization may be told no ``team``.
    """
    team, home = _fields(payload.get("team")), _text(_fields(payload.get("user")).get("team_id"))
    here = _text(team.get("id"))
    if not home.startswith("E"):
        return (home or here,)
    owners = {_text(team.get("enterprise_id")), _text(_fields(payload.get("enterprise")).get("id"))}
    return (here, home) if home in owners else ("",)


def _fields(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
