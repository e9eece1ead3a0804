"""What `lifecycle uninstall` sees and removes on AWS, which moto plays.

moto does not keep what a deleted stack retained: tests/e2e/test_uninstall.py deletes one.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from cli.clients.footprint import RETAINED, AwsFootprint, FoundStack, Piece, Remnant
from cli.clients.leftover_bucket import LeftoverBucket
from cli.ui.errors import CliError, Exit
from tests.template.support import ROOT, load

REGION = "eu-west-1"
TABLE: dict[str, object] = {
    "Type": "AWS::DynamoDB::Table",
    "DeletionPolicy": "Retain",
    "Properties": {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    },
}
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
TEMPLATE: dict[str, dict[str, object]] = {
    "Resources": {
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "stack"}},
        "OwnRule": {
            "Type": "AWS::Events::Rule",
            "DependsOn": "Bus",
            "Properties": {"Name": "own", "EventBusName": "stack", "EventPattern": {"source": ["x"]}},
        },
        "LedgerTable": TABLE,
        "PlansBucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"},
        "OperatorsPolicy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": POLICY}},
    },
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


@pytest.fixture
def footprint(aws: None) -> AwsFootprint:
    client = boto3.client("cloudformation", region_name=REGION)
    client.create_stack(StackName="stack", TemplateBody=json.dumps(TEMPLATE), Capabilities=["CAPABILITY_IAM"])
    return AwsFootprint("stack", REGION, sleep=lambda seconds: None)


def client(service: str) -> Any:  # noqa: ANN401 - the clients have no common type
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


def part(footprint: AwsFootprint, name: str) -> list[Remnant]:
    return footprint.parts()[name]()


def test_the_kept_resources_are_those_that_the_template_retains() -> None:
    resources = load().resources
    retained = {name for name, one in resources.items() if str(one.get("DeletionPolicy", "")).startswith("Retain")}
    assert retained == RETAINED


def test_a_bus_rule_made_outside_the_stack_is_listed_and_removed_with_its_targets(footprint: AwsFootprint) -> None:
    events = client("events")
    events.put_rule(Name="mine", EventBusName="stack", EventPattern='{"source": ["x"]}')
    events.put_targets(Rule="mine", EventBusName="stack", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:eu-west-1:1:q"}])
    [rule] = part(footprint, "rules on the bus")
    assert (rule.piece, rule.name, rule.of) == (Piece.RULE, "mine", "stack")
    footprint.remove(rule)
    assert part(footprint, "rules on the bus") == []
    assert [one["Name"] for one in events.list_rules(EventBusName="stack")["Rules"]] == ["own"]
    footprint.remove(rule)  # It is gone: no error.


def test_attached_policies_are_listed_and_detached(footprint: AwsFootprint) -> None:
    iam = client("iam")
    [policy] = iam.list_policies(Scope="Local")["Policies"]
    iam.create_user(UserName="ann")
    iam.attach_user_policy(UserName="ann", PolicyArn=policy["Arn"])
    [one] = part(footprint, "attached policies")
    assert (one.piece, one.name) == (Piece.ATTACHMENT, "user ann")
    footprint.remove(one)
    assert iam.list_attached_user_policies(UserName="ann")["AttachedPolicies"] == []


def test_secrets_of_a_stack_whose_name_begins_alike_are_left_alone(footprint: AwsFootprint) -> None:
    secrets = client("secretsmanager")
    for name in ("stack/tokens/a", "stack-two/tokens/a", "stack"):
        secrets.create_secret(Name=name, SecretString="token")
    [one] = part(footprint, "secrets")
    assert one.name == "stack/tokens/a"
    footprint.remove(one)
    assert part(footprint, "secrets") == []
    secrets.restore_secret(SecretId="stack/tokens/a")  # For a week it can be.


def test_the_table_is_removed_after_its_deletion_protection_is_lifted(footprint: AwsFootprint) -> None:
    [one] = part(footprint, "ledger table")
    client("dynamodb").update_table(TableName=one.name, DeletionProtectionEnabled=True)
    [one] = part(footprint, "ledger table")
    assert one.note.startswith("deletion protection is lifted first")
    footprint.remove(one)
    assert client("dynamodb").list_tables()["TableNames"] == []


def test_termination_protection_blocks_and_is_never_lifted(aws: None) -> None:
    body = json.dumps({"Resources": {"LedgerTable": TABLE}})
    client("cloudformation").create_stack(StackName="stack", TemplateBody=body, EnableTerminationProtection=True)
    footprint = AwsFootprint("stack", REGION)
    protection, _ = part(footprint, "stack")
    assert "update-termination-protection" in protection.note
    with pytest.raises(CliError, match="Termination protection is on"):
        footprint.remove(protection)


def test_resources_imported_by_a_stack_of_another_name_are_not_listed() -> None:
    footprint = AwsFootprint("stack", REGION)
    footprint.__dict__["_stacks"] = [FoundStack("arn:stack", "DELETE_COMPLETE")]
    footprint.__dict__["_cloudformation"] = Remembering({"kept": None, "imported": "another"})
    assert footprint._physical("PlansBucket") == ["kept"]


def test_a_deleted_stack_unknown_to_cloudformation_is_an_error(footprint: AwsFootprint) -> None:
    footprint.__dict__["_stacks"] = [FoundStack("arn:gone", "DELETE_COMPLETE")]
    footprint.__dict__["_resources"] = []
    with pytest.raises(CliError, match="does not say what the stack left"):
        part(footprint, "resources of the deleted stack")


class Remembering:
    """CloudFormation, with a stack that left these buckets. Each has the name of the stack that holds it now."""

    def __init__(self, holders: dict[str, str | None]) -> None:
        self.holders = holders

    def get_paginator(self, name: str) -> "Remembering":
        assert name == "describe_stack_events"
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [
            {"StackEvents": [{"LogicalResourceId": "PlansBucket", "PhysicalResourceId": one} for one in self.holders]}
        ]

    def describe_stack_resources(self, **asked: str) -> dict[str, Any]:
        holder = self.holders[asked["PhysicalResourceId"]]
        if holder is None:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStackResources")
        return {"StackResources": [{"StackName": holder}]}


class FailingDeletion:
    """CloudFormation, as it answers for a stack whose bus is in use."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)
        self.asked = 0

    def delete_stack(self, **_: str) -> None:
        self.asked += 1

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"Stacks": [{"StackStatus": status}]}

    def describe_stack_events(self, **_: str) -> dict[str, Any]:
        reason = {"ResourceStatusReason": "Rule can't be deleted since it has targets."}
        return {"StackEvents": [{"LogicalResourceId": "Bus", "ResourceStatus": "DELETE_FAILED", **reason}]}


