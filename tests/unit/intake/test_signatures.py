"""Who sent this? With the standardwebhooks package as the other side."""

import base64
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from lifecycle.intake import signatures
from lifecycle.intake.schemes import UnverifiedRequest, VerifiedRequest
from lifecycle.intake.schemes.hmac import Hmac
from lifecycle.intake.schemes.standard_webhooks import StandardWebhooks
from tests.harness.builders import NOW, SHARED, WHSEC, hmac_headers, request, standard_headers

AT = NOW.timestamp()
RAW = '{"reason": "Kündigung"}'.encode()
TOLERANCE_SECONDS = 300
OTHER = "whsec_" + base64.b64encode(b"another secret of that kind").decode()


def standard(
    headers: dict[str, str], raw: bytes = RAW, *, secrets: tuple[str, ...] = (WHSEC,), now: float = AT
) -> VerifiedRequest | UnverifiedRequest:
    return StandardWebhooks().verify([s.encode() for s in secrets], request("operator", raw, headers), now=now)


def plain(
    headers: dict[str, str], raw: bytes = RAW, *, secrets: tuple[str, ...] = (SHARED,), now: float = AT
) -> VerifiedRequest | UnverifiedRequest:
    return Hmac().verify([s.encode() for s in secrets], request("crm", raw, headers), now=now)


def test_the_published_example_is_accepted() -> None:
    # The example of the Standard Webhooks libraries' own tests.
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    accepted = standard(headers, b'{"test": 2432232314}', secrets=(secret,), now=1614265330)
    assert accepted == VerifiedRequest("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")
    assert isinstance(standard(headers, b'{"test": 2432232315}', secrets=(secret,), now=1614265330), UnverifiedRequest)


def test_a_signature_of_the_standardwebhooks_package_is_accepted() -> None:
    signature = Webhook(WHSEC).sign("msg_1", NOW, RAW.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(AT)), "webhook-signature": signature}
    assert standard(headers) == VerifiedRequest("msg_1", str(int(AT)))


def test_the_standardwebhooks_package_accepts_our_signature() -> None:
    now = datetime.now(UTC).timestamp()  # the package has no other clock
    headers = standard_headers(RAW, at=now)
    assert standard(headers, now=now) == VerifiedRequest("delivery-1", str(int(now)))
    Webhook(WHSEC).verify(RAW, headers)


def test_a_secret_without_prefix_or_padding_works() -> None:
    bare = WHSEC.removeprefix("whsec_")
    unpadded = "whsec_" + base64.b64encode(b"sixteen bytes ..").decode().rstrip("=")
    assert standard(standard_headers(RAW), secrets=(bare,)) == VerifiedRequest("delivery-1", str(int(AT)))
    assert standard(standard_headers(RAW, secret=unpadded + "=="), secrets=(unpadded,)) == VerifiedRequest(
        "delivery-1", str(int(AT))
    )


@pytest.mark.parametrize("secrets", [(OTHER, WHSEC), (WHSEC, OTHER)])
def test_both_secrets_work_during_a_rotation(secrets: tuple[str, str]) -> None:
    assert isinstance(standard(standard_headers(RAW, secret=WHSEC), secrets=secrets), VerifiedRequest)
    assert isinstance(standard(standard_headers(RAW, secret=OTHER), secrets=secrets), VerifiedRequest)


def test_a_sender_may_offer_several_signatures() -> None:
    mine, theirs = standard_headers(RAW), standard_headers(RAW, secret=OTHER)
    both = f"v1a,xyz {theirs['webhook-signature']} v2,{'A' * 44} {mine['webhook-signature']}"
    assert isinstance(standard({**mine, "webhook-signature": both}), VerifiedRequest)


def test_no_more_than_sixteen_signatures_are_tried() -> None:
    headers = standard_headers(RAW)
    junk = "v1,AAAA " * 16
    assert isinstance(
        standard({**headers, "webhook-signature": junk + headers["webhook-signature"]}), UnverifiedRequest
    )


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_request_without_one_of_the_headers_is_refused(name: str) -> None:
    headers = standard_headers(RAW)
    assert isinstance(standard({**headers, name: ""}), UnverifiedRequest)
    del headers[name]
    assert isinstance(standard(headers), UnverifiedRequest)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "delivery-2"),
        ("webhook-timestamp", str(int(AT) + 1)),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v2," + standard_headers(RAW)["webhook-signature"].removeprefix("v1,")),
        ("webhook-signature", standard_headers(RAW)["webhook-signature"].removeprefix("v1,")),
        ("webhook-signature", "v1,not base64!"),
    ],
)
def test_a_changed_header_is_refused(name: str, value: str) -> None:
    assert isinstance(standard({**standard_headers(RAW), name: value}), UnverifiedRequest)


@pytest.mark.parametrize("raw", [b"", RAW + b" ", RAW[:-1], RAW.replace(b" ", b"")])
def test_the_signature_covers_the_raw_body(raw: bytes) -> None:
    assert isinstance(standard(standard_headers(RAW), raw), UnverifiedRequest)
    assert isinstance(plain(hmac_headers(RAW), raw), UnverifiedRequest)


@pytest.mark.parametrize("off", [-TOLERANCE_SECONDS, 0, TOLERANCE_SECONDS])
def test_a_timestamp_at_the_edge_of_the_replay_window_is_accepted(off: int) -> None:
    assert isinstance(standard(standard_headers(RAW, at=AT + off)), VerifiedRequest)
    assert isinstance(plain(hmac_headers(RAW, at=AT + off)), VerifiedRequest)


