"""Schedules for functions whose commands wait for a time."""

from lifecycle.aws.clients import late_client
from lifecycle.aws.scheduler import EventBridgeSchedules
from lifecycle.bootstrap.common import now, rows
from lifecycle.bootstrap.settings import IntakeSettings, PurgeSettings
from lifecycle.execution.wakeups import RememberedSchedules


def schedules(settings: IntakeSettings | PurgeSettings, *, queue_arn: str, dead_letter_arn: str) -> RememberedSchedules:
    """Schedules that send to a queue, or to its dead-letter queue if that fails."""
    return RememberedSchedules(
        EventBridgeSchedules(
            client=late_client("scheduler"),
            group=settings.schedule_group,
            queue_arn=queue_arn,
            dead_letter_arn=dead_letter_arn,
            role_arn=settings.schedule_role_arn,
            clock=now,
        ),
        rows(settings.ledger_table),
    )
