"""`lifecycle local`: the embedded stack on this machine, and the demonstration."""

import os
import subprocess
import sys
import time
from typing import Annotated

import typer

from cli.ui.console import YES, as_json, console
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json

app = typer.Typer(
    no_args_is_help=True,
    help="The stack on this machine: the real template on an emulator, and a simulated Tallyfy. Loopback only.",
)
_READY_SECONDS = 600.0
_Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of the template, such as SweepMode=apply. Repeat it for more.",
    ),
]


@app.command()
def start(
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running; `lifecycle local stop` ends it.")] = False,
    set_: _Parameters = None,
) -> None:
    """Start it, and keep it running until Ctrl-C. It takes the files of layers/config as they are at that moment."""
    from sandbox import running

    parameters = _parameters(set_ or [])
    if running.running() is not None:
        raise CliError("A local stack is running. `lifecycle local show` describes it, `lifecycle local stop` ends it.")
    if detach:
        _start_detached(set_ or [])
        return
    out = console()
    with running.interruptible():
        try:
            with (
                out.status("Starting") as shown,
                running.local_stack(shown.update, state_file=running.STATE_FILE, parameters=parameters) as local,
            ):
                shown.stop()
                state = running.running()
                if state is None:
                    raise CliError(f"The emulator ended at once.\n{local.stack.log}", Exit.UNREACHABLE)
                sys.stdout.write(running.describe(state, running.utc_now()))
                out.print("\nRunning. Ctrl-C, or `lifecycle local stop` from elsewhere, ends it.")
                while local.stack.is_running():
                    time.sleep(0.3)
        except KeyboardInterrupt:
            out.print()
    out.print(YES, "Stopped; nothing is left running.")


@app.command()
def show(json_: Json = False) -> None:
    """Say again where the running stack is, with a signed curl that is fresh."""
    from sandbox import running

    state = running.running()
    if state is None:
        raise CliError("No local stack is running. `lifecycle local start` starts one.")
    if json_:
        addresses = {
            "endpoint_url": state.endpoint_url,
            "api_url": state.api_url,
            "tallyfy_base_url": state.tallyfy_base_url,
        }
        as_json(
            {
                **addresses,
                "stack_name": state.stack_name,
                "variables": running.variables(state),
                "people": list(state.people),
            }
        )
        return
    sys.stdout.write(running.describe(state, running.utc_now()))


@app.command()
def stop() -> None:
    """Stop it, whoever started it."""
    from sandbox import running

    console().print(YES, "Stopped." if running.stop() else "No local stack is running.")


@app.command()
def demo() -> None:
    """Show every promise kept, on this machine. Exit code 0 only if each outcome was seen."""
    from sandbox.demo.play import play
    from sandbox.running import interruptible

    with interruptible():
        if not play(console()):
            raise typer.Exit(Exit.NOT_DONE)


def _parameters(given: list[str]) -> dict[str, str]:
    found = dict(one.split("=", 1) for one in given if "=" in one)
    if len(found) < len(given) or "" in found:
        raise CliError("--set needs NAME=VALUE, each name once, such as --set SweepMode=apply.", Exit.USAGE)
    return found


def _start_detached(given: list[str]) -> None:
    from sandbox import running
    from sandbox.stack import ROOT

    log = ROOT / ".local" / "logs" / "local.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "cli.start", "local", "start", *(f"--set={one}" for one in given)],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        state = None
        with console().status(f"Starting; what it says is in {log}"):
            left = _READY_SECONDS
            while state is None and started.poll() is None and left > 0:
                time.sleep(0.3)
                left -= 0.3
                state = running.running()
    except KeyboardInterrupt:
        started.terminate()
        started.wait()
        raise
    if state is None:
        started.terminate()
        raise CliError(f"It did not start:\n{log.read_text(errors='replace')}", Exit.UNREACHABLE)
    sys.stdout.write(running.describe(state, running.utc_now()))
