"""One-time schedules: a message enters its queue at a later time. SQS itself delays for at most 15 minutes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from botocore.exceptions import ClientError

from lifecycle.aws.errors import error_code, translated

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

_MINUTE = timedelta(minutes=1)
_LONGEST_NAME = 64
"""The longest name of a schedule, in characters (CreateSchedule, parameter ``Name``)."""
_DIGEST = 32


class Schedules(Protocol):
    """Sends messages at a later time."""

    def at(self, moment: datetime, name: str, body: str) -> None:
        """Send ``body`` (JSON) to the commands queue, never before ``moment`` (UTC), and at most two minutes after it.

        Repeating the call with the same arguments changes nothing. Another time or body makes another schedule.
        """


class Scheduled(NamedTuple):
    """A schedule as EventBridge Scheduler gets it."""

    name: str
    moment: datetime
    body: str


def scheduled(name: str, moment: datetime, body: str, now: datetime) -> Scheduled:
    r"""The schedule that sends ``body``.

    EventBridge Scheduler works in whole minutes and may run early within one, so the time is rounded up. A time in
    the past or within a minute is moved ahead, because AWS does not document that a schedule in the past runs.

    A schedule that has run keeps its name for a while. The name holds the time and the body, and the time is always
    ahead, so a name in use belongs to the same message, which is still waiting.

    Scheduler replaces ``<aws.scheduler.…>`` in its input. In JSON ``<`` occurs only within texts, where
    ``\u003c`` means the same.
    """
    latest = max(moment, now + _MINUTE).astimezone(UTC)
    whole = latest.replace(second=0, microsecond=0)
    whole = whole if whole == latest else whole + _MINUTE
    safe = body.replace("<", "\\u003c")
    digest = hashlib.sha256(f"{name} {whole.isoformat()} {safe}".encode()).hexdigest()[:_DIGEST]
    return Scheduled(f"{name[: _LONGEST_NAME - _DIGEST - 1]}-{digest}", whole, safe)


@dataclass(slots=True)
class MemorySchedules:
    """Keeps schedules in memory by name, for tests. ``clock``: see ``scheduled``; by default, the year 1."""

    waiting: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    clock: Callable[[], datetime] = lambda: datetime.min.replace(tzinfo=UTC)

    def at(self, moment: datetime, name: str, body: str) -> None:
        """See ``Schedules``."""
        made = scheduled(name, moment, body, self.clock())
        self.waiting[made.name] = (made.moment, made.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBridgeSchedules:
    """EventBridge Scheduler, in the stack's own group. A schedule removes itself once it has been sent."""

    client: "EventBridgeSchedulerClient"
    group: str
    queue_arn: str
    dead_letter_arn: str
    role_arn: str
    clock: Callable[[], datetime]

    def at(self, moment: datetime, name: str, body: str) -> None:
        """See ``Schedules``."""
        made = scheduled(name, moment, body, self.clock())
        with translated("schedule a command"):
            try:
                self.client.create_schedule(
                    Name=made.name,
                    GroupName=self.group,
                    ScheduleExpression=f"at({made.moment:%Y-%m-%dT%H:%M:%S})",
                    ScheduleExpressionTimezone="UTC",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    Target={
                        "Arn": self.queue_arn,
                        "RoleArn": self.role_arn,
                        "Input": made.body,
                        "DeadLetterConfig": {"Arn": self.dead_letter_arn},
                    },
                )
            except ClientError as error:
                # The name proves that it is the same message and that its time is still ahead.
                if error_code(error) != "ConflictException":
                    raise
