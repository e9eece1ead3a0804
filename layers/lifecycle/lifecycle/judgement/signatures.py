"""Who sent this? Total functions over raw bytes: they accept or say why not, and never raise.

Why not the ``standardwebhooks`` package: see docs/decisions/0003. The tests use it as the other side.
Source of the scheme: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

TOLERANCE_SECONDS = 300
"""How old, or how far ahead, a signed timestamp may be."""
_SECONDS = re.compile(r"[0-9]{1,12}")
_MOST_SIGNATURES = 16


class Scheme(StrEnum):
    """How a source signs."""

    STANDARD_WEBHOOKS = "standard-webhooks"
    HMAC = "hmac"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The sender holds the secret. ``delivery_id`` is signed; ``None`` where the scheme has none."""

    delivery_id: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not accepted; ``why`` is for our log and names no value that was sent."""

    why: str


def verify(
    scheme: Scheme, secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, *, now: float
) -> Accepted | Refused:
    """Check the signature over the raw body. Header names are lower case; ``now`` is in seconds since 1970, UTC.

    Several secrets are tried, all of them always, so that a rotation needs no gap. An empty secret accepts nothing.
    """
    match scheme:
        case Scheme.STANDARD_WEBHOOKS:
            return _standard(secrets, headers, body, now)
        case Scheme.HMAC:
            return _plain(secrets, headers, body, now)


def _standard(secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> Accepted | Refused:
    delivery_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not delivery_id or not headers.get("webhook-signature"):
        return Refused("webhook-id or webhook-signature is missing")
    stale = _stale(timestamp, now)
    if stale:
        return stale
    offered = [
        _base64(signature)
        for version, _, signature in (part.partition(",") for part in headers["webhook-signature"].split(" "))
        if version == "v1"
    ][:_MOST_SIGNATURES]
    signed = b".".join((_bytes(delivery_id), timestamp.encode(), body))
    keys = [_base64(secret.removeprefix(b"whsec_").decode("latin-1")) for secret in secrets]
    return Accepted(delivery_id) if _any_match(keys, signed, offered) else Refused("no signature matches")


def _plain(secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> Accepted | Refused:
    timestamp = headers.get("x-timestamp", "")
    stale = _stale(timestamp, now)
    if stale:
        return stale
    algorithm, _, signature = headers.get("x-signature", "").partition("=")
    if algorithm != "sha256":
        return Refused("x-signature is missing or does not begin with sha256=")
    signed = b".".join((timestamp.encode(), body))
    return Accepted(None) if _any_match(secrets, signed, [_hex(signature)]) else Refused("the signature does not match")


def _stale(timestamp: str, now: float) -> Refused | None:
    if not _SECONDS.fullmatch(timestamp):
        return Refused("the timestamp is missing or not in whole seconds")
    if abs(int(timestamp) - now) > TOLERANCE_SECONDS:
        return Refused("the timestamp is outside the replay window")
    return None


def _any_match(keys: Sequence[bytes], signed: bytes, offered: Sequence[bytes]) -> bool:
    found = False
    for key in keys:
        expected = hmac.new(key, signed, hashlib.sha256).digest()
        for signature in offered:
            found |= bool(key) and hmac.compare_digest(expected, signature)
    return found


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _base64(text: str) -> bytes:
    """Decode base64 with or without padding; what is not base64 becomes nothing, and nothing matches nothing."""
    try:
        return base64.b64decode(_bytes(text) + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
