"""The hourly schedule: seal the records of past hours into the audit trail."""

from typing import TYPE_CHECKING

from lifecycle.bootstrap.audit import sealer
from lifecycle.bootstrap.common import at_start, stopwatch
from lifecycle.bootstrap.observability import emf, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: dict[str, object], context: "LambdaContext") -> dict[str, bool]:  # noqa: ARG001 - no run needs them
    """Seal every hour that is due."""
    stopwatch.start(context.get_remaining_time_in_millis())
    return {"complete": sealer().seal()}


at_start(sealer)
