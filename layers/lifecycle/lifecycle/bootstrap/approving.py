"""Builds the services for approvals and undo, for ``functions/operator`` and ``functions/chat``."""

from datetime import timedelta

from lifecycle.approvals.people import People
from lifecycle.approvals.service import ApprovalService
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.clients import client
from lifecycle.aws.sqs import SqsQueue
from lifecycle.bootstrap.common import accepting_ledger, id_key, now, rows
from lifecycle.bootstrap.observability import metrics
from lifecycle.bootstrap.settings import OperatorSettings
from lifecycle.execution.stop_signals import StopSignals
from lifecycle.execution.undo import UndoService
from lifecycle.holds.store import HoldStore


def approval_service(settings: OperatorSettings, people: People) -> ApprovalService:
    """Build the service that records approvals and sends on approved commands and plans."""
    table = rows(settings.ledger_table)
    keep = timedelta(days=settings.ledger_days)
    sqs = client("sqs")
    return ApprovalService(
        approvals=ApprovalStore(table, keep, now, least=people.approvals.least),
        ledger=accepting_ledger(settings.ledger_table, settings.ledger_days),
        keep_reasons=StopSignals(table, HoldStore(table, now)),
        purge=SqsQueue(sqs, settings.purge_queue_url),
        sweeps=SqsQueue(sqs, settings.sweeps_queue_url),
        org_ids=settings.organization_ids,
        metrics=metrics,
        clock=now,
    )


def undo_service(settings: OperatorSettings) -> UndoService:
    """Build the service that undoes commands."""
    return UndoService(
        ledger=accepting_ledger(settings.ledger_table, settings.ledger_days),
        commands=SqsQueue(client("sqs"), settings.commands_queue_url),
        org_ids=settings.organization_ids,
        id_key=id_key(settings.id_key_secret_arn),
        metrics=metrics,
        clock=now,
    )
