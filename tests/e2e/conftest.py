from collections.abc import Iterator

import pytest

from tests.e2e.bench import Bench, running_bench


@pytest.fixture(scope="session")
def deployed() -> Iterator[Bench]:
    with running_bench() as bench:
        yield bench


@pytest.fixture
def bench(deployed: Bench) -> Bench:
    deployed.start_over()
    return deployed
