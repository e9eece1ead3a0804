"""The HTTP API as OpenAPI 3.1, made from the models and tables that the functions use. `make openapi` writes it."""

import json
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypedDict

from pydantic import TypeAdapter

from lifecycle.api.schemas.approvals import HASH_PATTERN, Approval, Approvals, Rejection
from lifecycle.api.schemas.commands import Accepted, CommandStatus, Health, Ignored, UndoAccepted
from lifecycle.aws.api_gateway import MOST_BYTES, Problem, problem
from lifecycle.chat.slack.blocks import SlackAnswer
from lifecycle.domain.commands import SOURCE_PATTERN, CommandRequest
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.intent_ids import INTENT_PATTERN
from lifecycle.domain.kinds import OTHER_NAMES

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
_REFS = "#/components/schemas/{model}"

_IDENTITY = "AWS_IAM"
_GOOGLE = "GoogleChat"
_SCHEMES = {
    _IDENTITY: {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "x-amazon-apigateway-authtype": "awsSigv4",
        "description": (
            "AWS Signature Version 4, service `execute-api`, by an identity that IAM allows `execute-api:Invoke` and "
            "that people.toml names. API Gateway refuses others with a 403 of its own."
        ),
    },
    _GOOGLE: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": (
            "Google's ID token for the URL of the Chat app, of the app's own service account. API Gateway verifies it "
            "and refuses others with a 401 of its own."
        ),
    },
}

type Schema = dict[str, Any]


class ChatMessage(TypedDict):
    """What the chat tool shows, in the tool's own form."""


_ANSWERS = (
    *(Accepted, Ignored, CommandStatus, UndoAccepted, Health),
    *(Approval, Approvals, SlackAnswer, ChatMessage, Problem),
)

_AT_ANY_DOOR = (Code.TOO_LARGE, Code.INVALID, Code.UNAVAILABLE)
_INTAKE = (
    *(Code.UNKNOWN_SOURCE, Code.SIGNATURE_REFUSED, Code.NOT_POSSIBLE, Code.UNTRANSLATABLE, Code.RIGHT_MISSING),
    *(Code.ORGANIZATION_UNKNOWN, Code.INTENT_CONFLICT, *_AT_ANY_DOOR),
)
_APPROVING = (Code.RIGHT_MISSING, Code.UNKNOWN_APPROVAL, *_AT_ANY_DOOR)
_CHAT = (Code.SIGNATURE_REFUSED, Code.UNKNOWN_ROUTE, *_AT_ANY_DOOR)
_SENT_HEADERS = {
    "webhook-id": "Standard Webhooks: names the delivery",
    "webhook-timestamp": "Standard Webhooks: seconds since 1970",
    "webhook-signature": "Standard Webhooks: v1,<base64>; several with spaces between",
    "x-timestamp": "plain HMAC: seconds since 1970",
    "x-signature": "plain HMAC: sha256=<hex> over <timestamp>.<body>",
}


