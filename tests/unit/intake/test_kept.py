import gzip
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.intake.kept import MOST_KEPT, KeptDelivery, Replay
from lifecycle.intake.payload import Untranslatable
from lifecycle.intake.service import REPLAY_PREFIX
from tests.harness.builders import NOW

NOISE = random.Random(1)


def kept(raw: bytes, headers: dict[str, str] | None = None) -> KeptDelivery:
    return KeptDelivery.of("hubspot", "delivery-1", NOW, raw, headers or {})


@given(st.binary(max_size=2000))
def test_any_bytes_come_back_as_they_were_sent(raw: bytes) -> None:
    read = KeptDelivery.model_validate_json(kept(raw).body())
    assert read.is_whole
    assert read.raw() == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'{"a": 1}',
        "\x00\u2028\ufeff🧾".encode(),
        b"\xff\xfe no text",
        "解".encode() * 80_000,
        b"\x00" * 250_000,
        b"x" * 256 * 1024,
        gzip.compress(b'{"a": 1}'),
        NOISE.randbytes(170_000),
    ],
    ids=len,
)
def test_a_payload_is_kept_whole_within_a_message(raw: bytes) -> None:
    body = kept(raw).body()
    assert len(body) <= MOST_KEPT
    assert body.isascii()
    assert KeptDelivery.model_validate_json(body).raw() == raw


def test_a_payload_that_does_not_fit_when_compressed_is_kept_in_part() -> None:
    found = kept(NOISE.randbytes(256 * 1024))
    assert not found.is_whole
    assert MOST_KEPT - 20 < len(found.body()) <= MOST_KEPT


def test_a_payload_in_gzip_is_shown_unpacked() -> None:
    assert kept(gzip.compress(b'{"a": 1}')).text() == '{"a": 1}'
    assert kept(b"\x1f\x8b junk").text().endswith(" junk")


@pytest.mark.parametrize("payload", ["no base64!", "aGk", "H4sIjunk"])
def test_a_packed_payload_that_cannot_be_read_is_refused(payload: str) -> None:
    broken = kept(b"").model_copy(update={"payload": payload, "encoding": "gzip"})
    with pytest.raises(Untranslatable):
        KeptDelivery.model_validate_json(broken.body()).raw()


@pytest.mark.parametrize(
    ("kept_headers", "name"),
    [
        *((1, name) for name in ("x-github-event", "x-shopify-topic", "x-gitlab-event", "content-type")),
        *((1, name) for name in ("x-webhook-topic", "webhook-event-type", "x-shopify-triggered-at")),
        *((0, name) for name in ("authorization", "cookie", "x-api-key", "x-gitlab-token", "stripe-signature")),
        *((0, name) for name in ("x-twilio-email-event-webhook-signature", "x-event-secret", "x-forwarded-for")),
        *((0, name) for name in ("x-airtable-content-mac", "x-shopify-hmac-sha256", "x-hub-signature-256")),
    ],
)
def test_only_headers_that_name_the_event_are_kept(kept_headers: int, name: str) -> None:
    assert len(kept(b"", {name: "text"}).headers) == kept_headers


@pytest.mark.parametrize("text", ["x" * 201, "a\x00b", "a\nb"])
def test_a_header_that_is_no_short_line_is_not_kept(text: str) -> None:
    assert kept(b"", {"x-github-event": text}).headers == {}


def test_only_a_limited_number_of_headers_is_kept() -> None:
    assert len(kept(b"", {f"x-event-{number}": "1" for number in range(500)}).headers) == 20


def test_a_replay_can_be_told_from_an_event_by_its_beginning() -> None:
    sent = Replay(replay="attempt-1", kept=kept(b"{}"))
    assert sent.body().startswith(REPLAY_PREFIX)
    assert Replay.model_validate_json(sent.body()) == sent


def test_the_time_of_a_kept_delivery_needs_a_zone() -> None:
    text = kept(b"").model_copy(update={"received_at": NOW.replace(tzinfo=None) + timedelta(0)}).body()
    with pytest.raises(ValueError, match="timezone"):
        KeptDelivery.model_validate_json(text)
