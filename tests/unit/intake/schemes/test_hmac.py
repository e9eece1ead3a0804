"""The signatures of other systems, described in sources.toml and checked without a line of code for any of them."""

import base64
import gzip
import hashlib
import hmac
import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.schemes import UnverifiedRequest, VerifiedRequest
from lifecycle.intake.schemes.hmac import Hmac, SignatureFormat
from lifecycle.intake.schemes.shared_secret import SharedSecret
from lifecycle.intake.sources import Sources
from tests.harness.builders import (
    CONFIG,
    DOMAIN,
    NOW,
    SHARED,
    hub_headers,
    hubspot_headers,
    request,
)

AT = NOW.timestamp()
RAW = '{"reason": "Kündigung"}'.encode()
SHIPPED = Sources.parse((CONFIG / "sources.toml").read_text(encoding="utf-8")).sources


def how(name: str) -> SignatureFormat:
    found = SHIPPED[name].scheme
    assert isinstance(found, Hmac)
    return found.signature


# --- as published ---


def test_githubs_published_example_is_accepted() -> None:
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secrets = [b"It's a Secret to Everybody"]
    for body, answer in ((b"Hello, World!", VerifiedRequest), (b"Hello, World?", UnverifiedRequest)):
        sent = request("github", body, {"x-hub-signature-256": signature})
        assert isinstance(how("github").verify(secrets, sent, now=AT), answer)


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
    assert how("hubspot").verify([SHARED.encode()], sent, now=AT) == VerifiedRequest(None, milliseconds)


@pytest.mark.parametrize(
    ("off", "answer"),
    [(-300, VerifiedRequest), (300, VerifiedRequest), (-301, UnverifiedRequest), (301, UnverifiedRequest)],
)
def test_hubspots_replay_window_is_counted_in_milliseconds(off: int, answer: type) -> None:
    sent = request("hubspot", RAW, hubspot_headers(RAW, at=AT + off))
    assert isinstance(how("hubspot").verify([SHARED.encode()], sent, now=AT), answer)


@pytest.mark.parametrize("uri", [f"https://{DOMAIN}/webhooks/jira", "https://hooks.example.com/webhooks/hubspot"])
def test_a_signature_for_another_url_is_refused(uri: str) -> None:
    sent = request("hubspot", RAW, hubspot_headers(RAW, uri=uri))
    assert isinstance(how("hubspot").verify([SHARED.encode()], sent, now=AT), UnverifiedRequest)


def test_a_declared_url_replaces_the_url_behind_a_proxy() -> None:
    uri = "https://hooks.example.com/crm/hubspot?tenant=1"
    proxied = how("hubspot").model_copy(update={"uri": uri})
    sent = request("hubspot", RAW, hubspot_headers(RAW, uri=uri))
    assert isinstance(proxied.verify([SHARED.encode()], sent, now=AT), VerifiedRequest)


# --- what a description may say ---


def test_jiras_signature_header_is_accepted() -> None:
    sent = request("jira", RAW, hub_headers(RAW, name="x-hub-signature"))
    assert how("jira").verify([SHARED.encode()], sent, now=AT) == VerifiedRequest(None)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_each_hash_and_encoding_is_supported(algorithm: str, encoding: str) -> None:
    digest = hmac.new(SHARED.encode(), b"<" + RAW + b">POST", algorithm).digest()
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    signature = SignatureFormat.model_validate(
        {"hash": algorithm, "encoding": encoding, "prefix": "", "signed": "<{body}>{method}", "header": "x-sig"}
    )
    assert not signature.timed
    assert signature.verify([SHARED.encode()], request("one", RAW, {"x-sig": text}), now=AT) == VerifiedRequest(None)
    assert isinstance(signature.verify([b"guess"], request("one", RAW, {"x-sig": text}), now=AT), UnverifiedRequest)


def test_doubled_braces_in_the_signed_text_are_literal_braces() -> None:
    signature = SignatureFormat(signed="{{timestamp}}{body}")
    assert not signature.timed
    digest = hmac.new(SHARED.encode(), b"{timestamp}" + RAW, hashlib.sha256).hexdigest()
    sent = request("one", RAW, {"x-signature": f"sha256={digest}"})
    assert signature.verify([SHARED.encode()], sent, now=AT) == VerifiedRequest(None)


