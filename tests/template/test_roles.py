"""Rights of the roles: actions, resources, keys of the ledger and secrets."""

import json
import re
from fnmatch import fnmatchcase

import pytest

from lifecycle.aws import table_keys
from lifecycle.aws.eventbridge import SOURCE
from sandbox.build import ROOT
from tests.template.support import (
    CONSUMERS,
    FUNCTIONS,
    INTAKE,
    ORGANIZATION,
    PUTS_ON_HOLD,
    SCHEDULER_ROLES,
    SCHEDULERS,
    SOURCE_QUEUES,
    TAKES_APPROVALS,
    WILDCARD_RESOURCES,
    WORKERS,
    TransformedTemplate,
    allowed,
    keys,
    many,
    role_of,
    statements,
    statements_of,
    target,
)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_action_is_a_wildcard_and_no_managed_policy_is_attached(
    template: TransformedTemplate, function: str
) -> None:
    assert "ManagedPolicyArns" not in template.properties(role_of(template, function))
    for statement in statements(template, function):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & set(statement)
        assert not [action for action in many(statement["Action"]) if "*" in action]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_resource_is_a_wildcard_only_for_a_stated_reason(template: TransformedTemplate, function: str) -> None:
    wild = {made["Sid"] for made in statements(template, function) if "*" in many(made["Resource"])}
    assert wild <= set(WILDCARD_RESOURCES)


def test_roles_trust_lambda_or_the_scheduler_of_this_account(template: TransformedTemplate) -> None:
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
def test_a_function_that_schedules_may_pass_one_role_to_the_scheduler(
    template: TransformedTemplate, function: str
) -> None:
    passing = [made for made in statements(template, function) if "iam:PassRole" in many(made["Action"])]
    assert [(target(made["Resource"]), made["Condition"]) for made in passing] == [
        ("LaterRole", {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}})
    ]
    variables = template.properties(function)["Environment"]["Variables"]
    assert target(variables["SCHEDULE_ROLE_ARN"]) == "LaterRole"


def test_only_intake_and_purge_create_schedules_and_only_in_their_group(template: TransformedTemplate) -> None:
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
        ("ChatFunction", {"CommandsQueue", "PurgeQueue", "SweepsQueue", "ChatQueue"}),
        ("OperatorFunction", {"CommandsQueue", "PurgeQueue", "SweepsQueue"}),
        ("StatusFunction", set()),
    ],
)
def test_functions_behind_the_api_send_messages_and_never_receive(
    template: TransformedTemplate, function: str, queues: set[str]
) -> None:
    assert allowed(template, function, "sqs") == ({"sqs:SendMessage": queues} if queues else {})


