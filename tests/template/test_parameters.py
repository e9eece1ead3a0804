"""Parameters and outputs of the template."""

import re

import pytest

from tests.template.support import (
    ORGANIZATION,
    WORKERS,
    TransformedTemplate,
)


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (
            "OrganizationIds",
            [ORGANIZATION, f"{ORGANIZATION},{'f' * 32}"],
            ["", " ", ",", f"{ORGANIZATION},", f"{ORGANIZATION}, {'f' * 32}", ORGANIZATION.upper(), "f" * 31, "*"],
        ),
        (
            "TallyfyBaseUrl",
            ["https://go.tallyfy.com/api", "https://api.tallyfy.com", "http://127.0.0.1:8123/api"],
            ["", "http://go.tallyfy.com/api", "https://", "https://go.tallyfy.com/api/", "https://u:p@host/api"],
        ),
        (
            "EventSenderAccountIds",
            ["", "111122223333", "111122223333,444455556666"],
            [
                " ",
                "*",
                "11112222333",
                "111122223333,",
                "111122223333, 444455556666",
                "arn:aws:iam::111122223333:root",
            ],
        ),
        (
            "PartnerBus",
            [
                "",
                "partner",
                "aws.partner/a.com/00D/0YL",
                "arn:aws:events:eu-west-1:111122223333:event-bus/a.b/c",
            ],
            [" ", "a b", "arn:aws:events:eu-west-1:event-bus/a", "*", "a,b"],
        ),
        ("IncomingDetailTypes", ["project.closed", "Project Closed", "x"], ["", " ", "project.closed ", "a,b"]),
        (
            "SweepSchedule",
            ["cron(10 4 * * ? *)", "rate(1 day)"],
            ["", " ", "10 4 * * *", "at(2026-01-01T00:00:00)", "cron()", "cron(10 4 * * ? *) "],
        ),
        (
            "SweepTimeZone",
            ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"],
            ["", " ", "/", "../x", "UTC/"],
        ),
        ("AlarmEmail", ["", "someone@example.com"], [" ", "someone", "a@b", "a b@example.com"]),
    ],
)
def test_a_parameter_refuses_malformed_text(
    template: TransformedTemplate, parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = template.source["Parameters"][parameter]["AllowedPattern"]
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    assert [text for text in good if not re.search(pattern, text)] == []
    assert [text for text in bad if re.search(pattern, text)] == []


def test_organization_ids_has_no_default(template: TransformedTemplate) -> None:
    assert "Default" not in template.source["Parameters"]["OrganizationIds"]


def test_minimum_archive_days_is_at_least_one(template: TransformedTemplate) -> None:
    """CloudFormation takes nothing blank for a number, and nothing below the least: neither means "at once"."""
    made = template.source["Parameters"]["MinimumArchiveDays"]
    assert (made["Type"], made["MinValue"], made["Default"]) == ("Number", 1, 30)
    for function in WORKERS:
        variables = template.properties(function)["Environment"]["Variables"]
        assert variables["MINIMUM_ARCHIVE_DAYS"] == {"Ref": "MinimumArchiveDays"}


@pytest.mark.parametrize(
    "parameter", ["RatePerMinute", "LedgerDays", "RetryBaseSeconds", "PlanDays", "ExportDays", "AuditDays"]
)
def test_each_number_has_bounds(template: TransformedTemplate, parameter: str) -> None:
    made = template.source["Parameters"][parameter]
    assert 0 < made["MinValue"] <= made["Default"] <= made["MaxValue"]


def test_each_parameter_is_in_one_group_of_the_console(template: TransformedTemplate) -> None:
    groups = template.source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(template.source["Parameters"])


def test_every_parameter_has_a_description(template: TransformedTemplate) -> None:
    assert [name for name, made in template.source["Parameters"].items() if "Description" not in made] == []


def test_the_outputs_are_those_that_tools_look_up(template: TransformedTemplate) -> None:
    assert set(template.transformed["Outputs"]) == {
        *("ApiUrl", "CommandsQueueUrl", "CommandsDeadLetterQueueUrl", "PurgeQueueUrl", "PurgeDeadLetterQueueUrl"),
        *("BulkQueueUrl", "BulkDeadLetterQueueUrl", "EventsQueueUrl", "EventsDeadLetterQueueUrl"),
        *("SweepsQueueUrl", "SweepsDeadLetterQueueUrl", "ChatQueueUrl", "ChatDeadLetterQueueUrl", "BusArn"),
        *("LedgerTableName", "BusName", "SecretPrefix", "AlarmTopicArn", "OrganizationIds", "TallyfyBaseUrl"),
        *(
            "DashboardUrl",
            "PlansBucketName",
            "ExportsBucketName",
            "AuditBucketName",
            "OperatorsPolicyArn",
            "ApproversPolicyArn",
        ),
    }
