"""Two policies, asked about the same things at the same time."""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cli.ui.errors import CliError, Exit
from lifecycle.domain.capabilities import Action
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution import restored_by_person
from lifecycle.holds.rules import Holds
from lifecycle.plans.pagination_check import ListingQuery, lists_of
from lifecycle.plans.plan_file import Entry, entries, header_of, open_lines
from lifecycle.policy.evaluate import Decision, evaluate
from lifecycle.policy.policy import Policy

NEWLY, NO_LONGER, OTHERWISE = "newly affected", "no longer affected", "by another action"
_SAME_ACTION, _SAME_KEPT = "affected by both", "kept by both"
_ON_HOLD = "on hold"


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A thing that the second policy treats differently."""

    thing: ResourceSnapshot
    before: Decision
    after: Decision

    @property
    def what(self) -> str:
        """In which way."""
        if self.before.action is None:
            return NEWLY
        return NO_LONGER if self.after.action is None else OTHERWISE


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two policies say of everything that was seen. ``missing`` says what a fair comparison lacks."""

    made_at: datetime
    things: int
    counts: Mapping[str, int]
    changes: tuple[RuleChange, ...]
    missing: tuple[str, ...]


def compare(path: Path, old: Policy, new: Policy) -> Comparison:
    """Ask both policies about all things of a ``plan.jsonl.gz``, at the time of that plan.

    Raises:
        CliError: The file is none.
    """
    counts = Counter[str]()
    changes: list[RuleChange] = []
    seen: set[ListingQuery] = set()
    with open_lines(path) as file:
        try:
            heading = header_of(file.readline())
            for entry in entries(file):
                seen.add(ListingQuery(entry.thing.resource, entry.thing.state))
                before, after = (_decided(entry, policy, heading.made_at) for policy in (old, new))
                if before.action is after.action:
                    counts[_SAME_KEPT if after.action is None else _SAME_ACTION] += 1
                    continue
                change = RuleChange(entry.thing, before, after)
                counts[change.what] += 1
                changes.append(change)
        except (ValueError, TypeError, AttributeError, OSError, EOFError, zlib.error) as error:
            raise CliError(f"{path.name} is not a plan.jsonl.gz of this release.", Exit.USAGE) from error
    order = (NEWLY, NO_LONGER, OTHERWISE, _SAME_ACTION, _SAME_KEPT)
    changes.sort(key=lambda change: order.index(change.what))
    named = {name: counts[name] for name in order}
    return Comparison(heading.made_at, counts.total(), named, tuple(changes), tuple(_missing(seen, old, new)))


def _decided(entry: Entry, policy: Policy, made_at: datetime) -> Decision:
    if entry.decision.kind == _ON_HOLD and not _by_tag(entry):
        return entry.decision  # By a hold that no policy sets, so none can lift it.
    found = evaluate(entry.thing, policy, Holds({}, policy.hold_tags or frozenset()), made_at)
    # What a person restored is left alone under every policy.
    return (
        entry.decision if entry.decision.kind == restored_by_person.KIND and found.action is Action.ARCHIVE else found
    )


def _by_tag(entry: Entry) -> bool:
    """Whether it was held by a hold tag, which is a policy's: whether one of its tags alone gives the same reason."""
    tags = entry.thing.tags or frozenset({entry.thing.name or "-"})
    return any(Holds({}, frozenset({tag})).on(entry.thing) == entry.decision.reason for tag in tags)


def _missing(seen: set[ListingQuery], old: Policy, new: Policy) -> Iterator[str]:
    for asked in dict.fromkeys((*lists_of(old), *lists_of(new))):
        if asked not in seen:
            yield f"The plan has seen no {asked.name}. If it did not ask for them, rules about them changed nothing."