@pytest.mark.parametrize("off", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1])
def test_a_timestamp_outside_the_replay_window_is_refused(off: int) -> None:
    outside = UnverifiedRequest("the timestamp is outside the replay window of 300 s")
    assert standard(standard_headers(RAW, at=AT + off)) == outside
    assert plain(hmac_headers(RAW, at=AT + off)) == outside


@pytest.mark.parametrize("timestamp", ["", "now", "1e9", "-1", "1.5", " 1", "\uff11", "9" * 17, "nan", "0x10"])
def test_a_timestamp_that_is_not_whole_seconds_is_refused(timestamp: str) -> None:
    unreadable = UnverifiedRequest("the timestamp is missing or not a whole number (s)")
    assert standard({**standard_headers(RAW), "webhook-timestamp": timestamp}) == unreadable
    assert plain({**hmac_headers(RAW), "x-timestamp": timestamp}) == unreadable


def test_a_request_without_the_signatures_header_is_refused_with_the_headers_name() -> None:
    missing = UnverifiedRequest("x-signature is missing or does not begin with sha256=")
    assert plain({}) == missing
    assert plain({"x-timestamp": hmac_headers(RAW)["x-timestamp"]}) == missing


@pytest.mark.parametrize("secrets", [(), ("",), ("whsec_",), ("whsec_!!!",), ("whsec_é",)])
def test_no_request_is_accepted_without_a_usable_secret(secrets: tuple[str, ...]) -> None:
    empty = base64.b64encode(hmac.digest(b"", f"delivery-1.{int(AT)}.".encode() + RAW, "sha256")).decode()
    headers = {**standard_headers(RAW), "webhook-signature": f"v1,{empty} v1, v1,{'A' * 43}="}
    assert isinstance(standard(headers, secrets=secrets), UnverifiedRequest)


@pytest.mark.parametrize("secrets", [(), ("",), ("", "")])
def test_an_empty_shared_secret_accepts_no_request(secrets: tuple[str, ...]) -> None:
    assert isinstance(plain(hmac_headers(RAW, secret=""), secrets=secrets), UnverifiedRequest)


def test_plain_hmac_is_accepted_and_names_no_delivery() -> None:
    assert plain(hmac_headers(RAW)) == VerifiedRequest(None, str(int(AT)))
    assert plain(hmac_headers(RAW), secrets=("new", SHARED)) == VerifiedRequest(None, str(int(AT)))
    upper = hmac_headers(RAW)
    assert plain({**upper, "x-signature": "sha256=" + upper["x-signature"][7:].upper()}) == VerifiedRequest(
        None, str(int(AT))
    )


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        "sha256",
        "sha256=zz",
        "sha256=\u0661",
        "sha1=" + hmac_headers(RAW)["x-signature"][7:],
        hmac_headers(RAW)["x-signature"][7:],
        hmac_headers(RAW)["x-signature"][:-2],
        hmac_headers(RAW, secret="guess")["x-signature"],
    ],
)
def test_a_wrong_plain_signature_is_refused(signature: str) -> None:
    assert isinstance(plain({**hmac_headers(RAW), "x-signature": signature}), UnverifiedRequest)


def test_the_plain_timestamp_is_signed() -> None:
    assert isinstance(plain({**hmac_headers(RAW), "x-timestamp": str(int(AT) + 1)}), UnverifiedRequest)


def test_a_signature_of_one_scheme_is_refused_by_the_other() -> None:
    assert isinstance(standard(hmac_headers(RAW)), UnverifiedRequest)
    assert isinstance(plain(standard_headers(RAW)), UnverifiedRequest)


@pytest.mark.parametrize("check", [standard, plain])
def test_every_secret_is_compared_in_constant_time(
    check: Callable[..., VerifiedRequest | UnverifiedRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def spy(expected: bytes, offered: bytes) -> bool:
        compared.append(expected)
        return hmac.compare_digest(expected, offered)

    class Spied:
        compare_digest = staticmethod(spy)

    monkeypatch.setattr(signatures, "hmac", Spied)
    headers = {**standard_headers(RAW), **hmac_headers(RAW, secret=WHSEC)}
    assert isinstance(check(headers, secrets=(WHSEC, OTHER)), VerifiedRequest)
    assert len(set(compared)) == 2, "the second secret is tried although the first one matched"


def test_a_refusal_never_quotes_the_request() -> None:
    headers = {"webhook-id": "PRIVATE", "webhook-timestamp": str(int(AT)), "webhook-signature": "v1,PRIVATE"}
    refused = standard(headers, b"PRIVATE")
    assert isinstance(refused, UnverifiedRequest)
    assert "PRIVATE" not in refused.why


def test_a_signature_does_not_match_a_delivery_with_moved_dots() -> None:
    """What is signed is `id.timestamp.body`: an id with a dot would let a stranger cut it elsewhere."""
    early = AT - 1
    moved = f"{int(AT)}.".encode() + RAW
    honest = standard_headers(moved, delivery_id="msg", at=early)
    assert standard(honest, moved) == VerifiedRequest("msg", str(int(early)))
    forged = {**honest, "webhook-id": f"msg.{int(early)}", "webhook-timestamp": str(int(AT))}
    assert standard(forged, RAW) == UnverifiedRequest("webhook-id contains a dot")
