"""Sends a sample as its system would: the same bytes, signed with the stack's secret for the source."""

import base64
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from cli.clients.api import StatusApi
from cli.clients.delivery import new_delivery_id, newest_secret, stored_secret
from cli.clients.signing import chat_headers, signed_request, unsigned
from cli.clients.stack import Stack, output_of
from cli.ui.errors import CliError, Exit
from lifecycle.domain.intent_ids import INTENT_PATTERN
from lifecycle.intake.sources import Source


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The answer in words, and the intents of the delivery."""

    line: str
    intent_ids: tuple[str, ...] = ()


def deliver(
    stack: Stack, api: StatusApi, name: str, source: Source, file: Path, headers: Mapping[str, str], now: datetime
) -> ReplayResult:
    """Post a file as a source does, or put it on the bus.

    Raises:
        CliError: The stack refuses it; or the file holds nothing of the kind.
    """
    body = _body(file)
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


def slash(stack: Stack, api: StatusApi, file: Path, now: datetime) -> ReplayResult:
    """Post a slash command's form as Slack does. The form requests no late answer, because nobody would read it."""
    form = dict(parse_qsl(_body(file).decode(), keep_blank_values=True))
    form.pop("response_url", None)
    body = urlencode({**form, "trigger_id": f"{secrets.randbits(40)}.{secrets.token_hex(8)}"}).encode()
    secret = newest_secret(stack.secrets(), f"{output_of(stack, 'SecretPrefix')}/chat/slack")
    line = api.slash(body, chat_headers("slack", secret, body, timestamp=int(now.timestamp())))
    return ReplayResult(line, tuple(re.findall(INTENT_PATTERN.strip("^$"), line)))


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
