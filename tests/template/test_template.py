"""What the emulator cannot prove: alarms, permissions of resources, policies, and numbers that must fit each other."""

import json
import re
import tomllib
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch, fnmatchcase
from functools import partial

import pytest

from lifecycle.approvals.rules import ApprovalNotice
from lifecycle.audit.chain import Record, What
from lifecycle.audit.sealer import LEASE, PATIENCE
from lifecycle.audit.store import KEEP, audit_row
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import MemoryTable
from lifecycle.aws.eventbridge import SOURCE, MemoryBus
from lifecycle.aws.metrics import Measure, MemoryMetrics, Metric
from lifecycle.aws.sqs import MemoryQueue, Message
from lifecycle.bootstrap.settings import (
    AuditSettings,
    ChatSettings,
    IntakeSettings,
    OperatorSettings,
    PurgeSettings,
    Settings,
    StatusSettings,
    SweepSettings,
    WorkerSettings,
)
from lifecycle.bootstrap.sqs_batch import MESSAGE_AGE
from lifecycle.deletion.safeguards import announce_request
from lifecycle.domain.errors import Code, Poison
from lifecycle.domain.failures import Attention, attention
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.execution.outcomes import Outcomes
from lifecycle.intake.sources import Sources
from lifecycle.sweep.digest import Digest
from lifecycle.sweep.jobs import SweepJob
from lifecycle.tallyfy.export_reader import MOST_FILE_BYTES
from tests.harness.builders import wanted
from tests.template.support import (
    FUNCTIONS,
    ORGANIZATION,
    PLACEHOLDER,
    PSEUDO_PARAMETERS,
    ROOT,
    Json,
    Template,
    cli_accepts,
    load,
    many,
    target,
)

SOURCE_QUEUES = {f"{name}Queue": f"{name}DeadLetterQueue" for name in ("Events", "Sweeps", "Commands", "Bulk", "Purge")}
QUEUES = (*SOURCE_QUEUES, *SOURCE_QUEUES.values(), "AuditDeadLetterQueue")
WORKERS = {"WorkerFunction": "CommandsQueue", "BulkWorkerFunction": "BulkQueue", "PurgeFunction": "PurgeQueue"}
CONSUMERS = WORKERS | {"EventFunction": "EventsQueue", "SweepFunction": "SweepsQueue"}
INTAKE = ("WebhookFunction", "EventFunction")
# Who takes approvals from people, and undoes for them.
TAKES_APPROVALS = ("ChatFunction", "OperatorFunction")
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


def role_of(template: Template, function: str) -> str:
    return target(template.properties(function)["Role"])


def statements(template: Template, function: str) -> list[Json]:
    return statements_of(template, role_of(template, function))


def statements_of(template: Template, role: str) -> list[Json]:
    policies = template.properties(role)["Policies"]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def keys(template: Template, function: str) -> dict[str, set[str]]:
    """The actions a function may take in the ledger, each with the kinds of rows."""
    found: dict[str, set[str]] = {}
    for statement in statements(template, function):
        for action in many(statement["Action"]):
            if action.startswith("dynamodb:"):
                assert target(statement["Resource"]) == "LedgerTable"
                leading = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
                found.setdefault(action, set()).update(leading)
    return found


def allowed(template: Template, function: str, service: str) -> dict[str, set[str]]:
    """The actions a function may take in a service, each with the resources."""
    found: dict[str, set[str]] = {}
    for statement in statements(template, function):
        for action in many(statement["Action"]):
            if action.startswith(f"{service}:"):
                found.setdefault(action, set()).update(target(arn) for arn in many(statement["Resource"]))
    return found


def alarms(template: Template, metric: str) -> dict[str, Json]:
    """The alarms on a metric, by the resource that they watch."""
    found = {}
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        if alarm["Properties"].get("MetricName") == metric:
            value = alarm["Properties"]["Dimensions"][0]["Value"]
            found[target(value) or value] = alarm["Properties"]
    return found


