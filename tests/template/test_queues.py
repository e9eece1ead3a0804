"""Queues and what receives from them: redrive, encryption, times that must fit each other."""

import pytest

from tests.template.support import (
    CONSUMERS,
    DAY,
    INTAKE,
    PSEUDO_PARAMETERS,
    QUEUES,
    SOURCE_QUEUES,
    TAKES_APPROVALS,
    WORKERS,
    TransformedTemplate,
    load,
    target,
)


def test_every_queue_is_covered_by_these_tests(template: TransformedTemplate) -> None:
    assert set(template.of_type("AWS::SQS::Queue")) == set(QUEUES)


@pytest.mark.parametrize(("queue", "dead_letters"), SOURCE_QUEUES.items())
def test_each_queue_has_a_dead_letter_queue_that_accepts_from_no_other_queue(
    template: TransformedTemplate, queue: str, dead_letters: str
) -> None:
    assert target(template.properties(queue)["RedrivePolicy"]["deadLetterTargetArn"]) == dead_letters
    allow = template.properties(dead_letters)["RedriveAllowPolicy"]
    name = template.text(template.properties(queue)["QueueName"])
    assert allow["redrivePermission"] == "byQueue"
    arn = f"arn:aws:sqs:{PSEUDO_PARAMETERS['AWS::Region']}:{PSEUDO_PARAMETERS['AWS::AccountId']}:{name}"
    assert [template.text(source) for source in allow["sourceQueueArns"]] == [arn]


@pytest.mark.parametrize("queue", QUEUES)
def test_each_queue_is_encrypted_and_refuses_plain_http(template: TransformedTemplate, queue: str) -> None:
    assert template.properties(queue)["SqsManagedSseEnabled"] is True
    for policy in template.of_type("AWS::SQS::QueuePolicy").values():
        if queue in map(target, policy["Properties"]["Queues"]):
            made = policy["Properties"]["PolicyDocument"]["Statement"]
            (statement,) = (one for one in made if one["Effect"] == "Deny")
            assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            assert queue in map(target, statement["Resource"])
            return
    pytest.fail(f"{queue} has no policy")


def test_only_the_rules_of_incoming_events_and_of_notices_may_send_to_a_queue_by_policy(
    template: TransformedTemplate,
) -> None:
    allowing = {}
    for name, policy in template.of_type("AWS::SQS::QueuePolicy").items():
        made = policy["Properties"]["PolicyDocument"]["Statement"]
        if grants := [one for one in made if one["Effect"] == "Allow"]:
            allowing[name] = grants
    assert sorted(allowing) == ["ChatQueuesPolicy", "EventsQueuesPolicy"]
    (notices,) = allowing["ChatQueuesPolicy"]
    assert [target(arn) for arn in notices["Resource"]] == ["ChatQueue"]
    assert target(notices["Condition"]["ArnEquals"]["aws:SourceArn"]) == "ChatNoticeRule"
    (grant,) = allowing["EventsQueuesPolicy"]
    assert grant["Principal"] == {"Service": "events.amazonaws.com"}
    assert grant["Action"] == "sqs:SendMessage"
    assert {target(arn) for arn in grant["Resource"]} == {"EventsQueue", "EventsDeadLetterQueue"}
    ours, partner = template.choose(grant["Condition"]["ArnEquals"]["aws:SourceArn"])
    assert (target(ours), partner) == ("IncomingEventsRule", {"Ref": "AWS::NoValue"})


def test_the_rule_of_a_partners_bus_may_send_as_well() -> None:
    named = load(PartnerBus="partner")
    policy = named.properties("EventsQueuesPolicy")["PolicyDocument"]["Statement"]
    (grant,) = [one for one in policy if one["Effect"] == "Allow"]
    rules = named.choose(grant["Condition"]["ArnEquals"]["aws:SourceArn"])
    assert [target(one) for one in rules] == ["IncomingEventsRule", "PartnerEventsRule"]


@pytest.mark.parametrize("queue", SOURCE_QUEUES)
def test_a_message_becomes_a_dead_letter_long_before_it_expires(template: TransformedTemplate, queue: str) -> None:
    made = template.properties(queue)
    receives = made["RedrivePolicy"]["maxReceiveCount"]
    assert receives * made["VisibilityTimeout"] < made["MessageRetentionPeriod"] / 2


@pytest.mark.parametrize(("queue", "dead_letters"), SOURCE_QUEUES.items())
def test_dead_letters_are_kept_as_long_as_sqs_allows(
    template: TransformedTemplate, queue: str, dead_letters: str
) -> None:
    assert template.properties(dead_letters)["MessageRetentionPeriod"] == 14 * DAY
    assert template.properties(queue)["MessageRetentionPeriod"] == 4 * DAY


