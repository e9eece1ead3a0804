"""Versioned rows: all changes are written or none, and a stale write never replaces a row."""

import threading

import boto3
import pytest
from botocore.stub import Stubber

from lifecycle.aws.dynamodb import Contention, DynamoTable, Key, Put, Row, Value, VersionedTable
from lifecycle.domain.errors import Code, Retryable
from tests.contract.conftest import TABLE

ONE = Key("intent#1", "intent")
TWO = Key("resource#1", "resource")


def test_a_row_that_was_never_written_is_none(rows: VersionedTable) -> None:
    assert rows.read(ONE) == [None]
    assert rows.read(ONE, TWO) == [None, None]


def test_rows_are_read_at_once_with_their_versions_in_the_order_of_the_keys(rows: VersionedTable) -> None:
    values: dict[str, Value] = {"text": "ü", "number": 12, "yes": True, "no": False, "list": ["a", "b"], "none": []}
    rows.write(Put(ONE, values, 0, expires_at=2_000_000_000), Put(TWO, {"empty": ""}, 0))
    assert rows.read(ONE) == [Row(values, 1)]
    assert rows.read(TWO, ONE) == [Row({"empty": ""}, 1), Row(values, 1)]


def test_times_in_microseconds_are_kept_exactly(rows: VersionedTable) -> None:
    rows.write(Put(ONE, {"full_at": 1_795_000_000_123_456}, 0))
    [row] = rows.read(ONE)
    assert row is not None
    assert row.values == {"full_at": 1_795_000_000_123_456}
    assert type(row.values["full_at"]) is int


def test_a_write_replaces_the_whole_row_and_raises_its_version(rows: VersionedTable) -> None:
    rows.write(Put(ONE, {"old": "x", "kept": 1}, 0))
    rows.write(Put(ONE, {"kept": 2}, 1))
    assert rows.read(ONE) == [Row({"kept": 2}, 2)]


@pytest.mark.parametrize("seen", [0, 1, 3], ids=["none", "an older one", "one not there yet"])
def test_a_write_with_a_stale_version_changes_nothing(rows: VersionedTable, seen: int) -> None:
    rows.write(Put(ONE, {"n": 1}, 0))
    rows.write(Put(ONE, {"n": 2}, 1))
    with pytest.raises(Contention):
        rows.write(Put(ONE, {"n": 9}, seen))
    assert rows.read(ONE) == [Row({"n": 2}, 2)]


def test_a_row_that_is_not_there_cannot_be_replaced(rows: VersionedTable) -> None:
    with pytest.raises(Contention):
        rows.write(Put(ONE, {"n": 1}, 1))
    assert rows.read(ONE) == [None]


@pytest.mark.parametrize("stale_first", [True, False])
def test_one_stale_row_of_two_leaves_both_unchanged(rows: VersionedTable, *, stale_first: bool) -> None:
    rows.write(Put(ONE, {"n": 1}, 0))
    stale, fresh = Put(ONE, {"n": 2}, 0), Put(TWO, {"n": 2}, 0)
    with pytest.raises(Contention):
        rows.write(*((stale, fresh) if stale_first else (fresh, stale)))
    assert rows.read(ONE, TWO) == [Row({"n": 1}, 1), None]


def test_a_removal_deletes_only_the_row_that_was_read(rows: VersionedTable) -> None:
    rows.write(Put(ONE, {"n": 1}, 0), Put(TWO, {"n": 1}, 0))
    rows.write(Put(ONE, None, 1))
    assert rows.read(ONE, TWO) == [None, Row({"n": 1}, 1)]
    assert rows.partition(ONE.pk) == {}


@pytest.mark.parametrize("seen", [0, 1, 3], ids=["none", "an older one", "one not there yet"])
def test_a_removal_with_a_stale_version_changes_nothing(rows: VersionedTable, seen: int) -> None:
    rows.write(Put(ONE, {"n": 1}, 0))
    rows.write(Put(ONE, {"n": 2}, 1))
    with pytest.raises(Contention):
        rows.write(Put(ONE, None, seen))
    assert rows.read(ONE) == [Row({"n": 2}, 2)]


def test_a_missing_row_cannot_be_removed_but_may_be_required_to_be_missing(rows: VersionedTable) -> None:
    with pytest.raises(Contention):
        rows.write(Put(ONE, None, 1))
    rows.write(Put(ONE, None, 0))
    assert rows.read(ONE) == [None]


