"""For ``functions/operator``."""

import os
from datetime import timedelta
from functools import cache

from lifecycle.api.operator_routes import Operating
from lifecycle.approvals.people import People
from lifecycle.approvals.service import ApprovalService
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.clients import client
from lifecycle.aws.sqs import SqsQueue
from lifecycle.bootstrap.common import accepting_ledger, id_key, now, operators_file, rows
from lifecycle.bootstrap.observability import metrics
from lifecycle.bootstrap.settings import OperatorSettings
from lifecycle.execution.stop_signals import StopSignals
from lifecycle.execution.undo import UndoService
from lifecycle.holds.store import HoldStore


@cache
def operating() -> Operating:
    """Build it once for each process."""
    settings = OperatorSettings.read(os.environ)
    sqs = client("sqs")
    table = rows(settings.ledger_table)
    keep = timedelta(days=settings.ledger_days)
    ledger = accepting_ledger(settings.ledger_table, settings.ledger_days)
    people = People.parse(operators_file("people.toml"))
    return Operating(
        people=people,
        approving=ApprovalService(
            approvals=ApprovalStore(table, keep, now, least=people.approvals.least),
            ledger=ledger,
            keep_reasons=StopSignals(table, HoldStore(table, now)),
            purge=SqsQueue(sqs, settings.purge_queue_url),
            sweeps=SqsQueue(sqs, settings.sweeps_queue_url),
            org_ids=settings.organization_ids,
            metrics=metrics,
            clock=now,
        ),
        undoing=UndoService(
            ledger=ledger,
            commands=SqsQueue(sqs, settings.commands_queue_url),
            org_ids=settings.organization_ids,
            id_key=id_key(settings.id_key_secret_arn),
            metrics=metrics,
            clock=now,
        ),
    )
