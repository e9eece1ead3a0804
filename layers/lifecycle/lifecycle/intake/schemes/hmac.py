"""The scheme ``hmac``: a keyed hash over the body and other signed parts, described in ``sources.toml``."""

import hashlib
import hmac
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from string import Formatter
from typing import Annotated, ClassVar, Literal, Self, override
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.expressions import Expression, check
from lifecycle.intake.payload import Untranslatable, unpacked
from lifecycle.intake.schemes import Scheme, UnverifiedRequest, VerifiedRequest
from lifecycle.intake.signatures import (
    Encoding,
    HeaderName,
    KeyForm,
    TimeUnit,
    any_equal,
    decode,
    encode,
    key_bytes,
    seconds,
    text_in_body,
    to_bytes,
    usable_key,
    write_time,
)

_MOST_SIGNATURES = 16
_PLAIN = frozenset({"method", "uri", "path", "query", "body", "timestamp", "id", "secret"})
_NAMED = frozenset({"header", "field"})
_RESERVED = {f"%{ord(c):02X}": c for c in ":/?@!$'()*,;"}
"""The percent-escapes that HubSpot decodes before it signs a URL."""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _not_empty(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        msg = "name at least one"
        raise ValueError(msg)
    return texts


type _HeaderPattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}\*?$")]
type _Headers = Annotated[tuple[_HeaderPattern, ...], BeforeValidator(_as_tuple), AfterValidator(_not_empty)]
type UriForm = Literal["as_sent", "decoded", "hubspot"]
type _UriForms = Annotated[tuple[UriForm, ...], BeforeValidator(_as_tuple), AfterValidator(_not_empty)]


@dataclass(frozen=True, slots=True)
class _Part:
    """A literal of the signed text and the placeholder after it. The last part may have no placeholder."""

    literal: str
    place: str | None
    detail: str


@cache
def _parts(signed: str) -> tuple[_Part, ...]:
    """Split a signed text. Raises ``ValueError`` for anything but literals and placeholders."""
    found = [(literal, place, detail or "", form) for literal, place, detail, form in Formatter().parse(signed)]
    for _, place, detail, form in found:
        if place is None:
            continue
        if form or place not in _PLAIN | _NAMED or bool(detail) != (place in _NAMED):
            raise ValueError(place)
    return tuple(_Part(literal, place, detail) for literal, place, detail, _ in found)


