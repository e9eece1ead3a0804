import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from cli.clients.signing import chat_headers, sign
from cli.services.in_memory_intake import InMemoryIntake
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.intake.schemes.hmac import Hmac
from lifecycle.intake.schemes.shared_secret import SharedSecret
from lifecycle.intake.schemes.standard_webhooks import StandardWebhooks
from lifecycle.intake.sources import Source, Sources
from tests.harness.builders import (
    CONFIG,
    NOW,
    SHARED,
    WHSEC,
    hmac_headers,
    hub_headers,
    hubspot_headers,
    slack_headers,
    standard_headers,
)

STANDARD = Source(scheme=StandardWebhooks(), may=frozenset({"run.archive"}))
PLAIN = Source(scheme=Hmac(), may=frozenset({"run.archive"}))
SHIPPED = Sources.parse((CONFIG / "sources.toml").read_text()).sources
BODY = b'{"name": "\xc3\xa9"}'
AT = int(NOW.timestamp())


def test_standard_webhooks_signatures_match_the_specification() -> None:
    headers = sign(STANDARD, WHSEC, BODY, delivery_id="msg_1", timestamp=AT)
    assert headers == standard_headers(BODY, delivery_id="msg_1")


def test_the_reference_package_accepts_our_standard_webhooks_signatures() -> None:
    now = int(datetime.now(UTC).timestamp())  # The package asks the machine's clock.
    headers = sign(STANDARD, WHSEC, BODY, delivery_id="msg_1", timestamp=now)
    assert Webhook(WHSEC).verify(BODY, headers) == json.loads(BODY)


def test_plain_hmac_is_signed_over_timestamp_and_body() -> None:
    assert sign(PLAIN, SHARED, BODY, delivery_id="ignored", timestamp=AT) == hmac_headers(BODY)


def refused(source: Source, secret: str, headers: dict[str, str], body: bytes = BODY, *, later: int = 0) -> str:
    """Why the intake refuses it."""
    now = NOW + timedelta(seconds=later)
    sent = HttpRequest(
        route="", method="POST", uri="https://x", parameters={"source": "one"}, headers=headers, body=body
    )
    return InMemoryIntake("one", source, frozenset(), secrets=[secret], now=now).why_refused(sent)


@pytest.mark.parametrize(("source", "secret"), [(STANDARD, WHSEC), (PLAIN, SHARED)])
def test_a_signature_is_accepted_for_five_minutes(source: Source, secret: str) -> None:
    headers = sign(source, secret, BODY, delivery_id="msg_1", timestamp=AT)
    assert refused(source, secret, headers, later=300) == ""
    assert "outside the replay window" in refused(source, secret, headers, later=301)
    assert "match" in refused(source, secret, headers, BODY + b" ")


def test_a_secret_without_prefix_or_padding_is_accepted() -> None:
    bare = base64.b64encode(b"twenty-six bytes of secret").decode().rstrip("=")
    assert refused(STANDARD, bare, sign(STANDARD, bare, BODY, delivery_id="msg_1", timestamp=AT)) == ""


def test_hubspot_jira_github_and_slack_signatures_match_theirs() -> None:
    uri = "https://example.com/webhooks/hubspot"
    made = {
        name: sign(SHIPPED[name], SHARED, BODY, delivery_id="ignored", timestamp=AT, uri=uri)
        for name in ("hubspot", "jira", "github", "tallyfy")
    }
    assert made == {
        "hubspot": hubspot_headers(BODY, uri=uri),
        "jira": hub_headers(BODY, name="x-hub-signature"),
        "github": hub_headers(BODY),
        "tallyfy": {},
    }
    assert chat_headers("slack", SHARED, BODY, timestamp=AT) == slack_headers(BODY)


def test_a_shared_secret_may_be_a_header() -> None:
    source = Source(scheme=SharedSecret(header="x-key"), may=frozenset({"run.archive"}))
    headers = sign(source, SHARED, BODY, delivery_id="", timestamp=AT)
    assert headers == {"x-key": SHARED}
    assert refused(source, SHARED, headers) == ""
    assert "missing or wrong" in refused(source, SHARED, {})


def test_events_are_not_signed() -> None:
    with pytest.raises(ValueError, match="not signed"):
        sign(SHIPPED["projects"], SHARED, BODY, delivery_id="", timestamp=AT)


@pytest.mark.parametrize("secret", ["", "  ", "whsec_", "whsec_not base64!", "whsec_é"])
def test_an_unusable_secret_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match=r"the secret is") as refused:
        sign(STANDARD, secret, BODY, delivery_id="msg_1", timestamp=AT)
    assert "not base64!" not in str(refused.value)


def test_plain_hmac_needs_a_secret_too() -> None:
    with pytest.raises(ValueError, match="empty"):
        sign(PLAIN, " ", BODY, delivery_id="", timestamp=AT)
