"""Signs a delivery as its source does, by the source's own scheme (`lifecycle.intake.schemes`)."""

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.chat.tool import load_tool
from lifecycle.intake.sources import Source


def signed_request(
    source: Source, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int
) -> HttpRequest:
    """The request as the source sends it. `timestamp` is in seconds since 1970, UTC.

    `delivery_id` is used where the scheme signs one.

    Raises:
        ValueError: The secret cannot be used with this scheme. The text does not quote the secret.
    """
    return source.scheme.sign(secret, request, delivery_id=delivery_id, timestamp=timestamp)


def sign(
    source: Source, secret: str, body: bytes, *, delivery_id: str, timestamp: int, uri: str = ""
) -> dict[str, str]:
    """The headers to send with `body`; `uri` is needed where the source signs it. See `signed_request`."""
    signed = signed_request(source, secret, unsigned(body, uri), delivery_id=delivery_id, timestamp=timestamp)
    return dict(signed.headers)


def unsigned(body: bytes, uri: str = "", *, source: str = "") -> HttpRequest:
    """A POST request without headers."""
    return HttpRequest(route="", method="POST", uri=uri, parameters={"source": source}, headers={}, body=body)


def chat_headers(tool: str, secret: str, body: bytes, *, timestamp: int) -> dict[str, str]:
    """The headers with which a chat tool sends a body. `timestamp` is in seconds since 1970, UTC."""
    return dict(load_tool(tool).sign(secret, body, timestamp=timestamp))
