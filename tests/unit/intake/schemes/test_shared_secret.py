"""The secret itself in a header, the query, the body or the path."""

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.schemes import UnverifiedRequest, VerifiedRequest
from lifecycle.intake.schemes.shared_secret import SharedSecret
from tests.harness.builders import NOW, SHARED, request

AT = NOW.timestamp()
BEARER = SharedSecret(header="authorization", prefix="Bearer ")
QUERY = SharedSecret(query="token")
FIELD = SharedSecret(field="value[].clientState")
JUNK = ("", " ", "\ud800", "ö", "Bearer", "Bearer ", "x" * 9000, "\x00")


def sent(uri: str = "https://x/webhooks/one", body: bytes = b"{}", **headers: str) -> HttpRequest:
    return HttpRequest(route="", method="POST", uri=uri, parameters={"source": "one"}, headers=headers, body=body)


def accepted(scheme: SharedSecret, made: HttpRequest, *secrets: str) -> bool:
    return scheme.verify([s.encode() for s in secrets or (SHARED,)], made, now=AT) == VerifiedRequest(None)


def test_the_name_of_the_bearer_scheme_may_be_in_any_case() -> None:
    assert accepted(BEARER, sent(authorization=f"Bearer {SHARED}"))
    assert accepted(BEARER, sent(authorization=f"bearer {SHARED}"))
    assert not accepted(BEARER, sent(authorization=SHARED))
    assert not accepted(BEARER, sent(authorization=f"Bearer {SHARED.upper()}"))


@pytest.mark.parametrize("query", ["token=a%20plain+shared%20secret", "b=&token=a%20plain%20shared%20secret"])
def test_a_key_in_the_query_is_decoded_and_compared(query: str) -> None:
    assert accepted(QUERY, sent(f"https://x/webhooks/one?a=1&{query}"))
    assert not accepted(QUERY, sent(f"https://x/webhooks/one?a=1&{query}s"))


@pytest.mark.parametrize("query", ["", "?", "?token", "?token=", "?x=1", "?" + "a=1&" * 500, "?token=a&token=b"])
def test_a_query_without_the_key_is_refused(query: str) -> None:
    assert not accepted(QUERY, sent(f"https://x/webhooks/one{query}"))


def test_every_element_of_a_list_in_the_body_must_match_the_secret() -> None:
    def body(*states: object) -> bytes:
        return json.dumps({"value": [{"clientState": state} for state in states]}).encode()

    assert accepted(FIELD, sent(body=body(SHARED, SHARED)))
    for wrong in (body(SHARED, "guess"), body(), body(SHARED, 5), body(*[SHARED] * 1001), b"{}", b"no json"):
        assert not accepted(FIELD, sent(body=wrong))


def test_a_form_may_hold_the_secret() -> None:
    assert accepted(SharedSecret(field="token"), sent(body=b"a=1&token=a%20plain%20shared%20secret"))


def test_a_secret_of_digits_alone_works() -> None:
    assert accepted(SharedSecret(header="x-key"), replace(sent(), headers={"x-key": "8472619350"}), "8472619350")


@pytest.mark.parametrize("scheme", [SharedSecret(), BEARER, QUERY])
def test_a_signed_request_is_accepted_and_both_secrets_work_during_a_rotation(scheme: SharedSecret) -> None:
    made = scheme.sign(SHARED, sent(), delivery_id="", timestamp=0)
    assert accepted(scheme, made, "new", SHARED)
    assert scheme.carries_proof(made)
    assert not accepted(scheme, made, "new", "newer")
    assert not accepted(scheme, made, "")


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("scheme", [SharedSecret(), BEARER, QUERY, FIELD, SharedSecret(header="x-key")])
def test_invalid_input_is_refused(scheme: SharedSecret, junk: str) -> None:
    headers = {"authorization": junk, "x-key": junk}
    made = request("one", junk.encode("utf-8", "replace"), headers, key=junk)
    assert isinstance(scheme.verify([SHARED.encode(), b""], made, now=AT), UnverifiedRequest)


def test_a_secret_in_two_places_is_refused() -> None:
    with pytest.raises(ValidationError, match="one place"):
        SharedSecret(header="x-key", query="token")
    with pytest.raises(ValidationError, match="only works with 'header'"):
        SharedSecret(prefix="Bearer ")


def test_signing_a_request_with_its_secret_in_the_body_is_refused() -> None:
    with pytest.raises(ValueError, match="use a payload that contains it"):
        FIELD.sign(SHARED, sent(), delivery_id="", timestamp=0)
