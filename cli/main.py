"""`lifecycle`: what an operator types. Commands import slow modules when they run, so that --help is quick."""

import sys
from typing import Annotated

import typer

from cli.clients.context import CliContext
from cli.commands.apply import apply
from cli.commands.approve import approvals, approve, reject, withdraw
from cli.commands.audit import app as audit
from cli.commands.chat import app as chat
from cli.commands.check import check
from cli.commands.dead_letters import app as dead_letters
from cli.commands.explain import explain
from cli.commands.export import app as export
from cli.commands.hold import app as hold
from cli.commands.overview import overview
from cli.commands.pause import pause, resume
from cli.commands.plan import plan, report
from cli.commands.policy import app as policy
from cli.commands.probe import probe
from cli.commands.recent import recent
from cli.commands.send import send
from cli.commands.simulator import simulator
from cli.commands.smoke import smoke
from cli.commands.source import app as source
from cli.commands.status import status
from cli.commands.sweep import app as sweep
from cli.commands.tallyfy import app as tallyfy
from cli.commands.undo import undo
from cli.commands.uninstall import uninstall
from cli.ui.errors import EXIT_CODES
from cli.ui.options import CliGroup, Region, RootStackName
from sandbox.commands import app as local

app = typer.Typer(
    cls=CliGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Archive, restore and delete in Tallyfy through a deployed stack, and handle what could not be done.",
    epilog="AWS credentials, profile and endpoint come from the usual AWS_* variables. " + EXIT_CODES,
)
for _name, _group in (
    ("audit", audit),
    ("chat", chat),
    ("dead-letters", dead_letters),
    ("export", export),
    ("hold", hold),
    ("policy", policy),
    ("source", source),
    ("sweep", sweep),
    ("tallyfy", tallyfy),
    ("local", local),
):
    app.add_typer(_group, name=_name)
for _command in (
    *(overview, recent, send, status, check, undo, explain, pause, resume),
    *(plan, report, apply, approvals, approve, withdraw, reject, probe, smoke, simulator, uninstall),
):
    app.command()(_command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"lifecycle {version('tallyfy-lifecycle')}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    stack: RootStackName = None,
    region: Region = None,
    version: Annotated[  # noqa: ARG001 - its callback does all
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    """Options before a command count for it. The same option after it wins."""
    context = ctx.obj if isinstance(ctx.obj, CliContext) else CliContext()
    context.stack_name = stack or context.stack_name
    context.region = region or context.region
    ctx.obj = context


if __name__ == "__main__":
    app()
