import pytest

from tests.unit.cli.harness import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()
