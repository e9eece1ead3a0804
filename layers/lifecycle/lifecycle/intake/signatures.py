"""What signature schemes share: keys, encodings, timestamps and comparison in constant time. Total over any input."""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import parse_qsl

from pydantic import StringConstraints
from pydantic_core import from_json

from lifecycle.intake.expressions import Misfit, search

type HeaderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
type KeyForm = Literal["text", "base64", "hex", "whsec"]
type Encoding = Literal["hex", "base64", "base64url"]
type TimeUnit = Literal["s", "ms", "iso8601", "any"]
"""``any`` takes all three forms: seconds and milliseconds are told apart by their size."""

_DIGITS = re.compile(r"[0-9]{1,16}")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:?[0-9]{2})")
_SMALLEST_MILLISECONDS = 10**11
"""In seconds, this is the year 5138; in milliseconds, 1973."""
_MOST_FORM_FIELDS = 1000
_URL_ALPHABET = str.maketrans("-_", "+/")


def equal(expected: bytes, offered: bytes) -> bool:
    """Compare in constant time. An empty expected value never matches."""
    return bool(expected) and hmac.compare_digest(expected, offered)


def any_equal(expected: Sequence[bytes], offered: Sequence[bytes]) -> bool:
    """Whether any pair is equal. Every pair is compared."""
    found = False
    for mine in expected:
        for theirs in offered:
            found |= equal(mine, theirs)
    return found


def to_bytes(text: str) -> bytes:
    """The text as UTF-8. Lone surrogates, which never come over the wire, are kept instead of raising an error."""
    return text.encode("utf-8", "surrogatepass")


def decode_base64(text: str) -> bytes:
    """Decode base64 with or without padding. Invalid text becomes empty."""
    try:
        return base64.b64decode(to_bytes(text) + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def decode_hex(text: str) -> bytes:
    """Decode hex. Invalid text becomes empty."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def decode(text: str, encoding: Encoding) -> bytes:
    """Decode a signature. Text that is not in this encoding becomes empty."""
    match encoding:
        case "hex":
            return decode_hex(text)
        case "base64":
            return decode_base64(text)
        case "base64url":
            return decode_base64(text.translate(_URL_ALPHABET))


def encode(raw: bytes, encoding: Encoding) -> str:
    """Encode a signature."""
    match encoding:
        case "hex":
            return raw.hex()
        case "base64":
            return base64.b64encode(raw).decode()
        case "base64url":
            return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def key_bytes(secret: bytes, form: KeyForm) -> bytes:
    """The bytes of the key in a stored secret; empty if the secret does not have this form.

    ``whsec`` is ``whsec_`` followed by base64, as in Standard Webhooks. Some senders show it as ``v1,whsec_…``.
    """
    match form:
        case "text":
            return secret
        case "base64":
            return decode_base64(secret.decode("latin-1"))
        case "hex":
            return decode_hex(secret.decode("latin-1"))
        case "whsec":
            return decode_base64(secret.removeprefix(b"v1,").removeprefix(b"whsec_").decode("latin-1"))


def usable_key(secret: str, form: KeyForm) -> bytes:
    """The bytes of the key.

    Raises:
        ValueError: The secret is empty or does not have this form. The text does not quote it.
    """
    if not secret.strip():
        msg = "the secret is empty"
        raise ValueError(msg)
    key = key_bytes(secret.encode(), form)
    if not key:
        wanted = {"whsec": "whsec_ followed by base64, as Standard Webhooks has it", "text": "text"}.get(form, form)
        msg = f"the secret is not {wanted}"
        raise ValueError(msg)
    return key


def seconds(text: str, unit: TimeUnit) -> float | None:
    """A timestamp in seconds since 1970, UTC; ``None`` if the text is not of this unit."""
    if unit in {"iso8601", "any"} and _ISO.fullmatch(text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            return None
    if unit == "iso8601" or not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    in_ms = unit == "ms" or (unit == "any" and number >= _SMALLEST_MILLISECONDS)
    return number / 1000 if in_ms else float(number)


def write_time(timestamp: int, unit: TimeUnit) -> str:
    """A timestamp, given in seconds since 1970, as text in the sender's unit."""
    match unit:
        case "ms":
            return str(timestamp * 1000)
        case "iso8601":
            return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case "s" | "any":
            return str(timestamp)


def value_in_body(body: bytes, expression: str) -> object:
    """What a JMESPath expression finds in a JSON or form-encoded body; ``None`` if nothing.

    The body is not verified yet: its size and depth are bounded by the gateway and the parser.
    """
    try:
        found: object = from_json(body)
    except ValueError:
        try:
            found = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=_MOST_FORM_FIELDS))
        except ValueError:
            return None
    try:
        return search(expression, found)
    except Misfit:
        return None


def text_in_body(body: bytes, expression: str) -> str:
    """``value_in_body`` as text: a whole number becomes its digits; any other value but a text becomes empty."""
    found = value_in_body(body, expression)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found) if abs(found) < 10**18 else ""
    return found if isinstance(found, str) else ""
