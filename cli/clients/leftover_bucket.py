"""A bucket with versions: counted, and emptied and removed. Object Lock is respected, never bypassed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cli.ui.errors import CliError
from lifecycle.aws.errors import error_code

_NO_BUCKET = "NoSuchBucket"
_NO_LOCK = "ObjectLockConfigurationNotFoundError"


@dataclass(frozen=True, slots=True)
class BucketContents:
    """How many versions and delete markers a bucket holds, and how many bytes. ``note`` names the lock."""

    versions: int
    size: int
    note: str


class LeftoverBucket:
    """One bucket, by its name."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401 - botocore makes its class while running
        self._client = client
        self._name = name

    def contents(self) -> BucketContents | None:
        """Count everything in it; ``None`` if there is no such bucket. One call for each 1,000 versions."""
        versions = size = markers = 0
        try:
            for page in self._pages():
                found = page.get("Versions", [])
                versions += len(found)
                markers += len(page.get("DeleteMarkers", []))
                size += sum(one["Size"] for one in found)
        except ClientError as error:
            if error_code(error) == _NO_BUCKET:
                return None
            raise
        notes = (self._lock(), f"{markers} delete markers" if markers else "")
        return BucketContents(versions, size, "; ".join(note for note in notes if note))

    def remove(self) -> None:
        """Remove every version and delete marker, then the bucket. One that is gone is no error.

        Raises:
            CliError: S3 refused to remove some of it. The bucket stays with that.
        """
        refused: Counter[str] = Counter()
        try:
            for page in self._pages():
                refused += Counter(self._delete(page))
            if not refused:
                self._client.delete_bucket(Bucket=self._name)
        except ClientError as error:
            if error_code(error) != _NO_BUCKET:
                raise CliError(f"AWS refused to remove {self._name}: {error}") from error
        if refused:
            codes = ", ".join(f"{code} {count}" for code, count in refused.items())
            message = f"S3 refused to remove {refused.total()} versions ({codes}), so {self._name} stays."
            lock = self._lock()
            why = (
                "Run the same command again when their retention is over."
                if lock
                else "Check your right to delete versions."
            )
            raise CliError(f"{message} {lock}. {why}" if lock else f"{message} {why}")

    def _pages(self) -> Iterator[Mapping[str, Any]]:
        found: Iterator[Mapping[str, Any]] = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._name
        )
        return found

    def _delete(self, page: Mapping[str, Any]) -> Iterator[str]:
        """Delete what a page lists; the codes of the refusals."""
        listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        keys = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in listed]
        if keys:
            answer = self._client.delete_objects(Bucket=self._name, Delete={"Objects": keys, "Quiet": True})
            yield from (error.get("Code", "no code") for error in answer.get("Errors", []))

    def _lock(self) -> str:
        try:
            found = self._client.get_object_lock_configuration(Bucket=self._name)["ObjectLockConfiguration"]
        except ClientError as error:
            if error_code(error) == _NO_LOCK:
                return ""
            raise
        kept = found.get("Rule", {}).get("DefaultRetention", {})
        return f"Object Lock: {kept.get('Mode', 'on')}, {kept.get('Days', 0)} days" if kept else "Object Lock is on"
