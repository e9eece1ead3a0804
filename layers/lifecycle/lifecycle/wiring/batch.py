"""A batch of SQS records through one worker, with Powertools' partial responses."""

from typing import TYPE_CHECKING

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from lifecycle.adapters.queues import from_record
from lifecycle.adapters.signals import Signal
from lifecycle.usecases.execute import Later
from lifecycle.wiring.bootstrap import stopwatch, worker
from lifecycle.wiring.observability import logger, metrics
from lifecycle.words.capabilities import Capability

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

# A batch in which everything waits is no error: the messages are hidden, and no alarm should ring.
_processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def carry_out(
    event: dict[str, object], context: "LambdaContext", capabilities: frozenset[Capability]
) -> "PartialItemFailureResponse":
    """Carry out each record; those that have to come back are reported as failed items."""
    stopwatch.start(context.get_remaining_time_in_millis())
    at_work = worker(capabilities)

    def one(record: "SQSRecord") -> None:
        try:
            at_work.handle(from_record(record.raw_event))
        except Later:
            raise
        except Exception:
            # Powertools takes any exception for "try again" and says nothing; a defect of ours must be heard.
            logger.exception("unexpected")
            metrics.add_metric(name=Signal.UNEXPECTED, unit=MetricUnit.Count, value=1)
            raise

    records = event.get("Records")
    with at_work.budget.for_batch(len(records) if isinstance(records, list) else 1):
        return process_partial_response(event=event, record_handler=one, processor=_processor, context=context)
