from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, Simulator, SimulatorServer, SimulatorTransport

BASE_URL = "https://tallyfy.test/api"


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class TallyfyCaller:
    """A caller of the simulator. Paths are relative to the organization."""

    def __init__(self, base_url: str, session: requests.Session, token: str = DEFAULT_TOKEN) -> None:
        self.root = base_url
        self.session = session
        self.session.trust_env = False
        self.session.headers.update(
            {"Authorization": f"Bearer {token}", "Accept": "application/json", "X-Tallyfy-Client": "APIClient"}
        )

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.root}/organizations/{DefaultIds.ORGANIZATION}{path}", **options)

    def read(self, path: str, **query: str | int) -> Any:  # noqa: ANN401 - JSON of any shape
        response = self("GET", path, params=query)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def ids(self, path: str, **query: str | int) -> set[str]:
        return {row["id"] for row in self.read(path, **query)}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> Simulator:
    return Simulator(clock=clock)


@pytest.fixture
def session(simulator: Simulator) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("https://tallyfy.test", SimulatorTransport(simulator))
        yield session


@pytest.fixture
def tallyfy(session: requests.Session) -> TallyfyCaller:
    return TallyfyCaller(BASE_URL, session)


@pytest.fixture
def server(simulator: Simulator) -> Iterator[SimulatorServer]:
    with SimulatorServer(simulator) as server:
        yield server


@pytest.fixture(params=["in process", "http"])
def either(request: pytest.FixtureRequest) -> Iterator[TallyfyCaller]:
    """A caller in process and one over HTTP, for behaviour that must be the same in both."""
    if request.param == "in process":
        yield request.getfixturevalue("tallyfy")
        return
    served: SimulatorServer = request.getfixturevalue("server")
    with requests.Session() as session:
        yield TallyfyCaller(served.base_url, session)
