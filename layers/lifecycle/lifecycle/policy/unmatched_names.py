"""Names in a policy that fit nothing that was seen: an exception for a tag nobody uses is often a slip of the pen."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import alike
from lifecycle.policy.conditions import Conditions
from lifecycle.policy.policy import Doing, Policy

type _Mention = tuple[str, str]
"""The kind of a name and the name as it is compared."""


@dataclass(slots=True)
class Mentions:
    """What a policy names and was not met yet."""

    policy: Policy
    _missing: dict[_Mention, tuple[str, str]] = field(default_factory=dict)
    """For each mention the rule that says it first, and the words it uses."""

    def __post_init__(self) -> None:
        """Collect every name."""
        for rule in self.policy.rules:
            keeps = rule.action is Doing.KEEP
            for table, excludes in ((rule.when, keeps), (rule.unless, True)):
                for mention, words in _named(table, excludes=excludes):
                    self._missing.setdefault(mention, (rule.name, words))

    def meet(self, thing: ResourceSnapshot) -> None:
        """Cross out what this thing carries."""
        if self._missing:
            for tag in thing.tags or ():
                self._missing.pop((_TAG, tag), None)
                self._missing.pop((_TAG_ALIKE, alike(tag)), None)
            for owner in thing.owners or ():
                self._missing.pop((_OWNER, owner), None)
            self._missing.pop((_TEMPLATE, thing.template_id or thing.id), None)

    def missing(self) -> tuple[str, ...]:
        """A sentence for each name that fits nothing."""
        return tuple(
            f"Rule '{rule}' names the {kind.removesuffix(_ALIKE)} '{words}', which nothing that was seen has."
            for (kind, _), (rule, words) in self._missing.items()
        )


_ALIKE = " or the like"
_TAG, _OWNER, _TEMPLATE = "tag", "owner", "template"
_TAG_ALIKE = _TAG + _ALIKE


def _named(table: Conditions | None, *, excludes: bool) -> Iterator[tuple[_Mention, str]]:
    """What a table names. Where it excludes, tags are compared as ``decide`` does it, generously."""
    if table is None:
        return
    for tag in table.tags or ():
        yield ((_TAG_ALIKE, alike(tag)) if excludes else (_TAG, tag)), tag
    for template in table.templates or ():
        yield (_TEMPLATE, template), template
    for owner in table.owners or ():
        yield (_OWNER, str(owner)), str(owner)
