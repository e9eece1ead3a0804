"""Objects in memory, in a folder and in S3: stored whole or not at all, and never outside their store."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from lifecycle.aws.s3 import Erasable, FolderObjects, MemoryObjects, Objects, S3Objects
from lifecycle.domain.errors import Code, Rejected, Retryable

BUCKET = "plans-of-a-stack"
KEY = "plans/0a1b/c0ffee/plan.jsonl"
KIND = "application/x-ndjson"
PART = 8 * 1024 * 1024


@pytest.fixture(params=["memory", "folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Erasable:
    if request.param == "memory":
        return MemoryObjects()
    if request.param == "folder":
        return FolderObjects(tmp_path / "objects")
    return s3(request.getfixturevalue("aws"))


def s3(aws: boto3.Session) -> S3Objects:
    client = aws.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return S3Objects(client, BUCKET)


def versioned(aws: boto3.Session, *, locked: bool = False) -> S3Objects:
    """Like the bucket of exports: it keeps old versions, and may lock them in governance mode."""
    client = aws.client("s3")
    place = {"LocationConstraint": "eu-west-1"}
    client.create_bucket(
        Bucket=BUCKET,
        CreateBucketConfiguration=place,
        ObjectLockEnabledForBucket=locked,
    )
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    if locked:
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
        client.put_object_lock_configuration(
            Bucket=BUCKET,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )
    return S3Objects(client, BUCKET)


def versions(aws: boto3.Session, key: str) -> list[Any]:
    told = aws.client("s3").list_object_versions(Bucket=BUCKET, Prefix=key)
    every: list[Any] = [*told.get("Versions", []), *told.get("DeleteMarkers", [])]
    return [each for each in every if each["Key"] == key]


def calls(objects: S3Objects) -> list[tuple[str, dict[str, str]]]:
    """The requests to S3 from now on: each operation with its headers."""
    made: list[tuple[str, dict[str, str]]] = []

    def note(model: Any, params: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        made.append((model.name, {name.lower(): value for name, value in params["headers"].items()}))

    objects._client.meta.events.register("before-call.s3", note)
    return made


def stored(key: str) -> Any:  # noqa: ANN401 - moto's
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys[key]


class TestAnyObjects:
    @pytest.mark.parametrize("body", [b"", b"{}", "Kündigung\n".encode(), bytes(range(256)) * 100])
    def test_a_stored_object_is_read_back_unchanged(self, objects: Objects, body: bytes) -> None:
        objects.put(KEY, body, kind=KIND)
        assert objects.get(KEY) == body

    def test_an_object_that_was_never_stored_is_none(self, objects: Objects, tmp_path: Path) -> None:
        objects.put(KEY, b"one", kind=KIND)
        assert objects.get(f"{KEY}x") is None
        assert objects.get("plans/0a1b") is None
        assert objects.fetch(f"{KEY}x", tmp_path / "brought") is False
        assert list(tmp_path.glob("brought*")) == []

    def test_a_second_put_replaces_the_first(self, objects: Objects) -> None:
        objects.put(KEY, b"the first, which was longer", kind=KIND)
        objects.put(KEY, b"the second", kind=KIND)
        assert objects.get(KEY) == b"the second"
        assert objects.keys("") == [KEY]

    @pytest.mark.parametrize("size", [0, 1, 3 * PART + 17])
    def test_a_file_is_read_back_unchanged(self, objects: Objects, tmp_path: Path, size: int) -> None:
        body = (b"line of a plan\n" * (size // 15 + 1))[:size]
        (tmp_path / "plan").write_bytes(body)
        objects.put_file(KEY, tmp_path / "plan", kind=KIND)
        (tmp_path / "brought").write_bytes(b"what stood here before, and was longer" * 9)
        assert objects.fetch(KEY, tmp_path / "brought") is True
        assert (tmp_path / "brought").read_bytes() == body
        assert objects.get(KEY) == body

    def test_a_missing_object_leaves_no_file(self, objects: Objects, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            objects.put_file(KEY, tmp_path / "plan", kind=KIND)
        assert objects.keys("") == []

    def test_keys_are_listed_by_prefix_in_order(self, objects: Objects) -> None:
        for key in ("plans/b/2", "plans/b-c", "plans/a/1", "plans/bc/3", "sweeps/a/1", "plans/ü"):
            objects.put(key, b"", kind=KIND)
        assert objects.keys("plans/b") == ["plans/b-c", "plans/b/2", "plans/bc/3"]
        assert objects.keys("plans/b/") == ["plans/b/2"]
        assert objects.keys("plans/") == ["plans/a/1", "plans/b-c", "plans/b/2", "plans/bc/3", "plans/ü"]
        assert objects.keys("") == [*objects.keys("plans/"), "sweeps/a/1"]
        assert objects.keys("exports/") == []

    @pytest.mark.parametrize(
        "key",
        [
            *(
                "",
                "/",
                "/etc/passwd",
                "plans/",
                "plans//x",
                ".",
                "..",
                "../x",
                "plans/../../x",
                "plans/..",
                "plans/./x",
            ),
            *("plans/.x", "plans/a\x00b", "plans/a\nb", "plans/a\x7fb", "plans/a\u2028b", "plans/\ud800", "x" * 1025),
            f"{'ü' * 513}",
        ],
    )
    def test_an_unsafe_key_is_refused(self, objects: Objects, tmp_path: Path, key: str) -> None:
        (tmp_path / "plan").write_bytes(b"")
        for doing in (
            lambda: objects.put(key, b"", kind=KIND),
            lambda: objects.put_file(key, tmp_path / "plan", kind=KIND),
            lambda: objects.get(key),
            lambda: objects.fetch(key, tmp_path / "brought"),
        ):
            with pytest.raises(Rejected) as refusal:
                doing()
            assert refusal.value.code is Code.INVALID
        assert sorted(tmp_path.rglob("*")) == [tmp_path / "plan"]

    @pytest.mark.parametrize("prefix", ["/", "/etc", "..", "../", "plans/../", "plans//", "plans/.", "plans/\n"])
    def test_an_unsafe_prefix_is_refused(self, objects: Objects, prefix: str) -> None:
        with pytest.raises(Rejected):
            objects.keys(prefix)

    @pytest.mark.parametrize("key", ["x" * 255, "plans/0a1b/2026-06-15T04:10:00Z/page 1.json", "a..b/c."])
    def test_a_safe_key_is_accepted(self, objects: Objects, key: str) -> None:
        objects.put(key, b"one", kind=KIND)
        assert objects.keys("") == [key]


class TestErasing:
    def test_erasing_removes_that_object_only(self, objects: Erasable) -> None:
        for key in (KEY, f"{KEY}x", "plans/0a1b/c0ffee/plan", "plans/0a1b/other"):
            objects.put(key, b"one", kind=KIND)
        objects.erase(KEY)
        assert objects.get(KEY) is None
        assert objects.all_keys("") == objects.keys("") == ["plans/0a1b/c0ffee/plan", f"{KEY}x", "plans/0a1b/other"]
        objects.put(KEY, b"again", kind=KIND)
        assert objects.get(KEY) == b"again"

    def test_erasing_a_missing_object_is_fine(self, objects: Erasable) -> None:
        objects.erase(KEY)
        objects.erase(KEY, but_newest=True)
        assert objects.all_keys("") == []

    def test_the_newest_version_can_be_kept(self, objects: Erasable) -> None:
        for body in (b"first", b"second", b"third"):
            objects.put(KEY, body, kind=KIND)
        objects.erase(KEY, but_newest=True)
        assert objects.get(KEY) == b"third"

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "plans/../x", "plans/", "plans/.x"])
    def test_erasing_an_unsafe_key_is_refused(self, objects: Erasable, tmp_path: Path, key: str) -> None:
        objects.put(KEY, b"one", kind=KIND)
        (tmp_path / "x").write_bytes(b"not an object")
        with pytest.raises(Rejected):
            objects.erase(key)
        assert objects.keys("") == [KEY]
        assert (tmp_path / "x").exists()


class TestFolder:
    def test_a_symbolic_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"not yours")
        root = tmp_path / "objects"
        root.mkdir()
        (root / "file").symlink_to(tmp_path / "secret")
        (root / "folder").symlink_to(tmp_path)
        objects = FolderObjects(root)
        for key in ("file", "folder/secret"):
            with pytest.raises(Rejected, match="points outside"):
                objects.get(key)
            with pytest.raises(Rejected, match="points outside"):
                objects.put(key, b"", kind=KIND)
        assert objects.keys("") == []
        assert (tmp_path / "secret").read_bytes() == b"not yours"

    def test_a_half_written_file_is_not_listed(self, tmp_path: Path) -> None:
        objects = FolderObjects(tmp_path)
        objects.put("plans/one", b"one", kind=KIND)
        (tmp_path / "plans" / ".tmp123").write_bytes(b"hal")
        assert objects.keys("") == ["plans/one"]

    def test_a_disk_error_can_be_retried(self, tmp_path: Path) -> None:
        objects = FolderObjects(tmp_path)
        objects.put("plans", b"one", kind=KIND)
        with pytest.raises(Retryable, match="The disk could not store an object") as trouble:
            objects.put("plans/one", b"one", kind=KIND)
        assert trouble.value.code is Code.UNAVAILABLE
        assert str(tmp_path) not in trouble.value.reason


class TestMemory:
    def test_the_memory_version_keeps_content_types(self, tmp_path: Path) -> None:
        objects = MemoryObjects()
        (tmp_path / "report").write_bytes(b"<html>")
        objects.put_file("plans/a/report.html", tmp_path / "report", kind="text/html")
        assert objects.kinds == {"plans/a/report.html": "text/html"}


class TestS3:
    def test_small_and_large_objects_have_their_content_type(self, aws: boto3.Session, tmp_path: Path) -> None:
        objects = s3(aws)
        (tmp_path / "plan").write_bytes(b"x" * (PART + 1))
        objects.put("plans/small", b"x", kind="text/html")
        objects.put_file("plans/large", tmp_path / "plan", kind=KIND)
        client = aws.client("s3")
        found = [client.head_object(Bucket=BUCKET, Key=key)["ContentType"] for key in ("plans/small", "plans/large")]
        assert found == ["text/html", KIND]

    def test_a_large_file_is_uploaded_in_parts_with_a_checksum_of_the_whole(
        self, aws: boto3.Session, tmp_path: Path
    ) -> None:
        objects = s3(aws)
        made = calls(objects)
        (tmp_path / "plan").write_bytes(b"x" * (2 * PART + 1))
        objects.put_file(KEY, tmp_path / "plan", kind=KIND)
        assert [name for name, _ in made] == ["CreateMultipartUpload", *["UploadPart"] * 3, "CompleteMultipartUpload"]
        assert made[0][1]["x-amz-checksum-algorithm"] == "CRC32"
        assert {made[0][1]["x-amz-checksum-type"], made[-1][1]["x-amz-checksum-type"]} == {"FULL_OBJECT"}
        assert all(headers["x-amz-sdk-checksum-algorithm"] == "CRC32" for _, headers in made[1:-1])

    def test_a_small_object_has_a_checksum(self, aws: boto3.Session) -> None:
        objects = s3(aws)
        made = calls(objects)
        objects.put(KEY, b"{}", kind=KIND)
        assert [(name, headers["x-amz-sdk-checksum-algorithm"]) for name, headers in made] == [("PutObject", "CRC32")]

    @pytest.mark.parametrize("size", [10, PART + 10])
    def test_a_corrupted_download_is_an_error(self, aws: boto3.Session, tmp_path: Path, size: int) -> None:
        objects = s3(aws)
        (tmp_path / "plan").write_bytes(b"x" * size)
        objects.put_file(KEY, tmp_path / "plan", kind=KIND)
        whole = objects.get(KEY)
        assert whole is not None
        assert objects.fetch(KEY, tmp_path / "brought")
        stored(KEY).value = b"y" + whole[1:]
        (tmp_path / "brought").write_bytes(b"from before")
        with pytest.raises(Retryable, match="FlexibleChecksumError"):
            objects.get(KEY)
        with pytest.raises(Retryable, match="FlexibleChecksumError"):
            objects.fetch(KEY, tmp_path / "brought")
        assert (tmp_path / "brought").read_bytes() == b"from before"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["brought", "plan"]

    def test_an_interrupted_download_leaves_no_partial_file(
        self, aws: boto3.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Breaking(BytesIO):
            def read(self, amount: int | None = -1) -> bytes:
                if self.tell():
                    raise ReadTimeoutError(endpoint_url="https://private")
                return super().read(5)

        objects = s3(aws)
        monkeypatch.setattr(
            objects._client, "get_object", lambda **_: {"Body": StreamingBody(Breaking(b"x" * 10), content_length=10)}
        )
        with pytest.raises(Retryable, match="could not be reached") as trouble:
            objects.fetch(KEY, tmp_path / "brought")
        assert list(tmp_path.iterdir()) == []
        assert "private" not in trouble.value.reason

    def test_an_object_is_downloaded_in_pieces(
        self, aws: boto3.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int | None] = []

        class Watched(BytesIO):
            def read(self, amount: int | None = -1) -> bytes:
                asked.append(amount)
                return super().read(amount)

        objects = s3(aws)
        body = Watched(b"x" * (3 * PART))
        monkeypatch.setattr(
            objects._client, "get_object", lambda **_: {"Body": StreamingBody(body, content_length=3 * PART)}
        )
        assert objects.fetch(KEY, tmp_path / "brought")
        assert all(amount is not None and 0 < amount <= PART for amount in asked)

    def test_every_page_of_a_list_is_read(self, aws: boto3.Session) -> None:
        objects = s3(aws)
        client = objects._client
        client.meta.events.register(
            "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 2}
        )
        made = calls(objects)
        keys = [f"sweeps/{number:03d}" for number in range(7)]
        for key in keys:
            objects.put(key, b"", kind=KIND)
        assert objects.keys("sweeps/") == keys
        assert [name for name, _ in made].count("ListObjectsV2") == 4

    @pytest.mark.parametrize(
        "doing",
        [
            lambda objects, path: objects.put(KEY, b"", kind=KIND),
            lambda objects, path: objects.put_file(KEY, path, kind=KIND),
            lambda objects, path: objects.get(KEY),
            lambda objects, path: objects.fetch(KEY, path.with_name("brought")),
            lambda objects, path: objects.keys(""),
        ],
        ids=["put", "put_file", "get", "fetch", "keys"],
    )
    @pytest.mark.parametrize("size", [1, PART + 1])
    def test_a_missing_bucket_differs_from_a_missing_object(
        self, aws: boto3.Session, tmp_path: Path, doing: Callable[[Objects, Path], object], size: int
    ) -> None:
        (tmp_path / "plan").write_bytes(b"x" * size)
        gone = S3Objects(aws.client("s3"), "a-bucket-that-is-gone")
        with pytest.raises(Retryable, match="NoSuchBucket") as trouble:
            doing(gone, tmp_path / "plan")
        assert trouble.value.code is Code.UNAVAILABLE

    def test_an_unreachable_aws_can_be_retried(self, tmp_path: Path) -> None:
        session = boto3.Session("made-up", "made-up", region_name="eu-west-1")
        config = Config(connect_timeout=1, retries={"total_max_attempts": 1})
        objects = S3Objects(session.client("s3", endpoint_url="http://127.0.0.1:9", config=config), BUCKET)
        (tmp_path / "plan").write_bytes(b"x" * (PART + 1))
        with pytest.raises(Retryable, match="could not be reached"):
            objects.put_file(KEY, tmp_path / "plan", kind=KIND)
        with pytest.raises(Retryable, match="could not be reached"):
            objects.fetch(KEY, tmp_path / "brought")


class TestVersionsInS3:
    def test_every_version_and_every_delete_marker_is_removed(self, aws: boto3.Session) -> None:
        objects = versioned(aws)
        client = aws.client("s3")
        for body in (b"first", b"second"):
            objects.put(KEY, body, kind=KIND)
        client.delete_object(Bucket=BUCKET, Key=KEY)
        objects.put(f"{KEY}x", b"a neighbour", kind=KIND)
        assert objects.keys("") == [f"{KEY}x"]
        assert objects.all_keys("plans/0a1b/") == [KEY, f"{KEY}x"]
        assert len(versions(aws, KEY)) == 3
        objects.erase(KEY)
        assert versions(aws, KEY) == []
        assert objects.all_keys("") == [f"{KEY}x"]
        assert objects.get(f"{KEY}x") == b"a neighbour"

    def test_all_but_the_newest_version_are_removed(self, aws: boto3.Session) -> None:
        objects = versioned(aws)
        for body in (b"first", b"second", b"third"):
            objects.put(KEY, body, kind=KIND)
        objects.erase(KEY, but_newest=True)
        assert len(versions(aws, KEY)) == 1
        assert objects.get(KEY) == b"third"

    def test_more_versions_than_one_page_or_call_holds_are_removed(
        self, aws: boto3.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objects = versioned(aws)
        monkeypatch.setattr("lifecycle.aws.s3._MOST_AT_ONCE", 2)
        objects._client.meta.events.register(
            "provide-client-params.s3.ListObjectVersions", lambda params, **_: {**params, "MaxKeys": 2}
        )
        for number in range(5):
            objects.put(KEY, b"%d" % number, kind=KIND)
        made = calls(objects)
        objects.erase(KEY)
        assert versions(aws, KEY) == []
        assert [name for name, _ in made] == [*["ListObjectVersions"] * 3, *["DeleteObjects"] * 3]

    def test_a_locked_version_is_refused_and_stays(self, aws: boto3.Session) -> None:
        objects = versioned(aws, locked=True)
        objects.put(KEY, b"evidence", kind=KIND)
        with pytest.raises(Rejected, match="Object Lock until its retention ends") as refusal:
            objects.erase(KEY)
        assert refusal.value.code is Code.FORBIDDEN
        assert objects.get(KEY) == b"evidence"
        assert len(versions(aws, KEY)) == 1

    @pytest.mark.parametrize("error", ["InternalError", ""])
    def test_a_version_that_s3_did_not_remove_is_an_error(
        self, aws: boto3.Session, monkeypatch: pytest.MonkeyPatch, error: str
    ) -> None:
        objects = versioned(aws)
        objects.put(KEY, b"one", kind=KIND)
        told = {"Errors": [{"Key": KEY, "Code": error}]}
        monkeypatch.setattr(objects._client, "delete_objects", lambda **_: told)
        with pytest.raises(Retryable, match="AWS refused to erase an object"):
            objects.erase(KEY)

    def test_erasing_in_a_missing_bucket_is_an_error(self, aws: boto3.Session) -> None:
        gone = S3Objects(aws.client("s3"), "a-bucket-that-is-gone")
        with pytest.raises(Retryable, match="NoSuchBucket"):
            gone.erase(KEY)
        with pytest.raises(Retryable, match="NoSuchBucket"):
            gone.all_keys("")
