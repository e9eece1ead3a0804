"""What the emulator deployed is what the tests of the template read: it expands loops by itself."""

import json

import pytest

from tests.e2e.bench import Bench
from tests.template.support import Json, load

pytestmark = pytest.mark.e2e

MADE_BY_LOOPS = (
    *("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy", "AWS::Logs::LogGroup"),
    "AWS::CloudWatch::Alarm",
)


def test_the_deployed_resources_are_those_of_the_expanded_template(bench: Bench) -> None:
    stack = bench.stack
    body: Json = stack.cloudformation.get_template(StackName=stack.options.stack_name, TemplateStage="Processed")
    body = body["TemplateBody"]
    deployed = (json.loads(body) if isinstance(body, str) else body)["Resources"]
    described = stack.cloudformation.describe_stacks(StackName=stack.options.stack_name)["Stacks"][0]["Parameters"]
    template = load(**{one["ParameterKey"]: one["ParameterValue"] for one in described})

    pages = stack.cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack.options.stack_name)
    made = {one["LogicalResourceId"] for page in pages for one in page["StackResourceSummaries"]}
    hashed = {name for name, one in template.resources.items() if one["Type"] == "AWS::Lambda::LayerVersion"}
    assert template.resources.keys() - hashed <= made
    for kind in MADE_BY_LOOPS:
        for name, resource in template.of_type(kind).items():
            assert deployed[name]["Properties"] == resource["Properties"], name
