"""Makes a plan of what was read: evaluates each thing, writes the lines, names them by their hash, draws the report."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from pathlib import Path

from lifecycle.aws.s3 import Objects
from lifecycle.domain.capabilities import Action, Resource
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution import restored_by_person as restored_rule
from lifecycle.execution.restored_by_person import Newest
from lifecycle.holds.rules import Holds
from lifecycle.pacing.batch_budget import CALLS
from lifecycle.plans import report
from lifecycle.plans.inventory import Inventory, id_bytes
from lifecycle.plans.limits import grows, most_first, over_caps
from lifecycle.plans.pagination_check import ListingQuery, PaginationCheck
from lifecycle.plans.plan_file import Entry, Plan, PlanFooter, PlanHeader, Totals, Writer, entries
from lifecycle.plans.plan_store import key_of
from lifecycle.policy.evaluate import Decision, Mode, evaluate
from lifecycle.policy.policy import Policy
from lifecycle.policy.unmatched_names import UnmatchedNames

type NewestOn = Callable[[Sequence[ResourceSnapshot]], Mapping[tuple[Resource, str], Newest]]
"""Asks the ledger for the newest command concluded on each of up to a hundred things."""

_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTerms:
    """Under which a plan is made. ``before`` is the policy that was applied last, where it was another one.

    ``stops`` are reasons not to apply it that are known already; ``per_minute`` is the rate of calls to Tallyfy.
    """

    mode: Mode
    policy: Policy
    holds: Holds
    newest_on: NewestOn | None = None
    """``None`` where there is no ledger to ask: then nobody knows what people restored."""
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
    lists: Sequence[tuple[ListingQuery, PaginationCheck]]
    twice: int = 0

    def __iter__(self) -> Iterator[ResourceSnapshot]:
        ids: set[bytes] = set()
        for asked, census in self.lists:
            for thing in self.inventory.things(asked, census):
                name = id_bytes(thing)
                if name in ids:
                    self.twice += 1
                    continue
                ids.add(name)
                yield thing


def unseen(lists: Sequence[tuple[ListingQuery, PaginationCheck]]) -> tuple[str, ...]:
    """What could not be seen, as sentences."""
    return tuple(
        f"The list of {asked.name} did not add up, read {census.reading} times: {census.trouble}."
        for asked, census in lists
        if census.trouble
    )


def seal(
    inventory: Inventory,
    lists: Sequence[tuple[ListingQuery, PaginationCheck]],
    heading: PlanHeader,
    terms: PlanTerms,
    store: Objects,
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
    inventory: Inventory,
    lists: Sequence[tuple[ListingQuery, PaginationCheck]],
    heading: PlanHeader,
    terms: PlanTerms,
    path: Path,
) -> Plan:
    policy, writer, unmatched = terms.policy, Writer(heading, terms.policy), UnmatchedNames(terms.policy)
    seen, before = _Seen(inventory, lists), 0
    with path.open("wb") as file:
        file.write(writer.begin())
        for _, census in lists:
            writer.fail(census.unreadable)
        for entry, was_due in _decided(seen, terms, heading):
            unmatched.match(entry.thing)
            before += was_due
            file.write(writer.add(entry))
        totals = writer.totals()
        capped = over_caps(totals, policy)
        growth = grows(totals.due, before, policy) if terms.before is not None else None
        twice = (f"{seen.twice} things came twice: they moved meanwhile, or an id is not what it seems.",)
        closing = PlanFooter(
            **totals.model_dump(),
            unseen=(*heading.unseen, *(twice if seen.twice else ())),
            stops=(*terms.stops, *capped),
            capped=capped,
            person=(*terms.person, *((growth,) if growth else ())),
        )
        file.write(writer.end(closing))
    made = Plan(
        **{**heading.model_dump(), **closing.model_dump()},
        hash=writer.digest,
        mode=terms.mode,
        org_name=terms.org_name,
        notes=(*terms.notes, *policy.warnings, *_waiting(totals), *unmatched.missing()),
        per_minute=terms.per_minute,
        estimated_minutes=-(-totals.due * CALLS // terms.per_minute),
    )
    return made.model_copy(update={"notes": (*made.notes, *_backlog(made, policy))})


def _decided(things: Iterable[ResourceSnapshot], terms: PlanTerms, heading: PlanHeader) -> Iterator[tuple[Entry, bool]]:
    """Each thing with what was decided about it, and whether the policy applied before would act on it as well."""

    def judge(thing: ResourceSnapshot, policy: Policy) -> Decision:
        return evaluate(thing, policy, terms.holds, heading.made_at)

    for batch in batched(things, _AT_ONCE, strict=False):
        now = [judge(thing, terms.policy) for thing in batch]
        then = [judge(thing, terms.before).action if terms.before else None for thing in batch]
        asked = [
            thing
            for thing, decision, before in zip(batch, now, then, strict=True)
            if Action.ARCHIVE in {decision.action, before}
        ]
        newest = terms.newest_on(asked) if terms.newest_on is not None and asked else {}
        for thing, decision, before in zip(batch, now, then, strict=True):
            kept = restored_rule.by_a_person(thing, newest.get((thing.resource, thing.id)))
            if kept and decision.action is Action.ARCHIVE:
                decision = as_restored(decision, kept)  # noqa: PLW2901 - what the ledger says comes last
            yield Entry(thing, decision), before is not None and not (kept and before is Action.ARCHIVE)


def as_restored(decision: Decision, why: str) -> Decision:
    """What becomes of a decision to archive a thing that a person restored."""
    return Decision(None, restored_rule.KIND, f"{why} A sweep leaves it alone.", decision.rule)


def _backlog(plan: Plan, policy: Policy) -> Iterator[str]:
    if plan.can_begin:
        most = min(most_first(policy), plan.due)
        yield (
            f"Only caps stop this plan. If so much is meant, such as for a first sweep over a backlog, a person can "
            f"apply its oldest things: lifecycle apply {plan.hash} --first {most}. The rest stays due."
        )
