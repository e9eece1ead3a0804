"""One-time schedules: a message that enters its queue at a later time. SQS itself delays for 15 minutes at most."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import ClientError

from lifecycle.adapters.aws import error_code, translated

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient


class Schedules(Protocol):
    """Where messages wait for their day."""

    def at(self, moment: datetime, name: str, body: str) -> None:
        """Send ``body`` to the commands queue at ``moment`` (UTC), once. The same ``name`` again changes nothing."""


@dataclass(slots=True)
class MemorySchedules:
    """Keeps what is to be sent."""

    waiting: dict[str, tuple[datetime, str]] = field(default_factory=dict)

    def at(self, moment: datetime, name: str, body: str) -> None:
        """See ``Schedules``."""
        self.waiting.setdefault(name, (moment, body))


class EventBridgeSchedules:
    """EventBridge Scheduler, in the stack's own group. A schedule removes itself once it has been sent."""

    def __init__(
        self,
        client: "EventBridgeSchedulerClient",
        *,
        group: str,
        queue_arn: str,
        dead_letter_arn: str,
        role_arn: str,
    ) -> None:
        self._client = client
        self._group = group
        self._queue_arn = queue_arn
        self._dead_letter_arn = dead_letter_arn
        self._role_arn = role_arn

    def at(self, moment: datetime, name: str, body: str) -> None:
        """See ``Schedules``."""
        with translated("schedule a command"):
            try:
                self._client.create_schedule(
                    Name=name,
                    GroupName=self._group,
                    ScheduleExpression=f"at({moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
                    ScheduleExpressionTimezone="UTC",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    Target={
                        "Arn": self._queue_arn,
                        "RoleArn": self._role_arn,
                        "Input": body,
                        "DeadLetterConfig": {"Arn": self._dead_letter_arn},
                    },
                )
            except ClientError as error:
                if error_code(error) != "ConflictException":
                    raise
