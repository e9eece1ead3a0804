"""Signs a delivery as a source does: the other side of `lifecycle.judgement.signatures`."""

import base64
import binascii
import hashlib
import hmac

from lifecycle.judgement.signatures import Scheme

_PREFIX = "whsec_"


def sign(scheme: Scheme, secret: str, body: bytes, *, delivery_id: str, timestamp: int) -> dict[str, str]:
    """The headers to send with `body`. `timestamp` is in seconds since 1970, UTC, and good for five minutes.

    With plain HMAC the delivery id is no header: it stands in the body.

    Raises:
        ValueError: The secret cannot be used with this scheme; the text says why, and nothing of the secret.
    """
    if not secret.strip():
        msg = "the secret is empty"
        raise ValueError(msg)
    match scheme:
        case Scheme.STANDARD_WEBHOOKS:
            signed = b".".join((delivery_id.encode(), str(timestamp).encode(), body))
            signature = base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()
            return {
                "webhook-id": delivery_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": f"v1,{signature}",
            }
        case Scheme.HMAC:
            signed = b".".join((str(timestamp).encode(), body))
            signature = hmac.digest(secret.encode(), signed, hashlib.sha256).hex()
            return {"x-timestamp": str(timestamp), "x-signature": f"sha256={signature}"}


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
