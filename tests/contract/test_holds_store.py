"""Holds in memory and in DynamoDB: who set them, what they hold, and how they are lifted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import pytest

from lifecycle.aws.dynamodb import DynamoTable, Key, Put, Row, Value, VersionedTable
from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.errors import Code, Retryable, Throttled
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.store import Hold, HoldKind, HoldStore
from tests.contract.conftest import TABLE
from tests.harness.builders import NOW, ORG, THING, Clock

NO_TAGS: frozenset[str] = frozenset()
TEMPLATE = "7e" * 16


def seen(resource: Resource = Resource.RUN, **changes: object) -> ResourceSnapshot:
    """A process with all facts, or another resource."""
    known = ResourceSnapshot(
        resource=resource,
        id=THING,
        state=State.ACTIVE,
        template_id=TEMPLATE if resource is Resource.RUN else None,
        owners=None if resource is Resource.TAG else frozenset({"4711"}),
        tags=frozenset(),
    )
    return replace(known, **changes)  # type: ignore[arg-type] # each test gives the fields of ResourceSnapshot


def test_a_hold_is_found_until_it_is_lifted_and_its_newest_reason_counts(holds: HoldStore) -> None:
    assert holds.reason_for(ORG, seen(), tags=NO_TAGS) is None
    holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    holds.add(ORG, Resource.RUN, THING, reason="a lawsuit", by="Ada")
    assert "a lawsuit" in str(holds.reason_for(ORG, seen(), tags=NO_TAGS))
    assert holds.reason_for(ORG, seen(Resource.TASK), tags=NO_TAGS) is None
    assert holds.reason_for("1b" * 16, seen(), tags=NO_TAGS) is None
    assert holds.lift(ORG, Resource.RUN, THING)
    assert holds.reason_for(ORG, seen(), tags=NO_TAGS) is None


@pytest.mark.parametrize("thing", [seen(), seen(owners=None)], ids=["by its keys", "among all"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(Resource.RUN, THING), (Resource.TEMPLATE, TEMPLATE), ("owner", "4711")],
)
def test_a_process_is_held_by_id_by_template_and_by_owner(
    holds: HoldStore, thing: ResourceSnapshot, kind: HoldKind, name: str
) -> None:
    holds.add(ORG, kind, "another", reason="not this one", by="Ada")
    holds.add(ORG, kind, name, reason="an audit", by="Ada")
    assert holds.reason_for(ORG, thing, tags=NO_TAGS) is not None
    holds.lift(ORG, kind, name)
    assert (holds.reason_for(ORG, thing, tags=NO_TAGS) is None) is not (kind == "owner" and thing.owners is None)


@pytest.mark.parametrize("resource", Resource)
def test_a_resource_of_any_kind_can_be_held(holds: HoldStore, resource: Resource) -> None:
    holds.add(ORG, resource, THING, reason="an audit", by="Ada")
    assert holds.reason_for(ORG, seen(resource), tags=NO_TAGS) == "It is on hold: an audit"


def test_a_hold_tag_of_the_policy_holds(holds: HoldStore) -> None:
    carrying = seen(tags=frozenset({"Keep", "VIP"}))
    assert holds.reason_for(ORG, carrying, tags=NO_TAGS) is None
    assert "Keep" in str(holds.reason_for(ORG, carrying, tags=frozenset({"keep"})))
    assert "Keep" in str(holds.reason_for(ORG, replace(carrying, owners=None), tags=frozenset({"keep"})))


def test_a_task_is_held_by_a_hold_on_any_of_its_owners(holds: HoldStore) -> None:
    crowd = seen(Resource.TASK, owners=frozenset(str(number) for number in range(1000, 1250)))
    assert holds.reason_for(ORG, crowd, tags=NO_TAGS) is None
    holds.add(ORG, "owner", "1249", reason="an audit", by="Ada")
    assert "1249" in str(holds.reason_for(ORG, crowd, tags=NO_TAGS))


@pytest.mark.parametrize(
    "values",
    [{}, {"reason": ""}, {"reason": "  "}, {"reason": []}, {"reason": False}, {"of_a_newer_release": 1, "by": 5}],
)
def test_a_hold_without_a_reason_or_with_unknown_fields_holds(
    holds: HoldStore, rows: VersionedTable, values: Mapping[str, Value]
) -> None:
    rows.write(Put(Key(f"holds#{ORG}", f"run#{THING}"), values, 0))
    for thing in (seen(), seen(owners=None)):
        assert holds.reason_for(ORG, thing, tags=NO_TAGS) == "It is on hold: no reason was given"
    assert holds.reasons(ORG) == {f"run#{THING}": "no reason was given"}
    [listed] = holds.holds(ORG)
    assert (listed.reason, listed.since) == ("no reason was given", None)


@pytest.mark.parametrize("at", ["yesterday", True, -(10**18), 10**18, []])
def test_an_unreadable_time_of_a_hold_is_unknown(holds: HoldStore, rows: VersionedTable, at: Value) -> None:
    rows.write(Put(Key(f"holds#{ORG}", f"run#{THING}"), {"reason": "x", "at": at}, 0))
    assert [hold.since for hold in holds.holds(ORG)] == [None]


@dataclass
class Failing:
    """Rows that cannot be read at the moment."""

    rows: VersionedTable

    def read(self, *keys: Key) -> list[Row | None]:
        raise Retryable(Code.UNAVAILABLE, f"{len(keys)} rows could not be read (made up).")

    def write(self, *changes: Put) -> None:
        self.rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        raise Retryable(Code.UNAVAILABLE, f"{pk} could not be read (made up).")


@pytest.mark.parametrize("thing", [seen(), seen(owners=None)], ids=["by its keys", "among all"])
def test_holds_that_cannot_be_read_raise(rows: VersionedTable, clock: Clock, thing: ResourceSnapshot) -> None:
    blind = HoldStore(Failing(rows), clock)
    with pytest.raises(Retryable):
        blind.reason_for(ORG, thing, tags=NO_TAGS)
    with pytest.raises(Retryable):
        blind.reasons(ORG)


def test_every_hold_is_listed_with_who_set_it_and_when(holds: HoldStore, clock: Clock) -> None:
    holds.add(ORG, Resource.TEMPLATE, TEMPLATE, reason="an audit", by="Ada")
    clock.advance(timedelta(hours=1))
    holds.add(ORG, "owner", "4711", reason="a lawsuit", by="Grace")
    assert holds.holds(ORG) == [
        Hold("owner#4711", "a lawsuit", "Grace", NOW + timedelta(hours=1)),
        Hold(f"template#{TEMPLATE}", "an audit", "Ada", NOW),
    ]
    holds.add(ORG, Resource.TEMPLATE, TEMPLATE, reason="a longer audit", by="Grace")
    assert holds.holds(ORG)[1] == Hold(f"template#{TEMPLATE}", "a longer audit", "Grace", NOW + timedelta(hours=1))


def test_a_resource_stays_on_hold_until_the_last_of_its_cases_is_lifted(holds: HoldStore) -> None:
    for case in ("Audit 2026", "", "Lawsuit"):
        holds.add(ORG, Resource.RUN, THING, reason=f"why {case}".strip(), by="Ada", case=case)
    [hold] = holds.holds(ORG)
    assert hold.cases == ("", "Audit 2026", "Lawsuit")
    assert holds.lift(ORG, Resource.RUN, THING, case="Audit 2026")
    assert holds.lift(ORG, Resource.RUN, THING)
    assert not holds.lift(ORG, Resource.RUN, THING)
    assert "why Lawsuit (case Lawsuit)" in str(holds.reason_for(ORG, seen(), tags=NO_TAGS))
    assert holds.lift(ORG, Resource.RUN, THING, case="Lawsuit")
    assert holds.reason_for(ORG, seen(), tags=NO_TAGS) is None


def test_a_hold_of_an_earlier_release_has_no_case_and_a_case_is_added_beside_it(
    holds: HoldStore, rows: VersionedTable
) -> None:
    rows.write(Put(Key(f"holds#{ORG}", f"run#{THING}"), {"reason": "an audit", "by": "Ada", "at": 1}, 0))
    assert not holds.lift(ORG, Resource.RUN, THING, case="Audit 2026")
    holds.add(ORG, Resource.RUN, THING, reason="more of it", by="Bo", case="Audit 2026")
    assert holds.lift(ORG, Resource.RUN, THING, case="Audit 2026")
    assert "an audit" in str(holds.reason_for(ORG, seen(), tags=NO_TAGS))


@pytest.mark.parametrize("cases", ["junk", "[]", "{}", 7])
def test_a_hold_whose_cases_cannot_be_read_stays(holds: HoldStore, rows: VersionedTable, cases: Value) -> None:
    values: dict[str, Value] = {"reason": "an audit", "by": "Ada", "at": 1, "cases": cases}
    rows.write(Put(Key(f"holds#{ORG}", f"run#{THING}"), values, 0))
    assert not holds.lift(ORG, Resource.RUN, THING)
    assert holds.reason_for(ORG, seen(), tags=NO_TAGS) is not None


def test_a_case_that_is_set_again_after_it_was_lifted_holds_alone(holds: HoldStore) -> None:
    holds.add(ORG, Resource.RUN, THING, reason="one", by="Ada", case="Audit 2025")
    holds.lift(ORG, Resource.RUN, THING, case="Audit 2025")
    holds.add(ORG, Resource.RUN, THING, reason="two", by="Ada", case="Audit 2026")
    assert holds.holds(ORG)[0].cases == ("Audit 2026",)


def test_lifting_a_hold_returns_whether_it_existed_and_keeps_other_holds(holds: HoldStore) -> None:
    holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    holds.add(ORG, Resource.TASK, THING, reason="an audit", by="Ada")
    assert not holds.lift(ORG, Resource.TAG, THING)
    assert not holds.lift("1b" * 16, Resource.RUN, THING)
    assert holds.lift(ORG, Resource.RUN, THING)
    assert not holds.lift(ORG, Resource.RUN, THING)
    assert holds.reasons(ORG) == {f"task#{THING}": "an audit"}


@dataclass
class Overtaken:
    """Rows that another writer changes once, just before our write."""

    rows: VersionedTable
    meanwhile: Callable[[], object] | None

    def read(self, *keys: Key) -> list[Row | None]:
        return self.rows.read(*keys)

    def write(self, *changes: Put) -> None:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        self.rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        return self.rows.partition(pk)


def test_a_hold_that_was_renewed_at_the_same_time_is_not_lifted(
    holds: HoldStore, rows: VersionedTable, clock: Clock
) -> None:
    holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    renew = partial(holds.add, ORG, Resource.RUN, THING, reason="a lawsuit", by="Grace")
    with pytest.raises(Throttled):
        HoldStore(Overtaken(rows, renew), clock).lift(ORG, Resource.RUN, THING)
    assert holds.reasons(ORG) == {f"run#{THING}": "a lawsuit"}


def test_a_hold_that_was_lifted_at_the_same_time_counts_as_lifted(
    holds: HoldStore, rows: VersionedTable, clock: Clock
) -> None:
    holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    lift = partial(holds.lift, ORG, Resource.RUN, THING)
    assert HoldStore(Overtaken(rows, lift), clock).lift(ORG, Resource.RUN, THING)
    assert holds.reasons(ORG) == {}


@pytest.mark.parametrize("before", [True, False])
def test_a_hold_is_set_despite_a_concurrent_write(
    holds: HoldStore, rows: VersionedTable, clock: Clock, *, before: bool
) -> None:
    if before:
        holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    meanwhile = partial(holds.lift if before else partial(holds.add, reason="x", by="Ada"), ORG, Resource.RUN, THING)
    HoldStore(Overtaken(rows, meanwhile), clock).add(ORG, Resource.RUN, THING, reason="a lawsuit", by="Grace")
    assert holds.reasons(ORG) == {f"run#{THING}": "a lawsuit"}


def test_every_hold_of_an_organization_has_its_reason(holds: HoldStore) -> None:
    assert holds.reasons(ORG) == {}
    holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    holds.add(ORG, Resource.TASK, "6f" * 16, reason="", by="Ada")
    holds.add("1b" * 16, Resource.RUN, "7a" * 16, reason="another organization's", by="Ada")
    assert holds.reasons(ORG) == {f"run#{THING}": "an audit", f"task#{'6f' * 16}": "no reason was given"}


def test_a_lifted_hold_is_never_forgotten(table: DynamoTable, clock: Clock) -> None:
    holds = HoldStore(table, clock)
    holds.add(ORG, Resource.RUN, THING, reason="an audit", by="Ada")
    holds.lift(ORG, Resource.RUN, THING, by="Ada")
    key = {"pk": {"S": f"holds#{ORG}"}, "sk": {"S": f"run#{THING}"}}
    item = table._client.get_item(TableName=TABLE, Key=key)["Item"]
    assert "expires_at" not in item
