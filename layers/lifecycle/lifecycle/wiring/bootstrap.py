"""The only place that builds adapters: one boto3 session, one client per service, settings read once."""

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files

import boto3
from botocore.config import Config

from lifecycle.adapters.bus import EventBridgeBus
from lifecycle.adapters.ledger import Ledger, Terms
from lifecycle.adapters.pacing import Pacing
from lifecycle.adapters.queues import SqsQueue
from lifecycle.adapters.rows import DynamoRows
from lifecycle.adapters.secrets import ManagedSecrets
from lifecycle.adapters.tallyfy import HttpTallyfy, Tokens, pooled_session
from lifecycle.judgement.pace import Rate
from lifecycle.judgement.sources import Sources
from lifecycle.usecases.budget import Budget
from lifecycle.usecases.execute import Limits, Worker
from lifecycle.usecases.intake import Intake
from lifecycle.usecases.lookup import Lookup
from lifecycle.usecases.outcomes import Outcomes
from lifecycle.wiring.observability import signals
from lifecycle.wiring.settings import StatusSettings, WebhookSettings, WorkerSettings
from lifecycle.words.capabilities import Capability

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
_MOST_ATTEMPTS = 6
_BURST_SECONDS = 6
"""The bucket lets through at once what the rate allows in so many seconds (10 calls at 100 a minute)."""


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
def intake() -> Intake:
    """For ``functions/webhook``."""
    settings = WebhookSettings.read(os.environ)
    session = boto3.Session()
    sqs = session.client("sqs", config=_CONFIG)
    secrets = ManagedSecrets(session.client("secretsmanager", config=_CONFIG))
    return Intake(
        sources=declared_sources(),
        org_ids=settings.organization_ids,
        prefix=settings.secret_prefix,
        secrets=secrets,
        id_key=_id_key(secrets, settings),
        ledger=_reading_ledger(session, settings),
        ordinary=SqsQueue(sqs, settings.commands_queue_url),
        permanent=SqsQueue(sqs, settings.purge_queue_url),
        signals=signals,
        clock=now,
    )


@cache
def lookup() -> Lookup:
    """For ``functions/status``."""
    settings = StatusSettings.read(os.environ)
    session = boto3.Session()
    secrets = ManagedSecrets(session.client("secretsmanager", config=_CONFIG))
    return Lookup(ledger=_reading_ledger(session, settings), id_key=_id_key(secrets, settings))


@cache
def worker(capabilities: frozenset[Capability]) -> Worker:
    """For ``functions/worker`` and ``functions/purge``: the same way, with other things it can express."""
    settings = WorkerSettings.read(os.environ)
    session = boto3.Session()
    sqs = session.client("sqs", config=_CONFIG)
    rows = DynamoRows(session.client("dynamodb", config=_CONFIG), settings.ledger_table)
    terms = Terms(
        lease=timedelta(seconds=settings.lease_seconds),
        keep=timedelta(days=settings.ledger_days),
        most_attempts=_MOST_ATTEMPTS,
    )
    ledger = Ledger(rows, terms, now)
    burst = max(2, settings.rate_per_minute * _BURST_SECONDS // 60)
    budget = Budget(Pacing(rows, Rate(settings.rate_per_minute, burst), now))
    tokens = Tokens(
        ManagedSecrets(session.client("secretsmanager", config=_CONFIG)),
        settings.secret_prefix,
        settings.organization_ids,
    )
    return Worker(
        ledger=ledger,
        tallyfy=HttpTallyfy(
            pooled_session(),
            settings.tallyfy_base_url,
            tokens,
            capabilities=capabilities,
            spend=budget.spend,
            time_left=stopwatch.left,
        ),
        budget=budget,
        queue=SqsQueue(sqs, settings.queue_url),
        outcomes=Outcomes(
            ledger=ledger,
            dead_letters=SqsQueue(sqs, settings.dead_letter_queue_url),
            bus=EventBridgeBus(session.client("events", config=_CONFIG), settings.bus_name),
            signals=signals,
            clock=now,
        ),
        signals=signals,
        sources=declared_sources(),
        capabilities=capabilities,
        limits=Limits(
            retry_base=settings.retry_base_seconds,
            minimum_archive_age=timedelta(days=settings.minimum_archive_days),
            patience=timedelta(seconds=settings.queue_retention_seconds * 7 // 8),
        ),
        clock=now,
        roll=random.random,
    )


def declared_sources() -> Sources:
    """``sources.toml`` as deployed in the configuration layer."""
    return Sources.parse((files("lifecycle_config") / "sources.toml").read_text(encoding="utf-8"))


def _id_key(secrets: ManagedSecrets, settings: StatusSettings) -> Callable[[], bytes]:
    return lambda: secrets.get(settings.id_key_secret_arn).encode()


def _reading_ledger(session: boto3.Session, settings: StatusSettings) -> Ledger:
    rows = DynamoRows(session.client("dynamodb", config=_CONFIG), settings.ledger_table)
    return Ledger(rows, Terms(lease=timedelta(0), keep=timedelta(0), most_attempts=0), now)
