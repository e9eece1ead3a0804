"""Sends a sample as its system would: the same bytes, signed with the stack's secret for the source."""

import base64
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from cli.clients.api import StatusApi
from cli.clients.delivery import new_delivery_id, newest_secret, stored_secret
from cli.clients.signing import chat_headers, signed_request, unsigned
from cli.clients.stack import Stack, output_of
from cli.services.http_capture import read_capture
from cli.ui.errors import CliError, Exit
from lifecycle.domain.intent_ids import INTENT_PATTERN
from lifecycle.intake.sources import Source

_OF_THE_CONNECTION = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "expect", "user-agent", "accept"}
)
"""Headers of a captured request that belong to its own connection."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The answer in words, and the intents of the delivery."""

    line: str
    intent_ids: tuple[str, ...] = ()


def deliver(
    stack: Stack, api: StatusApi, name: str, source: Source, file: Path, headers: Mapping[str, str], now: datetime
) -> ReplayResult:
    """Post a file as a source does, or put it on the bus. Of a captured request, its own signature is replaced.

    Raises:
        CliError: The stack refuses it; or the file holds nothing of the kind.
    """
    body = _body(file)
    captured = read_capture(body, name)
    if captured is not None:
        if captured.method != "POST":
            raise CliError(
                f"The file holds a {captured.method} request, which is no delivery. `lifecycle source try` shows its "
                "answer.",
                Exit.USAGE,
            )
        kept = {key: text for key, text in captured.headers.items() if key not in _OF_THE_CONNECTION}
        body, headers = captured.body, {**kept, **{key.lower(): text for key, text in headers.items()}}
    if not source.scheme.over_http:
        refused = stack.put_events(_entries(body))
        if refused:
            raise CliError(f"The bus refused {refused} of the events.")
        return ReplayResult("accepted by the bus, which also announces each outcome")
    secret = stored_secret(stack.secrets(), output_of(stack, "SecretPrefix"), name)
    request = replace(unsigned(body, api.signed_as(name), source=name), headers=dict(headers))
    try:
        signed = signed_request(source, secret, request, delivery_id=new_delivery_id(), timestamp=int(now.timestamp()))
    except ValueError as error:
        raise CliError(f"The sample cannot be signed as source '{name}' signs: {error}.") from error
    answer = api.post(
        name,
        body,
        dict(signed.headers),
        key=signed.parameters.get("key", ""),
        query=signed.uri.partition("?")[2],
    )
    if answer.status >= 300:  # noqa: PLR2004 - HTTP's line after success
        raise CliError(f"The stack answered {answer.status} {answer.code}: {answer.detail}")
    return ReplayResult("accepted" if answer.accepted else "ignored by the source's filter", answer.intent_ids)


def chat_line(stack: Stack, api: StatusApi, tool: str, file: Path, now: datetime) -> ReplayResult:
    """Send a line to a chat tool's route as the tool does, now and for the first time.

    Nobody but Google can make Google's token, and only API Gateway checks it. So a line of Google Chat is handed to the
    function itself, with the claims that API Gateway would pass. That takes the right to invoke it.
    """
    body = _FRESH[tool](_body(file), now)
    secret = newest_secret(stack.secrets(), f"{output_of(stack, 'SecretPrefix')}/chat/{tool}")
    if tool == _GOOGLE:
        shown: object = stack.invoke("ChatFunction", _google_request(body, secret))
    else:
        headers = chat_headers(tool, secret, body, timestamp=int(now.timestamp()))
        shown = api.chat(tool, body, {**headers, "content-type": _CONTENT_TYPES[tool]})
    line = "\n".join(texts_in(shown))
    return ReplayResult(line, tuple(dict.fromkeys(re.findall(INTENT_PATTERN.strip("^$"), line))))


_GOOGLE = "google"
_CONTENT_TYPES = {"slack": "application/x-www-form-urlencoded", "teams": "application/json"}


def _fresh_slack(body: bytes, _: datetime) -> bytes:
    """Nobody waits for the later answer, so the form asks for none."""
    form = dict(parse_qsl(body.decode(), keep_blank_values=True))
    form.pop("response_url", None)
    return urlencode({**form, "trigger_id": f"{secrets.randbits(40)}.{secrets.token_hex(8)}"}).encode()


def _fresh_teams(body: bytes, now: datetime) -> bytes:
    return json.dumps({**json.loads(body), "id": str(secrets.randbits(40)), "timestamp": now.isoformat()}).encode()


def _fresh_google(body: bytes, now: datetime) -> bytes:
    event = json.loads(body)
    message = event["chat"]["messagePayload"]["message"]
    message["name"] = f"{event['chat']['messagePayload']['space']['name']}/messages/{secrets.token_urlsafe(8)}"
    event["chat"]["eventTime"] = now.isoformat()
    return json.dumps(event).encode()


_FRESH = {"slack": _fresh_slack, "teams": _fresh_teams, _GOOGLE: _fresh_google}
"""For each chat tool, the same line as if it was written now."""


def _google_request(body: bytes, account: str) -> dict[str, object]:
    claims = {"iss": "https://accounts.google.com", "email": account, "email_verified": "true"}
    return {
        "version": "2.0",
        "routeKey": "POST /chat/google",
        "rawPath": "/chat/google",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST"}, "authorizer": {"jwt": {"claims": claims}}},
        "body": body.decode(),
        "isBase64Encoded": False,
    }


def texts_in(shown: object) -> list[str]:
    """Every text that a person would read in an answer of a chat tool, whatever its form."""
    return list(_texts(shown))


def _texts(shown: object) -> Iterator[str]:
    if isinstance(shown, dict):
        for name, value in shown.items():
            if name == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
    elif isinstance(shown, list):
        for value in shown:
            yield from _texts(value)


def _body(file: Path) -> bytes:
    """The raw body; of an event of API Gateway, the body in it."""
    raw = file.read_bytes()
    try:
        found = json.loads(raw)
    except ValueError:
        return raw
    if not isinstance(found, dict) or "requestContext" not in found:
        return raw
    text = str(found.get("body", "")).encode()
    return base64.b64decode(text) if found.get("isBase64Encoded") else text


def _entries(raw: bytes) -> list[dict[str, str]]:
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) and "DetailType" in one for one in found):
        raise CliError("The file is not a list of entries for `aws events put-events`.", Exit.USAGE)
    return [{key: str(value) for key, value in one.items()} for one in found]
