"""The template as CloudFormation gets it: transformed by AWS's own translator, in process and offline."""

import re
import shlex
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import click
import typer
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from cli.main import app
from sandbox.language_extensions import expanded

ROOT = Path(__file__).resolve().parents[2]
ORGANIZATION = "0123456789abcdef0123456789abcdef"
FUNCTIONS = (
    *("WebhookFunction", "ChatFunction", "StatusFunction", "OperatorFunction", "EventFunction", "SweepFunction"),
    *("WorkerFunction", "BulkWorkerFunction", "PurgeFunction", "AuditFunction"),
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


@dataclass(frozen=True)
class Template:
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


def load(**parameters: str) -> Template:
    """The template with its defaults, one organization, and `parameters`."""
    source = expanded(ROOT / "template.yaml")
    defaults = {name: str(made["Default"]) for name, made in source["Parameters"].items() if "Default" in made}
    return Template(source, defaults | {"OrganizationIds": ORGANIZATION} | parameters)


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
