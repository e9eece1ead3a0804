import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError
from botocore.stub import Stubber
from moto import mock_aws
from typer.testing import CliRunner

from cli.clients.stack import _NAMESPACE, AwsStack, one_organization, organizations_of, output_of, paired, progress
from cli.main import app
from cli.services import dead_letter_queue
from cli.ui.errors import CliError, Exit, expected_error
from lifecycle.aws.dynamodb import DynamoTable, Key, Put
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.policy.evaluate import Mode
from sandbox.build import ROOT, LocalStackError
from sandbox.language_extensions import expanded
from sandbox.simulator import default_seed
from tests.harness.builders import NOW, ORG, Clock, command
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World

REGION = "eu-west-1"
OTHER = "b" * 32
QUEUES = ("CommandsQueue", "CommandsDeadLetterQueue", "PurgeQueue", "PurgeDeadLetterQueue")
TEMPLATE = {
    "Parameters": {"SweepMode": {"Type": "String", "Default": "report"}},
    "Resources": {
        **{name: {"Type": "AWS::SQS::Queue"} for name in QUEUES},
        "PlansBucket": {"Type": "AWS::S3::Bucket"},
        "AuditBucket": {"Type": "AWS::S3::Bucket"},
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "stack"}},
        "LedgerTable": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
            },
        },
    },
    "Outputs": {
        **{f"{name}Url": {"Value": {"Ref": name}} for name in QUEUES},
        "LedgerTableName": {"Value": {"Ref": "LedgerTable"}},
        "PlansBucketName": {"Value": {"Ref": "PlansBucket"}},
        "AuditBucketName": {"Value": {"Ref": "AuditBucket"}},
        "OrganizationIds": {"Value": f"{ORG},{OTHER}"},
        "SecretPrefix": {"Value": "stack"},
        "BusName": {"Value": "stack"},
    },
}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsStack]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("cloudformation", region_name=REGION)
        client.create_stack(StackName="stack", TemplateBody=json.dumps(TEMPLATE))
        yield AwsStack("stack", REGION, wait_seconds=0)


def test_the_outputs_of_a_stack_are_read(stack: AwsStack) -> None:
    assert output_of(stack, "SecretPrefix") == "stack"


def test_a_missing_output_is_reported(stack: AwsStack) -> None:
    with pytest.raises(CliError, match="no output ApiUrl") as told:
        output_of(stack, "ApiUrl")
    assert told.value.code is Exit.UNREACHABLE


def test_a_missing_stack_is_reported(stack: AwsStack) -> None:
    assert stack.name
    with pytest.raises(CliError, match="no stack 'other' in eu-west-1"):
        AwsStack("other", REGION).outputs()


def test_a_missing_secret_is_reported(stack: AwsStack) -> None:
    with pytest.raises(Retryable, match="does not exist"):
        stack.secrets().get("stack/sources/operator")


def test_an_intent_is_read_from_the_ledger(stack: AwsStack, clock: Clock) -> None:
    assert stack.intent(command().intent_id) is None
    rows = DynamoTable(boto3.client("dynamodb", region_name=REGION), output_of(stack, "LedgerTableName"))
    terms = LedgerTerms(lease=NOW - NOW, keep=NOW - NOW, most_attempts=6)
    Ledger(rows, terms, clock).accept(command())
    row = stack.intent(command().intent_id)
    assert row is not None
    assert row.status == "accepted"


def test_a_hold_is_set_and_removed_under_the_callers_aws_identity(stack: AwsStack) -> None:
    assert stack.caller().startswith("arn:aws:")
    stack.holds().add(ORG, "owner", "4711", reason="an audit", by=stack.caller())
    [hold] = stack.holds().holds(ORG)
    assert (hold.key, hold.reason, hold.by) == ("owner#4711", "an audit", stack.caller())
    assert hold.since is not None
    assert stack.holds().lift(ORG, "owner", "4711")
    assert stack.holds().reasons(ORG) == {}