@pytest.mark.parametrize(("function", "queue"), WORKERS.items())
def test_timeout_is_shorter_than_lease_and_lease_than_visibility_timeout(
    template: TransformedTemplate, function: str, queue: str
) -> None:
    timeout = template.properties(function)["Timeout"]
    lease = int(template.properties(function)["Environment"]["Variables"]["LEASE_SECONDS"])
    visibility = template.properties(queue)["VisibilityTimeout"]
    assert timeout < lease < visibility


@pytest.mark.parametrize(("function", "queue"), CONSUMERS.items())
def test_no_message_becomes_visible_while_its_function_runs(
    template: TransformedTemplate, function: str, queue: str
) -> None:
    timeout = template.properties(function)["Timeout"]
    visibility = template.properties(queue)["VisibilityTimeout"]
    # A sweep's checkpoints, a purge's lease stand for the six times that Lambda advises: a copy of it gives way.
    long = function in {"SweepFunction", "PurgeFunction"}
    assert visibility > timeout if long else visibility >= 6 * timeout


def test_a_sweep_paused_for_a_day_does_not_become_a_dead_letter(template: TransformedTemplate) -> None:
    """It comes back each quarter of an hour; an operator has a day to mend what is wrong."""
    assert template.properties("SweepsQueue")["RedrivePolicy"]["maxReceiveCount"] * 900 >= DAY


@pytest.mark.parametrize(("function", "queue"), WORKERS.items())
def test_a_worker_is_given_its_own_queues(template: TransformedTemplate, function: str, queue: str) -> None:
    variables = template.properties(function)["Environment"]["Variables"]
    assert target(variables["QUEUE_URL"]) == queue
    assert target(variables["DEAD_LETTER_QUEUE_URL"]) == SOURCE_QUEUES[queue]
    assert int(variables["QUEUE_RETENTION_SECONDS"]) == template.properties(queue)["MessageRetentionPeriod"]


def test_a_deferred_purge_returns_to_the_purge_queue(template: TransformedTemplate) -> None:
    variables = template.properties("PurgeFunction")["Environment"]["Variables"]
    assert target(variables["QUEUE_ARN"]) == "PurgeQueue"
    assert target(variables["DEAD_LETTER_QUEUE_ARN"]) == "PurgeDeadLetterQueue"


@pytest.mark.parametrize("function", TAKES_APPROVALS)
def test_functions_that_take_approvals_are_given_the_queues_of_what_is_approved(
    template: TransformedTemplate, function: str
) -> None:
    variables = template.properties(function)["Environment"]["Variables"]
    assert target(variables["COMMANDS_QUEUE_URL"]) == "CommandsQueue"
    assert target(variables["PURGE_QUEUE_URL"]) == "PurgeQueue"
    assert target(variables["SWEEPS_QUEUE_URL"]) == "SweepsQueue"


def test_the_sweep_is_given_its_queues(template: TransformedTemplate) -> None:
    variables = template.properties("SweepFunction")["Environment"]["Variables"]
    assert target(variables["QUEUE_URL"]) == "SweepsQueue"
    assert target(variables["DEAD_LETTER_QUEUE_URL"]) == "SweepsDeadLetterQueue"
    assert target(variables["BULK_QUEUE_URL"]) == "BulkQueue"
    assert target(variables["PURGE_QUEUE_URL"]) == "PurgeQueue"


@pytest.mark.parametrize("function", INTAKE)
def test_intake_is_given_its_queues(template: TransformedTemplate, function: str) -> None:
    variables = template.properties(function)["Environment"]["Variables"]
    assert target(variables["COMMANDS_QUEUE_URL"]) == target(variables["COMMANDS_QUEUE_ARN"]) == "CommandsQueue"
    assert target(variables["COMMANDS_DEAD_LETTER_QUEUE_URL"]) == "CommandsDeadLetterQueue"
    assert target(variables["PURGE_QUEUE_URL"]) == "PurgeQueue"


def test_the_ledger_remembers_longer_than_any_copy_of_a_message_lives(template: TransformedTemplate) -> None:
    longest = max(template.properties(queue)["MessageRetentionPeriod"] for queue in QUEUES) + 4 * DAY
    assert template.source["Parameters"]["LedgerDays"]["MinValue"] * DAY > longest


def test_each_event_source_reports_single_failures_and_limits_concurrency(template: TransformedTemplate) -> None:
    sources = [made["Properties"] for made in template.of_type("AWS::Lambda::EventSourceMapping").values()]
    assert {target(made["FunctionName"]): target(made["EventSourceArn"]) for made in sources} == CONSUMERS
    for made in sources:
        assert made["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert made["ScalingConfig"]["MaximumConcurrency"] >= 2


def test_only_purges_and_sweeps_come_one_message_at_a_time(template: TransformedTemplate) -> None:
    sizes = {
        target(made["Properties"]["FunctionName"]): made["Properties"]["BatchSize"]
        for made in template.of_type("AWS::Lambda::EventSourceMapping").values()
    }
    assert {function for function, size in sizes.items() if size == 1} == {"PurgeFunction", "SweepFunction"}
    assert {size for size in sizes.values() if size != 1} == {10}