class SignatureFormat(BaseModel):
    """How a sender signs. The defaults are this project's own plain HMAC.

    ``signed`` is the signed text, with placeholders ``{method}``, ``{uri}``, ``{path}``, ``{query}``, ``{body}``,
    ``{timestamp}``, ``{id}``, ``{header:<name>}``, ``{field:<JMESPath>}`` and ``{secret}``. Without a timestamp there
    is no replay window: a copy is recognized by its content as long as the ledger keeps its row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: _Headers = ("x-signature",)
    """One or several headers. Any of them may match. ``x-signature-*`` takes every header with this beginning."""
    field: Expression | None = None
    """The place of the signature in the body, if no header holds it."""
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None
    """The separator between the parts of a header such as ``t=1,v1=aa,v1=bb``."""
    prefix: str = "sha256="
    """The text before a signature. Parts without it are ignored."""
    encoding: Encoding = "hex"
    construction: Literal["hmac", "hash"] = "hmac"
    """``hash``: a plain hash of ``signed``, which then holds ``{secret}``."""
    hash: Literal["sha256", "sha512", "sha1"] = "sha256"
    key: KeyForm = "text"
    """How the stored secret encodes the bytes of the key."""
    signed: str = "{timestamp}.{body}"
    timestamp_header: HeaderName = "x-timestamp"
    timestamp_prefix: str | None = None
    """The text before the timestamp, such as ``t=``, if the signature's own header holds the timestamp."""
    timestamp_field: Expression | None = None
    """The place of the timestamp in the signed body, if the body holds it."""
    timestamp_unit: TimeUnit = "s"
    tolerance_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    id_header: HeaderName | None = None
    """The header of the delivery's id, for ``{id}``."""
    body_form: Literal["as_sent", "unpacked"] = "as_sent"
    """Whether a body in gzip is signed as it was sent, or unpacked."""
    uri: str | None = None
    """The whole URL as the sender signs it, if a proxy changes it; by default, the URL that was called."""
    origin: Annotated[str, StringConstraints(pattern=r"^https?://[^/?#]+$")] | None = None
    """The scheme and host as the sender signs them, if a proxy changes them. Path and query are those of the call."""
    uri_forms: _UriForms = ("as_sent",)
    """Whether the URL is signed as it was sent, or with its percent-escapes decoded. Any listed form may match."""

    @model_validator(mode="after")
    def _signs_the_body(self) -> Self:
        try:
            parts = _parts(self.signed)
        except ValueError:
            plain = ", ".join(f"{{{place}}}" for place in sorted(_PLAIN))
            msg = f"'signed' may hold only {plain}, {{header:<name>}} and {{field:<JMESPath>}}, not {self.signed!r}"
            raise ValueError(msg) from None
        for expression in (part.detail for part in parts if part.place == "field"):
            check(expression)
        places = {part.place for part in parts}
        if not places & {"body", "field"}:
            msg = "'signed' must contain {body}: a signature without the body proves nothing about the command"
            raise ValueError(msg)
        if ("secret" in places) != (self.construction == "hash"):
            msg = "'signed' must contain {secret} if construction = \"hash\", and must not contain it otherwise"
            raise ValueError(msg)
        if ("id" in places) != (self.id_header is not None):
            msg = (
                "'signed' must contain {id} if 'id_header' is set, and must not contain it otherwise. If the sender "
                "does not sign its id, leave 'id_header' out and take 'delivery' in commands from the body"
            )
            raise ValueError(msg)
        after_id = [then for part, then in itertools.pairwise(parts) if part.place == "id"]
        if any(not then.literal for then in after_id):
            msg = "'signed' needs a separator after {id}: otherwise one signature fits two deliveries"
            raise ValueError(msg)
        if self.timestamp_prefix is not None and self.separator is None:
            msg = "'timestamp_prefix' needs 'separator', the text between the parts of the header"
            raise ValueError(msg)
        return self

    @property
    def timed(self) -> bool:
        """Whether a timestamp is signed."""
        return self.timestamp_field is not None or any(part.place == "timestamp" for part in _parts(self.signed))

    @property
    def covers_body(self) -> bool:
        """Whether the whole body is signed, not only some of its fields."""
        return any(part.place == "body" for part in _parts(self.signed))

    def verify(
        self, secrets: Sequence[bytes], request: HttpRequest, *, now: float
    ) -> VerifiedRequest | UnverifiedRequest:
        """See ``Scheme.verify``."""
        offered = [decode(text, self.encoding) for text in self._offered(request)]
        if not offered:
            where = f"the body's {self.field}" if self.field else ", ".join(self.header)
            return UnverifiedRequest(f"{where} is missing or does not begin with {self.prefix or 'a signature'}")
        timestamp = self._timestamp(request) if self.timed else ""
        if self.timed:
            at = seconds(timestamp, self.timestamp_unit)
            if at is None:
                return UnverifiedRequest(f"the timestamp is missing or not a whole number ({self.timestamp_unit})")
            if abs(at - now) > self.tolerance_seconds:
                return UnverifiedRequest(f"the timestamp is outside the replay window of {self.tolerance_seconds} s")
        delivery_id = request.headers.get(self.id_header, "") if self.id_header else None
        refused = self._unfit_id(delivery_id)
        if refused:
            return refused
        expected = [
            digest
            for secret in secrets
            for text in self._texts(request, timestamp, delivery_id or "", secret)
            if (digest := self._digest(key_bytes(secret, self.key), text))
        ]
        matches = any_equal(expected, offered)
        return VerifiedRequest(delivery_id, timestamp) if matches else UnverifiedRequest("the signature does not match")

    def sign(self, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int) -> HttpRequest:
        """See ``Scheme.sign``."""
        if self.field or self.timestamp_field:
            msg = "the signature or its timestamp is in the body: use a payload that the sender signed"
            raise ValueError(msg)
        key = usable_key(secret, self.key)
        written = write_time(timestamp, self.timestamp_unit)
        headers = {**request.headers, **({self.id_header: delivery_id} if self.id_header else {})}
        request = replace(request, headers=headers)
        text = self._texts(request, written, delivery_id, secret.encode())[0]
        value = f"{self.prefix}{encode(self._digest(key, text), self.encoding)}"
        if self.timed and self.timestamp_prefix is not None:
            value = f"{self.timestamp_prefix}{written}{self.separator}{value}"
        elif self.timed:
            headers[self.timestamp_header] = written
        headers[self.header[0].replace("*", "1")] = value
        return replace(request, headers=headers)

    def carries_proof(self, request: HttpRequest) -> bool:
        """See ``Scheme.carries_proof``."""
        return bool(self._offered(request))

    def signed_at(self, request: HttpRequest) -> float | None:
        """See ``Scheme.signed_at``."""
        return seconds(self._timestamp(request), self.timestamp_unit) if self.timed else None

    def _unfit_id(self, delivery_id: str | None) -> UnverifiedRequest | None:
        if delivery_id is None:
            return None
        if not delivery_id:
            return UnverifiedRequest(f"{self.id_header} is missing")
        parts = _parts(self.signed)
        for part, then in itertools.pairwise(parts):
            if part.place == "id" and then.literal[:1] in delivery_id:
                # If the id contained the separator, one signature would also match another id with another body.
                name = "a dot" if then.literal[:1] == "." else f"'{then.literal[:1]}'"
                return UnverifiedRequest(f"{self.id_header} contains {name}")
        return None

    def _header_values(self, headers: Mapping[str, str]) -> Iterator[str]:
        for pattern in self.header:
            if not pattern.endswith("*"):
                yield headers.get(pattern, "")
                continue
            yield from (text for name, text in headers.items() if name.startswith(pattern[:-1]))

    def _header_parts(self, request: HttpRequest) -> list[str]:
        values = self._header_values(request.headers)
        if self.separator is None:
            return list(values)
        return [part.strip() for value in values for part in value.split(self.separator)]

    def _offered(self, request: HttpRequest) -> list[str]:
        parts = [text_in_body(request.body, self.field)] if self.field else self._header_parts(request)
        found = [part.removeprefix(self.prefix) for part in parts if part and part.startswith(self.prefix)]
        return found[:_MOST_SIGNATURES]

    def _timestamp(self, request: HttpRequest) -> str:
        if self.timestamp_field is not None:
            return text_in_body(request.body, self.timestamp_field)
        if self.timestamp_prefix is None:
            return request.headers.get(self.timestamp_header, "")
        parts = [part for part in self._header_parts(request) if part.startswith(self.timestamp_prefix)]
        return parts[0].removeprefix(self.timestamp_prefix) if len(parts) == 1 else ""

    def _digest(self, key: bytes, text: bytes) -> bytes:
        if not key:
            return b""
        if self.construction == "hash":
            return hashlib.new(self.hash, text).digest()
        return hmac.new(key, text, self.hash).digest()

    def _texts(self, request: HttpRequest, timestamp: str, delivery_id: str, secret: bytes) -> list[bytes]:
        """The bytes that the sender may have signed, one for each form of the URL."""
        parts = _parts(self.signed)
        body = request.body if self.body_form == "as_sent" else _unpacked(request.body)
        found = []
        for form in self.uri_forms:
            uri = _in_form(self._uri(request), form)
            path, _, query = uri.partition(b"?")
            values = {
                "method": to_bytes(request.method),
                "uri": uri,
                "path": b"/" + path.partition(b"://")[2].partition(b"/")[2],
                "query": query,
                "body": body,
                "timestamp": to_bytes(timestamp),
                "id": to_bytes(delivery_id),
                "secret": secret,
            }
            found.append(b"".join(part.literal.encode() + _value(part, values, request) for part in parts))
        return found

    def _uri(self, request: HttpRequest) -> str:
        if self.uri is not None:
            return self.uri
        if self.origin is None:
            return request.uri
        return f"{self.origin}/{request.uri.partition('://')[2].partition('/')[2]}"


