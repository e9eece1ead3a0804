"""What is too large for a row: plans, their reports, and the parts of a listing, as objects with keys.

An object is there whole or not at all, and a second ``put`` of a key takes the place of the first. What is large goes
by way of a file, so that no function ever holds it in memory.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfileobj
from tempfile import NamedTemporaryFile
from typing import IO, Any, Protocol

from botocore.exceptions import ClientError

from lifecycle.aws.errors import error_code, translated
from lifecycle.domain.errors import Code, Rejected, Retryable

_MOST_KEY_BYTES = 1024
_CHUNK = 1024 * 1024
_MOST_AT_ONCE = 1000
"""So many versions S3 removes in one call."""
# The checksum of the whole, also where an object travels in parts: S3 checks it on the way in, and botocore, which
# leaves out checksums of parts, on the way out.
_CHECKSUM = "CRC32"
_WHOLE = {"ChecksumAlgorithm": _CHECKSUM, "ChecksumType": "FULL_OBJECT"}


class Objects(Protocol):
    """Where objects are kept. A key is words with ``/`` between them; none of them is empty or starts with a dot."""

    def put(self, key: str, body: bytes, *, kind: str) -> None:
        """Keep something small. ``kind`` is its content type. Returns only once it is there."""

    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        """Keep a file, a piece at a time."""

    def get(self, key: str) -> bytes | None:
        """Read something small; ``None`` if there is none."""

    def fetch(self, key: str, path: Path) -> bool:
        """Bring an object into a file, a piece at a time; ``False``, and no file touched, if there is none."""

    def keys(self, prefix: str) -> list[str]:
        """Every key that starts with ``prefix``, sorted."""


class Erasable(Objects, Protocol):
    """Objects that can be erased, for whoever answers for it. What is deployed only ever adds versions."""

    def all_keys(self, prefix: str) -> list[str]:
        """As ``keys``, and those as well of which only older versions are left."""

    def erase(self, key: str, *, but_newest: bool = False) -> None:
        """Remove all versions of an object, or all but the newest; nothing if there is none.

        Raises ``Rejected`` where what is kept may not be removed yet.
        """


@dataclass(slots=True)
class MemoryObjects:
    """Objects in memory; ``kinds`` are their content types."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, body: bytes, *, kind: str) -> None:
        """See ``Objects``."""
        self.bodies[_checked(key)], self.kinds[key] = bytes(body), kind

    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        """See ``Objects``."""
        self.put(key, path.read_bytes(), kind=kind)

    def get(self, key: str) -> bytes | None:
        """See ``Objects``."""
        return self.bodies.get(_checked(key))

    def fetch(self, key: str, path: Path) -> bool:
        """See ``Objects``."""
        body = self.get(key)
        if body is None:
            return False
        with _all_or_nothing(path) as file:
            file.write(body)
        return True

    def keys(self, prefix: str) -> list[str]:
        """See ``Objects``."""
        _checked_prefix(prefix)
        return sorted(key for key in self.bodies if key.startswith(prefix))

    def all_keys(self, prefix: str) -> list[str]:
        """See ``Erasable``. There are no versions."""
        return self.keys(prefix)

    def erase(self, key: str, *, but_newest: bool = False) -> None:
        """See ``Erasable``."""
        if _checked(key) in self.bodies and not but_newest:
            del self.bodies[key], self.kinds[key]


