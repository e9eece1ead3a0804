"""Names in a policy that fit nothing that was seen: an exception for a tag nobody uses is often a slip of the pen."""

from dataclasses import dataclass, field

from lifecycle.judgement.policy import Policy
from lifecycle.words.things import Thing


@dataclass(slots=True)
class Mentions:
    """What a policy names and was not met yet."""

    policy: Policy
    _missing: dict[tuple[str, str], str] = field(default_factory=dict)
    """Kind and name, and the rule that says it first."""

    def __post_init__(self) -> None:
        """Collect every name."""
        for rule in self.policy.rules:
            for table in (rule.when, rule.unless):
                if table is not None:
                    for kind, names in (("tag", table.tags), ("template", table.templates), ("owner", table.owners)):
                        for name in names or ():
                            self._missing.setdefault((kind, _plain(str(name))), rule.name)

    def meet(self, thing: Thing) -> None:
        """Cross out what this thing carries."""
        if self._missing:
            for tag in thing.tags or ():
                self._missing.pop(("tag", _plain(tag)), None)
            for owner in thing.owners or ():
                self._missing.pop(("owner", owner), None)
            self._missing.pop(("template", thing.template_id or thing.id), None)

    def missing(self) -> tuple[str, ...]:
        """A sentence for each name that fits nothing."""
        return tuple(
            f"Rule '{rule}' names the {kind} '{name}', which nothing that was seen has."
            for (kind, name), rule in self._missing.items()
        )


def _plain(text: str) -> str:
    return text.strip().casefold()