def _value(part: _Part, values: Mapping[str, bytes], request: HttpRequest) -> bytes:
    match part.place:
        case None:
            return b""
        case "header":
            return to_bytes(request.headers.get(part.detail, ""))
        case "field":
            return to_bytes(text_in_body(request.body, part.detail))
        case place:
            return values[place]


def _unpacked(body: bytes) -> bytes:
    try:
        return unpacked(body)
    except Untranslatable:
        return body


def _in_form(uri: str, form: UriForm) -> bytes:
    match form:
        case "as_sent":
            return to_bytes(uri)
        case "decoded":
            return unquote_to_bytes(to_bytes(uri))
        case "hubspot":
            for escape, character in _RESERVED.items():
                uri = uri.replace(escape, character).replace(escape.lower(), character)
            return to_bytes(uri)


class Hmac(Scheme):
    """The scheme ``hmac``. Its only setting is the description of the signature."""

    name: ClassVar[str] = "hmac"
    signature: SignatureFormat = SignatureFormat()

    @property
    @override
    def id_header(self) -> str | None:
        return self.signature.id_header

    @property
    @override
    def why_not_irreversible(self) -> str:
        if self.signature.covers_body:
            return ""
        return "the signature covers only fields of the body: irreversible actions need {body} in 'signed'"

    @override
    def verify(
        self, secrets: Sequence[bytes], request: HttpRequest, *, now: float
    ) -> VerifiedRequest | UnverifiedRequest:
        return self.signature.verify(secrets, request, now=now)

    @override
    def sign(self, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int) -> HttpRequest:
        return self.signature.sign(secret, request, delivery_id=delivery_id, timestamp=timestamp)

    @override
    def carries_proof(self, request: HttpRequest) -> bool:
        return self.signature.carries_proof(request)

    @override
    def signed_at(self, request: HttpRequest) -> float | None:
        return self.signature.signed_at(request)

    @override
    def new_secret(self, random: bytes) -> str:
        match self.signature.key:
            case "whsec":
                return f"whsec_{encode(random, 'base64')}"
            case "base64":
                return encode(random, "base64")
            case "text" | "hex":
                return random.hex()


SCHEME = Hmac
