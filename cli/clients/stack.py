"""One deployed stack: its outputs, secrets, queues and ledger, with the operator's credentials."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError

from cli.clients.aws_identity import Identity
from cli.clients.event_tap import EventTap
from cli.ui.errors import CliError, Exit
from cli.ui.ids import org_in
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import DynamoTable, VersionedTable
from lifecycle.aws.metrics import Metric
from lifecycle.aws.s3 import Erasable, Objects, S3Objects
from lifecycle.aws.secrets import ManagedSecrets, Secrets
from lifecycle.aws.sqs import Queue, SqsQueue
from lifecycle.domain.intent import IntentRow
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.holds.store import HoldStore
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Rate
from lifecycle.sweep.state import Progress

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef, MetricTypeDef
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
_MEASURED = timedelta(minutes=15)
_NAMESPACE = "TallyfyLifecycle"
"""Of the metrics that the functions emit, as the template says."""
_ALARM = re.compile(r"([A-Za-z0-9]+)-[A-Za-z0-9]+")
"""The rest of an alarm's name after the stack's name: the logical id and a random suffix from CloudFormation."""
_DEAD, _ORIGIN = "DeadLetterQueueUrl", "QueueUrl"
_FIRST = ("Commands", "Purge", "Bulk", "Events", "Sweeps")
_KEPT = frozenset(field.name for field in fields(Progress))
_ANY_RATE = Rate(per_minute=1, burst=1)
"""No slots are taken here."""
_NO_TERMS = LedgerTerms(lease=timedelta(0), keep=timedelta(0), most_attempts=0)
"""No command is claimed here."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A dead-letter queue and the queue its letters came from."""

    name: str
    dead: Queue
    origin: Queue


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that is ringing. ``name`` is its logical id in the template."""

    name: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a function wrote, as JSON."""

    stream: str
    at: datetime
    written: str

    @property
    def key(self) -> tuple[str, datetime, str]:
        """Tells it from any other line."""
        return self.stream, self.at, self.written

    def text(self, field: str) -> str:
        """One field; empty if the line has none of this name, or is not JSON."""
        try:
            found = json.loads(self.written)
        except ValueError:
            return ""
        value = found.get(field) if isinstance(found, dict) else None
        return value if isinstance(value, str) else ""


class Stack(Protocol):
    """What the commands need from a deployed stack."""

    name: str

    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs. Raises `CliError` if there is no such stack."""

    def secrets(self) -> Secrets:
        """Its secrets, by full name."""

    def parameters(self) -> Mapping[str, str]:
        """The parameters it was deployed with."""

    def secrets_to_be_deleted(self) -> Mapping[str, datetime]:
        """Its secrets that are scheduled for deletion, by full name, each with the day of the deletion."""

    def concurrency(self) -> int:
        """The number of Lambda invocations that the account may run at once, without reserved concurrency."""

    def pairs(self) -> list[Pair]:
        """Its dead-letter queues, those of the commands first."""

    def queue_ages(self) -> Mapping[str, float]:
        """How many seconds the oldest message of each queue has waited, by the names of ``pairs``.

        SQS measures it and leaves out messages that were received three times or more. A queue without a measurement
        in the last quarter of an hour is left out.
        """

    def asked_to_wait(self) -> int:
        """How often Tallyfy answered 429, or 503 with a time to wait, in the last 24 hours, as CloudWatch counts it."""

    def alarms(self) -> list[Alarm]:
        """Its alarms that are ringing."""

    def invoke(self, function: str, event: Mapping[str, object]) -> object:
        """Hand an event of the HTTP API to a function, by its logical id, and return the body of its response.

        Raises:
            CliError: This identity may not invoke it, or it answered an error.
        """

    def put_events(self, entries: Sequence[Mapping[str, str]]) -> int:
        """Put events on its bus, and return how many it refused."""

    def intent(self, intent_id: str) -> IntentRow | None:
        """The ledger's row of an intent."""

    def ledger(self) -> Ledger:
        """The ledger: what became of commands."""

    def holds(self) -> HoldStore:
        """The holds."""

    def caller(self) -> str:
        """The caller's AWS identity."""

    def identity(self) -> Identity:
        """The caller's credentials, which sign calls to the stack's API."""

    def rows(self) -> VersionedTable:
        """The ledger's table: what sweeps and those who apply plans record of themselves."""

    def objects(self) -> Objects:
        """Where its plans are kept."""

    def exports(self) -> Erasable:
        """Where its exports are kept."""

    def audit(self) -> Objects:
        """Where its audit trail is kept."""

    def pacing(self) -> Pacing:
        """The shared pace, with its pause flag."""

    def sweep(self, sweep_id: str, org_id: str) -> Progress | None:
        """How far a sweep of an organization has come; `None` if the ledger knows none of this name."""

    def log_lines(self, function: str, begin: datetime, pattern: str) -> Iterator[LogLine]:
        """What a function of this name wrote since then. `pattern` is a filter of CloudWatch Logs, or empty."""

    def tap(self, name: str) -> EventTap:
        """A queue of this name that can hear the stack's events and notices. It is not open yet."""


