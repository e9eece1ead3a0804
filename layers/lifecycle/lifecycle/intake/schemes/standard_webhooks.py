"""The scheme ``standard-webhooks``: ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
docs/decisions/0003 says why this does not use the ``standardwebhooks`` package. The tests use it as the sender.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, override

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.schemes import Scheme, UnverifiedRequest, VerifiedRequest
from lifecycle.intake.schemes.hmac import SignatureFormat
from lifecycle.intake.signatures import encode


class StandardWebhooks(Scheme):
    """Signs the delivery's id, the timestamp and the body."""

    name: ClassVar[str] = "standard-webhooks"
    headers: Literal["webhook", "svix"] = "webhook"
    """The beginning of the three headers' names. Svix's own products send ``svix-id`` and so on."""

    @property
    def signature(self) -> SignatureFormat:
        """The scheme as a description of an HMAC."""
        return _SIGNATURES[self.headers]

    @property
    @override
    def id_header(self) -> str | None:
        return self.signature.id_header

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
        return f"whsec_{encode(random, 'base64')}"


_SIGNATURES = {
    first: SignatureFormat(
        header=(f"{first}-signature",),
        separator=" ",
        prefix="v1,",
        encoding="base64",
        key="whsec",
        signed="{id}.{timestamp}.{body}",
        timestamp_header=f"{first}-timestamp",
        id_header=f"{first}-id",
    )
    for first in ("webhook", "svix")
}
SCHEME = StandardWebhooks
