"""`lifecycle chat manifest`: the app's manifest with the URLs of a stack."""

import json

from cli.services.openapi import document
from tests.unit.cli.harness import CliHarness


def test_the_manifest_names_routes_that_exist_with_the_url_of_the_stack(desk: CliHarness) -> None:
    result = desk.run("chat", "manifest")
    assert result.exit_code == 0, result.output
    made = json.loads(result.output)
    [command] = made["features"]["slash_commands"]
    urls = [command["url"], made["settings"]["interactivity"]["request_url"]]
    base = desk.stack.outputs()["ApiUrl"].rstrip("/")
    assert all(url.startswith(f"{base}/chat/slack") for url in urls)
    assert {url.removeprefix(base) for url in urls} <= set(document()["paths"])
    # Slack must send links and mentions as such, so that a link is where it leads and not what it is shown as.
    assert command["should_escape"] is True


def test_another_tool_has_no_manifest(desk: CliHarness) -> None:
    assert desk.run("chat", "manifest", "teams").exit_code == 2
