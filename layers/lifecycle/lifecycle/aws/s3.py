"""Objects that are too large for a row: plans, their reports and the parts of a listing.

An object is stored whole or not at all, and a second ``put`` of a key replaces the first. Large objects are copied from
and to files, so that no function holds one in memory.
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
"""The most versions that S3 removes in one call."""
# A checksum of the whole object, even for an upload in parts. S3 checks it on upload, and botocore on download;
# botocore does not check checksums of parts.
_CHECKSUM = "CRC32"
_WHOLE = {"ChecksumAlgorithm": _CHECKSUM, "ChecksumType": "FULL_OBJECT"}


class Objects(Protocol):
    """Stores objects. A key has parts with ``/`` between them; no part is empty or starts with a dot."""

    def put(self, key: str, body: bytes, *, kind: str) -> None:
        """Store a small object. ``kind`` is its content type. Returns once it is stored."""

    def put_file(self, key: str, path: Path, *, kind: str) -> None:
        """Store a file, one piece at a time."""

    def get(self, key: str) -> bytes | None:
        """Read a small object; ``None`` if it does not exist."""

    def fetch(self, key: str, path: Path) -> bool:
        """Copy an object to a file, one piece at a time. ``False``, and no file touched, if there is no object."""

    def keys(self, prefix: str) -> list[str]:
        """Every key that starts with ``prefix``, sorted."""


class Erasable(Objects, Protocol):
    """Objects that can be erased, for an operator's machine. Deployed functions only add versions."""

    def all_keys(self, prefix: str) -> list[str]:
        """As ``keys``, with the keys of which only older versions are left."""

    def erase(self, key: str, *, but_newest: bool = False) -> None:
        """Remove all versions of an object, or all but the newest. Without the object, do nothing.

        Raises ``Rejected`` if a retention lock or a missing right prevents it.
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
    """Objects as files below a folder, for a local machine. The ending of the key implies the content type."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def put(self, key: str, body: bytes, *, kind: str) -> None:  # noqa: ARG002 - a file has none
        """See ``Objects``."""
        path = self._path(key)
        with _on_disk("store an object"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _all_or_nothing(path) as file:
                file.write(body)

    def put_file(self, key: str, path: Path, *, kind: str) -> None:  # noqa: ARG002 - a file has none
        """See ``Objects``."""
        kept = self._path(key)
        with path.open("rb") as source, _on_disk("store an object"):
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
        if not path.is_relative_to(self._root):  # A symbolic link can lead elsewhere.
            raise Rejected(
                Code.INVALID,
                "The object key points outside the folder of objects. Remove the symbolic link in that folder.",
            )
        return path


class S3Objects:
    """Objects in an S3 bucket."""

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
        """See ``Objects``. s3transfer removes the parts of a failed upload, or the bucket does after a day."""
        # Imported here: it loads multiprocessing, and most functions never store a file.
        from s3transfer.futures import NonThreadedExecutor  # noqa: PLC0415 - see above
        from s3transfer.manager import TransferManager  # noqa: PLC0415 - see above

        extra = {"ContentType": kind, **_WHOLE}
        # One part at a time: Lambda's network does not justify ten parts of 8 MiB in memory.
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
        """See ``Objects``. One plain read: s3transfer sends HEAD first, and its 404 can also mean a missing bucket."""
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
        """See ``Erasable``. Delete markers are removed as well."""
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
                        "right s3:DeleteObjectVersion is missing. Whoever may bypass governance mode can erase it.",
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
            # Without the right to list, S3 answers 403 instead, which stays an error.
            if error_code(error) == "NoSuchKey":
                return None
            raise
        return found


def _checked(key: str) -> str:
    """The checked key. Raises ``Rejected``, because a key can come from a message or from a person."""
    parts = key.split("/")
    if (
        not key.isprintable()
        or len(key.encode()) > _MOST_KEY_BYTES
        or any(not part or part.startswith(".") for part in parts)
    ):
        raise Rejected(
            Code.INVALID,
            "An object key has parts of printable characters with '/' between them; no part starts with a dot.",
        )
    return key


def _checked_prefix(prefix: str) -> str:
    """The checked beginning of a key; it may end inside a part."""
    _checked(f"{prefix}-")
    return prefix


@contextmanager
def _all_or_nothing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that gets its name once it is complete, and is removed if writing fails."""
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete_on_close=False) as file:
        yield file
        file.close()
        Path(file.name).replace(path)


@contextmanager
def _on_disk(doing: str) -> Iterator[None]:
    """As ``lifecycle.aws.errors.translated``, for a disk."""
    try:
        yield
    except OSError as error:
        raise Retryable(Code.UNAVAILABLE, f"The disk could not {doing}: {error.strerror}.") from error
