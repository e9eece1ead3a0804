"""The operator's own AWS identity, and requests signed with it (Signature Version 4)."""

import re
from dataclasses import dataclass, field
from typing import override
from urllib.parse import urlsplit

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from requests.auth import AuthBase

_SERVICE = "execute-api"
GATEWAY = re.compile(r"([a-z0-9]+)\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
"""The host of an API of API Gateway: its id, and its region."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of the caller."""

    credentials: ReadOnlyCredentials = field(repr=False)
    region: str


class IdentityAuth(AuthBase):
    """Signs each request of a session as it is sent."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    @override
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        host = urlsplit(request.url or "").hostname
        gateway = GATEWAY.fullmatch(str(host))
        signed = AWSRequest(request.method, request.url, headers=_signed_headers(request), data=request.body)
        region = gateway[2] if gateway else self._identity.region
        SigV4Auth(self._identity.credentials, _SERVICE, region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request


def _signed_headers(request: requests.PreparedRequest) -> dict[str, str]:
    """The headers that no proxy changes."""
    content_type = request.headers.get("content-type")
    return {"content-type": str(content_type)} if content_type else {}
