"""The embedded stack: MiniStack from PyPI stands in for AWS, and the real template is deployed to it unchanged.

    with LocalStack(StackOptions(tallyfy_base_url=simulator.base_url, organization_ids=(org,))) as stack:
        requests.post(f"{stack.api_url}/webhooks/demo", ...)

People are IAM users here, as on AWS. Their ARNs are known beforehand, so that people.toml can name them:

    grace = f'people.grace = {{iam = "{person_arn("grace")}", approves = ["run.delete"]}}'
    with LocalStack(StackOptions(..., files={"people.toml": grace})) as stack:
        stack.call("GET", "/approvals", stack.person("grace"))

Everything listens on loopback only. Nothing is printed: progress goes to `on_step`, failures are LocalStackError.
"""

import contextlib
import json
import os
import platform
import re
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen, TimeoutExpired, run
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox.build import (
    ROOT,
    Build,
    LocalStackError,
    Tools,
    check_operators_files,
    run_sam,
    sam_environment,
    tail,
)

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_apigatewayv2 import ApiGatewayV2Client
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

__all__ = ["ROOT", "LocalStack", "LocalStackError", "StackOptions", "StackPerson", "StackState", "Tools", "person_arn"]

REGION = "eu-west-1"
ACCOUNT = "123456789012"
HOST = "127.0.0.1"
_OPERATOR = "test"  # MiniStack's word for the root user, as key and as secret.
# Only what the template and sam ask for: deploying is twice as fast so.
_SERVICES = (
    *("apigateway", "cloudformation", "dynamodb", "events", "iam", "lambda", "logs", "monitoring"),
    *("s3", "scheduler", "secretsmanager", "sns", "sqs", "sts"),
)
_RUN = "run"
_ARTIFACTS = "lifecycle-local-artifacts"
_CONFIG_LAYER = "ConfigLayer"
_READY_SECONDS = 120
_DEPLOY_SECONDS = 600
_STOP_SECONDS = 5
_PORT_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What to deploy. Times are short by default: nobody should wait for a demonstration."""

    tallyfy_base_url: str
    organization_ids: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The signing secrets (one, or new and old) of each source."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """The Tallyfy token of each organization; one that is left out is an organization that is not configured."""
    chats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The signing secrets of each chat tool; there is only `slack`."""
    stack_name: str = "tallyfy-lifecycle"
    rate_per_minute: int = 6000
    retry_base_seconds: int = 1
    visibility_seconds: int | None = None
    """Lowers the queues' visibility timeout after the deploy; None keeps the template's, as on AWS."""
    people: tuple[str, ...] = ()
    """IAM users that are made at the start, for whoever uses the stack from a terminal."""
    port: int = 0
    """Where the emulator listens if that port is free; 0 takes any."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """More of the template's parameters, by name."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What an operator edits, by name (`people.toml`), in this stack alone; the others are those of `layers/config`.

    They take their place in a copy of the built layer, when it is deployed: the build itself, which other stacks and a
    deploy to AWS use, stays as it is, and nothing is built anew.
    """


@dataclass(frozen=True, slots=True)
class StackPerson:
    """An IAM user of the stack, who may call the API's routes, and look up where it is."""

    name: str
    arn: str
    """As the API's functions see it."""
    access_key: str
    secret_key: str = field(repr=False)


