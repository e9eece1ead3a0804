"""`lifecycle simulator`: a simulated Tallyfy on loopback."""

from pathlib import Path
from typing import Annotated

import typer

from cli.ui.errors import CliError, Exit


def simulator(
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="The port; 0 takes a free one.")] = 0,
    seed: Annotated[
        Path | None, typer.Option("--seed", exists=True, dir_okay=False, help="A JSON file with the initial state.")
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option(
            "--facts", exists=True, dir_okay=False, help="A file of `lifecycle probe`: answer as that organization did."
        ),
    ] = None,
) -> None:
    """Serve a simulated Tallyfy on loopback until Ctrl-C."""
    from pydantic import ValidationError

    from sandbox.simulator import serve

    try:
        serve(port=port, seed_file=seed, facts_file=facts)
    except (ValidationError, ValueError) as error:
        raise CliError(f"The simulator cannot read a file: {error}", Exit.USAGE) from error
    except OSError as error:
        raise CliError(f"Port {port} cannot be used: {error.strerror or error}") from error
