"""HTTP Basic authentication."""

import base64

import pytest

from lifecycle.intake.schemes import UnverifiedRequest, VerifiedRequest
from lifecycle.intake.schemes.basic import Basic
from tests.harness.builders import NOW, request

AT = NOW.timestamp()
SECRET = "lifecycle:p:ss wörd"


def check(value: str | None, *secrets: str) -> VerifiedRequest | UnverifiedRequest:
    headers = {} if value is None else {"authorization": value}
    return Basic().verify([s.encode() for s in secrets or (SECRET,)], request("one", b"{}", headers), now=AT)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_user_and_password_are_compared_as_a_whole() -> None:
    assert check(f"Basic {encoded(SECRET)}") == check(f"basic  {encoded(SECRET)}") == VerifiedRequest(None)
    for wrong in ("lifecycle:", "lifecycle:x", SECRET + "x", SECRET[:-1]):
        assert isinstance(check(f"Basic {encoded(wrong)}"), UnverifiedRequest)


@pytest.mark.parametrize("value", [None, "", "Basic", "Basic ", "Basic !!", "Basic \ud800", "Bearer x", "Basic ٣"])
def test_invalid_input_is_refused(value: str | None) -> None:
    assert isinstance(check(value), UnverifiedRequest)


def test_a_stored_secret_without_a_colon_accepts_no_request() -> None:
    assert isinstance(check(f"Basic {encoded('password')}", "password"), UnverifiedRequest)
    with pytest.raises(ValueError, match="not user:password"):
        Basic().sign("password", request("one", b"", {}), delivery_id="", timestamp=0)


def test_a_signed_request_is_accepted() -> None:
    made = Basic().sign(SECRET, request("one", b"", {}), delivery_id="", timestamp=0)
    assert Basic().verify([b"a:b", SECRET.encode()], made, now=AT) == VerifiedRequest(None)


def test_a_new_secret_works() -> None:
    assert Basic().new_secret(b"\x01\x02") == "lifecycle:0102"
