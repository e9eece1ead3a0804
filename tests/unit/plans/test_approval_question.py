"""What approvers of a plan are asked: the same words in its report and at the command line."""

import re
from typing import Any

import pytest

from lifecycle.plans.approval_question import ASKED, ApprovalQuestion, approval_question
from lifecycle.plans.plan_file import Plan
from tests.browser.sample import plan, sample
from tests.harness.builders import ORG
from tests.unit.plans.test_report import Reader, due, final, process, read


def question_of(made: Plan) -> ApprovalQuestion:
    found = approval_question(made)
    assert found is not None
    return found


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_the_question_names_the_irreversible_actions_and_the_effects_of_an_approval() -> None:
    entries = [due(1), final(2), final(3), process(4)]
    made = plan(entries, notes=("The token is old.",))
    assert [squeezed(line) for line in question_of(made).lines] == [
        "The irreversible actions of a plan: 2 things",
        f"made 2026-06-01 12:00 UTC, Brightwater Services ({ORG})",
        "things 4 seen = 3 due + 1 kept + 0 not readable",
        "rule unused-tags delete tag: 2 of 2 cannot be undone",
        "note The token is old.",
        f"hash {made.hash}",
        "Once enough other people have approved, the stack enqueues these actions: five first, then the rest.",
        "Each thing is read again and exported. It is deleted only if the export is complete.",
        "An export is evidence, not an undo: nothing can be imported back into Tallyfy.",
        ASKED,
    ]


def test_the_report_shows_the_question_word_for_word_with_its_command() -> None:
    made, entries = sample(1_000, notes=("A <b>note</b>.",))
    page = read(made, entries)
    for line in question_of(made).lines:
        assert squeezed(line) in page.text, line
    assert f"lifecycle approve {made.hash[:12]}" in page.texts["code"]


def test_a_request_has_the_same_question_as_its_plan() -> None:
    made, _ = sample(1_000)
    shown = Plan.model_validate({"ages": (), "kept_by": {}, **made.model_dump(exclude={"ages", "kept_by"})})
    assert approval_question(shown) == approval_question(made)


def test_reversible_actions_need_no_approval() -> None:
    entries = [due(1)]
    made = plan(entries)
    assert approval_question(made) is None
    assert "What approvers are asked" not in read(made, entries).texts["h2"]


@pytest.mark.parametrize("changes", [{"stops": ("Over its cap.",)}, {"unseen": ("Page 3.",)}])
def test_the_report_of_a_plan_that_is_not_applied_shows_no_question(changes: dict[str, Any]) -> None:
    entries = [final(1)]
    page: Reader = read(plan(entries, **changes), entries)
    assert "What approvers are asked" not in page.texts["h2"]
