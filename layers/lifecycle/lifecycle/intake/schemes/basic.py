"""The scheme ``basic``: HTTP Basic authentication (RFC 7617). The stored secret is ``user:password``.

It proves who sent a request and nothing about its content, so it never carries irreversible rights.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, override

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.schemes import Scheme, UnverifiedRequest, VerifiedRequest
from lifecycle.intake.signatures import any_equal, decode_base64, encode, usable_key

_PREFIX = "basic "


class Basic(Scheme):
    """Reads the ``Authorization`` header."""

    name: ClassVar[str] = "basic"

    @property
    @override
    def why_not_irreversible(self) -> str:
        return "a password proves nothing about the payload: irreversible actions need a signature"

    @override
    def verify(
        self, secrets: Sequence[bytes], request: HttpRequest, *, now: float
    ) -> VerifiedRequest | UnverifiedRequest:
        offered = request.headers.get("authorization", "")
        if offered[: len(_PREFIX)].lower() != _PREFIX:
            return UnverifiedRequest("the header 'Authorization: Basic …' is missing")
        usable = [secret for secret in secrets if b":" in secret]
        if any_equal(usable, [decode_base64(offered[len(_PREFIX) :].strip())]):
            return VerifiedRequest(None)
        return UnverifiedRequest("the user or the password is wrong, or the stored secret is not user:password")

    @override
    def sign(self, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int) -> HttpRequest:
        key = usable_key(secret, "text")
        if b":" not in key:
            msg = "the secret is not user:password"
            raise ValueError(msg)
        return replace(request, headers={**request.headers, "authorization": f"Basic {encode(key, 'base64')}"})

    @override
    def carries_proof(self, request: HttpRequest) -> bool:
        return "authorization" in request.headers

    @override
    def new_secret(self, random: bytes) -> str:
        return f"lifecycle:{random.hex()}"


SCHEME = Basic
