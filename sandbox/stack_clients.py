"""The AWS clients of a local stack, and what an operator stores in it."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
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

from sandbox.emulator import OPERATOR, REGION


class StackClients:
    """Each client is made when it is first used. A subclass says where AWS answers."""

    def __init__(self, stack_name: str) -> None:
        self.stack_name = stack_name

    @property
    def endpoint_url(self) -> str:
        """Where every AWS service answers."""
        raise NotImplementedError

    def session(self) -> boto3.Session:
        """A boto3 session with the emulator's root rights; its clients still need `endpoint_url`."""
        return boto3.Session(OPERATOR, OPERATOR, region_name=REGION)

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
    def apis(self) -> "ApiGatewayV2Client":
        """A client of this stack."""
        return self.session().client("apigatewayv2", endpoint_url=self.endpoint_url)

    def physical_id(self, logical_id: str) -> str:
        """The name that a resource of the template has here."""
        found = self.cloudformation.describe_stack_resource(StackName=self.stack_name, LogicalResourceId=logical_id)
        return found["StackResourceDetail"]["PhysicalResourceId"]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point any AWS SDK, the AWS CLI, sam or `lifecycle` at this stack."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": OPERATOR,
            "AWS_SECRET_ACCESS_KEY": OPERATOR,
        }

    def put_source_secrets(self, source: str, *values: str) -> None:
        """Set the signing secrets of a source: one, or the new and the old one during a rotation."""
        self._put_secret(f"{self.stack_name}/sources/{source}", {"secrets": list(values)})

    def put_chat_secrets(self, tool: str, *values: str) -> None:
        """Set the signing secrets of a chat tool, as for a source."""
        self._put_secret(f"{self.stack_name}/chat/{tool}", {"secrets": list(values)})

    def put_chat_replies(self, tool: str, urls: Mapping[str, str]) -> None:
        """Set the URLs for later answers of a chat tool, by team or space."""
        self._put_secret(f"{self.stack_name}/chat-replies/{tool}", dict(urls))

    def put_token(self, organization: str, token: str) -> None:
        """Set the Tallyfy token of an organization."""
        self._put_secret(f"{self.stack_name}/tokens/{organization}", {"token": token})

    def put_channel(self, channel: str, url: str) -> None:
        """Set the URL that a channel of `notices.toml` is posted to."""
        self._put_secret(f"{self.stack_name}/notices/{channel}", url)

    def _put_secret(self, name: str, value: Mapping[str, object] | str) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        try:
            self.secretsmanager.create_secret(Name=name, SecretString=text)
        except self.secretsmanager.exceptions.ResourceExistsException:
            self.secretsmanager.put_secret_value(SecretId=name, SecretString=text)
