import json
import re
from dataclasses import asdict

from cli.local.simulator import DefaultIds
from lifecycle.adapters.rows import Change, Key
from lifecycle.usecases.sweep import Errand, Progress
from tests.builders import bodies
from tests.unit.cli.desk import ORG, Desk

SWEEP = "2026-06-01T04:10:00Z"


def swept(desk: Desk, **changes: object) -> None:
    """What the ledger holds of a sweep."""
    kinds = json.dumps({"rule completed": 120, "too young": 79, "on hold": 1})
    found = asdict(Progress(listed=2, pages=2, seen=200, due=120, kinds=kinds, done=True)) | changes
    desk.stack.rows.write(Change(Key(f"sweep#{ORG}#{SWEEP}", "state"), found, 0, None))


def test_a_sweep_is_started_under_a_name_of_its_own(desk: Desk) -> None:
    results = [desk.run("sweep", "start") for _ in range(2)]
    assert [result.exit_code for result in results] == [0, 0], results[0].output
    errands = [Errand.model_validate_json(text) for text in bodies(desk.stack.origins["sweeps"])]
    assert [errand.org_id for errand in errands] == [None, None]
    assert len({errand.sweep_id for errand in errands}) == 2
    for errand, result in zip(errands, results, strict=True):
        assert re.fullmatch(r"2026-06-01T12:00:00Z-by-hand-[0-9a-f]{6}", errand.sweep_id)
        assert f"lifecycle sweep show {errand.sweep_id}" in result.output
        assert "mode report" in result.output


def test_a_stack_without_sweeps_says_so(desk: Desk) -> None:
    del desk.stack.dead["sweeps"]
    result = desk.run("sweep", "start")
    assert (result.exit_code, "has no sweeps queue" in result.output) == (3, True)


def test_a_report_is_shown_with_counts_and_estimate(desk: Desk) -> None:
    swept(desk)
    result = desk.run("sweep", "show", SWEEP)
    assert result.exit_code == 0, result.output
    said = re.sub(r"\s+", " ", result.output)
    for part in ("finished", ORG, "seen 200", "rule completed 120", "on hold 1", "about 3 min at 100 calls a minute"):
        assert part in said
    assert "only reported" in said


def test_what_was_handed_on_is_told(desk: Desk) -> None:
    swept(desk, sent=2)
    assert "handed to the bulk queue" in desk.run("sweep", "show", SWEEP, "--org", ORG).output


def test_one_under_way_is_an_exit_code(desk: Desk) -> None:
    swept(desk, listed=1, done=False)
    result = desk.run("sweep", "show", SWEEP)
    assert (result.exit_code, "under way" in result.output) == (4, True)


def test_an_unknown_sweep_is_told(desk: Desk) -> None:
    for words in ((), ("--org", DefaultIds.RUN)):
        result = desk.run("sweep", "show", "never", *words)
        assert (result.exit_code, "knows no sweep" in result.output) == (1, True)
