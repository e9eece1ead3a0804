"""Ids as people give them: the id itself, or a link copied from the browser."""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cli.ui.errors import CliError, Exit

if TYPE_CHECKING:
    from lifecycle.domain.capabilities import Resource

_ID = re.compile(r"[0-9a-f]{32}")


def org_in(text: str) -> str:
    """The id of an organization.

    Raises:
        CliError: It is not an id. Nothing was asked of anybody yet.
    """
    if not _ID.fullmatch(text.strip()):
        message = f"'{_short(text.strip())}' is not the id of an organization: 32 characters of 0-9 and a-f."
        raise CliError(f"{message} Tallyfy shows it under Settings, Organization.", Exit.USAGE)
    return text.strip()


def id_in(text: str, *, org_id: str) -> str:
    """The id that was pasted. From a link it is taken only if it is the one id there besides the organization's.

    Raises:
        CliError: The text holds no id, or several.
    """
    text = text.strip()
    if _ID.fullmatch(text):
        return text
    if "://" not in text:
        raise CliError(
            f"'{_short(text)}' is not a Tallyfy id. Give 32 characters (0-9, a-f), or a link copied from the browser.",
            Exit.USAGE,
        )
    parts = urlsplit(text)
    # Older links have their path after the "#". An id in a query names something else, which makes a link ambiguous.
    segments = re.split(r"[/?&=]", f"{parts.path}/{parts.fragment}")
    named = [segment for segment in segments if _ID.fullmatch(segment)]
    found = {*named, *_ID.findall(parts.query)} - {org_id}
    if len(found) == 1 and named and named[-1] in found:
        return named[-1]
    seen = "no id" if not found else "more than one id"
    raise CliError(f"The link has {seen} in it that could be meant. Give the id itself.", Exit.USAGE)


def kind_in(text: str, *, besides: tuple[str, ...] = ()) -> "Resource":
    """The kind of resource that a person named, such as "process" or "run".

    Raises ``CliError`` if there is none; its message also offers the words ``besides``.
    """
    from lifecycle.domain.capabilities import Resource
    from lifecycle.domain.kinds import WORDS

    resource = Resource.named(text)
    if resource is None:
        words = ", ".join((*WORDS, *besides))
        raise CliError(f"'{_short(text)}' is not a kind of resource. Use one of {words}.", Exit.USAGE)
    return resource


def _short(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:60])
