"""What every function shares: the clock, the operator's files, and the work at start."""

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from lifecycle.aws.clients import client, late_client
from lifecycle.aws.dynamodb import DynamoTable
from lifecycle.aws.secrets import ManagedSecrets
from lifecycle.domain.errors import LifecycleError
from lifecycle.execution.ledger import Ledger, LedgerTerms

if TYPE_CHECKING:
    from lifecycle.aws.s3 import S3Objects


class Stopwatch:
    """The time left in the current invocation. The handler starts it; the Tallyfy client reads it."""

    def __init__(self) -> None:
        self._ends_at = 0.0

    def start(self, milliseconds: int) -> None:
        """Start the invocation with this many milliseconds."""
        self._ends_at = time.monotonic() + milliseconds / 1000

    def left(self) -> float:
        """Seconds until Lambda ends the invocation."""
        return self._ends_at - time.monotonic()


stopwatch = Stopwatch()


def at_start(*steps: Callable[[], object]) -> None:
    """Do work at start that would delay the first invocation. Called at the end of a function's module.

    Lambda starts a process with a whole processor, and runs an invocation with the share that its memory buys. If a
    step fails, the invocation does it again, and answers or logs the error.
    """
    for step in steps:
        with suppress(LifecycleError):
            step()
    # Loaded modules stay in memory, so the collector need not check them again. See ``lifecycle/__init__.py``.
    gc.freeze()
    gc.enable()


def now() -> datetime:
    """The current time, UTC."""
    return datetime.now(UTC)


@cache
def secrets() -> ManagedSecrets:
    """Secrets Manager."""
    return ManagedSecrets(client("secretsmanager"))


def id_key(secret_arn: str) -> Callable[[], bytes]:
    """The key that names intents, read when it is first needed and cached by the adapter."""
    return lambda: secrets().get(secret_arn).encode()


def rows(table: str) -> DynamoTable:
    """The ledger's table."""
    return DynamoTable(client("dynamodb"), table)


def objects(bucket: str) -> "S3Objects":
    """The objects of an S3 bucket."""
    # Imported here: every function imports this module, and few use a bucket.
    from lifecycle.aws.s3 import S3Objects  # noqa: PLC0415 - see above

    return S3Objects(late_client("s3"), bucket)


def accepting_ledger(table: str, days: int = 0) -> Ledger:
    """A ledger for functions that carry out no commands. ``days`` is how long it keeps its rows."""
    return Ledger(rows(table), LedgerTerms(lease=timedelta(0), keep=timedelta(days=days), most_attempts=0), now)


def operators_file(name: str) -> str:
    """A file of ``layers/config``, as deployed."""
    return (files("lifecycle_config") / name).read_text(encoding="utf-8")