class AwsStack:
    """A stack on AWS, or on whatever AWS_ENDPOINT_URL names."""

    def __init__(self, name: str, region: str | None, *, wait_seconds: int = 1) -> None:
        self.name = name
        self._wait_seconds = wait_seconds
        self._session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))

    def outputs(self) -> Mapping[str, str]:
        """See `Stack`."""
        return self._outputs

    def parameters(self) -> Mapping[str, str]:
        """See `Stack`."""
        listed = self._described.get("Parameters", [])
        return {one.get("ParameterKey", ""): one.get("ParameterValue", "") for one in listed}

    @cached_property
    def _outputs(self) -> Mapping[str, str]:
        listed = self._described.get("Outputs", [])
        return {one.get("OutputKey", ""): one.get("OutputValue", "") for one in listed}

    @cached_property
    def _described(self) -> "StackTypeDef":
        client = self._session.client("cloudformation", config=_CONFIG)
        try:
            return client.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ValidationError":
                where = self._session.region_name or "this region"
                message = (
                    f"There is no stack '{self.name}' in {where}. Give --stack and --region, or check AWS_PROFILE."
                )
                raise CliError(message, Exit.UNREACHABLE) from error
            raise

    @cached_property
    def _secrets(self) -> ManagedSecrets:
        return ManagedSecrets(self._session.client("secretsmanager", config=_CONFIG))

    def secrets(self) -> Secrets:
        """See `Stack`."""
        return self._secrets

    def secrets_to_be_deleted(self) -> Mapping[str, datetime]:
        """See `Stack`."""
        client = self._session.client("secretsmanager", config=_CONFIG)
        pages = client.get_paginator("list_secrets").paginate(
            IncludePlannedDeletion=True,
            Filters=[{"Key": "name", "Values": [f"{output_of(self, 'SecretPrefix')}/"]}],
        )
        listed = (one for page in pages for one in page["SecretList"])
        return {one.get("Name", ""): one["DeletedDate"].astimezone(UTC) for one in listed if "DeletedDate" in one}

    def concurrency(self) -> int:
        """See `Stack`."""
        client = self._session.client("lambda", config=_CONFIG)
        return client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]

    def pairs(self) -> list[Pair]:
        """See `Stack`."""
        client = self._session.client("sqs", config=_CONFIG)

        def queue(output: str) -> SqsQueue:
            return SqsQueue(client, output_of(self, output), wait_seconds=self._wait_seconds)

        return [
            Pair(name.lower(), queue(f"{name}{_DEAD}"), queue(f"{name}{_ORIGIN}")) for name in paired(self.outputs())
        ]

    def queue_ages(self) -> Mapping[str, float]:
        """See `Stack`."""
        names = paired(self.outputs())
        queries: list[MetricDataQueryTypeDef] = [
            {
                "Id": f"q{number}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/SQS",
                        "MetricName": "ApproximateAgeOfOldestMessage",
                        "Dimensions": [
                            {"Name": "QueueName", "Value": output_of(self, f"{name}{_ORIGIN}").rpartition("/")[2]}
                        ],
                    },
                    "Period": 60,
                    "Stat": "Maximum",
                },
            }
            for number, name in enumerate(names)
        ]
        now = datetime.now(UTC)
        found = self._session.client("cloudwatch", config=_CONFIG).get_metric_data(
            MetricDataQueries=queries, StartTime=now - _MEASURED, EndTime=now, ScanBy="TimestampDescending"
        )["MetricDataResults"]
        newest = {one.get("Id", ""): one["Values"][0] for one in found if one.get("Values")}
        return {name.lower(): newest[f"q{number}"] for number, name in enumerate(names) if f"q{number}" in newest}

    def asked_to_wait(self) -> int:
        """See `Stack`."""
        metric: MetricTypeDef = {
            "Namespace": _NAMESPACE,
            "MetricName": Metric.ASKED_TO_WAIT.value,
            "Dimensions": [{"Name": "service", "Value": self.name}],
        }
        now = datetime.now(UTC)
        found = self._session.client("cloudwatch", config=_CONFIG).get_metric_data(
            MetricDataQueries=[{"Id": "waits", "MetricStat": {"Metric": metric, "Period": 300, "Stat": "Sum"}}],
            StartTime=now - timedelta(days=1),
            EndTime=now,
        )["MetricDataResults"]
        return round(sum(value for one in found for value in one.get("Values", ())))

    def alarms(self) -> list[Alarm]:
        """See `Stack`."""
        prefix = f"{self.name}-"
        pages = (
            self._session.client("cloudwatch", config=_CONFIG)
            .get_paginator("describe_alarms")
            .paginate(AlarmNamePrefix=prefix, StateValue="ALARM", AlarmTypes=["MetricAlarm"])
        )
        ringing = (one for page in pages for one in page["MetricAlarms"])
        return [
            Alarm(found[1], one["StateUpdatedTimestamp"].astimezone(UTC), one.get("StateReason", ""))
            for one in ringing
            # The prefix also matches alarms of a stack whose name begins with this stack's name.
            if (found := _ALARM.fullmatch(one.get("AlarmName", "").removeprefix(prefix)))
        ]

    def invoke(self, function: str, event: Mapping[str, object]) -> object:
        """See `Stack`."""
        resources = self._session.client("cloudformation", config=_CONFIG)
        try:
            found = resources.describe_stack_resource(StackName=self.name, LogicalResourceId=function)
            physical = found["StackResourceDetail"].get("PhysicalResourceId", "")
            client = self._session.client("lambda", config=_CONFIG)
            answered = client.invoke(FunctionName=physical, Payload=json.dumps(event))
        except ClientError as error:
            raise CliError(f"Function {function} cannot be invoked: {error}", Exit.UNREACHABLE) from error
        response = json.loads(answered["Payload"].read())
        if response.get("statusCode") != HTTPStatus.OK:
            fields = json.loads(response.get("body") or "{}")
            raise CliError(f"The function answered {response.get('statusCode')}: {fields.get('detail')}")
        return json.loads(response["body"])

    def put_events(self, entries: Sequence[Mapping[str, str]]) -> int:
        """See `Stack`."""
        client = self._session.client("events", config=_CONFIG)
        bus = output_of(self, "BusName")
        named: list[PutEventsRequestEntryTypeDef] = [
            {
                "Source": entry.get("Source", ""),
                "DetailType": entry.get("DetailType", ""),
                "Detail": entry.get("Detail", "{}"),
                "EventBusName": bus,
            }
            for entry in entries
        ]
        return client.put_events(Entries=named)["FailedEntryCount"]

    @cached_property
    def _rows(self) -> DynamoTable:
        return DynamoTable(self._session.client("dynamodb", config=_CONFIG), output_of(self, "LedgerTableName"))

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger(self._rows, _NO_TERMS, lambda: datetime.now(UTC))

    def intent(self, intent_id: str) -> IntentRow | None:
        """See `Stack`."""
        return self._ledger.find(intent_id)

    def ledger(self) -> Ledger:
        """See `Stack`."""
        return self._ledger

    def holds(self) -> HoldStore:
        """See `Stack`."""
        return HoldStore(self._rows, lambda: datetime.now(UTC))

    def caller(self) -> str:
        """See `Stack`."""
        return self._session.client("sts", config=_CONFIG).get_caller_identity()["Arn"]

    def identity(self) -> Identity:
        """See `Stack`."""
        credentials, region = self._session.get_credentials(), self._session.region_name
        if credentials is None:
            raise NoCredentialsError
        if region is None:
            raise NoRegionError
        return Identity(credentials.get_frozen_credentials(), region)

    def rows(self) -> VersionedTable:
        """See `Stack`."""
        return self._rows

    def objects(self) -> Objects:
        """See `Stack`."""
        return S3Objects(self._session.client("s3", config=_CONFIG), output_of(self, "PlansBucketName"))

    def exports(self) -> Erasable:
        """See `Stack`."""
        return S3Objects(self._session.client("s3", config=_CONFIG), output_of(self, "ExportsBucketName"))

    def audit(self) -> Objects:
        """See `Stack`."""
        return S3Objects(self._session.client("s3", config=_CONFIG), output_of(self, "AuditBucketName"))

    def pacing(self) -> Pacing:
        """See `Stack`."""
        return Pacing(self._rows, _ANY_RATE, lambda: datetime.now(UTC))

    def log_lines(self, function: str, begin: datetime, pattern: str) -> Iterator[LogLine]:
        """See `Stack`."""
        pages = (
            self._session.client("logs", config=_CONFIG)
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=f"/aws/lambda/{self.name}/{function}",
                startTime=int(begin.timestamp() * 1000),
                filterPattern=pattern,
            )
        )
        for page in pages:
            for one in page["events"]:
                at = datetime.fromtimestamp(one.get("timestamp", 0) / 1000, UTC)
                yield LogLine(one.get("logStreamName", ""), at, one.get("message", ""))

    def tap(self, name: str) -> EventTap:
        """See `Stack`."""
        return EventTap(
            sqs=self._session.client("sqs", config=_CONFIG),
            events=self._session.client("events", config=_CONFIG),
            sns=self._session.client("sns", config=_CONFIG),
            bus=output_of(self, "BusName"),
            topic=output_of(self, "AlarmTopicArn"),
            name=name,
        )

    def sweep(self, sweep_id: str, org_id: str) -> Progress | None:
        """See `Stack`."""
        return progress(self._rows, sweep_id, org_id)


