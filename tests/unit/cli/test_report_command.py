import csv
import webbrowser
from pathlib import Path

import pytest

from lifecycle.aws.dynamodb import Key, Put
from lifecycle.plans.names import store_names
from lifecycle.plans.plan_file import LINES, Names
from lifecycle.plans.plan_store import key_of
from tests.unit.cli.harness import ORG, CliHarness
from tests.unit.cli.planned import night, organization, runs


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_newest_report_is_fetched(desk: CliHarness, here: Path) -> None:
    made = night(desk, organization(runs(3)))
    result = desk.run("report")
    assert result.exit_code == 0, result.output
    [file] = here.glob("plans/*.html")
    assert file.name == f"lifecycle-report-{made.hash[:12]}.html"
    assert file.read_bytes() == desk.stack.objects().get(key_of(ORG, made.hash, "report.html"))
    assert made.hash in result.output
    assert "3 seen = 3 due + 0 kept + 0 not readable" in result.output


def test_a_report_holds_customer_data_so_git_ignores_it(desk: CliHarness, here: Path) -> None:
    night(desk, organization(runs(3)))
    assert desk.run("report").exit_code == 0
    assert (here / "plans" / ".gitignore").read_text() == "*\n"


def test_a_report_is_fetched_by_the_beginning_of_its_hash_into_a_named_file(desk: CliHarness, here: Path) -> None:
    made = night(desk, organization(runs(3)))
    for name in (made.hash, made.hash[:8], f" {made.hash[:20].upper()} "):
        assert desk.run("report", name, "--out", "here.html", "--org", ORG).exit_code == 0
    assert [path.name for path in here.iterdir()] == ["here.html"]


def test_a_missing_report_is_reported_and_leaves_no_file(desk: CliHarness, here: Path) -> None:
    for words, code, said in (
        ((), 1, "lifecycle sweep start"),
        (("0" * 64,), 1, "has no plan"),
        (("0" * 7,), 2, "at least 8"),
        (("../../etc",), 2, "is not the hash"),
        (("0" * 64, "--org", "b" * 32), 2, "not one of this stack's"),
    ):
        result = desk.run("report", *words)
        assert (result.exit_code, said in result.output) == (code, True), result.output
    made = night(desk, organization(runs(1)))
    assert desk.run("report", "--out", "nowhere/here.html").exit_code == 2
    del desk.stack.kept.bodies[key_of(ORG, made.hash, "report.html")]  # type: ignore[attr-defined]
    assert "no longer exists" in desk.run("report").output
    assert list(here.rglob("*.html")) == []


def test_an_ambiguous_hash_of_a_plan_is_refused(desk: CliHarness) -> None:
    for name in ("a" * 8 + "b" * 56, "a" * 9 + "c" * 55):
        desk.stack.objects().put(key_of(ORG, name, "plan.json"), b"{}", kind="application/json")
    result = desk.run("report", "a" * 8)
    assert (result.exit_code, "More than one" in result.output) == (2, True)
    assert "written by another release" in desk.run("report", "a" * 8 + "b").output


def test_a_plan_stored_under_another_hash_is_refused(desk: CliHarness) -> None:
    made = night(desk, organization(runs(1)))
    desk.stack.objects().put(key_of(ORG, "a" * 64, "plan.json"), made.model_dump_json().encode(), kind="text/json")
    assert "holds another plan" in desk.run("report", "a" * 64).output


def test_of_several_organizations_one_must_be_named(desk: CliHarness) -> None:
    night(desk, organization(runs(1)))
    desk.stack.told["OrganizationIds"] = f"{ORG},{'b' * 32}"
    result = desk.run("report")
    assert (result.exit_code, "--org" in result.output) == (2, True)
    assert desk.run("report", "--org", ORG).exit_code == 0


def test_an_expired_newest_plan_counts_as_none(desk: CliHarness) -> None:
    desk.stack.rows().write(Put(Key(f"sweep#{ORG}", "newest"), {"plan": "a" * 64, "sweep_id": "s"}, 0))
    assert "There is no plan" in desk.run("report").output


def test_the_report_is_opened_on_request(desk: CliHarness, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)))  # type: ignore[func-returns-value]
    night(desk, organization(runs(1)))
    result = desk.run("report", "--open")
    [file] = here.glob("plans/*.html")
    assert opened == [file.resolve().as_uri()]
    assert "No browser" in result.output


def test_a_plan_is_written_as_csv_with_the_names_kept_beside_it(desk: CliHarness, here: Path) -> None:
    first, *others = runs(3)
    made = night(desk, organization([first.model_copy(update={"name": "=1+1"}), *others]))
    store_names(desk.stack.objects(), ORG, made.hash, Names({"1001": "Ada Byron"}))
    result = desk.run("report", "--csv")
    assert result.exit_code == 0, result.output
    [file] = here.glob("plans/*-*")
    assert file.name == f"lifecycle-report-{made.hash[:12]}.csv"
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["decision"] for row in rows] == ["archive"] * 3
    assert "'=1+1" in {row["name"] for row in rows}
    assert {row["owner_ids"]: row["owners"] for row in rows}.get("1001", "Ada Byron") == "Ada Byron"


def test_no_csv_is_written_from_lines_that_were_changed(desk: CliHarness, here: Path) -> None:
    made = night(desk, organization(runs(3)))
    desk.stack.objects().put(key_of(ORG, made.hash, LINES), b"{}\n", kind="application/gzip")
    result = desk.run("report", "--csv", "--out", "here.csv")
    assert (result.exit_code, "were changed" in result.output) == (1, True)
    assert not (here / "here.csv").exists()
