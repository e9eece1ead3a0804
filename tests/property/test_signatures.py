"""The signature check answers any request."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.intake.schemes import UnverifiedRequest, VerifiedRequest
from lifecycle.intake.schemes.hmac import Hmac
from lifecycle.intake.schemes.standard_webhooks import StandardWebhooks
from tests.harness.builders import NOW, SHARED, WHSEC, hmac_headers, request, standard_headers

AT = NOW.timestamp()
PLAIN = Hmac()
STANDARD = StandardWebhooks()

any_text = st.text(st.characters(codec=None), max_size=60)
near_timestamps = st.integers(-301, 301).map(lambda off: str(int(AT) + off))
signatures = st.one_of(
    any_text,
    st.lists(st.one_of(any_text, any_text.map("v1,{}".format), st.just("v1,"), st.just(",")), max_size=30).map(
        " ".join
    ),
    any_text.map("sha256={}".format),
    st.binary(max_size=40).map(lambda raw: f"sha256={raw.hex()}"),
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "webhook-id": any_text,
        "webhook-timestamp": st.one_of(any_text, near_timestamps),
        "webhook-signature": signatures,
        "x-timestamp": st.one_of(any_text, near_timestamps),
        "x-signature": signatures,
    },
)
secrets = st.lists(st.one_of(st.binary(max_size=40), st.just(b"whsec_"), st.just(WHSEC.encode())), max_size=3)


@settings(max_examples=2000, deadline=None)
@given(secrets, headers, st.binary(max_size=200))
def test_junk_of_all_kinds_is_refused_and_never_raises(
    secrets: list[bytes], headers: dict[str, str], raw: bytes
) -> None:
    assert isinstance(STANDARD.verify(secrets, request("operator", raw, headers), now=AT), UnverifiedRequest)
    assert isinstance(PLAIN.verify(secrets, request("crm", raw, headers), now=AT), UnverifiedRequest)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200), st.text(min_size=1, max_size=50).filter(lambda name: "." not in name), st.floats(-300, 299)
)
def test_anything_signed_with_the_secret_is_accepted(raw: bytes, delivery_id: str, off: float) -> None:
    signed = request("operator", raw, standard_headers(raw, delivery_id=delivery_id, at=AT + off))
    assert STANDARD.verify([WHSEC.encode()], signed, now=AT) == VerifiedRequest(
        delivery_id, signed.headers["webhook-timestamp"]
    )
    plain = request("crm", raw, hmac_headers(raw, at=AT + off))
    assert PLAIN.verify([SHARED.encode()], plain, now=AT) == VerifiedRequest(None, plain.headers["x-timestamp"])


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_flipped_bit_of_the_body_is_refused(raw: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(raw) * 8 - 1))
    changed = bytearray(raw)
    changed[place // 8] ^= 1 << place % 8
    signed = request("operator", bytes(changed), standard_headers(raw))
    assert isinstance(STANDARD.verify([WHSEC.encode()], signed, now=AT), UnverifiedRequest)
    plain = request("crm", bytes(changed), hmac_headers(raw))
    assert isinstance(PLAIN.verify([SHARED.encode()], plain, now=AT), UnverifiedRequest)
