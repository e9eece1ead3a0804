"""Builds ``functions/webhook`` and ``functions/event``."""

import os
from functools import cache
from typing import TYPE_CHECKING

from lifecycle.aws.clients import client, late_client
from lifecycle.aws.eventbridge import EventBridgeBus
from lifecycle.aws.sqs import SqsQueue
from lifecycle.bootstrap.common import (
    accepting_ledger,
    id_key,
    now,
    operators_file,
    rows,
    secrets,
)
from lifecycle.bootstrap.observability import metrics
from lifecycle.bootstrap.schedules import schedules
from lifecycle.bootstrap.settings import IntakeSettings
from lifecycle.execution.outcomes import Outcomes
from lifecycle.intake.service import Intake
from lifecycle.intake.sources import Sources

if TYPE_CHECKING:
    from lifecycle.intake.replay import Replays


@cache
def intake() -> Intake:
    """Build the intake once for each process."""
    settings = IntakeSettings.read(os.environ)
    sqs = client("sqs")
    ledger = accepting_ledger(settings.ledger_table, settings.ledger_days)
    return Intake(
        sources=Sources.parse(operators_file("sources.toml")),
        org_ids=settings.organization_ids,
        prefix=settings.secret_prefix,
        secrets=secrets(),
        id_key=id_key(settings.id_key_secret_arn),
        ledger=ledger,
        ordinary=SqsQueue(sqs, settings.commands_queue_url),
        permanent=SqsQueue(sqs, settings.purge_queue_url),
        schedules=schedules(
            settings,
            queue_arn=settings.commands_queue_arn,
            dead_letter_arn=settings.commands_dead_letter_queue_arn,
        ),
        outcomes=Outcomes(
            ledger=ledger,
            dead_letters=SqsQueue(sqs, settings.commands_dead_letter_queue_url),
            bus=EventBridgeBus(late_client("events"), settings.bus_name),
            metrics=metrics,
            clock=now,
        ),
        metrics=metrics,
        clock=now,
    )


@cache
def replays() -> "Replays":
    """Build the replay service when an operator first replays a kept delivery."""
    from lifecycle.intake.replay import Replays  # noqa: PLC0415 - events do not pay for it

    return Replays(intake(), rows(IntakeSettings.read(os.environ).ledger_table), now)
