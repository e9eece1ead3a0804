"""Sends events to the organization's webhooks over HTTP: each once, unsigned, and never again, as Tallyfy does."""

import json
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import requests

from sandbox.simulator.messages import Json

_SECONDS = 30.0

type Post = Callable[[str, bytes], int | None]
"""Sends a body to a URL, and returns the status of the answer; ``None`` if none came."""


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """One delivery that was made. It names its webhook by id: the URL holds a key."""

    time: datetime
    event: str
    id: str
    watcher: int
    status: int | None


@dataclass(frozen=True, slots=True)
class _Waiting:
    url: str
    body: Json
    watcher: int
    id: str


def post(url: str, body: bytes) -> int | None:
    """Send it as Tallyfy does."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Content-Type": "application/json", "User-Agent": "Tallyfy"}
        try:
            return session.post(url, body, headers=headers, timeout=_SECONDS, allow_redirects=False).status_code
        except requests.RequestException:
            return None


class WebhookDeliveries:
    """Sends in the order of the events, in a thread of its own, which ends with the process."""

    def __init__(self, clock: Callable[[], datetime], send: Post = post) -> None:
        self._clock = clock
        self._send = send
        self._waiting: queue.Queue[_Waiting] = queue.Queue()
        self._sender: threading.Thread | None = None
        self._made: list[LoggedDelivery] = []

    def enqueue(self, targets: Iterable[tuple[int, str]], thing_id: str, body: Json) -> None:
        """Send a body to each of the webhooks: pairs of id and URL."""
        for watcher, url in targets:
            self._waiting.put(_Waiting(url, body, watcher, thing_id))
            if self._sender is None:
                self._sender = threading.Thread(target=self._work, daemon=True)
                self._sender.start()

    def made(self) -> list[LoggedDelivery]:
        """List what was sent, and what came back."""
        return list(self._made)

    def clear(self) -> None:
        """Forget what was sent."""
        self._made.clear()

    def wait(self) -> None:
        """Wait until everything was sent."""
        self._waiting.join()

    def _work(self) -> None:
        while True:
            one = self._waiting.get()
            status = self._send(one.url, json.dumps(one.body).encode())
            self._made.append(LoggedDelivery(self._clock(), one.body["event"], one.id, one.watcher, status))
            self._waiting.task_done()
