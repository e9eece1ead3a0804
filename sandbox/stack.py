"""The embedded stack: MiniStack from PyPI stands in for AWS, and the real template is deployed to it unchanged.

    with LocalStack(StackOptions(tallyfy_base_url=simulator.base_url, organization_ids=(org,))) as stack:
        requests.post(f"{stack.api_url}/webhooks/demo", ...)

People are IAM users here, as on AWS. Their ARNs are known beforehand, so that people.toml can name them:

    grace = f'people.grace = {{iam = "{person_arn("grace")}", approves = ["run.delete"]}}'
    with LocalStack(StackOptions(..., files={"people.toml": grace})) as stack:
        stack.call("GET", "/approvals", stack.person("grace"))

Everything listens on loopback only. Nothing is printed: progress goes to `on_step`, failures are LocalStackError.
"""

import json
import platform
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import run
from types import TracebackType
from typing import Self

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
)
from sandbox.emulator import ACCOUNT, HOST, OPERATOR, REGION, Emulator, end_group, free_port
from sandbox.emulator_gaps import EmulatorGaps
from sandbox.stack_clients import StackClients

__all__ = [
    "HOST",
    "REGION",
    "ROOT",
    "LocalStack",
    "LocalStackError",
    "StackOptions",
    "StackPerson",
    "StackState",
    "Tools",
    "free_port",
    "person_arn",
]

_RUN = "run"
_ARTIFACTS = "lifecycle-local-artifacts"
_CONFIG_LAYER = "ConfigLayer"
_DEPLOY_SECONDS = 600


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
    """What proves each chat tool: Slack's signing secret, the key of a team, the service account of a Google app."""
    chat_replies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The URLs for later answers of each chat tool, by team or space."""
    channels: Mapping[str, str] = field(default_factory=dict)
    """The URL that each channel of `notices.toml` is posted to."""
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
    deploy to AWS use, stays as it is, and nothing is built again.
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
                end_group(state.pid)
            if Path(state.directory).parent.name == _RUN:  # A file says what to remove: only what looks like ours.
                shutil.rmtree(state.directory, ignore_errors=True)
        path.unlink(missing_ok=True)
        return running


class LocalStack(StackClients):
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
        super().__init__(options.stack_name)
        self.options = options
        self.root = root
        self.tools = tools or Tools()
        self.build = build or Build(root)
        self.state_file = state_file
        self.outputs: dict[str, str] = {}
        self._on_step = on_step
        self._kept_state = False
        self.people: dict[str, StackPerson] = {}
        self._api_id = ""
        self._directory = root / ".local" / _RUN / secrets.token_hex(4)
        self._emulator = Emulator(self.tools, self._directory, options.port)

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
            self._emulator.start()
            for source, values in self.options.sources.items():
                self.put_source_secrets(source, *values)
            for tool, values in self.options.chats.items():
                self.put_chat_secrets(tool, *values)
            for channel, url in self.options.channels.items():
                self.put_channel(channel, url)
            for tool, urls in self.options.chat_replies.items():
                self.put_chat_replies(tool, urls)
            for organization, token in self.options.tokens.items():
                self.put_token(organization, token)
            if bus := self.options.parameters.get("PartnerBus"):
                self.events.create_event_bus(Name=bus)  # On AWS its partner's event source comes before the stack.
            self._on_step("Deploying the template")
            s3 = self.session().client("s3", endpoint_url=self.endpoint_url)
            s3.create_bucket(Bucket=_ARTIFACTS, CreateBucketConfiguration={"LocationConstraint": REGION})
            self._deploy()
            if self.options.visibility_seconds is not None:
                self.set_visibility(self.options.visibility_seconds)
            self.people = {name: self.person(name) for name in self.options.people}
            self._write_state()
        except BaseException:
            self.stop()
            raise
        return self

    def update(self, build: Build) -> None:
        """Deploy another build over this stack, such as that of another release; its rows and messages stay.

        Raises:
            LocalStackError: A step failed, as in ``start``.
        """
        build.ensure(self.tools, self._on_step)
        self.build = build
        self._on_step("Updating the stack")
        self._deploy()

    def stop(self) -> None:
        """End every process of this stack and remove its files. Safe to call twice."""
        self._emulator.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._kept_state and self.state_file is not None:
            self.state_file.unlink(missing_ok=True)
            self._kept_state = False

    def is_running(self) -> bool:
        """Whether the emulator is alive."""
        return self._emulator.is_running()

    # --- what one needs to talk to it --------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where the emulator listens."""
        return self._emulator.port

    @property
    def endpoint_url(self) -> str:
        """See ``StackClients``."""
        return self._emulator.endpoint_url

    @property
    def log(self) -> str:
        """The end of the emulator's log, where a failure in a function shows."""
        return self._emulator.log

    @property
    def api_url(self) -> str:
        """Where the HTTP API answers; on AWS this is the output ApiUrl."""
        return f"{self.endpoint_url}/_aws/execute-api/{self._api_id}/$default"

    def environment_of(self, person: StackPerson) -> dict[str, str]:
        """The same, as this person."""
        return self.environment | {"AWS_ACCESS_KEY_ID": person.access_key, "AWS_SECRET_ACCESS_KEY": person.secret_key}

    # --- what an operator would do ------------------------------------------------------------------------------------

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
        keys = (caller.access_key, caller.secret_key) if caller else (OPERATOR, OPERATOR)
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

    def _queues(self, *, dead_letters: bool) -> list[str]:
        """The URLs of the queues, with or without those of dead letters."""
        names = [name for name in self.outputs if name.endswith("QueueUrl")]
        return [self.outputs[name] for name in names if dead_letters or not name.endswith("DeadLetterQueueUrl")]

    # --- the deploy ---------------------------------------------------------------------------------------------------

    def _deploy(self) -> None:
        options = self.options
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
        self._on_step("Connecting the API's routes")
        self._api_id = self.physical_id("HttpApi")
        gaps = EmulatorGaps(self, self.outputs)
        gaps.connect_routes(self._api_id)
        gaps.admit_plain_http()
        gaps.admit_what_aws_calls_otherwise()

    def _template(self) -> Path:
        """The built template; or one beside links to what was built, and a config layer with this stack's own files."""
        if not self.options.files:
            return self.build.template
        place = self._directory / "build"
        shutil.rmtree(place, ignore_errors=True)
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

    def _write_state(self) -> None:
        if self.state_file is None or self._emulator.pid is None:
            return
        state = {
            "pid": self._emulator.pid,
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
