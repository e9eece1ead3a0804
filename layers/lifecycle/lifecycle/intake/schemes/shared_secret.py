"""The scheme ``shared-secret``: the request contains the secret itself, in a header, the query, the body or the path.

It proves who sent a request and nothing about its content, so it never carries irreversible rights.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self, override
from urllib.parse import parse_qs, quote

from pydantic import model_validator

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.expressions import Expression
from lifecycle.intake.schemes import Scheme, UnverifiedRequest, VerifiedRequest
from lifecycle.intake.signatures import HeaderName, equal, to_bytes, usable_key, value_in_body

_MOST_VALUES = 1000
_MOST_FIELDS = 100


class SharedSecret(Scheme):
    """By default, the secret is the last part of the path: ``/webhooks/<name>/<key>``."""

    name: ClassVar[str] = "shared-secret"
    header: HeaderName | None = None
    """The header that contains the secret. Without ``header``, ``query`` and ``field``, the path ends with it."""
    prefix: str = ""
    """The text before the secret in the header, such as ``Bearer `` (with the space)."""
    query: str | None = None
    """The query parameter that contains the secret."""
    field: Expression | None = None
    """The place of the secret in the body. If it is a list, every element must be the secret."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.header, self.query, self.field)) > 1:
            msg = "write only one of header, query and field: the secret is in one place"
            raise ValueError(msg)
        if self.prefix and self.header is None:
            msg = "'prefix' only works with 'header'"
            raise ValueError(msg)
        return self

    @property
    @override
    def key_in_path(self) -> bool:
        return self.header is None and self.query is None and self.field is None

    @property
    @override
    def why_not_irreversible(self) -> str:
        return "a shared secret proves nothing about the payload: irreversible actions need a signature"

    @override
    def verify(
        self, secrets: Sequence[bytes], request: HttpRequest, *, now: float
    ) -> VerifiedRequest | UnverifiedRequest:
        offered = self._offered(request)
        found = False
        for secret in secrets:
            equals = [equal(secret, to_bytes(value)) for value in offered]
            found |= bool(equals) and all(equals)
        return VerifiedRequest(None) if found else UnverifiedRequest("the shared secret is missing or wrong")

    @override
    def sign(self, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int) -> HttpRequest:
        usable_key(secret, "text")
        if self.field is not None:
            msg = "the secret is in the body: use a payload that contains it"
            raise ValueError(msg)
        if self.header is not None:
            return replace(request, headers={**request.headers, self.header: f"{self.prefix}{secret}"})
        if self.query is not None:
            joined = "&" if "?" in request.uri else "?"
            uri = f"{request.uri}{joined}{quote(self.query, safe='')}={quote(secret, safe='')}"
            return replace(request, uri=uri)
        return replace(request, parameters={**request.parameters, "key": secret})

    @override
    def carries_proof(self, request: HttpRequest) -> bool:
        return any(self._offered(request))

    def _offered(self, request: HttpRequest) -> list[str]:
        if self.header is not None:
            value = request.headers.get(self.header, "")
            # RFC 9110: the names of authentication schemes, such as Bearer, are not case-sensitive.
            fits = value[: len(self.prefix)].lower() == self.prefix.lower()
            return [value[len(self.prefix) :]] if fits else []
        if self.query is not None:
            return _in_query(request.uri, self.query)
        if self.field is not None:
            found = value_in_body(request.body, self.field)
            values = found if isinstance(found, list) else [found]
            return [one if isinstance(one, str) else "" for one in values] if len(values) <= _MOST_VALUES else []
        return [request.parameters.get("key", "")]


def _in_query(uri: str, name: str) -> list[str]:
    try:
        fields = parse_qs(uri.partition("?")[2], keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []
    return fields.get(name, [])


SCHEME = SharedSecret