def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tallyfy-lifecycle",
            "version": "1",
            "summary": "Archive, restore and delete in Tallyfy, once per request.",
            "description": (
                "Every delivery is signed, in the way that sources.toml says for its source. The requests "
                "of a person are signed with their AWS credentials. `detail` of a problem says what to do."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com",
                "description": "The stack's output ApiUrl",
                "variables": {"api": {"default": "api-id"}, "region": {"default": "eu-west-1"}},
            }
        ],
        "paths": {
            "/webhooks/{source}": {"post": _webhook("deliver", "Deliver a signed payload", [_SOURCE])},
            "/webhooks/{source}/{key}": {
                "post": _webhook(
                    "deliverWithKey", "Deliver a payload, with the source's shared secret in the path", [_SOURCE, _KEY]
                )
            },
            "/commands/{intent_id}": {
                "get": _operation(
                    "commandStatus",
                    "Get the status of a command",
                    parameters=[_INTENT],
                    responses={HTTPStatus.OK: [CommandStatus]},
                    codes=(Code.UNKNOWN_INTENT, *_AT_ANY_DOOR),
                )
            },
            "/health": {
                "get": _operation("health", "Check that the API is up", responses={HTTPStatus.OK: [Health]}, codes=())
            },
            "/commands/{intent_id}/undo": {
                "post": _by_person(
                    "undo",
                    "Undo a command",
                    parameters=[_INTENT],
                    responses={HTTPStatus.ACCEPTED: [UndoAccepted]},
                    codes=(Code.RIGHT_MISSING, Code.UNKNOWN_INTENT, Code.NOT_POSSIBLE, *_AT_ANY_DOOR),
                )
            },
            "/approvals": {
                "get": _by_person(
                    "approvals",
                    "List the requests that wait for your approval",
                    responses={HTTPStatus.OK: [Approvals]},
                    codes=(Code.RIGHT_MISSING, *_AT_ANY_DOOR),
                )
            },
            "/approvals/{hash}": {
                "get": _by_person(
                    "approval",
                    "Show one request for approval",
                    parameters=[_REQUEST],
                    responses={HTTPStatus.OK: [Approval]},
                    codes=_APPROVING,
                )
            },
            "/approvals/{hash}/approve": {
                "post": _by_person(
                    "approve",
                    "Approve the request with this hash, unless you made it yourself",
                    parameters=[_REQUEST],
                    responses={HTTPStatus.OK: [Approval]},
                    codes=(Code.OWN_REQUEST, *_APPROVING),
                )
            },
            "/approvals/{hash}/withdraw": {
                "post": _by_person(
                    "withdraw",
                    "Withdraw your own approval, before the call to Tallyfy is sent",
                    parameters=[_REQUEST],
                    responses={HTTPStatus.OK: [Approval]},
                    codes=(Code.NOT_POSSIBLE, *_APPROVING),
                )
            },
            "/approvals/{hash}/reject": {
                "post": _by_person(
                    "reject",
                    "Reject a request for good",
                    parameters=[_REQUEST],
                    body={"application/json": {"schema": {"$ref": _REFS.format(model="Rejection")}}},
                    responses={HTTPStatus.OK: [Approval]},
                    codes=_APPROVING,
                )
            },
            "/chat/slack": {
                "post": _operation(
                    "slackCommand",
                    "Take a slash command of Slack",
                    parameters=_SLACK_HEADERS,
                    body=_FORM,
                    responses={HTTPStatus.OK: [SlackAnswer]},
                    codes=_CHAT,
                )
            },
            "/chat/slack/actions": {
                "post": _operation(
                    "slackAction",
                    "Take a pressed button in Slack; the answer is sent to its `response_url`",
                    parameters=_SLACK_HEADERS,
                    body=_FORM,
                    responses={HTTPStatus.OK: []},
                    codes=_CHAT,
                )
            },
            "/chat/teams": {
                "post": _operation(
                    "teamsMessage",
                    "Take a message of a Microsoft Teams outgoing webhook",
                    parameters=[_parameter("authorization", "header", "^HMAC .+$", "The team's signature of the body")],
                    body=_JSON,
                    responses={HTTPStatus.OK: [ChatMessage]},
                    codes=_CHAT,
                )
            },
            "/chat/google": {
                "post": _operation(
                    "googleChatEvent",
                    "Take an event of a Google Chat app",
                    body=_JSON,
                    responses={HTTPStatus.OK: [ChatMessage]},
                    codes=_CHAT,
                )
                | {"security": [{_GOOGLE: []}]}
            },
        },
        "components": {"schemas": _schemas(), "securitySchemes": _SCHEMES},
    }


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=2) + "\n"


