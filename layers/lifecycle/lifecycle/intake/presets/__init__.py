"""Presets: the settings behind ``scheme = "github"`` and the like. One TOML file per system, read only when it is used.

A source of ``sources.toml`` may override its preset key by key. Each file also says where the secret comes from, and
holds a mapping to start from and a signed request for the tests. ``vector.origin`` says whether the vendor published
that request or we made it from the vendor's documentation.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_FOLDER = Path(__file__).parent


class Vector(BaseModel):
    """A request that the preset must accept at ``now`` (seconds since 1970, UTC)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: str
    secret: str
    body: str
    now: int
    uri: str = ""
    key: str = ""
    """The last part of the path."""
    headers: Mapping[str, str] = {}


class Preset(BaseModel):
    """One file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    docs: str
    setup: str
    """Where the webhook is created."""
    secret: str
    """Where the secret comes from, and its form."""
    event_type: str
    delivery_id: str
    sample: str
    """A file below ``events/``."""
    caution: str = ""
    example: str
    """A table for ``sources.toml`` to start from."""
    source: Mapping[str, object]
    """The keys that the preset adds to a source."""
    vector: Vector | None = None


def preset_names() -> list[str]:
    """Return the names of all presets, in alphabetical order. Reads none of them."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@cache
def load_preset(name: str) -> Preset:
    """Read a preset. Raises ``KeyError`` if there is none of this name."""
    if name not in preset_names():
        raise KeyError(name)
    return Preset.model_validate(tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8")))


def with_preset(table: Mapping[str, object]) -> dict[str, object]:
    """The table of a source, completed with the keys of its preset. Raises ``KeyError`` if there is no such preset."""
    preset = load_preset(str(table["scheme"]))
    own = {key: value for key, value in table.items() if key != "scheme"}
    return {**_merged(preset.source, own), "preset": table["scheme"]}


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(under, value) if both else value  # type: ignore[arg-type] # both are mappings
    return merged
