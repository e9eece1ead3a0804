"""The report of a plan: complete, harmless whatever a thing is called, and written as it goes."""

import base64
import hashlib
import json
import re
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from html.parser import HTMLParser
from itertools import pairwise, repeat
from typing import Any

import pytest

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.plan_file import Entry, Names, Plan
from lifecycle.plans.report import MOST_ROWS, render
from lifecycle.policy.evaluate import Decision, Mode
from tests.browser.sample import NAMES, entry, plan, sample, things
from tests.harness.builders import ORG

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "\" onmouseover='alert(1)' x=\"",
    "&lt;b&gt; ${csp} $title {id}",
    "before\u2028after\u2029end",
    "\u202egnp.exe",
    "bell\x07 and half \ud83d of a face",
)
WHY = Decision(None, "too young", "It is young.")


class Reader(HTMLParser):
    """Every element of the page with its attributes, and the text in each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.visible: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input"}:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data
        if not set(self._open) & {"script", "style", "template"}:
            self.visible.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.visible))

    @cached_property
    def data(self) -> Any:  # noqa: ANN401 - JSON
        [found] = [text for text in self.texts["script"] if text.startswith("{")]
        return json.loads(found)


def read(made: Plan, entries: Iterable[Entry]) -> Reader:
    return Reader("".join(render(made, entries)))


def large(made: Plan, entries: Iterable[Entry]) -> tuple[list[list[Any]], str]:
    """The rows and the text of a page that is too much for a parser written in Python."""
    before, rest = "".join(render(made, entries)).split('<script type="application/json" id="data">')
    block, after = rest.split("</script>", 1)
    return json.loads(block)["rows"], Reader(before + after).text


def process(place: int, decision: Decision = WHY, **facts: Any) -> Entry:
    thing = ResourceSnapshot(resource=Resource.RUN, id=f"{place:032x}", state=State.ACTIVE, name=f"Process {place}")
    return Entry(replace(thing, **facts), decision)


def due(place: int) -> Entry:
    return process(place, Decision(Action.ARCHIVE, "rule completed", "It was completed.", "completed"))


@pytest.fixture(scope="module")
def page() -> Reader:
    return read(*sample(3_000, failed=3))


def test_the_report_starts_with_what_would_happen(page: Reader) -> None:
    made, _ = sample(3_000, failed=3)
    archived = sum(rule.due for rule in made.rules if rule.resource is Resource.RUN)
    deleted = sum(rule.due for rule in made.rules if rule.resource is Resource.TAG)
    assert archived
    assert deleted
    [heading] = page.texts["h1"]
    assert (
        heading
        == f"{archived} of 2,981 processes would be archived and {deleted} of 19 tags would be deleted for good."
    )
    assert "Nothing has been done." in page.text


def test_the_report_shows_the_counts_of_the_plan(page: Reader) -> None:
    made, entries = sample(3_000, failed=3)
    assert (made.seen, made.failed) == (3_003, 3)
    assert made.seen == made.due + made.kept + made.failed
    said = f"{made.seen:,} seen = equals {made.due:,} due + plus {made.kept:,} kept + plus {made.failed} not readable"
    assert said in page.text
    for rule in made.rules:
        assert re.search(rf"{rule.name} \w+ \w+ (cannot be undone )?{rule.considered:,} {rule.due:,} ", page.text)
    for kind, count in made.kept_by.items():
        assert f"{kind} {count:,} " in page.text
    assert f"Kept in all {made.kept:,}" in page.text
    assert len(page.data["rows"]) == len(entries) == made.due + made.kept
    assert sum(row[4] != 0 for row in page.data["rows"]) == made.due
    assert "3 of the listed things could not be read." in page.text


def test_irreversible_actions_are_marked_in_the_report(page: Reader) -> None:
    assert re.search(r"unused-tags delete tags cannot be undone", page.text)
    assert "completed archive processes cannot" not in page.text
    assert set(page.data["final"]) >= {"tag.delete", "run.delete", "template.archive"}
    assert "run.archive" not in page.data["final"]


def test_the_chart_has_a_text_alternative(page: Reader) -> None:
    made, _ = sample(3_000, failed=3)
    drawn = [svg["aria-label"] or "" for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(drawn) == len({(bar.resource, bar.status) for bar in made.ages})
    for bar in made.ages:
        assert any(f"{bar.age}: {bar.things:,}, of these {bar.due} due" in label for label in drawn)
        assert re.search(rf"{bar.age} {bar.things:,} {bar.due:,} ", page.text), "in the table as well"


def test_the_report_shows_the_terms_and_the_next_command(page: Reader) -> None:
    made, _ = sample(3_000, failed=3)
    for fact in (made.hash, ORG, "Brightwater Services", made.policy, "Europe/Berlin", "1 June 2026, 14:00 CEST"):
        assert fact in page.text
    assert f"about {made.estimated_minutes} minutes at 100 calls a minute" in page.text
    assert f"lifecycle apply {made.hash}" in page.texts["code"]


def named(text: str) -> Reader:
    """A page on which everything that can come from elsewhere is this text."""
    decision = Decision(None, text, text, text)
    entries = [
        process(
            1, decision, name=text, status=text, tags=frozenset({text}), template_id=text, owners=frozenset({text})
        ),
        due(2),
    ]
    lines, names = (text,), Names({text: text}, {text: text})
    made = plan(entries, org_name=text, notes=lines, unseen=lines, stops=lines, person=lines)
    return Reader("".join(render(made, entries, names)))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup_or_code(text: str) -> None:
    harmless, hurt = (named(said) for said in ("A", text))
    shape = [(tag, sorted(attributes)) for tag, attributes in hurt.elements]
    assert shape == [(tag, sorted(attributes)) for tag, attributes in harmless.elements]
    shown = re.sub("[\x07\u202e\ud83d]", "\ufffd", text)
    assert hurt.data["rows"][0][1] == shown
    assert f"{shown} " in hurt.texts["title"][0] + " "
    assert shown in hurt.texts["span"]


@pytest.mark.parametrize("text", HOSTILE)
def test_the_report_can_be_written_with_any_name(text: str) -> None:
    html = "".join(render(plan([due(1)]), [process(1, name=text)]))
    assert html.encode()
    block = html.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert not set(block) & set("<>&\u2028\u2029")


def test_names_stand_beside_ids() -> None:
    made, entries = sample(300)
    page = Reader("".join(render(made, entries, NAMES)))
    assert page.data["names"] == {"owners": dict(NAMES.owners), "templates": dict(NAMES.templates)}
    assert {"Bo Lindgren", "4708"} <= set(page.texts["span"]), "an owner without a known name shows the id"
    assert made.hash == plan(entries).hash


def test_memory_does_not_grow_with_the_list_where_owners_have_names() -> None:
    made, names = plan([process(0)]), Names({str(place): "x" * 200 for place in range(50)})
    sum(map(len, render(made, repeat(process(0), 10))))  # what is read once

    def peak(count: int) -> int:
        entries = (process(place, owners=frozenset({str(place)})) for place in range(count))
        tracemalloc.start()
        sum(map(len, render(made, entries, names)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(10_000) < peak(5_000) * 1.1


def test_only_our_own_code_may_run(page: Reader) -> None:
    [policy] = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(part.split(" ", 1) for part in (policy or "").split("; "))
    [style] = page.texts["style"]
    [script] = [text for text in page.texts["script"] if not text.startswith("{")]
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["style-src"] == digest(style)
    assert rules["script-src"] == digest(script)
    assert rules["img-src"] == "data:"
    assert "connect-src" not in rules


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_report_contains_nothing_that_its_security_policy_blocks(page: Reader) -> None:
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        assert not {"src", "srcset", "action", "formaction"} & set(attributes), tag
    assert {link["href"] or "" for link in page.all("link")} == {page.all("link")[0]["href"]}
    assert (page.all("link")[0]["href"] or "").startswith("data:")
    assert page.elements.count(("meta", {"name": "referrer", "content": "no-referrer"})) == 1


def test_a_link_leads_to_tallyfy_and_only_by_a_valid_id() -> None:
    entries = [process(1), process(2, id="../x"), process(3, resource=Resource.TAG), process(4, id="A" * 32)]
    page = read(plan(entries), entries)
    outward = [link for link in page.all("a") if "href" in link and not (link["href"] or "").startswith("#")]
    assert [link["href"] for link in outward] == [f"https://go.tallyfy.com/{ORG}/process/{1:032x}"]
    for link in outward:
        assert (link["rel"], link["referrerpolicy"]) == ("noopener noreferrer", "no-referrer")


def test_without_a_script_the_due_rows_come_first() -> None:
    entries = [*(process(place) for place in range(300)), *(due(1000 + place) for place in range(3))]
    page = read(plan(entries), entries)
    rows = [attributes["class"] for attributes in page.all("tr") if attributes.get("class")]
    assert rows == ["due"] * 3 + ["kept"] * 197
    assert "the first 200 rows are shown" in page.text
    [table] = [table for table in page.all("table") if table.get("role") == "table"]
    assert table["aria-rowcount"] == "304"


def test_kept_rows_are_omitted_first_and_the_report_says_so() -> None:
    kept, affected = MOST_ROWS, 70
    entries = [*(process(place) for place in range(kept)), *(due(kept + place) for place in range(affected))]
    rows, text = large(plan(entries), entries)
    assert len(rows) == MOST_ROWS
    assert sum(row[4] != 0 for row in rows) == affected
    assert "70 rows are left out." in text
    assert "all that would be acted on among them; plan.jsonl.gz has all" in text


def test_omitted_due_rows_are_reported_as_well() -> None:
    entries = [process(0), *(due(1 + place) for place in range(MOST_ROWS + 5))]
    rows, text = large(plan(entries), entries)
    assert len(rows) == MOST_ROWS
    assert all(row[4] != 0 for row in rows)
    assert "6 rows are left out." in text
    assert "as many of the due ones as fit" in text


def test_the_report_is_written_while_the_plan_is_read() -> None:
    taken = 0

    def counting() -> Iterator[Entry]:
        nonlocal taken
        for place in range(5_000):
            taken += 1
            yield process(place)

    written = 0
    for piece in render(plan([process(0)] * 5_000), counting()):
        assert taken - written <= 200
        written += piece.count(f'"{0:020x}')
    assert (taken, written) == (5_000, 5_000)


def test_memory_does_not_grow_with_the_plan() -> None:
    made = plan([process(0)])
    entries = (process(place, Decision(None, "too young", f"Its own reason {place}.")) for place in range(20_000))
    sum(map(len, render(made, repeat(process(0), 10))))  # what is read once
    tracemalloc.start()
    size = sum(map(len, render(made, entries)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 2_000_000
    assert peak < 1_500_000


@pytest.mark.parametrize(
    ("changes", "heading", "reason"),
    [
        ({"unseen": ("Page 3 of the tags.",)}, "This plan is incomplete", "Page 3 of the tags."),
        ({"stops": ("Over its cap.",)}, "This plan is not applied", "Over its cap."),
    ],
)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_stopped_plan_says_why_and_offers_no_command(
    changes: dict[str, Any], heading: str, reason: str, mode: Mode
) -> None:
    made, entries = sample(100, mode=mode, **changes)
    page = read(made, entries)
    assert heading in page.texts["h2"]
    assert reason in page.texts["li"]
    assert "What to do next:" in page.text
    assert "lifecycle apply" not in page.text
    assert "lifecycle sweep start" in page.text
    assert "would be archived" in page.text
    assert "Nothing has been done." in page.text


@pytest.mark.parametrize("mode", list(Mode))
def test_a_plan_that_needs_a_person_says_why_and_shows_the_command(mode: Mode) -> None:
    made, entries = sample(100, person=("Its first plan.",), mode=mode)
    page = read(made, entries)
    assert "A person has to apply this plan" in page.texts["h2"]
    assert "Its first plan." in page.texts["li"]
    assert f"lifecycle apply {made.hash}" in page.texts["code"]
    assert "Nothing has been done." in page.text


def test_the_report_of_a_stopped_plan_offers_no_command_to_a_person() -> None:
    made, entries = sample(100, person=("Its first plan.",), stops=("Over its cap.",))
    page = read(made, entries)
    assert "First correct the problems above." in page.text
    assert "lifecycle apply" not in page.text


def test_notes_do_not_stop_a_plan() -> None:
    made, entries = sample(100, notes=("The token is old.",))
    page = read(made, entries)
    assert "Worth knowing" in page.texts["h2"]
    assert "The token is old." in page.texts["li"]
    assert "lifecycle apply" in page.text


def test_a_plan_that_the_sweep_applies_needs_no_command() -> None:
    entries = [due(1), process(2)]
    page = read(plan(entries, mode=Mode.APPLY), entries)
    assert page.texts["h1"] == ["1 of 2 processes will be archived."]
    assert "applies it by itself. No further step is needed." in page.text
    assert "Nothing has been done." not in page.text
    assert "None: the sweep applies this plan by itself." in page.text
    assert "lifecycle apply" not in page.text


def final(place: int) -> Entry:
    decision = Decision(Action.DELETE, "rule unused-tags", "Nothing carries it.", "unused-tags")
    return process(place, decision, resource=Resource.TAG)


def test_irreversible_actions_wait_for_a_person_while_the_sweep_does_the_rest() -> None:
    entries = [due(1), final(2)]
    made = plan(entries, mode=Mode.APPLY)
    page = read(made, entries)
    assert page.texts["h1"] == ["1 of 1 process will be archived and 1 of 1 tag would be deleted for good."]
    assert "applies it by itself. Irreversible actions wait for a person." in page.text
    assert "the sweep applies the others by itself:" in page.text
    assert f"lifecycle apply {made.hash}" in page.texts["code"]


def test_a_plan_with_only_irreversible_actions_is_not_applied_by_the_sweep() -> None:
    entries = [final(1)]
    made = plan(entries, mode=Mode.APPLY)
    page = read(made, entries)
    assert page.texts["h1"] == ["1 of 1 tag would be deleted for good."]
    assert "Nothing has been done." in page.text
    assert f"lifecycle apply {made.hash}" in page.texts["code"]


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_plan_with_nothing_due_shows_nothing_to_do(count: int, mode: Mode) -> None:
    entries = [process(place) for place in range(count)]
    page = read(plan(entries, mode=mode), entries)
    said = {0: "0 things looked at", 1: "1 thing looked at"}[count]
    assert page.texts["h1"] == [f"Nothing would be done: {said}, nothing due."]
    assert "Nothing has been done." in page.text
    assert "lifecycle apply" not in page.text


def test_a_count_of_one_uses_the_singular() -> None:
    entries = [due(1)]
    [heading] = read(plan(entries), entries).texts["h1"]
    assert heading == "1 of 1 process would be archived."


def test_dates_are_in_the_plans_time_zone_and_an_impossible_date_is_left_out() -> None:
    late = datetime(2026, 5, 31, 22, 30, tzinfo=UTC)  # the first of June in Berlin
    never = datetime(9999, 12, 31, 23, 30, tzinfo=UTC)
    entries = [process(1, completed_at=late), process(2, completed_at=never), process(3)]
    page = read(plan(entries), entries)
    today = page.data["today"]
    assert [row[10] for row in page.data["rows"]] == [today, None, None]
    assert "0 days completed 1 Jun 2026" in page.text


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(0, "less than a minute"), (1, "about 1 minute"), (60, "about 1 hour"), (125, "about 2 hours 5 minutes")],
)
def test_durations_are_written_in_words(minutes: int, said: str) -> None:
    entries = [due(1)]
    assert f"{said} at 100 calls a minute" in read(plan(entries, estimated_minutes=minutes), entries).text


def test_headings_are_in_order_and_ids_are_unique(page: Reader) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for anchor in page.all("a"):
        target = anchor.get("href") or ""
        assert not target.startswith("#") or target[1:] in ids
    for tag, attributes in page.elements:
        for name in ("aria-labelledby", "for"):
            assert name not in attributes or attributes[name] in ids, tag


def test_long_texts_are_truncated() -> None:
    entries = [process(1, name="x" * 5_000)]
    page = read(plan(entries), entries)
    assert page.data["rows"][0][1] == "x" * 500 + " …"


def test_the_sample_report_matches_the_policy() -> None:
    _, entries = sample(50)
    assert entries == [entry(thing) for thing in things(50)]