def _schemas() -> Schema:
    bodies = [(model.__name__, "validation", TypeAdapter(model)) for model in (CommandRequest, Rejection)]
    answers = [(model.__name__, "serialization", TypeAdapter(model)) for model in _ANSWERS]
    _, found = TypeAdapter.json_schemas([*bodies, *answers], ref_template=_REFS)  # type: ignore[list-item]
    schemas: Schema = found["$defs"]
    for model in (Rejection, *_ANSWERS):
        schemas[model.__name__]["additionalProperties"] = model is ChatMessage
    resource = schemas["Resource"]
    resource["enum"] = [*resource["enum"], *OTHER_NAMES]
    return dict(sorted(schemas.items()))


def _parameter(name: str, place: str, pattern: str, summary: str, *, required: bool = True) -> Schema:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": place, "required": required, "description": summary, "schema": schema}


_SOURCE = _parameter("source", "path", SOURCE_PATTERN, "The name of the source in sources.toml")
_KEY = _parameter("key", "path", "^.+$", "The shared secret")
_INTENT = _parameter("intent_id", "path", INTENT_PATTERN, "The intent id from the answer to a delivery")
_REQUEST = _parameter("hash", "path", HASH_PATTERN, "The hash of the request for approval")
_SLACK_HEADERS = [
    _parameter("x-slack-request-timestamp", "header", "^[0-9]+$", "Seconds since 1970"),
    _parameter("x-slack-signature", "header", "^v0=[0-9a-f]{64}$", "Slack's signature of the request"),
]
_JSON: Schema = {"application/json": {"schema": {"type": "object"}}}
_FORM: Schema = {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}


def _webhook(name: str, summary: str, path: list[Schema]) -> Schema:
    headers = [_parameter(header, "header", "^.+$", use, required=False) for header, use in _SENT_HEADERS.items()]
    ours = {"$ref": _REFS.format(model="CommandRequest")}
    foreign = {"description": "A payload of another system, which sources.toml translates"}
    return _operation(
        name,
        summary,
        parameters=[*path, *headers],
        body={"application/json": {"schema": {"anyOf": [ours, foreign]}}},
        responses={HTTPStatus.ACCEPTED: [Accepted], HTTPStatus.OK: [Ignored]},
        codes=_INTAKE,
    )


def _by_person(name: str, summary: str, *, body: Schema | None = None, **more: Any) -> Schema:
    """What is asked under an AWS identity; its body may be left out."""
    made = _operation(name, summary, body=body, **more)
    if body is not None:
        made["requestBody"]["required"] = False
    return made | {"security": [{_IDENTITY: []}]}


def _operation(
    name: str,
    summary: str,
    *,
    parameters: Iterable[Schema] = (),
    body: Schema | None = None,
    responses: Mapping[HTTPStatus, list[type]],
    codes: Iterable[Code],
) -> Schema:
    made: Schema = {"operationId": name, "summary": summary}
    if listed := list(parameters):
        made["parameters"] = listed
    if body is not None:
        made["requestBody"] = {"required": True, "description": f"At most {MOST_BYTES} bytes", "content": body}
    answers = {str(int(status)): _answered(*models) for status, models in responses.items()}
    made["responses"] = dict(sorted((answers | _problems(codes)).items()))
    return made


def _answered(model: type | None = None) -> Schema:
    if model is None:
        return {"description": "An empty body"}
    content = {"application/json": {"schema": {"$ref": _REFS.format(model=model.__name__)}}}
    return {"description": str(model.__doc__), "content": content}


def _problems(codes: Iterable[Code]) -> Schema:
    """Under which status each code is answered: what the functions' own table says."""
    by_status: dict[int, list[Code]] = {}
    for code in codes:
        error = Retryable(code, "") if code is Code.UNAVAILABLE else Rejected(code, "")
        by_status.setdefault(int(str(problem(error)["statusCode"])), []).append(code)
    schema = {"$ref": _REFS.format(model="Problem")}
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(found)}",
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status, found in by_status.items()
    }


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{FILE.name} is written.\n")
