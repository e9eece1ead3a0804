"""The audit trail: its bucket, its only writer and its schedule."""

import json
import re
from fnmatch import fnmatch

from lifecycle.audit.chain import Record, What
from lifecycle.audit.sealer import LEASE, PATIENCE
from lifecycle.audit.store import KEEP, audit_row
from lifecycle.aws.metrics import Metric
from tests.template.support import (
    FUNCTIONS,
    HOUR,
    PLACEHOLDER,
    SHARED,
    TransformedTemplate,
    alarms,
    allowed,
    keys,
    statements,
    statements_of,
    target,
)


def test_the_audit_bucket_is_versioned_encrypted_and_private_and_outlives_the_stack(
    template: TransformedTemplate,
) -> None:
    resource = template.resources["AuditBucket"]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    made = resource["Properties"]
    assert made["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert made["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    assert made["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert "BucketName" not in made


def test_the_audit_bucket_refuses_plain_http(template: TransformedTemplate) -> None:
    policy = template.properties("AuditBucketPolicy")
    assert target(policy["Bucket"]) == "AuditBucket"
    (deny,) = policy["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
    assert [target(arn).partition("/")[0] for arn in deny["Resource"]] == ["AuditBucket", "AuditBucket"]
    assert [template.text(arn) for arn in deny["Resource"]] == [PLACEHOLDER, f"{PLACEHOLDER}/*"]
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_segments_are_kept_for_seven_years_and_longer_than_rows(template: TransformedTemplate) -> None:
    (kept, unfinished) = template.properties("AuditBucket")["LifecycleConfiguration"]["Rules"]
    days = {"Ref": "AuditDays"}
    assert (kept["Status"], kept["Prefix"], kept["ExpirationInDays"]) == ("Enabled", "audit/", days)
    assert kept["NoncurrentVersionExpiration"] == {"NoncurrentDays": days}
    assert unfinished["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    made = template.source["Parameters"]["AuditDays"]
    assert made["Default"] == 7 * 365
    assert made["MinValue"] > KEEP.days


def test_only_the_audit_function_reads_records_moves_the_head_and_reaches_the_bucket(
    template: TransformedTemplate,
) -> None:
    assert keys(template, "AuditFunction") == {
        "dynamodb:Query": {"audit#2*"},
        "dynamodb:GetItem": {"audit#head"},
        "dynamodb:PutItem": {"audit#head"},
    }
    for function in FUNCTIONS:
        made = [one for one in statements(template, function) if "AuditBucket" in json.dumps(one["Resource"])]
        if function != "AuditFunction":
            assert not made
            assert "audit#head" not in json.dumps(statements(template, function))
            continue
        keeping, listing = made
        assert set(keeping["Action"]) == {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
        assert keeping["Resource"] == {"Fn::Sub": "${AuditBucket.Arn}/audit/*"}
        assert (listing["Action"], listing["Resource"]) == ("s3:ListBucket", {"Fn::GetAtt": ["AuditBucket", "Arn"]})
        assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["audit/*"]}}


def test_other_functions_may_write_rows_of_hours_but_not_the_head() -> None:
    made = audit_row(Record(at=1_764_633_600_000, what=What.PLAN_MADE))
    assert fnmatch(made.key.pk, "audit#2*")
    assert not fnmatch("audit#head", "audit#2*")


def test_the_seal_runs_each_hour_once_the_hour_before_is_complete(template: TransformedTemplate) -> None:
    made = template.properties("HourlySeal")
    minute = re.fullmatch(r"cron\((\d+) \* \* \* \? \*\)", made["ScheduleExpression"])
    assert minute is not None
    assert PATIENCE.total_seconds() < int(minute[1]) * 60 < HOUR
    to = made["Target"]
    assert target(to["Arn"]) == "AuditFunction"
    assert target(to["RoleArn"]) == "SealScheduleRole"
    assert target(to["DeadLetterConfig"]["Arn"]) == "AuditDeadLetterQueue"
    assert to["RetryPolicy"]["MaximumEventAgeInSeconds"] <= HOUR
    json.loads(to["Input"])


def test_the_audit_function_times_out_before_its_lease_ends_and_the_lease_before_the_next_run(
    template: TransformedTemplate,
) -> None:
    assert template.properties("AuditFunction")["Timeout"] < LEASE.total_seconds() < HOUR


def test_a_failed_run_becomes_a_dead_letter_and_rings(template: TransformedTemplate) -> None:
    made = template.properties("AuditFunction")["DeadLetterConfig"]
    assert target(made["TargetArn"]) == "AuditDeadLetterQueue"
    assert allowed(template, "AuditFunction", "sqs") == {"sqs:SendMessage": {"AuditDeadLetterQueue"}}
    assert alarms(template, "ApproximateNumberOfMessagesVisible")["AuditDeadLetterQueue"]["Threshold"] == 0


def test_the_seal_schedule_may_only_invoke_the_audit_function_or_write_a_dead_letter(
    template: TransformedTemplate,
) -> None:
    found = {made["Action"]: target(made["Resource"]) for made in statements_of(template, "SealScheduleRole")}
    assert found == {"lambda:InvokeFunction": "AuditFunction", "sqs:SendMessage": "AuditDeadLetterQueue"}


def test_three_hours_without_a_seal_ring(template: TransformedTemplate) -> None:
    made = template.properties("AuditHeartbeatAlarm")
    variables = template.properties("AuditFunction")["Environment"]["Variables"]
    assert made["MetricName"] == Metric.AUDIT_SEALED.value
    assert made["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"]
    assert made["Dimensions"] == SHARED
    assert made["Period"] * made["EvaluationPeriods"] == 3 * HOUR
    assert made["DatapointsToAlarm"] == made["EvaluationPeriods"]
    assert (made["Statistic"], made["ComparisonOperator"], made["Threshold"]) == ("Sum", "LessThanThreshold", 1)
