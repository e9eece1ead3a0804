"""Secrets over memory and over Secrets Manager: found, missing, cached, fetched afresh."""

import boto3
import pytest

from lifecycle.adapters.secrets import ManagedSecrets, MemorySecrets, Secrets
from lifecycle.words.errors import Code, Retryable

NAME = "stack/tokens/one"


@pytest.fixture(params=["memory", "secretsmanager"])
def secrets(request: pytest.FixtureRequest) -> Secrets:
    if request.param == "memory":
        return MemorySecrets({NAME: "the first"})
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


def test_a_replaced_secret_is_seen_when_fetched_afresh_and_stays_seen(aws: boto3.Session) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name=NAME, SecretString="the first")
    secrets = ManagedSecrets(client)
    assert secrets.get(NAME) == "the first"
    client.put_secret_value(SecretId=NAME, SecretString="the second")
    assert secrets.get(NAME) == "the first"
    assert secrets.get(NAME, fresh=True) == "the second"
    assert secrets.get(NAME) == "the second"


@pytest.mark.parametrize("content", ["  ", b"\x00\x01"], ids=["blank", "binary"])
def test_a_secret_without_text_is_a_mistake_of_configuration(aws: boto3.Session, content: str | bytes) -> None:
    client = aws.client("secretsmanager")
    if isinstance(content, str):
        client.create_secret(Name=NAME, SecretString=content)
    else:
        client.create_secret(Name=NAME, SecretBinary=content)
    with pytest.raises(Retryable, match="empty or binary") as trouble:
        ManagedSecrets(client).get(NAME)
    assert trouble.value.code is Code.CONFIGURATION


def test_a_refused_read_is_tried_again_later_and_quotes_nothing(aws: boto3.Session) -> None:
    client = aws.client("secretsmanager")
    client.create_secret(Name=NAME, SecretString="the first")
    client.delete_secret(SecretId=NAME)  # scheduled for deletion: a read is refused, the name still known
    with pytest.raises(Retryable) as trouble:
        ManagedSecrets(client).get(NAME)
    assert (trouble.value.code, NAME in trouble.value.reason) == (Code.UNAVAILABLE, True)
