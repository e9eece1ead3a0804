"""One-time schedules over memory and over EventBridge Scheduler: once for each name, at its time, in UTC."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lifecycle.adapters.schedules import EventBridgeSchedules, MemorySchedules, Schedules
from lifecycle.words.errors import Code, Retryable
from tests.builders import NOW

GROUP = "later"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:commands"
DEAD = f"{QUEUE}-dead-letters"
ROLE = "arn:aws:iam::123456789012:role/later"
BODY = json.dumps({"reason": "K\u00fcndigung <aws.scheduler.scheduled-time>"})

type Waiting = Callable[[], dict[str, tuple[str, str]]]


@pytest.fixture(params=["memory", "scheduler"])
def both(request: pytest.FixtureRequest) -> tuple[Schedules, Waiting]:
    """The schedules, and what waits in them: when and what, by name."""
    if request.param == "memory":
        memory = MemorySchedules()
        return memory, lambda: {
            name: (f"at({moment.astimezone(NOW.tzinfo):%Y-%m-%dT%H:%M:%S})", body)
            for name, (moment, body) in memory.waiting.items()
        }
    client = request.getfixturevalue("aws").client("scheduler")
    client.create_schedule_group(Name=GROUP)

    def waiting() -> dict[str, tuple[str, str]]:
        names = [found["Name"] for found in client.list_schedules(GroupName=GROUP)["Schedules"]]
        found = {name: client.get_schedule(GroupName=GROUP, Name=name) for name in names}
        return {name: (each["ScheduleExpression"], each["Target"]["Input"]) for name, each in found.items()}

    return EventBridgeSchedules(client, group=GROUP, queue_arn=QUEUE, dead_letter_arn=DEAD, role_arn=ROLE), waiting


def test_a_message_waits_for_its_moment_in_utc(both: tuple[Schedules, Waiting]) -> None:
    schedules, waiting = both
    schedules.at(datetime(2026, 6, 15, 14, 30, 5, tzinfo=timezone(timedelta(hours=2))), "int_1", BODY)
    assert waiting() == {"int_1": ("at(2026-06-15T12:30:05)", BODY)}


def test_the_same_name_again_changes_nothing(both: tuple[Schedules, Waiting]) -> None:
    schedules, waiting = both
    schedules.at(NOW, "int_1", BODY)
    kept = waiting()
    schedules.at(NOW + timedelta(days=1), "int_1", "another")
    assert waiting() == kept
    schedules.at(NOW, "int_2", BODY)
    assert set(waiting()) == {"int_1", "int_2"}


def test_a_schedule_runs_once_at_its_minute_into_the_commands_queue_and_removes_itself(aws: boto3.Session) -> None:
    client = aws.client("scheduler")
    client.create_schedule_group(Name=GROUP)
    EventBridgeSchedules(client, group=GROUP, queue_arn=QUEUE, dead_letter_arn=DEAD, role_arn=ROLE).at(
        NOW, "int_1", BODY
    )
    made = client.get_schedule(GroupName=GROUP, Name="int_1")
    assert (made["ActionAfterCompletion"], made["FlexibleTimeWindow"]) == ("DELETE", {"Mode": "OFF"})
    assert made["ScheduleExpressionTimezone"] == "UTC"
    assert (made["Target"]["Arn"], made["Target"]["RoleArn"]) == (QUEUE, ROLE)
    assert made["Target"]["DeadLetterConfig"] == {"Arn": DEAD}


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": "private"}}, "CreateSchedule"),
        ClientError({"Error": {"Code": "ServiceQuotaExceededException", "Message": "private"}}, "CreateSchedule"),
        EndpointConnectionError(endpoint_url="https://private"),
    ],
)
def test_what_the_scheduler_does_not_take_now_is_worth_another_try(
    aws: boto3.Session, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    client = aws.client("scheduler")

    def refuse(**_: object) -> None:
        raise trouble

    monkeypatch.setattr(client, "create_schedule", refuse)
    with pytest.raises(Retryable) as refused:
        EventBridgeSchedules(client, group=GROUP, queue_arn=QUEUE, dead_letter_arn=DEAD, role_arn=ROLE).at(
            NOW, "int_1", BODY
        )
    assert refused.value.code is Code.UNAVAILABLE
    assert "private" not in refused.value.reason
