import pytest

from tests.unit.cli.harness import CliHarness


@pytest.fixture
def desk() -> CliHarness:
    return CliHarness()
