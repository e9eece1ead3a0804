"""The purge queue: permanent deletes and nothing else."""

from typing import TYPE_CHECKING

from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.observability import emf, logger
from lifecycle.bootstrap.sqs_batch import each, messages_of
from lifecycle.bootstrap.tallyfy import purge, purge_token

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: dict[str, object], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Carry out a batch. A command that must be tried again is reported as failed, and SQS delivers it again."""
    at_work = purge()
    with at_work.for_batch(messages_of(event)):
        return each(event, context, at_work.handle, at_work.finish)


at_start(purge, purge_token)
