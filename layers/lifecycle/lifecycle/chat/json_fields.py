"""Reads JSON that a stranger may have written. Pure and total."""

import json
from collections.abc import Mapping

type Fields = Mapping[str, object]


def load(body: bytes) -> Fields | None:
    """The JSON object of a body; ``None`` if it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def at(value: object, *path: str) -> Fields:
    """The object at the end of a path; empty if there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def text(value: object, *path: str) -> str:
    """The text at the end of a path; empty if there is none."""
    *way, last = path
    found = at(value, *way).get(last)
    return found if isinstance(found, str) else ""
