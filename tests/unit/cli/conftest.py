from functools import cache

import pytest
import typer.main
import typer.testing

from tests.unit.cli.harness import CliHarness

# CliRunner would build all commands of the program for each line that a test types: three quarters of its time.
setattr(typer.testing, "_get_command", cache(typer.main.get_command))  # noqa: B010 - mypy sees a private import there


@pytest.fixture
def desk() -> CliHarness:
    return CliHarness()
