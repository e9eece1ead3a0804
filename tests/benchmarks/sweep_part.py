"""One part of a sweep, measured in a process that has imported little else."""

import json
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.property.large_dataset import Cost, read_all, send_all


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a sweep: its cost, its processor time in seconds, and the most bytes of its scratch files."""

    cost: Cost
    processor: float
    scratch: int


def size_of(folder: Path, pattern: str = "**/*") -> int:
    """The bytes of the files in a folder that have such a path, while files come and go."""
    found = 0
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            found += path.stat().st_size if path.is_file() else 0
    return found


def measured(folder: Path, count: int, plan: str = "") -> Part:
    """Plan over so many things, or apply the plan. Runs in a process of its own."""
    scratch, over, most = folder / "tmp", threading.Event(), 0
    scratch.mkdir(exist_ok=True)
    tempfile.tempdir = str(scratch)

    def watch() -> None:
        nonlocal most
        while not over.wait(0.05):
            most = max(most, size_of(scratch))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        began = time.process_time()
        objects = folder / "objects"
        cost = send_all(count, objects, plan) if plan else read_all(count, objects, kills=0)
        return Part(cost, time.process_time() - began, most)
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    print(json.dumps(asdict(measured(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))))
