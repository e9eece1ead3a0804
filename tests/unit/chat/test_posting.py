"""Posting to the URL that a secret holds for a team or a space: to nobody else, and never the URL in a log."""

import json

import pytest
import requests

from lifecycle.chat import google, teams
from lifecycle.chat.tool import ChatTool
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.messages import Answer, outcome
from tests.harness.chat import Wire

GOOD = {
    "teams": "https://prod-01.westeurope.logic.azure.com:443/workflows/1/triggers/manual/paths/invoke?sig=s3cret",
    "google": "https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=s3cret",
}
TOOLS = {"teams": teams.TOOL, "google": google.TOOL}


def post(tool: ChatTool, wire: Wire, secret: str, *, also: str | None = None, answer: Answer | None = None) -> bool:
    session = requests.Session()
    session.trust_env = False
    for scheme in ("https://", "http://"):
        session.mount(scheme, wire)
    return tool.poster(session, also).post("here", answer or Answer(text="Done."), lambda: secret)


@pytest.mark.parametrize("name", TOOLS)
def test_an_answer_goes_to_the_url_of_its_place_with_lines_to_write_instead_of_buttons(name: str) -> None:
    wire = Wire()
    secret = json.dumps({"here": GOOD[name], "there": "https://example.com"})
    assert post(TOOLS[name], wire, secret, answer=outcome("Done.", "int_1"))
    [sent] = wire.posted
    assert (sent.method, sent.url) == ("POST", GOOD[name].replace(":443", "") if name == "google" else GOOD[name])
    assert "undo int_1" in str(sent.body)
    assert "onClick" not in str(sent.body)


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize(
    "url",
    [
        "http://chat.googleapis.com/v1",
        "http://x.logic.azure.com/",
        "https://chat.googleapis.com.example.com/",
        "https://notlogic.azure.com/",
        "https://user:pass@chat.googleapis.com/",
        "https://user@x.logic.azure.com/",
        "https://chat.googleapis.com:8443/",
        "https://x.logic.azure.com:8443/",
        "https://169.254.169.254/latest",
        "http://127.0.0.1:8000/x",
        "file:///etc/passwd",
        "https://[",
        "https://x.logic.azure.com:port/",
        "",
        7,
        None,
    ],
)
def test_nothing_is_posted_to_any_other_place(name: str, url: object) -> None:
    for also in (None, "http://127.0.0.1:9000"):
        wire = Wire()
        with pytest.raises(Rejected) as refusal:
            post(TOOLS[name], wire, json.dumps({"here": url}), also=also)
        assert refusal.value.code is Code.CONFIGURATION
        assert wire.posted == []


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("secret", ["", "{", "[]", "{}", "[" * 100_000, '{"there": "x"}'])
def test_a_place_without_a_url_hears_nothing(name: str, secret: str) -> None:
    wire = Wire()
    with pytest.raises(Rejected, match="names no usable URL"):
        post(TOOLS[name], wire, secret)
    assert wire.posted == []


@pytest.mark.parametrize("name", TOOLS)
def test_a_simulator_on_loopback_may_play_the_tool(name: str) -> None:
    wire = Wire()
    assert post(TOOLS[name], wire, '{"here": "http://127.0.0.1:9000/replies"}', also="http://127.0.0.1:9000")
    assert len(wire.posted) == 1


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("status", [429, 500, 503, requests.ConnectionError("gone"), requests.Timeout("slow")])
def test_a_post_that_may_work_later_is_tried_again(name: str, status: int | Exception) -> None:
    assert not post(TOOLS[name], Wire(status), json.dumps({"here": GOOD[name]}))


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("status", [302, 400, 401, 404])
def test_a_post_that_is_refused_names_the_tool_and_never_the_url(name: str, status: int) -> None:
    wire = Wire(status)
    with pytest.raises(Rejected) as refusal:
        post(TOOLS[name], wire, json.dumps({"here": GOOD[name]}))
    assert "s3cret" not in str(refusal.value)
    assert len(wire.posted) == 1
