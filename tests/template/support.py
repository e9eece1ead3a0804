"""The template as CloudFormation gets it: transformed by AWS's own translator, in process and offline."""

import re
import shlex
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import boto3
import click
import typer
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from cli.main import app
from lifecycle.bootstrap.settings import (
    AuditSettings,
    ChatJobsSettings,
    ChatSettings,
    IntakeSettings,
    OperatorSettings,
    PurgeSettings,
    Settings,
    StatusSettings,
    SweepSettings,
    WorkerSettings,
)
from sandbox.language_extensions import expanded

ROOT = Path(__file__).resolve().parents[2]
ORGANIZATION = "0123456789abcdef0123456789abcdef"
FUNCTIONS = (
    *("WebhookFunction", "ChatFunction", "ChatJobsFunction", "StatusFunction", "OperatorFunction", "EventFunction"),
    *("SweepFunction", "WorkerFunction", "BulkWorkerFunction", "PurgeFunction", "AuditFunction"),
)

# What CloudFormation fills in, with the longest stack name that it accepts.
STACK_NAME = "tallyfy-lifecycle-".ljust(128, "x")
PSEUDO_PARAMETERS = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "ap-southeast-2",
    "AWS::StackId": f"arn:aws:cloudformation:ap-southeast-2:111122223333:stack/{STACK_NAME}/"
    "51af3dc0-da77-11e4-872e-1234567db123",
    "AWS::StackName": STACK_NAME,
    "AWS::URLSuffix": "amazonaws.com",
}
# A name or ARN that AWS makes when it creates a resource.
PLACEHOLDER = "made-by-aws"

# A parsed template is JSON of any shape.
type Json = Any

SOURCE_QUEUES = {
    f"{name}Queue": f"{name}DeadLetterQueue" for name in ("Events", "Sweeps", "Commands", "Bulk", "Purge", "Chat")
}
QUEUES = (*SOURCE_QUEUES, *SOURCE_QUEUES.values(), "AuditDeadLetterQueue")
WORKERS = {"WorkerFunction": "CommandsQueue", "BulkWorkerFunction": "BulkQueue", "PurgeFunction": "PurgeQueue"}
CONSUMERS = WORKERS | {
    "EventFunction": "EventsQueue",
    "SweepFunction": "SweepsQueue",
    "ChatJobsFunction": "ChatQueue",
}
INTAKE = ("WebhookFunction", "EventFunction")
# Who takes approvals from people, and undoes for them.
TAKES_APPROVALS = ("ChatFunction", "OperatorFunction")
# Who puts things on hold when a person writes so in a chat tool. It never ends a hold.
PUTS_ON_HOLD = ("ChatFunction",)
# Who makes what is for later.
SCHEDULERS = dict.fromkeys(INTAKE, "CommandsQueue") | {"PurgeFunction": "PurgeQueue"}
# Whom Scheduler acts as, with the only schedule groups for which it may.
SCHEDULER_ROLES = {
    "SweepSchedulesRole": "schedule-group/default",
    "SealScheduleRole": "schedule-group/default",
    "LaterRole": "LaterGroup",
}
SCHEDULES = ("NightlySweep", "DailyCheck", "HourlySeal")
SETTINGS: dict[str, type[Settings]] = {
    "WebhookFunction": IntakeSettings,
    "EventFunction": IntakeSettings,
    "ChatFunction": ChatSettings,
    "ChatJobsFunction": ChatJobsSettings,
    "StatusFunction": StatusSettings,
    "OperatorFunction": OperatorSettings,
    "SweepFunction": SweepSettings,
    "WorkerFunction": WorkerSettings,
    "BulkWorkerFunction": WorkerSettings,
    "PurgeFunction": PurgeSettings,
    "AuditFunction": AuditSettings,
}
BY_IDENTITY = {
    ("GET", "/approvals"),
    ("GET", "/approvals/{hash}"),
    ("POST", "/approvals/{hash}/approve"),
    ("POST", "/approvals/{hash}/reject"),
    ("POST", "/approvals/{hash}/withdraw"),
    ("POST", "/commands/{intent_id}/undo"),
}
# The dimension of every metric of ours: one alarm watches all functions of a stack.
SHARED = [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}]
HOUR = 3_600
DAY = 24 * HOUR

# Every statement on "*", with the reason. Another one needs a reason here and beside it in the template.
WILDCARD_RESOURCES = {"SendTraces": "X-Ray's write actions take no resource"}

# What Powertools reads for itself.
POWERTOOLS_VARIABLES = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "LOG_LEVEL"}


