"""For ``functions/webhook`` and ``functions/event``."""

import os
from functools import cache

from lifecycle.adapters.bus import EventBridgeBus
from lifecycle.adapters.queues import SqsQueue
from lifecycle.judgement.sources import Sources
from lifecycle.usecases.intake import Intake
from lifecycle.usecases.outcomes import Outcomes
from lifecycle.wiring.bootstrap.common import (
    CONFIG,
    accepting_ledger,
    id_key,
    now,
    operators_file,
    secrets,
    session,
)
from lifecycle.wiring.bootstrap.schedules import schedules
from lifecycle.wiring.observability import signals
from lifecycle.wiring.settings import IntakeSettings


@cache
def intake() -> Intake:
    """Build it once for each process."""
    settings = IntakeSettings.read(os.environ)
    sqs = session().client("sqs", config=CONFIG)
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
            bus=EventBridgeBus(session().client("events", config=CONFIG), settings.bus_name),
            signals=signals,
            clock=now,
        ),
        signals=signals,
        clock=now,
    )
