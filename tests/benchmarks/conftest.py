"""Fixtures: one set of results for the whole run, and the fake services that measured processes call."""

from collections.abc import Iterator

import pytest

from sandbox.build import ROOT
from tests.benchmarks.results import Results
from tests.benchmarks.runtime import Cgroup, DutyCycle, FakeServices, throttle
from tests.benchmarks.staging import StagingFolder, stage


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    """The results. Each table is printed when it is ready, and all are saved to ``.local/bench/results.json``."""
    kept = Results()
    yield kept
    if kept.tables:
        place = ROOT / ".local" / "bench" / "results.json"
        kept.save(place)
        print(f"\nThe same as JSON: {place}")


@pytest.fixture(scope="session")
def staged() -> StagingFolder:
    """The artifacts, laid out as Lambda has them."""
    made = stage()
    made.make()
    return made


@pytest.fixture(scope="session")
def services(staged: StagingFolder) -> Iterator[FakeServices]:
    """The fake AWS and Tallyfy."""
    started = FakeServices(staged.certificates)
    yield started
    started.close()


@pytest.fixture(scope="session")
def processor() -> Iterator[Cgroup | DutyCycle]:
    """The throttle that limits a process to its share of a processor."""
    found = throttle()
    yield found
    found.close()
