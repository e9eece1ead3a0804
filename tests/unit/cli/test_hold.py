"""`lifecycle hold`: what an operator types, and what everyone else then leaves alone."""

import json
from pathlib import Path

import pytest

from lifecycle.aws.dynamodb import Contention, Key, MemoryTable, Put, Value
from lifecycle.domain.capabilities import Resource
from lifecycle.holds.store import Hold
from sandbox.simulator import (
    DEFAULT_TOKEN,
    Fault,
    Seed,
    SeedMember,
    SeedOrganization,
    SeedRun,
    SeedTag,
    SeedTask,
    SeedTemplate,
    make_id,
)
from tests.harness.builders import NOW
from tests.unit.cli.harness import OPERATOR, ORG, CliHarness
from tests.unit.cli.planned import RULE, at_night, organization, runs

THING, ARCHIVED, NOWHERE = make_id("thing"), make_id("archived"), make_id("nowhere")
OTHER_ORG = "0b" * 16
WHY = ("--reason", "an audit")


@pytest.fixture(autouse=True)
def things(desk: CliHarness) -> None:
    """One of each kind, all of one id, besides what is nowhere."""
    desk.simulator.load(
        Seed(
            organizations=[
                SeedOrganization(
                    id=ORG,
                    members=[SeedMember(token=DEFAULT_TOKEN)],
                    runs=[SeedRun(id=THING), SeedRun(id=ARCHIVED, archived_at="-9d")],
                    tasks=[SeedTask(id=THING)],
                    tags=[SeedTag(id=THING, title="vip")],
                    templates=[SeedTemplate(id=THING)],
                )
            ]
        )
    )


def holds(desk: CliHarness, org_id: str = ORG) -> list[Hold]:
    return desk.stack.holds().holds(org_id)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("process", f"run#{THING}"),
        ("Run", f"run#{THING}"),
        ("task", f"task#{THING}"),
        ("tag", f"tag#{THING}"),
        ("template", f"template#{THING}"),
        ("checklist", f"template#{THING}"),
        ("blueprint", f"template#{THING}"),
    ],
)
def test_a_hold_is_set_by_id_or_link_with_who_and_why_and_removed(desk: CliHarness, kind: str, key: str) -> None:
    for name in (THING, f"https://go.tallyfy.com/{ORG}/process/{THING}"):
        added = desk.run("hold", "add", kind, name, "--reason", " an  audit\n of 2026 ")
        assert added.exit_code == 0
        assert holds(desk) == [Hold(key, "an audit of 2026", OPERATOR, NOW)]
        removed = desk.run("hold", "remove", kind, name)
        assert (removed.exit_code, "no longer on hold" in removed.output) == (0, True)
        assert holds(desk) == []


@pytest.mark.parametrize("kind", ["owner", "user"])
@pytest.mark.parametrize("number", ["4711", " 04711 "])
def test_everything_of_an_owner_is_held_by_the_users_number(desk: CliHarness, kind: str, number: str) -> None:
    assert desk.run("hold", "add", kind, number, *WHY).exit_code == 0
    assert [hold.key for hold in holds(desk)] == ["owner#4711"]
    assert desk.run("hold", "remove", kind, "4711").exit_code == 0
    assert holds(desk) == []


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("template", THING, "and all its processes"),
        ("owner", "4711", "everything of owner 4711"),
        ("tag", THING, "hold_tags in policy.toml"),
    ],
)
def test_the_scope_of_a_new_hold_is_printed(desk: CliHarness, kind: str, name: str, said: str) -> None:
    assert said in desk.run("hold", "add", kind, name, *WHY).output
    assert said not in desk.run("hold", "add", "process", THING, *WHY).output


def test_a_new_reason_replaces_the_old_one(desk: CliHarness) -> None:
    desk.run("hold", "add", "task", THING, *WHY)
    desk.run("hold", "add", "task", THING, "--reason", "a lawsuit")
    assert [hold.reason for hold in holds(desk)] == ["a lawsuit"]


def test_removing_a_missing_hold_says_so(desk: CliHarness) -> None:
    desk.run("hold", "add", "task", THING, *WHY)
    result = desk.run("hold", "remove", "process", THING)
    assert (result.exit_code, "was not on hold" in result.output) == (0, True)
    assert len(holds(desk)) == 1


@pytest.mark.parametrize("number", ["", "ada", "-1", "4711x", "4 711", "١٢", THING, f"https://go.tallyfy.com/{THING}"])
def test_an_owner_must_be_a_number(desk: CliHarness, number: str) -> None:
    refused = desk.run("hold", "add", "owner", number, *WHY)
    assert refused.exit_code == 2
    assert holds(desk) == []


@pytest.mark.parametrize("kind", ["step", "", "owners", "run#"])
def test_another_kind_of_thing_is_refused(desk: CliHarness, kind: str) -> None:
    for doing in (("add", kind, THING, *WHY), ("remove", kind, THING)):
        refused = desk.run("hold", *doing)
        assert (refused.exit_code, "owner, user" in refused.output.replace("\n", " ")) == (2, True)
    assert holds(desk) == []


