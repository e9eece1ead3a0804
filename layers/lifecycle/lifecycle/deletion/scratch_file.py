"""Files on the scratch disk, hashed while they are written or read. An export is never whole in memory."""

import hashlib
import json
from pathlib import Path
from typing import IO, Self

from lifecycle.tallyfy.client import Json


class ScratchFile:
    """A scratch file of JSON lines, hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._file = self.path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, row: Json) -> None:
        """Add a line."""
        line = _line(row)
        self._hash.update(line)
        self.size += len(line)
        if self._file is not None:
            self._file.write(line)

    @property
    def sha256(self) -> str:
        """The hash of what was written."""
        return self._hash.hexdigest()


def _line(row: Json) -> bytes:
    try:
        return f"{json.dumps(row, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:  # Tallyfy's JSON can contain a lone surrogate, which UTF-8 cannot encode.
        return f"{json.dumps(row)}\n".encode()


def measured(path: Path) -> tuple[int, str]:
    """The size in bytes and the SHA-256 of a file. It is read in pieces, so it is never whole in memory."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest
