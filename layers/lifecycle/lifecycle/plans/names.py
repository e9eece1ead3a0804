"""The names of owners and templates beside their ids in a plan's report. They decide nothing and are not in its hash.

They are read once for each plan, page by page, and each page is stored: a reading that is cut off continues.
"""

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from lifecycle.aws.s3 import Objects
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.errors import Code, LifecycleError, Throttled
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.plan_file import Names
from lifecycle.plans.plan_store import key_of
from lifecycle.tallyfy.directory import Directory, NameList, NamePage

NAMES = "names.json"
"""The name of the file beside a plan."""
_MOST_WAITS = 5
"""So often a plan waits because Tallyfy answers 429 to a list of names. After that it is made without the rest."""
_MOST_PAGES = 20
"""Pages of a list. An owner or template on a later page is shown by its id."""


class Through(Protocol):
    """Wraps a call to Tallyfy, for example to repeat it or to tell the shared rate how it went."""

    def __call__[T](self, org_id: str, call: Callable[[], T]) -> T:
        """Make it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameReader:
    """Reads the names of one organization. Pages are stored in ``folder``; ``take_turn`` waits for the rate."""

    directory: Directory
    objects: Objects
    org_id: str
    folder: str
    take_turn: Callable[[], None]
    through: Through

    def read(self, kinds: Collection[Resource]) -> Names:
        """The names that a plan of these kinds can show. Raises ``Throttled`` if the reading has to wait.

        Any other failure leaves names out: a plan never depends on them.
        """
        owners = self._names(NameList.MEMBERS) if set(kinds) - {Resource.TAG} else {}
        templates = (
            {**self._names(NameList.ARCHIVED_TEMPLATES), **self._names(NameList.TEMPLATES)}
            if Resource.RUN in kinds
            else {}
        )
        return Names(owners, templates)

    def _names(self, which: NameList) -> dict[str, str]:
        found: dict[str, str] = {}
        for number in range(1, _MOST_PAGES + 1):
            try:
                page = self._page(which, number)
            except Throttled as wait:
                if wait.code is not Code.THROTTLED or self._waits_again():
                    raise
                break
            except LifecycleError:
                break
            new = page.names.keys() - found.keys()
            found |= page.names
            # A list that ignores the number of the page repeats itself.
            if number >= page.pages or not new:
                break
        return found

    def _waits_again(self) -> bool:
        """Count one more wait for Tallyfy, unless there were enough."""
        key = f"{self.folder}/names/waits"
        waits = int(self.objects.get(key) or 0)
        if waits < _MOST_WAITS:
            self.objects.put(key, str(waits + 1).encode(), kind="text/plain")
        return waits < _MOST_WAITS

    def _page(self, which: NameList, number: int) -> NamePage:
        key = f"{self.folder}/names/{which}/{number:06d}.json"
        stored = self.objects.get(key)
        if stored is not None:
            return NamePage(**json.loads(stored))
        self.take_turn()
        page = self.through(self.org_id, partial(self.directory.page, self.org_id, which, number))
        body = json.dumps({"names": page.names, "pages": page.pages}).encode()
        self.objects.put(key, body, kind="application/json")
        return page


@dataclass(slots=True)
class UsedNames:
    """Finds which names a plan shows, so that no others are kept beside it."""

    names: Names
    _owners: set[str] = field(default_factory=set)
    _templates: set[str] = field(default_factory=set)

    def add(self, thing: ResourceSnapshot) -> None:
        """Add the names of one more resource of the plan."""
        self._owners |= self.names.owners.keys() & (thing.owners or ())
        self._templates |= self.names.templates.keys() & {thing.template_id}

    def used(self) -> Names:
        """The names of the added resources."""
        return Names(
            {number: self.names.owners[number] for number in sorted(self._owners)},
            {template: self.names.templates[template] for template in sorted(self._templates)},
        )


def store_names(objects: Objects, org_id: str, plan_hash: str, names: Names) -> None:
    """Store the names beside their plan."""
    body = json.dumps({"owners": names.owners, "templates": names.templates}).encode()
    objects.put(key_of(org_id, plan_hash, NAMES), body, kind="application/json")


def stored_names(objects: Objects, org_id: str, plan_hash: str) -> Names:
    """The names beside a plan; none for a plan that was made without them."""
    body = objects.get(key_of(org_id, plan_hash, NAMES))
    with suppress(ValueError, AttributeError, TypeError):
        found = json.loads(body or b"{}")
        return Names(*(_texts(found.get(part)) for part in ("owners", "templates")))
    return Names()


def _texts(found: object) -> dict[str, str]:
    rows = found.items() if isinstance(found, dict) else ()
    return {str(number): name for number, name in rows if isinstance(name, str)}
