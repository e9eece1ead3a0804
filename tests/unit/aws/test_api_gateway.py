"""Requests in events of API Gateway, and answers as problem details."""

import base64
import json
from http import HTTPStatus

import pytest

from lifecycle.aws.api_gateway import MOST_BYTES, HttpRequest, answer, problem
from lifecycle.domain.errors import Code, LifecycleError, Rejected, Retryable

CLIENT_ERRORS = {
    Code.INVALID: 400,
    Code.SIGNATURE_REFUSED: 401,
    Code.RIGHT_MISSING: 403,
    Code.ORGANIZATION_UNKNOWN: 403,
    Code.UNKNOWN_SOURCE: 404,
    Code.UNKNOWN_INTENT: 404,
    Code.UNKNOWN_ROUTE: 404,
    Code.UNKNOWN_APPROVAL: 404,
    Code.OWN_REQUEST: 403,
    Code.INTENT_CONFLICT: 409,
    Code.TOO_LARGE: 413,
    Code.NOT_POSSIBLE: 422,
    Code.UNTRANSLATABLE: 422,
    Code.EXPIRED: 422,
}


def body_of(text: object, *, encoded: object = False) -> bytes:
    return HttpRequest.of({"body": text, "isBase64Encoded": encoded}).body


def test_a_request_is_read_as_it_was_signed() -> None:
    raw = '{"reason": "Kündigung"}'.encode()
    event = {
        "routeKey": "POST /webhooks/{source}",
        "rawPath": "/webhooks/crm",
        "rawQueryString": "a=1&b=%20",
        "requestContext": {"domainName": "id.execute-api.eu-west-1.amazonaws.com", "http": {"method": "POST"}},
        "pathParameters": {"source": "crm"},
        "headers": {"X-Signature": "sha256=00", "X-Timestamp": "1"},
        "body": base64.b64encode(raw).decode(),
        "isBase64Encoded": True,
    }
    request = HttpRequest.of(event)
    assert request.route == "POST /webhooks/{source}"
    assert request.method == "POST"
    assert request.uri == "https://id.execute-api.eu-west-1.amazonaws.com/webhooks/crm?a=1&b=%20"
    assert request.parameters == {"source": "crm"}
    assert request.headers == {"x-signature": "sha256=00", "x-timestamp": "1"}
    assert request.body == raw
    assert body_of(raw.decode()) == raw


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "text",
        7,
        {},
        {"headers": None, "pathParameters": None, "body": None},
        {"headers": [], "pathParameters": "x", "body": {}, "routeKey": 1},
        {"requestContext": [], "rawPath": 7, "rawQueryString": None},
        {"requestContext": {"http": "POST", "domainName": 1}},
        {"headers": {"a": 1, 2: "b", "c": None}, "pathParameters": {"source": ["x"]}},
    ],
)
def test_a_missing_or_mistyped_part_of_the_event_is_empty(event: object) -> None:
    assert HttpRequest.of(event) == HttpRequest(
        route="", method="", uri="https://", parameters={}, headers={}, body=b""
    )


@pytest.mark.parametrize("encoded", [None, False, "true", 1])
def test_only_a_body_marked_as_base64_is_decoded(encoded: object) -> None:
    assert body_of("e30=", encoded=encoded) == b"e30="


@pytest.mark.parametrize("text", ["e30", "e3 0=", "{}", "ü", "e30=\n"])
def test_a_body_that_is_wrongly_marked_as_base64_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="base64") as refusal:
        body_of(text, encoded=True)
    assert refusal.value.code is Code.INVALID


def test_surrogates_from_a_test_console_raise_nothing() -> None:
    assert body_of("\ud800") == b"\xed\xa0\x80"


@pytest.mark.parametrize("size", [MOST_BYTES - 2, MOST_BYTES - 1, MOST_BYTES])
def test_a_body_of_256_kb_is_accepted(size: int) -> None:
    raw = b"x" * size
    assert body_of(raw.decode()) == raw
    assert body_of(base64.b64encode(raw).decode(), encoded=True) == raw


@pytest.mark.parametrize("size", [MOST_BYTES + 1, MOST_BYTES + 2, MOST_BYTES + 3, MOST_BYTES * 4])
def test_a_larger_body_is_refused_as_too_large(size: int) -> None:
    raw = b"x" * size
    for text, encoded in ((raw.decode(), False), (base64.b64encode(raw).decode(), True)):
        with pytest.raises(Rejected) as refusal:
            body_of(text, encoded=encoded)
        assert refusal.value.code is Code.TOO_LARGE


def test_size_is_counted_in_bytes_not_characters() -> None:
    with pytest.raises(Rejected):
        body_of("ü" * (MOST_BYTES // 2 + 1))


def test_an_answer_is_json_that_must_not_be_cached() -> None:
    assert answer(HTTPStatus.ACCEPTED, {"status": "accepted"}) == {
        "statusCode": 202,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "body": '{"status": "accepted"}',
    }


@pytest.mark.parametrize(("code", "status"), CLIENT_ERRORS.items())
def test_an_error_that_the_sender_can_fix_shows_its_reason(code: Code, status: int) -> None:
    told = problem(Rejected(code, "Do it otherwise."))
    assert told["statusCode"] == status
    headers, text = told["headers"], told["body"]
    assert isinstance(headers, dict)
    assert isinstance(text, str)
    assert headers["content-type"] == "application/problem+json"
    assert "retry-after" not in headers
    assert json.loads(text) == {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code.value,
        "detail": "Do it otherwise.",
    }


@pytest.mark.parametrize("code", [code for code in Code if code not in CLIENT_ERRORS])
@pytest.mark.parametrize("family", [Rejected, Retryable])
def test_any_other_error_is_a_503_that_reveals_nothing(code: Code, family: type[LifecycleError]) -> None:
    told = problem(family(code, "Secret 'stack/sources/crm' does not exist."))
    assert told["statusCode"] == 503
    headers, text = told["headers"], told["body"]
    assert isinstance(headers, dict)
    assert isinstance(text, str)
    assert headers["retry-after"] == "5"
    assert "stack/sources" not in text
    assert "Send the same delivery again" in json.loads(text)["detail"]
