"""The events queue: what other systems put on the bus, and kept deliveries that are sent again, become commands."""

from typing import TYPE_CHECKING

from lifecycle.aws.sqs import Message
from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.intake import intake, replays
from lifecycle.bootstrap.observability import emf, logger
from lifecycle.bootstrap.sqs_batch import each
from lifecycle.intake.service import REPLAY_PREFIX

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: dict[str, object], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Process a batch of events. SQS delivers an event again that is reported as failed."""

    def take(message: Message) -> None:
        if message.body.startswith(REPLAY_PREFIX):
            replays().take(message.body)
        else:
            intake().accept_event(message.body)

    return each(event, context, take)


at_start(lambda: intake().id_key())
