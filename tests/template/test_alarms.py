"""Alarms and the notices that people get."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from lifecycle.approvals.rules import ApprovalNotice
from lifecycle.aws.dynamodb import MemoryTable
from lifecycle.aws.eventbridge import SOURCE, MemoryBus
from lifecycle.aws.metrics import Measure, MemoryMetrics, Metric
from lifecycle.aws.sqs import MemoryQueue, Message
from lifecycle.bootstrap.sqs_batch import MESSAGE_AGE
from lifecycle.deletion.safeguards import announce_request
from lifecycle.domain.errors import Code, Poison
from lifecycle.domain.failures import Attention, attention
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.execution.outcomes import Outcomes
from lifecycle.sweep.digest import Digest
from tests.harness.builders import wanted
from tests.template.support import (
    CONSUMERS,
    DAY,
    FUNCTIONS,
    HOUR,
    ROOT,
    SHARED,
    SOURCE_QUEUES,
    Json,
    TransformedTemplate,
    alarms,
    cli_accepts,
    load,
    target,
)


def test_every_alarm_notifies_the_topic_and_has_a_description(template: TransformedTemplate) -> None:
    for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        assert [target(action) for action in properties["AlarmActions"]] == ["AlarmTopic"], name
        silence = "breaching" if name in {"SweepHeartbeatAlarm", "AuditHeartbeatAlarm"} else "notBreaching"
        assert properties["TreatMissingData"] == silence, name
        assert len(template.text(properties["AlarmDescription"])) > 40, name


def test_there_are_at_most_27_alarms(template: TransformedTemplate) -> None:
    assert len(template.of_type("AWS::CloudWatch::Alarm")) <= 27


def test_each_metric_of_ours_is_one_that_the_code_emits(template: TransformedTemplate) -> None:
    known = {*Metric, *Measure, MESSAGE_AGE}
    for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        if properties["Namespace"] == "TallyfyLifecycle":
            assert properties["MetricName"] in known, name
            assert SHARED[0] in properties["Dimensions"], name


def test_a_dead_letter_that_shows_a_fault_rings_at_once(template: TransformedTemplate) -> None:
    made = template.properties("PagedAlarm")
    assert (made["MetricName"], made["Dimensions"], made["Threshold"]) == (Metric.PAGED.value, SHARED, 0)
    # Not by their number: that would ring for what only waits for a person.
    assert set(alarms(template, "ApproximateNumberOfMessagesVisible")) == {"AuditDeadLetterQueue"}


def test_dead_letters_ring_after_seven_days_by_an_age_that_receives_do_not_change(
    template: TransformedTemplate,
) -> None:
    assert not alarms(template, "ApproximateAgeOfOldestMessage")
    made = template.properties("DeadLettersAgeAlarm")
    assert (made["MetricName"], made["Dimensions"]) == (Measure.DEAD_LETTER_AGE.value, SHARED)
    assert (made["Statistic"], made["Unit"], made["Threshold"]) == ("Maximum", "Seconds", 7 * DAY)
    # The daily check tells it once a day.
    assert made["Period"] == DAY
    looked_at = template.properties("SweepFunction")["Environment"]["Variables"]["DEAD_LETTER_QUEUE_URLS"]
    assert set(target(looked_at).split(",")) == set(SOURCE_QUEUES.values())


def test_a_flood_of_one_source_is_one_alarm_an_hour(template: TransformedTemplate) -> None:
    made = template.properties("UntranslatableAlarm")
    assert (made["MetricName"], made["Dimensions"]) == (Metric.UNTRANSLATABLE.value, SHARED)
    assert (made["Statistic"], made["Period"], made["Threshold"]) == ("Sum", HOUR, 0)


def test_an_organization_whose_sweep_does_not_finish_rings_although_others_do(template: TransformedTemplate) -> None:
    made = template.properties("SweepOverdueAlarm")
    assert (made["MetricName"], made["Dimensions"]) == (Measure.SWEEP_AGE.value, SHARED)
    assert (made["Statistic"], made["Threshold"]) == ("Maximum", {"Ref": "SweepHeartbeatHours"})
    assert "SweepOverdueAlarm" not in load(SweepHeartbeatHours="0").of_type("AWS::CloudWatch::Alarm")


@pytest.mark.parametrize(("function", "queue"), CONSUMERS.items())
def test_a_message_that_waits_too_long_rings_however_often_it_was_received(
    template: TransformedTemplate, function: str, queue: str
) -> None:
    made = template.properties(f"{queue.removesuffix('Queue')}AgeAlarm")
    variables = template.properties(function)["Environment"]["Variables"]
    assert (made["MetricName"], made["Namespace"]) == (MESSAGE_AGE, variables["POWERTOOLS_METRICS_NAMESPACE"])
    name = {"Fn::GetAtt": [queue, "QueueName"]}
    assert made["Dimensions"] == [{"Name": "queue", "Value": name}, *SHARED]
    assert (made["Statistic"], made["Unit"]) == ("Maximum", "Seconds")
    patient = queue in {"BulkQueue", "SweepsQueue", "PurgeQueue"}
    assert made["Threshold"] == (12 * HOUR if patient else HOUR // 4)
    # What waits for Tallyfy or for a person is received again each hour, so each period sees it.
    assert made["Period"] == HOUR


def test_a_night_without_a_finished_sweep_rings(template: TransformedTemplate) -> None:
    made = template.properties("SweepHeartbeatAlarm")
    assert made["MetricName"] == Metric.SWEEP_FINISHED.value
    variables = template.properties("SweepFunction")["Environment"]["Variables"]
    assert made["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"]
    assert made["Dimensions"] == SHARED
    assert made["Period"] == HOUR
    assert made["EvaluationPeriods"] == {"Ref": "SweepHeartbeatHours"}
    assert template.parameters["SweepHeartbeatHours"] in {26, "26"}
    assert "SweepHeartbeatAlarm" not in load(SweepHeartbeatHours="0").of_type("AWS::CloudWatch::Alarm")
    assert made["DatapointsToAlarm"] == made["EvaluationPeriods"]
    assert (made["Statistic"], made["ComparisonOperator"], made["Threshold"]) == ("Sum", "LessThanThreshold", 1)


def test_a_crash_of_any_function_rings(template: TransformedTemplate) -> None:
    """Behind the API it is a 5xx, which rings already."""
    behind_the_api = {
        target(made["x-amazon-apigateway-integration"]["uri"])
        or re.search(r"\$\{(\w+)\.Arn\}", made["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"])[1]  # type: ignore[index]
        for methods in template.properties("HttpApi")["Body"]["paths"].values()
        for made in methods.values()
    }
    assert set(alarms(template, "Errors")) | behind_the_api == set(FUNCTIONS)
    assert not set(alarms(template, "Errors")) & behind_the_api


@pytest.mark.parametrize(
    "metric",
    [
        *(Metric.TOKEN_REFUSED, Metric.UNEXPECTED, Metric.PLAN_STOPPED, Metric.PREFLIGHT_FAILED),
        Metric.TOKEN_AGING,
    ],
)
def test_each_alarm_on_a_count_watches_the_metric_that_the_code_emits(
    template: TransformedTemplate, metric: Metric
) -> None:
    [made] = [
        alarm["Properties"]
        for alarm in template.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Properties"].get("MetricName") == metric.value
    ]
    assert (made["Dimensions"], made["Threshold"]) == (SHARED, 0)
    for function in FUNCTIONS:
        variables = template.properties(function)["Environment"]["Variables"]
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == made["Namespace"]


def test_each_alarm_names_its_page_of_the_runbook_and_a_command_that_can_be_pasted(
    template: TransformedTemplate,
) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
        text = template.text(alarm["Properties"]["AlarmDescription"])
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)
        assert text.endswith(f" Runbook: docs/runbook.md#{'-'.join(words).lower()}"), name
        assert f"### {words[0]} {' '.join(words[1:]).lower()}\n" in runbook, name
        [command] = re.findall(r"Run: ((?:lifecycle|aws logs tail) .*? --region \S+)", text)
        if command.startswith("aws"):
            assert command.split()[3] in log_groups(template), name
        else:
            assert cli_accepts(command), name
        assert "\n" not in text


def log_groups(template: TransformedTemplate) -> set[str]:
    groups = template.of_type("AWS::Logs::LogGroup").values()
    return {template.text(group["Properties"]["LogGroupName"]) for group in groups}


def test_metrics_of_two_stacks_in_one_account_stay_apart(template: TransformedTemplate) -> None:
    for function in FUNCTIONS:
        variables = template.properties(function)["Environment"]["Variables"]
        assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}


def test_a_5xx_of_the_api_rings(template: TransformedTemplate) -> None:
    assert set(alarms(template, "5xx")) == {"HttpApi"}


def test_only_cloudwatch_and_eventbridge_publish_to_the_topic_and_only_over_tls(template: TransformedTemplate) -> None:
    assert "KmsMasterKeyId" not in template.properties("AlarmTopic")
    (policy,) = template.of_type("AWS::SNS::TopicPolicy").values()
    made = policy["Properties"]["PolicyDocument"]["Statement"]
    services = {one["Principal"]["Service"] for one in made if one["Effect"] == "Allow"}
    assert services == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    (deny,) = (one for one in made if one["Effect"] == "Deny")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_mail_is_sent_only_if_an_address_is_given(template: TransformedTemplate) -> None:
    assert list(template.of_type("AWS::SNS::Subscription")) == ["AlarmEmailSubscription"]
    blank = TransformedTemplate(template.source, template.parameters | {"AlarmEmail": ""})
    assert not blank.of_type("AWS::SNS::Subscription")


@pytest.mark.parametrize(
    ("rule", "status"), [("DeadLetterNoticeRule", [{"anything-but": "poison"}]), ("PoisonNoticeRule", ["poison"])]
)
def test_each_dead_letter_that_pages_has_one_notice(template: TransformedTemplate, rule: str, status: Json) -> None:
    made = template.properties(rule)
    assert target(made["EventBusName"]) == "Bus"
    quiet = sorted(code.value for code in Code if attention(code) is not Attention.PAGE)
    assert made["EventPattern"] == {
        "source": [SOURCE],
        "detail": {"dead_lettered": [True], "status": status, "code": [{"anything-but": quiet}]},
    }
    assert len(json.dumps(made["EventPattern"])) < 2048  # What EventBridge takes.
    (to,) = made["Targets"]
    assert target(to["Arn"]) == "AlarmTopic"
    text = to["InputTransformer"]["InputTemplate"]["Fn::Sub"]
    assert isinstance(json.loads(text), str)
    assert set(re.findall(r"<(\w+)>", text)) == set(to["InputTransformer"]["InputPathsMap"])


def test_the_digest_notice_has_a_value_for_every_placeholder(template: TransformedTemplate) -> None:
    clock = partial(datetime.now, UTC)
    queue, bus = MemoryQueue(clock), MemoryBus()
    queue.send("{}")
    Digest(queues={"commands": queue}, bus=bus, metrics=MemoryMetrics(), clock=clock).tell()
    [(detail_type, detail)] = bus.announced
    made = template.properties("DigestRule")
    assert made["EventPattern"] == {"source": [SOURCE], "detail-type": [detail_type]}
    (to,) = made["Targets"]
    assert target(to["Arn"]) == "AlarmTopic"
    paths = [path.removeprefix("$.detail.") for path in to["InputTransformer"]["InputPathsMap"].values()]
    assert [path for path in paths if not detail.get(path)] == []
    text = to["InputTransformer"]["InputTemplate"]["Fn::Sub"]
    assert set(re.findall(r"<(\w+)>", text)) == set(to["InputTransformer"]["InputPathsMap"])


def test_the_poison_notice_has_a_value_for_every_placeholder(template: TransformedTemplate) -> None:
    """What the events carry: the outcome of an intent, and the poison that has none."""
    bus = MemoryBus()
    clock = partial(datetime.now, UTC)
    outcomes = Outcomes(
        ledger=Ledger(MemoryTable(), LedgerTerms(lease=timedelta(0), keep=timedelta(0), most_attempts=1), clock),
        dead_letters=MemoryQueue(clock),
        bus=bus,
        metrics=MemoryMetrics(),
        clock=clock,
    )
    outcomes.dead_letter(Message(body="?", sent_at=clock()), Poison(Code.POISON, "It is no command."))
    ((_, detail),) = bus.announced
    (to,) = template.properties("PoisonNoticeRule")["Targets"]
    paths = [path.removeprefix("$.detail.") for path in to["InputTransformer"]["InputPathsMap"].values()]
    assert [path for path in paths if not detail.get(path)] == []


@pytest.mark.parametrize(
    ("rule", "told"),
    [("ApprovalNoticeRule", {"asked", "reminded"}), ("ApprovalExpiredNoticeRule", {"expired"})],
)
def test_each_approval_notice_has_a_value_for_every_placeholder(
    template: TransformedTemplate, rule: str, told: set[str]
) -> None:
    made = template.properties(rule)
    assert target(made["EventBusName"]) == "Bus"
    types = [f"lifecycle.approval.{one}" for one in sorted(told)]
    assert made["EventPattern"] == {"source": [SOURCE], "detail-type": types}
    (to,) = made["Targets"]
    assert target(to["Arn"]) == "AlarmTopic"
    text = to["InputTransformer"]["InputTemplate"]["Fn::Sub"]
    assert isinstance(json.loads(text), str)
    paths = to["InputTransformer"]["InputPathsMap"]
    assert set(re.findall(r"<(\w+)>", text)) == set(paths)
    bus = MemoryBus()
    asked = wanted()
    announce_request(bus, asked, asked.asked_at if "asked" in told else asked.deadline)
    ((name, detail),) = bus.announced
    assert name in types
    assert [path for path in paths.values() if not detail.get(path.removeprefix("$.detail."))] == []


def test_every_approval_event_for_people_has_a_notice(template: TransformedTemplate) -> None:
    rules = [template.properties(rule) for rule in ("ApprovalNoticeRule", "ApprovalExpiredNoticeRule")]
    types = [one for rule in rules for one in rule["EventPattern"]["detail-type"]]
    assert sorted(types) == sorted(f"lifecycle.approval.{notice}" for notice in ApprovalNotice)
