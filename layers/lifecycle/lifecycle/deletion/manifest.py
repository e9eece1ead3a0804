"""The manifest of an export: each part with its size and SHA-256, and what could not be read.

The manifest is written last and read first. A part that does not agree with it is not trusted.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lifecycle.domain.capabilities import Resource
from lifecycle.domain.commands import Id, Utc, describe
from lifecycle.domain.errors import Code, Rejected

NOT_AN_UNDO = "An export is evidence, not an undo: nothing can be imported back into Tallyfy."
FILE_NAME = "manifest.json"

type Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# Only our own names: a person who downloads an export turns them into paths.
type PartName = Annotated[str, StringConstraints(pattern=r"^(files/)?[0-9a-z][0-9a-z-]{0,99}(\.[a-z]{1,8})?$")]


class _ManifestModel(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True
    )  # The ordinary worker imports this module without using it.


class ExportPart(_ManifestModel):
    """One part: a document, a list as JSON Lines, or the bytes of a file. ``kind`` says which."""

    name: PartName
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z-]{1,32}$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Erased(_ManifestModel):
    """Says that the contents were erased on a person's request. The hashes stay."""

    by: str
    at: Utc
    reason: str


class Manifest(_ManifestModel):
    """``missing`` says in sentences what could not be read, and why. An export with any is incomplete."""

    format: Literal[1] = 1
    org_id: Id
    resource: Resource
    id: Id
    name: str | None
    made_at: Utc
    intent_id: str | None = None
    parts: tuple[ExportPart, ...]
    counts: dict[str, int]
    missing: tuple[str, ...] = ()
    erased: Erased | None = None

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        twice = sorted(name for name, number in Counter(part.name for part in self.parts).items() if number > 1)
        if FILE_NAME in {part.name for part in self.parts} or twice:
            msg = "a part is listed twice, or is the manifest itself"
            raise ValueError(msg)
        return self

    @property
    def complete(self) -> bool:
        """Whether the export contains everything that Tallyfy permits to read."""
        return not self.missing and self.erased is None

    def to_json(self) -> bytes:
        """The manifest as canonical JSON: ASCII, sorted keys, no spaces, one newline at the end."""
        said = self.model_dump(mode="json")
        return f"{json.dumps(said, sort_keys=True, separators=(',', ':'), allow_nan=False)}\n".encode("ascii")

    @property
    def digest(self) -> str:
        """SHA-256 of what ``to_json`` writes."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read one. Raises ``Rejected`` saying what is wrong with it."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise Rejected(Code.INVALID, f"{FILE_NAME} is not JSON.") from None
        if not isinstance(said, dict):
            raise Rejected(Code.INVALID, f"{FILE_NAME} is not a JSON object.")
        if said.get("format") != 1:
            raise Rejected(Code.INVALID, f"{FILE_NAME} has an unknown format. This release only reads format 1.")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise Rejected(Code.INVALID, f"{FILE_NAME}: {describe(error)}") from None

    def tombstone(self, *, by: str, at: Utc, reason: str) -> Self:
        """The manifest that stays when the contents are erased. It has no names, because one could be a person's."""
        return self.model_copy(update={"name": None, "erased": Erased(by=by, at=at, reason=reason)})


def compare(manifest: Manifest, found: Mapping[str, tuple[int, str]]) -> tuple[str, ...]:
    """Compare what was found, name → (size, SHA-256), with the manifest. No sentence means that all agrees."""
    erased = manifest.erased
    said = []
    if erased is not None:
        said.append(f"Its contents were erased on {erased.at:%Y-%m-%d} by {erased.by}: {erased.reason}")
    for part in sorted(manifest.parts, key=lambda part: part.name):
        size, sha256 = found.get(part.name, (None, ""))
        if erased is not None:
            said += [f"{part.name} still exists although it was erased."] if size is not None else []
        elif size is None:
            said.append(f"{part.name} is missing.")
        elif size != part.size:
            said.append(f"{part.name} has {size} bytes instead of {part.size}.")
        elif sha256 != part.sha256:
            said.append(f"{part.name} was changed: its SHA-256 differs.")
    listed = {part.name for part in manifest.parts}
    said += [f"{name!a} is not in the manifest." for name in sorted(found) if name not in listed]
    return tuple(said)
