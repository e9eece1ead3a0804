"""Options that several commands share, and the group that turns expected errors into one line and an exit code."""

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from cli.clients.context import DEFAULT_STACK, CliContext
from cli.ui.console import console, heed_encoding, plain
from cli.ui.errors import CliError, Exit, trouble_in

if TYPE_CHECKING:
    from cli.clients.stack import Stack

_PANEL = "Which stack"
StackName = Annotated[
    str | None,
    typer.Option("--stack", help="The stack's name. (default: as given before the command)", rich_help_panel=_PANEL),
]
RootStackName = Annotated[
    str | None,
    # Only here from the environment: below, it would win over what was typed before the command.
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
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and tell how.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="How many seconds to wait at most.")]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON, and nothing else, on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def reason_in(text: str, *, most: int) -> str:
    """What was given as ``--reason``, on one line. Raises ``CliError`` if nothing is left or it is too long."""
    said = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not 0 < len(said) <= most:
        raise CliError(f"Say why in at most {most} characters: --reason.", Exit.USAGE)
    return said


class ToldGroup(TyperGroup):
    """Tells expected errors in a line on stderr, without a traceback, and exits with the documented code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as below
        """Run the program, on whatever terminal it is."""
        heed_encoding()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer brings a click of its own, without public names
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            trouble = trouble_in(error)
            if trouble is None:
                raise
            console(errors=True).print(plain(str(trouble), most=20_000), style="red", soft_wrap=True)
            raise typer.Exit(trouble.code) from error


def world_of(ctx: typer.Context) -> CliContext:
    """The world of this invocation."""
    return cast("CliContext", ctx.find_root().obj)


def stack_of(ctx: typer.Context, name: str | None, region: str | None) -> "Stack":
    """The stack this invocation is about."""
    return world_of(ctx).stack(name, region)
