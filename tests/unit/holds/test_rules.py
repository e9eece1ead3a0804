"""Examples of holds: on a resource, a template, an owner or a tag."""

from dataclasses import replace

import pytest

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds, keys_of
from tests.harness.builders import THING

TEMPLATE = "7e" * 16
OTHER = "6f" * 16
AUDIT = "an audit"


def thing(resource: Resource = Resource.RUN, **changes: object) -> ResourceSnapshot:
    """A resource of which Tallyfy shows all facts."""
    known = ResourceSnapshot(
        resource=resource,
        id=THING,
        state=State.ACTIVE,
        name="Onboard Acme",
        template_id=TEMPLATE if resource is Resource.RUN else None,
        owners=None if resource is Resource.TAG else frozenset({"4711", "9"}),
        tags=None if resource is Resource.TAG else frozenset({"VIP", "Customers"}),
    )
    return replace(known, **changes)  # type: ignore[arg-type] # each test gives the fields of Thing


def held(*keys: str, tags: frozenset[str] = frozenset()) -> Holds:
    return Holds(dict.fromkeys(keys, AUDIT), tags)


# --- by key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", Resource)
def test_without_holds_nothing_is_held(resource: Resource) -> None:
    assert held().on(thing(resource)) is None
    assert held().on(ResourceSnapshot(resource=resource, id=THING, state=State.ACTIVE)) is None


@pytest.mark.parametrize("resource", Resource)
def test_a_resource_is_held_by_its_id_and_kind(resource: Resource) -> None:
    assert held(f"{resource}#{THING}").on(thing(resource)) == "It is on hold: an audit"
    others = [f"{other}#{THING}" for other in Resource if other is not resource]
    assert held(*others, f"{resource}#{OTHER}", f"owner#{THING}").on(thing(resource)) is None


def test_a_hold_without_a_reason_holds() -> None:
    assert Holds({f"run#{THING}": ""}).on(thing()) is not None


def test_a_hold_on_a_template_covers_its_processes_and_no_task_or_tag() -> None:
    holds = held(f"template#{TEMPLATE}")
    assert holds.on(thing(Resource.TEMPLATE, id=TEMPLATE)) == "It is on hold: an audit"
    assert holds.on(thing()) == "All processes of its template are on hold: an audit"
    assert holds.on(thing(template_id=OTHER)) is None
    assert holds.on(thing(Resource.TASK)) is None
    assert holds.on(thing(Resource.TAG)) is None


@pytest.mark.parametrize("resource", [Resource.RUN, Resource.TASK, Resource.TEMPLATE])
@pytest.mark.parametrize("owner", ["4711", "9"])
def test_a_hold_on_an_owner_covers_what_they_own_together_with_others(resource: Resource, owner: str) -> None:
    assert held(f"owner#{owner}").on(thing(resource)) == f"Everything that its owner {owner} owns is on hold: an audit"
    assert held("owner#47", "owner#47111").on(thing(resource)) is None
    assert held(f"owner#{owner}").on(thing(resource, owners=frozenset({"1"}))) is None


# --- what is not known ------------------------------------------------------------------------------------------------


def test_a_process_of_an_unknown_template_is_held_while_any_template_is() -> None:
    unknown = thing(template_id=None)
    assert "does not show its template" in str(held(f"template#{OTHER}").on(unknown))
    assert held(f"run#{OTHER}", "owner#1").on(unknown) is None


@pytest.mark.parametrize("resource", [Resource.RUN, Resource.TASK, Resource.TEMPLATE])
def test_a_resource_of_unknown_owner_is_held_while_any_owner_is(resource: Resource) -> None:
    unknown = thing(resource, owners=None)
    assert "does not show its owners" in str(held("owner#1").on(unknown))
    assert held(f"run#{OTHER}", f"template#{OTHER}").on(unknown) is None


@pytest.mark.parametrize("resource", [Resource.RUN, Resource.TASK, Resource.TEMPLATE])
def test_a_resource_without_an_owner_differs_from_one_of_unknown_owner(resource: Resource) -> None:
    assert held("owner#1", "owner#4711").on(thing(resource, owners=frozenset())) is None