def paired(outputs: Mapping[str, str]) -> list[str]:
    """Which dead-letter queues a stack tells of, by the beginning of their outputs; an older stack has fewer."""
    found = [name.removesuffix(_DEAD) for name in outputs if name.endswith(_DEAD)]
    return sorted(found, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def progress(rows: VersionedTable, sweep_id: str, org_id: str) -> Progress | None:
    """Return the progress of a sweep from its own row."""
    [row] = rows.read(table_keys.sweep_state(org_id, sweep_id))
    if row is None:
        return None
    return Progress(**{name: value for name, value in row.values.items() if name in _KEPT})  # type: ignore[arg-type]


def output_of(stack: Stack, name: str) -> str:
    """One output of a stack.

    Raises:
        CliError: It has no such output: it is another kind of stack, or an older release.
    """
    value = stack.outputs().get(name)
    if not value:
        raise CliError(
            f"Stack '{stack.name}' has no output {name}. Check --stack: it may not be a stack of tallyfy-lifecycle.",
            Exit.UNREACHABLE,
        )
    return value


def organizations_of(stack: Stack, org: str | None) -> list[str]:
    """The organization that was named, or all organizations of the stack: one at least.

    Raises:
        CliError: The stack names no organization, or not the one that was named. Nothing is done then.
    """
    known = [org_id for part in output_of(stack, "OrganizationIds").split(",") if (org_id := part.strip())]
    if not known:
        raise CliError(
            f"Stack '{stack.name}' names no organization: its output OrganizationIds is blank. Nothing was done. "
            "Deploy it with the parameter OrganizationIds.",
            Exit.UNREACHABLE,
        )
    if org is None:
        return known
    named = org_in(org)
    if named not in known:
        raise CliError(f"Organization {named} is not one of this stack's: {', '.join(known)}.", Exit.USAGE)
    return [named]


def one_organization(stack: Stack, org: str | None) -> str:
    """As ``organizations_of``, where exactly one is needed.

    Raises:
        CliError: As there; or the stack has several organizations and none was named.
    """
    found = organizations_of(stack, org)
    if len(found) > 1:
        raise CliError(f"This stack has several organizations. Choose one with --org: {', '.join(found)}.", Exit.USAGE)
    return found[0]