def test_a_malformed_id_is_refused(desk: CliHarness) -> None:
    assert desk.run("hold", "add", "process", "4711", *WHY).exit_code == 2
    assert desk.run("hold", "remove", "process", f"{THING}/delete").exit_code == 2


@pytest.mark.parametrize("reason", [(), ("--reason", ""), ("--reason", " \t\n"), ("--reason", "x" * 501)])
def test_a_hold_needs_a_reason(desk: CliHarness, reason: tuple[str, ...]) -> None:
    assert desk.run("hold", "add", "process", THING, *reason).exit_code == 2
    assert holds(desk) == []


# --- whether there is such a thing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["process", "task", "tag", "template"])
def test_a_thing_that_tallyfy_does_not_show_is_held_only_after_confirmation(desk: CliHarness, kind: str) -> None:
    for typed in ("", "n\n"):
        asked = desk.run("hold", "add", kind, NOWHERE, *WHY, typed=typed)
        assert (asked.exit_code, f" {NOWHERE} in organization" in asked.output) == (1, True), asked.output
    assert holds(desk) == []
    assert desk.run("hold", "add", kind, NOWHERE, *WHY, typed="y\n").exit_code == 0
    assert len(holds(desk)) == 1


def test_force_skips_the_check_in_tallyfy(desk: CliHarness) -> None:
    assert desk.run("hold", "add", "process", NOWHERE, *WHY, "--force").exit_code == 0
    assert len(holds(desk)) == 1
    assert desk.simulator.log.calls == []


def test_an_archived_process_is_found(desk: CliHarness) -> None:
    assert desk.run("hold", "add", "process", ARCHIVED, *WHY).exit_code == 0


@pytest.mark.parametrize("trouble", ["token", "outage", "output"])
def test_a_hold_is_set_even_if_tallyfy_cannot_be_reached(desk: CliHarness, trouble: str) -> None:
    if trouble == "token":
        desk.entrance.secrets.texts[f"stack/tokens/{ORG}"] = "expired"
    elif trouble == "outage":
        desk.simulator.faults.add(Fault.answer_status(503, path="/runs", times=-1))
    else:
        del desk.stack.told["TallyfyBaseUrl"]
    result = desk.run("hold", "add", "process", NOWHERE, *WHY)
    assert (result.exit_code, "could not check" in result.output) == (0, True), result.output
    assert len(holds(desk)) == 1


# --- which organization -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("doing", [("add", "process", THING, *WHY), ("remove", "process", THING), ("list",)])
def test_an_organization_outside_the_stack_is_refused(desk: CliHarness, doing: tuple[str, ...]) -> None:
    refused = desk.run("hold", *doing, "--org", OTHER_ORG)
    assert (refused.exit_code, "not one of this stack's" in refused.output) == (2, True)
    assert holds(desk, OTHER_ORG) == []


@pytest.mark.parametrize("doing", [("add", "process", THING, *WHY), ("remove", "process", THING), ("list",)])
def test_of_several_organizations_one_has_to_be_named(desk: CliHarness, doing: tuple[str, ...]) -> None:
    desk.stack.told["OrganizationIds"] = f"{ORG},{OTHER_ORG}"
    refused = desk.run("hold", *doing)
    assert (refused.exit_code, "--org" in refused.output) == (2, True)
    assert holds(desk) == []


def test_the_named_one_of_several_organizations_is_meant(desk: CliHarness) -> None:
    desk.stack.told["OrganizationIds"] = f"{ORG},{OTHER_ORG}"
    assert desk.run("hold", "add", "process", THING, *WHY, "--org", OTHER_ORG).exit_code == 0
    assert desk.run("hold", "add", "task", THING, *WHY, env={"LIFECYCLE_ORG": ORG}).exit_code == 0
    assert [hold.key for hold in holds(desk, OTHER_ORG)] == [f"run#{THING}"]
    assert [hold.key for hold in holds(desk)] == [f"task#{THING}"]
    assert THING in desk.run("hold", "list", "--org", OTHER_ORG).output


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_shows_the_thing_the_reason_the_person_and_the_time(desk: CliHarness) -> None:
    desk.run("hold", "add", "process", THING, *WHY)
    desk.run("hold", "add", "owner", "4711", "--reason", "a lawsuit")
    listed = desk.run("hold", "list").output
    lines = {line.split("  ")[0]: line for line in listed.splitlines()}
    assert "an audit" in lines[f"process {THING}"]
    assert OPERATOR in lines[f"process {THING}"]
    assert "2026-06-01 12:00 UTC" in lines[f"process {THING}"]
    assert "a lawsuit" in lines["everything of owner 4711"]


def test_an_empty_list_says_so(desk: CliHarness) -> None:
    result = desk.run("hold", "list")
    assert (result.exit_code, "Nothing is on hold" in result.output) == (0, True)


