"""HTTP in the payload format 2.0 of API Gateway, with errors as problem details (RFC 9457). Reads any event."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Literal, Self, TypedDict

from lifecycle.domain.errors import Code, LifecycleError, Rejected

MOST_BYTES = 256 * 1024
"""The largest accepted body, in bytes: once the limit of an SQS message, and far more than a command needs."""

_STATUS: Mapping[Code, HTTPStatus] = {
    Code.INVALID: HTTPStatus.BAD_REQUEST,
    Code.NOT_POSSIBLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.SIGNATURE_REFUSED: HTTPStatus.UNAUTHORIZED,
    Code.UNTRANSLATABLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.EXPIRED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.UNKNOWN_SOURCE: HTTPStatus.NOT_FOUND,
    Code.UNKNOWN_INTENT: HTTPStatus.NOT_FOUND,
    Code.UNKNOWN_ROUTE: HTTPStatus.NOT_FOUND,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.RIGHT_MISSING: HTTPStatus.FORBIDDEN,
    Code.ORGANIZATION_UNKNOWN: HTTPStatus.FORBIDDEN,
    Code.INTENT_CONFLICT: HTTPStatus.CONFLICT,
    Code.UNKNOWN_APPROVAL: HTTPStatus.NOT_FOUND,
    Code.OWN_REQUEST: HTTPStatus.FORBIDDEN,
}

_UNAVAILABLE = "The command was not accepted. Send the same delivery again; it will not be carried out twice."

type Response = dict[str, object]


class Problem(TypedDict):
    """Problem details (RFC 9457). `detail` says what to do, and never quotes the request."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: Code
    detail: str


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request: header names in lower case, the body as the raw bytes that were signed."""

    route: str
    method: str
    uri: str
    """The URL as the caller wrote it, because some senders sign it."""
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: str = ""
    """The ARN of the caller if API Gateway authenticated it. A caller cannot write this value."""
    claims: Mapping[str, str] = field(default_factory=dict)
    """The claims of the token that API Gateway's JWT authorizer has verified on this route; empty without one."""

    @classmethod
    def of(cls, event: object) -> Self:
        """Read any event; missing parts are empty. Raises ``Rejected`` for an unreadable body."""
        fields = _dict(event)
        called = _dict(fields.get("requestContext"))
        return cls(
            route=_text(fields.get("routeKey")),
            method=_text(_dict(called.get("http")).get("method")),
            uri=_uri(
                _text(called.get("domainName")), _text(fields.get("rawPath")), _text(fields.get("rawQueryString"))
            ),
            parameters=_texts(fields.get("pathParameters")),
            headers={name.lower(): value for name, value in _texts(fields.get("headers")).items()},
            caller=_text(_dict(_dict(called.get("authorizer")).get("iam")).get("userArn")),
            claims=_texts(_dict(_dict(called.get("authorizer")).get("jwt")).get("claims")),
            body=_body(fields.get("body"), encoded=fields.get("isBase64Encoded") is True),
        )


def answer(status: HTTPStatus, body: Mapping[str, object]) -> Response:
    """A JSON answer. A ``datetime`` in it is written in ISO 8601."""
    return _response(status, "application/json", body)


def plain(status: HTTPStatus, content_type: str, body: str, headers: Mapping[str, str]) -> Response:
    """An answer in a form that another system requires."""
    sent = {"content-type": content_type, "cache-control": "no-store", **headers}
    return {"statusCode": int(status), "headers": sent, "body": body}


def problem(error: LifecycleError) -> Response:
    """An error as problem details. An error that is not the sender's fault is a 503 without its reason."""
    status = _STATUS.get(error.code, HTTPStatus.SERVICE_UNAVAILABLE)
    unavailable = status is HTTPStatus.SERVICE_UNAVAILABLE
    body = Problem(
        type="about:blank",
        title=status.phrase,
        status=int(status),
        code=error.code,
        detail=_UNAVAILABLE if unavailable else error.reason,
    )
    extra = {"retry-after": "5"} if unavailable else {}
    return _response(status, "application/problem+json", body, extra)


def _response(
    status: HTTPStatus, content_type: str, body: Mapping[str, object], extra: Mapping[str, str] | None = None
) -> Response:
    headers = {"content-type": content_type, "cache-control": "no-store", **(extra or {})}
    return {"statusCode": int(status), "headers": headers, "body": json.dumps(body, default=datetime.isoformat)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _uri(domain: str, path: str, query: str) -> str:
    return f"https://{domain}{path}{f'?{query}' if query else ''}"


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)}


def _body(value: object, *, encoded: bool) -> bytes:
    # HTTP cannot carry lone surrogates, but an event from a test console can contain them.
    raw = _text(value).encode("utf-8", "surrogatepass")
    if len(raw) > MOST_BYTES * (4 / 3 if encoded else 1) + 4:
        raise Rejected(Code.TOO_LARGE, f"The body is larger than {MOST_BYTES} bytes.")
    if encoded:
        try:
            raw = base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError):
            raise Rejected(Code.INVALID, "The body is marked as base64, but it is not base64.") from None
    if len(raw) > MOST_BYTES:
        raise Rejected(Code.TOO_LARGE, f"The body is larger than {MOST_BYTES} bytes.")
    return raw
