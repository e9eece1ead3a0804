"""What leaving lists, what it removes and in which order, and what it never removes."""

import json

import pytest

from cli.clients.footprint import FoundStack, Piece, Remnant
from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Put
from tests.harness.builders import PREFIX
from tests.unit.cli.harness import ORG, CliHarness
from tests.unit.cli.test_approve import office

STACK = "tallyfy-lifecycle-dev"
PIECES = [
    Remnant(Piece.EXPORTS, "exports", count=12, size=3_400_000, note="Object Lock: GOVERNANCE, 2555 days"),
    Remnant(Piece.AUDIT, "audit", count=4, size=900),
    Remnant(Piece.ID_KEY, "id-key", "arn:id-key"),
    Remnant(Piece.LEDGER, "ledger", count=31, size=12_000, note="deletion protection is lifted first"),
    Remnant(Piece.PLANS, "plans", count=7, size=55_000),
    Remnant(Piece.SECRET, f"{STACK}/tokens/{ORG}", "arn:token"),
    Remnant(Piece.LOGS, f"/aws/lambda/{STACK}/worker", size=1_000),
    Remnant(Piece.STACK, STACK, "arn:stack", 120),
    Remnant(Piece.ATTACHMENT, "role operators", "arn:policy"),
    Remnant(Piece.RULE, "mine", "bus"),
]
ORDER = [
    *("mine", "role operators", STACK, f"/aws/lambda/{STACK}/worker", f"{STACK}/tokens/{ORG}", "plans", "ledger"),
    *("id-key", "audit", "exports"),
]


@pytest.fixture
def desk() -> CliHarness:
    made = CliHarness()
    made.footprint.pieces = list(PIECES)
    return made


def listed(desk: CliHarness) -> dict[str, str]:
    """What the listing says of each piece."""
    result = desk.run("uninstall", "--json")
    assert result.exit_code == 0, result.output
    return {one["name"]: one["then"] for one in json.loads(result.stdout)["pieces"]}


# --- the listing ------------------------------------------------------------------------------------------------------


def test_the_listing_names_every_piece_with_number_size_and_whether_it_is_removed(desk: CliHarness) -> None:
    shown = desk.run("uninstall").output
    for part in (
        *("rule on the bus", "blocks the deletion", "goes with the stack", "12", "3.4 MB", "Object Lock: GOVERNANCE"),
        *("stays; removed only with --with-exports", "stays; removed only with --with-records", "deletion protection"),
        "Nothing was removed. To remove it: lifecycle uninstall --delete",
    ):
        assert part in shown, shown
    assert [listed(desk)[name].split()[0] for name in ORDER] == ["blocks"] * 2 + ["goes"] * 2 + ["stays"] * 6
    assert desk.footprint.removed == []


def test_log_groups_that_outlived_the_stack_stay(desk: CliHarness) -> None:
    desk.footprint.found = [FoundStack("arn:stack", "DELETE_COMPLETE")]
    desk.footprint.pieces = [one for one in PIECES if one.piece is Piece.LOGS]
    assert list(listed(desk).values()) == ["stays"]


def test_a_stack_that_nobody_knows_is_an_error(desk: CliHarness) -> None:
    desk.footprint.found = []
    result = desk.run("uninstall")
    assert (result.exit_code, "knows no stack" in result.output) == (1, True)


def test_a_stack_that_left_nothing_says_so(desk: CliHarness) -> None:
    desk.footprint.pieces, desk.footprint.found = [], [FoundStack("arn:stack", "DELETE_COMPLETE")]
    assert "Nothing is left of it." in desk.run("uninstall", "--delete").output


def test_work_under_way_is_named_before_the_pieces(desk: CliHarness) -> None:
    office(desk)
    desk.stack.origins["bulk"].send("{}")
    desk.dead_poison()
    desk.stack.table.write(Put(table_keys.sweeps(ORG, "current"), {"sweep_id": "night"}, 0))
    secret = Remnant(Piece.SECRET, f"{PREFIX}/sources/tallyfy", "arn:tallyfy")
    desk.footprint.pieces += [Remnant(Piece.SCHEDULES, "later", count=3), secret]
    shown = desk.run("uninstall").output
    for part in (
        f"Organization {ORG} is not paused. To stop new work: lifecycle pause",
        f"1 requests for approval of organization {ORG} are open.",
        f"Sweep night of organization {ORG} is in progress.",
        "Messages that wait or are in flight in the queue bulk: 1",
        "1 dead letters of the queue commands wait for a person.",
        "3 commands are scheduled for later.",
        f"lifecycle tallyfy disconnect --org {ORG}",
    ):
        assert part in shown.partition("what")[0], shown


