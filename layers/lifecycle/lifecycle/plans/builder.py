"""Makes a plan from the lists: decides on each resource, writes and hashes the lines, and writes the report."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from lifecycle.plans.names import UsedNames, store_names
from lifecycle.plans.pagination_check import ListingQuery, PaginationCheck
from lifecycle.plans.plan_file import (
    LINES,
    Entry,
    Names,
    Plan,
    PlanFooter,
    PlanHeader,
    PlanWriter,
    Totals,
    entries,
    open_lines,
    write_lines,
)
from lifecycle.plans.plan_store import key_of
from lifecycle.plans.warning_marks import WARNINGS, MarkWriter, store_marks
from lifecycle.policy.evaluate import Decision, Mode, evaluate
from lifecycle.policy.policy import Policy
from lifecycle.policy.unmatched_names import UnmatchedNames
from lifecycle.policy.warnings import WarnFirst

type NewestOn = Callable[[Sequence[ResourceSnapshot]], Mapping[tuple[Resource, str], Newest]]
"""Asks the ledger for the newest command concluded on each of up to a hundred resources."""
type ReadList = tuple[ListingQuery, PaginationCheck]
"""A list of Tallyfy and how far it was read."""

_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTerms:
    """The terms of a plan. ``before`` is the policy that was applied last, if it was another one.

    ``stops`` are known reasons not to apply the plan. ``per_minute`` is the rate of calls to Tallyfy.
    """

    mode: Mode
    policy: Policy
    holds: Holds
    warn_first: WarnFirst
    newest_on: NewestOn | None = None
    """``None`` without a ledger: then the plan does not know what people restored."""
    before: Policy | None = None
    org_name: str | None = None
    stops: tuple[str, ...] = ()
    person: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    names: Names = field(default_factory=Names)
    """For the report only."""
    per_minute: int


@dataclass(slots=True)
class _DistinctThings:
    """Every resource of all lists, each id once. An id in two lists, of any kinds, counts as a duplicate."""

    inventory: Inventory
    lists: Sequence[ReadList]
    twice: int = 0

    def __iter__(self) -> Iterator[ResourceSnapshot]:
        ids: set[bytes] = set()
        for query, check in self.lists:
            for thing in self.inventory.things(query, check):
                key = id_bytes(thing.id)
                if key in ids:
                    self.twice += 1
                    continue
                ids.add(key)
                yield thing


def unseen(lists: Sequence[ReadList]) -> tuple[str, ...]:
    """Which lists could not be read completely, as sentences."""
    return tuple(
        f"The list of {query.name} was read {check.reading} times and was never consistent: {check.trouble}."
        for query, check in lists
        if check.trouble
    )


def seal(inventory: Inventory, lists: Sequence[ReadList], header: PlanHeader, terms: PlanTerms, store: Objects) -> Plan:
    """Write the plan and its report into ``store``. The same resources under the same terms give the same hash.

    ``plan.json`` is written last: a plan without it does not exist. Raises ``Retryable`` if S3 is unavailable.
    """
    with tempfile.TemporaryDirectory() as scratch:
        lines, page, marks = (Path(scratch, name) for name in (LINES, "report.html", WARNINGS))
        with write_lines(marks) as file:
            marker, shown = MarkWriter(file), UsedNames(terms.names)
            plan = _write(_DistinctThings(inventory, lists), header, terms, lines, marker, shown)
        with page.open("w", encoding="utf-8") as html, open_lines(lines) as written:
            html.writelines(report.render(plan, entries(written), shown.used()))
        store.put_file(key_of(plan.org_id, plan.hash, LINES), lines, kind="application/gzip")
        store.put_file(key_of(plan.org_id, plan.hash, "report.html"), page, kind="text/html; charset=utf-8")
        if marker.count:
            store_marks(store, plan.org_id, plan.hash, marks)
        store_names(store, plan.org_id, plan.hash, shown.used())
        body = plan.model_dump_json(indent=1).encode()
        store.put(key_of(plan.org_id, plan.hash, "plan.json"), body, kind="application/json")
        return plan


def _write(
    things: _DistinctThings, header: PlanHeader, terms: PlanTerms, path: Path, marker: MarkWriter, shown: UsedNames
) -> Plan:
    writer, unmatched, before = PlanWriter(header, terms.policy), UnmatchedNames(terms.policy), 0
    with write_lines(path) as file:
        file.write(writer.begin())
        for _, check in things.lists:
            writer.fail(check.unreadable)
        for entry, was_due in _decided(things, terms, header, marker):
            unmatched.match(entry.thing)
            shown.add(entry.thing)
            before += was_due
            file.write(writer.add(entry))
        for mark in terms.warn_first.rest():
            marker.add(mark)
        totals = writer.totals()
        footer = _footer(totals, header, terms, before=before, twice=things.twice)
        file.write(writer.end(footer))
    plan = Plan(
        **{**header.model_dump(), **footer.model_dump()},
        hash=writer.digest,
        mode=terms.mode,
        org_name=terms.org_name,
        notes=(*terms.notes, *terms.policy.warnings, *_irreversible(totals), *unmatched.missing()),
        per_minute=terms.per_minute,
        estimated_minutes=-(-totals.due * CALLS // terms.per_minute),
    )
    return plan.model_copy(update={"notes": (*plan.notes, *_backlog(plan, terms.policy))})


def _footer(totals: Totals, header: PlanHeader, terms: PlanTerms, *, before: int, twice: int) -> PlanFooter:
    """``before``: how many resources the policy applied last would act on. ``twice``: how many ids came twice."""
    capped = over_caps(totals, terms.policy)
    growth = grows(totals.due, before, terms.policy) if terms.before is not None else None
    doubled = (f"{twice} things were listed twice: a list changed while it was read, or two things have the same id.",)
    return PlanFooter(
        **totals.model_dump(),
        unseen=(*header.unseen, *(doubled if twice else ())),
        stops=(*terms.stops, *capped),
        capped=capped,
        person=(*terms.person, *((growth,) if growth else ())),
    )


def _irreversible(totals: Totals) -> Iterator[str]:
    for rule in totals.rules:
        if rule.irreversible and rule.due:
            yield f"Rule '{rule.name}' cannot be undone. It waits for a person who types the plan's hash."


def _decided(
    things: Iterable[ResourceSnapshot], terms: PlanTerms, header: PlanHeader, marker: MarkWriter
) -> Iterator[tuple[Entry, bool]]:
    """Each resource with its decision, and whether the policy applied last would act on it as well."""

    def decide(thing: ResourceSnapshot, policy: Policy) -> Decision:
        return evaluate(thing, policy, terms.holds, header.made_at)

    for batch in batched(things, _AT_ONCE, strict=False):
        now = [decide(thing, terms.policy) for thing in batch]
        then = [decide(thing, terms.before).action if terms.before else None for thing in batch]
        archived = [
            thing
            for thing, decision, before in zip(batch, now, then, strict=True)
            if Action.ARCHIVE in {decision.action, before}
        ]
        newest = terms.newest_on(archived) if terms.newest_on is not None and archived else {}
        for thing, decision, before in zip(batch, now, then, strict=True):
            restored = restored_rule.by_a_person(thing, newest.get((thing.resource, thing.id)))
            if restored and decision.action is Action.ARCHIVE:
                decision = as_restored(decision, restored)  # noqa: PLW2901 - the ledger has the last word
            decision, mark = terms.warn_first.decide(thing, decision)  # noqa: PLW2901 - and people are warned first
            if mark is not None:
                marker.add(mark)
            yield Entry(thing, decision), before is not None and not (restored and before is Action.ARCHIVE)


def as_restored(decision: Decision, why: str) -> Decision:
    """The decision on a process that a person restored: it is not archived."""
    return Decision(None, restored_rule.KIND, f"{why} A sweep leaves it alone.", decision.rule)


def _backlog(plan: Plan, policy: Policy) -> Iterator[str]:
    if plan.can_begin:
        most = min(most_first(policy), plan.due)
        yield (
            f"Only caps stop this plan. If you expect so many things, as in a first sweep over a backlog, a person can "
            f"apply the oldest ones: lifecycle apply {plan.hash} --first {most}. The rest stays due."
        )
