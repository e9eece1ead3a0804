"""Builds the template with the real `sam build`, and only when something it reads has changed."""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT, TimeoutExpired, run

from lifecycle.approvals.people import People
from lifecycle.domain.errors import Rejected
from lifecycle.intake.sources import Sources
from lifecycle.notices.file import Notices
from lifecycle.policy.policy import Policy

ROOT = Path(__file__).resolve().parents[1]
_TAIL_LINES = 40
_BUILD_SECONDS = 300


class LocalStackError(RuntimeError):
    """The embedded stack cannot go on; the message says why, with the end of the tool's own output."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs the embedded stack is made with; by default those of `make setup`."""

    sam: Path = ROOT / ".local" / "sam" / "bin" / "sam"
    python_bin: Path = ROOT / ".local" / "dev" / "bin"
    """The folder of a `python3.13` that has pip (for the layers) and MiniStack (for the emulator)."""

    @property
    def python(self) -> Path:
        """The interpreter that runs the emulator, and in it the functions."""
        return self.python_bin / "python"

    def check(self) -> None:
        """Raise if a program is missing, rather than fail halfway.

        Raises:
            LocalStackError: A program is not where it should be.
        """
        for program in (self.sam, self.python):
            if not program.exists():
                message = f"{program} is missing; `make setup` makes it"
                raise LocalStackError(message)


@dataclass(frozen=True, slots=True)
class Build:
    """What a build reads, and where it puts the result."""

    root: Path = ROOT
    host_layers: bool = sys.platform != "linux"
    """Whether compiled dependencies are this machine's. Lambda's are for Linux, and a Mac cannot import them."""

    @property
    def directory(self) -> Path:
        """The build folder: what a deploy to AWS may take, or one beside it that only this machine can run."""
        return self.root / ".local" / ("build-host" if self.host_layers else "build")

    @property
    def template(self) -> Path:
        """The built template, which a deploy takes."""
        return self.directory / "template.yaml"

    @property
    def _stamp(self) -> Path:
        return self.directory.with_suffix(".inputs.json")

    def _inputs(self) -> Iterator[Path]:
        yield self.root / "template.yaml"
        for room in ("functions", "layers"):
            for path in sorted((self.root / room).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield path

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in self._inputs():
            digest.update(f"{path.relative_to(self.root)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _state(self, inputs: str) -> dict[str, str | int]:
        # The built template's time tells of another build since, by `make build` or by hand.
        return {"inputs": inputs, "built": self.template.stat().st_mtime_ns}

    def is_fresh(self) -> bool:
        """Whether the last build was made from exactly what is there now."""
        if not (self._stamp.is_file() and self.template.is_file()):
            return False
        try:
            return bool(json.loads(self._stamp.read_text()) == self._state(self._fingerprint()))
        except ValueError:
            return False

    def ensure(self, tools: Tools, on_step: Callable[[str], None] = lambda _: None) -> None:
        """Build unless the last build is fresh. Another process that builds the same folder is waited for.

        Raises:
            LocalStackError: `sam build` failed, or what an operator edits is wrong.
        """
        lock = self.directory.with_suffix(".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if self.is_fresh():
                on_step("The build is up to date")
                return
            tools.check()
            check_operators_files(self.root / "layers" / "config")
            on_step("Building functions and layers")
            self._run(tools)

    def _run(self, tools: Tools) -> None:
        inputs = self._fingerprint()  # Before the build: a change while it runs makes it stale.
        environment = sam_environment(self.root, tools)
        if self.host_layers:
            environment["LAYERS_FOR"] = "host"
        run_sam(
            [
                *(str(tools.sam), "build", "--template", "template.yaml", "--build-dir", str(self.directory)),
                *("--cached", "--cache-dir", str(self.root / ".local" / "cache" / f"sam-{self.directory.name}")),
            ],
            cwd=self.root,
            environment=environment,
            seconds=_BUILD_SECONDS,
        )
        self._stamp.write_text(json.dumps(self._state(inputs)))


def check_operators_files(folder: Path) -> None:
    """Read what an operator edits as the functions will: a mistake is cheaper here than at the first sender's call.

    Raises:
        LocalStackError: A file is missing or wrong; the message names the key and says what to write instead.
    """
    for model in (Sources, People, Policy, Notices):
        path = folder / model.file_name
        try:
            model.parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            message = f"{path} cannot be read: {error}"
            raise LocalStackError(message) from error
        except Rejected as error:
            message = f"{path} is wrong, so nothing was built. {error.reason}"
            raise LocalStackError(message) from error


def sam_environment(root: Path, tools: Tools) -> dict[str, str]:
    """The environment for sam: nothing of the caller's AWS account, nothing reported, nothing written at home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "SAM_CLI_", "PYTHON"))}
    return kept | {
        "PATH": f"{tools.python_bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS": "1",  # The template has loops (Fn::ForEach).
        "__SAM_CLI_APP_DIR": str(root / ".local" / "cache" / "sam-cli"),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


def run_sam(arguments: list[str], *, cwd: Path, environment: dict[str, str], seconds: float) -> str:
    """Run sam and return what it said.

    Raises:
        LocalStackError: It failed, or took longer than `seconds`.
    """
    what = f"sam {arguments[1]}"
    try:
        done = run(
            arguments, cwd=cwd, env=environment, stdout=PIPE, stderr=STDOUT, text=True, timeout=seconds, check=False
        )
    except TimeoutExpired as error:
        message = f"{what} took longer than {seconds:g} seconds"
        raise LocalStackError(message) from error
    if done.returncode:
        message = f"{what} failed with exit code {done.returncode}:\n{tail(done.stdout)}"
        raise LocalStackError(message)
    return done.stdout


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines of a program's output, where its reason stands."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


if __name__ == "__main__":
    try:
        Build(host_layers=False).ensure(Tools(), on_step=print)
    except LocalStackError as problem:
        sys.exit(str(problem))
