"""MiniStack as a process of its own: on loopback, in a folder of its own, and ended with all that it started."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen, TimeoutExpired, run

import requests

from sandbox.build import (
    LocalStackError,
    Tools,
    tail,
)

REGION = "eu-west-1"
ACCOUNT = "123456789012"
HOST = "127.0.0.1"
OPERATOR = "test"
"""MiniStack's name for the root user, as key and as secret."""
# Only what the template and sam ask for: deploying is twice as fast so.
_SERVICES = (
    *("apigateway", "cloudformation", "dynamodb", "events", "iam", "lambda", "logs", "monitoring"),
    *("s3", "scheduler", "secretsmanager", "sns", "sqs", "sts"),
)
_READY_SECONDS = 120
_STOP_SECONDS = 5
_PORT_TRIES = 3


class Emulator:
    """One emulator. ``directory`` holds its files and its log."""

    def __init__(self, tools: Tools, directory: Path, port: int = 0) -> None:
        self.directory = directory
        self.port = 0
        """Where it listens; 0 before the start."""
        self._tools = tools
        self._preferred = port
        self._process: Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return once it answers.

        Raises:
            LocalStackError: It did not become ready; the message has the end of its log.
        """
        private = self.directory / "tmp"
        private.mkdir(parents=True, mode=0o700)
        for attempt in range(1, _PORT_TRIES + 1):
            self.port = free_port(self._preferred if attempt == 1 else 0)
            # The log is a file: a pipe would fill up, and would tie the emulator to this process.
            with (self.directory / "ministack.log").open("wb") as log:
                self._process = Popen(
                    [str(self._tools.python), "-m", "ministack"],
                    cwd=self.directory,
                    env=self._environment(private),
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=STDOUT,
                    start_new_session=True,  # A process group of its own: functions' workers end with it.
                )
            if self._wait_until_ready():
                return
            if attempt < _PORT_TRIES and self._process.poll() is not None:
                continue  # Somebody took the port in between.
            break
        message = f"The emulator did not become ready:\n{self.log}"
        raise LocalStackError(message)

    def stop(self) -> None:
        """End it and every process that it started. Safe to call twice."""
        if self._process is not None:
            end_group(self._process.pid)
            with contextlib.suppress(TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self._process = None

    def is_running(self) -> bool:
        """Whether it is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Of its process; ``None`` where none was started."""
        return self._process.pid if self._process is not None else None

    @property
    def endpoint_url(self) -> str:
        """Where every AWS service answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        """The end of the emulator's log, where a failure in a function shows."""
        path = self.directory / "ministack.log"
        return tail(path.read_text(errors="replace")) if path.exists() else ""

    def _environment(self, private: Path) -> dict[str, str]:
        kept = ("HOME", "LANG", "LC_ALL", "SSL_CERT_FILE")
        return {key: os.environ[key] for key in kept if key in os.environ} | {
            "PATH": f"{self._tools.python_bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "BIND_HOST": HOST,  # Its own default is every interface.
            "MINISTACK_HOST": HOST,
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "SERVICES": ",".join(_SERVICES),
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "AUTH": "true",  # Each function under its own role, enforced.
            "TMPDIR": str(private),
        }

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self.is_running():
            try:
                if requests.get(f"{self.endpoint_url}/_ministack/health", timeout=1).ok:
                    return True
            except requests.RequestException:
                pass
            time.sleep(0.05)
        return False


def free_port(preferred: int = 0) -> int:
    """A port on loopback that is free now: the preferred one, if it is."""
    for wanted in (preferred, 0):
        with socket.socket() as probe:
            # As servers do: a port whose last connections are only winding down is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
    message = "No port on loopback is free"
    raise LocalStackError(message)


def end_group(pid: int) -> None:
    """End a process group we started: asked first, then made to."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, sign)
        except (ProcessLookupError, PermissionError):  # macOS answers the latter where only the dead are left.
            return
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if not _lives(pid):
                return
            time.sleep(0.05)


def _lives(group: int) -> bool:
    """Whether a process of the group still runs.

    Signal 0 would not do: it also finds the functions' workers that have ended, for as long as the process that
    inherited them does not collect them. In a container that can be forever.
    """
    listed = run(["/bin/ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=False)
    rows = (line.split() for line in listed.stdout.splitlines())
    return any(row[0] == str(group) and not row[1].startswith("Z") for row in rows if len(row) == 2)  # noqa: PLR2004
