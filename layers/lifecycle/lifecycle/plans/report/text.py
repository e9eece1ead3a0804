"""Formats values for the page. Every value from Tallyfy passes through ``plain`` first."""

import re
from datetime import datetime
from html import escape as _escape
from zoneinfo import ZoneInfo

from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.commands import ID_PATTERN

_MOST = 500
# Control characters, characters that change the direction of the text around them, and lone surrogates, which UTF-8
# cannot encode.
_UNWELCOME = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """The text, cut to a length that fits on a screen, without characters that change the text around it."""
    cut = text if len(text) <= _MOST else f"{text[:_MOST]} …"
    return _UNWELCOME.sub("\ufffd", cut)


def escape(text: str) -> str:
    """Text as HTML, for content and for attributes in double quotes."""
    return _escape(plain(text), quote=True)


def number(count: int) -> str:
    """A count as people read it."""
    return f"{count:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{number(count)} {one if count == 1 else many or plural(one)}"


def plural(noun: str) -> str:
    """The plural of a kind's name."""
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def done(action: Action) -> str:
    """The past participle of an action, such as "archived"."""
    return _DONE[action]


_DONE = {Action.ARCHIVE: "archived", Action.RESTORE: "restored", Action.DELETE: "deleted for good"}


def status_word(status: str | None) -> str:
    """Tallyfy's word for the status of a resource, in lower case; "no status" if it has none, as tags and templates."""
    word = (status or "").strip().lower()
    return "no status" if word in {"", "unknown"} else word


def link(org_id: str, resource: Resource, thing_id: str) -> str | None:
    """The URL of the resource's page in Tallyfy; ``None`` if its kind has no known page or an id is not valid."""
    page = resource.kind.page
    if page is None or not re.fullmatch(ID_PATTERN, thing_id) or not re.fullmatch(ID_PATTERN, org_id):
        return None
    return f"https://go.tallyfy.com/{org_id}/{page}/{thing_id}"


def moment(when: datetime, zone: str) -> str:
    """A moment as a time element, in the time zone that the plan counts its days in."""
    local = when.astimezone(ZoneInfo(zone))
    return f'<time datetime="{when.isoformat()}">{local.day} {local:%B %Y, %H:%M %Z}</time>'


def duration(minutes: int) -> str:
    """A number of minutes as text, such as "about 2 hours 5 minutes"."""
    if minutes < 1:
        return "less than a minute"
    hours, rest = divmod(minutes, 60)
    parts = [counted(hours, "hour")] if hours else []
    if rest:
        parts.append(counted(rest, "minute"))
    return f"about {' '.join(parts)}"
