"""The Tallyfy client for tests: with the simulator in process, or with hand-written answers."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import override

import requests

from lifecycle.aws.secrets import MemorySecrets
from lifecycle.domain.capabilities import TABLE, Capability
from lifecycle.tallyfy.client import HttpTallyfy, Tokens, pooled_session
from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, Simulator, SimulatorTransport
from sandbox.simulator.messages import Response
from tests.harness.builders import NOW, PREFIX, Clock

BASE_URL = "https://tallyfy.test/api"
ORG = DefaultIds.ORGANIZATION


class Canned(SimulatorTransport):
    """Returns the given answers in order to any request on any host, and records the requests."""

    def __init__(self, answers: Sequence[Response | Exception]) -> None:
        super().__init__(Simulator())
        self.answers = list(answers)
        self.asked: list[requests.PreparedRequest] = []
        self.timeouts: list[float | tuple[float | None, float | None] | None] = []
        self.proxies: list[Mapping[str, str] | None] = []

    @override
    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        self.asked.append(request)
        self.timeouts.append(timeout)
        self.proxies.append(proxies)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return self._response(request, answer)


class Stand:
    """A client with access to everything around it."""

    def __init__(
        self,
        transport: SimulatorTransport,
        *,
        capabilities: frozenset[Capability] = frozenset(TABLE),
        time_left: Callable[[], float] = lambda: 60.0,
        base_url: str = BASE_URL,
    ) -> None:
        self.transport = transport
        self.secret = f"{PREFIX}/tokens/{ORG}"
        self.secrets = MemorySecrets({self.secret: DEFAULT_TOKEN})
        self.spent: list[str] = []
        session = pooled_session()
        session.mount("https://", transport)
        self.client = HttpTallyfy(
            session,
            base_url,
            Tokens(self.secrets, PREFIX, frozenset({ORG})),
            capabilities=capabilities,
            spend=self.spent.append,
            time_left=time_left,
        )


class SimulatorStand(Stand):
    """Return a client of the simulator."""

    def __init__(self, simulator: Simulator | None = None) -> None:
        self.simulator = simulator or Simulator(clock=Clock(NOW))
        super().__init__(SimulatorTransport(self.simulator))

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Method and path of each call that reached the simulator."""
        prefix = f"/api/organizations/{ORG}/"
        return [(call.method, call.path.removeprefix(prefix)) for call in self.simulator.log.calls]


class CannedStand(Stand):
    """Return a client of hand-written answers."""

    def __init__(
        self,
        *answers: Response | Exception,
        capabilities: frozenset[Capability] = frozenset(TABLE),
        time_left: Callable[[], float] = lambda: 60.0,
        base_url: str = BASE_URL,
    ) -> None:
        self.canned = Canned(answers)
        super().__init__(self.canned, capabilities=capabilities, time_left=time_left, base_url=base_url)


def answered(status: int, body: object = None, **headers: str) -> Response:
    """An answer with a JSON body, or with none."""
    raw = b"" if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    return Response(status, raw, {**kind, **{name.replace("_", "-"): value for name, value in headers.items()}})


def page(status: int, text: str = "<html><h1>Bad Gateway</h1></html>") -> Response:
    """An answer of the edge: HTML."""
    return Response(status, text.encode(), {"Content-Type": "text/html; charset=UTF-8"})
