"""A batch of SQS records, one by one, with Powertools' partial responses."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from aws_lambda_powertools.metrics import MetricUnit, single_metric
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from lifecycle.aws.metrics import Metric
from lifecycle.aws.sqs import Later, Message, from_record
from lifecycle.bootstrap.common import now, stopwatch
from lifecycle.bootstrap.observability import emf, logger, metrics
from lifecycle.domain.errors import Retryable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

# A batch in which everything waits is no error: the messages are hidden, and no alarm should ring.
_processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


MESSAGE_AGE = "MessageAge"
"""A metric with the dimension ``queue``: the seconds since the oldest message of a batch entered its queue for the
first time, at each receive."""


def _tell_age(event: dict[str, object], at: datetime) -> None:
    """SQS's own metric leaves out what was received three times, and waiting here is being received."""
    records = event.get("Records")
    if not isinstance(records, list) or not records:
        return
    queue = str(records[0].get("eventSourceARN", "")).rpartition(":")[2]
    # 0 where the clocks of SQS and of the function differ the other way.
    oldest = max(0.0, *((at - from_record(record).sent_at).total_seconds() for record in records))
    with single_metric(name=MESSAGE_AGE, unit=MetricUnit.Seconds, value=oldest, default_dimensions={"queue": queue}):
        pass


def size(event: dict[str, object]) -> int:
    """How many records an event has."""
    records = event.get("Records")
    return len(records) if isinstance(records, list) else 1


def each(
    event: dict[str, object], context: "LambdaContext", handle: Callable[[Message], None]
) -> "PartialItemFailureResponse":
    """Hand each record to ``handle``; those for which it raises have to come back and are reported as failed items."""
    stopwatch.start(context.get_remaining_time_in_millis())
    _tell_age(event, now())

    def one(record: "SQSRecord") -> None:
        message = from_record(record.raw_event)
        try:
            handle(message)
        except Later:
            raise
        except Retryable as trouble:
            # AWS cannot take it now: no defect of ours. The queue's visibility timeout brings the message back.
            metrics.emit(Metric.RETRIED, {"code": trouble.code, "reason": trouble.reason})
            raise
        except Exception:
            # Powertools takes any exception for "try again" and says nothing; a defect of ours must be heard.
            logger.exception("unexpected")
            emf.add_metric(name=Metric.UNEXPECTED, unit=MetricUnit.Count, value=1)
            raise

    return process_partial_response(event=event, record_handler=one, processor=_processor, context=context)
