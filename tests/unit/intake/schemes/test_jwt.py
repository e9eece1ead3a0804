"""A JSON Web Token in a header, checked as RFC 7515 and RFC 7519 say."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.intake.schemes import UnverifiedRequest, VerifiedRequest
from lifecycle.intake.schemes.jwt import Jwt
from tests.harness.builders import NOW, request

AT = NOW.timestamp()
SECRET = "the signing secret of an app"
URL = request("one", b"{}", {}).uri


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def token(claims: object = None, *, head: object = None, secret: str = SECRET, **changes: object) -> str:
    """A token as a library makes it, written from RFC 7515 and not from our code."""
    made = {"aud": URL, "exp": AT + 300, "iat": AT, **changes} if claims is None else claims
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'} if head is None else head)}.{part(made)}"
    return f"{text}.{part(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


def check(value: str | None, scheme: Jwt | None = None, *secrets: str) -> str:
    """Why it is refused; empty if it is accepted."""
    headers = {} if value is None else {"authorization": value}
    keys = [secret.encode() for secret in secrets or (SECRET,)]
    found = (scheme or Jwt()).verify(keys, request("one", b"{}", headers), now=AT)
    return found.why if isinstance(found, UnverifiedRequest) else ""


def test_the_example_of_rfc_7515_is_accepted() -> None:
    """Appendix A.1."""
    key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    example = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    sent = request("one", b"{}", {"authorization": example})
    scheme, secret = Jwt(key="base64", audience=""), key.translate(str.maketrans("-_", "+/")).encode()
    assert scheme.verify([secret], sent, now=1300819379) == VerifiedRequest(None)
    assert isinstance(scheme.verify([secret], sent, now=1300819380 + 60), UnverifiedRequest)


def test_a_token_for_this_url_is_accepted() -> None:
    assert check(token()) == ""
    assert check(token(), None, "new", SECRET) == ""
    assert check(token(aud=["https://elsewhere", URL])) == ""
    assert check(f"bearer {token()}", Jwt(prefix="Bearer ")) == ""


def test_another_secret_or_none_accepts_nothing() -> None:
    assert "not signed" in check(token(secret="another"))
    assert "not signed" in check(token(), None, "")
    assert isinstance(Jwt().verify([], request("one", b"{}", {"authorization": token()}), now=AT), UnverifiedRequest)
    assert "not signed" in check(token(secret="\x00" * 3), Jwt(key="base64"), "no base64!")


@pytest.mark.parametrize(
    "head", [{"alg": "none"}, {"alg": "HS512"}, {"alg": "RS256"}, {}, [], {"alg": ["HS256"]}, b"junk"]
)
def test_only_tokens_signed_with_hs256_are_accepted(head: object) -> None:
    assert "not of the kind HS256" in check(token(head=head))


def test_a_token_with_critical_extensions_is_refused() -> None:
    """RFC 7515, 4.1.11."""
    assert "not of the kind HS256" in check(token(head={"alg": "HS256", "crit": ["exp"]}))


def test_a_token_without_a_signature_is_refused() -> None:
    head, claims, _ = token(head={"alg": "none"}).split(".")
    for value in (f"{head}.{claims}.", f"{head}.{claims}", f"{head}.{claims}.x.y"):
        assert check(value)


@pytest.mark.parametrize("part_of", [0, 1, 2])
def test_an_altered_token_is_refused(part_of: int) -> None:
    parts = token().split(".")
    parts[part_of] = parts[part_of][:-2] + ("AA" if parts[part_of][-2:] != "AA" else "BB")
    assert "not signed" in check(".".join(parts))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": AT - 61}, "expired"),
        ({"exp": None}, "no readable exp"),
        ({"exp": str(AT + 300)}, "no readable exp"),
        ({"exp": True}, "no readable exp"),
        ({"exp": 10**30}, "no readable exp"),
        ({"exp": -1}, "no readable exp"),
        ({"iat": AT + 61}, "not valid yet"),
        ({"nbf": AT + 61}, "not valid yet"),
        ({"nbf": "soon"}, "nbf cannot be read"),
        ({"aud": "https://elsewhere.example"}, "another URL"),
        ({"aud": None}, "another URL"),
        ({"aud": [1, {}]}, "another URL"),
    ],
)
def test_a_token_that_is_not_valid_here_and_now_is_refused(changes: dict[str, object], why: str) -> None:
    claims = {"aud": URL, "exp": AT + 300, "iat": AT, **changes}
    assert why in check(token(claims))


@pytest.mark.parametrize("changes", [{"exp": AT - 59}, {"iat": AT + 59}, {"nbf": AT + 59}, {"iat": None}])
def test_clocks_may_differ_by_a_minute(changes: dict[str, object]) -> None:
    claims: dict[str, object] = {
        "aud": URL,
        "exp": AT + 300,
        **{name: value for name, value in changes.items() if value is not None},
    }
    assert check(token(claims)) == ""


@pytest.mark.parametrize("claims", [[], "text", 1, b"\xff", b"[" * 5000])
def test_claims_that_are_no_object_are_refused(claims: object) -> None:
    assert "no readable exp" in check(token(claims))


def test_the_audience_can_be_configured_or_left_out() -> None:
    own = "https://hooks.example.com/webhooks/one"
    assert check(token(aud=own), Jwt(audience=own)) == ""
    assert "another URL" in check(token(), Jwt(audience=own))
    assert check(token({"exp": AT + 1}), Jwt(audience="")) == ""
    sent = replace(request("one", b"{}", {"authorization": token()}), uri=f"{URL}?a=1")
    assert Jwt().verify([SECRET.encode()], sent, now=AT) == VerifiedRequest(None)


def test_a_signed_request_is_accepted_until_it_expires() -> None:
    for scheme in (Jwt(), Jwt(prefix="Bearer ", header="x-token"), Jwt(audience=""), Jwt(audience="me")):
        secret = scheme.new_secret(b"random")
        sent = scheme.sign(secret, request("one", b"{}", {}), delivery_id="", timestamp=int(AT))
        assert scheme.carries_proof(sent)
        assert scheme.verify([secret.encode()], sent, now=AT) == VerifiedRequest(None)
        assert isinstance(scheme.verify([secret.encode()], sent, now=AT + 360), UnverifiedRequest)
    assert not Jwt().carries_proof(request("one", b"{}", {}))
    with pytest.raises(ValueError, match="empty"):
        Jwt().sign("", request("one", b"", {}), delivery_id="", timestamp=0)


def test_a_jwt_source_never_has_irreversible_rights() -> None:
    assert "proves nothing about the payload" in Jwt().why_not_irreversible


@given(st.text(max_size=300), st.sampled_from(["", "Bearer "]))
def test_invalid_input_is_refused_and_never_raises(value: str, prefix: str) -> None:
    assert check(value, Jwt(prefix=prefix))


@given(st.lists(st.binary(max_size=60).map(part), min_size=3, max_size=3))
def test_malformed_token_parts_are_refused(parts: list[str]) -> None:
    assert check(".".join(parts))