def test_a_removed_row_can_be_written_again(rows: VersionedTable) -> None:
    rows.write(Put(ONE, {"n": 1}, 0))
    rows.write(Put(ONE, None, 1))
    rows.write(Put(ONE, {"n": 2}, 0))
    assert rows.read(ONE) == [Row({"n": 2}, 1)]


def test_a_removal_goes_together_with_other_changes(rows: VersionedTable) -> None:
    rows.write(Put(ONE, {"n": 1}, 0))
    rows.write(Put(ONE, None, 1), Put(TWO, {"n": 2}, 0))
    assert rows.read(ONE, TWO) == [None, Row({"n": 2}, 1)]


@pytest.mark.parametrize("stale", ["the removal", "the change"])
def test_nothing_is_removed_or_changed_if_one_version_in_the_write_is_stale(rows: VersionedTable, stale: str) -> None:
    rows.write(Put(ONE, {"n": 1}, 0), Put(TWO, {"n": 1}, 0))
    removal, change = (2, 1) if stale == "the removal" else (1, 2)
    with pytest.raises(Contention):
        rows.write(Put(ONE, None, removal), Put(TWO, {"n": 2}, change))
    assert rows.read(ONE, TWO) == [Row({"n": 1}, 1)] * 2


def test_more_rows_than_one_call_reads_are_returned_in_the_order_of_the_keys(rows: VersionedTable) -> None:
    there = [Key("holds#a", f"owner#{number}") for number in range(0, 250, 2)]
    for key in there:
        rows.write(Put(key, {"reason": key.sk}, 0))
    asked = [Key("holds#a", f"owner#{number}") for number in range(249, -1, -1)]
    found = rows.read(*asked, asked[-1])
    assert found[-1] == found[-2] == Row({"reason": "owner#0"}, 1)
    assert [row.values["reason"] if row else None for row in found[:-1]] == [
        key.sk if key in there else None for key in asked
    ]


def test_exactly_one_of_many_writers_with_the_same_version_succeeds(rows: VersionedTable) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        try:
            rows.write(Put(ONE, {"n": number}, 0), Put(TWO, {"n": number}, 0))
        except Contention:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1
    assert rows.read(ONE, TWO) == [Row({"n": won[0]}, 1)] * 2


def test_every_read_of_the_table_is_strongly_consistent(table: DynamoTable) -> None:
    asked: list[object] = []
    table._client.meta.events.register(
        "provide-client-params.dynamodb.*", lambda params, **_: asked.append(params.copy())
    )
    table.read(ONE)
    table.read(ONE, TWO)
    single, several = asked
    assert isinstance(single, dict)
    assert isinstance(several, dict)
    assert single["ConsistentRead"] is True
    assert several["RequestItems"][TABLE]["ConsistentRead"] is True


def test_the_table_keeps_the_time_to_live_apart_from_the_values(aws: boto3.Session, table: DynamoTable) -> None:
    table.write(Put(ONE, {"n": 1}, 0, expires_at=1_900_000_000))
    item = aws.client("dynamodb").get_item(TableName=TABLE, Key={"pk": {"S": ONE.pk}, "sk": {"S": ONE.sk}})["Item"]
    assert item == {
        "pk": {"S": ONE.pk},
        "sk": {"S": ONE.sk},
        "n": {"N": "1"},
        "version": {"N": "1"},
        "expires_at": {"N": "1900000000"},
    }


def test_a_row_made_by_hand_is_seen_replaced_and_removed(aws: boto3.Session, table: DynamoTable) -> None:
    client = aws.client("dynamodb")
    by_hand = {"pk": {"S": ONE.pk}, "sk": {"S": ONE.sk}}
    client.put_item(TableName=TABLE, Item={**by_hand, "reason": {"M": {"a": {"S": "b"}}}, "void": {"NULL": True}})
    assert table.partition(ONE.pk) == {ONE.sk: Row({"reason": {"a": "b"}, "void": None}, 0)}
    assert table.read(ONE) == [Row({"reason": {"a": "b"}, "void": None}, 0)]
    table.write(Put(ONE, {"reason": "ours"}, 0))
    assert table.read(ONE) == [Row({"reason": "ours"}, 1)]
    client.put_item(TableName=TABLE, Item=by_hand)
    table.write(Put(ONE, None, 0))
    assert table.read(ONE) == [None]