def test_a_body_with_braces_is_signed_as_it_is() -> None:
    raw = b'{"a": "{timestamp} {0} {"}'
    sent = request("one", raw, {"x-hub-signature-256": hub_headers(raw)["x-hub-signature-256"]})
    assert how("github").verify([SHARED.encode()], sent, now=AT) == VerifiedRequest(None)


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        ("{timestamp}", "must contain {body}"),
        ("", "must contain {body}"),
        ("{{body}}", "must contain {body}"),
        ("{body", "may hold only"),
        ("body}", "may hold only"),
        ("{}", "may hold only"),
        ("{0}{body}", "may hold only"),
        ("{body!r}", "may hold only"),
        ("{body:>99999999999}", "may hold only"),
        ("{body.__class__}", "may hold only"),
        ("{secret}{body}", "must not contain it otherwise"),
        ("{header}{body}", "may hold only"),
        ("{header:x-a}", "must contain {body}"),
        ("{field:a.[}", "not a JMESPath expression"),
    ],
)
def test_a_signed_text_that_proves_nothing_is_refused(signed: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SignatureFormat(signed=signed)


# --- a shared secret ---


def test_a_shared_secret_is_compared_as_a_whole_even_during_a_rotation() -> None:
    secrets = [b"new", b"old"]
    assert all(
        SharedSecret().verify(secrets, request("one", RAW, {}, key=key), now=AT) == VerifiedRequest(None)
        for key in ("new", "old")
    )
    for wrong in ("", "ne", "newer", "NEW", "new\n", "\ud800", "ö"):
        assert isinstance(SharedSecret().verify(secrets, request("one", RAW, {}, key=wrong), now=AT), UnverifiedRequest)


@pytest.mark.parametrize("secrets", [[], [b""], [b"", b""]])
def test_an_empty_shared_secret_accepts_no_request(secrets: list[bytes]) -> None:
    assert isinstance(SharedSecret().verify(secrets, request("one", RAW, {}, key=""), now=AT), UnverifiedRequest)


# --- descriptions for the next system ---

KEY = b"thirty-two bytes of a random key"
STAMP = str(int(AT))


def mac(text: bytes, key: bytes = KEY, algorithm: str = "sha256") -> bytes:
    return hmac.digest(key, text, algorithm)


def check(
    signature: SignatureFormat, headers: dict[str, str], raw: bytes = RAW, *, key: bytes = KEY
) -> VerifiedRequest | UnverifiedRequest:
    return signature.verify([b"old", key], request("one", raw, headers), now=AT)


STRIPE = SignatureFormat(header=("stripe-signature",), separator=",", prefix="v1=", timestamp_prefix="t=")


def test_a_structured_header_holds_the_time_and_several_signatures() -> None:
    good = mac(f"{STAMP}.".encode() + RAW).hex()
    for value in (f"t={STAMP},v1={good}", f"t={STAMP}, v1={'0' * 64}, v1={good} ,v0=aa", f"v1={good},t={STAMP}"):
        assert check(STRIPE, {"stripe-signature": value}) == VerifiedRequest(None, STAMP)
    for value in (
        f"t={STAMP},v0={good}", f"t={STAMP}", f"v1={good}", f"t={STAMP},t={STAMP},v1={good}",
        f"t={int(AT) - 400},v1={good}",
        f"t={STAMP};v1={good}", "", ",", "t=,v1=", "t=\ud800,v1=\ud800", f"t={STAMP},v1=" + "0,v1=" * 20 + good,
    ):  # fmt: skip
        assert isinstance(check(STRIPE, {"stripe-signature": value}), UnverifiedRequest), value


def test_any_of_several_signature_headers_may_match() -> None:
    docusign = SignatureFormat(header=("x-docusign-signature-*",), prefix="", encoding="base64", signed="{body}")
    good = base64.b64encode(mac(RAW)).decode()
    assert check(docusign, {"x-docusign-signature-1": "AAAA", "x-docusign-signature-2": good}) == VerifiedRequest(None)
    assert isinstance(check(docusign, {"x-docusign-signature-1": "AAAA", "x-docusign": good}), UnverifiedRequest)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2026-06-01T12:00:00Z", VerifiedRequest),
        ("2026-06-01T12:04:59.123456789Z", VerifiedRequest),
        ("2026-06-01T14:00:00+02:00", VerifiedRequest),
        ("2026-06-01T12:05:01Z", UnverifiedRequest),
        ("2026-06-01T12:00:00", UnverifiedRequest),
        ("2026-13-01T12:00:00Z", UnverifiedRequest),
        ("2026-06-01", UnverifiedRequest),
        (STAMP, UnverifiedRequest),
        ("0001-01-01T00:00:00+23:59", UnverifiedRequest),
        ("", UnverifiedRequest),
    ],
)
def test_an_iso_timestamp_is_read_strictly(text: str, answer: type) -> None:
    zendesk = SignatureFormat(
        header=("x-zendesk-webhook-signature",),
        prefix="",
        encoding="base64",
        signed="{timestamp}{body}",
        timestamp_header="x-zendesk-webhook-signature-timestamp",
        timestamp_unit="iso8601",
    )
    headers = {
        "x-zendesk-webhook-signature": base64.b64encode(mac(text.encode() + RAW)).decode(),
        "x-zendesk-webhook-signature-timestamp": text,
    }
    assert isinstance(check(zendesk, headers), answer)


