"""Which holds apply to a resource: by its id, its template, its owner, or a tag that it carries.

A held resource is never archived or deleted. If Tallyfy does not show a fact that a hold depends on, the resource
counts as held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from unicodedata import normalize

from lifecycle.domain.capabilities import Resource
from lifecycle.domain.resources import ResourceSnapshot

TEMPLATE = f"{Resource.TEMPLATE}#"
OWNER = "owner#"
"""Not a kind of resource: a hold on everything that a user owns."""


@dataclass(frozen=True, slots=True)
class Holds:
    """The holds of one organization. ``by_key`` maps a key, see ``keys_of``, to the reason; ``tags`` are hold tags."""

    by_key: Mapping[str, str]
    tags: frozenset[str] = frozenset()

    def on(self, thing: ResourceSnapshot) -> str | None:
        """Why the resource is held, as a sentence; ``None`` if it is not."""
        for key in _known_keys(thing):
            if key in self.by_key:
                return _because(key, thing, self.by_key[key])
        if _template_unknown(thing) and self._any(TEMPLATE):
            return "Some templates are on hold, and Tallyfy does not show its template."
        if _owner_unknown(thing) and self._any(OWNER):
            return "Some owners are on hold, and Tallyfy does not show its owners."
        return self._by_tag(thing)

    def _by_tag(self, thing: ResourceSnapshot) -> str | None:
        wanted = {alike(tag) for tag in self.tags}
        if not wanted:
            return None
        if thing.resource is Resource.TAG:
            own = alike(thing.name or "")
            return "It is a hold tag itself." if not own or own in wanted else None
        if thing.tags is None:
            return "Tallyfy does not show its tags, and one may be a hold tag."
        carried = sorted(tag for tag in thing.tags if alike(tag) in wanted)
        return f"It carries the hold tag '{carried[0]}'." if carried else None

    def _any(self, prefix: str) -> bool:
        return any(key.startswith(prefix) for key in self.by_key)


def keys_of(thing: ResourceSnapshot) -> tuple[str, ...] | None:
    """The keys of every hold that could apply; ``None`` if they depend on a fact that Tallyfy does not show."""
    return None if _template_unknown(thing) or _owner_unknown(thing) else _known_keys(thing)


def alike(text: str) -> str:
    """A name for a comparison in which a match keeps a resource: case, outer blanks and Unicode form are ignored."""
    return normalize("NFC", text).strip().casefold()


def _known_keys(thing: ResourceSnapshot) -> tuple[str, ...]:
    keys = [f"{thing.resource}#{thing.id}"]
    if thing.resource.shows("template_id") and thing.template_id is not None:
        keys.append(f"{TEMPLATE}{thing.template_id}")
    keys.extend(f"{OWNER}{owner}" for owner in sorted(thing.owners or ()))
    return tuple(keys)


def _template_unknown(thing: ResourceSnapshot) -> bool:
    return thing.resource.shows("template_id") and thing.template_id is None


def _owner_unknown(thing: ResourceSnapshot) -> bool:
    return thing.resource.shows("owners") and thing.owners is None


def _because(key: str, thing: ResourceSnapshot, reason: str) -> str:
    if key.startswith(OWNER):
        return f"Everything that its owner {key.removeprefix(OWNER)} owns is on hold: {reason}"
    if key.startswith(TEMPLATE) and thing.resource is not Resource.TEMPLATE:
        return f"All processes of its template are on hold: {reason}"
    return f"It is on hold: {reason}"
