"""The sizes of what is uploaded, and the processor time of the operator's command."""

import io
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sandbox.build import ROOT
from tests.benchmarks.results import Results, estimate
from tests.benchmarks.staging import StagingFolder

ROUNDS = 15
MEBIBYTE = 1024 * 1024
_START = "from cli.start import main; main()"
"""As the installed command starts."""
COMMANDS = {
    "bare python": ["-c", "pass"],
    "lifecycle --help": ["-c", _START, "--help"],
    "lifecycle policy check": ["-c", _START, "policy", "check"],
}


def _zipped(folder: Path) -> int:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                made.writestr(str(path.relative_to(folder)), path.read_bytes())
    return len(archive.getvalue())


@pytest.mark.benchmark
def test_sizes_of_the_artifacts(staged: StagingFolder, results: Results) -> None:
    built = ROOT / ".local" / "build"
    rows: list[dict[str, object]] = []
    for name in ("DependenciesX86Layer", "LifecycleLayer", "ConfigLayer", "WebhookFunction", "WorkerFunction"):
        folder = built / name
        unzipped = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        rows.append({"artifact": name, "MiB zipped": _zipped(folder) / MEBIBYTE, "MiB unzipped": unzipped / MEBIBYTE})
    results.add("Artifacts", rows)


def _processor_time(arguments: list[str]) -> float:
    """The processor time of a run of Python, in ms."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


@pytest.mark.benchmark
def test_processor_time_of_the_operators_command(results: Results) -> None:
    for arguments in COMMANDS.values():
        _processor_time(arguments)  # Writes the bytecode.
    times = [{name: _processor_time(arguments) for name, arguments in COMMANDS.items()} for _ in range(ROUNDS)]
    rows: list[dict[str, object]] = [
        {"command": name, "CPU ms": estimate([each[name] for each in times])} for name in COMMANDS
    ]
    results.add(f"The operator's command, {ROUNDS} rounds", rows)
