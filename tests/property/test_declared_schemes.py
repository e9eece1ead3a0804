"""Ten thousand requests of every kind for each scheme: accepted, or refused with a 4xx."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from lifecycle.aws.api_gateway import HttpRequest, problem
from lifecycle.domain.errors import LifecycleError
from tests.harness.builders import (
    EVENTS,
    ORG,
    SHARED,
    SOURCES,
    ChatRoom,
    Clock,
    Entrance,
    body,
    chat_request,
    hmac_headers,
    hub_headers,
    hubspot_headers,
    request,
    slack_headers,
    slash,
    standard_headers,
)

REQUESTS = 10_000
RULES = f"""
[[sources.{{name}}.commands]]
each = "body"
when = "item.amount > `100` || item.won"
action = "archive"
resource = "process"
org_id = "{ORG}"
find = {{{{ tag = "join('-', ['deal', to_string(item.objectId)])" }}}}
delivery = "to_string(item.eventId)"
reason = "item.reason"

[[sources.{{name}}.commands]]
each = "[body.issue]"
when = "item"
action = "restore"
resource = "process"
org_id = "{ORG}"
link = "item.body"
delivery = "to_string(item.updated_at)"
expect = {{{{ status = "item.status" }}}}
"""
DECLARED = (
    SOURCES
    + """
[sources.hubspot]
scheme = "hmac"
may = ["run.archive", "run.restore"]

[sources.hubspot.signature]
header = "x-hubspot-signature-v3"
prefix = ""
encoding = "base64"
signed = "{method}{uri}{body}{timestamp}"
timestamp_header = "x-hubspot-request-timestamp"
timestamp_unit = "ms"
"""
    + RULES.format(name="hubspot")
    + """
[sources.github]
scheme = "hmac"
may = ["run.archive", "run.restore"]
signature = { header = "x-hub-signature-256", signed = "{body}" }
"""
    + RULES.format(name="github")
    + """
[sources.tallyfy]
scheme = "shared-secret"
may = ["run.archive", "run.restore"]
"""
    + RULES.format(name="tallyfy")
    + """
