"""For ``functions/audit``."""

import os
from functools import cache

from lifecycle.adapters.trail import Trail
from lifecycle.usecases.audit import Sealer
from lifecycle.wiring.bootstrap.common import now, objects, rows, stopwatch
from lifecycle.wiring.observability import signals
from lifecycle.wiring.settings import AuditSettings


@cache
def sealer() -> Sealer:
    """Build it once for each process."""
    settings = AuditSettings.read(os.environ)
    return Sealer(
        trail=Trail(rows(settings.ledger_table)),
        objects=objects(settings.audit_bucket),
        signals=signals,
        clock=now,
        time_left=stopwatch.left,
    )
