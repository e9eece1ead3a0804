"""Who sent this? Total functions over raw bytes: they accept or say why not, and never raise.

Why not the ``standardwebhooks`` package: see docs/decisions/0003. The tests use it as the other side.
Source of the scheme: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lifecycle.aws.api_gateway import HttpRequest

_DIGITS = re.compile(r"[0-9]{1,16}")
_MOST_SIGNATURES = 16
_PLACES = frozenset({"method", "uri", "body", "timestamp"})

type HeaderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]


class Scheme(StrEnum):
    """How a source shows who it is."""

    STANDARD_WEBHOOKS = "standard-webhooks"
    HMAC = "hmac"
    SHARED_SECRET = "shared-secret"  # noqa: S105 # nosec B105 - the name of a scheme
    EVENTBRIDGE = "eventbridge"


class Signature(BaseModel):
    """How a source of the scheme ``hmac`` signs. What is left out is our own plain HMAC.

    ``signed`` is the text that is signed, with places for ``{method}``, ``{uri}``, ``{body}``, ``{timestamp}``. Without
    ``{timestamp}`` there is no replay window: a copy is recognised by its content for as long as the ledger remembers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: HeaderName = "x-signature"
    prefix: str = "sha256="
    encoding: Literal["hex", "base64"] = "hex"
    hash: Literal["sha256", "sha512", "sha1"] = "sha256"
    signed: str = "{timestamp}.{body}"
    timestamp_header: HeaderName = "x-timestamp"
    timestamp_unit: Literal["s", "ms"] = "s"
    tolerance_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    uri: str | None = None
    """The URL as the sender writes it, where a proxy stands between; left out, the one that was called."""

    @model_validator(mode="after")
    def _signs_the_body(self) -> Self:
        try:
            places = [place for _, place, form, conversion in Formatter().parse(self.signed) if place is not None]
            plain = not any(form or conversion for _, _, form, conversion in Formatter().parse(self.signed))
        except ValueError:
            places, plain = [], False
        if not plain or not set(places) <= _PLACES:
            msg = f"'signed' may hold only {{method}}, {{uri}}, {{body}} and {{timestamp}}, not {self.signed!r}"
            raise ValueError(msg)
        if "body" not in places:
            msg = "'signed' must hold {body}: a signature that leaves the body out proves nothing about the command"
            raise ValueError(msg)
        return self

    @property
    def timed(self) -> bool:
        """Whether a timestamp is signed."""
        return any(place == "timestamp" for _, place, _, _ in Formatter().parse(self.signed))

    def text(self, request: HttpRequest, timestamp: str) -> bytes:
        """The bytes that the sender signed."""
        values = {
            "method": request.method.encode("utf-8", "replace"),
            "uri": (self.uri or request.uri).encode("utf-8", "replace"),
            "body": request.body,
            "timestamp": timestamp.encode("utf-8", "replace"),
        }
        parts = Formatter().parse(self.signed)
        return b"".join(literal.encode() + (values[place] if place else b"") for literal, place, _, _ in parts)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The sender holds the secret. ``delivery_id`` is signed; ``None`` where the scheme has none."""

    delivery_id: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not accepted; ``why`` is for our log and names no value that was sent."""

    why: str


def standard(secrets: Sequence[bytes], request: HttpRequest, *, now: float) -> Accepted | Refused:
    """Check a Standard Webhooks signature. ``now`` is in seconds since 1970, UTC.

    Several secrets are tried, all of them always, so that a rotation needs no gap. An empty secret accepts nothing.
    """
    headers = request.headers
    delivery_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not delivery_id or not headers.get("webhook-signature"):
        return Refused("webhook-id or webhook-signature is missing")
    if "." in delivery_id:
        # The dot parts what is signed: with one in the id, the same signature would fit another id and another body.
        return Refused("webhook-id holds a dot")
    stale = _stale(timestamp, now, 1, 300)
    if stale:
        return stale
    offered = [
        _base64(signature)
        for version, _, signature in (part.partition(",") for part in headers["webhook-signature"].split(" "))
        if version == "v1"
    ][:_MOST_SIGNATURES]
    signed = b".".join((_bytes(delivery_id), timestamp.encode(), request.body))
    keys = [_base64(secret.removeprefix(b"whsec_").decode("latin-1")) for secret in secrets]
    matches = _any_match(keys, signed, offered, "sha256")
    return Accepted(delivery_id) if matches else Refused("no signature matches")


def described(how: Signature, secrets: Sequence[bytes], request: HttpRequest, *, now: float) -> Accepted | Refused:
    """Check an HMAC that ``how`` describes. As ``standard`` in all else."""
    timestamp = request.headers.get(how.timestamp_header, "")
    if how.timed:
        stale = _stale(timestamp, now, 1000 if how.timestamp_unit == "ms" else 1, how.tolerance_seconds)
        if stale:
            return stale
    sent = request.headers.get(how.header, "")
    if not sent.startswith(how.prefix):
        return Refused(f"{how.header} is missing or does not begin with {how.prefix or 'a signature'}")
    text = sent.removeprefix(how.prefix)
    offered = _hex(text) if how.encoding == "hex" else _base64(text)
    matches = _any_match(secrets, how.text(request, timestamp), [offered], how.hash)
    return Accepted(None) if matches else Refused("the signature does not match")


def shared(secrets: Sequence[bytes], offered: str) -> Accepted | Refused:
    """Compare a secret that is sent as it is, in a header or in the path, in constant time."""
    found = False
    for secret in secrets:
        found |= bool(secret) and hmac.compare_digest(secret, _bytes(offered))
    return Accepted(None) if found else Refused("the shared secret is missing or wrong")


def _stale(timestamp: str, now: float, per_second: int, tolerance: int) -> Refused | None:
    if not _DIGITS.fullmatch(timestamp):
        return Refused("the timestamp is missing or not a whole number")
    if abs(int(timestamp) / per_second - now) > tolerance:
        return Refused("the timestamp is outside the replay window")
    return None


def _any_match(keys: Sequence[bytes], signed: bytes, offered: Sequence[bytes], algorithm: str) -> bool:
    found = False
    for key in keys:
        expected = hmac.new(key, signed, algorithm).digest()
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