@pytest.mark.parametrize(
    ("statuses", "code", "says"),
    [
        (("DELETE_IN_PROGRESS", "DELETE_FAILED"), Exit.NOT_DONE, "Bus: Rule can't be deleted since it has targets."),
        (("DELETE_IN_PROGRESS",), Exit.PENDING, "still being deleted"),
    ],
)
def test_a_stack_that_could_not_be_deleted_is_reported_with_the_reason(
    statuses: tuple[str, ...], code: Exit, says: str
) -> None:
    footprint = AwsFootprint("stack", REGION, sleep=lambda seconds: None)
    footprint.__dict__["_cloudformation"] = FailingDeletion(*statuses)
    footprint.__dict__["_stacks"] = [FoundStack("arn:stack", "DELETE_FAILED")]
    with pytest.raises(CliError, match=says) as failed:
        footprint.remove(Remnant(Piece.STACK, "stack", "arn:stack"))
    assert failed.value.code is code


# --- buckets ----------------------------------------------------------------------------------------------------------


def bucket(*, locked: bool = False) -> LeftoverBucket:
    s3 = client("s3")
    where = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration=where, ObjectLockEnabledForBucket=locked)
    if locked:
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2555}}
        lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        s3.put_object_lock_configuration(Bucket="kept", ObjectLockConfiguration=lock)
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    for key in ("a", "b", "b"):
        s3.put_object(Bucket="kept", Key=key, Body=b"1234567890")
    return LeftoverBucket(s3, "kept")


def test_all_versions_and_delete_markers_are_counted_and_removed(aws: None) -> None:
    made = bucket()
    client("s3").delete_object(Bucket="kept", Key="a")
    contents = made.contents()
    assert contents is not None
    assert (contents.versions, contents.size, contents.note) == (3, 30, "1 delete markers")
    made.remove()
    assert made.contents() is None
    made.remove()  # It is gone: no error.


def test_a_bucket_with_locked_versions_is_kept_with_them(aws: None) -> None:
    made = bucket(locked=True)
    contents = made.contents()
    assert contents is not None
    assert contents.note == "Object Lock: GOVERNANCE, 2555 days"
    with pytest.raises(CliError, match=r"S3 refused to remove 3 versions \(AccessDenied 3\).*GOVERNANCE"):
        made.remove()
    assert made.contents() == contents


def test_a_bucket_that_may_not_be_read_does_not_count_as_empty(aws: None) -> None:
    class Refusing:
        def get_paginator(self, name: str) -> "Refusing":
            return self

        def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectVersions")

    with pytest.raises(ClientError):
        LeftoverBucket(Refusing(), "kept").contents()


# --- rights -----------------------------------------------------------------------------------------------------------

IAM_NAMES = {
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:DeleteObjects": "s3:DeleteObjectVersion",
}
"""Where IAM has another name than the API."""


def test_the_rights_that_the_documentation_names_are_those_that_are_used(footprint: AwsFootprint) -> None:
    calls: set[str] = set()

    def record(params: Any, model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        name = f"{model.service_model.endpoint_prefix}:{model.name}"
        calls.add(IAM_NAMES.get(name, name))

    footprint._session.events.register("provide-client-params", record)
    client("logs").create_log_group(logGroupName="/aws/lambda/stack/worker")
    client("secretsmanager").create_secret(Name="stack/tokens/a", SecretString="token")
    client("events").put_rule(Name="mine", EventBusName="stack", EventPattern='{"source": ["x"]}')
    client("events").put_targets(Rule="mine", EventBusName="stack", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:::q"}])
    client("iam").create_user(UserName="ann")
    [policy] = client("iam").list_policies(Scope="Local")["Policies"]
    client("iam").attach_user_policy(UserName="ann", PolicyArn=policy["Arn"])
    client("s3").put_object(Bucket=footprint._physical("PlansBucket")[0], Key="a", Body=b"a")

    [_, listing, removal] = [
        row
        for row in (ROOT / "docs/permissions.md").read_text().splitlines()
        if (row.startswith("| ") and "`iam:" in row) or row.startswith("| to")
    ]
    allowed = set(re.findall(r"`(\w+:\w+)`", listing))
    found = [one for lists in footprint.parts().values() for one in lists()]
    assert calls <= allowed, calls - allowed
    allowed |= set(re.findall(r"`(\w+:\w+)`", removal))
    for one in sorted(found, key=lambda one: list(Piece).index(one.piece)):
        footprint.remove(one)
    assert calls <= allowed, calls - allowed
    unused = {"DetachRolePolicy", "DetachGroupPolicy", "DescribeSecret", "ListSchedules", "DescribeStackResources"}
    assert {name.partition(":")[2] for name in allowed - calls} <= unused, "what moto cannot show"
