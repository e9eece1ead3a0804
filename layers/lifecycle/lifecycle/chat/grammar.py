"""What a line means, the same in every chat tool. Pure and total over any text.

A tool hands over plain text: its own forms of links and mentions have been resolved, see ``ChatTool.read``.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from lifecycle.domain.capabilities import Resource
from lifecycle.domain.commands import HASH_PATTERN
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.links import Link, links_in

MOST_CHARACTERS = 3000
MOST_NAME = 200
"""Of the name of a process, as in a command."""
HELP = (
    "`archive`, `restore` or `delete`, then a link, an id or a name: archives a process, brings it back, or asks "
    "others to approve its permanent deletion\n"
    "`hold` and a link or an id, then the reason: keeps it from being archived or deleted\n"
    "`status` and a link, an id, a name or a command id: how it stands\n"
    "`undo` and a command id: takes back what a command did\n"
    "`plan`: the newest plan of the nightly sweep\n"
    "`approvals`: what you may approve or reject\n"
    "`withdraw` and a hash: takes your own approval back\n"
    "`reject` and a hash, then the reason: ends a request for approval\n"
    "Write `task` or `template` in front of the link where it is not a process."
)

_ID = re.compile(r"[0-9a-fA-F]{32}")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_QUOTES = "\"'“”„‟«»\u2039\u203a\u2018\u2019\u201a\u201b"
_INVISIBLE = frozenset(
    # Marks of direction, spaces of no width and soft hyphens. What joins emoji is not among them.
    "\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff" + "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
)
_JOINER = "\u200d"
"""Joins emoji into one, so it belongs to a name."""
_INTENT = re.compile(r"int_\w+", re.ASCII)
_HASH = re.compile(HASH_PATTERN)


class Verb(StrEnum):
    """What can be asked of one thing."""

    ARCHIVE = "archive"
    RESTORE = "restore"
    DELETE = "delete"
    HOLD = "hold"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Act:
    """A verb on one thing that is known by its id."""

    verb: Verb
    resource: Resource
    id: str
    reason: str = ""
    """Why, for ``hold``."""


@dataclass(frozen=True, slots=True)
class Search:
    """A verb on processes that have to be looked for by their name. It does nothing but show what was found."""

    verb: Verb
    name: str


@dataclass(frozen=True, slots=True)
class StatusOf:
    """``status`` of one command."""

    intent_id: str


@dataclass(frozen=True, slots=True)
class UndoOf:
    """``undo`` of one command."""

    intent_id: str


@dataclass(frozen=True, slots=True)
class WithdrawalOf:
    """``withdraw``: the approval that the person gave to a request."""

    hash: str


@dataclass(frozen=True, slots=True)
class RejectionOf:
    """``reject``: a request ends for good."""

    hash: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalOf:
    """The button "approve". No line means this: it is pressed where everything that would go is shown."""

    hash: str


@dataclass(frozen=True, slots=True)
class Approvals:
    """``approvals``: what waits for the person who asks."""


@dataclass(frozen=True, slots=True)
class NewestPlan:
    """``plan``: the newest plan of the nightly sweep."""


@dataclass(frozen=True, slots=True)
class Help:
    """``help``, or nothing at all."""


type Meaning = (
    Act | Search | StatusOf | UndoOf | WithdrawalOf | RejectionOf | ApprovalOf | Approvals | NewestPlan | Help
)


def understand(text: str) -> Meaning:
    """What a line means. Raises ``Rejected`` with a sentence for the person."""
    line = plain(text)
    if len(line) > MOST_CHARACTERS:
        raise Rejected(Code.INVALID, f"A line has at most {MOST_CHARACTERS:,} characters. Nothing was done.")
    first, _, rest = line.partition(" ")
    match [first.casefold(), rest]:
        case ["" | "help", _]:
            return Help()
        case ["undo", target] if target and " " not in target:
            return UndoOf(target)
        case ["withdraw", name] if name and " " not in name:
            return WithdrawalOf(name)
        case ["reject", found] if found:
            name, _, why = found.partition(" ")
            return RejectionOf(name, why)
        case ["approvals", ""]:
            return Approvals()
        case ["plan", ""]:
            return NewestPlan()
        case ["status", target] if _INTENT.fullmatch(target):
            return StatusOf(target)
        case ["archive" | "restore" | "delete" | "hold" | "status" as verb, target] if target:
            return _of_thing(Verb(verb), target)
        case _:
            raise Rejected(Code.INVALID, "I did not understand that. `help` shows what I know.")


def plain(text: str) -> str:
    """The text on one line, with single spaces, and without characters that nobody sees."""
    composed = unicodedata.normalize("NFC", text[: 4 * MOST_CHARACTERS])
    seen = "".join(c for c in composed if c not in _INVISIBLE)
    return _SPACES.sub(" ", "".join(c if c.isprintable() or c == _JOINER else " " for c in seen)).strip()


def is_hash(text: str) -> bool:
    """Whether this can name a request for approval."""
    return _HASH.fullmatch(text) is not None


def _of_thing(verb: Verb, target: str) -> Act | Search:
    word, _, rest = target.partition(" ")
    kind = Resource.named(word.strip(_QUOTES)) if rest else None
    if kind is not None:
        target = rest
    urls = {url.rstrip(_QUOTES + ".,;:)>") for url in _URL.findall(target)}
    if urls:
        return _linked(verb, kind, target, urls)
    words = target.split(" ")
    if _ID.fullmatch(words[0]):
        return _with_reason(verb, kind or Resource.RUN, words[0].lower(), " ".join(words[1:]))
    if any(map(_ID.fullmatch, words)):
        raise Rejected(Code.INVALID, f"Name exactly one thing: a link, an id or a name. {_kinds()}")
    return _named(verb, kind, target)


def _linked(verb: Verb, kind: Resource | None, target: str, urls: set[str]) -> Act:
    # A Tallyfy link in the query of another one leads elsewhere.
    links = {link for url in urls for link in links_in(url) if url.startswith(link.url)}
    if len(urls) > 1:
        raise Rejected(Code.INVALID, "Name exactly one thing: there are several links in this line. Nothing was done.")
    if not links:
        raise Rejected(Code.INVALID, "That is no Tallyfy link with an id. Copy the address of the process in Tallyfy.")
    [link] = links
    thing, of_link = _thing_in(link)
    if kind is not None and of_link is not None and kind is not of_link:
        raise Rejected(Code.INVALID, f"The link leads to a {of_link.label}, and you wrote {kind.label}.")
    # What stands in front of the link names nothing; what stands behind it is a reason.
    return _with_reason(verb, kind or of_link or Resource.RUN, thing, _URL.split(target, maxsplit=1)[1].strip())


def _thing_in(link: Link) -> tuple[str, Resource | None]:
    if not link.ids:
        raise Rejected(Code.INVALID, "This link names no process. Open the process in Tallyfy and copy its address.")
    thing, word = link.ids[-1]
    if not word:
        # The first id of a path is the organization's.
        raise Rejected(Code.INVALID, "This link names no process, only its organization. Copy the process's address.")
    kinds = (Resource.named(form) for form in (word, word.removesuffix("s"), word.removesuffix("es")))
    return thing, next((kind for kind in kinds if kind), None)


def _with_reason(verb: Verb, kind: Resource, thing: str, rest: str) -> Act:
    rest = rest.strip(_QUOTES + " ")
    if rest and verb is not Verb.HOLD:
        raise Rejected(Code.INVALID, f"Name exactly one thing: a link, an id or a name. {_kinds()}")
    return Act(verb, kind, thing, rest[:MOST_NAME])


def _named(verb: Verb, kind: Resource | None, target: str) -> Search:
    name = target.strip(_QUOTES + " ")
    if kind is not None and kind is not Resource.RUN:
        raise Rejected(Code.INVALID, f"Only processes are found by name. Use the link or id of the {kind.label}.")
    if not name or len(name) > MOST_NAME:
        raise Rejected(Code.INVALID, f"Name one process by a link, an id, or a name of at most {MOST_NAME} characters.")
    return Search(verb, name)


def _kinds() -> str:
    return "In front of a link or an id may stand `process`, `task`, `template` or `tag`."
