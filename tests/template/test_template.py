"""What the emulator cannot prove: alarms, permissions of resources, policies, and numbers that must fit each other."""

import json
import re

import pytest

from lifecycle.adapters.signals import Signal
from lifecycle.wiring.settings import Settings, StatusSettings, WebhookSettings, WorkerSettings
from tests.template.support import FUNCTIONS, ORGANIZATION, Json, Template, many, target

SOURCE_QUEUES = {"CommandsQueue": "CommandsDeadLetterQueue", "PurgeQueue": "PurgeDeadLetterQueue"}
QUEUES = (*SOURCE_QUEUES, *SOURCE_QUEUES.values())
WORKERS = {"WorkerFunction": "CommandsQueue", "PurgeFunction": "PurgeQueue"}
DAY = 86_400

# Every statement on "*", with the reason. Another one needs a reason here and beside it in the template.
WILDCARD_RESOURCES = {"SendTraces": "X-Ray's write actions take no resource"}

# What Powertools reads for itself.
POWERTOOLS_VARIABLES = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "LOG_LEVEL"}


def role_of(template: Template, function: str) -> str:
    return target(template.properties(function)["Role"])


def statements(template: Template, function: str) -> list[Json]:
    policies = template.properties(role_of(template, function))["Policies"]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


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
        if alarm["Properties"]["MetricName"] == metric:
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
        name = template.properties(queue)["QueueName"]["Fn::Sub"]
        assert allow["redrivePermission"] == "byQueue"
        assert [arn["Fn::Sub"].endswith(f"${{AWS::AccountId}}:{name}") for arn in allow["sourceQueueArns"]] == [True]

    @pytest.mark.parametrize("queue", QUEUES)
    def test_each_is_encrypted_and_refuses_plain_http(self, template: Template, queue: str) -> None:
        assert template.properties(queue)["SqsManagedSseEnabled"] is True
        for policy in template.of_type("AWS::SQS::QueuePolicy").values():
            if queue in map(target, policy["Properties"]["Queues"]):
                (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
                assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                assert queue in map(target, statement["Resource"])
                return
        pytest.fail(f"{queue} has no policy")

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
        assert visibility >= 6 * timeout

    @pytest.mark.parametrize(("function", "queue"), WORKERS.items())
    def test_the_worker_knows_its_own_queues(self, template: Template, function: str, queue: str) -> None:
        variables = template.properties(function)["Environment"]["Variables"]
        assert target(variables["QUEUE_URL"]) == queue
        assert target(variables["DEAD_LETTER_QUEUE_URL"]) == SOURCE_QUEUES[queue]
        assert int(variables["QUEUE_RETENTION_SECONDS"]) == template.properties(queue)["MessageRetentionPeriod"]

    def test_the_ledger_remembers_longer_than_any_copy_of_a_message_lives(self, template: Template) -> None:
        longest = max(template.properties(queue)["MessageRetentionPeriod"] for queue in QUEUES) + 4 * DAY
        assert template.source["Parameters"]["LedgerDays"]["MinValue"] * DAY > longest


class TestEventSources:
    def test_each_reports_single_failures_and_bounds_the_workers(self, template: Template) -> None:
        sources = [made["Properties"] for made in template.of_type("AWS::Lambda::EventSourceMapping").values()]
        assert {target(made["FunctionName"]): target(made["EventSourceArn"]) for made in sources} == WORKERS
        for made in sources:
            assert made["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            assert made["ScalingConfig"]["MaximumConcurrency"] >= 2

    def test_a_purge_shares_no_batch(self, template: Template) -> None:
        sizes = {
            target(made["Properties"]["FunctionName"]): made["Properties"]["BatchSize"]
            for made in template.of_type("AWS::Lambda::EventSourceMapping").values()
        }
        assert sizes == {"WorkerFunction": 10, "PurgeFunction": 1}


class TestApi:
    def test_the_routes_are_these(self, template: Template) -> None:
        assert routes(template) == {
            ("POST", "/webhooks/{source}"),
            ("GET", "/commands/{intent_id}"),
            ("GET", "/health"),
        }

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
            wanted.add((method, re.sub(r"\{\w+\}", "*", path), function))
        assert permitted == wanted

    def test_the_access_log_names_routes_never_paths_or_people(self, template: Template) -> None:
        (stage,) = template.of_type("AWS::ApiGatewayV2::Stage").values()
        log = stage["Properties"]["AccessLogSettings"]
        values = set(json.loads(log["Format"]).values())
        assert {"$context.routeKey", "$context.status", "$context.requestId", "$context.responseLatency"} <= values
        told = json.dumps(log["Format"]).lower()
        assert not [word for word in ("path", "sourceip", "useragent", "identity", "authorizer") if word in told]
        assert "RetentionInDays" in template.properties(target(log["DestinationArn"]))

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

    @pytest.mark.parametrize(
        ("function", "settings"),
        [
            ("WebhookFunction", WebhookSettings),
            ("StatusFunction", StatusSettings),
            ("WorkerFunction", WorkerSettings),
            ("PurgeFunction", WorkerSettings),
        ],
    )
    def test_each_is_given_exactly_the_variables_it_reads(
        self, template: Template, function: str, settings: type[Settings]
    ) -> None:
        given = set(template.properties(function)["Environment"]["Variables"])
        assert given >= POWERTOOLS_VARIABLES
        assert given - POWERTOOLS_VARIABLES == {name.upper() for name in settings.model_fields} - POWERTOOLS_VARIABLES


class TestArchitecture:
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

    def test_roles_are_for_lambda_alone(self, template: Template) -> None:
        assert set(template.of_type("AWS::IAM::Role")) == {role_of(template, name) for name in FUNCTIONS}
        for role in template.of_type("AWS::IAM::Role").values():
            (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}

    def test_intake_sends_and_never_takes(self, template: Template) -> None:
        assert allowed(template, "WebhookFunction", "sqs") == {"sqs:SendMessage": set(SOURCE_QUEUES)}
        assert allowed(template, "StatusFunction", "sqs") == {}

    @pytest.mark.parametrize(("function", "queue"), WORKERS.items())
    def test_a_worker_takes_from_its_own_queue_and_sends_to_its_own_dead_letters(
        self, template: Template, function: str, queue: str
    ) -> None:
        assert allowed(template, function, "sqs") == {
            "sqs:ReceiveMessage": {queue},
            "sqs:DeleteMessage": {queue},
            "sqs:GetQueueAttributes": {queue},
            "sqs:ChangeMessageVisibility": {queue},
            "sqs:SendMessage": {SOURCE_QUEUES[queue]},
        }

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_nobody_deletes_or_scans_the_ledger(self, template: Template, function: str) -> None:
        actions = set(allowed(template, function, "dynamodb"))
        assert not actions & {"dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:Scan"}

    @pytest.mark.parametrize("function", ["WebhookFunction", "StatusFunction"])
    def test_the_api_reads_intents_only(self, template: Template, function: str) -> None:
        assert set(allowed(template, function, "dynamodb")) == {"dynamodb:GetItem"}
        (made,) = (made for made in statements(template, function) if "dynamodb:GetItem" in many(made["Action"]))
        assert made["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["intent#*"]}}

    @pytest.mark.parametrize(
        ("function", "readable"),
        [
            ("WebhookFunction", {"sources", "IdKeySecret"}),
            ("StatusFunction", {"IdKeySecret"}),
            ("WorkerFunction", {"tokens"}),
            ("PurgeFunction", {"tokens"}),
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

    @pytest.mark.parametrize("function", WORKERS)
    def test_events_speak_in_our_name_only(self, template: Template, function: str) -> None:
        (made,) = (made for made in statements(template, function) if made["Action"] == "events:PutEvents")
        assert target(made["Resource"]) == "Bus"
        assert made["Condition"] == {"ForAllValues:StringEquals": {"events:source": "tallyfy-lifecycle"}}


class TestLedger:
    def test_it_outlives_the_stack_and_mistakes(self, template: Template) -> None:
        for name in ("LedgerTable", "IdKeySecret"):
            resource = template.resources[name]
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
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


class TestAlarms:
    def test_every_alarm_rings_and_says_what_to_do(self, template: Template) -> None:
        for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
            properties = alarm["Properties"]
            assert [target(action) for action in properties["AlarmActions"]] == ["AlarmTopic"], name
            assert properties["TreatMissingData"] == "notBreaching", name
            assert len(properties["AlarmDescription"]) > 40, name

    def test_a_dead_letter_rings_at_once_and_again_at_half_its_life(self, template: Template) -> None:
        depth = alarms(template, "ApproximateNumberOfMessagesVisible")
        age = alarms(template, "ApproximateAgeOfOldestMessage")
        for dead_letters in SOURCE_QUEUES.values():
            assert depth[dead_letters]["Threshold"] == 0
            assert depth[dead_letters]["ComparisonOperator"] == "GreaterThanThreshold"
            assert age[dead_letters]["Threshold"] == 7 * DAY

    def test_a_command_that_waits_too_long_rings(self, template: Template) -> None:
        age = alarms(template, "ApproximateAgeOfOldestMessage")
        assert {queue: age[queue]["Threshold"] for queue in SOURCE_QUEUES} == dict.fromkeys(SOURCE_QUEUES, 900)

    def test_every_function_has_an_alarm_on_errors(self, template: Template) -> None:
        assert set(alarms(template, "Errors")) == set(FUNCTIONS)

    @pytest.mark.parametrize("metric", [Signal.TOKEN_REFUSED, Signal.UNEXPECTED])
    def test_what_only_the_code_can_see_rings_under_the_name_it_is_counted_by(
        self, template: Template, metric: Signal
    ) -> None:
        made = [
            alarm["Properties"]
            for alarm in template.of_type("AWS::CloudWatch::Alarm").values()
            if alarm["Properties"]["MetricName"] == metric.value
        ]
        variables = [template.properties(function)["Environment"]["Variables"] for function in WORKERS]
        assert [alarm["Dimensions"] for alarm in made] == [
            [{"Name": "service", "Value": found["POWERTOOLS_SERVICE_NAME"]}] for found in variables
        ]
        assert {alarm["Namespace"] for alarm in made} == {found["POWERTOOLS_METRICS_NAMESPACE"] for found in variables}
        assert {alarm["Threshold"] for alarm in made} == {0}

    def test_two_stacks_of_one_account_count_apart(self, template: Template) -> None:
        names = [
            template.properties(function)["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]["Fn::Sub"]
            for function in FUNCTIONS
        ]
        assert all(name.startswith("${AWS::StackName}-") for name in names)
        assert len(set(names)) == len(names)

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

    def test_a_dead_letter_is_told_in_words(self, template: Template) -> None:
        rule = template.properties("DeadLetterNoticeRule")
        assert target(rule["EventBusName"]) == "Bus"
        assert rule["EventPattern"] == {"source": ["tallyfy-lifecycle"], "detail": {"dead_lettered": [True]}}
        (to,) = rule["Targets"]
        assert target(to["Arn"]) == "AlarmTopic"
        text = to["InputTransformer"]["InputTemplate"]["Fn::Sub"]
        assert isinstance(json.loads(text), str)
        assert set(re.findall(r"<(\w+)>", text)) == set(to["InputTransformer"]["InputPathsMap"])


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
        made = template.source["Parameters"]["MinimumArchiveDays"]
        assert (made["MinValue"], made["Default"]) == (1, 30)

    @pytest.mark.parametrize("parameter", ["RatePerMinute", "LedgerDays", "RetryBaseSeconds"])
    def test_numbers_have_bounds(self, template: Template, parameter: str) -> None:
        made = template.source["Parameters"][parameter]
        assert 0 < made["MinValue"] <= made["Default"] <= made["MaxValue"]

    def test_every_parameter_says_what_it_is_for(self, template: Template) -> None:
        assert [name for name, made in template.source["Parameters"].items() if "Description" not in made] == []


def test_the_outputs_are_what_tools_look_for(template: Template) -> None:
    assert set(template.transformed["Outputs"]) == {
        *("ApiUrl", "CommandsQueueUrl", "CommandsDeadLetterQueueUrl", "PurgeQueueUrl", "PurgeDeadLetterQueueUrl"),
        *("LedgerTableName", "BusName", "SecretPrefix", "AlarmTopicArn", "OrganizationIds", "TallyfyBaseUrl"),
    }
