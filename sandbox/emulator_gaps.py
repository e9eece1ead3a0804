"""Where the emulator differs from AWS, and what closes the gap after a deploy. The template stays as it is for AWS."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sandbox.build import (
    LocalStackError,
)

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

from sandbox.emulator import ACCOUNT, REGION
from sandbox.stack_clients import StackClients


class EmulatorGaps:
    """The changes to one deployed stack."""

    def __init__(self, stack: StackClients, outputs: Mapping[str, str]) -> None:
        self._stack = stack
        self._outputs = outputs

    def connect_routes(self, api_id: str) -> None:
        """Make the routes that SAM wrote into the API's body, which the emulator does not read (AWS does).

        Where the body asks for an AWS identity (AWS_IAM), so does the emulator. It checks signature and rights, and
        tells the function who calls, as AWS does: root as `arn:aws:iam::<account>:root`, a user as `…:user/<name>`, a
        role's session as `arn:aws:sts::<account>:assumed-role/<role>/<session>`.
        """
        processed: Any = self._stack.cloudformation.get_template(
            StackName=self._stack.stack_name, TemplateStage="Processed"
        )["TemplateBody"]
        template = json.loads(processed) if isinstance(processed, str) else processed
        known = {route["RouteKey"] for route in self._stack.apis.get_routes(ApiId=api_id)["Items"]}
        integrations: dict[str, str] = {}
        for route, function, asks_who in routes(template):
            if route in known:
                continue
            if function not in integrations:
                integrations[function] = self._integrate(api_id, function)
            self._stack.apis.create_route(
                ApiId=api_id,
                RouteKey=route,
                AuthorizationType="AWS_IAM" if asks_who else "NONE",
                Target=f"integrations/{integrations[function]}",
            )

    def _integrate(self, api_id: str, function: str) -> str:
        found = self._stack.functions.get_function(FunctionName=self._stack.physical_id(function))
        made = self._stack.apis.create_integration(
            ApiId=api_id,
            IntegrationType="AWS_PROXY",
            IntegrationUri=found["Configuration"]["FunctionArn"],
            PayloadFormatVersion="2.0",
        )
        return made["IntegrationId"]

    def admit_plain_http(self) -> None:
        """Take the TLS-only policy off queues and buckets: the emulator enforces it, and speaks plain HTTP on loopback.

        That of a queue binds us too, so this one client says what a TLS proxy in front would say.
        """

        def as_if_by_tls(request: "AWSPreparedRequest", **_: object) -> None:
            request.headers["X-Forwarded-Proto"] = "https"

        sqs = self._stack.session().client("sqs", endpoint_url=self._stack.endpoint_url)
        sqs.meta.events.register("before-send.sqs", as_if_by_tls)
        for url in [url for name, url in self._outputs.items() if name.endswith("QueueUrl")]:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
        s3 = self._stack.session().client("s3", endpoint_url=self._stack.endpoint_url)
        for name in [name for name in self._outputs if name.endswith("BucketName")]:
            s3.delete_bucket_policy(Bucket=self._outputs[name])

    def admit_what_aws_calls_otherwise(self) -> None:
        """Give the rights that fit on AWS once more, under the names by which the emulator asks for them.

        A schedule of any group is one of the group `default` to it; and SendMessageBatch, which on AWS is part of
        `sqs:SendMessage`, is an action of its own.
        """
        schedules = ("scheduler:CreateSchedule", [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/*"])
        names = [self._outputs[f"{name}QueueUrl"].rpartition("/")[2] for name in ("Bulk", "Purge")]
        queues = [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}" for name in names]
        batches = ("sqs:SendMessageBatch", queues)
        for role, (action, resources) in {
            "WebhookRole": schedules,
            "EventRole": schedules,
            "PurgeRole": schedules,
            "SweepRole": batches,
        }.items():
            allow = {"Effect": "Allow", "Action": action, "Resource": resources}
            self._stack.iam.put_role_policy(
                RoleName=self._stack.physical_id(role),
                PolicyName="as-the-emulator-calls-it",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
            )


def routes(template: Any) -> Iterator[tuple[str, str, bool]]:  # noqa: ANN401 - parsed JSON
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
