"""From what was read to a plan: decide on each thing, write the lines, name them by their hash, draw the report."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lifecycle.adapters.objects import Objects
from lifecycle.judgement import report
from lifecycle.judgement.belts import grows, over_caps
from lifecycle.judgement.census import Asked, Census
from lifecycle.judgement.decide import Mode, decide
from lifecycle.judgement.holds import Holds
from lifecycle.judgement.mentions import Mentions
from lifecycle.judgement.plan import Closing, Entry, Heading, Plan, Totals, Writer, entries
from lifecycle.judgement.policy import Policy
from lifecycle.usecases.budget import CALLS
from lifecycle.usecases.inventory import Inventory, id_bytes
from lifecycle.words.things import Thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which a plan is made. ``before`` is the policy that was applied last, where it was another one.

    ``stops`` are reasons not to apply it that are known already; ``per_minute`` is the rate of calls to Tallyfy.
    """

    mode: Mode
    policy: Policy
    holds: Holds
    before: Policy | None = None
    org_name: str | None = None
    stops: tuple[str, ...] = ()
    person: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    per_minute: int


@dataclass(slots=True)
class _Seen:
    """Every distinct thing of all lists. An id that stands in two of them, of whatever kinds, is given once."""

    inventory: Inventory
    lists: Sequence[tuple[Asked, Census]]
    twice: int = 0

    def __iter__(self) -> Iterator[Thing]:
        ids: set[bytes] = set()
        for asked, census in self.lists:
            for thing in self.inventory.things(asked, census):
                name = id_bytes(thing)
                if name in ids:
                    self.twice += 1
                    continue
                ids.add(name)
                yield thing


def key_of(org_id: str, plan: str, name: str) -> str:
    """Where a part of a plan is kept: ``plan.jsonl``, ``plan.json`` or ``report.html``."""
    return f"plans/{org_id}/{plan}/{name}"


def unseen(lists: Sequence[tuple[Asked, Census]]) -> tuple[str, ...]:
    """What could not be seen, as sentences."""
    return tuple(
        f"The list of {asked.name} did not add up, read {census.reading} times: {census.trouble}."
        for asked, census in lists
        if census.trouble
    )


def seal(
    inventory: Inventory, lists: Sequence[tuple[Asked, Census]], heading: Heading, terms: Terms, store: Objects
) -> Plan:
    """Write the plan and its report into ``store``. The same things under the same terms give the same hash.

    ``plan.json`` is written last: a plan without it does not exist.
    """
    with tempfile.TemporaryDirectory() as scratch:
        lines, page = Path(scratch, "plan.jsonl"), Path(scratch, "report.html")
        plan = _write(inventory, lists, heading, terms, lines)
        with page.open("w", encoding="utf-8") as sheet, lines.open("rb") as written:
            sheet.writelines(report.render(plan, entries(written)))
        store.put_file(key_of(plan.org_id, plan.hash, "plan.jsonl"), lines, kind="application/jsonl")
        store.put_file(key_of(plan.org_id, plan.hash, "report.html"), page, kind="text/html; charset=utf-8")
        body = plan.model_dump_json(indent=1).encode()
        store.put(key_of(plan.org_id, plan.hash, "plan.json"), body, kind="application/json")
        return plan


def _waiting(totals: Totals) -> Iterator[str]:
    for rule in totals.rules:
        if rule.irreversible and rule.due:
            yield f"What rule '{rule.name}' does cannot be undone. It waits for a person who types the plan's hash."


def _write(
    inventory: Inventory, lists: Sequence[tuple[Asked, Census]], heading: Heading, terms: Terms, path: Path
) -> Plan:
    policy, writer, mentions = terms.policy, Writer(heading, terms.policy), Mentions(terms.policy)
    seen, before = _Seen(inventory, lists), 0
    with path.open("wb") as file:
        file.write(writer.begin())
        for _, census in lists:
            writer.fail(census.unreadable)
        for thing in seen:
            decision = decide(thing, policy, terms.holds, heading.made_at)
            mentions.meet(thing)
            if terms.before is not None:
                before += decide(thing, terms.before, terms.holds, heading.made_at).action is not None
            file.write(writer.add(Entry(thing, decision)))
        totals = writer.totals()
        growth = grows(totals.due, before, policy) if terms.before is not None else None
        twice = (f"{seen.twice} things came twice: they moved meanwhile, or an id is not what it seems.",)
        closing = Closing(
            **totals.model_dump(),
            unseen=(*heading.unseen, *(twice if seen.twice else ())),
            stops=(*terms.stops, *over_caps(totals, policy)),
            person=(*terms.person, *((growth,) if growth else ())),
        )
        file.write(writer.end(closing))
    return Plan(
        **{**heading.model_dump(), **closing.model_dump()},
        hash=writer.digest,
        mode=terms.mode,
        org_name=terms.org_name,
        notes=(*terms.notes, *_waiting(totals), *mentions.missing()),
        per_minute=terms.per_minute,
        estimated_minutes=-(-totals.due * CALLS // terms.per_minute),
    )
