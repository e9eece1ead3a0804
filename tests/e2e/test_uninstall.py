"""Leaving: the deployed stack is listed, and a stack that keeps the same things is deleted, with what it leaves."""

import json
import time
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from sandbox.language_extensions import expanded
from sandbox.stack import ROOT
from tests.e2e.bench import ORG, Bench, until

pytestmark = pytest.mark.e2e

NAME = "leaving"
KEPT = ("PlansBucket", "ExportsBucket", "AuditBucket", "LedgerTable", "IdKeySecret", "Bus", "LaterGroup")
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}


def uninstall(bench: Bench, *options: str, stack: str = NAME, typed: str = "") -> Result:
    runner = CliRunner(env={**bench.stack.environment, "COLUMNS": "200", "LIFECYCLE_STACK": None})
    return runner.invoke(app, ["--stack", stack, "uninstall", *options], input=typed)


def client(bench: Bench, service: str) -> Any:  # noqa: ANN401 - the clients have no common type
    made: Any = boto3.Session(*("test",) * 2, region_name="eu-west-1")
    return made.client(service, endpoint_url=bench.stack.endpoint_url)


def names(result: Result) -> dict[str, list[str]]:
    """The names of the pieces, by kind."""
    assert result.exit_code == 0, result.output
    found: dict[str, list[str]] = {}
    for one in json.loads(result.stdout)["pieces"]:
        found.setdefault(one["kind"], []).append(one["name"])
    return found


def test_everything_of_the_deployed_stack_is_listed(bench: Bench) -> None:
    name, outputs = bench.stack.options.stack_name, bench.stack.outputs
    result = uninstall(bench, "--json", stack=name)
    found, told = names(result), json.loads(result.stdout)
    assert told["unknown"] == {}
    assert told["deployed"]
    assert found["stack"] == [name]
    pages = bench.stack.cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    own = [one for page in pages for one in page["StackResourceSummaries"]]
    groups = {one.get("PhysicalResourceId") for one in own if one["ResourceType"] == "AWS::Logs::LogGroup"}
    assert set(found["log group"]) == groups
    assert len(groups) > 10
    assert f"{name}/tokens/{ORG}" in found["secret"]
    assert f"{name}/sources/operator" in found["secret"]
    for kind, output in (("plans", "PlansBucketName"), ("audit", "AuditBucketName"), ("exports", "ExportsBucketName")):
        assert found[f"{kind} bucket"] == [outputs[output]]
    assert found["ledger table"] == [outputs["LedgerTableName"]]
    assert len(found["id key"]) == 1
    assert "rule on the bus" not in found
    assert any("is not paused" in one["text"] for one in told["findings"])


@pytest.fixture
def leaving(bench: Bench) -> dict[str, str]:
    """A stack with the resources of the template that a deletion leaves, and things of people around it.

    Returns the physical names by the logical ones.
    """
    whole = expanded(ROOT / "template.yaml")
    made = {part: whole[part] for part in ("AWSTemplateFormatVersion", "Parameters", "Conditions")}
    policy = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": POLICY}}
    resources = {name: whole["Resources"][name] for name in KEPT} | {"ApproversPolicy": policy}
    formation = bench.stack.cloudformation
    formation.create_stack(
        StackName=NAME,
        TemplateBody=json.dumps({**made, "Resources": resources}),
        Parameters=[{"ParameterKey": "OrganizationIds", "ParameterValue": ORG}],
        Capabilities=["CAPABILITY_IAM"],
    )
    until(lambda: status(bench) == "CREATE_COMPLETE", 60, "the stack to be created")
    listed = formation.list_stack_resources(StackName=NAME)["StackResourceSummaries"]
    names = {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in listed}
    s3, iam, events = client(bench, "s3"), client(bench, "iam"), bench.stack.events
    for bucket in KEPT[:3]:
        for body in (b"first", b"second"):
            s3.put_object(Bucket=names[bucket], Key="kept/one", Body=body)
    s3.delete_object(Bucket=names["PlansBucket"], Key="kept/one")
    for secret in (f"{NAME}/tokens/{ORG}", f"{NAME}-too/tokens/{ORG}"):
        bench.stack.secretsmanager.create_secret(Name=secret, SecretString="token")
    events.put_rule(Name="mine", EventBusName=NAME, EventPattern='{"source": ["x"]}')
    events.put_targets(Rule="mine", EventBusName=NAME, Targets=[{"Id": "1", "Arn": "arn:aws:sqs:eu-west-1:1:mine"}])
    iam.create_user(UserName="leaver")
    iam.attach_user_policy(UserName="leaver", PolicyArn=names["ApproversPolicy"])
    return names


def status(bench: Bench) -> str:
    time.sleep(0.1)
    return bench.stack.cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatus"]


def test_a_stack_is_removed_with_everything_it_leaves_and_the_evidence_in_a_second_step(
    bench: Bench, leaving: dict[str, str]
) -> None:
    evidence = {
        f"ledger table {leaving['LedgerTable']}",
        f"id key {leaving['IdKeySecret']}",
        f"audit bucket {leaving['AuditBucket']}",
        f"exports bucket {leaving['ExportsBucket']}",
    }
    first = uninstall(bench, "--delete", "--although-busy", "--json", typed=f"{NAME}\n")
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert told["removed"] == [
        "rule on the bus mine",
        "attached policy user leaver",
        f"stack {NAME}",
        f"secret {NAME}/tokens/{ORG}",
        f"plans bucket {leaving['PlansBucket']}",
    ]
    assert {one["what"] for one in told["still_there"]} == evidence

    second = uninstall(bench, "--delete", "--with-records", "--with-exports", "--json", typed=f"{NAME}\n")
    assert second.exit_code == 0, second.output
    assert set(json.loads(second.stdout)["removed"]) == evidence, "only CloudFormation remembers them by now"
    assert "Nothing is left of it." in uninstall(bench).output
    assert leaving["LedgerTable"] not in bench.stack.dynamodb.list_tables()["TableNames"]
    buckets = {one["Name"] for one in client(bench, "s3").list_buckets()["Buckets"]}
    assert not buckets & set(leaving.values())
    alike = bench.stack.secretsmanager.describe_secret(SecretId=f"{NAME}-too/tokens/{ORG}")
    assert "DeletedDate" not in alike
