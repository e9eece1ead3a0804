"""Any request, signed or unsigned, is accepted or gets a 4xx."""

import base64
import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext as RealContext

from functions.status import app as status
from functions.webhook import app as webhook
from lifecycle.aws.api_gateway import MOST_BYTES
from lifecycle.bootstrap.observability import metrics
from lifecycle.domain.intent_ids import intent_id
from tests.harness.builders import (
    ID_KEY,
    ORG,
    THING,
    Clock,
    Entrance,
    LambdaContext,
    body,
    hmac_headers,
    sample,
    standard_headers,
    webhook_event,
)

CONTEXT = cast("RealContext", LambdaContext())
EVENTS = 10_000

NASTY: tuple[object, ...] = (
    None, True, False, 0, -1, 2**63, 10**400, 1.5, float("nan"), float("inf"), [], {}, [[]], {"a": {"b": []}},
    "", " ", "\x00", "\n", "\ud800", "\udfff", "\ufffe", "\U0010ffff", "é" * 300, "a" * 5000, "%00", "%s%n", "{}",
    "..", "../runs/x", f"{THING}/delete", f"{THING} ", THING.upper(), THING[:-1], THING, ORG, "\uff15" * 32,
    "run", "task", "tag", "template", "process", "checklist", "archive", "restore", "delete", "purge",
    "2026-06-01T12:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-13-45", "1780315200",
    "v1,", "v1,AAAA", "sha256=", "sha256=zz", "whsec_", "=", ",", "operator", "automation", "crm", "int_" + "0" * 48,
    "POST /webhooks/{source}", "GET /health", "GET /commands/{intent_id}", "$default",
)  # fmt: skip
FIELDS = (
    "action", "resource", "org_id", "id", "reason", "requested_by", "not_after", "expect", "allow_in_use",
    "delivery_id", "intent_id", "issued_at", "version", "source", "__proto__",
)  # fmt: skip
EXPECTED = ("name", "status", "completed_at", "archived_at", "last_updated", "id")


class Stranger:
    """Makes random events, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.known = [sample(name) for name in ("webhook-standard.json", "webhook-hmac.json", "status.json")]

    def thing(self) -> object:
        """Any value at all."""
        kind = self.dice.random()
        if kind < 0.7:
            return self.dice.choice(NASTY)
        if kind < 0.85:
            return "".join(chr(self.dice.randrange(0x110000)) for _ in range(self.dice.randrange(12)))
        return {str(self.dice.choice(NASTY)): self.dice.choice(NASTY) for _ in range(self.dice.randrange(4))}

    def asked(self) -> bytes:
        """A body: a valid command, a partly valid one, or something else."""
        kind = self.dice.random()
        if kind < 0.1:
            return self.dice.randbytes(self.dice.randrange(60))
        if kind < 0.2:
            return json.dumps(self.thing()).encode()
        if kind < 0.202:
            return b"[" * 50_000
        if kind < 0.206:
            return body(reason="x" * (MOST_BYTES + self.dice.choice((-100, 1))))
        fields: dict[str, object] = {
            "action": self.dice.choice(("archive", "restore", "delete")),
            "resource": self.dice.choice(("run", "task", "tag", "template")),
        }
        for _ in range(self.dice.choice((0, 0, 1, 2))):
            name = self.dice.choice(FIELDS)
            fields[name] = {self.dice.choice(EXPECTED): self.thing()} if name == "expect" else self.thing()
        raw = body(**fields)
        if kind > 0.95:
            place = self.dice.randrange(len(raw))
            raw = raw[:place] + self.dice.randbytes(1) + raw[place + 1 :]
        return raw

    def signed(self) -> object:
        """An event of a sender with a secret."""
        raw, name = self.asked(), self.dice.choice(("operator", "automation", "crm"))
        delivery_id = self.dice.choice(("a", "b", "\ud800", "x" * 3000, str(self.dice.random())))
        if name == "crm":
            headers = hmac_headers(raw)
        else:
            signable = delivery_id.encode("utf-8", "replace").decode()
            headers = standard_headers(raw, delivery_id=signable)
        return webhook_event(name, raw, headers)

    def mutated(self) -> object:
        """A real event with something wrong in it, at any depth."""
        event = copy.deepcopy(self.dice.choice(self.known))
        for _ in range(self.dice.choice((1, 1, 2, 5))):
            place: dict[str, object] = event
            while True:
                name = self.dice.choice(list(place) or [""])
                inner = place.get(name)
                if isinstance(inner, dict) and inner and self.dice.random() < 0.7:
                    place = inner
                    continue
                break
            if self.dice.random() < 0.3:
                place.pop(name, None)
            else:
                place[name] = self.thing()
        return event

    def asking(self) -> object:
        """A request for the status of a command."""
        name = self.dice.choice((intent_id(ID_KEY, "operator", "a"), self.thing()))
        route = self.dice.choice(("GET /commands/{intent_id}", "GET /health", self.thing()))
        return {"routeKey": route, "pathParameters": {"intent_id": name}}

    def raw(self) -> object:
        """A body that is too large or wrongly encoded, unsigned."""
        encoded = self.dice.random() < 0.5
        text = base64.b64encode(self.asked()).decode() if encoded else self.thing()
        return {"body": text, "isBase64Encoded": self.dice.choice((encoded, self.thing())), "headers": self.thing()}

    def event(self) -> object:
        makers: tuple[Callable[[], object], ...] = (self.signed, self.mutated, self.asking, self.raw, self.thing)
        return self.dice.choices(makers, (40, 35, 10, 10, 5))[0]()


@pytest.mark.parametrize(
    ("handler", "reached"),
    [
        (webhook.handler, {202, 400, 401, 403, 404, 409, 413, 422}),
        (status.handler, {200, 400, 404, 413}),
    ],
    ids=["webhook", "status"],
)
def test_ten_thousand_fuzzed_events_cause_no_exception_and_no_5xx(
    handler: Callable[[object, RealContext], dict[str, object]],
    reached: set[int],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entrance = Entrance(clock)
    entrance.intake = replace(entrance.intake, metrics=metrics)
    entrance.ledger.claim(entrance.accept(body(), delivery_id="a"))
    monkeypatch.setattr(webhook, "intake", lambda: entrance.intake)
    monkeypatch.setattr(status, "lookup", lambda: entrance.lookup)
    stranger = Stranger(20260601)
    seen: Counter[object] = Counter()
    for number in range(EVENTS):
        event = stranger.event()
        response = handler(event, CONTEXT)
        code = response["statusCode"]
        assert isinstance(code, int)
        assert 200 <= code < 500, f"event {number}: {code}"
        told = json.loads(str(response["body"]))
        assert code < 300 or told["status"] == code
        json.dumps(response).encode()
        seen[code] += 1
    assert set(seen) == reached, f"the fuzz should reach every answer: {seen}"
    print(f"{EVENTS} events: {dict(seen)}")