@pytest.mark.parametrize(
    ("operation", "code", "reasons", "raised"),
    [
        ("put_item", "ConditionalCheckFailedException", (), Contention),
        ("put_item", "TransactionConflictException", (), Contention),
        ("put_item", "ProvisionedThroughputExceededException", (), Retryable),
        ("put_item", "ValidationException", (), Retryable),
        ("delete_item", "ConditionalCheckFailedException", (), Contention),
        ("delete_item", "ProvisionedThroughputExceededException", (), Retryable),
        ("transact_write_items", "TransactionCanceledException", ("ConditionalCheckFailed", "None"), Contention),
        ("transact_write_items", "TransactionCanceledException", ("None", "TransactionConflict"), Contention),
        ("transact_write_items", "TransactionCanceledException", ("ThrottlingError", "None"), Retryable),
        ("transact_write_items", "TransactionInProgressException", (), Retryable),
    ],
)
def test_each_error_of_dynamodb_becomes_the_right_exception(
    table: DynamoTable, operation: str, code: str, reasons: tuple[str, ...], raised: type[Exception]
) -> None:
    changes = {
        "put_item": [Put(ONE, {"n": 1}, 0)],
        "delete_item": [Put(ONE, None, 1)],
        "transact_write_items": [Put(ONE, {"n": 1}, 0), Put(TWO, None, 1)],
    }[operation]
    with Stubber(table._client) as stubber:
        found = {"CancellationReasons": [{"Code": reason} for reason in reasons]} if reasons else {}
        stubber.add_client_error(operation, code, modeled_fields=found)
        with pytest.raises(raised):
            table.write(*changes)


def test_a_read_that_returns_only_some_rows_can_be_retried(table: DynamoTable) -> None:
    with Stubber(table._client) as stubber:
        key = {"pk": {"S": ONE.pk}, "sk": {"S": ONE.sk}}
        stubber.add_response("batch_get_item", {"Responses": {TABLE: []}, "UnprocessedKeys": {TABLE: {"Keys": [key]}}})
        with pytest.raises(Retryable) as trouble:
            table.read(ONE, TWO)
    assert trouble.value.code is Code.UNAVAILABLE


def test_a_partition_is_read_whole_without_other_rows(rows: VersionedTable) -> None:
    long = "x" * 20_000
    for number in range(120):  # more than DynamoDB returns in one call
        rows.write(Put(Key("holds#a", f"run#{number:03d}"), {"reason": long}, 0))
    rows.write(Put(Key("holds#ab", "run#1"), {"reason": "another"}, 0))
    found = rows.partition("holds#a")
    assert sorted(found) == [f"run#{number:03d}" for number in range(120)]
    assert {(row.values["reason"], row.version) for row in found.values()} == {(long, 1)}
    assert rows.partition("holds#none") == {}


def test_a_second_insert_returns_the_existing_row(rows: VersionedTable) -> None:
    assert rows.insert(Put(ONE, {"n": 1}, 0, expires_at=2_000_000_000)) is None
    assert rows.insert(Put(ONE, {"n": 2}, 0)) == Row({"n": 1}, 1)
    assert rows.read(ONE) == [Row({"n": 1}, 1)]


def test_exactly_one_of_many_concurrent_inserts_succeeds(rows: VersionedTable) -> None:
    start, found = threading.Barrier(8), []

    def insert(number: int) -> None:
        start.wait()
        found.append(rows.insert(Put(ONE, {"n": number}, 0)))

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found.count(None) == 1
    assert all(one is None or [one] == rows.read(ONE) for one in found)


def test_a_row_that_a_refused_insert_does_not_return_is_read(table: DynamoTable) -> None:
    """A transaction on the row also refuses the write, and its answer has no item."""
    table.insert(Put(ONE, {"n": 1}, 0))
    with Stubber(table._client) as stub:
        stub.add_client_error("put_item", "TransactionConflictException")
        stub.add_response("get_item", {"Item": table._item(Put(ONE, {}, 0), {"n": 1})})
        assert table.insert(Put(ONE, {"n": 2}, 0)) == Row({"n": 1}, 1)
        stub.add_client_error("put_item", "TransactionConflictException")
        stub.add_response("get_item", {})
        with pytest.raises(Contention):
            table.insert(Put(ONE, {"n": 2}, 0))
