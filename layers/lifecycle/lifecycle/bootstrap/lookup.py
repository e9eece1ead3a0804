"""Builds ``functions/status``."""

import os
from functools import cache

from lifecycle.bootstrap.common import accepting_ledger, id_key, now
from lifecycle.bootstrap.settings import StatusSettings
from lifecycle.execution.status import StatusService


@cache
def lookup() -> StatusService:
    """Build the status service once for each process."""
    settings = StatusSettings.read(os.environ)
    return StatusService(
        ledger=accepting_ledger(settings.ledger_table), id_key=id_key(settings.id_key_secret_arn), clock=now
    )
