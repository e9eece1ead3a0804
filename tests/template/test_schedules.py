"""Schedules: when sweeps and checks start, and where a start that fails goes."""

import tomllib

import pytest

from lifecycle.sweep.jobs import SweepJob
from tests.template.support import (
    HOUR,
    ROOT,
    SCHEDULES,
    TransformedTemplate,
    many,
    statements_of,
    target,
)


def test_cloudformation_names_each_schedule(template: TransformedTemplate) -> None:
    """Scheduler takes 64 characters, a stack's name may have 128; CloudFormation shortens, and names two apart."""
    schedules = template.of_type("AWS::Scheduler::Schedule")
    assert set(schedules) == set(SCHEDULES)
    (group,) = template.of_type("AWS::Scheduler::ScheduleGroup").values()
    made = [*(schedule["Properties"] for schedule in schedules.values()), group.get("Properties", {})]
    assert not [one for one in made if "Name" in one]


def test_the_sweep_starts_at_a_local_time_that_exists_every_day(template: TransformedTemplate) -> None:
    made = template.properties("NightlySweep")
    assert made["ScheduleExpression"] == {"Ref": "SweepSchedule"}
    assert made["ScheduleExpressionTimezone"] == {"Ref": "SweepTimeZone"}
    assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert template.parameters["SweepSchedule"] == "cron(10 4 * * ? *)"


def test_the_daily_check_runs_each_morning_however_rare_sweeps_are(template: TransformedTemplate) -> None:
    made = template.properties("DailyCheck")
    assert made["ScheduleExpression"] == "cron(40 7 * * ? *)"
    assert made["ScheduleExpressionTimezone"] == {"Ref": "SweepTimeZone"}
    assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}


@pytest.mark.parametrize(("schedule", "kind"), [("NightlySweep", "sweep"), ("DailyCheck", "check")])
def test_each_schedule_starts_its_job_and_keeps_a_start_that_failed(
    template: TransformedTemplate, schedule: str, kind: str
) -> None:
    to = template.properties(schedule)["Target"]
    assert target(to["Arn"]) == "SweepsQueue"
    assert target(to["RoleArn"]) == "SweepSchedulesRole"
    assert target(to["DeadLetterConfig"]["Arn"]) == "SweepsDeadLetterQueue"
    assert to["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert HOUR <= to["RetryPolicy"]["MaximumEventAgeInSeconds"] < 26 * HOUR
    job = SweepJob.model_validate_json(to["Input"].replace("<aws.scheduler.scheduled-time>", "2026-06-15T02:10:00Z"))
    assert job.sweep_id == "2026-06-15T02:10:00Z"
    assert job.kind == kind
    assert job.org_id is None


@pytest.mark.parametrize(
    ("role", "queues"),
    [
        ("SweepSchedulesRole", {"SweepsQueue", "SweepsDeadLetterQueue"}),
        ("LaterRole", {"CommandsQueue", "CommandsDeadLetterQueue", "PurgeQueue", "PurgeDeadLetterQueue"}),
    ],
)
def test_the_scheduler_roles_may_only_send_to_their_queues(
    template: TransformedTemplate, role: str, queues: set[str]
) -> None:
    (made,) = statements_of(template, role)
    assert made["Action"] == "sqs:SendMessage"
    assert {target(arn) for arn in many(made["Resource"])} == queues


def test_a_sweep_only_reports_unless_sweep_mode_says_apply(template: TransformedTemplate) -> None:
    assert template.source["Parameters"]["SweepMode"]["AllowedValues"] == ["report", "apply"]
    assert template.parameters["SweepMode"] == "report"
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name, environment in settings.items():
        if name != "version":
            assert "SweepMode=report" in environment["deploy"]["parameters"]["parameter_overrides"], name
