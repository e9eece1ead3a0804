"""docs/policy.md: its policies are read by the real parser, and its tables have every key."""

import re
import tomllib

import pytest

from lifecycle.policy.policy import PlanCaps, Policy, Rule
from tests.unit.docs.documents import Block, blocks, page, rows, sections

TEXT = page("policy.md")
RECIPES = {
    title: next(block for block in blocks(text) if block.language == "toml")
    for title, text in sections(TEXT, 3).items()
    if re.match(r"\d+\. ", title)
}


def test_the_page_has_ten_policies_to_copy() -> None:
    assert [title.partition(".")[0] for title in RECIPES] == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize(
    "block", [block for block in blocks(TEXT) if block.language == "toml"], ids=lambda block: block.lines[0][:20]
)
def test_every_policy_of_the_page_is_valid(block: Block) -> None:
    policy = Policy.parse(block.text)
    assert len(policy.rules) == len(tomllib.loads(block.text)["rules"])
    assert policy.warnings == ()


@pytest.mark.parametrize(
    ("after", "header", "model"),
    [
        ("## Every key", "| key | |", Policy),
        ("In `[caps]`:", "| key | |", PlanCaps),
        ("In `[[rules]]`:", "| key | |", Rule),
    ],
)
def test_the_page_explains_each_key_and_no_other(after: str, header: str, model: type) -> None:
    explained = [cells[0].strip("| `") for cells in rows(TEXT.split(after)[1], header)]
    assert sorted(explained) == sorted(model.model_fields)  # type: ignore[attr-defined]