def routes(template: Template) -> set[tuple[str, str]]:
    paths = template.properties("HttpApi")["Body"]["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


class TestQueues:
    def test_there_is_no_queue_these_tests_do_not_know(self, template: Template) -> None:
        assert set(template.of_type("AWS::SQS::Queue")) == set(QUEUES)

    @pytest.mark.parametrize(("queue", "dead_letters"), SOURCE_QUEUES.items())
    def test_each_has_its_dead_letter_queue_that_takes_from_no_other(
        self, template: Template, queue: str, dead_letters: str
    ) -> None:
        assert target(template.properties(queue)["RedrivePolicy"]["deadLetterTargetArn"]) == dead_letters
        allow = template.properties(dead_letters)["RedriveAllowPolicy"]
        name = template.text(template.properties(queue)["QueueName"])
        assert allow["redrivePermission"] == "byQueue"
        arn = f"arn:aws:sqs:{PSEUDO_PARAMETERS['AWS::Region']}:{PSEUDO_PARAMETERS['AWS::AccountId']}:{name}"
        assert [template.text(source) for source in allow["sourceQueueArns"]] == [arn]

    @pytest.mark.parametrize("queue", QUEUES)
    def test_each_is_encrypted_and_refuses_plain_http(self, template: Template, queue: str) -> None:
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

    def test_only_the_rule_of_incoming_events_is_let_in_by_a_queue(self, template: Template) -> None:
        allowing = {}
        for name, policy in template.of_type("AWS::SQS::QueuePolicy").items():
            made = policy["Properties"]["PolicyDocument"]["Statement"]
            if grants := [one for one in made if one["Effect"] == "Allow"]:
                allowing[name] = grants
        assert list(allowing) == ["EventsQueuesPolicy"]
        (grant,) = allowing["EventsQueuesPolicy"]
        assert grant["Principal"] == {"Service": "events.amazonaws.com"}
        assert grant["Action"] == "sqs:SendMessage"
        assert {target(arn) for arn in grant["Resource"]} == {"EventsQueue", "EventsDeadLetterQueue"}
        assert target(grant["Condition"]["ArnEquals"]["aws:SourceArn"]) == "IncomingEventsRule"

    @pytest.mark.parametrize("queue", SOURCE_QUEUES)
    def test_a_message_is_set_aside_long_before_it_is_lost(self, template: Template, queue: str) -> None:
        made = template.properties(queue)
        receives = made["RedrivePolicy"]["maxReceiveCount"]
        assert receives * made["VisibilityTimeout"] < made["MessageRetentionPeriod"] / 2

    @pytest.mark.parametrize(("queue", "dead_letters"), SOURCE_QUEUES.items())
    def test_dead_letters_are_kept_as_long_as_sqs_can(self, template: Template, queue: str, dead_letters: str) -> None:
        assert template.properties(dead_letters)["MessageRetentionPeriod"] == 14 * DAY
        assert template.properties(queue)["MessageRetentionPeriod"] == 4 * DAY

    @pytest.mark.parametrize(("function", "queue"), WORKERS.items())
    def test_timeout_lease_and_visibility_fit_each_other(self, template: Template, function: str, queue: str) -> None:
        timeout = template.properties(function)["Timeout"]
        lease = int(template.properties(function)["Environment"]["Variables"]["LEASE_SECONDS"])
        visibility = template.properties(queue)["VisibilityTimeout"]
        assert timeout < lease < visibility

    @pytest.mark.parametrize(("function", "queue"), CONSUMERS.items())
    def test_nothing_comes_back_while_it_is_worked_on(self, template: Template, function: str, queue: str) -> None:
        timeout = template.properties(function)["Timeout"]
        visibility = template.properties(queue)["VisibilityTimeout"]
        # A sweep's checkpoints, a purge's lease stand for the six times that Lambda advises: a copy of it gives way.
        long = function in {"SweepFunction", "PurgeFunction"}
        assert visibility > timeout if long else visibility >= 6 * timeout

    def test_a_paused_sweep_is_not_set_aside_for_its_pause(self, template: Template) -> None:
        """It comes back each quarter of an hour; an operator has a day to mend what is wrong."""
        assert template.properties("SweepsQueue")["RedrivePolicy"]["maxReceiveCount"] * 900 >= DAY

    @pytest.mark.parametrize(("function", "queue"), WORKERS.items())
    def test_a_worker_knows_its_own_queues(self, template: Template, function: str, queue: str) -> None:
        variables = template.properties(function)["Environment"]["Variables"]
        assert target(variables["QUEUE_URL"]) == queue
        assert target(variables["DEAD_LETTER_QUEUE_URL"]) == SOURCE_QUEUES[queue]
        assert int(variables["QUEUE_RETENTION_SECONDS"]) == template.properties(queue)["MessageRetentionPeriod"]

    def test_what_a_purge_parks_comes_back_to_it(self, template: Template) -> None:
        variables = template.properties("PurgeFunction")["Environment"]["Variables"]
        assert target(variables["QUEUE_ARN"]) == "PurgeQueue"
        assert target(variables["DEAD_LETTER_QUEUE_ARN"]) == "PurgeDeadLetterQueue"

    @pytest.mark.parametrize("function", TAKES_APPROVALS)
    def test_what_was_approved_goes_where_it_belongs(self, template: Template, function: str) -> None:
        variables = template.properties(function)["Environment"]["Variables"]
        assert target(variables["COMMANDS_QUEUE_URL"]) == "CommandsQueue"
        assert target(variables["PURGE_QUEUE_URL"]) == "PurgeQueue"
        assert target(variables["SWEEPS_QUEUE_URL"]) == "SweepsQueue"

    def test_a_sweep_knows_its_queues(self, template: Template) -> None:
        variables = template.properties("SweepFunction")["Environment"]["Variables"]
        assert target(variables["QUEUE_URL"]) == "SweepsQueue"
        assert target(variables["DEAD_LETTER_QUEUE_URL"]) == "SweepsDeadLetterQueue"
        assert target(variables["BULK_QUEUE_URL"]) == "BulkQueue"
        assert target(variables["PURGE_QUEUE_URL"]) == "PurgeQueue"

    @pytest.mark.parametrize("function", INTAKE)
    def test_intake_knows_its_queues(self, template: Template, function: str) -> None:
        variables = template.properties(function)["Environment"]["Variables"]
        assert target(variables["COMMANDS_QUEUE_URL"]) == target(variables["COMMANDS_QUEUE_ARN"]) == "CommandsQueue"
        assert target(variables["COMMANDS_DEAD_LETTER_QUEUE_URL"]) == "CommandsDeadLetterQueue"
        assert target(variables["PURGE_QUEUE_URL"]) == "PurgeQueue"

    def test_the_ledger_remembers_longer_than_any_copy_of_a_message_lives(self, template: Template) -> None:
        longest = max(template.properties(queue)["MessageRetentionPeriod"] for queue in QUEUES) + 4 * DAY
        assert template.source["Parameters"]["LedgerDays"]["MinValue"] * DAY > longest


class TestEventSources:
    def test_each_reports_single_failures_and_bounds_the_workers(self, template: Template) -> None:
        sources = [made["Properties"] for made in template.of_type("AWS::Lambda::EventSourceMapping").values()]
        assert {target(made["FunctionName"]): target(made["EventSourceArn"]) for made in sources} == CONSUMERS
        for made in sources:
            assert made["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            assert made["ScalingConfig"]["MaximumConcurrency"] >= 2

    def test_a_purge_shares_no_batch(self, template: Template) -> None:
        sizes = {
            target(made["Properties"]["FunctionName"]): made["Properties"]["BatchSize"]
            for made in template.of_type("AWS::Lambda::EventSourceMapping").values()
        }
        assert {function for function, size in sizes.items() if size == 1} == {"PurgeFunction", "SweepFunction"}
        assert {size for size in sizes.values() if size != 1} == {10}


class TestBus:
    def test_what_comes_in_is_never_an_outcome_of_ours(self, template: Template) -> None:
        rule = template.properties("IncomingEventsRule")
        assert target(rule["EventBusName"]) == "Bus"
        assert rule["EventPattern"] == {
            "source": [{"anything-but": SOURCE}],
            "detail-type": {"Ref": "IncomingDetailTypes"},
        }
        assert template.source["Parameters"]["IncomingDetailTypes"]["Type"] == "CommaDelimitedList"
        (to,) = rule["Targets"]
        assert target(to["Arn"]) == "EventsQueue"
        assert target(to["DeadLetterConfig"]["Arn"]) == "EventsDeadLetterQueue"

    def test_no_other_rule_reads_the_bus_but_for_people(self, template: Template) -> None:
        rules = {
            name: [target(to["Arn"]) for to in made["Properties"]["Targets"]]
            for name, made in template.of_type("AWS::Events::Rule").items()
        }
        assert rules.pop("IncomingEventsRule") == ["EventsQueue"]
        assert set(map(tuple, rules.values())) == {("AlarmTopic",)}

    def test_every_detail_type_that_a_source_declares_is_let_in(self, template: Template) -> None:
        sources = Sources.parse((ROOT / "layers" / "config" / "sources.toml").read_text())
        declared = {name for source in sources.sources.values() for name in source.scheme.wanted_detail_types}
        assert declared <= set(template.parameters["IncomingDetailTypes"].split(","))

    def test_nobody_else_may_send_unless_named(self, template: Template) -> None:
        assert template.parameters["EventSenderAccountIds"] == ""
        assert not template.of_type("AWS::Events::EventBusPolicy")

    def test_a_named_account_may_send_but_not_in_our_name(self) -> None:
        named = load(EventSenderAccountIds="111122223333,444455556666")
        (policy,) = named.of_type("AWS::Events::EventBusPolicy").values()
        assert target(policy["Properties"]["EventBusName"]) == "Bus"
        made = policy["Properties"]["Statement"]
        assert (made["Effect"], made["Action"], target(made["Resource"])) == ("Allow", "events:PutEvents", "Bus")
        assert named.choose(made["Principal"]["AWS"]["Fn::Split"]) == [",", "111122223333,444455556666"]
        assert made["Condition"] == {"ForAllValues:StringNotEquals": {"events:source": SOURCE}}


class TestSchedule:
    def test_cloudformation_names_each_so_that_no_stack_name_is_too_long(self, template: Template) -> None:
        """Scheduler takes 64 characters, a stack's name may have 128; CloudFormation shortens, and names two apart."""
        schedules = template.of_type("AWS::Scheduler::Schedule")
        assert set(schedules) == set(SCHEDULES)
        (group,) = template.of_type("AWS::Scheduler::ScheduleGroup").values()
        made = [*(schedule["Properties"] for schedule in schedules.values()), group.get("Properties", {})]
        assert not [one for one in made if "Name" in one]

    def test_it_runs_at_a_local_time_that_every_day_has(self, template: Template) -> None:
        made = template.properties("NightlySweep")
        assert made["ScheduleExpression"] == {"Ref": "SweepSchedule"}
        assert made["ScheduleExpressionTimezone"] == {"Ref": "SweepTimeZone"}
        assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert template.parameters["SweepSchedule"] == "cron(10 4 * * ? *)"

    def test_token_role_and_settings_are_looked_at_each_morning_however_rare_sweeps_are(
        self, template: Template
    ) -> None:
        made = template.properties("DailyCheck")
        assert made["ScheduleExpression"] == "cron(40 7 * * ? *)"
        assert made["ScheduleExpressionTimezone"] == {"Ref": "SweepTimeZone"}
        assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}

    @pytest.mark.parametrize(("schedule", "kind"), [("NightlySweep", "sweep"), ("DailyCheck", "check")])
    def test_each_starts_its_errand_and_loses_no_start(self, template: Template, schedule: str, kind: str) -> None:
        to = template.properties(schedule)["Target"]
        assert target(to["Arn"]) == "SweepsQueue"
        assert target(to["RoleArn"]) == "SweepSchedulesRole"
        assert target(to["DeadLetterConfig"]["Arn"]) == "SweepsDeadLetterQueue"
        assert to["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert HOUR <= to["RetryPolicy"]["MaximumEventAgeInSeconds"] < 26 * HOUR
        errand = SweepJob.model_validate_json(
            to["Input"].replace("<aws.scheduler.scheduled-time>", "2026-06-15T02:10:00Z")
        )
        assert errand.sweep_id == "2026-06-15T02:10:00Z"
        assert errand.kind == kind
        assert errand.org_id is None

    @pytest.mark.parametrize(
        ("role", "queues"),
        [
            ("SweepSchedulesRole", {"SweepsQueue", "SweepsDeadLetterQueue"}),
            ("LaterRole", {"CommandsQueue", "CommandsDeadLetterQueue", "PurgeQueue", "PurgeDeadLetterQueue"}),
        ],
    )
    def test_scheduler_may_do_nothing_but_send_there(self, template: Template, role: str, queues: set[str]) -> None:
        (made,) = statements_of(template, role)
        assert made["Action"] == "sqs:SendMessage"
        assert {target(arn) for arn in many(made["Resource"])} == queues

    def test_it_only_reports_unless_somebody_says_otherwise(self, template: Template) -> None:
        assert template.source["Parameters"]["SweepMode"]["AllowedValues"] == ["report", "apply"]
        assert template.parameters["SweepMode"] == "report"
        settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
        for name, environment in settings.items():
            if name != "version":
                assert "SweepMode=report" in environment["deploy"]["parameters"]["parameter_overrides"], name


class TestApi:
    def test_the_routes_are_these(self, template: Template) -> None:
        assert routes(template) == {
            ("POST", "/webhooks/{source}"),
            ("POST", "/webhooks/{source}/{key}"),
            *((method, "/webhooks/{proxy+}") for method in ("POST", "HEAD", "GET")),
            ("POST", "/chat/slack"),
            ("POST", "/chat/slack/actions"),
            ("GET", "/commands/{intent_id}"),
            ("GET", "/health"),
            *BY_IDENTITY,
        }

    def test_who_speaks_for_themselves_is_known_to_aws_and_who_signs_is_not_asked(self, template: Template) -> None:
        """The route, and not the function, decides: a route that forgets it would let anybody approve."""
        body = template.properties("HttpApi")["Body"]
        asked = {
            (method.upper(), path): operation.get("security", [])
            for path, methods in body["paths"].items()
            for method, operation in methods.items()
        }
        assert asked == {route: [{"AWS_IAM": []}] if route in BY_IDENTITY else [] for route in routes(template)}
        assert body["components"]["securitySchemes"]["AWS_IAM"]["x-amazon-apigateway-authtype"] == "awsSigv4"
        uris = [json.dumps(body["paths"][path][method.lower()]) for method, path in BY_IDENTITY]
        functions = {name for uri in uris for name in re.findall(r"\$\{(\w+Function)\.Arn\}", uri)}
        assert functions == {"OperatorFunction"}

    def test_each_route_may_call_its_function(self, template: Template) -> None:
        permitted = set()
        for made in template.of_type("AWS::Lambda::Permission").values():
            properties = made["Properties"]
            assert properties["Principal"] == "apigateway.amazonaws.com"
            text, values = properties["SourceArn"]["Fn::Sub"]
            assert target(values["__ApiId__"]) == "HttpApi"
            method, path = re.fullmatch(r".*/([A-Z]+)(/.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
            permitted.add((method, path, target(properties["FunctionName"])))
        paths = template.properties("HttpApi")["Body"]["paths"]
        wanted = set()
        for method, path in routes(template):
            uri = json.dumps(paths[path][method.lower()]["x-amazon-apigateway-integration"]["uri"])
            (function,) = re.findall(r"\$\{(\w+Function)\.Arn\}", uri)
            wanted.add((method, re.sub(r"\{\w+\+?\}", "*", path), function))
        assert permitted == wanted

    def test_a_warning_of_the_import_stops_no_deploy(self, template: Template) -> None:
        assert "FailOnWarnings" not in template.properties("HttpApi")

    def test_the_access_log_names_routes_and_callers_never_paths(self, template: Template) -> None:
        (stage,) = template.of_type("AWS::ApiGatewayV2::Stage").values()
        log = stage["Properties"]["AccessLogSettings"]
        values = set(json.loads(log["Format"]).values())
        assert {"$context.routeKey", "$context.status", "$context.requestId", "$context.responseLatency"} <= values
        assert {"$context.identity.sourceIp", "$context.identity.userArn"} <= values
        told = json.dumps(log["Format"]).lower()
        assert not [word for word in ("path", "useragent", "authorizer") if word in told]
        assert "RetentionInDays" in template.properties(target(log["DestinationArn"]))

    def test_slack_is_answered_within_its_three_seconds_or_knows_soon(self, template: Template) -> None:
        assert template.properties("ChatFunction")["Timeout"] <= 5
        assert template.properties("ChatFunction")["MemorySize"] >= 1024

    def test_callers_are_throttled(self, template: Template) -> None:
        (stage,) = template.of_type("AWS::ApiGatewayV2::Stage").values()
        settings = stage["Properties"]["DefaultRouteSettings"]
        assert settings["ThrottlingRateLimit"] > 0
        assert settings["ThrottlingBurstLimit"] > 0


class TestFunctions:
    def test_there_is_no_function_these_tests_do_not_know(self, template: Template) -> None:
        assert set(template.of_type("AWS::Lambda::Function")) == set(FUNCTIONS)

    def test_none_has_an_alias_that_would_hide_a_new_layer(self, template: Template) -> None:
        assert not template.of_type("AWS::Lambda::Alias")
        assert not template.of_type("AWS::Lambda::Version")

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_each_logs_into_its_own_group_that_forgets(self, template: Template, function: str) -> None:
        group = target(template.properties(function)["LoggingConfig"]["LogGroup"])
        assert template.resources[group]["Type"] == "AWS::Logs::LogGroup"
        assert "RetentionInDays" in template.properties(group)
        assert allowed(template, function, "logs") == {"logs:CreateLogStream": {group}, "logs:PutLogEvents": {group}}

    def test_log_groups_and_roles_are_not_shared(self, template: Template) -> None:
        groups = {target(template.properties(name)["LoggingConfig"]["LogGroup"]) for name in FUNCTIONS}
        assert len(groups) == len({role_of(template, name) for name in FUNCTIONS}) == len(FUNCTIONS)

    @pytest.mark.parametrize(("function", "settings"), SETTINGS.items())
    def test_each_is_given_exactly_the_variables_it_reads(
        self, template: Template, function: str, settings: type[Settings]
    ) -> None:
        given = set(template.properties(function)["Environment"]["Variables"])
        assert given >= POWERTOOLS_VARIABLES
        assert given - POWERTOOLS_VARIABLES == {name.upper() for name in settings.model_fields} - POWERTOOLS_VARIABLES

    @pytest.mark.parametrize(("function", "settings"), SETTINGS.items())
    def test_the_parameters_defaults_are_values_it_can_read(
        self, template: Template, function: str, settings: type[Settings]
    ) -> None:
        given = template.properties(function)["Environment"]["Variables"]
        values = {name: template.choose(value) for name, value in given.items()}
        settings.read({name: value if isinstance(value, str) else target(value) for name, value in values.items()})

    def test_what_sweeps_asked_for_stands_behind_what_people_asked_for(self, template: Template) -> None:
        lanes = {
            function: template.properties(function)["Environment"]["Variables"]["LANE"]
            for function, settings in SETTINGS.items()
            if issubclass(settings, WorkerSettings)
        }
        assert lanes == {"WorkerFunction": "people", "BulkWorkerFunction": "bulk", "PurgeFunction": "people"}


class TestArchitecture:
    def test_none_is_traced_unless_told_so(self, template: Template) -> None:
        assert template.source["Globals"]["Function"]["Tracing"] == {"Ref": "Tracing"}
        assert template.parameters["Tracing"] == "PassThrough"

    def test_a_sweep_of_a_million_things_has_room_twice(self, template: Template) -> None:
        assert template.properties("SweepFunction")["EphemeralStorage"]["Size"] >= 2 * 501

    def test_functions_and_layers_agree(self, template_of_each_architecture: Template) -> None:
        template = template_of_each_architecture
        wanted = template.parameters["Architecture"]
        for function in FUNCTIONS:
            properties = template.properties(function)
            assert template.choose(properties["Architectures"]) == [wanted]
            layers = [template.resources[target(layer)] for layer in template.choose(properties["Layers"])]
            assert len(layers) == 3
            for layer in layers:
                assert wanted in layer["Properties"]["CompatibleArchitectures"]

    def test_only_the_chosen_dependencies_are_deployed(self, template_of_each_architecture: Template) -> None:
        template = template_of_each_architecture
        layers = template.of_type("AWS::Lambda::LayerVersion").values()
        compiled = [layer for layer in layers if len(layer["Properties"]["CompatibleArchitectures"]) == 1]
        assert [layer["Properties"]["CompatibleArchitectures"] for layer in compiled] == [
            [template.parameters["Architecture"]]
        ]

    def test_each_compiled_layer_is_built_for_what_it_says(self, template: Template) -> None:
        for name in ("DependenciesArm64Layer", "DependenciesX86Layer"):
            layer = template.source["Resources"][name]
            assert [layer["Metadata"]["BuildArchitecture"]] == layer["Properties"]["CompatibleArchitectures"]


class TestRights:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_no_action_is_a_wildcard_and_none_is_attached_from_elsewhere(
        self, template: Template, function: str
    ) -> None:
        assert "ManagedPolicyArns" not in template.properties(role_of(template, function))
        for statement in statements(template, function):
            assert statement["Effect"] == "Allow"
            assert not {"NotAction", "NotResource"} & set(statement)
            assert not [action for action in many(statement["Action"]) if "*" in action]

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_a_resource_is_a_wildcard_only_for_a_stated_reason(self, template: Template, function: str) -> None:
        wild = {made["Sid"] for made in statements(template, function) if "*" in many(made["Resource"])}
        assert wild <= set(WILDCARD_RESOURCES)

    def test_roles_are_for_lambda_and_for_the_scheduler_of_this_account(self, template: Template) -> None:
        of_functions = {role_of(template, name) for name in FUNCTIONS}
        assert set(template.of_type("AWS::IAM::Role")) == of_functions | set(SCHEDULER_ROLES)
        for name, role in template.of_type("AWS::IAM::Role").items():
            (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            if name in of_functions:
                assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
                continue
            assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
            sure = statement["Condition"]["StringEquals"]
            assert sure["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}
            assert SCHEDULER_ROLES[name] in json.dumps(sure["aws:SourceArn"])

    @pytest.mark.parametrize("function", SCHEDULERS)
    def test_who_schedules_lends_the_scheduler_one_role_and_nobody_else_any(
        self, template: Template, function: str
    ) -> None:
        passing = [made for made in statements(template, function) if "iam:PassRole" in many(made["Action"])]
        assert [(target(made["Resource"]), made["Condition"]) for made in passing] == [
            ("LaterRole", {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}})
        ]
        variables = template.properties(function)["Environment"]["Variables"]
        assert target(variables["SCHEDULE_ROLE_ARN"]) == "LaterRole"

    def test_schedules_are_made_in_their_group_alone_by_intake_and_for_what_must_wait(self, template: Template) -> None:
        for function in FUNCTIONS:
            made = [one for one in statements(template, function) if "scheduler:" in json.dumps(one["Action"])]
            if function not in SCHEDULERS:
                assert not made
                assert not allowed(template, function, "iam")
                continue
            (statement,) = made
            assert statement["Action"] == "scheduler:CreateSchedule"
            assert statement["Resource"]["Fn::Sub"].endswith(":schedule/${LaterGroup}/*")
            variables = template.properties(function)["Environment"]["Variables"]
            assert target(variables["SCHEDULE_GROUP"]) == "LaterGroup"
            (sends,) = statements_of(template, "LaterRole")
            assert SCHEDULERS[function] in {target(arn) for arn in sends["Resource"]}

    @pytest.mark.parametrize(
        ("function", "queues"),
        [
            ("WebhookFunction", {"CommandsQueue", "PurgeQueue", "CommandsDeadLetterQueue"}),
            ("ChatFunction", {"CommandsQueue", "PurgeQueue", "SweepsQueue"}),
            ("OperatorFunction", {"CommandsQueue", "PurgeQueue", "SweepsQueue"}),
            ("StatusFunction", set()),
        ],
    )
    def test_the_api_sends_and_never_takes(self, template: Template, function: str, queues: set[str]) -> None:
        assert allowed(template, function, "sqs") == ({"sqs:SendMessage": queues} if queues else {})

    @pytest.mark.parametrize(
        ("function", "queues"),
        [
            ("WorkerFunction", {"CommandsDeadLetterQueue"}),
            ("BulkWorkerFunction", {"BulkDeadLetterQueue"}),
            ("PurgeFunction", {"PurgeDeadLetterQueue"}),
            ("EventFunction", {"CommandsQueue", "PurgeQueue", "CommandsDeadLetterQueue"}),
            ("SweepFunction", {"SweepsQueue", "BulkQueue", "PurgeQueue", "SweepsDeadLetterQueue"}),
        ],
    )
    def test_each_takes_from_its_own_queue_and_sends_only_where_it_must(
        self, template: Template, function: str, queues: set[str]
    ) -> None:
        queue = CONSUMERS[function]
        # The daily check counts dead letters; it can remove none.
        looked_at = set(SOURCE_QUEUES.values()) if function == "SweepFunction" else set()
        assert allowed(template, function, "sqs") == {
            "sqs:ReceiveMessage": {queue, *looked_at},
            "sqs:DeleteMessage": {queue},
            "sqs:GetQueueAttributes": {queue, *looked_at},
            "sqs:ChangeMessageVisibility": {queue},
            "sqs:SendMessage": queues,
        }

    def test_a_sweep_reaches_no_queue_of_people_or_of_events(self, template: Template) -> None:
        sent_to = allowed(template, "SweepFunction", "sqs")["sqs:SendMessage"]
        assert not sent_to & {"CommandsQueue", "EventsQueue"}

    def test_a_sweep_keeps_objects_below_two_prefixes_and_nobody_else_reaches_the_bucket(
        self, template: Template
    ) -> None:
        for function in FUNCTIONS:
            made = [
                one
                for one in statements(template, function)
                if "s3:" in json.dumps(one["Action"]) and "PlansBucket" in json.dumps(one["Resource"])
            ]
            if function != "SweepFunction":
                assert not made
                continue
            keeping, listing = made
            assert set(keeping["Action"]) == {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
            assert [arn["Fn::Sub"] for arn in keeping["Resource"]] == [
                "${PlansBucket.Arn}/plans/*",
                "${PlansBucket.Arn}/sweeps/*",
            ]
            assert (listing["Action"], target(listing["Resource"])) == ("s3:ListBucket", "PlansBucket")
            assert listing["Resource"] == {"Fn::GetAtt": ["PlansBucket", "Arn"]}
            assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["plans/*", "sweeps/*"]}}

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_nobody_deletes_or_scans_the_ledger(self, template: Template, function: str) -> None:
        assert set(keys(template, function)) <= {
            *("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query"),
        }

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_no_function_can_write_a_hold(self, template: Template, function: str) -> None:
        assert "holds#*" not in keys(template, function).get("dynamodb:PutItem", set())

    @pytest.mark.parametrize("function", ["WebhookFunction", "EventFunction"])
    def test_who_takes_in_records_what_was_accepted_and_nothing_else(self, template: Template, function: str) -> None:
        accepted = {"intent#*", "word#*", "waiting#*"}
        assert keys(template, function) == {"dynamodb:GetItem": accepted, "dynamodb:PutItem": accepted}

    def test_who_tells_what_became_of_a_command_reads_intents_only(self, template: Template) -> None:
        assert keys(template, "StatusFunction") == {"dynamodb:GetItem": {"intent#*"}}

    @pytest.mark.parametrize("function", TAKES_APPROVALS)
    def test_who_takes_approvals_keeps_them_and_reads_intents(self, template: Template, function: str) -> None:
        assert keys(template, function) == {
            "dynamodb:GetItem": {"intent#*", "word#*", "sweep#*", "holds#*", "approval#*", "vote#*"},
            "dynamodb:BatchGetItem": {"holds#*", "vote#*"},
            "dynamodb:Query": {"approval#*", "holds#*"},
            "dynamodb:PutItem": {"intent#*", "word#*", "approval#*", "vote#*", "audit#2*"},
        }

    def test_who_asks_for_approval_and_who_takes_it_are_the_only_ones_to_touch_it(self, template: Template) -> None:
        touching = {function for function in FUNCTIONS if "approval#*" in str(keys(template, function))}
        assert touching == {*TAKES_APPROVALS, "PurgeFunction", "SweepFunction"}

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_votes_are_written_only_by_what_speaks_for_people(self, template: Template, function: str) -> None:
        """Whoever asks for approvals or carries out deletes could otherwise approve its own."""
        writes = keys(template, function).get("dynamodb:PutItem", set())
        rows = {"request": table_keys.request(ORGANIZATION, "7"), "vote": table_keys.vote(ORGANIZATION, "7")}
        reached = {kind for kind, key in rows.items() if any(fnmatchcase(key.pk, pattern) for pattern in writes)}
        asks = {"request"} if function in {*TAKES_APPROVALS, "PurgeFunction", "SweepFunction"} else set()
        assert reached == asks | ({"vote"} if function in TAKES_APPROVALS else set())

    @pytest.mark.parametrize("function", WORKERS)
    def test_a_worker_keeps_intents_leases_and_pace(self, template: Template, function: str) -> None:
        kept = {"intent#*", "resource#*", "word#*", "pace#*"}
        if function == "PurgeFunction":
            kept |= {"approval#*"}  # It asks for approval; only others give it.
        waits = {"waiting#*"} if function == "PurgeFunction" else set()
        # Right before a call it reads whether its plan was taken back.
        heard = {"holds#*", "sweep#*"}
        votes = {"vote#*"} if function == "PurgeFunction" else set()
        # Of the trail it reads nothing but a record of its own whose answer was lost.
        recorded = {"audit#2*"} if function == "PurgeFunction" else set()
        assert keys(template, function) == {
            "dynamodb:GetItem": kept | heard | recorded | waits | votes,
            "dynamodb:BatchGetItem": kept | heard | votes,
            "dynamodb:PutItem": kept | {"audit#2*"} | waits,
            "dynamodb:Query": {"holds#*"},
        }

    def test_a_sweep_keeps_its_checkpoints_and_the_pace_and_reads_what_became_of_its_commands(
        self, template: Template
    ) -> None:
        assert keys(template, "SweepFunction") == {
            "dynamodb:GetItem": {"sweep#*", "pace#*", "intent#*", "resource#*", "approval#*", "vote#*", "audit#2*"},
            "dynamodb:BatchGetItem": {"approval#*", "vote#*", "resource#*"},
            "dynamodb:PutItem": {"sweep#*", "pace#*", "approval#*", "audit#2*"},
            "dynamodb:Query": {"holds#*", "waiting#*", "approval#*", "vote#*"},
        }

    @pytest.mark.parametrize(
        ("function", "readable"),
        [
            ("WebhookFunction", {"sources", "IdKeySecret"}),
            ("ChatFunction", {"chat", "IdKeySecret"}),
            ("StatusFunction", {"IdKeySecret"}),
            ("OperatorFunction", {"IdKeySecret"}),
            ("EventFunction", {"IdKeySecret"}),
            ("SweepFunction", {"tokens", "IdKeySecret"}),
            ("WorkerFunction", {"tokens"}),
            ("BulkWorkerFunction", {"tokens"}),
            ("PurgeFunction", {"tokens", "IdKeySecret"}),
            ("AuditFunction", set()),
        ],
    )
    def test_each_reads_only_its_secrets(self, template: Template, function: str, readable: set[str]) -> None:
        found = set()
        for made in statements(template, function):
            if "secretsmanager:GetSecretValue" in many(made["Action"]):
                for arn in many(made["Resource"]):
                    text = arn.get("Fn::Sub", "")
                    path = re.fullmatch(r".*:secret:\$\{AWS::StackName\}/(\w+)/\*", text)
                    found.add(path[1] if path else target(arn))
        assert found == readable

    @pytest.mark.parametrize("function", [*WORKERS, *INTAKE, "SweepFunction"])
    def test_events_speak_in_our_name_only(self, template: Template, function: str) -> None:
        (made,) = (made for made in statements(template, function) if made["Action"] == "events:PutEvents")
        assert target(made["Resource"]) == "Bus"
        assert made["Condition"] == {"ForAllValues:StringEquals": {"events:source": SOURCE}}


class TestLedger:
    def test_it_outlives_the_stack_and_mistakes(self, template: Template) -> None:
        for name in ("LedgerTable", "IdKeySecret"):
            resource = template.resources[name]
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
        table = template.properties("LedgerTable")
        assert table["DeletionProtectionEnabled"] is True
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert table["SSESpecification"]["SSEEnabled"] is True

    def test_its_shape_is_the_adapters(self, template: Template) -> None:
        table = template.properties("LedgerTable")
        assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [
            ("pk", "HASH"),
            ("sk", "RANGE"),
        ]
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
        assert table["BillingMode"] == "PAY_PER_REQUEST"

    def test_the_key_of_ids_is_never_rotated(self, template: Template) -> None:
        assert not template.of_type("AWS::SecretsManager::RotationSchedule")


class TestPlans:
    def test_there_is_no_bucket_these_tests_do_not_know(self, template: Template) -> None:
        assert set(template.of_type("AWS::S3::Bucket")) == {"PlansBucket", "ExportsBucket", "AuditBucket"}

    def test_the_bucket_is_versioned_encrypted_and_private(self, template: Template) -> None:
        made = template.properties("PlansBucket")
        assert made["VersioningConfiguration"] == {"Status": "Enabled"}
        (rule,) = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        assert made["PublicAccessBlockConfiguration"] == dict.fromkeys(
            ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
        )
        assert made["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        assert "BucketName" not in made

    def test_it_outlives_the_stack(self, template: Template) -> None:
        resource = template.resources["PlansBucket"]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")

    def test_it_refuses_plain_http_and_lets_nobody_else_in(self, template: Template) -> None:
        policy = template.properties("PlansBucketPolicy")
        assert target(policy["Bucket"]) == "PlansBucket"
        (deny,) = policy["PolicyDocument"]["Statement"]
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
        assert [target(arn).partition("/")[0] for arn in deny["Resource"]] == ["PlansBucket", "PlansBucket"]
        assert [template.text(arn) for arn in deny["Resource"]] == [PLACEHOLDER, f"{PLACEHOLDER}/*"]
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_it_forgets_parts_of_listings_soon_and_plans_when_told(self, template: Template) -> None:
        rules = {rule["Id"]: rule for rule in template.properties("PlansBucket")["LifecycleConfiguration"]["Rules"]}
        assert {rule["Status"] for rule in rules.values()} == {"Enabled"}
        days = {"Ref": "PlanDays"}
        kept = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules.values() if "Prefix" in rule}
        assert kept == {"sweeps/": 7, "plans/": days}
        old = {
            rule["Prefix"]: rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
            for rule in rules.values()
            if "Prefix" in rule
        }
        assert old == kept
        (unfinished,) = (rule for rule in rules.values() if "Prefix" not in rule)
        assert unfinished["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
        assert template.source["Parameters"]["PlanDays"]["Default"] == 90

    def test_the_parts_of_a_listing_live_longer_than_its_sweep_can(self, template: Template) -> None:
        rules = template.properties("PlansBucket")["LifecycleConfiguration"]["Rules"]
        (parts,) = (rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == "sweeps/")
        assert parts * DAY > template.properties("SweepsQueue")["MessageRetentionPeriod"]
        assert template.source["Parameters"]["PlanDays"]["MinValue"] >= parts

    def test_only_the_sweep_knows_the_bucket(self, template: Template) -> None:
        for function in FUNCTIONS:
            variables = template.properties(function)["Environment"]["Variables"]
            found = [name for name, value in variables.items() if target(value) == "PlansBucket"]
            assert found == (["PLANS_BUCKET"] if function == "SweepFunction" else [])


class TestExports:
    def test_the_bucket_is_versioned_encrypted_and_private_and_outlives_the_stack(self, template: Template) -> None:
        resource = template.resources["ExportsBucket"]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
        made = resource["Properties"]
        assert made["VersioningConfiguration"] == {"Status": "Enabled"}
        (rule,) = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        assert made["PublicAccessBlockConfiguration"] == dict.fromkeys(
            ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
        )
        assert made["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        assert "BucketName" not in made

    def test_it_refuses_plain_http(self, template: Template) -> None:
        policy = template.properties("ExportsBucketPolicy")
        assert target(policy["Bucket"]) == "ExportsBucket"
        (deny,) = policy["PolicyDocument"]["Statement"]
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
        assert [target(arn).partition("/")[0] for arn in deny["Resource"]] == ["ExportsBucket", "ExportsBucket"]
        assert [template.text(arn) for arn in deny["Resource"]] == [PLACEHOLDER, f"{PLACEHOLDER}/*"]
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_it_is_kept_as_long_as_told_and_grows_cold_where_it_can_still_be_read(self, template: Template) -> None:
        kept, cold, unfinished = self.rules(template)
        assert (kept["Status"], kept["Prefix"], kept["ExpirationInDays"]) == (
            "Enabled",
            "exports/",
            {"Ref": "ExportDays"},
        )
        assert kept["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
        assert (cold["Status"], cold["Prefix"]) == ("Enabled", "exports/")
        # The other cold classes need an order, and hours, before a folder can be verified or erased.
        assert cold["Transitions"] == [{"StorageClass": "GLACIER_IR", "TransitionInDays": {"Ref": "ExportColdDays"}}]
        assert unfinished["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
        made = template.source["Parameters"]
        assert (made["ExportDays"]["Default"], made["ExportDays"]["MinValue"]) == (7 * 365, 30)
        assert 0 < made["ExportColdDays"]["Default"] < made["ExportDays"]["Default"]

    def test_it_can_stay_warm(self) -> None:
        warm = load(ExportColdDays="0")
        assert [rule["Id"] for rule in self.rules(warm)] == ["exports", "unfinished-uploads"]

    def test_the_settings_files_are_ones_that_s3_takes(self, template: Template) -> None:
        """It refuses to move what it has removed."""
        settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
        for name, environment in settings.items():
            if name != "version":
                said = dict(pair.split("=", 1) for pair in environment["deploy"]["parameters"]["parameter_overrides"])
                assert int(said.get("ExportColdDays", template.parameters["ExportColdDays"])) < int(
                    said.get("ExportDays", template.parameters["ExportDays"])
                ), name

    def test_it_is_locked_only_if_told_so_and_never_beyond_the_reach_of_the_law(self, template: Template) -> None:
        for name in ("ObjectLockEnabled", "ObjectLockConfiguration"):
            assert template.choose(template.properties("ExportsBucket")[name]) == {"Ref": "AWS::NoValue"}
        locked = load(ExportLock="governance")
        made = locked.properties("ExportsBucket")
        assert locked.choose(made["ObjectLockEnabled"]) is True
        assert locked.choose(made["ObjectLockConfiguration"]) == {
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": {"Ref": "ExportDays"}}},
        }
        assert template.source["Parameters"]["ExportLock"]["AllowedValues"] == ["off", "governance"]

    def test_only_the_purge_writes_below_one_prefix_and_nobody_removes(self, template: Template) -> None:
        for function in FUNCTIONS:
            made = [one for one in statements(template, function) if "ExportsBucket" in json.dumps(one["Resource"])]
            variables = template.properties(function)["Environment"]["Variables"]
            found = [name for name, value in variables.items() if target(value) == "ExportsBucket"]
            if function != "PurgeFunction":
                assert not made
                assert not found
                continue
            assert found == ["EXPORTS_BUCKET"]
            keeping, listing = made
            assert set(keeping["Action"]) == {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
            assert keeping["Resource"] == {"Fn::Sub": "${ExportsBucket.Arn}/exports/*"}
            assert (listing["Action"], listing["Resource"]) == (
                "s3:ListBucket",
                {"Fn::GetAtt": ["ExportsBucket", "Arn"]},
            )
            assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["exports/*"]}}

    def test_a_part_its_copy_read_back_and_what_a_crash_left_have_room(self, template: Template) -> None:
        made = template.properties("PurgeFunction")
        assert made["EphemeralStorage"]["Size"] * 1024 * 1024 >= 4 * MOST_FILE_BYTES

    @staticmethod
    def rules(template: Template) -> list[Json]:
        made = template.properties("ExportsBucket")["LifecycleConfiguration"]["Rules"]
        return [rule for rule in map(template.choose, made) if rule != {"Ref": "AWS::NoValue"}]


class TestAudit:
    def test_the_bucket_is_versioned_encrypted_and_private_and_outlives_the_stack(self, template: Template) -> None:
        resource = template.resources["AuditBucket"]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
        made = resource["Properties"]
        assert made["VersioningConfiguration"] == {"Status": "Enabled"}
        (rule,) = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        assert made["PublicAccessBlockConfiguration"] == dict.fromkeys(
            ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
        )
        assert made["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        assert "BucketName" not in made

    def test_it_refuses_plain_http(self, template: Template) -> None:
        policy = template.properties("AuditBucketPolicy")
        assert target(policy["Bucket"]) == "AuditBucket"
        (deny,) = policy["PolicyDocument"]["Statement"]
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
        assert [target(arn).partition("/")[0] for arn in deny["Resource"]] == ["AuditBucket", "AuditBucket"]
        assert [template.text(arn) for arn in deny["Resource"]] == [PLACEHOLDER, f"{PLACEHOLDER}/*"]
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_it_is_kept_for_seven_years_and_longer_than_its_rows(self, template: Template) -> None:
        (kept, unfinished) = template.properties("AuditBucket")["LifecycleConfiguration"]["Rules"]
        days = {"Ref": "AuditDays"}
        assert (kept["Status"], kept["Prefix"], kept["ExpirationInDays"]) == ("Enabled", "audit/", days)
        assert kept["NoncurrentVersionExpiration"] == {"NoncurrentDays": days}
        assert unfinished["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
        made = template.source["Parameters"]["AuditDays"]
        assert made["Default"] == 7 * 365
        assert made["MinValue"] > KEEP.days

    def test_only_the_writer_reads_records_moves_the_head_and_reaches_the_bucket(self, template: Template) -> None:
        assert keys(template, "AuditFunction") == {
            "dynamodb:Query": {"audit#2*"},
            "dynamodb:GetItem": {"audit#head"},
            "dynamodb:PutItem": {"audit#head"},
        }
        for function in FUNCTIONS:
            made = [one for one in statements(template, function) if "AuditBucket" in json.dumps(one["Resource"])]
            if function != "AuditFunction":
                assert not made
                assert "audit#head" not in json.dumps(statements(template, function))
                continue
            keeping, listing = made
            assert set(keeping["Action"]) == {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
            assert keeping["Resource"] == {"Fn::Sub": "${AuditBucket.Arn}/audit/*"}
            assert (listing["Action"], listing["Resource"]) == ("s3:ListBucket", {"Fn::GetAtt": ["AuditBucket", "Arn"]})
            assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["audit/*"]}}

    def test_the_rows_that_others_may_write_are_those_of_hours(self) -> None:
        made = audit_row(Record(at=1_764_633_600_000, what=What.PLAN_MADE))
        assert fnmatch(made.key.pk, "audit#2*")
        assert not fnmatch("audit#head", "audit#2*")

    def test_it_runs_each_hour_once_the_hour_before_can_be_sealed(self, template: Template) -> None:
        made = template.properties("HourlySeal")
        minute = re.fullmatch(r"cron\((\d+) \* \* \* \? \*\)", made["ScheduleExpression"])
        assert minute is not None
        assert PATIENCE.total_seconds() < int(minute[1]) * 60 < HOUR
        to = made["Target"]
        assert target(to["Arn"]) == "AuditFunction"
        assert target(to["RoleArn"]) == "SealScheduleRole"
        assert target(to["DeadLetterConfig"]["Arn"]) == "AuditDeadLetterQueue"
        assert to["RetryPolicy"]["MaximumEventAgeInSeconds"] <= HOUR
        json.loads(to["Input"])

    def test_a_writer_is_dead_before_its_lease_ends_and_that_is_before_the_next_run(self, template: Template) -> None:
        assert template.properties("AuditFunction")["Timeout"] < LEASE.total_seconds() < HOUR

    def test_what_failed_for_good_is_kept_and_rings(self, template: Template) -> None:
        made = template.properties("AuditFunction")["DeadLetterConfig"]
        assert target(made["TargetArn"]) == "AuditDeadLetterQueue"
        assert allowed(template, "AuditFunction", "sqs") == {"sqs:SendMessage": {"AuditDeadLetterQueue"}}
        assert alarms(template, "ApproximateNumberOfMessagesVisible")["AuditDeadLetterQueue"]["Threshold"] == 0

    def test_scheduler_may_do_nothing_but_call_it_and_set_aside(self, template: Template) -> None:
        found = {made["Action"]: target(made["Resource"]) for made in statements_of(template, "SealScheduleRole")}
        assert found == {"lambda:InvokeFunction": "AuditFunction", "sqs:SendMessage": "AuditDeadLetterQueue"}

    def test_three_hours_without_a_seal_ring(self, template: Template) -> None:
        made = template.properties("AuditHeartbeatAlarm")
        variables = template.properties("AuditFunction")["Environment"]["Variables"]
        assert made["MetricName"] == Metric.AUDIT_SEALED.value
        assert made["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"]
        assert made["Dimensions"] == SHARED
        assert made["Period"] * made["EvaluationPeriods"] == 3 * HOUR
        assert made["DatapointsToAlarm"] == made["EvaluationPeriods"]
        assert (made["Statistic"], made["ComparisonOperator"], made["Threshold"]) == ("Sum", "LessThanThreshold", 1)


class TestAlarms:
    def test_every_alarm_rings_and_says_what_to_do(self, template: Template) -> None:
        for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
            properties = alarm["Properties"]
            assert [target(action) for action in properties["AlarmActions"]] == ["AlarmTopic"], name
            silence = "breaching" if name in {"SweepHeartbeatAlarm", "AuditHeartbeatAlarm"} else "notBreaching"
            assert properties["TreatMissingData"] == silence, name
            assert len(template.text(properties["AlarmDescription"])) > 40, name

    def test_there_are_no_more_of_them_than_things_to_do(self, template: Template) -> None:
        assert len(template.of_type("AWS::CloudWatch::Alarm")) <= 25

    def test_each_metric_of_ours_is_one_that_the_code_emits(self, template: Template) -> None:
        known = {*Metric, *Measure, MESSAGE_AGE}
        for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
            properties = alarm["Properties"]
            if properties["Namespace"] == "TallyfyLifecycle":
                assert properties["MetricName"] in known, name
                assert SHARED[0] in properties["Dimensions"], name

    def test_a_dead_letter_that_says_that_something_is_broken_rings_at_once(self, template: Template) -> None:
        made = template.properties("PagedAlarm")
        assert (made["MetricName"], made["Dimensions"], made["Threshold"]) == (Metric.PAGED.value, SHARED, 0)
        # Not by their number: that would ring for what only waits for a person.
        assert set(alarms(template, "ApproximateNumberOfMessagesVisible")) == {"AuditDeadLetterQueue"}

    def test_dead_letters_ring_at_half_their_life_by_an_age_that_looking_at_them_does_not_change(
        self, template: Template
    ) -> None:
        assert not alarms(template, "ApproximateAgeOfOldestMessage")
        made = template.properties("DeadLettersAgeAlarm")
        assert (made["MetricName"], made["Dimensions"]) == (Measure.DEAD_LETTER_AGE.value, SHARED)
        assert (made["Statistic"], made["Unit"], made["Threshold"]) == ("Maximum", "Seconds", 7 * DAY)
        # The daily check tells it once a day.
        assert made["Period"] == DAY
        looked_at = template.properties("SweepFunction")["Environment"]["Variables"]["DEAD_LETTER_QUEUE_URLS"]
        assert set(target(looked_at).split(",")) == set(SOURCE_QUEUES.values())

    def test_a_flood_of_one_source_is_one_alarm_an_hour(self, template: Template) -> None:
        made = template.properties("UntranslatableAlarm")
        assert (made["MetricName"], made["Dimensions"]) == (Metric.UNTRANSLATABLE.value, SHARED)
        assert (made["Statistic"], made["Period"], made["Threshold"]) == ("Sum", HOUR, 0)

    def test_an_organization_whose_sweep_does_not_finish_rings_although_others_do(self, template: Template) -> None:
        made = template.properties("SweepOverdueAlarm")
        assert (made["MetricName"], made["Dimensions"]) == (Measure.SWEEP_AGE.value, SHARED)
        assert (made["Statistic"], made["Threshold"]) == ("Maximum", {"Ref": "SweepHeartbeatHours"})
        assert "SweepOverdueAlarm" not in load(SweepHeartbeatHours="0").of_type("AWS::CloudWatch::Alarm")

    @pytest.mark.parametrize(("function", "queue"), CONSUMERS.items())
    def test_what_waits_too_long_rings_however_often_it_was_received(
        self, template: Template, function: str, queue: str
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

    def test_a_night_without_a_sweep_rings(self, template: Template) -> None:
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

    def test_a_crash_of_every_function_rings(self, template: Template) -> None:
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
    def test_what_only_the_code_can_see_rings_under_the_name_it_is_counted_by(
        self, template: Template, metric: Metric
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
        self, template: Template
    ) -> None:
        runbook = (ROOT / "docs" / "runbook.md").read_text()
        for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
            text = template.text(alarm["Properties"]["AlarmDescription"])
            words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)
            assert text.endswith(f" Runbook: docs/runbook.md#{'-'.join(words).lower()}"), name
            assert f"### {words[0]} {' '.join(words[1:]).lower()}\n" in runbook, name
            [command] = re.findall(r"Run: ((?:lifecycle|aws logs tail) .*? --region \S+)", text)
            if command.startswith("aws"):
                assert command.split()[3] in self.log_groups(template), name
            else:
                assert cli_accepts(command), name
            assert "\n" not in text

    @staticmethod
    def log_groups(template: Template) -> set[str]:
        groups = template.of_type("AWS::Logs::LogGroup").values()
        return {template.text(group["Properties"]["LogGroupName"]) for group in groups}

    def test_two_stacks_of_one_account_count_apart(self, template: Template) -> None:
        for function in FUNCTIONS:
            variables = template.properties(function)["Environment"]["Variables"]
            assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}

    def test_a_5xx_rings(self, template: Template) -> None:
        assert set(alarms(template, "5xx")) == {"HttpApi"}

    def test_cloudwatch_and_eventbridge_may_publish_and_nobody_without_tls(self, template: Template) -> None:
        assert "KmsMasterKeyId" not in template.properties("AlarmTopic")
        (policy,) = template.of_type("AWS::SNS::TopicPolicy").values()
        made = policy["Properties"]["PolicyDocument"]["Statement"]
        services = {one["Principal"]["Service"] for one in made if one["Effect"] == "Allow"}
        assert services == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
        (deny,) = (one for one in made if one["Effect"] == "Deny")
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_mail_goes_out_only_if_an_address_is_given(self, template: Template) -> None:
        assert list(template.of_type("AWS::SNS::Subscription")) == ["AlarmEmailSubscription"]
        blank = Template(template.source, template.parameters | {"AlarmEmail": ""})
        assert not blank.of_type("AWS::SNS::Subscription")

    @pytest.mark.parametrize(
        ("rule", "status"), [("DeadLetterNoticeRule", [{"anything-but": "poison"}]), ("PoisonNoticeRule", ["poison"])]
    )
    def test_each_dead_letter_is_told_once_and_in_words(self, template: Template, rule: str, status: Json) -> None:
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

    def test_the_digest_has_no_blanks(self, template: Template) -> None:
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

    def test_a_notice_has_no_blanks(self, template: Template) -> None:
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
    def test_approvers_are_told_in_words(self, template: Template, rule: str, told: set[str]) -> None:
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

    def test_whatever_approvers_should_know_has_a_notice(self, template: Template) -> None:
        rules = [template.properties(rule) for rule in ("ApprovalNoticeRule", "ApprovalExpiredNoticeRule")]
        types = [one for rule in rules for one in rule["EventPattern"]["detail-type"]]
        assert sorted(types) == sorted(f"lifecycle.approval.{notice}" for notice in ApprovalNotice)


class TestParameters:
    @pytest.mark.parametrize(
        ("parameter", "good", "bad"),
        [
            (
                "OrganizationIds",
                [ORGANIZATION, f"{ORGANIZATION},{'f' * 32}"],
                ["", " ", ",", f"{ORGANIZATION},", f"{ORGANIZATION}, {'f' * 32}", ORGANIZATION.upper(), "f" * 31, "*"],
            ),
            (
                "TallyfyBaseUrl",
                ["https://go.tallyfy.com/api", "https://api.tallyfy.com", "http://127.0.0.1:8123/api"],
                ["", "http://go.tallyfy.com/api", "https://", "https://go.tallyfy.com/api/", "https://u:p@host/api"],
            ),
            (
                "EventSenderAccountIds",
                ["", "111122223333", "111122223333,444455556666"],
                [
                    " ",
                    "*",
                    "11112222333",
                    "111122223333,",
                    "111122223333, 444455556666",
                    "arn:aws:iam::111122223333:root",
                ],
            ),
            ("IncomingDetailTypes", ["project.closed", "Project Closed", "x"], ["", " ", "project.closed ", "a,b"]),
            (
                "SweepSchedule",
                ["cron(10 4 * * ? *)", "rate(1 day)"],
                ["", " ", "10 4 * * *", "at(2026-01-01T00:00:00)", "cron()", "cron(10 4 * * ? *) "],
            ),
            (
                "SweepTimeZone",
                ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"],
                ["", " ", "/", "../x", "UTC/"],
            ),
            ("AlarmEmail", ["", "someone@example.com"], [" ", "someone", "a@b", "a b@example.com"]),
        ],
    )
    def test_text_that_would_mean_something_else_is_refused(
        self, template: Template, parameter: str, good: list[str], bad: list[str]
    ) -> None:
        pattern = template.source["Parameters"][parameter]["AllowedPattern"]
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        assert [text for text in good if not re.search(pattern, text)] == []
        assert [text for text in bad if re.search(pattern, text)] == []

    def test_no_organization_is_no_default(self, template: Template) -> None:
        assert "Default" not in template.source["Parameters"]["OrganizationIds"]

    def test_nothing_is_deleted_for_good_on_the_day_it_was_archived(self, template: Template) -> None:
        """CloudFormation takes nothing blank for a number, and nothing below the least: neither means "at once"."""
        made = template.source["Parameters"]["MinimumArchiveDays"]
        assert (made["Type"], made["MinValue"], made["Default"]) == ("Number", 1, 30)
        for function in WORKERS:
            variables = template.properties(function)["Environment"]["Variables"]
            assert variables["MINIMUM_ARCHIVE_DAYS"] == {"Ref": "MinimumArchiveDays"}

    @pytest.mark.parametrize(
        "parameter", ["RatePerMinute", "LedgerDays", "RetryBaseSeconds", "PlanDays", "ExportDays", "AuditDays"]
    )
    def test_numbers_have_bounds(self, template: Template, parameter: str) -> None:
        made = template.source["Parameters"][parameter]
        assert 0 < made["MinValue"] <= made["Default"] <= made["MaxValue"]

    def test_each_parameter_stands_in_one_group_of_the_console(self, template: Template) -> None:
        groups = template.source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        shown = [name for group in groups for name in group["Parameters"]]
        assert sorted(shown) == sorted(template.source["Parameters"])

    def test_every_parameter_says_what_it_is_for(self, template: Template) -> None:
        assert [name for name, made in template.source["Parameters"].items() if "Description" not in made] == []


def test_the_outputs_are_what_tools_look_for(template: Template) -> None:
    assert set(template.transformed["Outputs"]) == {
        *("ApiUrl", "CommandsQueueUrl", "CommandsDeadLetterQueueUrl", "PurgeQueueUrl", "PurgeDeadLetterQueueUrl"),
        *("BulkQueueUrl", "BulkDeadLetterQueueUrl", "EventsQueueUrl", "EventsDeadLetterQueueUrl"),
        *("SweepsQueueUrl", "SweepsDeadLetterQueueUrl", "BusArn"),
        *("LedgerTableName", "BusName", "SecretPrefix", "AlarmTopicArn", "OrganizationIds", "TallyfyBaseUrl"),
        *(
            "DashboardUrl",
            "PlansBucketName",
            "ExportsBucketName",
            "AuditBucketName",
            "OperatorsPolicyArn",
            "ApproversPolicyArn",
        ),
    }
