"""Links to resources in Tallyfy, as people paste them."""

import re
from dataclasses import dataclass

_ID = re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{32}(?![0-9a-zA-Z])")
_TALLYFY_URL = re.compile(r"https://(?:[a-z0-9-]+\.)*tallyfy\.com/[^\s<>\"']*")


@dataclass(frozen=True, slots=True)
class Link:
    """A Tallyfy URL. ``ids`` are those in its path, from left to right, each with the word of the path before it."""

    url: str
    ids: tuple[tuple[str, str], ...]


def links_in(text: str) -> tuple[Link, ...]:
    """Every different Tallyfy URL in a text, sorted."""
    return tuple(Link(url, _ids(url)) for url in sorted(set(_TALLYFY_URL.findall(text))))


def _ids(url: str) -> tuple[tuple[str, str], ...]:
    path = url.removeprefix("https://").partition("/")[2].split("?")[0].split("#")[0]
    return tuple((found[0], _word_before(path, found.start())) for found in _ID.finditer(path))


def _word_before(path: str, at: int) -> str:
    """The segment in front of the one that begins here, such as ``process``; empty for the first of the path."""
    return path[:at].rstrip("/").rpartition("/")[2].lower()