def test_dead_letters_are_read_from_sqs_and_sent_again(stack: AwsStack, clock: Clock) -> None:
    pairs = stack.pairs()
    told = {"code": "held", "reason": "On hold.", "intent_id": command().intent_id, "redrive": "2"}
    pairs[1].dead.send(command(action="delete").to_json(), told)
    dead_letter_queue.look(pairs, most=100, clock=clock)
    [letter] = dead_letter_queue.look(pairs, most=100, clock=clock).letters  # It was left there.
    assert (letter.queue, letter.code, letter.what[:14]) == ("purge", "held", "delete process")
    assert len(letter.message.id) == 36
    [deed] = dead_letter_queue.send_again(pairs, [letter], most=100, clock=clock)
    assert deed.done
    assert dead_letter_queue.look(pairs, most=100, clock=clock).letters == []
    [message] = pairs[1].origin.receive()
    assert (message.body, message.attributes) == (letter.message.body, {"redrive": "3"})


def test_an_older_stack_has_fewer_queue_pairs_with_commands_first(stack: AwsStack) -> None:
    assert [pair.name for pair in stack.pairs()] == ["commands", "purge"]


def test_the_queues_of_the_template_are_paired_by_their_outputs() -> None:
    outputs = expanded(ROOT / "template.yaml")["Outputs"]
    names = paired(outputs)
    assert names == ["Commands", "Purge", "Bulk", "Events", "Sweeps", "Chat"]
    assert {f"{name}QueueUrl" for name in names} <= set(outputs)


def test_events_go_to_the_bus_of_the_stack(stack: AwsStack) -> None:
    events = boto3.client("events", region_name=REGION)
    events.create_archive(ArchiveName="heard", EventSourceArn=events.describe_event_bus(Name="stack")["Arn"])
    entry = {"Source": "com.example.projects", "DetailType": "project.closed", "Detail": "{}", "EventBusName": "other"}
    assert stack.put_events([entry, entry]) == 0
    assert events.describe_archive(ArchiveName="heard")["EventCount"] == 2
    assert stack.put_events([{"Source": "", "DetailType": "x", "Detail": "{}"}]) == 1


def test_the_parameters_of_a_stack_are_read(stack: AwsStack) -> None:
    assert stack.parameters() == {"SweepMode": "report"}


def test_a_sweep_is_read_from_the_row_that_a_sweep_writes(stack: AwsStack, clock: Clock) -> None:
    world = World(clock)
    world.simulator.load(default_seed())
    night = SweepRun(world, mode=Mode.REPORT)
    night.begin("2026-06-01T04:10:00Z")
    while night.deliver():
        pass
    found = progress(world.rows, "2026-06-01T04:10:00Z", ORG)
    assert found is not None
    assert (found.done, found.seen, found.due, found.plan) == (True, 2, 1, night.plans()[0].hash)
    assert progress(world.rows, "another", ORG) is None
    assert stack.sweep("another", ORG) is None


def test_plans_are_read_from_the_bucket_and_records_from_the_table(stack: AwsStack) -> None:
    bucket = output_of(stack, "PlansBucketName")
    client = boto3.client("s3", region_name=REGION)
    client.put_object(Bucket=bucket, Key=f"plans/{ORG}/{'a' * 64}/plan.json", Body=b"{}")
    assert stack.objects().get(f"plans/{ORG}/{'a' * 64}/plan.json") == b"{}"
    key = Key(f"sweep#{ORG}", "newest")
    stack.rows().write(Put(key, {"plan": "a" * 64}, 0))
    [row] = stack.rows().read(key)
    assert row is not None
    assert row.values == {"plan": "a" * 64}


def test_the_audit_trail_is_read_from_its_bucket(stack: AwsStack) -> None:
    client = boto3.client("s3", region_name=REGION)
    client.put_object(Bucket=output_of(stack, "AuditBucketName"), Key="audit/2026/06/01/12-1.jsonl", Body=b"{}")
    assert stack.audit().keys("audit/") == ["audit/2026/06/01/12-1.jsonl"]