@pytest.mark.parametrize("text", [STAMP, f"{STAMP}250", "2026-06-01T12:00:00Z"])
def test_the_unit_of_a_timestamp_is_recognized_by_its_form(text: str) -> None:
    either = SignatureFormat(prefix="", signed="{body}{timestamp}", timestamp_unit="any")
    headers = {"x-signature": mac(RAW + text.encode()).hex(), "x-timestamp": text}
    assert check(either, headers) == VerifiedRequest(None, text)


@pytest.mark.parametrize(
    ("form", "stored"),
    [
        ("text", KEY),
        ("base64", base64.b64encode(KEY)),
        ("base64", base64.b64encode(KEY).rstrip(b"=")),
        ("hex", KEY.hex().encode()),
        ("whsec", b"whsec_" + base64.b64encode(KEY)),
        ("whsec", b"v1,whsec_" + base64.b64encode(KEY)),
        ("whsec", base64.b64encode(KEY)),
    ],
)
def test_a_stored_key_may_have_any_supported_form(form: str, stored: bytes) -> None:
    signature = SignatureFormat.model_validate({"signed": "{body}", "prefix": "", "key": form})
    assert check(signature, {"x-signature": mac(RAW).hex()}, key=stored) == VerifiedRequest(None)


@pytest.mark.parametrize(("form", "stored"), [("hex", b"zz"), ("base64", b"!"), ("whsec", b"whsec_"), ("hex", b"\xff")])
def test_a_key_of_the_wrong_form_accepts_no_request(form: str, stored: bytes) -> None:
    signature = SignatureFormat.model_validate({"signed": "{body}", "prefix": "", "key": form})
    assert isinstance(
        signature.verify([stored], request("one", RAW, {"x-signature": mac(RAW, b"").hex()}), now=AT), UnverifiedRequest
    )
    with pytest.raises(ValueError, match="the secret is not"):
        signature.sign(stored.decode("latin-1"), request("one", RAW, {}), delivery_id="", timestamp=0)


def test_a_signature_and_its_time_may_be_in_the_body() -> None:
    mailgun = SignatureFormat(
        field="signature.signature",
        prefix="",
        signed="{field:signature.timestamp}{field:signature.token}",
        timestamp_field="signature.timestamp",
    )
    assert not mailgun.covers_body

    def payload(**changes: object) -> bytes:
        made = {"timestamp": STAMP, "token": "ab", "signature": mac(f"{STAMP}ab".encode()).hex()}
        return json.dumps({"signature": {**made, **changes}}).encode()

    assert check(mailgun, {}, payload()) == VerifiedRequest(None, STAMP)
    for wrong in (payload(token="abc"), payload(timestamp=int(AT) + 1), payload(signature=5), b"{}", b"junk", b"[]"):
        assert isinstance(check(mailgun, {}, wrong), UnverifiedRequest)
    with pytest.raises(ValueError, match="in the body"):
        mailgun.sign(SHARED, request("one", RAW, {}), delivery_id="", timestamp=0)


def test_linears_timestamp_is_read_from_the_signed_body() -> None:
    linear = SignatureFormat(
        header=("linear-signature",),
        prefix="",
        signed="{body}",
        timestamp_field="webhookTimestamp",
        timestamp_unit="ms",
    )
    for off, answer in ((0, VerifiedRequest), (-300_001, UnverifiedRequest)):
        raw = json.dumps({"webhookTimestamp": int(AT * 1000) + off}).encode()
        assert isinstance(check(linear, {"linear-signature": mac(raw).hex()}, raw), answer)
    assert isinstance(check(linear, {"linear-signature": mac(RAW).hex()}), UnverifiedRequest)


