"""Presets for their tests: an intake with the example's table, and requests signed like the system's."""

import hashlib
import hmac
import random
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.presets import Preset, load_preset, preset_names
from lifecycle.intake.sources import Source, Sources
from tests.harness.builders import DOMAIN, EVENTS, NOW, PREFIX, Entrance

NAMES = preset_names()
OVER_HTTP = [name for name in NAMES if load_preset(name).source["scheme"] != "eventbridge"]
JUNK = (
    "", " ", ",", "=", "v1,", "v1=", "t=", "sha256=", "sha1=", "Basic ", "Basic !", "Bearer ", "\ud800", "\u0663",
    "\x00", "9" * 17, "-1", "nan", "2026-06-01", "9999-99-99T99:99:99Z", "whsec_", "x" * 9000, "a=b,c=d", "%00", "[]",
)  # fmt: skip


@cache
def declared(name: str) -> Source:
    """The source of the preset's example."""
    return Sources.parse(load_preset(name).example).sources[name]


def secret_of(name: str) -> str:
    """Return a secret in the preset's format."""
    return declared(name).scheme.new_secret(b"thirty-two bytes of a random key")


def entrance(name: str, *secrets: str) -> Entrance:
    """Return an intake with the preset's example."""
    way_in = Entrance(lambda: NOW, declared=load_preset(name).example)
    way_in.secrets.texts[f"{PREFIX}/sources/{name}"] = (secrets or (secret_of(name),))[0]
    return way_in


def unsigned(name: str, raw: bytes) -> HttpRequest:
    """A delivery without a signature."""
    uri = f"https://{DOMAIN}/webhooks/{name}"
    return HttpRequest(route="", method="POST", uri=uri, parameters={"source": name}, headers={}, body=raw)


def delivery(name: str, raw: bytes | None = None, *, off: int = 0, secret: str = "", at: datetime = NOW) -> HttpRequest:
    """The sample, or another body, signed like the system signs it, ``off`` seconds from now."""
    body = (EVENTS / load_preset(name).sample).read_bytes() if raw is None else raw
    source = declared(name)
    if name == "linear":  # The time is in the body, so the request is made at that time.
        return _linear(body, secret or secret_of(name))
    return source.scheme.sign(
        secret or secret_of(name), unsigned(name, body), delivery_id="delivery-1", timestamp=int(at.timestamp()) + off
    )


def _linear(body: bytes, secret: str) -> HttpRequest:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return replace(unsigned("linear", body), headers={"linear-signature": digest})


def vector_request(name: str, preset: Preset) -> tuple[HttpRequest, float]:
    """The request of the preset's vector, and the time at which it must be accepted."""
    assert preset.vector is not None
    parameters = {"source": name, **({"key": preset.vector.key} if preset.vector.key else {})}
    sent = replace(unsigned(name, preset.vector.body.encode()), parameters=parameters, headers=preset.vector.headers)
    when = datetime.fromtimestamp(preset.vector.now, UTC).timestamp()
    return replace(sent, uri=preset.vector.uri) if preset.vector.uri else sent, when


def fuzzed(name: str, dice: random.Random) -> HttpRequest:
    """A signed delivery, valid or with one defect."""
    sent = delivery(name)
    headers = dict(sent.headers)
    for header, value in sent.headers.items():
        if dice.random() < 0.5:
            headers[header] = dice.choice((*JUNK, value[:-1], value.upper(), value * 2))
    if dice.random() < 0.1:
        headers = {}
    body = sent.body
    if dice.random() < 0.4:
        place = dice.randrange(len(body))
        body = dice.choice(
            (body[:place] + dice.randbytes(1) + body[place + 1 :], body[:place], b"", dice.randbytes(40))
        )
    parameters = dict(sent.parameters)
    if "key" in parameters and dice.random() < 0.4:
        parameters["key"] = dice.choice(JUNK)
    uri = (
        sent.uri if dice.random() < 0.8 else dice.choice(("", "https://", f"{sent.uri}?{'a=1&' * 200}", "\ud800", "%"))
    )
    if dice.random() < 0.1:
        body = dice.choice((b'{"challenge": "x"}', b'{"verification_token": 5}', b"\x1f\x8bjunk"))
        headers["x-hook-secret"] = dice.choice(JUNK)
    return replace(sent, headers=headers, body=body, parameters=parameters, uri=uri)