def person_arn(name: str) -> str:
    """The ARN that a person of this name has, or will have, in every local stack."""
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """What another process needs to use, or stop, a running stack. Kept as JSON, for its owner's eyes."""

    pid: int
    directory: str
    endpoint_url: str
    api_url: str
    stack_name: str
    tallyfy_base_url: str
    outputs: Mapping[str, str]
    people: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The access key and secret key of each person; worth nothing outside the emulator, and nothing after it."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The state kept at `path`; None if there is none, or none that can be read."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def is_running(self) -> bool:
        """Whether that emulator still runs: the pid is alive and still MiniStack's, not given to another program."""
        listed = run(
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(self.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return "ministack" in listed.stdout

    @classmethod
    def stop(cls, path: Path) -> bool:
        """Stop the stack kept at `path` and remove its files and the state; False if none was running."""
        state = cls.read(path)
        running = state is not None and state.is_running()
        if state is not None:
            if running:
                _end_group(state.pid)
            if Path(state.directory).parent.name == _RUN:  # A file says what to remove: only what looks like ours.
                shutil.rmtree(state.directory, ignore_errors=True)
        path.unlink(missing_ok=True)
        return running


class LocalStack:
    """One emulator with one deployed stack; a context manager, or `start` and `stop`.

    Several may run at once: each has ports, files and processes of its own. With a `state_file`, another process can
    find and stop it later (`StackState.stop(path)`), so the one that started it may end.
    """

    def __init__(
        self,
        options: StackOptions,
        *,
        root: Path = ROOT,
        tools: Tools | None = None,
        build: Build | None = None,
        state_file: Path | None = None,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.options = options
        self.root = root
        self.tools = tools or Tools()
        self.build = build or Build(root)
        self.state_file = state_file
        self.outputs: dict[str, str] = {}
        self._on_step = on_step
        self._process: Popen[bytes] | None = None
        self._kept_state = False
        self.people: dict[str, StackPerson] = {}
        self._port = 0
        self._api_id = ""
        self._directory = root / ".local" / _RUN / secrets.token_hex(4)

    # --- life -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Build, start the emulator, deploy, make the secrets; all of it, or nothing is left running.

        Raises:
            LocalStackError: A step failed; the message has the end of the tool's output.
        """
        self.tools.check()
        if self.state_file is not None and (other := StackState.read(self.state_file)) and other.is_running():
            message = f"A local stack is running already, at {other.api_url}; stop it first (`lifecycle local stop`)"
            raise LocalStackError(message)
        try:
            self.build.ensure(self.tools, self._on_step)
            self._on_step("Starting the emulator")
            self._start_emulator()
            for source, values in self.options.sources.items():
                self.put_source_secrets(source, *values)
            for tool, values in self.options.chats.items():
                self.put_chat_secrets(tool, *values)
            for organization, token in self.options.tokens.items():
                self.put_token(organization, token)
            self._on_step("Deploying the template")
            self._deploy()
            self._on_step("Connecting the API's routes")
            self._connect_routes()
            self._admit_plain_http()
            self._admit_what_aws_calls_otherwise()
            if self.options.visibility_seconds is not None:
                self.set_visibility(self.options.visibility_seconds)
            self.people = {name: self.person(name) for name in self.options.people}
            self._write_state()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every process of this stack and remove its files. Safe to call twice."""
        if self._process is not None:
            _end_group(self._process.pid)
            with contextlib.suppress(TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._kept_state and self.state_file is not None:
            self.state_file.unlink(missing_ok=True)
            self._kept_state = False

    def is_running(self) -> bool:
        """Whether the emulator is alive."""
        return self._process is not None and self._process.poll() is None

    # --- what one needs to talk to it --------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where the emulator listens."""
        return self._port

    @property
    def endpoint_url(self) -> str:
        """Where every AWS service answers."""
        return f"http://{HOST}:{self._port}"

    @property
    def api_url(self) -> str:
        """Where the HTTP API answers; on AWS this is the output ApiUrl."""
        return f"{self.endpoint_url}/_aws/execute-api/{self._api_id}/$default"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point any AWS SDK, the AWS CLI, sam or `lifecycle` at this stack."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": _OPERATOR,
            "AWS_SECRET_ACCESS_KEY": _OPERATOR,
        }

    def environment_of(self, person: StackPerson) -> dict[str, str]:
        """The same, as this person."""
        return self.environment | {"AWS_ACCESS_KEY_ID": person.access_key, "AWS_SECRET_ACCESS_KEY": person.secret_key}

    @property
    def log(self) -> str:
        """The end of the emulator's log, where a failure in a function shows."""
        path = self._directory / "ministack.log"
        return tail(path.read_text(errors="replace")) if path.exists() else ""

    def session(self) -> boto3.Session:
        """A boto3 session with the emulator's root rights; its clients still need `endpoint_url`."""
        return boto3.Session(_OPERATOR, _OPERATOR, region_name=REGION)

    @cached_property
    def sqs(self) -> "SQSClient":
        """A client of this stack."""
        return self.session().client("sqs", endpoint_url=self.endpoint_url)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """A client of this stack."""
        return self.session().client("dynamodb", endpoint_url=self.endpoint_url)

    @cached_property
    def secretsmanager(self) -> "SecretsManagerClient":
        """A client of this stack."""
        return self.session().client("secretsmanager", endpoint_url=self.endpoint_url)

    @cached_property
    def functions(self) -> "LambdaClient":
        """A client of this stack."""
        return self.session().client("lambda", endpoint_url=self.endpoint_url)

    @cached_property
    def events(self) -> "EventBridgeClient":
        """A client of this stack."""
        return self.session().client("events", endpoint_url=self.endpoint_url)

    @cached_property
    def scheduler(self) -> "EventBridgeSchedulerClient":
        """A client of this stack."""
        return self.session().client("scheduler", endpoint_url=self.endpoint_url)

    @cached_property
    def sns(self) -> "SNSClient":
        """A client of this stack."""
        return self.session().client("sns", endpoint_url=self.endpoint_url)

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        """A client of this stack."""
        return self.session().client("logs", endpoint_url=self.endpoint_url)

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        """A client of this stack."""
        return self.session().client("cloudformation", endpoint_url=self.endpoint_url)

    @cached_property
    def iam(self) -> Any:  # noqa: ANN401 - its stubs are not among ours
        """A client of this stack."""
        return self.session().client("iam", endpoint_url=self.endpoint_url)

    @cached_property
    def _apis(self) -> "ApiGatewayV2Client":
        return self.session().client("apigatewayv2", endpoint_url=self.endpoint_url)

    # --- what an operator would do ------------------------------------------------------------------------------------

    def put_source_secrets(self, source: str, *values: str) -> None:
        """Set the signing secrets of a source: one, or the new and the old one during a rotation."""
        self._put_secret(f"{self.options.stack_name}/sources/{source}", {"secrets": list(values)})

    def put_chat_secrets(self, tool: str, *values: str) -> None:
        """Set the signing secrets of a chat tool, as for a source."""
        self._put_secret(f"{self.options.stack_name}/chat/{tool}", {"secrets": list(values)})

    def put_token(self, organization: str, token: str) -> None:
        """Set the Tallyfy token of an organization."""
        self._put_secret(f"{self.options.stack_name}/tokens/{organization}", {"token": token})

    def person(self, name: str, *, may_call: bool = True) -> StackPerson:
        """Make an IAM user with a key. Each has one name; whether the stack knows them, `people.toml` says.

        Without `may_call` they lack what an administrator gives on AWS: `execute-api:Invoke` on this API.
        """
        arn = self.iam.create_user(UserName=name)["User"]["Arn"]
        stacks = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.options.stack_name}/*"
        routes = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self._api_id}/*"
        allowed = {"cloudformation:DescribeStacks": stacks} | ({"execute-api:Invoke": routes} if may_call else {})
        statements = [{"Effect": "Allow", "Action": action, "Resource": what} for action, what in allowed.items()]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.iam.put_user_policy(UserName=name, PolicyName="operates", PolicyDocument=policy)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return StackPerson(name, arn, key["AccessKeyId"], key["SecretAccessKey"])

    def administrator(self, name: str) -> StackPerson:
        """As `person`, with every right in the account, as somebody who deploys has."""
        person = self.person(name)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        self.iam.put_user_policy(UserName=name, PolicyName="administers", PolicyDocument=json.dumps(policy))
        return person

    def call(self, method: str, path: str, caller: StackPerson | None = None, body: object = None) -> requests.Response:
        """Call a route of the API that asks who it is (AWS_IAM), signed as AWS's clients sign; by default as root."""
        keys = (caller.access_key, caller.secret_key) if caller else (_OPERATOR, _OPERATOR)
        data = b"" if body is None else json.dumps(body).encode()
        asked = AWSRequest(method, self.api_url + path, data=data, headers={"content-type": "application/json"})
        SigV4Auth(Credentials(*keys), "execute-api", REGION).add_auth(asked)
        return requests.request(method, self.api_url + path, data=data, headers=dict(asked.headers), timeout=30)

    def set_visibility(self, seconds: int) -> None:
        """Lower the visibility timeout of the queues, so that a crash is seen again soon. Not as on AWS."""
        for url in self._queues(dead_letters=False):
            self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})

    def hear_notices(self) -> str:
        """Subscribe a new queue to the alarm topic, as an operator would a mailbox, and return the queue's URL."""
        topic = self.outputs["AlarmTopicArn"]
        url = self.sqs.create_queue(QueueName="notices-heard")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
        policy = {"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]}
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
        return url

    def physical_id(self, logical_id: str) -> str:
        """The name that a resource of the template has here."""
        found = self.cloudformation.describe_stack_resource(
            StackName=self.options.stack_name, LogicalResourceId=logical_id
        )
        return found["StackResourceDetail"]["PhysicalResourceId"]

    def _queues(self, *, dead_letters: bool) -> list[str]:
        """The URLs of the queues, with or without those of dead letters."""
        names = [name for name in self.outputs if name.endswith("QueueUrl")]
        return [self.outputs[name] for name in names if dead_letters or not name.endswith("DeadLetterQueueUrl")]

    def _put_secret(self, name: str, value: Mapping[str, object]) -> None:
        text = json.dumps(value)
        try:
            self.secretsmanager.create_secret(Name=name, SecretString=text)
        except self.secretsmanager.exceptions.ResourceExistsException:
            self.secretsmanager.put_secret_value(SecretId=name, SecretString=text)

    # --- the emulator -------------------------------------------------------------------------------------------------

    def _start_emulator(self) -> None:
        private = self._directory / "tmp"
        private.mkdir(parents=True, mode=0o700)
        for attempt in range(1, _PORT_TRIES + 1):
            self._port = free_port(self.options.port if attempt == 1 else 0)
            # The log is a file: a pipe would fill up, and would tie the emulator to this process.
            with (self._directory / "ministack.log").open("wb") as log:
                self._process = Popen(
                    [str(self.tools.python), "-m", "ministack"],
                    cwd=self._directory,
                    env=self._emulator_environment(private),
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=STDOUT,
                    start_new_session=True,  # A process group of its own: functions' workers end with it.
                )
            if self._wait_until_ready():
                return
            if attempt < _PORT_TRIES and self._process.poll() is not None:
                continue  # Somebody took the port in between.
            break
        message = f"The emulator did not become ready:\n{self.log}"
        raise LocalStackError(message)

    def _emulator_environment(self, private: Path) -> dict[str, str]:
        kept = ("HOME", "LANG", "LC_ALL", "SSL_CERT_FILE")
        return {key: os.environ[key] for key in kept if key in os.environ} | {
            "PATH": f"{self.tools.python_bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "BIND_HOST": HOST,  # Its own default is every interface.
            "MINISTACK_HOST": HOST,
            "GATEWAY_PORT": str(self._port),
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "SERVICES": ",".join(_SERVICES),
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "AUTH": "true",  # Each function under its own role, enforced.
            "TMPDIR": str(private),
        }

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self.is_running():
            try:
                if requests.get(f"{self.endpoint_url}/_ministack/health", timeout=1).ok:
                    return True
            except requests.RequestException:
                pass
            time.sleep(0.05)
        return False

    # --- the deploy ---------------------------------------------------------------------------------------------------

    def _deploy(self) -> None:
        options = self.options
        s3 = self.session().client("s3", endpoint_url=self.endpoint_url)
        s3.create_bucket(Bucket=_ARTIFACTS, CreateBucketConfiguration={"LocationConstraint": REGION})
        parameters = {
            "Architecture": "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64",
            "TallyfyBaseUrl": options.tallyfy_base_url,
            "OrganizationIds": ",".join(options.organization_ids),
            "RatePerMinute": str(options.rate_per_minute),
            "RetryBaseSeconds": str(options.retry_base_seconds),
            **options.parameters,
        }
        # A settings file of its own: those of the repository are for AWS.
        settings = self._directory / "samconfig.toml"
        settings.write_text("version = 0.1\n")
        run_sam(
            [
                *(str(self.tools.sam), "deploy", "--config-file", str(settings)),
                *("--template-file", str(self._template()), "--stack-name", options.stack_name),
                *("--s3-bucket", _ARTIFACTS, "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"),
                *("--parameter-overrides", *(f'{name}="{value}"' for name, value in parameters.items())),
            ],
            cwd=self.root,
            environment=sam_environment(self.root, self.tools) | self.environment | {"SAM_CLI_POLL_DELAY": "0.3"},
            seconds=_DEPLOY_SECONDS,
        )
        stack = self.cloudformation.describe_stacks(StackName=options.stack_name)["Stacks"][0]
        self.outputs = {
            output["OutputKey"]: output["OutputValue"]
            for output in stack.get("Outputs", [])
            if "OutputKey" in output and "OutputValue" in output
        }

    def _template(self) -> Path:
        """The built template; or one beside links to what was built, and a config layer with this stack's own files."""
        if not self.options.files:
            return self.build.template
        place = self._directory / "build"
        place.mkdir()
        for built in self.build.directory.iterdir():
            if built.name == _CONFIG_LAYER:
                shutil.copytree(built, place / built.name)
            else:
                (place / built.name).symlink_to(built)
        config = place / _CONFIG_LAYER / "python" / "lifecycle_config"
        for name, text in self.options.files.items():
            (config / name).write_text(text, encoding="utf-8")
        check_operators_files(config)
        template = place / self.build.template.name
        template.unlink()
        shutil.copyfile(self.build.template, template)  # A link would lead sam to the folders beside the original.
        return template

    def _connect_routes(self) -> None:
        """Make the routes that SAM wrote into the API's body, which the emulator does not read (AWS does).

        Where the body asks for an AWS identity (AWS_IAM), so does the emulator. It checks signature and rights, and
        tells the function who calls, as AWS does: root as `arn:aws:iam::<account>:root`, a user as `…:user/<name>`, a
        role's session as `arn:aws:sts::<account>:assumed-role/<role>/<session>`.
        """
        processed: Any = self.cloudformation.get_template(StackName=self.options.stack_name, TemplateStage="Processed")[
            "TemplateBody"
        ]
        template = json.loads(processed) if isinstance(processed, str) else processed
        self._api_id = self.physical_id("HttpApi")
        known = {route["RouteKey"] for route in self._apis.get_routes(ApiId=self._api_id)["Items"]}
        integrations: dict[str, str] = {}
        for route, function, asks_who in _routes(template):
            if route in known:
                continue
            if function not in integrations:
                integrations[function] = self._integrate(function)
            self._apis.create_route(
                ApiId=self._api_id,
                RouteKey=route,
                AuthorizationType="AWS_IAM" if asks_who else "NONE",
                Target=f"integrations/{integrations[function]}",
            )

    def _integrate(self, function: str) -> str:
        found = self.functions.get_function(FunctionName=self.physical_id(function))
        made = self._apis.create_integration(
            ApiId=self._api_id,
            IntegrationType="AWS_PROXY",
            IntegrationUri=found["Configuration"]["FunctionArn"],
            PayloadFormatVersion="2.0",
        )
        return made["IntegrationId"]

    def _admit_plain_http(self) -> None:
        """Take the TLS-only policy off queues and buckets: the emulator enforces it, and speaks plain HTTP on loopback.

        That of a queue binds us too, so this one client says what a TLS proxy in front would say.
        """

        def as_if_by_tls(request: "AWSPreparedRequest", **_: object) -> None:
            request.headers["X-Forwarded-Proto"] = "https"

        sqs = self.session().client("sqs", endpoint_url=self.endpoint_url)
        sqs.meta.events.register("before-send.sqs", as_if_by_tls)
        for url in self._queues(dead_letters=True):
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
        s3 = self.session().client("s3", endpoint_url=self.endpoint_url)
        for name in [name for name in self.outputs if name.endswith("BucketName")]:
            s3.delete_bucket_policy(Bucket=self.outputs[name])

    def _admit_what_aws_calls_otherwise(self) -> None:
        """Give the rights that fit on AWS once more, under the names by which the emulator asks for them.

        A schedule of any group is one of the group `default` to it; and SendMessageBatch, which on AWS is part of
        `sqs:SendMessage`, is an action of its own.
        """
        schedules = ("scheduler:CreateSchedule", [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/*"])
        names = [self.outputs[f"{name}QueueUrl"].rpartition("/")[2] for name in ("Bulk", "Purge")]
        queues = [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}" for name in names]
        batches = ("sqs:SendMessageBatch", queues)
        for role, (action, resources) in {
            "WebhookRole": schedules,
            "EventRole": schedules,
            "PurgeRole": schedules,
            "SweepRole": batches,
        }.items():
            allow = {"Effect": "Allow", "Action": action, "Resource": resources}
            self.iam.put_role_policy(
                RoleName=self.physical_id(role),
                PolicyName="as-the-emulator-calls-it",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
            )

    def _write_state(self) -> None:
        if self.state_file is None or self._process is None:
            return
        state = {
            "pid": self._process.pid,
            "directory": str(self._directory),
            "endpoint_url": self.endpoint_url,
            "api_url": self.api_url,
            "stack_name": self.options.stack_name,
            "tallyfy_base_url": self.options.tallyfy_base_url,
            "outputs": self.outputs,
            "people": {name: (one.access_key, one.secret_key) for name, one in self.people.items()},
        }
        self.state_file.parent.mkdir(parents=True, exist_ok=True)
        self.state_file.touch(mode=0o600)
        self.state_file.write_text(json.dumps(state, indent=2))
        self._kept_state = True


def _routes(template: Any) -> Iterator[tuple[str, str, bool]]:  # noqa: ANN401 - parsed JSON
    """Each route of the processed template with the logical id of its function, and whether it asks for an identity."""
    body = template["Resources"]["HttpApi"]["Properties"]["Body"]
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            uri = json.dumps(operation["x-amazon-apigateway-integration"]["uri"])
            function = re.search(r"\$\{(\w+)\.Arn\}", uri)
            if function is None:
                message = f"The route {method} {path} names no function"
                raise LocalStackError(message)
            yield f"{method.upper()} {path}", function[1], {"AWS_IAM": []} in operation.get("security", [])


def free_port(preferred: int = 0) -> int:
    """A port on loopback that is free now: the preferred one, if it is."""
    for wanted in (preferred, 0):
        with socket.socket() as probe:
            # As servers do: a port whose last connections are only winding down is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
    message = "No port on loopback is free"
    raise LocalStackError(message)


def _end_group(pid: int) -> None:
    """End a process group we started: asked first, then made to."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, sign)
        except (ProcessLookupError, PermissionError):  # macOS answers the latter where only the dead are left.
            return
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if not _lives(pid):
                return
            time.sleep(0.05)


def _lives(group: int) -> bool:
    """Whether a process of the group still runs.

    Signal 0 would not do: it also finds the functions' workers that have ended, for as long as the process that
    inherited them does not collect them. In a container that can be forever.
    """
    listed = run(["/bin/ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=False)
    rows = (line.split() for line in listed.stdout.splitlines())
    return any(row[0] == str(group) and not row[1].startswith("Z") for row in rows if len(row) == 2)  # noqa: PLR2004
