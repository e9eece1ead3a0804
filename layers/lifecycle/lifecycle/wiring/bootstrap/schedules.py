"""For functions whose commands wait for their day."""

from lifecycle.adapters.schedules import EventBridgeSchedules
from lifecycle.adapters.wakeups import RememberedSchedules
from lifecycle.wiring.bootstrap.common import CONFIG, now, rows, session
from lifecycle.wiring.settings import IntakeSettings, PurgeSettings


def schedules(settings: IntakeSettings | PurgeSettings, *, queue_arn: str, dead_letter_arn: str) -> RememberedSchedules:
    """Schedules into a queue, or into its dead letters where that fails."""
    return RememberedSchedules(
        EventBridgeSchedules(
            client=session().client("scheduler", config=CONFIG),
            group=settings.schedule_group,
            queue_arn=queue_arn,
            dead_letter_arn=dead_letter_arn,
            role_arn=settings.schedule_role_arn,
            clock=now,
        ),
        rows(settings.ledger_table),
    )
