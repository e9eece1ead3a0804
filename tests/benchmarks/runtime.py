"""Lambda around a measured process: a Runtime API, a processor share that follows the memory size, and two clocks."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from tests.benchmarks.staging import Certificates, StagingFolder

_FULL_PROCESSOR = 1769
"""The memory in MB with which a function has one whole processor (AWS, "Configure Lambda function memory")."""
_PERIOD = 0.02
_PATIENCE = 60.0

type Json = Any


class FunctionFailed(AssertionError):
    """The measured process failed. The message is the end of its log."""


class Throttle(Protocol):
    """Limits a process to its share of a processor during an invocation. Initialization is not throttled."""

    name: str

    def limited(self, pid: int, share: float) -> AbstractContextManager[None]:
        """Return a context in which the process gets this share of one processor."""


class Cgroup:
    """Sets the CPU quota of a cgroup (version 1 or 2) in periods of 20 ms."""

    def __init__(self, parent: Path) -> None:
        self._folder = parent / f"lifecycle-bench-{os.getpid()}"
        self._version = 2 if (parent / "cgroup.controllers").exists() else 1
        self.name = f"cgroup v{self._version}"
        self._parent = parent
        self._folder.mkdir()
        self._write(1.0)

    def _write(self, share: float) -> None:
        period = int(_PERIOD * 1_000_000)
        if self._version == 2:
            (self._folder / "cpu.max").write_text(f"{int(period * share)} {period}")
        else:
            (self._folder / "cpu.cfs_period_us").write_text(str(period))
            (self._folder / "cpu.cfs_quota_us").write_text(str(int(period * share)))

    @contextmanager
    def limited(self, pid: int, share: float) -> Iterator[None]:
        """See ``Throttle``."""
        self._write(share)
        (self._folder / "cgroup.procs").write_text(str(pid))
        try:
            yield
        finally:
            with suppress(OSError):  # The process may have ended.
                (self._parent / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Remove the group."""
        with suppress(OSError):
            self._folder.rmdir()


class DutyCycle:
    """Stops and continues the process in periods of 20 ms, where cgroups are not permitted."""

    name = "duty cycle"

    @contextmanager
    def limited(self, pid: int, share: float) -> Iterator[None]:
        """See ``Throttle``."""
        over = threading.Event()

        def pace() -> None:
            while not over.wait(_PERIOD * share):
                os.kill(pid, signal.SIGSTOP)
                over.wait(_PERIOD * (1 - share))
                os.kill(pid, signal.SIGCONT)

        pacer = threading.Thread(target=pace, daemon=True)
        if share < 1:
            pacer.start()
        try:
            yield
        finally:
            over.set()
            if share < 1:
                pacer.join()

    def close(self) -> None:
        """Do nothing: there is no group to remove."""


def throttle() -> Cgroup | DutyCycle:
    """Return a cgroup throttle where cgroups are permitted, and otherwise a duty cycle."""
    for parent in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        with suppress(OSError):
            return Cgroup(parent)
    return DutyCycle()


class FakeServices:
    """The process of ``fake_services``."""

    def __init__(self, certificates: Certificates) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.fake_services", str(certificates.chain), str(certificates.key)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._line())
        self.units: dict[str, int] = {}
        """DynamoDB's units at the last reset: ``write``, and ``half reads``."""

    def reset(self) -> dict[str, int]:
        """Empty the table, and return the number of calls since the previous reset."""
        assert self._process.stdin is not None
        self._process.stdin.write("reset\n")
        self._process.stdin.flush()
        found: dict[str, dict[str, int]] = json.loads(self._line())
        self.units = found["units"]
        return found["calls"]

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@dataclass(frozen=True, slots=True)
class Spent:
    """The time of one phase in milliseconds: wall-clock time and processor time."""

    wall: float
    cpu: float


