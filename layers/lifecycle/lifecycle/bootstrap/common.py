"""What every function is built with: the clock, the client settings, the operator's files, one boto3 session."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import boto3
import botocore
from botocore.config import Config

from lifecycle.aws.dynamodb import DynamoTable
from lifecycle.aws.secrets import ManagedSecrets
from lifecycle.domain.errors import Code, Rejected
from lifecycle.execution.ledger import Ledger, LedgerTerms

if TYPE_CHECKING:
    from lifecycle.aws.s3 import S3Objects

OLDEST_SDK = (1, 36, 0)
"""Of botocore: S3's ``ChecksumType`` came with it. Older ones refuse what we send, in the middle of an export."""


def check_sdk(version: str) -> None:
    """Raise ``Rejected`` where the runtime brings an SDK that is older than what was tested.

    The runtime's own SDK is used, for its size and start. One that is too old must show at start, where nothing has
    been taken from a queue yet, and not in the middle of a delete.
    """
    known = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if known < OLDEST_SDK:
        oldest = ".".join(map(str, OLDEST_SDK))
        reason = f"This runtime's botocore is {version}; {oldest} is needed. Update the runtime of the functions."
        raise Rejected(Code.CONFIGURATION, reason)


check_sdk(botocore.__version__)

CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})


class Stopwatch:
    """How much of the current invocation is left. The handler starts it; the client asks it."""

    def __init__(self) -> None:
        self._ends_at = 0.0

    def start(self, milliseconds: int) -> None:
        """An invocation began with so much time."""
        self._ends_at = time.monotonic() + milliseconds / 1000

    def left(self) -> float:
        """Seconds until Lambda ends the invocation."""
        return self._ends_at - time.monotonic()


stopwatch = Stopwatch()


def now() -> datetime:
    """The clock of everything."""
    return datetime.now(UTC)


@cache
def session() -> boto3.Session:
    """One session for every client: a second one costs 40 ms at start and 9 MiB."""
    return boto3.Session()


@cache
def secrets() -> ManagedSecrets:
    """Secrets Manager."""
    return ManagedSecrets(session().client("secretsmanager", config=CONFIG))


def id_key(secret_arn: str) -> Callable[[], bytes]:
    """The key that names intents, read when it is first needed and cached by the adapter."""
    return lambda: secrets().get(secret_arn).encode()


def rows(table: str) -> DynamoTable:
    """The ledger's table."""
    return DynamoTable(session().client("dynamodb", config=CONFIG), table)


def objects(bucket: str) -> "S3Objects":
    """A bucket."""
    # Only here: every function starts with this module, and few have a bucket.
    from lifecycle.aws.s3 import S3Objects  # noqa: PLC0415 - see above

    return S3Objects(session().client("s3", config=CONFIG), bucket)


def accepting_ledger(table: str, days: int = 0) -> Ledger:
    """A ledger for functions that carry out nothing. ``days`` is how long it keeps what they write."""
    return Ledger(rows(table), LedgerTerms(lease=timedelta(0), keep=timedelta(days=days), most_attempts=0), now)


def operators_file(name: str) -> str:
    """A file of ``layers/config``, as deployed."""
    return (files("lifecycle_config") / name).read_text(encoding="utf-8")
