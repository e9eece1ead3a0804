"""`lifecycle chat`: connect chat tools."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.clients.context import stack_of
from cli.ui.errors import CliError, Exit
from cli.ui.options import ApiUrl, Region, StackName

app = typer.Typer(no_args_is_help=True, help="Connect Slack, Microsoft Teams and Google Chat.")

_MANIFEST = Path(__file__).resolve().parents[1] / "services" / "slack-manifest.json"


@app.command("manifest")
def manifest(
    ctx: typer.Context,
    tool: Annotated[str, typer.Argument(help="slack: Teams and Google Chat take no manifest")] = "slack",
    api_url: ApiUrl = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Print the manifest of the Slack app with the URLs of a stack. Paste it at api.slack.com: *From a manifest*."""
    if tool != "slack":
        raise CliError(f"There is no manifest for {tool}. The page Chat says how to connect it.", Exit.USAGE)
    from cli.clients.stack import output_of

    url = api_url or output_of(stack_of(ctx, stack, region), "ApiUrl")
    text = _MANIFEST.read_text(encoding="utf-8").replace("{api_url}", url.rstrip("/"))
    sys.stdout.write(text)


@app.callback()
def _group() -> None:
    """Keep `manifest` a command of its own, so that others can stand beside it."""