class RuntimeApi:
    """The HTTP server that a function's process polls for events. It serves one process."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.polls: queue.Queue[float] = queue.Queue()
        self.events: queue.Queue[tuple[bytes, float]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ValueError), connection.makefile("rb") as stream:
            while line := stream.readline():
                method, path, _ = line.decode().split(" ", 2)
                headers = {}
                while header := stream.readline().strip():
                    name, _, value = header.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = _body(stream, headers)
                at = time.perf_counter()
                if method == "GET":
                    self.polls.put(at)
                    event, seconds = self.events.get()
                    connection.sendall(_next(event, seconds))
                else:
                    self.answers.put((path, body, at))
                    connection.sendall(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}")


def _body(stream: BinaryIO, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "") != "chunked":
        return stream.read(int(headers.get("content-length") or 0))
    body = b""
    while size := int(stream.readline().strip(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


def _next(event: bytes, seconds: float) -> bytes:
    deadline = int((time.time() + seconds) * 1000)
    headers = {
        "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
        "Lambda-Runtime-Deadline-Ms": str(deadline),
        "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:measured",
        "Lambda-Runtime-Trace-Id": "Root=1-6a1d8f40-0f1e2d3c4b5a69788796a5b4;Parent=53995c3f42cd8ad8;Sampled=0",
        "Content-Type": "application/json",
        "Content-Length": str(len(event)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + event


@dataclass
class FunctionProcess:
    """One cold process of a function. Use it as a context manager: on exit it kills the process without a teardown."""

    stage: StagingFolder
    task: str
    port: int
    organization: str
    wrapper: tuple[str, ...] = ()
    """A program to run the process under, such as valgrind."""
    variables: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._api = RuntimeApi()
        self._log = (self.stage.folder / "function.log").open("w+")
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [*self.wrapper, *self.stage.command()],
            env=self._environment(),
            cwd=self.stage.folder / "tasks" / self.task,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.init = Spent((self._polled() - began) * 1000, self._cpu())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._api.close()
        self._log.close()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def peak(self) -> float:
        """The peak memory of the process so far, in MiB; 0 if the system does not report it."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def invoke(self, event: Json, throttle: Throttle, share: float) -> tuple[Json, Spent]:
        """Send the process an event. Return its answer and the time that a caller waits."""
        raw = json.dumps(event).encode()
        before = self._cpu()
        with throttle.limited(self.pid, share):
            began = time.perf_counter()
            self._api.events.put((raw, float(self.stage.timeout(self.task))))
            path, body, at = self._wait(self._api.answers)
            spent = Spent((at - began) * 1000, self._cpu() - before)
            self._polled()
        if path.endswith("/error"):
            raise FunctionFailed(f"{self.task}: {body.decode()[:2000]}")
        return json.loads(body), spent

    def finish(self) -> None:
        """End the process with a signal that it handles, so that a program around it can print its results."""
        self._process.terminate()
        self._process.wait(timeout=_PATIENCE)

    def _environment(self) -> dict[str, str]:
        return {
            **self.stage.variables(self.task, self.organization),
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_LAMBDA_FUNCTION_NAME": self.task,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.stage.memory(self.task)),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "LAMBDA_TASK_ROOT": str(self.stage.folder / "tasks" / self.task),
            "_HANDLER": "app.handler",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "BENCH_PATH": self.stage.path(self.task),
            "BENCH_PORT": str(self.port),
            **self.variables,
        }

    def _polled(self) -> float:
        return self._wait(self._api.polls)

    def _wait[T](self, found: "queue.Queue[T]") -> T:
        deadline = time.monotonic() + _PATIENCE * (20 if self.wrapper else 1)
        while True:
            with suppress(queue.Empty):
                return found.get(timeout=0.5)
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._log.flush()
                self._log.seek(0)
                raise FunctionFailed(f"{self.task} ended or does not answer:\n{self._log.read()[-3000:]}")

    def _cpu(self) -> float:
        """The processor time of the process so far, in ms; 0 if the system does not report it."""
        with suppress(OSError):
            return time.clock_gettime((~self.pid << 3) | 2) * 1000  # clock_getcpuclockid(3) on Linux.
        return 0.0
