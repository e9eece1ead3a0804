"""The signatures of other systems, described in sources.toml and checked without a line of code for any of them."""

import base64
import hashlib
import hmac

import pytest
from pydantic import ValidationError

from lifecycle.chat.slack.requests import SIGNATURE as SLACK
from lifecycle.intake.schemes import Accepted, Refused
from lifecycle.intake.schemes.hmac import Hmac, Signature
from lifecycle.intake.schemes.shared_secret import SharedSecret
from lifecycle.intake.sources import Sources
from tests.harness.builders import (
    CONFIG,
    DOMAIN,
    NOW,
    SHARED,
    chat_request,
    hub_headers,
    hubspot_headers,
    request,
    slack_headers,
)

AT = NOW.timestamp()
RAW = '{"reason": "Kündigung"}'.encode()
SHIPPED = Sources.parse((CONFIG / "sources.toml").read_text(encoding="utf-8")).sources


def how(name: str) -> Signature:
    found = SHIPPED[name].scheme
    assert isinstance(found, Hmac)
    return found.signature


# --- as published ---


def test_githubs_published_example_is_accepted() -> None:
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secrets = [b"It's a Secret to Everybody"]
    for body, answer in ((b"Hello, World!", Accepted), (b"Hello, World?", Refused)):
        sent = request("github", body, {"x-hub-signature-256": signature})
        assert isinstance(how("github").verify(secrets, sent, now=AT), answer)


def test_slacks_published_example_is_accepted() -> None:
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
        b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    secrets = [b"8f742231b10e8888abcd99yyyzzz85a5"]
    sent = chat_request(body, headers)
    assert SLACK.verify(secrets, sent, now=1531420618) == Accepted(None, "1531420618")
    assert isinstance(SLACK.verify(secrets, sent, now=1531420618 + 301), Refused)
    assert isinstance(SLACK.verify(secrets, chat_request(body + b"x", headers), now=1531420618), Refused)


# --- HubSpot, version 3 ---


def test_hubspot_signs_method_uri_body_and_milliseconds() -> None:
    uri = f"https://{DOMAIN}/webhooks/hubspot"
    milliseconds = str(int(AT * 1000) + 7)
    digest = hmac.new(SHARED.encode(), f"POST{uri}".encode() + RAW + milliseconds.encode(), hashlib.sha256).digest()
    headers = {
        "x-hubspot-request-timestamp": milliseconds,
        "x-hubspot-signature-v3": base64.b64encode(digest).decode(),
    }
    sent = request("hubspot", RAW, headers)
    assert sent.uri == uri
    assert how("hubspot").verify([SHARED.encode()], sent, now=AT) == Accepted(None, milliseconds)


@pytest.mark.parametrize(("off", "answer"), [(-300, Accepted), (300, Accepted), (-301, Refused), (301, Refused)])
def test_hubspots_replay_window_is_counted_in_milliseconds(off: int, answer: type) -> None:
    sent = request("hubspot", RAW, hubspot_headers(RAW, at=AT + off))
    assert isinstance(how("hubspot").verify([SHARED.encode()], sent, now=AT), answer)


@pytest.mark.parametrize("uri", [f"https://{DOMAIN}/webhooks/jira", "https://hooks.example.com/webhooks/hubspot"])
def test_what_was_signed_for_another_url_is_refused(uri: str) -> None:
    sent = request("hubspot", RAW, hubspot_headers(RAW, uri=uri))
    assert isinstance(how("hubspot").verify([SHARED.encode()], sent, now=AT), Refused)


def test_behind_a_proxy_the_declared_url_is_the_signed_one() -> None:
    uri = "https://hooks.example.com/crm/hubspot?tenant=1"
    proxied = how("hubspot").model_copy(update={"uri": uri})
    sent = request("hubspot", RAW, hubspot_headers(RAW, uri=uri))
    assert isinstance(proxied.verify([SHARED.encode()], sent, now=AT), Accepted)


# --- what a description may say ---


def test_jira_signs_the_body_under_another_name() -> None:
    sent = request("jira", RAW, hub_headers(RAW, name="x-hub-signature"))
    assert how("jira").verify([SHARED.encode()], sent, now=AT) == Accepted(None)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_each_hash_and_encoding_is_understood(algorithm: str, encoding: str) -> None:
    digest = hmac.new(SHARED.encode(), b"<" + RAW + b">POST", algorithm).digest()
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    signature = Signature.model_validate(
        {"hash": algorithm, "encoding": encoding, "prefix": "", "signed": "<{body}>{method}", "header": "x-sig"}
    )
    assert not signature.timed
    assert signature.verify([SHARED.encode()], request("one", RAW, {"x-sig": text}), now=AT) == Accepted(None)
    assert isinstance(signature.verify([b"guess"], request("one", RAW, {"x-sig": text}), now=AT), Refused)


def test_braces_in_the_signed_text_are_doubled_and_are_no_places() -> None:
    signature = Signature(signed="{{timestamp}}{body}")
    assert not signature.timed
    digest = hmac.new(SHARED.encode(), b"{timestamp}" + RAW, hashlib.sha256).hexdigest()
    sent = request("one", RAW, {"x-signature": f"sha256={digest}"})
    assert signature.verify([SHARED.encode()], sent, now=AT) == Accepted(None)


def test_a_body_with_braces_is_signed_as_it_is() -> None:
    raw = b'{"a": "{timestamp} {0} {"}'
    sent = request("one", raw, {"x-hub-signature-256": hub_headers(raw)["x-hub-signature-256"]})
    assert how("github").verify([SHARED.encode()], sent, now=AT) == Accepted(None)


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        ("{timestamp}", "must hold {body}"),
        ("", "must hold {body}"),
        ("{{body}}", "must hold {body}"),
        ("{body", "may hold only"),
        ("body}", "may hold only"),
        ("{}", "may hold only"),
        ("{0}{body}", "may hold only"),
        ("{body!r}", "may hold only"),
        ("{body:>99999999999}", "may hold only"),
        ("{body.__class__}", "may hold only"),
        ("{secret}{body}", "only for that"),
        ("{header}{body}", "may hold only"),
        ("{header:x-a}", "must hold {body}"),
        ("{field:a.[}", "not a JMESPath expression"),
    ],
)
def test_a_description_that_proves_nothing_is_refused(signed: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Signature(signed=signed)


# --- a shared secret ---


def test_a_shared_secret_is_compared_whole_during_a_rotation_too() -> None:
    secrets = [b"new", b"old"]
    assert all(
        SharedSecret().verify(secrets, request("one", RAW, {}, key=key), now=AT) == Accepted(None)
        for key in ("new", "old")
    )
    for wrong in ("", "ne", "newer", "NEW", "new\n", "\ud800", "ö"):
        assert isinstance(SharedSecret().verify(secrets, request("one", RAW, {}, key=wrong), now=AT), Refused)


@pytest.mark.parametrize("secrets", [[], [b""], [b"", b""]])
def test_an_empty_shared_secret_opens_to_nobody(secrets: list[bytes]) -> None:
    assert isinstance(SharedSecret().verify(secrets, request("one", RAW, {}, key=""), now=AT), Refused)


def test_slack_is_refused_without_its_headers() -> None:
    raw = b"text=help"
    for missing in slack_headers(raw):
        headers = {name: text for name, text in slack_headers(raw).items() if name != missing}
        assert isinstance(SLACK.verify([SHARED.encode()], chat_request(raw, headers), now=AT), Refused)
