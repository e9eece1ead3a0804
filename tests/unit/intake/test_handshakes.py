"""What some systems ask before they send deliveries."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from functions.webhook import app
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.bootstrap.observability import metrics
from lifecycle.domain.errors import Code, Rejected
from lifecycle.intake.handshakes import Handshake, Window
from tests.harness.builders import NOW, ORG, PREFIX, SHARED, Clock, Entrance, LambdaContext, request, webhook_event
from tests.harness.presets import delivery, entrance, unsigned

RULE = f"""
[[sources.one.commands]]
action = "archive"
resource = "process"
org_id = "{ORG}"
id = "body.id"
delivery = "body.id"
"""


def asked(settings: str) -> Entrance:
    table = f'[sources.one]\nscheme = "hmac"\nmay = ["run.archive"]\nhandshake = {{ {settings} }}\n'
    return Entrance(lambda: NOW, declared=table + RULE)


def test_a_challenge_in_the_body_is_echoed_as_json_if_the_key_is_right() -> None:
    way_in = entrance("monday", SHARED)
    raw = b'{"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}'
    reply = way_in.intake.handshake(request("monday", raw, {}, key=SHARED))
    assert reply is not None
    assert (json.loads(reply.body), reply.content_type) == (json.loads(raw), "application/json")
    for key in ("", "guess"):
        with pytest.raises(Rejected) as refusal:
            way_in.intake.handshake(request("monday", raw, {}, key=key))
        assert refusal.value.code is Code.SIGNATURE_REFUSED


def test_slacks_challenge_must_be_signed() -> None:
    raw = b'{"type": "url_verification", "challenge": "abc"}'
    way_in = entrance("slack-workflow")
    reply = way_in.intake.handshake(delivery("slack-workflow", raw))
    assert reply is not None
    assert json.loads(reply.body) == {"challenge": "abc"}
    with pytest.raises(Rejected):
        way_in.intake.handshake(unsigned("slack-workflow", raw))


def test_a_validation_token_in_the_query_is_echoed_decoded_as_text() -> None:
    way_in = asked('kind = "echo", query = "validationToken", answer = "text"')
    sent = replace(request("one", b"", {}), uri="https://x/webhooks/one?validationToken=a%3A+b%2F")
    reply = way_in.intake.handshake(sent)
    assert reply is not None
    assert (reply.body, reply.content_type, reply.headers["x-content-type-options"]) == (
        "a: b/",
        "text/plain",
        "nosniff",
    )


def test_a_challenge_in_a_header_is_echoed_under_another_name() -> None:
    way_in = asked(
        'kind = "echo", header = "smartsheet-hook-challenge", answer = "header", name = "smartsheet-hook-response"'
    )
    reply = way_in.intake.handshake(request("one", b"{}", {"smartsheet-hook-challenge": "abc"}))
    assert reply is not None
    assert reply.headers == {"smartsheet-hook-response": "abc"}


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_probe_is_answered_only_for_a_source_that_declares_it(method: str) -> None:
    sent = replace(unsigned("trello", b""), method=method)
    reply = entrance("trello").intake.handshake(sent)
    assert reply is not None
    assert (reply.status, reply.body) == (200, "")
    for name in ("github", "nobody"):
        with pytest.raises(Rejected) as refusal:
            entrance("github").intake.handshake(replace(sent, parameters={"source": name}))
        assert refusal.value.code is Code.UNKNOWN_SOURCE


@pytest.mark.parametrize("text", ["", "\n", "a\r\nset-cookie: x", "ü", "x" * 1001, "\x00", "\ud800"])
def test_only_a_short_plain_challenge_is_echoed(text: str) -> None:
    way_in = asked('kind = "echo", header = "x-challenge", answer = "header", name = "x-response"')
    assert way_in.intake.handshake(request("one", b"{}", {"x-challenge": text})) is None


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"challenge": 5}', b'{"challenge": null}', b"\xff", b'{"other": "x"}'])
def test_a_body_without_a_challenge_is_a_delivery(raw: bytes) -> None:
    assert entrance("monday", SHARED).intake.handshake(request("monday", raw, {}, key=SHARED)) is None


def test_a_source_without_a_handshake_echoes_nothing() -> None:
    assert entrance("github").intake.handshake(unsigned("github", b'{"challenge": "x"}')) is None


# --- a secret that is handed over ---

HANDED = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"
NAME = f"{PREFIX}/sources/asana"


def opened(clock: Clock, *kept: str) -> Entrance:
    way_in = entrance("asana", Window("nonce", NOW + timedelta(minutes=10), kept).write())
    way_in.clock = clock
    return way_in


def handed(key: str = "nonce", secret: str = HANDED) -> HttpRequest:
    sent = unsigned("asana", b"{}")
    return replace(sent, headers={"x-hook-secret": secret}, parameters={"source": "asana", "key": key})


def test_a_secret_is_stored_and_echoed_while_the_window_is_open(clock: Clock) -> None:
    way_in = opened(clock)
    reply = way_in.intake.handshake(handed())
    assert reply is not None
    assert reply.headers == {"x-hook-secret": HANDED}
    assert json.loads(way_in.secrets.texts[NAME]) == {"secrets": [HANDED]}
    assert len(way_in.intake.accept(delivery("asana", secret=HANDED))) == 1


def test_the_first_secret_closes_the_window(clock: Clock) -> None:
    way_in = opened(clock)
    way_in.intake.handshake(handed())
    with pytest.raises(Rejected, match="lifecycle source connect asana"):
        way_in.intake.handshake(handed(secret="of somebody else"))
    assert json.loads(way_in.secrets.texts[NAME]) == {"secrets": [HANDED]}


@pytest.mark.parametrize("key", ["", "guess", "nonce ", "\ud800"])
def test_a_secret_is_stored_only_at_the_printed_url(clock: Clock, key: str) -> None:
    way_in = opened(clock)
    before = way_in.secrets.texts[NAME]
    with pytest.raises(Rejected):
        way_in.intake.handshake(handed(key))
    assert way_in.secrets.texts[NAME] == before


def test_a_secret_is_refused_after_the_window(clock: Clock) -> None:
    way_in = opened(clock)
    clock.advance(timedelta(minutes=10))
    with pytest.raises(Rejected):
        way_in.intake.handshake(handed())


@pytest.mark.parametrize("text", ["plain", "{}", '{"connect": 5}', '{"connect": {"key": "", "until": "2999"}}', "[]"])
def test_no_secret_is_stored_without_a_window(text: str) -> None:
    with pytest.raises(Rejected):
        entrance("asana", text).intake.handshake(handed(""))


def test_no_secret_is_stored_for_a_source_that_was_not_set_up() -> None:
    way_in = entrance("asana")
    del way_in.secrets.texts[NAME]
    with pytest.raises(Rejected):
        way_in.intake.handshake(handed())


def test_the_old_secret_stays_valid_beside_the_new_one(clock: Clock) -> None:
    way_in = opened(clock, "old", "older")
    way_in.intake.handshake(handed())
    assert json.loads(way_in.secrets.texts[NAME]) == {"secrets": [HANDED, "old"]}


def test_an_open_window_accepts_no_request_without_a_secret(clock: Clock) -> None:
    with pytest.raises(Rejected):
        opened(clock).intake.accept(delivery("asana", secret="nonce"))


def test_notions_token_is_read_from_the_body(clock: Clock) -> None:
    way_in = entrance("notion", Window("nonce", NOW + timedelta(minutes=1)).write())
    sent = unsigned("notion", b'{"verification_token": "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}')
    reply = way_in.intake.handshake(replace(sent, parameters={"source": "notion", "key": "nonce"}))
    assert reply is not None
    assert reply.body == ""
    [stored] = json.loads(way_in.secrets.texts[f"{PREFIX}/sources/notion"])["secrets"]
    assert stored.startswith("secret_")


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "echo"},
        {"kind": "probe", "header": "x"},
        {"kind": "echo", "header": "x", "query": "y"},
        {"kind": "other"},
    ],
)
def test_a_handshake_that_cannot_work_is_refused(settings: Mapping[str, object]) -> None:
    with pytest.raises(ValidationError):
        Handshake.model_validate(settings)


def test_the_function_answers_handshakes_and_acknowledges_salesforce(monkeypatch: pytest.MonkeyPatch) -> None:
    way_in = entrance("salesforce-outbound", SHARED)
    monkeypatch.setattr(app, "intake", lambda: replace(way_in.intake, metrics=metrics))
    sent = delivery("salesforce-outbound")
    event = webhook_event("salesforce-outbound", sent.body, {}, key=SHARED)
    answer = app.handler(event, LambdaContext())
    assert answer["statusCode"] == 200
    assert "<Ack>true</Ack>" in str(answer["body"])
    way_in = entrance("monday", SHARED)
    answer = app.handler(webhook_event("monday", b'{"challenge": "x"}', {}, key=SHARED), LambdaContext())
    assert (answer["statusCode"], answer["body"]) == (200, '{"challenge": "x"}')
