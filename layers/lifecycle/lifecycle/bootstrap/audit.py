"""For ``functions/audit``."""

import os
from functools import cache

from lifecycle.audit.sealer import Sealer
from lifecycle.audit.store import Trail
from lifecycle.bootstrap.common import now, objects, rows, stopwatch
from lifecycle.bootstrap.observability import signals
from lifecycle.bootstrap.settings import AuditSettings


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
