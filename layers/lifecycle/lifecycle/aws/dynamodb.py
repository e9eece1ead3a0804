"""Versioned rows: all that the ledger and the rate limiter need of a database.

A write states the version that the caller read. If any row of a write has another version, nothing is written and
``Contention`` is raised. The caller then reads and decides again.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple, Protocol

from botocore.exceptions import ClientError

from lifecycle.aws.errors import error_code, translated
from lifecycle.domain.errors import Code, Retryable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

_AT_ONCE = 100
"""The most rows that DynamoDB reads in one call."""

type Value = str | int | bool | Sequence[Value] | Mapping[str, Value] | None
"""The value of an attribute. ``None`` means "none"; empty text and -1 are not used for that."""


class Contention(Exception):
    """Another writer changed the row first."""


class Key(NamedTuple):
    """Partition and sort key."""

    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row as read, with the version to state when writing it."""

    values: Mapping[str, Value]
    version: int


@dataclass(frozen=True, slots=True)
class Put:
    """Replaces a whole row. With ``None`` as its values, the row is deleted.

    ``seen`` is the version it replaces, 0 for "there was none"; ``expires_at`` in seconds, UTC. A row that was made by
    hand and has no version counts as version 0.
    """

    key: Key
    values: Mapping[str, Value] | None
    seen: int
    expires_at: int | None = None


class VersionedTable(Protocol):
    """A table of versioned rows."""

    def read(self, *keys: Key) -> list[Row | None]:
        """Read the newest state of rows, in the order of ``keys``; ``None`` for a row that does not exist."""

    def write(self, *changes: Put) -> None:
        """Write all changes or none. Raises ``Contention`` if a row has another version."""

    def insert(self, change: Put) -> Row | None:
        """Write a new row and return ``None``; if the row exists, return it unchanged.

        Raises ``Contention`` if a transaction is writing it at this moment.
        """

    def partition(self, pk: str) -> dict[str, Row]:
        """Every row of a partition, by its sort key."""


@dataclass(slots=True)
class MemoryTable:
    """Rows in memory for tests, as strict about versions as the table."""

    table: dict[Key, Row] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, *keys: Key) -> list[Row | None]:
        """See ``VersionedTable``."""
        with self._lock:
            return [self.table.get(key) for key in keys]

    def write(self, *changes: Put) -> None:
        """See ``VersionedTable``."""
        with self._lock:
            for change in changes:
                present = self.table.get(change.key)
                if (present.version if present else 0) != change.seen:
                    raise Contention
            for change in changes:
                if change.values is None:
                    self.table.pop(change.key, None)
                else:
                    self.table[change.key] = Row(dict(change.values), change.seen + 1)

    def insert(self, change: Put) -> Row | None:
        """See ``VersionedTable``."""
        with self._lock:
            present = self.table.get(change.key)
            if present is None:
                self.table[change.key] = Row(dict(change.values or {}), 1)
            return present

    def partition(self, pk: str) -> dict[str, Row]:
        """See ``VersionedTable``."""
        with self._lock:
            return {key.sk: row for key, row in self.table.items() if key.pk == pk}


