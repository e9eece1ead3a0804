"""A plan as CSV: everything that was seen, and no cell that a spreadsheet runs."""

import csv
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import pytest

from lifecycle.domain.capabilities import Resource
from lifecycle.plans.plan_file import Entry, Names
from lifecycle.plans.report.spreadsheet import COLUMNS, csv_lines
from tests.browser.sample import NAMES, plan, sample
from tests.harness.builders import ORG


def _rows(entries: list[Entry], names: Names | None = None) -> list[dict[str, str]]:
    text = "".join(csv_lines(plan(entries), entries, names or Names()))
    return list(csv.DictReader(StringIO(text.removeprefix("\ufeff"), newline="")))


def test_every_resource_of_the_plan_has_a_row_under_named_columns() -> None:
    made, entries = sample(200)
    lines = list(csv_lines(made, entries, NAMES))
    assert lines[0] == "\ufeff" + ",".join(f'"{column}"' for column in COLUMNS) + "\r\n"
    assert len(lines) == 201
    rows = _rows(entries, NAMES)
    assert [row["id"] for row in rows] == [entry.thing.id for entry in entries]
    assert sum(row["decision"] != "keep" for row in rows) == made.due
    assert {row["irreversible"] for row in rows} == {"no"}
    for row, entry in zip(rows, entries, strict=True):
        number = next(iter(entry.thing.owners or ()), "")
        assert (row["owner_ids"], row["owners"]) == (number, NAMES.owners.get(number, number))
        template = entry.thing.template_id or ""
        assert (row["template_id"], row["template"]) == (template, NAMES.templates.get(template, template))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"])
def test_a_cell_that_begins_like_a_formula_begins_with_an_apostrophe(text: str) -> None:
    _, [entry, *_] = sample(1)
    thing = replace(
        entry.thing, name=text, status=text, tags=frozenset({text}), owners=frozenset({"1"}), template_id=text
    )
    decision = replace(entry.decision, reason=text, rule=text, kind=text)
    [row] = _rows([Entry(thing, decision)], Names({"1": text}, {text: text}))
    for column in ("name", "status", "tags", "owners", "template", "template_id", "reason", "rule", "reason_kind"):
        assert row[column].lower() == f"'{text}".lower(), column


def test_irreversible_actions_are_marked_in_the_spreadsheet() -> None:
    _, entries = sample(2_000)
    assert {row["irreversible"] for row in _rows(entries) if row["decision"] == "delete"} == {"yes"}


def test_quotes_commas_and_ends_of_lines_stay_within_their_cell() -> None:
    _, [entry, *_] = sample(1)
    [row] = _rows([Entry(replace(entry.thing, name='a "b", c\r\n=d'), entry.decision)])
    assert row["name"] == 'a "b", c\ufffd\ufffd=d'


def test_days_are_those_of_the_plans_time_zone() -> None:
    _, [entry, *_] = sample(1)
    late, never = datetime(2026, 5, 31, 22, 30, tzinfo=UTC), datetime(9999, 12, 31, 23, 30, tzinfo=UTC)
    [row] = _rows([Entry(replace(entry.thing, completed_at=late, created_at=never), entry.decision)])
    assert (row["completed"], row["created"], row["archived"]) == ("2026-06-01", "", "")


def test_only_a_process_has_a_link() -> None:
    _, entries = sample(200)
    links = {row["kind"]: row["link"] for row in _rows(entries)}
    assert links["process"].startswith(f"https://go.tallyfy.com/{ORG}/process/")
    assert links[Resource.TAG.label] == ""
