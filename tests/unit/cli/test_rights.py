"""What each command asks of AWS, recorded, against the operators' policy of the template and the table in the docs."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from cli.clients.context import CliContext as Outside
from cli.clients.stack import AwsStack
from cli.main import app
from lifecycle.approvals.rules import approve
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.dynamodb import DynamoTable, Key, Put
from lifecycle.aws.sqs import SqsQueue
from lifecycle.domain.clock import millis
from lifecycle.intake.kept import KeptDelivery
from lifecycle.tallyfy.client import pooled_session
from sandbox.simulator import SimulatorTransport
from tests.contract.test_approvals_store import request
from tests.harness.builders import ORG, Clock, command
from tests.harness.sweep_run import SweepRun
from tests.template.support import ROOT, Json, TransformedTemplate, load, many, target
from tests.unit.cli.harness import CliHarness
from tests.unit.cli.planned import at_night, organization, runs
from tests.unit.cli.test_aws import REGION, TEMPLATE

QUEUES = [
    f"{name}{kind}Queue" for name in ("Commands", "Purge", "Bulk", "Events", "Sweeps") for kind in ("", "DeadLetter")
]
BUCKETS = ("PlansBucket", "AuditBucket", "ExportsBucket")
ACTIONS = {"s3:ListObjectsV2": "s3:ListBucket", "s3:HeadObject": "s3:GetObject", "s3:HeadBucket": "s3:ListBucket"}
"""Where IAM has another name than the API."""
DOCUMENT = (ROOT / "docs" / "permissions.md").read_text()
TALLYFY = "https://tallyfy.test/api"


def _template() -> str:
    resources = {**TEMPLATE["Resources"], **{name: {"Type": "AWS::SQS::Queue"} for name in QUEUES}}  # type: ignore[dict-item]
    resources |= {name: {"Type": "AWS::S3::Bucket"} for name in BUCKETS}
    outputs = {
        **TEMPLATE["Outputs"],  # type: ignore[dict-item]
        **{f"{name}Url": {"Value": {"Ref": name}} for name in QUEUES},
        **{f"{name}Name": {"Value": {"Ref": name}} for name in BUCKETS},
        "OrganizationIds": {"Value": ORG},
        "TallyfyBaseUrl": {"Value": TALLYFY},
        "ApiUrl": {"Value": "https://api.test"},
    }
    return json.dumps({**TEMPLATE, "Resources": resources, "Outputs": outputs})


class Recorder:
    """Types commands before a stack on moto, and keeps each call with its parameters."""

    def __init__(self, stack: AwsStack, names: Mapping[str, str]) -> None:
        self.stack = stack
        self.names = names
        """Logical ids by physical ones."""
        self.calls: list[tuple[str, Mapping[str, Json]]] = []
        stack._session.events.register("provide-client-params", self._record)

    def _record(self, params: Mapping[str, Json], model: Json, **_: object) -> None:
        service = model.service_model.service_name
        self.calls.append((f"{service}:{model.name}", dict(params)))

    def run(self, words: str, *, desk: CliHarness | None = None, typed: str = "y\n") -> str:
        desk = desk or CliHarness()

        def session() -> object:
            made = pooled_session()
            made.mount(TALLYFY, SimulatorTransport(desk.simulator))
            made.mount("https://api.test", desk.front)
            return made

        world = Outside(
            connect=lambda name, region: self.stack,
            session=session,  # type: ignore[arg-type]
            clock=desk.clock,
            sleep=lambda seconds: None,
        )
        self.calls.clear()
        self.stack.__dict__.pop("_described", None)  # As another process would.
        self.stack.__dict__.pop("_outputs", None)
        found = CliRunner(env={"TERM": "dumb", "COLUMNS": "200"}).invoke(app, words.split(), obj=world, input=typed)
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found.output

    def asked(self) -> Iterator[tuple[str, str, list[str]]]:
        """Each action that IAM is asked for: with the logical id of its resource, and the rows' or objects' keys."""
        for name, params in self.calls:
            if name == "dynamodb:TransactWriteItems":
                for one in params["TransactItems"]:
                    [(kind, item)] = one.items()
                    yield f"dynamodb:{kind}Item", self.names[item["TableName"]], _keys(item)
                continue
            if name.startswith("sts:"):
                continue  # Whoever has credentials may ask who they are.
            yield ACTIONS.get(name, name), self._resource(params), _keys(params)

    def _resource(self, params: Mapping[str, Json]) -> str:
        for field in ("TableName", "QueueUrl", "Bucket"):
            if field in params:
                return self.names[params[field]]
        for table in params.get("RequestItems", {}):
            return self.names[table]
        if "logGroupName" in params:
            return {"webhook": "WebhookLogs", "event": "EventLogs"}[params["logGroupName"].rpartition("/")[2]]
        return str(params.get("SecretId", ""))


def _keys(params: Json) -> list[str]:
    """The partition keys, or the object's key."""
    if "Bucket" in params:
        return [str(params.get("Key", params.get("Prefix", "")))]
    return sorted(set(re.findall(r'"(?:pk|:\w+)": \{"S": "([a-z]+#[^"]*)"', json.dumps(params, default=str))))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "LIFECYCLE_API_URL", "LIFECYCLE_ORG", "LIFECYCLE_STACK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("cloudformation", region_name=REGION)
        client.create_stack(StackName="stack", TemplateBody=_template())
        made = client.list_stack_resources(StackName="stack")["StackResourceSummaries"]
        secrets = boto3.client("secretsmanager", region_name=REGION)
        secrets.create_secret(Name=f"stack/tokens/{ORG}", SecretString="token")
        for function in ("webhook", "event"):
            boto3.client("logs", region_name=REGION).create_log_group(logGroupName=f"/aws/lambda/stack/{function}")
        names = {one["PhysicalResourceId"]: one["LogicalResourceId"] for one in made}
        yield Recorder(AwsStack("stack", REGION, wait_seconds=0), names)