@dataclass(frozen=True)
class TransformedTemplate:
    """The transformed template for one value of each parameter."""

    source: Json
    parameters: dict[str, str]

    @cached_property
    def transformed(self) -> Json:
        source = deepcopy(self.source)
        # The translator takes what `sam package` leaves: no local folders.
        for resource in source["Resources"].values():
            if "ContentUri" in resource.get("Properties", {}):
                resource["Properties"]["ContentUri"] = "s3://bucket/key"
        source["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
        session = boto3.Session(region_name="eu-west-1")
        return Translator({}, Parser(), boto_session=session).translate(source, dict(self.parameters))

    @property
    def resources(self) -> dict[str, Json]:
        return {
            name: resource
            for name, resource in self.transformed["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }

    def of_type(self, kind: str) -> dict[str, Json]:
        return {name: resource for name, resource in self.resources.items() if resource["Type"] == kind}

    def properties(self, logical_id: str) -> Json:
        return self.resources[logical_id]["Properties"]

    def holds(self, condition: str) -> bool:
        return bool(self._evaluate(self.transformed["Conditions"][condition]))

    def _evaluate(self, term: Json) -> Json:
        match term:
            case {"Fn::Equals": [left, right]}:
                return self._evaluate(left) == self._evaluate(right)
            case {"Fn::Not": [inner]}:
                return not self._evaluate(inner)
            case {"Ref": name}:
                return self.parameters[name]
            case _:
                return term

    def text(self, value: Json) -> str:
        """The string that CloudFormation would make of a value, in a stack whose name is as long as AWS allows."""
        match value:
            case {"Ref": name}:
                return PSEUDO_PARAMETERS.get(name) or self.parameters.get(name) or PLACEHOLDER
            case {"Fn::GetAtt": _}:
                return PLACEHOLDER
            case {"Fn::Sub": [str() as template, dict() as variables]}:
                return self._substitute(template, {name: self.text(made) for name, made in variables.items()})
            case {"Fn::Sub": str() as template}:
                return self._substitute(template, {})
            case {"Fn::Select": [index, {"Fn::Split": [separator, source]}]}:
                return self.text(source).split(separator)[int(index)]
            case {"Fn::If": _}:
                return self.text(self.choose(value))
            case {"Fn::Join": [separator, list() as parts]}:
                return str(separator).join(map(self.text, parts))
            case dict() | list():
                message = f"Not a string of the template: {value}"
                raise TypeError(message)
            case _:
                return str(value)

    def _substitute(self, template: str, variables: dict[str, str]) -> str:
        return re.sub(
            r"\$\{([\w:.]+)\}", lambda found: variables.get(found[1]) or self.text({"Ref": found[1]}), template
        )

    def choose(self, value: Json) -> Json:
        """Follow Fn::If, and Ref where it names a parameter."""
        match value:
            case {"Fn::If": [condition, then, otherwise]}:
                return self.choose(then if self.holds(condition) else otherwise)
            case {"Ref": name} if name in self.parameters:
                return self.parameters[name]
            case list():
                return [self.choose(item) for item in value]
            case _:
                return value


def load(**parameters: str) -> TransformedTemplate:
    """The template with its defaults, one organization, and `parameters`."""
    source = expanded(ROOT / "template.yaml")
    defaults = {name: str(made["Default"]) for name, made in source["Parameters"].items() if "Default" in made}
    return TransformedTemplate(source, defaults | {"OrganizationIds": ORGANIZATION} | parameters)


@cache
def _source() -> Json:
    return expanded(ROOT / "template.yaml")


def target(value: Json) -> str:
    """The logical id that an intrinsic function names."""
    match value:
        case {"Ref": name}:
            return str(name)
        case {"Fn::GetAtt": [name, _]}:
            return str(name)
        case {"Fn::GetAtt": str() as path}:
            return path.split(".", maxsplit=1)[0]
        case {"Fn::Join": [separator, list() as parts]}:
            return str(separator).join(map(target, parts))
        case {"Fn::Sub": str() as text} if found := re.search(r"\$\{(\w+)(\.\w+)?\}", text):
            return found[1]
        case _:
            return ""


def many(value: Json) -> list[Json]:
    """IAM takes one or a list."""
    return value if isinstance(value, list) else [value]


def cli_accepts(line: str) -> bool:
    """Whether a line names a command of `lifecycle` with options and arguments that it takes, stack and region too."""
    words = shlex.split(line)
    if words.pop(0) != "lifecycle" or not {"--stack", "--region"} <= set(words):
        return False
    command: Json = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    try:
        command.make_context("lifecycle", words)
    except click.UsageError:
        return False
    return not hasattr(command, "commands")


def role_of(template: TransformedTemplate, function: str) -> str:
    return target(template.properties(function)["Role"])


def statements(template: TransformedTemplate, function: str) -> list[Json]:
    return statements_of(template, role_of(template, function))


def statements_of(template: TransformedTemplate, role: str) -> list[Json]:
    policies = template.properties(role)["Policies"]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def keys(template: TransformedTemplate, function: str) -> dict[str, set[str]]:
    """The actions a function may take in the ledger, each with the kinds of rows."""
    found: dict[str, set[str]] = {}
    for statement in statements(template, function):
        for action in many(statement["Action"]):
            if action.startswith("dynamodb:"):
                assert target(statement["Resource"]) == "LedgerTable"
                leading = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
                found.setdefault(action, set()).update(leading)
    return found


def allowed(template: TransformedTemplate, function: str, service: str) -> dict[str, set[str]]:
    """The actions a function may take in a service, each with the resources."""
    found: dict[str, set[str]] = {}
    for statement in statements(template, function):
        for action in many(statement["Action"]):
            if action.startswith(f"{service}:"):
                found.setdefault(action, set()).update(target(arn) for arn in many(statement["Resource"]))
    return found


def alarms(template: TransformedTemplate, metric: str) -> dict[str, Json]:
    """The alarms on a metric, by the resource that they watch."""
    found = {}
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        if alarm["Properties"].get("MetricName") == metric:
            value = alarm["Properties"]["Dimensions"][0]["Value"]
            found[target(value) or value] = alarm["Properties"]
    return found


def routes(template: TransformedTemplate) -> set[tuple[str, str]]:
    paths = template.properties("HttpApi")["Body"]["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}
