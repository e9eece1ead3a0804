"""Options that several commands share, and the group that prints expected errors as one line."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.ui.console import console, plain, replace_unprintable
from cli.ui.errors import CliError, Exit, expected_error

DEFAULT_STACK = "tallyfy-lifecycle-dev"
"""The name that `sam deploy --config-env dev` uses, so that nobody works on production by accident."""
_PANEL = "Which stack"
_HEADER = re.compile(r"^([A-Za-z0-9-]+):[ \t]*")
"""The beginning of a header as HTTP writes it."""
StackName = Annotated[
    str | None,
    typer.Option(
        "--stack", help="The stack's name. (default: the one given before the command)", rich_help_panel=_PANEL
    ),
]
RootStackName = Annotated[
    str | None,
    # Read from the environment only here: at a command it would win over an option typed before the command.
    typer.Option("--stack", envvar="LIFECYCLE_STACK", help=f"The stack's name. (default: {DEFAULT_STACK})"),
]
Region = Annotated[
    str | None,
    typer.Option("--region", help="The AWS region. (default: as for any AWS tool)", rich_help_panel=_PANEL),
]
ApiUrl = Annotated[
    str | None,
    typer.Option(
        "--api-url",
        envvar="LIFECYCLE_API_URL",
        help="The API's URL. (default: the stack's output ApiUrl)",
        rich_help_panel=_PANEL,
    ),
]
_ORG = "LIFECYCLE_ORG"
Org = Annotated[
    str | None,
    typer.Option("--org", envvar=_ORG, help="The organization's id. (default: the only one of the stack)"),
]
Orgs = Annotated[
    str | None, typer.Option("--org", envvar=_ORG, help="One organization. (default: all organizations of the stack)")
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", exists=True, dir_okay=False, help="(default: layers/config/policy.toml)"),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        exists=True,
        dir_okay=False,
        help="A file with a Tallyfy token. (default: LIFECYCLE_TALLYFY_TOKEN, else the secret of the stack)",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url", help="The URL of Tallyfy's API. (default: that of the stack, else https://go.tallyfy.com/api)"
    ),
]
PerMinute = Annotated[int, typer.Option("--rate", min=1, max=6000, help="The most calls to Tallyfy a minute.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the outcome, and show it.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="The most seconds to wait.")]
Json = Annotated[bool, typer.Option("--json", help="For programs: print JSON, and nothing else, to stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def reason_in(text: str, *, most: int) -> str:
    """The text of ``--reason`` on one line.

    Raises:
        CliError: It is blank, or longer than ``most`` characters.
    """
    reason = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not 0 < len(reason) <= most:
        raise CliError(f"Give a reason of 1 to {most} characters with --reason.", Exit.USAGE)
    return reason


def pairs_in(texts: list[str] | None, option: str, example: str) -> dict[str, str]:
    """The ``name=value`` pairs of an option.

    Raises:
        CliError: One has no `=`.
    """
    if any("=" not in text for text in texts or []):
        raise CliError(f"{option} takes name=value, such as {example}.", Exit.USAGE)
    return dict(text.split("=", 1) for text in texts or [])


def headers_in(texts: list[str] | None) -> dict[str, str]:
    """The headers of ``--header``, as ``name=value`` or as HTTP and curl write them, ``Name: value``.

    Raises:
        CliError: One is neither.
    """
    pairs = [_HEADER.sub(r"\1=", text, count=1) for text in texts or []]
    return pairs_in(pairs, "--header", "x-github-event=issues or 'X-GitHub-Event: issues'")


class CliGroup(TyperGroup):
    """Prints an expected error as a line on stderr, without a traceback, and exits with the documented code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as below
        """Run the program, on whatever terminal it is."""
        replace_unprintable()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer brings a click of its own, without public names
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            expected = expected_error(error)
            if expected is None:
                raise
            console(errors=True).print(plain(str(expected), most=20_000), style="red", soft_wrap=True)
            raise typer.Exit(expected.code) from error