@pytest.fixture(scope="module")
def deployed() -> TransformedTemplate:
    return load()


def _sids(template: TransformedTemplate, policy: str, action: str, resource: str, keys: list[str]) -> set[str]:
    """The statements of a policy that allow a call."""
    made = template.properties(policy)["PolicyDocument"]["Statement"]
    return {one["Sid"] for one in made if action in many(one["Action"]) and _fits(one, resource, keys)}


def _fits(statement: Json, resource: str, keys: list[str]) -> bool:
    arns = many(statement["Resource"])
    if resource.startswith("stack/"):
        return any(
            fnmatchcase(resource, str(arn["Fn::Sub"]).partition("${AWS::StackName}/")[2].join(("stack/", "")))
            for arn in arns
        )
    if resource and resource not in {target(arn) for arn in arns}:
        return False
    condition = statement.get("Condition", {})
    rows = condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
    if rows is not None:
        return bool(keys) and all(any(fnmatchcase(key, row) for row in rows) for key in keys)
    prefixes = condition.get("StringLikeIfExists", {}).get("s3:prefix")
    if prefixes is not None:
        return all(any(fnmatchcase(key, prefix) for prefix in prefixes) for key in keys)
    return True


def _send_dead_letter(recorder: Recorder) -> str:
    client = boto3.client("sqs", region_name=REGION)
    queue = SqsQueue(client, recorder.stack.outputs()["CommandsDeadLetterQueueUrl"])
    one = command()
    queue.send(KeptDelivery.of("hubspot", "delivery-1", one.issued_at, b"{}", {}).body(), {"code": "untranslatable"})
    queue.send(one.to_json(), {"code": "held", "reason": "On hold.", "intent_id": one.intent_id, "redrive": "0"})
    return one.intent_id


def _keep(recorder: Recorder, night: SweepRun) -> str:
    """Put the plan of a night into the stack; its hash."""
    s3 = boto3.client("s3", region_name=REGION)
    for key in night.objects.keys(""):
        s3.put_object(Bucket=recorder.stack.outputs()["PlansBucketName"], Key=key, Body=night.objects.get(key) or b"")
    return night.plans()[0].hash


COMMANDS = [
    "check",
    "overview",
    "recent",
    f"hold add process {'1a' * 16} --force --reason audit",
    "hold list",
    f"hold remove process {'1a' * 16}",
    "pause --reason audit",
    "resume",
    "status INTENT",
    "dead-letters list",
    "dead-letters show INTENT",
    "dead-letters send-again INTENT --yes",
    "dead-letters drop INTENT",
    "source errors",
    "source replay --all --yes --timeout 0",
    "approvals",
    "report HASH --no-open",
    "undo --plan HASH --yes",
    "sweep start",
    "audit show",
    "audit verify",
    "tallyfy show",
]


