"""The commands queue: archive and restore. It cannot express a permanent delete."""

from typing import TYPE_CHECKING

from lifecycle.wiring.batch import carry_out
from lifecycle.wiring.observability import logger, metrics
from lifecycle.words.capabilities import ORDINARY

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, object], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Carry out a batch; what has to come back is reported as failed."""
    return carry_out(event, context, ORDINARY)
