"""Names and texts stay within AWS's limits, also in a stack whose name has the 128 characters that AWS allows."""

from collections.abc import Iterator

import pytest

from tests.template.support import PSEUDO_PARAMETERS, STACK_NAME, Json, TransformedTemplate, target

# The most characters that AWS takes. A property that the template begins to use needs its limit here.
LIMITS = {
    ("AWS::CloudWatch::Alarm", "AlarmDescription"): 1024,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::Events::EventBus", "Description"): 512,
    ("AWS::Events::EventBus", "Name"): 256,
    ("AWS::Events::Rule", "Description"): 512,
    ("AWS::IAM::ManagedPolicy", "Description"): 1000,
    ("AWS::Lambda::Function", "Description"): 256,
    ("AWS::Lambda::LayerVersion", "Description"): 256,
    ("AWS::Lambda::LayerVersion", "LayerName"): 140,
    ("AWS::Logs::LogGroup", "LogGroupName"): 512,
    ("AWS::Scheduler::Schedule", "Description"): 512,
    ("AWS::SecretsManager::Secret", "Description"): 2048,
    ("AWS::SNS::Topic", "DisplayName"): 100,
    ("AWS::SQS::Queue", "QueueName"): 80,
}
# Properties that refer to something by its name, and name nothing themselves.
REFERENCES = {"EventBusName", "FunctionName", "MetricName", "StageName"}
# Services whose names CloudFormation makes: it cuts them to the limit, and tells two stacks apart.
NAMED_BY_CLOUDFORMATION = {
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::S3::Bucket",
    "AWS::Scheduler::Schedule",
    "AWS::Scheduler::ScheduleGroup",
}


def names(template: TransformedTemplate) -> Iterator[tuple[str, str, str, Json]]:
    """Each name and description that the template gives: the logical id, the type, the property and its value."""
    for logical_id, resource in template.resources.items():
        for key, value in resource.get("Properties", {}).items():
            if key.endswith(("Name", "Description")) and key not in REFERENCES:
                yield logical_id, resource["Type"], key, value


def test_every_name_fits_however_long_the_name_of_the_stack_is(template: TransformedTemplate) -> None:
    assert len(STACK_NAME) == 128
    too_long = {}
    for logical_id, kind, key, value in names(template):
        text = template.text(value)
        if len(text) > LIMITS[kind, key]:
            too_long[logical_id] = text
    assert too_long == {}


def test_the_name_of_the_api_fits(template: TransformedTemplate) -> None:
    made = template.properties("HttpApi")["Body"]["info"]
    assert len(template.text(made["title"])) <= 128
    assert len(template.text(made["description"])) <= 1024


def test_each_secret_of_the_stack_has_a_name_that_fits() -> None:
    assert len(f"{STACK_NAME}/tokens/{'0' * 32}") <= 512


@pytest.mark.parametrize("kind", sorted(NAMED_BY_CLOUDFORMATION))
def test_cloudformation_names_the_resources_that_are_not_looked_up_by_name(
    template: TransformedTemplate, kind: str
) -> None:
    made = [resource.get("Properties", {}) for resource in template.of_type(kind).values()]
    assert made
    assert not [key for properties in made for key in properties if key in {"Name", f"{kind.rpartition(':')[2]}Name"}]


def test_a_queue_has_a_name_only_where_its_dead_letter_queue_must_know_it(template: TransformedTemplate) -> None:
    """The name holds the first part of the stack's id, so that two stacks never share a queue."""
    short = PSEUDO_PARAMETERS["AWS::StackId"].rpartition("/")[2].partition("-")[0]
    queues = {name: queue["Properties"] for name, queue in template.of_type("AWS::SQS::Queue").items()}
    for name, properties in queues.items():
        if "RedrivePolicy" not in properties:
            assert "QueueName" not in properties, name
            continue
        assert template.text(properties["QueueName"]).startswith(f"tallyfy-lifecycle-{short}-"), name
        dead_letters = queues[target(properties["RedrivePolicy"]["deadLetterTargetArn"])]
        [source] = dead_letters["RedriveAllowPolicy"]["sourceQueueArns"]
        assert template.text(source).rpartition(":")[2] == template.text(properties["QueueName"]), name