class DynamoTable:
    """Rows in a DynamoDB table with the keys ``pk`` and ``sk`` and the TTL attribute ``expires_at``."""

    _OURS = frozenset({"pk", "sk", "version", "expires_at"})

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def read(self, *keys: Key) -> list[Row | None]:
        """See ``VersionedTable``. Strongly consistent for each row; several rows are not one snapshot."""
        if len(keys) == 1:
            with translated("read the ledger"):
                found = self._client.get_item(
                    TableName=self._table, Key=self._marshal(keys[0]._asdict()), ConsistentRead=True
                )
            return [self._row(found.get("Item"))]
        rows: dict[Key, Row | None] = {}
        for some in batched(dict.fromkeys(keys), _AT_ONCE, strict=False):
            rows |= self._several(some)
        return [rows.get(key) for key in keys]

    def write(self, *changes: Put) -> None:
        """See ``VersionedTable``."""
        writes = [self._write(change) for change in changes]
        with translated("write the ledger"):
            try:
                match writes:
                    case [{"Put": put}]:
                        self._client.put_item(**put)
                    case [{"Delete": delete}]:
                        self._client.delete_item(**delete)
                    case _:
                        self._client.transact_write_items(TransactItems=writes)
            except ClientError as error:
                if _is_contention(error):
                    raise Contention from error
                raise

    def insert(self, change: Put) -> Row | None:
        """See ``VersionedTable``. One call: the answer to a refused write contains the existing row."""
        with translated("write the ledger"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=self._item(change, change.values or {}),
                    ConditionExpression=_UNSEEN,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if not _is_contention(error):
                    raise
                # While a transaction works on the row, the answer does not contain it.
                standing = self._row(error.response.get("Item")) or self.read(change.key)[0]  # type: ignore[arg-type]
                if standing is None:
                    raise Contention from error
                return standing
        return None

    def partition(self, pk: str) -> dict[str, Row]:
        """See ``VersionedTable``. Strongly consistent; all pages."""
        found: dict[str, Row] = {}
        with translated("read the ledger"):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues=self._marshal({":pk": pk}),
                ConsistentRead=True,
            )
            for page in pages:
                for item in page["Items"]:
                    row = self._row(item)
                    if row is not None:
                        found[item["sk"]["S"]] = row
        return found

    def _several(self, keys: Sequence[Key]) -> dict[Key, Row | None]:
        asked = [self._marshal(key._asdict()) for key in keys]
        with translated("read the ledger"):
            page = self._client.batch_get_item(RequestItems={self._table: {"Keys": asked, "ConsistentRead": True}})
        if page.get("UnprocessedKeys"):
            raise Retryable(Code.UNAVAILABLE, "DynamoDB could not read all rows of the ledger at once.")
        found = page["Responses"].get(self._table, [])
        return {Key(item["pk"]["S"], item["sk"]["S"]): self._row(item) for item in found}

    def _write(self, change: Put) -> "TransactWriteItemTypeDef":
        if change.values is None:
            key = self._marshal(change.key._asdict())
            if not change.seen:
                return {"Delete": {"TableName": self._table, "Key": key, "ConditionExpression": _UNSEEN}}
            return {
                "Delete": {
                    "TableName": self._table,
                    "Key": key,
                    "ConditionExpression": _SEEN,
                    "ExpressionAttributeValues": self._marshal({":seen": change.seen}),
                }
            }
        item = self._item(change, change.values)
        if not change.seen:
            return {"Put": {"TableName": self._table, "Item": item, "ConditionExpression": _UNSEEN}}
        return {
            "Put": {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": _SEEN,
                "ExpressionAttributeValues": self._marshal({":seen": change.seen}),
            }
        }

    def _item(self, change: Put, values: Mapping[str, Value]) -> "dict[str, AttributeValueTypeDef]":
        row: dict[str, Value] = {**values, **change.key._asdict(), "version": change.seen + 1}
        if change.expires_at is not None:
            row["expires_at"] = change.expires_at
        return self._marshal(row)

    def _marshal(self, values: Mapping[str, Value]) -> "dict[str, AttributeValueTypeDef]":
        return {name: _attribute(value) for name, value in values.items()}

    def _row(self, item: "Mapping[str, AttributeValueTypeDef] | None") -> Row | None:
        if not item:
            return None
        values = {name: _plain(value) for name, value in item.items()}
        version = values.get("version")
        kept = {name: value for name, value in values.items() if name not in self._OURS}
        return Row(kept, version if type(version) is int else 0)


def _attribute(value: Value) -> "AttributeValueTypeDef":
    """A value in the form of DynamoDB. boto3's serializer does the same, but loads boto3 at every cold start."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case Mapping():
            return {"M": {name: _attribute(item) for name, item in value.items()}}
        case _:
            return {"L": [_attribute(item) for item in value]}


def _plain(attribute: "AttributeValueTypeDef") -> Value:
    """A value as it was written. A type that this code never writes becomes text, so that the row stays readable."""
    match attribute:
        case {"S": str() as text}:
            return text
        case {"N": str() as number}:
            return int(Decimal(number))
        case {"BOOL": bool() as flag}:
            return flag
        case {"NULL": _}:
            return None
        case {"L": list() as items}:
            return [_plain(item) for item in items]
        case {"M": dict() as items}:
            return {name: _plain(item) for name, item in items.items()}
        case _:
            return str(*attribute.values())


_UNSEEN, _SEEN = "attribute_not_exists(version)", "version = :seen"
_CONTENDED = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


def _is_contention(error: ClientError) -> bool:
    if error_code(error) in {"ConditionalCheckFailedException", "TransactionConflictException"}:
        return True
    reasons: Sequence[Mapping[str, object]] = error.response.get("CancellationReasons", ())
    return error_code(error) == "TransactionCanceledException" and any(r.get("Code") in _CONTENDED for r in reasons)
