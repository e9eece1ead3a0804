"""Which certificates are trusted, and that there is one client of each service."""

import ssl
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import certifi
import pytest
from botocore.session import Session

from lifecycle.aws import clients

PUBLISHED = {
    "Amazon Root CA 1": "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
    "Amazon Root CA 2": "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
    "Amazon Root CA 3": "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
    "Amazon Root CA 4": "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
    "Starfield Services Root Certificate Authority - G2": (
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5"
    ),
}
"""The SHA-256 fingerprints as Amazon Trust Services publishes them (https://www.amazontrust.com/repository/)."""


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    clients.client.cache_clear()


def roots_in(path: str) -> dict[str, tuple[str, datetime]]:
    """The roots that OpenSSL takes from a bundle: their fingerprints, with their names and when they expire."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    raw = context.get_ca_certs(binary_form=True)
    known: list[Any] = context.get_ca_certs()
    return {sha256(der).hexdigest(): (name_of(one), expiry_of(one)) for der, one in zip(raw, known, strict=True)}


def name_of(certificate: dict[str, Any]) -> str:
    return str(dict(pair for part in certificate["subject"] for pair in part).get("commonName", ""))


def expiry_of(certificate: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def ours() -> dict[str, tuple[str, datetime]]:
    path = clients.trusted_roots()
    assert path is not None
    return roots_in(path)


def test_the_roots_for_aws_are_those_that_amazon_publishes() -> None:
    assert {name: fingerprint for fingerprint, (name, _) in ours().items()} == PUBLISHED


def test_certifi_has_the_same_amazon_roots() -> None:
    amazons = ("Amazon Root CA", "Starfield Services Root")
    shipped = {name: key for key, (name, _) in roots_in(certifi.where()).items() if name.startswith(amazons)}
    assert shipped == PUBLISHED


def test_no_root_expires_within_two_years() -> None:
    soonest = min(expires for _, expires in ours().values())
    assert soonest > datetime.now(UTC) + timedelta(days=730)


def test_an_operator_can_choose_another_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/ssl/company.pem")
    assert clients.trusted_roots() is None  # botocore reads the variable itself


@pytest.mark.parametrize("region", ["cn-north-1", "us-iso-east-1"])
def test_a_partition_with_other_authorities_is_verified_against_certifi(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    assert clients.trusted_roots() is None


def test_a_service_has_one_client_whose_calls_are_verified_against_these_roots() -> None:
    made = clients.client("sqs")
    assert clients.client("sqs") is made
    assert made._endpoint.http_session._verify == clients.trusted_roots()


def test_a_lazy_client_is_created_at_its_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    create = Session.create_client

    def counted(self: Session, service: str, **options: object) -> object:
        made.append(service)
        return create(self, service, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "create_client", counted)
    late = clients.late_client("scheduler")
    assert made == []
    assert late.meta.service_model.service_name == "scheduler"
    assert late.meta.region_name == "eu-west-1"
    assert made == ["scheduler"]


def test_a_client_neither_composes_its_name_at_each_call_nor_validates_what_types_already_check() -> None:
    made = clients.client("dynamodb")
    assert made._user_agent_creator.to_string() == clients.USER_AGENT
    assert type(made._serializer).__name__ == "JSONSerializer", "no ParamValidationDecorator around it"
