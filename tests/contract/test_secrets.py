"""Secrets in memory and in Secrets Manager: found, missing, cached and read again."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from lifecycle.aws.secrets import ManagedSecrets, MemorySecrets, Secrets, Unusable
from lifecycle.domain.errors import Code, Retryable, TokenRefused
from lifecycle.tallyfy.client import Tokens
from tests.harness.builders import NOW

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

NAME = "stack/tokens/one"


def _it_is(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set only the clock of moto's Secrets Manager."""
    monkeypatch.setattr("moto.secretsmanager.models.time", SimpleNamespace(time=now.timestamp))


@pytest.fixture(params=["memory", "secretsmanager"])
def secrets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    if request.param == "memory":
        return MemorySecrets({NAME: "the first"}, stored={NAME: NOW})
    _it_is(NOW, monkeypatch)
    client = request.getfixturevalue("aws").client("secretsmanager")
    client.create_secret(Name=NAME, SecretString="the first")
    return ManagedSecrets(client)


def test_a_secret_is_found_by_its_name(secrets: Secrets) -> None:
    assert secrets.get(NAME) == "the first"
    assert secrets.get(NAME, fresh=True) == "the first"


def test_a_missing_secret_says_what_to_do(secrets: Secrets) -> None:
    with pytest.raises(Retryable, match=r"Secret 'stack/tokens/two' does not exist\. Create it") as trouble:
        secrets.get("stack/tokens/two")
    assert trouble.value.code is Code.CONFIGURATION


def test_the_time_at_which_a_secret_was_stored_is_known(secrets: Secrets) -> None:
    stored = secrets.stored_at(NAME)
    assert stored == NOW
    assert stored.tzinfo is UTC


def test_the_time_of_a_missing_secret_is_unknown(secrets: Secrets) -> None:
    with pytest.raises(Retryable, match=r"Secret 'stack/tokens/two' does not exist\. Create it") as trouble:
        secrets.stored_at("stack/tokens/two")
    assert trouble.value.code is Code.CONFIGURATION


def test_a_new_version_is_read_at_once_by_the_process_that_stored_it(secrets: Secrets) -> None:
    secrets.put(NAME, "the second")
    assert secrets.get(NAME) == secrets.get(NAME, fresh=True) == "the second"


def test_a_secret_is_created_only_on_request(secrets: Secrets) -> None:
    with pytest.raises(Retryable, match="does not exist"):
        secrets.put("stack/tokens/two", "text")
    secrets.put("stack/tokens/two", "text", create=True)
    assert secrets.get("stack/tokens/two") == "text"


def test_a_secret_that_was_removed_is_gone_and_can_be_made_again(secrets: Secrets) -> None:
    secrets.remove(NAME)
    with pytest.raises(Retryable, match="does not exist"):
        secrets.get(NAME)
    secrets.remove(NAME)
    secrets.put(NAME, "the second", create=True)
    assert secrets.get(NAME) == "the second"


