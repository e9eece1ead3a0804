"""Answers the requests with which some systems check a URL before they send deliveries to it. Pure.

A handshake is answered only for a source that declares one. A secret that a system sends is stored only while
``lifecycle source connect`` keeps a window open, and only at the URL that the command printed.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Literal, Self
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, model_validator

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.expressions import Expression
from lifecycle.intake.signatures import HeaderName, equal, to_bytes, value_in_body

_LONGEST = 1000
_MOST_FIELDS = 100
_SECRETS_KEPT = 2


@dataclass(frozen=True, slots=True)
class HandshakeReply:
    """An HTTP answer that is not about commands."""

    content_type: str = "text/plain"
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK


class Handshake(BaseModel):
    """How a source checks the URL, and the answer that it expects.

    ``echo`` repeats a text, ``probe`` answers HEAD and GET, ``secret`` stores the signing secret that the source sends.
    ``echo`` and ``secret`` need one of ``header``, ``query`` and ``field``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["echo", "probe", "secret"]
    header: HeaderName | None = None
    """The header of the request that holds the text."""
    query: str | None = None
    """The parameter of the URL's query that holds the text."""
    field: Expression | None = None
    """The place of the text in the body, without ``body.`` before it."""
    answer: Literal["json", "text", "header", "empty"] = "empty"
    """Where the answer repeats the text."""
    name: str = "challenge"
    """The key of the JSON answer, or the name of the header."""
    signed: bool = False
    """Whether the request carries the same proof as a delivery."""
    shown: bool = False
    """For ``secret``: whether an operator must see the secret, to paste it into the other system."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        places = sum(place is not None for place in (self.header, self.query, self.field))
        if places != (self.kind != "probe"):
            msg = f"a handshake of kind '{self.kind}' needs {'no' if self.kind == 'probe' else 'exactly one'} place: "
            raise ValueError(msg + "header, query or field")
        return self

    def offered(self, request: HttpRequest) -> str | None:
        """The text to repeat or the secret in this request; ``None`` if it is not a handshake. Never raises."""
        if self.kind == "probe":
            return "" if request.method in {"HEAD", "GET"} else None
        if self.header is not None:
            found = request.headers.get(self.header, "")
        elif self.query is not None:
            found = _in_query(request.uri, self.query)
        else:
            value = value_in_body(request.body, self.field or "")
            found = value if isinstance(value, str) else ""
        usable = found and len(found) <= _LONGEST and found.isprintable() and found.isascii()
        return found if usable else None

    def reply(self, text: str) -> HandshakeReply:
        """The answer that repeats ``text`` as the source expects it."""
        match self.answer:
            case "json":
                return HandshakeReply("application/json", json.dumps({self.name: text}))
            case "text":
                return HandshakeReply("text/plain", text, {"x-content-type-options": "nosniff"})
            case "header":
                return HandshakeReply(headers={self.name: text})
            case "empty":
                return HandshakeReply()


@dataclass(frozen=True, slots=True)
class Window:
    """How long a source may send its secret (``until``), and the last part of the URL for it (``key``)."""

    key: str
    until: datetime
    kept: tuple[str, ...] = ()
    """The secrets that are stored already."""

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The window in a stored secret; ``None`` if it holds none."""
        try:
            stored = json.loads(text)
            opened = stored["connect"]
            kept = tuple(one for one in stored.get("secrets", []) if isinstance(one, str))
            until = datetime.fromisoformat(opened["until"])
            return cls(str(opened["key"]), until, kept) if until.tzinfo else None
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self) -> str:
        """The text to store."""
        opened = {"key": self.key, "until": self.until.isoformat()}
        return json.dumps({"secrets": list(self.kept), "connect": opened})

    def admits(self, request: HttpRequest, now: datetime) -> bool:
        """Whether this request may set the secret."""
        offered = to_bytes(request.parameters.get("key", ""))
        return equal(to_bytes(self.key), offered) and now < self.until

    def closed_with(self, secret: str) -> str:
        """The text to store after the source has sent its secret: no window, the new secret and the newest old one."""
        return json.dumps({"secrets": [secret, *self.kept][:_SECRETS_KEPT]})


def _in_query(uri: str, name: str) -> str:
    try:
        found = parse_qs(uri.partition("?")[2], max_num_fields=_MOST_FIELDS).get(name, [])
    except ValueError:
        return ""
    return found[0] if len(found) == 1 else ""


SALESFORCE_ACKNOWLEDGEMENT = HandshakeReply(
    "text/xml",
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    '<soapenv:Body><notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack>'
    "</notificationsResponse></soapenv:Body></soapenv:Envelope>",
)
"""The answer that Salesforce expects to each outbound message."""