@pytest.mark.parametrize(
    ("function", "queues"),
    [
        ("WorkerFunction", {"CommandsDeadLetterQueue", "ChatQueue"}),
        ("BulkWorkerFunction", {"BulkDeadLetterQueue", "ChatQueue"}),
        ("PurgeFunction", {"PurgeDeadLetterQueue", "ChatQueue"}),
        ("EventFunction", {"CommandsQueue", "PurgeQueue", "CommandsDeadLetterQueue"}),
        ("ChatJobsFunction", {"ChatQueue", "ChatDeadLetterQueue"}),
        ("SweepFunction", {"SweepsQueue", "BulkQueue", "PurgeQueue", "ChatQueue", "SweepsDeadLetterQueue"}),
    ],
)
def test_each_consumer_receives_from_its_own_queue_and_sends_only_where_it_must(
    template: TransformedTemplate, function: str, queues: set[str]
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


def test_a_sweep_cannot_send_to_the_queues_of_people_or_events(template: TransformedTemplate) -> None:
    sent_to = allowed(template, "SweepFunction", "sqs")["sqs:SendMessage"]
    assert not sent_to & {"CommandsQueue", "EventsQueue"}


def test_only_the_sweep_reaches_the_plans_bucket_and_only_below_two_prefixes(template: TransformedTemplate) -> None:
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
def test_no_function_deletes_from_or_scans_the_ledger(template: TransformedTemplate, function: str) -> None:
    assert set(keys(template, function)) <= {
        *("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query"),
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_the_chat_function_can_write_a_hold(template: TransformedTemplate, function: str) -> None:
    assert ("holds#*" in keys(template, function).get("dynamodb:PutItem", set())) == (function in PUTS_ON_HOLD)


def test_no_function_ends_a_hold() -> None:
    package = ROOT / "layers" / "lifecycle" / "lifecycle"
    texts = [path.read_text(encoding="utf-8") for path in package.rglob("*.py") if path.parent.name != "holds"]
    assert [text for text in texts if re.search(r"holds?(_store)?\.(lift|remove)\(", text)] == []


def test_the_function_that_posts_answers_cannot_read_signing_secrets(template: TransformedTemplate) -> None:
    (read,) = [
        statement
        for statement in statements_of(template, role_of(template, "ChatJobsFunction"))
        if "secretsmanager:GetSecretValue" in statement["Action"]
    ]
    assert [arn["Fn::Sub"].partition("/")[2] for arn in read["Resource"]] == ["tokens/*", "chat-replies/*", "notices/*"]


@pytest.mark.parametrize(("function", "more"), [("WebhookFunction", set()), ("EventFunction", {"replay#*"})])
def test_intake_records_accepted_commands_and_nothing_else(
    template: TransformedTemplate, function: str, more: set[str]
) -> None:
    accepted = {"intent#*", "word#*", "waiting#*"} | more
    assert keys(template, function) == {"dynamodb:GetItem": accepted, "dynamodb:PutItem": accepted}


def test_the_status_function_reads_intents_only(template: TransformedTemplate) -> None:
    assert keys(template, "StatusFunction") == {"dynamodb:GetItem": {"intent#*"}}


@pytest.mark.parametrize("function", TAKES_APPROVALS)
def test_functions_that_take_approvals_write_votes_and_read_intents(
    template: TransformedTemplate, function: str
) -> None:
    assert keys(template, function) == {
        "dynamodb:GetItem": {"intent#*", "word#*", "sweep#*", "holds#*", "approval#*", "vote#*"},
        "dynamodb:BatchGetItem": {"holds#*", "vote#*"},
        "dynamodb:Query": {"approval#*", "holds#*"},
        "dynamodb:PutItem": {"intent#*", "word#*", "approval#*", "vote#*", "audit#2*"}
        | ({"holds#*"} if function in PUTS_ON_HOLD else set()),
    }


def test_only_functions_that_request_or_take_approvals_reach_their_rows(template: TransformedTemplate) -> None:
    touching = {function for function in FUNCTIONS if "approval#*" in str(keys(template, function))}
    assert touching == {*TAKES_APPROVALS, "PurgeFunction", "SweepFunction"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_functions_that_act_for_people_write_votes(template: TransformedTemplate, function: str) -> None:
    """Whoever asks for approvals or carries out deletes could otherwise approve its own."""
    writes = keys(template, function).get("dynamodb:PutItem", set())
    rows = {"request": table_keys.request(ORGANIZATION, "7"), "vote": table_keys.vote(ORGANIZATION, "7")}
    reached = {kind for kind, key in rows.items() if any(fnmatchcase(key.pk, pattern) for pattern in writes)}
    asks = {"request"} if function in {*TAKES_APPROVALS, "PurgeFunction", "SweepFunction"} else set()
    assert reached == asks | ({"vote"} if function in TAKES_APPROVALS else set())


@pytest.mark.parametrize("function", WORKERS)
def test_a_worker_writes_intents_leases_and_the_rate(template: TransformedTemplate, function: str) -> None:
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


def test_a_sweep_writes_checkpoints_and_the_rate_and_reads_the_status_of_its_commands(
    template: TransformedTemplate,
) -> None:
    written = {"sweep#*", "warned#*", "pace#*", "approval#*", "audit#2*"}
    assert keys(template, "SweepFunction") == {
        "dynamodb:GetItem": {"intent#*", "resource#*", "vote#*", *written},
        "dynamodb:BatchGetItem": {"approval#*", "vote#*", "resource#*"},
        "dynamodb:PutItem": written,
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
def test_each_function_reads_only_its_secrets(template: TransformedTemplate, function: str, readable: set[str]) -> None:
    found = set()
    for made in statements(template, function):
        if "secretsmanager:GetSecretValue" in many(made["Action"]):
            for arn in many(made["Resource"]):
                text = arn.get("Fn::Sub", "")
                path = re.fullmatch(r".*:secret:\$\{AWS::StackName\}/(\w+)/\*", text)
                found.add(path[1] if path else target(arn))
    assert found == readable


@pytest.mark.parametrize("function", [*WORKERS, *INTAKE, "SweepFunction"])
def test_each_function_publishes_under_our_source_only(template: TransformedTemplate, function: str) -> None:
    (made,) = (made for made in statements(template, function) if made["Action"] == "events:PutEvents")
    assert target(made["Resource"]) == "Bus"
    assert made["Condition"] == {"ForAllValues:StringEquals": {"events:source": SOURCE}}