class Ticks:
    """A clock in seconds that only a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _asked(client: "SecretsManagerClient") -> list[str]:
    """The names of the secrets that are read from now on."""
    names: list[str] = []
    client.meta.events.register(
        "provide-client-params.secrets-manager.GetSecretValue", lambda params, **_: names.append(params["SecretId"])
    )
    return names


def _missing(secrets: Secrets, name: str, *, fresh: bool = False) -> None:
    with pytest.raises(Retryable, match="does not exist") as trouble:
        secrets.get(name, fresh=fresh)
    assert trouble.value.code is Code.CONFIGURATION


def test_a_missing_secret_is_looked_up_once_a_minute(aws: boto3.Session) -> None:
    client, ticks = aws.client("secretsmanager"), Ticks()
    asked, secrets = _asked(client), ManagedSecrets(client, ticks)
    for _ in range(100):
        _missing(secrets, NAME)
        ticks.now += 0.59
    assert asked == [NAME]
    _missing(secrets, "stack/sources/two")  # each name has its own minute
    assert asked == [NAME, "stack/sources/two"]
    ticks.now += 1.1
    _missing(secrets, NAME)
    assert asked == [NAME, "stack/sources/two", NAME]
    _missing(secrets, NAME, fresh=True)
    assert len(asked) == 4


def test_a_missing_secret_that_was_created_is_found_within_a_minute(aws: boto3.Session) -> None:
    client, ticks = aws.client("secretsmanager"), Ticks()
    secrets = ManagedSecrets(client, ticks)
    _missing(secrets, NAME)
    client.create_secret(Name=NAME, SecretString="the first")
    ticks.now += 60
    assert secrets.get(NAME) == "the first"


def test_an_outage_is_not_remembered_as_a_missing_secret(aws: boto3.Session) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name=NAME, SecretString="the first")
    client.delete_secret(SecretId=NAME)
    secrets = ManagedSecrets(client, Ticks())
    with pytest.raises(Retryable) as trouble:
        secrets.get(NAME)
    assert trouble.value.code is Code.UNAVAILABLE
    client.restore_secret(SecretId=NAME)
    assert secrets.get(NAME) == "the first"


def test_a_fresh_read_finds_a_replaced_secret_and_caches_it(aws: boto3.Session) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name=NAME, SecretString="the first")
    secrets = ManagedSecrets(client)
    assert secrets.get(NAME) == "the first"
    client.put_secret_value(SecretId=NAME, SecretString="the second")
    assert secrets.get(NAME) == "the first"
    assert secrets.get(NAME, fresh=True) == "the second"
    assert secrets.get(NAME) == "the second"


@pytest.mark.parametrize("content", ["  ", b"\x00\x01"], ids=["blank", "binary"])
def test_a_secret_without_text_is_a_configuration_error(aws: boto3.Session, content: str | bytes) -> None:
    client = aws.client("secretsmanager")
    if isinstance(content, str):
        client.create_secret(Name=NAME, SecretString=content)
    else:
        client.create_secret(Name=NAME, SecretBinary=content)
    with pytest.raises(Retryable, match="empty or binary") as trouble:
        ManagedSecrets(client).get(NAME)
    assert trouble.value.code is Code.CONFIGURATION


def test_a_refused_read_can_be_retried_and_quotes_nothing(aws: boto3.Session) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name=NAME, SecretString="the first")
    client.delete_secret(SecretId=NAME)  # scheduled for deletion: a read is refused, the name still known
    with pytest.raises(Retryable) as trouble:
        ManagedSecrets(client).get(NAME)
    assert (trouble.value.code, NAME in trouble.value.reason) == (Code.UNAVAILABLE, True)


def test_the_age_of_a_replaced_secret_is_that_of_its_newest_version(
    aws: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = aws.client("secretsmanager")
    asked, secrets = _asked(client), ManagedSecrets(client)
    _it_is(NOW, monkeypatch)
    client.create_secret(Name=NAME, SecretString="the first")
    assert (secrets.get(NAME), secrets.stored_at(NAME)) == ("the first", NOW)
    later = NOW + timedelta(days=180)
    _it_is(later, monkeypatch)
    client.put_secret_value(SecretId=NAME, SecretString="the second")
    assert secrets.stored_at(NAME) == later  # asked again, while the text is still the cached one
    assert secrets.get(NAME) == "the first"
    assert asked == [NAME] * 3


def test_the_time_of_a_secret_needs_no_permission_beyond_reading_it(aws: boto3.Session) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name=NAME, SecretString="the first")
    calls: list[str] = []
    client.meta.events.register("before-call.secrets-manager", lambda model, **_: calls.append(model.name))
    ManagedSecrets(client).stored_at(NAME)
    assert calls == ["GetSecretValue"]


def test_a_refused_read_of_the_time_can_be_retried(aws: boto3.Session) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name=NAME, SecretString="the first")
    client.delete_secret(SecretId=NAME)
    with pytest.raises(Retryable) as trouble:
        ManagedSecrets(client).stored_at(NAME)
    assert (trouble.value.code, NAME in trouble.value.reason) == (Code.UNAVAILABLE, True)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("InvalidRequestException", "is marked for deletion"),
        ("AccessDeniedException", "may not be read"),
        ("DecryptionFailure", "cannot be decrypted"),
    ],
)
def test_a_secret_that_needs_a_person_waits_like_a_missing_one_and_is_no_outage(
    aws: boto3.Session, monkeypatch: pytest.MonkeyPatch, said: str, reason: str
) -> None:
    client = aws.client("secretsmanager")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": said, "Message": "private"}}, "GetSecretValue")

    monkeypatch.setattr(client, "get_secret_value", refuse)
    secrets = ManagedSecrets(client, Ticks())
    for read in (secrets.get, secrets.stored_at):
        with pytest.raises(Unusable, match=reason) as trouble:
            read(NAME)
        assert (trouble.value.counted, trouble.value.outage) == (False, False)
        assert "private" not in trouble.value.reason
    with pytest.raises(TokenRefused, match=reason):
        Tokens(secrets, "stack", frozenset({"one"})).of("one")


@pytest.mark.parametrize(("said", "fails"), [("ResourceNotFoundException", False), ("AccessDeniedException", True)])
def test_only_a_missing_secret_counts_as_removed(
    aws: boto3.Session, monkeypatch: pytest.MonkeyPatch, said: str, *, fails: bool
) -> None:
    client = aws.client("secretsmanager")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": said, "Message": "private"}}, "DeleteSecret")

    monkeypatch.setattr(client, "delete_secret", refuse)
    secrets = ManagedSecrets(client, Ticks())
    if fails:
        with pytest.raises(Retryable, match=f"AWS refused to delete secret '{NAME}': {said}"):
            secrets.remove(NAME)
    else:
        secrets.remove(NAME)
