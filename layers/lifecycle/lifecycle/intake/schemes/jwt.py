"""The scheme ``jwt``: a JSON Web Token in a header, signed with HMAC-SHA256 (``HS256``).

It proves who sent a request and nothing about its content, so it never carries irreversible rights. Sources: RFC 7515,
RFC 7519, and monday.com's page "Authorization header": ``aud`` is the URL that is called, ``exp`` is ``iat`` plus five
minutes.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, override

from pydantic_core import from_json

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.schemes import Scheme, UnverifiedRequest, VerifiedRequest
from lifecycle.intake.signatures import HeaderName, KeyForm, any_equal, decode, encode, key_bytes, to_bytes, usable_key

_PARTS = 3
_CLOCKS_DIFFER = 60.0
"""Seconds that the clock of the sender may differ from ours."""
_LIFE = 300
"""Seconds for which a token of ``sign`` is valid, as monday.com's are."""


class Jwt(Scheme):
    """Reads a token that names its audience (``aud``) and its end (``exp``)."""

    name: ClassVar[str] = "jwt"
    header: HeaderName = "authorization"
    prefix: str = ""
    """What stands before the token, such as ``Bearer `` (with the space)."""
    audience: str | None = None
    """What ``aud`` must be. Default: the URL that is called. Empty: ``aud`` is not compared."""
    key: KeyForm = "text"
    """How the stored secret becomes the key."""

    @property
    @override
    def why_not_irreversible(self) -> str:
        return "a JWT proves nothing about the payload: irreversible actions need a signature over it"

    @override
    def verify(
        self, secrets: Sequence[bytes], request: HttpRequest, *, now: float
    ) -> VerifiedRequest | UnverifiedRequest:
        parts = self._offered(request).split(".")
        if len(parts) != _PARTS:
            return UnverifiedRequest(f"the header '{self.header}' holds no JWT")
        signed = to_bytes(f"{parts[0]}.{parts[1]}")
        keys = [key for secret in secrets if (key := key_bytes(secret, self.key))]
        expected = [hmac.digest(key, signed, hashlib.sha256) for key in keys]
        if not any_equal(expected, [decode(parts[2], "base64url")]):
            return UnverifiedRequest("the JWT is not signed with the stored secret")
        # The claims are read only after the signature was verified.
        head, claims = _object(parts[0]), _object(parts[1])
        if head.get("alg") != "HS256" or "crit" in head:
            return UnverifiedRequest("the JWT is not of the kind HS256")
        why = self._why_not_now(claims, now) or self._why_not_here(claims, request)
        return UnverifiedRequest(why) if why else VerifiedRequest(None)

    @override
    def sign(self, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int) -> HttpRequest:
        audience = request.uri if self.audience is None else self.audience
        claims = {"iat": timestamp, "exp": timestamp + _LIFE, **({"aud": audience} if audience else {})}
        text = ".".join(encode(json.dumps(part).encode(), "base64url") for part in ({"alg": "HS256"}, claims))
        digest = hmac.digest(usable_key(secret, self.key), text.encode(), hashlib.sha256)
        token = f"{self.prefix}{text}.{encode(digest, 'base64url')}"
        return replace(request, headers={**request.headers, self.header: token})

    @override
    def carries_proof(self, request: HttpRequest) -> bool:
        return bool(self._offered(request))

    def _offered(self, request: HttpRequest) -> str:
        value = request.headers.get(self.header, "")
        fits = value[: len(self.prefix)].lower() == self.prefix.lower()
        return value[len(self.prefix) :].strip() if fits else ""

    def _why_not_now(self, claims: Mapping[str, object], now: float) -> str:
        """Why the token is not valid at this time; empty if it is. Without ``exp`` it would be valid for ever."""
        ends = _seconds(claims.get("exp"))
        if ends is None:
            return "the JWT has no readable exp"
        if now >= ends + _CLOCKS_DIFFER:
            return "the JWT has expired"
        for name in ("iat", "nbf"):
            begins = _seconds(claims.get(name))
            if name in claims and (begins is None or begins > now + _CLOCKS_DIFFER):
                return f"the JWT is not valid yet, or its {name} cannot be read"
        return ""

    def _why_not_here(self, claims: Mapping[str, object], request: HttpRequest) -> str:
        """Why the token is not meant for this source; empty if it is."""
        if self.audience == "":
            return ""
        meant = claims.get("aud")
        named = meant if isinstance(meant, list) else [meant]
        wanted = {request.uri, request.uri.partition("?")[0]} if self.audience is None else {self.audience}
        if any(isinstance(one, str) and one in wanted for one in named):
            return ""
        return "the JWT is meant for another URL (aud); see `audience`"


def _object(part: str) -> Mapping[str, object]:
    try:
        found = from_json(decode(part, "base64url"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(value: object) -> float | None:
    """A NumericDate of RFC 7519; ``None`` for anything else."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**12
    return float(value) if usable and isinstance(value, int | float) else None


SCHEME = Jwt
