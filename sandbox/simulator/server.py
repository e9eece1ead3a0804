"""The simulator on a loopback port."""

import contextlib
import ipaddress
import socket
import struct
import threading
from pathlib import Path
from typing import Any, Final, Self, override

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from sandbox.simulator.client import SimulatorClient
from sandbox.simulator.quirks import load_facts
from sandbox.simulator.seed import load_seed
from sandbox.simulator.simulator import Simulator
from sandbox.simulator.wsgi import WsgiApp

LOOPBACK: Final = "127.0.0.1"


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @override
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing: the simulator has its own log."""

    @override
    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        """End the connection with a linger time of zero, so that closing it sends a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Server(ThreadedWSGIServer):
    daemon_threads = True

    @override
    def shutdown_request(self, request: Any) -> None:
        """Close a connection. One marked for a reset is closed without the usual shutdown."""
        lingers, _ = struct.unpack("ii", request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        if lingers:
            self.close_request(request)
        else:
            super().shutdown_request(request)


class SimulatorServer:
    """Serves a simulator over HTTP on a loopback address; port 0 takes a free one. Use it as a context manager."""

    def __init__(self, simulator: Simulator | None = None, *, host: str = LOOPBACK, port: int = 0) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            message = f"The simulator serves only loopback addresses such as 127.0.0.1, not {host}"
            raise ValueError(message)
        self.simulator = simulator or Simulator()
        self._listener = socket.create_server((host, port), backlog=128)
        self.host, self.port = host, self._listener.getsockname()[1]
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """The base URL of the API, as a client's settings expect it."""
        return f"http://{self.host}:{self.port}/api"

    def client(self) -> SimulatorClient:
        """A client of the admin interface."""
        return SimulatorClient(self.base_url)

    def start(self) -> Self:
        """Start to serve in a separate thread."""
        # Werkzeug gets a bound listener: if it bound the port itself, a taken port would end the process.
        self._server = _Server(self.host, self.port, WsgiApp(self.simulator), _Handler, fd=self._listener.fileno())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the port. Later calls find no server."""
        if self._server and self._thread:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(host: str = LOOPBACK, port: int = 0, seed_file: Path | None = None, facts_file: Path | None = None) -> None:
    """Serve until interrupted. Print what a client needs: base URL, organization and token.

    ``facts_file`` is a file that `lifecycle probe` wrote. The simulator then answers as that organization did.
    """
    simulator = Simulator(load_seed(seed_file) if seed_file else None)
    if facts_file:
        simulator.quirks = load_facts(facts_file, simulator.quirks)
    with SimulatorServer(simulator, host=host, port=port) as server:
        print(describe(server), flush=True)  # noqa: T201 - this is the output of a command
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def describe(server: SimulatorServer) -> str:
    """Describe what a client needs, for people."""
    lines = [f"base URL:     {server.base_url}", f"log:          {server.base_url}/_simulator/log"]
    for organization in server.simulator.world.organizations.values():
        lines.append(f"organization: {organization.id}  ({organization.name})")
        lines += [f"token:        {member.token}  ({member.role})" for member in organization.members.values()]
    return "\n".join(lines)
