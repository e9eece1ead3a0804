"""Handles the SQS records of a batch one by one, and reports which of them have to come back.

Powertools' batch utility does the same and brings asyncio and 50 modules into every cold start.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from aws_lambda_powertools.metrics import MetricUnit, single_metric

from lifecycle.aws.metrics import Metric
from lifecycle.aws.sqs import Later, Message, from_record
from lifecycle.bootstrap.common import now, stopwatch
from lifecycle.bootstrap.observability import emf, logger, metrics
from lifecycle.domain.errors import Retryable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

MESSAGE_AGE = "MessageAge"
"""A metric with the dimension ``queue``: the seconds since the oldest message of a batch entered its queue for the
first time, at each receive."""


def _tell_age(event: dict[str, object], at: datetime) -> None:
    """Emit the age of the oldest message. SQS's own metric leaves out messages that were received three times.

    Messages that wait are received again and again.
    """
    records = event.get("Records")
    if not isinstance(records, list) or not records:
        return
    queue = str(records[0].get("eventSourceARN", "")).rpartition(":")[2]
    # An age below 0 means that the clock of SQS is ahead of the function's.
    oldest = max(0.0, *((at - from_record(record).sent_at).total_seconds() for record in records))
    with single_metric(name=MESSAGE_AGE, unit=MetricUnit.Seconds, value=oldest, default_dimensions={"queue": queue}):
        pass


def messages_of(event: dict[str, object]) -> list[Message]:
    """The messages of an event; none if no queue sent it."""
    records = event.get("Records")
    return [from_record(record) for record in records] if isinstance(records, list) else []


def each(
    event: dict[str, object],
    context: "LambdaContext",
    handle: Callable[[Message], None],
    finish: Callable[[], Sequence[Message]] = tuple,
) -> "PartialItemFailureResponse":
    """Call ``handle`` with each record. If it raises, the record is reported as a failed item and comes back.

    ``finish`` is called after the last record, and returns further messages that have to come back.
    A batch in which every record waits is not an error of the function, so no alarm rings. Raises ``ValueError`` for an
    event
    that no queue sent.
    """
    stopwatch.start(context.get_remaining_time_in_millis())
    records = event.get("Records")
    if not isinstance(records, list):
        msg = "The event has no list of records. Only an SQS event source may invoke this function."
        raise ValueError(msg)  # noqa: TRY004 - the event is wrong, not our types
    _tell_age(event, now())
    messages = [from_record(record) for record in records]
    back = [one.id for one in messages if not _is_done(one, handle)]
    back += [one.id for one in finish()]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in dict.fromkeys(back)]}


def _is_done(message: Message, handle: Callable[[Message], None]) -> bool:
    try:
        handle(message)
    except Later:
        return False
    except Retryable as trouble:
        # AWS is unavailable; this code has no defect. The queue's visibility timeout brings the message back.
        metrics.emit(Metric.RETRIED, {"code": trouble.code, "reason": trouble.reason})
        return False
    except Exception:  # noqa: BLE001 - the other records of the batch go on
        # This is a defect of this code: the metric raises an alarm, and the message comes back.
        logger.exception("unexpected")
        emf.add_metric(name=Metric.UNEXPECTED, unit=MetricUnit.Count, value=1)
        return False
    return True