@pytest.mark.parametrize("words", COMMANDS)
def test_the_operators_policy_and_the_table_allow_every_call_of_a_command(
    recorder: Recorder,
    deployed: TransformedTemplate,
    clock: Clock,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    intent = _send_dead_letter(recorder)
    typed = words.replace("INTENT", intent)
    desk = CliHarness()
    if "HASH" in words:
        night = at_night(desk, organization(runs(2)))
        night.begin()
        night.drain()
        typed = typed.replace("HASH", _keep(recorder, night))
    output = recorder.run(typed, desk=desk)
    used: set[str] = set()
    for action, resource, keys in recorder.asked():
        allowing = _sids(deployed, "OperatorsPolicy", action, resource, keys)
        assert allowing, (action, resource, keys)
        used |= allowing
    if recorder.calls:
        row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{_name(words)}`"))
        assert used <= set(re.findall(r"`([A-Z]\w+)`", row)), output


def _name(words: str) -> str:
    return re.sub(r" (process|INTENT|HASH|--(?!plan)).*", "", words)


def test_every_statement_of_the_table_is_in_the_policy_and_is_needed(
    deployed: TransformedTemplate,
) -> None:
    made = {one["Sid"] for one in deployed.properties("OperatorsPolicy")["PolicyDocument"]["Statement"]}
    assert set(re.findall(r"`([A-Z]\w+)`", DOCUMENT.partition("| command |")[2])) == made


def test_operators_may_read_a_request_with_votes(
    recorder: Recorder, deployed: TransformedTemplate, clock: Clock
) -> None:
    rows = DynamoTable(recorder.stack._session.client("dynamodb"), recorder.stack.outputs()["LedgerTableName"])
    approvals = ApprovalStore(rows, timedelta(days=400), clock)
    approvals.ask(request())
    approvals.change(ORG, request().hash, lambda known: approve(known, "bob", millis(clock())))
    recorder.calls.clear()
    found = approvals.find(ORG, request().hash)
    assert found is not None
    assert found.approved_by == ("bob",)
    asked = list(recorder.asked())
    assert {key.partition("#")[0] for _, _, keys in asked for key in keys} == {"approval", "vote"}
    assert all(_sids(deployed, "OperatorsPolicy", *one) for one in asked)


def test_operators_write_no_intent_no_approval_and_no_checkpoint_of_a_sweep(deployed: TransformedTemplate) -> None:
    for key in (f"intent#{'a' * 9}", f"approval#{ORG}", f"sweep#{ORG}#2026", f"resource#{ORG}", "audit#head", "word#x"):
        assert not _sids(deployed, "OperatorsPolicy", "dynamodb:PutItem", "LedgerTable", [key])
    statements = deployed.properties("OperatorsPolicy")["PolicyDocument"]["Statement"]
    actions = {action for one in statements for action in many(one["Action"])}
    assert not [action for action in actions if action.endswith("*") or "s3:Put" in action or "s3:Delete" in action]


def test_approvers_may_only_list_and_approve_requests(deployed: TransformedTemplate) -> None:
    made = deployed.properties("ApproversPolicy")["PolicyDocument"]["Statement"]
    assert {action for one in made for action in many(one["Action"])} == {
        *("cloudformation:DescribeStacks", "execute-api:Invoke", "s3:GetObject", "s3:ListBucket"),
    }
    routes = [arn["Fn::Sub"].partition("/*/")[2] for one in made if one["Sid"] == "Approve" for arn in one["Resource"]]
    assert routes == ["GET/approvals", "GET/approvals/*", "POST/approvals/*"]


def test_the_rows_that_operators_write_are_those_of_the_stack(
    recorder: Recorder, deployed: TransformedTemplate
) -> None:
    """The test's own measure: what is not allowed is seen as such."""
    rows = DynamoTable(recorder.stack._session.client("dynamodb"), recorder.stack.outputs()["LedgerTableName"])
    recorder.calls.clear()
    rows.write(Put(Key("intent#x", "intent"), {"a": "b"}, 0))
    [(action, resource, keys)] = recorder.asked()
    assert (action, resource, keys) == ("dynamodb:PutItem", "LedgerTable", ["intent#x"])
    assert not _sids(deployed, "OperatorsPolicy", action, resource, keys)