class FolderObjects:
    """Objects as files below a folder, for a person's own machine. The content type is left to the key's ending."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def put(self, key: str, body: bytes, *, kind: str) -> None:  # noqa: ARG002 - a file has none
        """See ``Objects``."""
        path = self._path(key)
        with _on_disk("keep an object"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _all_or_nothing(path) as file:
                file.write(body)

    def put_file(self, key: str, path: Path, *, kind: str) -> None:  # noqa: ARG002 - a file has none
        """See ``Objects``."""
        kept = self._path(key)
        with path.open("rb") as source, _on_disk("keep an object"):
            kept.parent.mkdir(parents=True, exist_ok=True)
            with _all_or_nothing(kept) as file:
                copyfileobj(source, file, _CHUNK)

    def get(self, key: str) -> bytes | None:
        """See ``Objects``."""
        path = self._path(key)
        with _on_disk("read an object"):
            return path.read_bytes() if path.is_file() else None

    def fetch(self, key: str, path: Path) -> bool:
        """See ``Objects``."""
        kept = self._path(key)
        with _on_disk("read an object"):
            if not kept.is_file():
                return False
            with kept.open("rb") as source, _all_or_nothing(path) as file:
                copyfileobj(source, file, _CHUNK)
        return True

    def keys(self, prefix: str) -> list[str]:
        """See ``Objects``."""
        folder = self._root / _checked_prefix(prefix).rpartition("/")[0]
        found = []
        with _on_disk("list objects"):
            for parent, _, names in folder.walk():
                files = (parent / name for name in names if not name.startswith("."))
                found += [file.relative_to(self._root).as_posix() for file in files if not file.is_symlink()]
        return sorted(key for key in found if key.startswith(prefix))

    def all_keys(self, prefix: str) -> list[str]:
        """See ``Erasable``. There are no versions."""
        return self.keys(prefix)

    def erase(self, key: str, *, but_newest: bool = False) -> None:
        """See ``Erasable``."""
        path = self._path(key)
        with _on_disk("erase an object"):
            if path.is_file() and not but_newest:
                path.unlink()

    def _path(self, key: str) -> Path:
        path = (self._root / _checked(key)).resolve()
        if not path.is_relative_to(self._root):  # By a link that somebody put there.
            raise Rejected(Code.INVALID, "This key leads out of the folder of objects.")
        return path


class S3Objects:
    """Objects in a bucket of S3."""

    def __init__(self, client: Any, bucket: str) -> None:  # noqa: ANN401 - botocore makes its class while running
        self._client = client
        self._bucket = bucket

    def put(self, key: str, body: bytes, *, kind: str) -> None:
        """See ``Objects``."""
        with translated("store an object"):
            self._client.put_object(
                Bucket=self._bucket, Key=_checked(key), Body=body, ContentType=kind, ChecksumAlgorithm=_CHECKSUM
            )

    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        """See ``Objects``. s3transfer removes the parts of an upload that failed, or the bucket does after a day."""
        # Only here: it brings multiprocessing, and most functions that have a bucket put no file into it.
        from s3transfer.futures import NonThreadedExecutor  # noqa: PLC0415 - see above
        from s3transfer.manager import TransferManager  # noqa: PLC0415 - see above

        extra = {"ContentType": kind, **_WHOLE}
        # One part at a time: Lambda's share of the network is not worth ten parts of 8 MiB in memory.
        with (
            path.open("rb") as file,
            translated("store an object"),
            TransferManager(self._client, executor_cls=NonThreadedExecutor) as manager,
        ):
            manager.upload(file, self._bucket, _checked(key), extra_args=extra).result()

    def get(self, key: str) -> bytes | None:
        """See ``Objects``."""
        with translated("read an object"):
            found = self._find(key)
            body: bytes | None = None if found is None else found["Body"].read()
        return body

    def fetch(self, key: str, path: Path) -> bool:
        """See ``Objects``. One plain read: s3transfer asks HEAD first, whose 404 may also be the bucket's."""
        with translated("read an object"):
            found = self._find(key)
            if found is None:
                return False
            with _all_or_nothing(path) as file:
                for chunk in found["Body"].iter_chunks(_CHUNK):
                    file.write(chunk)
        return True

    def keys(self, prefix: str) -> list[str]:
        """See ``Objects``."""
        asked = {"Bucket": self._bucket, "Prefix": _checked_prefix(prefix)}
        with translated("list objects"):
            pages = self._client.get_paginator("list_objects_v2").paginate(**asked)
            return sorted(each["Key"] for page in pages for each in page.get("Contents", []))

    def all_keys(self, prefix: str) -> list[str]:
        """See ``Erasable``."""
        return sorted({each["Key"] for each in self._versions(_checked_prefix(prefix))})

    def erase(self, key: str, *, but_newest: bool = False) -> None:
        """See ``Erasable``. Markers of earlier deletes go as well."""
        versions = [
            {"Key": key, "VersionId": each["VersionId"]}
            for each in self._versions(_checked(key))
            if each["Key"] == key and not (but_newest and each["IsLatest"])
        ]
        for start in range(0, len(versions), _MOST_AT_ONCE):
            asked = {"Objects": versions[start : start + _MOST_AT_ONCE], "Quiet": True}
            with translated("erase an object"):
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=asked)
            for error in answer.get("Errors", []):
                if error.get("Code") == "AccessDenied":
                    raise Rejected(
                        Code.FORBIDDEN,
                        "AWS refused to erase an object: it is under Object Lock until its retention ends, or the "
                        "right s3:DeleteObjectVersion is missing. Who may bypass governance mode can still erase it.",
                    )
                raise Retryable(Code.UNAVAILABLE, f"AWS refused to erase an object: {error.get('Code', 'no code')}.")

    def _versions(self, prefix: str) -> list[Mapping[str, Any]]:
        with translated("list versions of objects"):
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
            kinds = ("Versions", "DeleteMarkers")
            return [each for page in pages for kind in kinds for each in page.get(kind, [])]

    def _find(self, key: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._client.get_object(
                Bucket=self._bucket, Key=_checked(key), ChecksumMode="ENABLED"
            )
        except ClientError as error:
            # Whoever may not list is told 403 instead, and that stays an error.
            if error_code(error) == "NoSuchKey":
                return None
            raise
        return found


def _checked(key: str) -> str:
    """The key, or ``Rejected``: it may have come by way of a message or a person's hands."""
    parts = key.split("/")
    if (
        not key.isprintable()
        or len(key.encode()) > _MOST_KEY_BYTES
        or any(not part or part.startswith(".") for part in parts)
    ):
        raise Rejected(Code.INVALID, "An object's key is words of printable characters, '/' between, no dot in front.")
    return key


def _checked_prefix(prefix: str) -> str:
    """The beginning of a key; it may end anywhere."""
    _checked(f"{prefix}-")
    return prefix


@contextmanager
def _all_or_nothing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes its name once all of it is written, and is gone if that fails."""
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete_on_close=False) as file:
        yield file
        file.close()
        Path(file.name).replace(path)


@contextmanager
def _on_disk(doing: str) -> Iterator[None]:
    """As ``adapters.aws.translated``, for a disk."""
    try:
        yield
    except OSError as error:
        raise Retryable(Code.UNAVAILABLE, f"The disk refused to {doing}: {error.strerror}.") from error