def test_only_an_organization_of_the_stack_is_accepted(stack: AwsStack) -> None:
    assert organizations_of(stack, None) == [ORG, OTHER]
    assert organizations_of(stack, f" {OTHER}") == [OTHER]
    with pytest.raises(CliError, match="not one of this stack's"):
        organizations_of(stack, "c" * 32)
    with pytest.raises(CliError, match=f"--org: {ORG}, {OTHER}"):
        one_organization(stack, None)
    assert one_organization(stack, ORG) == ORG


def _client_error() -> ClientError:
    return ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeStacks")


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (NoCredentialsError(), "AWS_PROFILE", Exit.UNREACHABLE),
        (NoRegionError(), "--region", Exit.UNREACHABLE),
        (_client_error(), "DescribeStacks: AccessDenied", Exit.UNREACHABLE),
        (EndpointConnectionError(endpoint_url="https://x"), "could not be reached", Exit.UNREACHABLE),
        (Rejected(Code.HELD, "It is on hold."), "It is on hold.", Exit.NOT_DONE),
        (Retryable(Code.UNAVAILABLE, "Not now."), "Not now.", Exit.UNREACHABLE),
        (LocalStackError("sam is missing"), "sam is missing", Exit.UNREACHABLE),
        (CliError("as it is", Exit.USAGE), "as it is", Exit.USAGE),
    ],
)
def test_expected_errors_become_a_line_and_an_exit_code(error: Exception, said: str, code: Exit) -> None:
    trouble = expected_error(error)
    assert trouble is not None
    assert said in str(trouble)
    assert trouble.code is code


def test_a_bug_keeps_its_traceback() -> None:
    assert expected_error(KeyError("x")) is None


def test_the_exit_codes_are_documented() -> None:
    said = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120", "TERM": "dumb"}).output.split())
    for code in Exit:
        assert f"{code.value} " in said[said.index("Exit codes") :]


def test_only_this_stacks_secrets_scheduled_for_deletion_are_listed(stack: AwsStack) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    for name in ("stack/sources/crm", "stack/sources/jira", "stack-2/sources/crm"):
        client.create_secret(Name=name, SecretString="x")
    for name in ("stack/sources/crm", "stack-2/sources/crm"):
        client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    assert list(stack.secrets_to_be_deleted()) == ["stack/sources/crm"]


def test_the_accounts_concurrency_excludes_reserved_concurrency(
    stack: AwsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("lambda", region_name=REGION)
    stubber = Stubber(client)
    limits = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}
    stubber.add_response("get_account_settings", {"AccountLimit": limits}, {})
    monkeypatch.setattr(stack._session, "client", lambda *_, **__: client)
    with stubber:
        assert stack.concurrency() == 900


def test_the_429s_of_this_stack_in_the_last_day_are_summed(stack: AwsStack) -> None:
    assert stack.asked_to_wait() == 0
    now = datetime.now(UTC)
    put = boto3.client("cloudwatch", region_name=REGION).put_metric_data
    for name, hours, value in (("stack", 1, 2), ("stack", 20, 3), ("stack", 30, 100), ("stack-2", 1, 1000)):
        dimensions = [{"Name": "service", "Value": name}]
        moment = now - timedelta(hours=hours)
        data = {"MetricName": "AskedToWait", "Dimensions": dimensions, "Timestamp": moment, "Value": value}
        put(Namespace="TallyfyLifecycle", MetricData=[data])  # type: ignore[list-item]
    assert stack.asked_to_wait() == 5


def test_the_namespace_of_metrics_is_that_of_the_template() -> None:
    globals_ = expanded(ROOT / "template.yaml")["Globals"]
    assert globals_["Function"]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"] == _NAMESPACE