def test_a_tag_has_neither_owner_nor_template() -> None:
    assert held("owner#1", f"template#{OTHER}").on(thing(Resource.TAG)) is None


def test_a_certain_hold_is_named_before_a_possible_one() -> None:
    unknown = thing(template_id=None, owners=None)
    assert held("owner#1", f"template#{OTHER}", f"run#{THING}").on(unknown) == "It is on hold: an audit"


# --- by tag -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", [Resource.RUN, Resource.TASK, Resource.TEMPLATE])
@pytest.mark.parametrize("wanted", ["VIP", "vip", " Vip ", "customers"])
def test_a_hold_tag_is_compared_without_case(resource: Resource, wanted: str) -> None:
    assert "hold tag" in str(held(tags=frozenset({wanted, "another"})).on(thing(resource)))


def test_hold_tags_in_any_language_are_compared_without_case() -> None:
    assert held(tags=frozenset({"STRASSE"})).on(thing(tags=frozenset({"straße"}))) is not None
    assert held(tags=frozenset({"äußerung"})).on(thing(tags=frozenset({"ÄUSSERUNG "}))) is not None


@pytest.mark.parametrize("wanted", ["VI", "VIPs", "V I P", "Onboard Acme"])
def test_another_tag_does_not_hold(wanted: str) -> None:
    assert held(tags=frozenset({wanted})).on(thing()) is None


@pytest.mark.parametrize("resource", [Resource.RUN, Resource.TEMPLATE])
def test_a_resource_whose_tags_are_not_shown_is_held(resource: Resource) -> None:
    assert "does not show its tags" in str(held(tags=frozenset({"VIP"})).on(thing(resource, tags=None)))
    assert held().on(thing(resource, tags=None)) is None
    assert held(tags=frozenset({"VIP"})).on(thing(resource, tags=frozenset())) is None


def test_a_task_whose_tags_are_not_shown_is_held_where_there_are_hold_tags() -> None:
    assert held(tags=frozenset({"VIP"})).on(thing(Resource.TASK, tags=None)) is not None
    assert held(tags=frozenset()).on(thing(Resource.TASK, tags=None)) is None


@pytest.mark.parametrize("name", ["VIP", " vip", None, "", " "])
def test_a_hold_tag_and_a_tag_without_a_name_are_held(name: str | None) -> None:
    assert held(tags=frozenset({"VIP"})).on(thing(Resource.TAG, name=name)) == "It is a hold tag itself."
    assert held().on(thing(Resource.TAG, name=name)) is None


def test_any_other_tag_is_not_held() -> None:
    assert held(tags=frozenset({"VIP"})).on(thing(Resource.TAG, name="left over")) is None


# --- which rows could speak of it -------------------------------------------------------------------------------------


def test_the_keys_cover_every_hold_that_could_apply() -> None:
    assert keys_of(thing()) == (f"run#{THING}", f"template#{TEMPLATE}", "owner#4711", "owner#9")
    assert keys_of(thing(Resource.TASK)) == (f"task#{THING}", "owner#4711", "owner#9")
    assert keys_of(thing(Resource.TEMPLATE)) == (f"template#{THING}", "owner#4711", "owner#9")
    assert keys_of(thing(Resource.TAG)) == (f"tag#{THING}",)
    assert keys_of(thing(Resource.TASK, owners=frozenset())) == (f"task#{THING}",)


@pytest.mark.parametrize(
    "unknown",
    [
        thing(template_id=None),
        thing(owners=None),
        thing(Resource.TASK, owners=None),
        thing(Resource.TEMPLATE, owners=None),
    ],
)
def test_without_known_keys_any_hold_may_apply(unknown: ResourceSnapshot) -> None:
    assert keys_of(unknown) is None


@pytest.mark.parametrize("resource", Resource)
def test_reading_only_the_keys_misses_no_hold(resource: Resource) -> None:
    seen = thing(resource)
    keys = keys_of(seen)
    assert keys is not None
    everything = {f"{kind}#{name}" for kind in (*Resource, "owner") for name in (THING, TEMPLATE, OTHER, "4711", "9")}
    for key in everything:
        assert (held(key).on(seen) is not None) is (key in keys)
