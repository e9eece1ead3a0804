"""One-time schedules in memory and in EventBridge Scheduler: one for each name, at its time, in UTC."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lifecycle.aws.scheduler import EventBridgeSchedules, MemorySchedules, Schedules, scheduled
from lifecycle.domain.errors import Code, Retryable
from tests.harness.builders import NOW

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

GROUP = "later"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:commands"
DEAD = f"{QUEUE}-dead-letters"
ROLE = "arn:aws:iam::123456789012:role/later"
BODY = json.dumps({"reason": "K\u00fcndigung <aws.scheduler.scheduled-time>"})

type Waiting = Callable[[], list[tuple[str, str]]]
MINUTE = timedelta(minutes=1)


def over(client: "EventBridgeSchedulerClient", clock: Callable[[], datetime] = lambda: NOW) -> EventBridgeSchedules:
    """The schedules of one group at one time."""
    return EventBridgeSchedules(
        client=client, group=GROUP, queue_arn=QUEUE, dead_letter_arn=DEAD, role_arn=ROLE, clock=clock
    )


def as_scheduler_sends(body: str) -> str:
    """The input as Scheduler sends it, with its keywords replaced."""
    return re.sub(r"<aws\.scheduler\.[a-z-]+>", "2026-06-15T12:00:00Z", body)


@pytest.fixture(params=["memory", "scheduler"])
def both(request: pytest.FixtureRequest) -> tuple[Schedules, Waiting, list[datetime]]:
    """The schedules, their times and messages, and a clock that a test can move."""
    time = [NOW]
    if request.param == "memory":
        memory = MemorySchedules(clock=lambda: time[0])
        return (
            memory,
            lambda: sorted((f"at({at:%Y-%m-%dT%H:%M:%S})", body) for at, body in memory.waiting.values()),
            time,
        )
    client = request.getfixturevalue("aws").client("scheduler")
    client.create_schedule_group(Name=GROUP)

    def waiting() -> list[tuple[str, str]]:
        names = [found["Name"] for found in client.list_schedules(GroupName=GROUP)["Schedules"]]
        found = [client.get_schedule(GroupName=GROUP, Name=name) for name in names]
        return sorted((each["ScheduleExpression"], each["Target"]["Input"]) for each in found)

    return over(client, lambda: time[0]), waiting, time


type Both = tuple[Schedules, Waiting, list[datetime]]


def test_a_schedule_is_rounded_up_to_the_next_minute_in_utc(both: Both) -> None:
    schedules, waiting, _ = both
    schedules.at(datetime(2031, 6, 15, 14, 30, 5, tzinfo=timezone(timedelta(hours=2))), "int_1", "{}")
    assert waiting() == [("at(2031-06-15T12:31:00)", "{}")]


def test_a_whole_minute_is_kept(both: Both) -> None:
    schedules, waiting, _ = both
    schedules.at(datetime(2031, 6, 15, 12, 30, tzinfo=UTC), "int_1", "{}")
    assert waiting() == [("at(2031-06-15T12:30:00)", "{}")]


@pytest.mark.parametrize("ago", [timedelta(), timedelta(seconds=-20), timedelta(days=3)])
def test_a_past_or_imminent_time_is_moved_ahead(both: Both, ago: timedelta) -> None:
    schedules, waiting, time = both
    time[0] = datetime(2031, 6, 15, 12, 30, 5, tzinfo=UTC)
    schedules.at(time[0] - ago, "int_1", "{}")
    assert waiting() == [("at(2031-06-15T12:32:00)", "{}")]


def test_the_same_message_for_the_same_time_has_one_schedule(both: Both) -> None:
    schedules, waiting, _ = both
    for _ in range(2):
        schedules.at(NOW + timedelta(days=1), "int_1", BODY)
    assert len(waiting()) == 1


def test_another_time_or_body_for_the_same_name_is_another_schedule(both: Both) -> None:
    schedules, waiting, _ = both
    schedules.at(NOW + timedelta(days=1), "int_1", "{}")
    schedules.at(NOW + timedelta(days=2), "int_1", "{}")
    schedules.at(NOW + timedelta(days=1), "int_1", "[]")
    assert len(waiting()) == 3


def test_a_new_schedule_never_has_the_name_of_one_that_has_run(both: Both) -> None:
    schedules, waiting, time = both
    due = NOW + timedelta(hours=1)
    schedules.at(due, "int_1", "{}")
    time[0] = due + timedelta(seconds=40)  # It has run, and its name is still in use.
    schedules.at(due, "int_1", "{}")
    assert len(waiting()) == 2


def test_placeholders_of_scheduler_in_a_reason_arrive_unchanged(both: Both) -> None:
    schedules, waiting, _ = both
    schedules.at(NOW + MINUTE, "int_1", BODY)
    [(_, kept)] = waiting()
    assert json.loads(as_scheduler_sends(kept)) == json.loads(BODY)


def test_schedule_names_are_valid_for_subjects_of_any_length() -> None:
    made = scheduled("expire-" + "x" * 200, NOW, BODY, NOW)
    assert re.fullmatch(r"[0-9a-zA-Z_.-]{1,64}", made.name)


def test_a_schedule_runs_once_into_the_commands_queue_and_removes_itself(aws: boto3.Session) -> None:
    client = aws.client("scheduler")
    client.create_schedule_group(Name=GROUP)
    over(client).at(NOW, "int_1", BODY)
    [found] = client.list_schedules(GroupName=GROUP)["Schedules"]
    made = client.get_schedule(GroupName=GROUP, Name=found["Name"])
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
def test_an_error_of_the_scheduler_can_be_retried(
    aws: boto3.Session, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    client = aws.client("scheduler")

    def refuse(**_: object) -> None:
        raise trouble

    monkeypatch.setattr(client, "create_schedule", refuse)
    with pytest.raises(Retryable) as refused:
        over(client).at(NOW, "int_1", BODY)
    assert refused.value.code is Code.UNAVAILABLE
    assert "private" not in refused.value.reason
