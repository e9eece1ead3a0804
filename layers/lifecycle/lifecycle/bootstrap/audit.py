"""Builds ``functions/audit``."""

import os
from functools import cache

from lifecycle.audit.sealer import Sealer
from lifecycle.audit.store import AuditStore
from lifecycle.bootstrap.common import now, objects, rows, stopwatch
from lifecycle.bootstrap.observability import metrics
from lifecycle.bootstrap.settings import AuditSettings


@cache
def sealer() -> Sealer:
    """Build the sealer once for each process."""
    settings = AuditSettings.read(os.environ)
    return Sealer(
        trail=AuditStore(rows(settings.ledger_table)),
        objects=objects(settings.audit_bucket),
        metrics=metrics,
        clock=now,
        time_left=stopwatch.left,
    )