def test_text_in_a_hand_written_row_is_listed_without_markup(desk: CliHarness) -> None:
    desk.stack.table.write(Put(Key(f"holds#{ORG}", "odd"), {"reason": "[red]x[/red]\x1b[2J"}, 0))
    listed = desk.run("hold", "list")
    assert listed.exit_code == 0
    assert "odd" in listed.output
    assert "[red]x[/red]" in listed.output
    assert "\x1b" not in listed.output
    assert listed.output.count("unknown") == 2


def test_a_hold_that_changed_meanwhile_is_reported(desk: CliHarness) -> None:
    desk.run("hold", "add", "process", THING, *WHY)

    class Late(MemoryTable):
        def write(self, *changes: Put) -> None:
            raise Contention

    late = Late()
    MemoryTable.write(late, Put(Key(f"holds#{ORG}", f"run#{THING}"), {"reason": "an audit"}, 0))
    desk.stack.table = late
    refused = desk.run("hold", "remove", "process", THING)
    assert (refused.exit_code, "changed at the same time" in refused.output) == (3, True)
    assert desk.stack.holds().reasons(ORG) == {f"{Resource.RUN}#{THING}": "an audit"}


# --- cases ---


AUDIT = ("--case", "Audit 2026")


def test_a_case_groups_holds_and_is_listed(desk: CliHarness) -> None:
    assert desk.run("hold", "add", "process", THING, *WHY, *AUDIT).exit_code == 0
    assert desk.run("hold", "add", "task", THING, *WHY).exit_code == 0
    listed = desk.run("hold", "list", *AUDIT).output
    assert "Audit 2026" in listed
    assert "one-off task" not in listed


def test_a_hold_of_a_case_is_not_removed_without_naming_the_case(desk: CliHarness) -> None:
    desk.run("hold", "add", "process", THING, *WHY, *AUDIT)
    result = desk.run("hold", "remove", "process", THING)
    assert result.exit_code == 1
    assert "on hold (Audit 2026)" in " ".join(result.output.split())
    assert [hold.cases for hold in holds(desk)] == [("Audit 2026",)]


def test_removing_a_case_lifts_its_holds_and_leaves_what_others_hold(desk: CliHarness) -> None:
    for kind in ("process", "task"):
        desk.run("hold", "add", kind, THING, *WHY, *AUDIT)
    desk.run("hold", "add", "task", THING, *WHY, "--case", "Lawsuit")
    result = desk.run("hold", "remove", *AUDIT, "--yes")
    assert result.exit_code == 0, result.output
    assert "There is no plan yet" in result.output
    assert [(hold.key, hold.cases) for hold in holds(desk)] == [(f"task#{THING}", ("Lawsuit",))]


def test_a_case_is_removed_only_if_that_is_confirmed(desk: CliHarness) -> None:
    desk.run("hold", "add", "process", THING, *WHY, *AUDIT)
    assert desk.run("hold", "remove", *AUDIT, typed="n\n").exit_code != 0
    assert len(holds(desk)) == 1


def test_a_case_that_nobody_used_is_named(desk: CliHarness) -> None:
    assert "No hold of this organization belongs to case 'Audit 2026'" in desk.run("hold", "remove", *AUDIT).output


@pytest.mark.parametrize("words", [(), ("process",)])
def test_a_removal_without_a_thing_or_a_case_is_refused(desk: CliHarness, words: tuple[str, ...]) -> None:
    assert desk.run("hold", "remove", *words).exit_code == 2


def test_what_would_become_due_is_shown_before_a_case_is_removed(desk: CliHarness, tmp_path: Path) -> None:
    night = at_night(desk, organization(runs(2)))
    first, second = (f"{number:032x}" for number in (1, 2))
    night.world.holds.add(ORG, Resource.RUN, first, reason="an audit", by="Ada", case="Audit 2026")
    night.world.holds.add(ORG, Resource.RUN, second, reason="an audit", by="Ada", case="Audit 2026")
    night.world.holds.add(ORG, Resource.RUN, second, reason="a lawsuit", by="Ada", case="Lawsuit")
    night.begin()
    night.drain()
    path = tmp_path / "policy.toml"
    path.write_text(RULE)
    shown = " ".join(desk.run("hold", "remove", *AUDIT, "--policy", str(path), typed="n\n").output.split())
    assert "the policy would act on 1 thing of plan" in shown
    assert f"archive process 'Run 1' {first}" in shown
    assert second not in shown


def test_a_hold_of_a_kind_that_this_release_does_not_know_is_left_alone(desk: CliHarness) -> None:
    store, case = desk.stack.holds(), "Audit 2026"
    store.add(ORG, "owner", "1001", reason="an audit", by="Ada", case=case)
    values: dict[str, Value] = {"reason": "an audit", "at": 1, "cases": json.dumps({case: "an audit"})}
    desk.stack.rows().write(Put(Key(f"holds#{ORG}", "folder#1001"), values, 0))
    result = desk.run("hold", "remove", "--case", case, "--yes")
    assert result.exit_code == 1
    assert "a newer release" in " ".join(result.output.split())
    assert [hold.key for hold in holds(desk)] == ["folder#1001"]
