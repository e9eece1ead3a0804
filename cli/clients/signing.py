"""Signs a delivery as a source does: the other side of `lifecycle.intake.signatures`."""

import base64
import binascii
import hashlib
import hmac

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.signatures import Scheme, Signature
from lifecycle.intake.sources import Source

_PREFIX = "whsec_"


def sign(
    source: Source, secret: str, body: bytes, *, delivery_id: str, timestamp: int, uri: str = ""
) -> dict[str, str]:
    """The headers to send with `body`. `timestamp` is in seconds since 1970, UTC.

    `uri` is needed where the source signs it. Where the scheme has no header for the delivery id, none is made.

    Raises:
        ValueError: The secret cannot be used with this scheme; the text says why, and nothing of the secret.
    """
    if not secret.strip():
        msg = "the secret is empty"
        raise ValueError(msg)
    match source.scheme:
        case Scheme.STANDARD_WEBHOOKS:
            signed = b".".join((delivery_id.encode(), str(timestamp).encode(), body))
            signature = base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()
            return {
                "webhook-id": delivery_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": f"v1,{signature}",
            }
        case Scheme.HMAC:
            return hmac_headers(source.signature or Signature(), secret, body, timestamp=timestamp, uri=uri)
        case Scheme.SHARED_SECRET:
            return {source.header: secret} if source.header else {}
        case Scheme.EVENTBRIDGE:
            msg = "events on the bus are not signed"
            raise ValueError(msg)


def hmac_headers(how: Signature, secret: str, body: bytes, *, timestamp: int, uri: str = "") -> dict[str, str]:
    """The headers of an HMAC that `how` describes; Slack's is one of them."""
    written = str(timestamp * (1000 if how.timestamp_unit == "ms" else 1))
    request = HttpRequest(route="", method="POST", uri=uri, parameters={}, headers={}, body=body)
    digest = hmac.digest(secret.encode(), how.text(request, written), how.hash)
    text = digest.hex() if how.encoding == "hex" else base64.b64encode(digest).decode()
    return {how.header: f"{how.prefix}{text}"} | ({how.timestamp_header: written} if how.timed else {})


def _key(secret: str) -> bytes:
    text = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        msg = f"the secret is not {_PREFIX} followed by base64, as Standard Webhooks wants it"
        raise ValueError(msg)
    return key
