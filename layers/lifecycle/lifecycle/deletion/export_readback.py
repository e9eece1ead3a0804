"""Reads an export back and compares it with its manifest."""

from pathlib import Path
from tempfile import TemporaryDirectory

from lifecycle.aws.s3 import Objects
from lifecycle.deletion.manifest import FILE_NAME, Manifest, compare
from lifecycle.deletion.scratch_file import measured
from lifecycle.domain.errors import Rejected


def verify(objects: Objects, folder: str, *, scratch: Path | None = None) -> tuple[Manifest | None, tuple[str, ...]]:
    """Read every part back, and say in sentences what differs from the manifest. No sentence means that all agrees."""
    body = objects.get(part_key(folder, FILE_NAME))
    if body is None:
        return None, (f"There is no {FILE_NAME}.",)
    try:
        manifest = Manifest.parse(body)
    except Rejected as error:
        return None, (error.reason,)
    prefix = part_key(folder, "")
    found = {key.removeprefix(prefix): (0, "") for key in objects.keys(prefix)}
    found.pop(FILE_NAME, None)
    with TemporaryDirectory(dir=scratch) as room:
        path = Path(room, "part")
        for part in manifest.parts:
            found.pop(part.name, None)
            if objects.fetch(part_key(folder, part.name), path):
                found[part.name] = measured(path)
    return manifest, compare(manifest, found)


def part_key(folder: str, name: str) -> str:
    """The object key of a part of the export in this folder."""
    return f"{folder}/{name}" if folder else name
