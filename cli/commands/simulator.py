"""`lifecycle simulator`: a simulated Tallyfy on loopback."""

from pathlib import Path
from typing import Annotated

import typer

from cli.ui.errors import CliError, Exit


def simulator(
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 takes a free one.")] = 0,
    seed: Annotated[
        Path | None, typer.Option("--seed", exists=True, dir_okay=False, help="What it holds at the start (JSON).")
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option("--facts", exists=True, dir_okay=False, help="Answer as an organization did: a file of `probe`."),
    ] = None,
) -> None:
    """Serve a simulated Tallyfy on loopback until Ctrl-C."""
    from pydantic import ValidationError

    from sandbox.simulator import serve

    try:
        serve(port=port, seed_file=seed, facts_file=facts)
    except (ValidationError, ValueError) as error:
        raise CliError(f"A file for the simulator cannot be read: {error}", Exit.USAGE) from error
    except OSError as error:
        raise CliError(f"Port {port} cannot be used: {error.strerror or error}") from error
