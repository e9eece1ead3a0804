import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from cli.signing import sign
from lifecycle.judgement.signatures import TOLERANCE_SECONDS, Accepted, Refused, Scheme, verify
from tests.builders import NOW, SHARED, WHSEC, hmac_headers, standard_headers

BODY = b'{"name": "\xc3\xa9"}'
AT = int(NOW.timestamp())


def test_standard_webhooks_are_signed_as_the_specification_says() -> None:
    headers = sign(Scheme.STANDARD_WEBHOOKS, WHSEC, BODY, delivery_id="msg_1", timestamp=AT)
    assert headers == standard_headers(BODY, delivery_id="msg_1")


def test_the_reference_package_accepts_them() -> None:
    now = int(datetime.now(UTC).timestamp())  # The package asks the machine's clock.
    headers = sign(Scheme.STANDARD_WEBHOOKS, WHSEC, BODY, delivery_id="msg_1", timestamp=now)
    assert Webhook(WHSEC).verify(BODY, headers) == json.loads(BODY)


def test_plain_hmac_is_signed_over_timestamp_and_body() -> None:
    assert sign(Scheme.HMAC, SHARED, BODY, delivery_id="ignored", timestamp=AT) == hmac_headers(BODY)


@pytest.mark.parametrize(("scheme", "secret"), [(Scheme.STANDARD_WEBHOOKS, WHSEC), (Scheme.HMAC, SHARED)])
def test_what_is_signed_is_accepted_for_five_minutes(scheme: Scheme, secret: str) -> None:
    headers = sign(scheme, secret, BODY, delivery_id="msg_1", timestamp=AT)
    keys = [secret.encode()]
    assert isinstance(verify(scheme, keys, headers, BODY, now=AT + TOLERANCE_SECONDS), Accepted)
    assert isinstance(verify(scheme, keys, headers, BODY, now=AT + TOLERANCE_SECONDS + 1), Refused)
    assert isinstance(verify(scheme, keys, headers, BODY + b" ", now=AT), Refused)


def test_a_secret_without_prefix_or_padding_is_taken() -> None:
    bare = base64.b64encode(b"twenty-six bytes of secret").decode().rstrip("=")
    headers = sign(Scheme.STANDARD_WEBHOOKS, bare, BODY, delivery_id="msg_1", timestamp=AT)
    accepted = verify(Scheme.STANDARD_WEBHOOKS, [bare.encode()], headers, BODY, now=AT)
    assert isinstance(accepted, Accepted)


@pytest.mark.parametrize("secret", ["", "  ", "whsec_", "whsec_not base64!", "whsec_é"])
def test_a_useless_secret_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match=r"the secret is") as refused:
        sign(Scheme.STANDARD_WEBHOOKS, secret, BODY, delivery_id="msg_1", timestamp=AT)
    assert "not base64!" not in str(refused.value)


def test_plain_hmac_needs_a_secret_too() -> None:
    with pytest.raises(ValueError, match="empty"):
        sign(Scheme.HMAC, " ", BODY, delivery_id="", timestamp=AT)
