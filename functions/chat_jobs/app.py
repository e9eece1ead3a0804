"""The chat queue: looks in Tallyfy for what people ask about, and posts later answers to chat tools."""

from typing import TYPE_CHECKING

from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.observability import emf, logger
from lifecycle.bootstrap.sqs_batch import each
from lifecycle.bootstrap.tallyfy import chat_jobs

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: dict[str, object], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Carry out a batch; what has to come back is reported as failed."""
    return each(event, context, chat_jobs().handle)


at_start(chat_jobs)
