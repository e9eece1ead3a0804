"""docs/openapi.json is what the models say, has every route of the template, and every answer that is really given."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from cli.services import openapi
from lifecycle.api.operator_routes import Operating
from lifecycle.api.routes import status_answer
from lifecycle.api.schemas.commands import CommandStatus
from lifecycle.approvals.people import People
from lifecycle.aws.api_gateway import HttpRequest, answer, problem
from lifecycle.domain.commands import CommandRequest
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.intent import Outcome, Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.domain.kinds import OTHER_NAMES
from lifecycle.execution.ledger import Claim
from lifecycle.execution.status import CommandState
from sandbox.build import ROOT
from sandbox.language_extensions import expanded
from tests.harness.builders import EVENTS, ID_KEY, NOW, ORG, THING, ChatRoom, command, wanted, with_approvals

DOCUMENT: dict[str, Any] = json.loads(openapi.FILE.read_text(encoding="utf-8"))
INTENT = "int_" + "0f" * 24
GRACE = "arn:aws:iam::123456789012:user/grace"
ARCHIVE = intent_id(ID_KEY, "operator", "archived")


def validator(name: str) -> OAS31Validator:
    return OAS31Validator({**DOCUMENT, "$ref": f"#/components/schemas/{name}"})


def test_the_committed_file_is_what_make_openapi_writes() -> None:
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.text(), "run: make openapi"


def test_the_file_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_the_document_has_the_routes_of_the_template_and_no_other() -> None:
    resources = expanded(ROOT / "template.yaml")["Resources"].values()
    events = [event for resource in resources for event in resource["Properties"].get("Events", {}).values()]
    routes = {
        (event["Properties"]["Method"].lower(), event["Properties"]["Path"])
        for event in events
        if event["Type"] == "HttpApi" and "+" not in event["Properties"]["Path"]  # Those repeat other paths.
    }
    assert {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods} == routes


@pytest.mark.parametrize("sample", sorted(EVENTS.glob("command-*.json")), ids=lambda path: path.name)
def test_the_sample_commands_fit_the_schema(sample: Path) -> None:
    asked = json.loads(sample.read_text())
    kept = {name: value for name, value in asked.items() if name in CommandRequest.model_fields}
    validator("CommandRequest").validate(kept)


def test_the_schema_accepts_every_alias_of_a_resource() -> None:
    for word, resource in OTHER_NAMES.items():
        asked = {"action": "archive", "resource": word, "org_id": ORG, "id": THING}
        validator("CommandRequest").validate(asked)
        assert CommandRequest.parse(json.dumps(asked).encode()).resource == resource


@pytest.mark.parametrize(
    "wrong", [{"resource": "folder"}, {"id": "../x"}, {"colour": "red"}, {"reason": "a\nb"}, {"org_id": None}]
)
def test_the_intake_refuses_what_the_schema_refuses(wrong: dict[str, object]) -> None:
    asked = {"action": "archive", "resource": "run", "org_id": ORG, "id": THING, **wrong}
    assert not validator("CommandRequest").is_valid(asked)
    with pytest.raises(Rejected):
        CommandRequest.parse(json.dumps(asked).encode())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Accepted", {"status": "accepted", "intent_id": INTENT, "status_url": "/commands/x", "intent_ids": [INTENT]}),
        ("Accepted", {"status": "accepted", "intent_ids": [INTENT, INTENT]}),
        ("Ignored", {"status": "ignored", "intent_ids": []}),
        *(("CommandStatus", status_answer(INTENT, CommandState(status, "It is so."))) for status in Status),
        ("CommandStatus", status_answer(INTENT, CommandState(Status.WAITING, "It waits.", "held", NOW, "a" * 64))),
        ("Health", {"status": "ok"}),
        ("SlackAnswer", {"response_type": "ephemeral", "text": "On it."}),
        ("SlackAnswer", {"response_type": "ephemeral", "text": "On it.", "blocks": [{"type": "divider"}]}),
    ],
)
def test_the_answers_fit_their_schemas(name: str, told: Mapping[str, object]) -> None:
    validator(name).validate(json.loads(str(answer(HTTPStatus.OK, told)["body"])))


def test_the_status_answer_has_each_field_that_the_status_service_fills_and_no_other() -> None:
    assert get_type_hints(CommandStatus).keys() == {"intent_id", *CommandState._fields}


class TestByPerson:
    """What the operator function answers, to the letter, against what is documented of its route."""

    @pytest.fixture
    def operating(self) -> Operating:
        room = ChatRoom(clock=lambda: NOW)
        with_approvals(room.approvals, wanted(needed=2), ("grace",))
        archive = command(action="archive", intent_id=ARCHIVE)
        claim = room.ledger.claim(archive)
        assert isinstance(claim, Claim)
        room.ledger.conclude(claim, Outcome(Status.DONE, Code.ACTED, "It is archived."))
        people = f'people.grace = {{iam = "{GRACE}", may = ["run.restore"], approves = ["run.delete"]}}'
        service = room.chat.service
        return Operating(people=People.parse(people), approving=service.approving, undoing=service.undoing)

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("get", "/approvals", b""),
            ("get", "/approvals/{hash}", b""),
            ("post", "/approvals/{hash}/approve", b""),
            ("post", "/approvals/{hash}/withdraw", b""),
            ("post", "/approvals/{hash}/reject", b'{"why": "Needed in March"}'),
            ("post", "/commands/{intent_id}/undo", b""),
        ],
    )
    def test_each_answer_is_as_documented(self, operating: Operating, method: str, path: str, body: bytes) -> None:
        made = DOCUMENT["paths"][path][method]
        given = {"hash": wanted().hash, "intent_id": ARCHIVE}
        if body:
            validator("Rejection").validate(json.loads(body))

        status, told = operating.answer(
            HttpRequest(f"{method.upper()} {path}", method.upper(), "", given, {}, body, caller=GRACE)
        )

        answered = made["responses"][str(int(status))]["content"]["application/json"]["schema"]["$ref"]
        validator(answered.rpartition("/")[2]).validate(json.loads(str(answer(status, told)["body"])))
        for parameter in made.get("parameters", []):
            assert re.fullmatch(parameter["schema"]["pattern"], given[parameter["name"]])

    def test_only_routes_behind_an_authorizer_declare_it(self) -> None:
        template = expanded(ROOT / "template.yaml")["Resources"].values()
        events = [event for resource in template for event in resource["Properties"].get("Events", {}).values()]
        asking = {
            (event["Properties"]["Method"].lower(), event["Properties"]["Path"]): event["Properties"]["Auth"][
                "Authorizer"
            ]
            for event in events
            if "Auth" in event["Properties"]
        }
        operations = {(m, path): made for path, methods in DOCUMENT["paths"].items() for m, made in methods.items()}
        declared = {route: made["security"] for route, made in operations.items() if "security" in made}
        assert declared == {route: [{authorizer: []}] for route, authorizer in asking.items()}
        assert set(asking.values()) == {"AWS_IAM", "GoogleChat"}

    def test_the_longest_reason_in_the_schema_is_the_longest_accepted(self, operating: Operating) -> None:
        most = DOCUMENT["components"]["schemas"]["Rejection"]["properties"]["why"]["maxLength"]

        def reject(length: int) -> None:
            body = json.dumps({"why": "x" * length}).encode()
            given = {"hash": wanted().hash}
            operating.answer(HttpRequest("POST /approvals/{hash}/reject", "POST", "", given, {}, body, caller=GRACE))

        with pytest.raises(Rejected) as refusal:
            reject(most + 1)
        assert refusal.value.code is Code.INVALID
        reject(most)


@pytest.mark.parametrize("code", Code)
def test_every_problem_fits_its_schema(code: Code) -> None:
    for error in (Rejected(code, "Why."), Retryable(code, "Why.")):
        validator("Problem").validate(json.loads(str(problem(error)["body"])))


def test_every_status_that_a_delivery_can_meet_is_documented() -> None:
    statuses = {str(problem(Rejected(code, ""))["statusCode"]) for code in Code}
    assert {"200", "202", *statuses} == set(DOCUMENT["paths"]["/webhooks/{source}"]["post"]["responses"])
