"""Builds ``functions/operator``."""

import os
from functools import cache

from lifecycle.api.operator_routes import Operating
from lifecycle.approvals.people import People
from lifecycle.bootstrap.approving import approval_service, undo_service
from lifecycle.bootstrap.common import operators_file
from lifecycle.bootstrap.settings import OperatorSettings


@cache
def operating() -> Operating:
    """Build the operator's routes once for each process."""
    settings = OperatorSettings.read(os.environ)
    people = People.parse(operators_file("people.toml"))
    return Operating(
        people=people,
        approving=approval_service(settings, people),
        undoing=undo_service(settings),
    )
