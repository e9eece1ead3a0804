"""What an export's manifest says, how it is written and read, and what does not agree with it."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from lifecycle.deletion.manifest import ExportPart, Manifest, compare
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.errors import Code, Rejected
from tests.harness.builders import NOW, ORG, THING

FILE = f"files/{'0a' * 16}"


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


PARTS = (
    ExportPart(name="process.json", kind="process", size=2, sha256=sha(b"{}")),
    ExportPart(name=FILE, kind="file", size=5, sha256=sha(b"bytes")),
)
FOUND = {"process.json": (2, sha(b"{}")), FILE: (5, sha(b"bytes"))}


def manifest(**changes: Any) -> Manifest:
    said: dict[str, Any] = {
        "org_id": ORG,
        "resource": Resource.RUN,
        "id": THING,
        "name": "Kündigung 🗂",
        "made_at": NOW,
        "parts": PARTS,
        "counts": {"tasks": 2, "files": 1},
    }
    return Manifest(**{**said, **changes})


def test_a_manifest_has_one_canonical_form_and_is_read_back() -> None:
    made = manifest(intent_id="an-intent", missing=("files: one is gone.",))
    written = made.to_json()
    assert Manifest.parse(written) == made
    assert Manifest.parse(written.decode()) == made
    assert written.isascii()
    assert written.endswith(b"}\n")
    said = json.loads(written)
    assert written == f"{json.dumps(said, sort_keys=True, separators=(',', ':'))}\n".encode()
    assert said["format"] == 1
    assert said["parts"][0] == {"name": "process.json", "kind": "process", "size": 2, "sha256": sha(b"{}")}


def test_the_digest_of_a_manifest_changes_with_any_content() -> None:
    made = manifest()
    assert made.digest == sha(made.to_json())
    assert Manifest.parse(json.dumps(json.loads(made.to_json()), indent=2)).digest == made.digest
    others = [
        manifest(name="another"),
        manifest(parts=PARTS[:1]),
        manifest(missing=("x",)),
        manifest(counts={"tasks": 3, "files": 1}),
        manifest(made_at=NOW + timedelta(seconds=1)),
        manifest(parts=(PARTS[0].model_copy(update={"sha256": sha(b"other")}), PARTS[1])),
    ]
    assert len({made.digest, *(other.digest for other in others)}) == 7


def test_a_manifest_is_complete_unless_something_is_missing_or_erased() -> None:
    assert manifest().complete
    assert not manifest(missing=("files: one is gone.",)).complete
    assert not manifest().tombstone(by="ada", at=NOW, reason="asked for").complete


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "manifest.json is not JSON."),
        (b"\xff\xfe", "manifest.json is not JSON."),
        ("[" * 100_000, "manifest.json is not JSON."),
        ("[]", "manifest.json is not a JSON object."),
        ("{}", "manifest.json has an unknown format"),
        ('{"format": 2}', "manifest.json has an unknown format"),
        ('{"format": 1}', "manifest.json: org_id: this key is missing"),
    ],
)
def test_an_invalid_manifest_is_refused_with_the_reason(text: str | bytes, said: str) -> None:
    with pytest.raises(Rejected) as refusal:
        Manifest.parse(text)
    assert refusal.value.code is Code.INVALID
    assert refusal.value.reason.startswith(said)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said["parts"][0].update(size=-1),
        lambda said: said["parts"][0].update(sha256="abc"),
        lambda said: said["parts"].append(said["parts"][0]),
        lambda said: said["parts"][0].update(name="manifest.json"),
        lambda said: said.update(surprise=1),
        lambda said: said.update(id="../../etc"),
        lambda said: said.update(made_at="yesterday"),
        lambda said: said.update(parts=None),
    ],
)
def test_a_wrong_field_in_a_manifest_is_named(spoil: Callable[[dict[str, Any]], None]) -> None:
    said = json.loads(manifest().to_json())
    spoil(said)
    with pytest.raises(Rejected, match=r"^invalid: manifest\.json: "):
        Manifest.parse(json.dumps(said))


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "..", "../x", "/etc/passwd", "files/../x", "files/", "files//x", "other/x", "files/a/b", ".hidden"),
        *("files/.x", "x\n", "x\x00", "C:\\x", "a b", "A.json", "x" * 120, "files/tax return.pdf", "x.json/"),
    ],
)
def test_no_part_name_leads_out_of_its_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        ExportPart(name=name, kind="file", size=0, sha256=sha(b""))


class TestCompare:
    def test_a_matching_export_gives_no_sentence(self) -> None:
        assert compare(manifest(), FOUND) == ()

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            ({"process.json": FOUND["process.json"]}, f"{FILE} is missing."),
            ({**FOUND, FILE: (6, sha(b"bytes"))}, f"{FILE} has 6 bytes instead of 5."),
            ({**FOUND, FILE: (5, sha(b"bites"))}, f"{FILE} was changed: its SHA-256 differs."),
            ({**FOUND, "extra.json": (0, "")}, "'extra.json' is not in the manifest."),
            ({**FOUND, "a\x1b[2Jb": (0, "")}, "'a\\x1b[2Jb' is not in the manifest."),
        ],
    )
    def test_each_differing_part_has_its_own_sentence(self, found: dict[str, tuple[int, str]], said: str) -> None:
        assert compare(manifest(), found) == (said,)

    def test_every_difference_is_reported(self) -> None:
        assert len(compare(manifest(), {"other.json": (1, "")})) == 3

    def test_a_tombstone_says_who_erased_the_contents_and_when(self) -> None:
        stone = manifest().tombstone(by="ada", at=NOW, reason="asked for by the person")
        said = "Its contents were erased on 2026-06-01 by ada: asked for by the person"
        assert compare(stone, {}) == (said,)
        assert compare(stone, {FILE: FOUND[FILE]}) == (said, f"{FILE} still exists although it was erased.")
        assert stone.parts == PARTS
        assert stone.name is None
        assert Manifest.parse(stone.to_json()) == stone
