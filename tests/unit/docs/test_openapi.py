"""docs/openapi.json is what the models say, has every route of the template, and every answer that is really given."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from samtranslator.yaml_helper import yaml_parse

from cli import openapi
from cli.local.build import ROOT
from lifecycle.judgement.http import answer, problem
from lifecycle.judgement.transitions import Status
from lifecycle.words.commands import CommandRequest
from lifecycle.words.errors import Code, Rejected, Retryable
from tests.builders import EVENTS, ORG, THING

DOCUMENT: dict[str, Any] = json.loads(openapi.FILE.read_text(encoding="utf-8"))
INTENT = "int_" + "0f" * 24


def validator(name: str) -> OAS31Validator:
    return OAS31Validator({**DOCUMENT, "$ref": f"#/components/schemas/{name}"})


def test_the_committed_file_is_what_make_openapi_writes() -> None:
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.text(), "run: make openapi"


def test_it_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_it_has_the_routes_of_the_template_and_no_other() -> None:
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"].values()
    events = [event for resource in resources for event in resource["Properties"].get("Events", {}).values()]
    routes = {
        (event["Properties"]["Method"].lower(), event["Properties"]["Path"])
        for event in events
        if event["Type"] == "HttpApi"
    }
    assert {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods} == routes


@pytest.mark.parametrize("sample", sorted(EVENTS.glob("command-*.json")), ids=lambda path: path.name)
def test_the_sample_commands_fit_the_schema(sample: Path) -> None:
    asked = json.loads(sample.read_text())
    kept = {name: value for name, value in asked.items() if name in CommandRequest.model_fields}
    validator("CommandRequest").validate(kept)


def test_every_other_word_for_a_resource_is_understood() -> None:
    for word, resource in openapi.ALIASES.items():
        asked = {"action": "archive", "resource": word, "org_id": ORG, "id": THING}
        validator("CommandRequest").validate(asked)
        assert CommandRequest.parse(json.dumps(asked).encode()).resource == resource


@pytest.mark.parametrize(
    "wrong", [{"resource": "folder"}, {"id": "../x"}, {"colour": "red"}, {"reason": "a\nb"}, {"org_id": None}]
)
def test_what_the_schema_refuses_is_refused(wrong: dict[str, object]) -> None:
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
        *(("Stands", {"intent_id": INTENT, "status": status, "reason": "It is so."}) for status in Status),
        ("Healthy", {"status": "ok"}),
        ("ChatLine", {"response_type": "ephemeral", "text": "On it."}),
    ],
)
def test_the_answers_fit_their_schemas(name: str, told: dict[str, object]) -> None:
    validator(name).validate(json.loads(str(answer(HTTPStatus.OK, told)["body"])))


@pytest.mark.parametrize("code", Code)
def test_every_problem_fits_its_schema(code: Code) -> None:
    for error in (Rejected(code, "Why."), Retryable(code, "Why.")):
        validator("Problem").validate(json.loads(str(problem(error)["body"])))


def test_every_status_that_a_delivery_can_meet_is_documented() -> None:
    statuses = {str(problem(Rejected(code, ""))["statusCode"]) for code in Code}
    assert {"200", "202", *statuses} == set(DOCUMENT["paths"]["/webhooks/{source}"]["post"]["responses"])
