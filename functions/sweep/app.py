"""The sweeps queue: list an organization, decide, and report what is due or enqueue it."""

from typing import TYPE_CHECKING

from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.observability import emf, logger
from lifecycle.bootstrap.sqs_batch import each
from lifecycle.bootstrap.tallyfy import sweep

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: dict[str, object], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Continue a sweep. An unfinished sweep is reported as failed, so that SQS delivers its message again."""
    return each(event, context, sweep().handle)


at_start(sweep)