def test_a_pause_is_reported_and_does_not_count_as_work(desk: CliHarness) -> None:
    assert desk.run("pause", "--reason", "Removing the stack").exit_code == 0
    findings = json.loads(desk.run("uninstall", "--json").stdout)["findings"]
    [pause] = [one for one in findings if "is paused by" in one["text"]]
    assert not pause["busy"]


# --- the removal ------------------------------------------------------------------------------------------------------


def delete(desk: CliHarness, *options: str, typed: str = STACK) -> tuple[int, str]:
    result = desk.run("uninstall", "--delete", *options, typed=f"{typed}\n")
    return result.exit_code, result.output


def test_everything_listed_is_removed_in_order_and_evidence_only_with_its_own_options(desk: CliHarness) -> None:
    code, output = delete(desk)
    assert (code, desk.footprint.removed) == (0, ORDER[:-4]), output
    assert "It is kept. --with-exports removes it." in output
    assert delete(desk, "--with-records", "--with-exports")[0] == 0
    assert desk.footprint.removed == ORDER


def test_without_the_typed_name_nothing_is_removed(desk: CliHarness) -> None:
    for typed in ("", "yes", "tallyfy-lifecycle-prod"):
        assert delete(desk, typed=typed)[0] == 1
    assert desk.footprint.removed == []


def test_a_busy_stack_is_removed_only_with_although_busy(desk: CliHarness) -> None:
    desk.stack.origins["commands"].send("{}")
    desk.entrance.ordinary.send("{}")
    code, output = delete(desk)
    assert (code, desk.footprint.removed) == (1, [])
    assert "Nothing was removed, because the stack is busy" in output
    assert delete(desk, "--although-busy")[0] == 0


def test_nothing_is_removed_if_a_part_could_not_be_listed(desk: CliHarness) -> None:
    desk.footprint.unreadable = "rules on the bus"
    code, output = delete(desk, "--although-busy")
    assert (code, desk.footprint.removed) == (3, [])
    assert "rules on the bus: AWS refused ListRules" in output


def test_a_blocking_resource_that_stays_keeps_the_stack_and_everything_that_it_uses(desk: CliHarness) -> None:
    desk.footprint.refusals["mine"] = "It is managed by another service."
    code, output = delete(desk, "--with-exports", "--with-records")
    assert (code, desk.footprint.removed) == (1, [])
    assert "It was not removed, because the rule on the bus is still there." in output


def test_a_stack_that_cannot_be_deleted_keeps_what_it_uses(desk: CliHarness) -> None:
    desk.footprint.refusals[STACK] = "CloudFormation could not delete it: Bus: in use."
    assert delete(desk)[0] == 1
    assert desk.footprint.removed == ["mine", "role operators"]


def test_locked_exports_stay_and_everything_else_is_removed(desk: CliHarness) -> None:
    desk.footprint.refusals["exports"] = "S3 refused to remove 12 versions."
    code, output = delete(desk, "--with-exports", "--with-records")
    assert (code, desk.footprint.removed) == (1, ORDER[:-1])
    assert "S3 refused to remove 12 versions." in output


@pytest.mark.parametrize("after", range(len(ORDER) - 4))
def test_a_second_run_continues_wherever_the_first_was_cut_off(desk: CliHarness, after: int) -> None:
    desk.footprint.cut_off_after = after
    assert delete(desk)[0] == 130
    assert desk.footprint.removed == ORDER[:after]
    desk.footprint.cut_off_after = None
    assert delete(desk)[0] == 0
    assert desk.footprint.removed == ORDER[:-4]


def test_a_stack_whose_deletion_has_begun_is_not_asked_about_its_work(desk: CliHarness) -> None:
    desk.stack.origins["bulk"].send("{}")
    desk.footprint.found = [FoundStack("arn:stack", "DELETE_FAILED")]
    assert delete(desk)[0] == 0


def test_json_lists_what_was_removed_and_what_is_still_there(desk: CliHarness) -> None:
    desk.footprint.refusals["plans"] = "AWS refused."
    result = desk.run("uninstall", "--delete", "--json", typed=f"{STACK}\n")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert f"stack {STACK}" in found["removed"]
    kept = ["ledger table ledger", "id key id-key", "audit bucket audit", "exports bucket exports"]
    assert [one["what"] for one in found["still_there"]] == ["plans bucket plans", *kept]


def test_where_only_the_records_and_exports_are_left_nothing_is_asked_for_without_their_options(
    desk: CliHarness,
) -> None:
    assert delete(desk)[0] == 0
    result = desk.run("uninstall", "--delete")
    assert (result.exit_code, "Type the name" in result.output) == (0, False)
    assert "stays; removed only with --with-records" in result.output
    assert "lifecycle uninstall --delete --with-records --with-exports" in desk.run("uninstall").output


def test_options_of_the_removal_need_delete(desk: CliHarness) -> None:
    for option in ("--with-records", "--with-exports", "--although-busy"):
        assert desk.run("uninstall", option).exit_code == 2
