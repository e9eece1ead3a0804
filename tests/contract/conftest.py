"""The same cases over memory and over AWS, which moto plays in this process."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import boto3
import pytest
from moto import mock_aws

from lifecycle.aws.dynamodb import DynamoTable, MemoryTable, VersionedTable
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.holds.store import HoldStore
from tests.harness.builders import Clock

REGION = "eu-west-1"
TABLE = "ledger"
TERMS = LedgerTerms(lease=timedelta(seconds=90), keep=timedelta(days=400), most_attempts=6)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    """An empty AWS account. Nothing leaves this process."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield boto3.Session("made-up", "made-up", region_name=REGION)


@pytest.fixture
def table(aws: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> DynamoTable:
    """The ledger's table, with the keys of template.yaml.

    moto does not isolate requests of several threads as DynamoDB does, so they take turns here.
    """
    client = aws.client("dynamodb")
    call, turn = client._make_api_call, threading.Lock()  # type: ignore[attr-defined] # botocore's only common point

    def one_at_a_time(*args: object) -> object:
        with turn:
            return call(*args)

    monkeypatch.setattr(client, "_make_api_call", one_at_a_time)
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
    )
    return DynamoTable(client, TABLE)


@pytest.fixture(params=["memory", "dynamodb"])
def rows(request: pytest.FixtureRequest) -> VersionedTable:
    if request.param == "memory":
        return MemoryTable()
    found: DynamoTable = request.getfixturevalue("table")
    return found


@pytest.fixture
def ledger(rows: VersionedTable, clock: Clock) -> Ledger:
    return Ledger(rows, TERMS, clock)


@pytest.fixture
def holds(rows: VersionedTable, clock: Clock) -> HoldStore:
    return HoldStore(rows, clock)