[sources.one]
scheme = "shared-secret"
header = "x-key"
may = ["run.archive", "run.restore"]
when = "length(body) < `3`"
"""
    + RULES.format(name="one")
)  # fmt: skip
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 101, 1.5, 2**70, 10**400, float("nan"), float("inf"), [], {}, [[]], "", " ",
    "\x00\n", "ü" * 900,
    "\ud800", "\u2028", "\U0010ffff", "a" * 300, ORG, f"https://go.tallyfy.com/{ORG}", f"https://evil-tallyfy.com/{ORG}",
)  # fmt: skip
FIELDS = ("objectId", "eventId", "amount", "won", "reason", "issue", "body", "status", "action", "id", "org_id")
SAMPLES = [(EVENTS / name).read_bytes() for name in ("hubspot-deal-won.json", "github-issue-closed.json")]

type Sign = Callable[[bytes], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Way:
    """The source of requests: who signs them, and what handles them."""

    source: str
    sign: Sign
    key: str | None = None


WAYS = {
    "standard-webhooks": Way("operator", standard_headers),
    "plain hmac": Way("crm", hmac_headers),
    "hubspot": Way("hubspot", hubspot_headers),
    "github": Way("github", hub_headers),
    "a secret in the path": Way("tallyfy", lambda _: {}, key=SHARED),
    "a secret in a header": Way("one", lambda _: {"x-key": SHARED}),
    "slack": Way("slack", slack_headers),
}


class Sender:
    """Makes random requests, the same ones for the same seed."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.dice = random.Random(20260601)

    def value(self, depth: int = 0) -> object:
        roll = self.dice.random()
        if depth < 4 and roll < 0.25:
            return {self.dice.choice(FIELDS): self.value(depth + 1) for _ in range(self.dice.randrange(5))}
        if depth < 4 and roll < 0.4:
            return [self.value(depth + 1) for _ in range(self.dice.randrange(4))]
        return self.dice.choice(VALUES)

    def payload(self) -> bytes:
        roll = self.dice.random()
        if self.way.source == "slack" and roll < 0.8:
            return self.form()
        if roll < 0.1:
            return self.dice.randbytes(self.dice.randrange(60))
        if roll < 0.11:
            return b"[" * self.dice.choice((10, 190, 300, 50_000))
        if roll < 0.3:
            raw = self.dice.choice([*SAMPLES, body()])
            place = self.dice.randrange(len(raw))
            return raw[:place] + self.dice.choice((b"", b'"', b"9", self.dice.randbytes(1))) + raw[place + 1 :]
        if roll < 0.5:
            return body(**{self.dice.choice(FIELDS): self.value()})
        if roll < 0.8:
            fields = {name: self.value() for name in FIELDS if self.dice.random() < 0.5}
            sound = {"won": True, "objectId": self.dice.randrange(99), "eventId": self.dice.randrange(99)}
            return json.dumps([{**sound, **fields} for _ in range(self.dice.choice((0, 1, 1, 2, 101)))]).encode()
        return json.dumps(self.value()).encode()

    def form(self) -> bytes:
        words = (
            "archive",
            "restore",
            "status",
            "help",
            "task",
            "tag",
            "process",
            ORG,
            f"<{VALUES[-2]}|x>",
            "\x00",
            "ü",
        )
        text = " ".join(self.dice.choice(words) for _ in range(self.dice.randrange(5)))
        name = self.dice.choice(("user_id", "team_id", "trigger_id", "response_url", "x"))
        changed = {name: str(self.dice.choice(VALUES)).encode("utf-8", "replace").decode() * self.dice.choice((1, 9))}
        raw = slash(text, **(changed if self.dice.random() < 0.3 else {}))
        return raw if self.dice.random() < 0.9 else raw + b"&" + urlencode([("a", "b")] * 99).encode()

    def headers(self, raw: bytes) -> dict[str, str]:
        headers = dict(self.way.sign(raw))
        if headers and self.dice.random() < 0.3:
            name = self.dice.choice(list(headers))
            junk = self.dice.choice(
                ("", "v1,", "sha256=", "v0=zz", "=", "1", "9" * 17, "\ud800", "٣", headers[name][:-1])
            )
            headers[name] = junk
        return headers

    def request(self) -> HttpRequest:
        raw = self.payload()
        if self.way.source == "slack":
            return chat_request(raw, self.headers(raw))
        key = self.way.key if self.way.key is None or self.dice.random() < 0.7 else str(self.dice.choice(VALUES))
        return request(self.way.source, raw, self.headers(raw), key=key)


def answered(entrance: Entrance, room: ChatRoom, sent: HttpRequest) -> int:
    """The status that the function would answer with."""
    try:
        if sent.route == "POST /chat/slack":
            return int(str(room.chat.respond("slack", sent)["statusCode"]))
        return 202 if entrance.intake.accept(sent) else 200
    except LifecycleError as error:
        return int(str(problem(error)["statusCode"]))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ten_thousand_fuzzed_requests_are_accepted_or_refused_with_a_4xx(way: Way, clock: Clock) -> None:
    entrance, room, sender = Entrance(clock, declared=DECLARED), ChatRoom(clock), Sender(way)
    seen: Counter[int] = Counter()
    for number in range(REQUESTS):
        sent = sender.request()
        status = answered(entrance, room, sent)
        assert 200 <= status < 500, f"request {number}: {status}"
        seen[status] += 1
    reached = {
        "slack": {200, 401},
        "operator": {202, 400, 401, 403},
        "crm": {202, 400, 401, 403},
    }.get(way.source, {200, 202, 401, 422})
    assert reached <= set(seen), f"the fuzz should reach every answer: {seen}"
    print(f"{REQUESTS} requests: {dict(seen)}")