def test_other_headers_may_be_signed_too() -> None:
    signature = SignatureFormat(prefix="", signed="{header:x-topic}|{method}|{path}|{query}|{body}")
    sent = replace(request("one", RAW, {"x-topic": "closed"}), uri="https://x/webhooks/one?a=%2F")
    signed = signature.sign(KEY.decode(), sent, delivery_id="", timestamp=0)
    assert signed.headers["x-signature"] == mac(b"closed|POST|/webhooks/one|a=%2F|" + RAW).hex()
    assert signature.verify([KEY], signed, now=AT) == VerifiedRequest(None)
    changed = replace(signed, headers={**signed.headers, "x-topic": "open"})
    assert isinstance(signature.verify([KEY], changed, now=AT), UnverifiedRequest)


@pytest.mark.parametrize(
    ("forms", "signed"),
    [
        ("as_sent", "https://x/webhooks/one?a=%2Fb%20c"),
        ("decoded", "https://x/webhooks/one?a=/b c"),
        ("hubspot", "https://x/webhooks/one?a=/b%20c"),
    ],
)
def test_a_url_may_be_signed_as_sent_or_decoded(forms: str, signed: str) -> None:
    sent = replace(request("one", RAW, {}), uri="https://x/webhooks/one?a=%2Fb%20c")
    headers = {"x-signature": mac(signed.encode() + RAW).hex()}
    one = SignatureFormat.model_validate({"prefix": "", "signed": "{uri}{body}", "uri_forms": forms})
    either = SignatureFormat(prefix="", signed="{uri}{body}", uri_forms=("as_sent", "decoded", "hubspot"))
    for signature in (one, either):
        assert signature.verify([KEY], replace(sent, headers=headers), now=AT) == VerifiedRequest(None)


def test_only_the_origin_may_differ_behind_a_proxy() -> None:
    signature = SignatureFormat(prefix="", signed="{uri}{body}", origin="https://hooks.example.com")
    sent = replace(request("one", RAW, {}), uri="https://x/webhooks/one?a=1")
    headers = {"x-signature": mac(b"https://hooks.example.com/webhooks/one?a=1" + RAW).hex()}
    assert signature.verify([KEY], replace(sent, headers=headers), now=AT) == VerifiedRequest(None)


def test_hubspots_published_examples_of_version_2_are_accepted() -> None:
    # https://github.com/HubSpot/hubspot-api-php, tests/unit/Utils/SignatureTest.php: a plain hash, no HMAC.
    v2 = SignatureFormat(
        header=("x-hubspot-signature",), prefix="", construction="hash", signed="{secret}{method}{uri}{body}"
    )
    secret = b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
    get = "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"
    post = "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"
    for method, body, signature in (("GET", b"", get), ("POST", b'{"example_field":"example_value"}', post)):
        sent = HttpRequest(
            route="", method=method, uri="https://www.example.com/webhook_uri", parameters={},
            headers={"x-hubspot-signature": signature}, body=body,
        )  # fmt: skip
        assert v2.verify([secret], sent, now=AT) == VerifiedRequest(None)
        assert isinstance(v2.verify([b"guess", b""], sent, now=AT), UnverifiedRequest)
        assert isinstance(v2.verify([secret], replace(sent, body=body + b" "), now=AT), UnverifiedRequest)


@pytest.mark.parametrize("form", ["as_sent", "unpacked"])
def test_a_gzip_body_may_be_signed_as_sent_or_unpacked(form: str) -> None:
    signature = SignatureFormat.model_validate({"prefix": "", "signed": "{body}", "body_form": form})
    packed = gzip.compress(RAW)
    headers = {"x-signature": mac(packed if form == "as_sent" else RAW).hex()}
    assert check(signature, headers, packed) == VerifiedRequest(None)
    assert isinstance(check(signature, headers, packed[:-3]), UnverifiedRequest)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"construction": "hash"}, "must not contain it otherwise"),
        ({"signed": "{id}.{body}"}, "'id_header'"),
        ({"signed": "{id}{body}", "id_header": "x-id"}, "needs a separator after {id}"),
        ({"timestamp_prefix": "t="}, "needs 'separator'"),
        ({"header": []}, "at least one"),
        ({"header": ["x-*-y"]}, "header"),
        ({"separator": ", "}, "separator"),
        ({"origin": "hooks.example.com"}, "origin"),
    ],
)
def test_a_signature_description_that_cannot_work_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SignatureFormat.model_validate(settings)
