"""Finds names in a policy that match no resource: an exception for a tag that nobody uses is often a typo."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import alike
from lifecycle.policy.conditions import Conditions
from lifecycle.policy.policy import Doing, Policy

type _Name = tuple[str, str]
"""The kind of a name and the name as it is compared."""


@dataclass(slots=True)
class UnmatchedNames:
    """The names in a policy that nothing has matched yet."""

    policy: Policy
    _unmatched: dict[_Name, tuple[str, str]] = field(default_factory=dict)
    """For each name, the first rule that uses it and how it is written there."""

    def __post_init__(self) -> None:
        """Collect every name of the policy."""
        for rule in self.policy.rules:
            keeps = rule.action is Doing.KEEP
            for table, excludes in ((rule.when, keeps), (rule.unless, True)):
                for mention, words in _named(table, excludes=excludes):
                    self._unmatched.setdefault(mention, (rule.name, words))

    def match(self, thing: ResourceSnapshot) -> None:
        """Remove the names that this resource matches."""
        if self._unmatched:
            for tag in thing.tags or ():
                self._unmatched.pop((_TAG, tag), None)
                self._unmatched.pop((_TAG_ALIKE, alike(tag)), None)
            for owner in thing.owners or ():
                self._unmatched.pop((_OWNER, owner), None)
            self._unmatched.pop((_TEMPLATE, thing.template_id or thing.id), None)

    def missing(self) -> tuple[str, ...]:
        """A sentence for each name that matched nothing."""
        return tuple(
            f"Rule '{rule}' names the {kind.removesuffix(_ALIKE)} '{words}', but no resource has it."
            for (kind, _), (rule, words) in self._unmatched.items()
        )


_ALIKE = " or the like"
_TAG, _OWNER, _TEMPLATE = "tag", "owner", "template"
_TAG_ALIKE = _TAG + _ALIKE


def _named(table: Conditions | None, *, excludes: bool) -> Iterator[tuple[_Name, str]]:
    """The names in a table. If it excludes, tags are compared loosely, as its condition does."""
    if table is None:
        return
    for tag in table.tags or ():
        yield ((_TAG_ALIKE, alike(tag)) if excludes else (_TAG, tag)), tag
    for template in table.templates or ():
        yield (_TEMPLATE, template), template
    for owner in table.owners or ():
        yield (_OWNER, str(owner)), str(owner)
