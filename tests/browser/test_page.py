"""The report in a real browser: harmless, usable by hand, by keyboard and by ear, on a desk and on a phone."""

import json
import unicodedata
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lifecycle.domain.capabilities import Resource
from lifecycle.plans.plan_file import Entry, Names
from lifecycle.plans.report.spreadsheet import csv_lines
from lifecycle.policy.evaluate import Decision
from tests.browser.chromium import Failed, Page
from tests.browser.conftest import Show
from tests.browser.sample import NAMES, plan, sample

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[2] / "docs"
HOSTILE = (
    "</script><script>window.hurt=1</script>",
    "<img src=x onerror=window.hurt=1>",
    '"><svg onload=window.hurt=1>',
    "javascript:window.hurt=1",
    "{{constructor.constructor('window.hurt=1')()}}",
    "\u2028window.hurt=1//",
    "x" * 2_000,
)
THEMES = ("light", "dark")

ROWS = "[...document.querySelectorAll('#body tr')]"
COUNT = "document.getElementById('count').textContent"


def shown(page: Page) -> list[dict[str, str]]:
    """The rows that are in the document, as a reader sees them."""
    found: list[dict[str, str]] = page.run(
        ROWS + ".map(tr => ({ index: tr.getAttribute('aria-rowindex'), name: tr.querySelector('.name').textContent,"
        " doing: tr.querySelector('.badge').textContent, why: tr.querySelector('.why').textContent,"
        " status: tr.querySelector('.c-status').textContent, age: tr.querySelector('.age').textContent }))"
    )
    return found


def choose(page: Page, field: str, value: str) -> None:
    page.run(
        f"(field => {{ field.value = {json.dumps(value)};"
        " field.dispatchEvent(new Event('input', { bubbles: true })) })"
        f"(document.getElementById({json.dumps(field)}))"
    )


def press(page: Page, selector: str) -> None:
    page.run(f"document.querySelector({json.dumps(selector)}).click()")


def go(page: Page, address: str) -> None:
    """Change the part of the address behind the page, as a person or a link does."""
    change = f"location.hash = {json.dumps(address)}"
    page.run(f"new Promise(done => {{ addEventListener('hashchange', done, {{ once: true }}); {change} }})")


def focused(page: Page, what: str) -> Any:  # noqa: ANN401 - JSON
    return page.run(f"document.activeElement.{what}")


def settle(page: Page) -> None:
    """Two frames: what was asked for is drawn."""
    page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def hostile(entry: Entry, text: str) -> Entry:
    said = Decision(entry.decision.action, text, text, text if entry.decision.action is None else entry.decision.rule)
    return Entry(replace(entry.thing, name=text, status=text, template_id=text, tags=frozenset({text})), said)


def test_the_page_makes_no_request_and_logs_no_error(show: Show) -> None:
    page = show(*sample(1_000, failed=1, person=("Why.",), stops=("Why.",), unseen=("Why.",), notes=("Why.",)))
    press(page, "#body .name")
    press(page, "#close")
    settle(page)
    assert page.trouble() == []
    assert [url for url in page.requests() if not url.startswith("data:")] == [page.run("location.href")]


def test_the_content_security_policy_blocks_and_reports_violations(show: Show) -> None:
    """The test above could fail."""
    page = show(*sample(10))
    page.run("fetch('https://policy.invalid/').catch(() => 0)")
    assert any("connect-src" in trouble for trouble in page.trouble())
    assert "TypeError" in page.run(
        "(() => { try { document.body.innerHTML = '<b>' } catch (e) { return String(e) } })()"
    )
    for attempt in ("document.body.setAttribute('onclick', 'window.hurt=1')", "setTimeout('window.hurt=1')"):
        with pytest.raises(Failed, match="This document requires 'TrustedScript' assignment"):
            page.run(attempt)


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_text_is_only_shown(show: Show, page: Page, width: int, *, script: bool) -> None:
    made, plain = sample(4 * len(HOSTILE))
    entries = [hostile(entry, HOSTILE[place % len(HOSTILE)]) for place, entry in enumerate(plain)]
    page.size(width, 844)
    page.call("Emulation.setScriptExecutionDisabled", value=not script)
    everybody = {str(4700 + place): HOSTILE[place % len(HOSTILE)] for place in range(9)}
    names = Names(everybody, {text: text for text in HOSTILE})
    show(made.model_copy(update={"notes": HOSTILE, "org_name": HOSTILE[0]}), entries, names)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page.run("typeof window.hurt") == "undefined"
    assert page.of("Page.javascriptDialogOpening") == []
    assert page.run("document.querySelectorAll('img, svg[onload], script:not([id])').length") == 1, "our own script"
    assert {row["name"] for row in shown(page)} <= {text if len(text) < 500 else "x" * 500 + " …" for text in HOSTILE}
    assert page.run("document.documentElement.scrollWidth") <= width
    if script:
        press(page, "#body .name")
        assert page.run("document.getElementById('detail').open")
        assert page.run("typeof window.hurt") == "undefined"
        assert page.trouble() == []


def test_search_filters_while_typing(show: Show) -> None:
    made, entries = sample(1_000)
    page = show(made, entries)
    assert page.run(COUNT) == "All 1,000 rows"
    page.run("document.getElementById('search').focus()")
    page.type("KRÜGER  invoice")
    fitting = [
        entry for entry in entries if {"Krüger", "Invoice"} <= set((entry.thing.name or "").replace(":", "").split())
    ]
    assert fitting
    assert page.run(COUNT) == f"{len(fitting)} of 1,000 rows"
    assert {row["name"] for row in shown(page)} == {"Invoice approval: Benedikt Krüger"}
    assert page.run("document.querySelector('table.rows').getAttribute('aria-rowcount')") == str(len(fitting) + 1)
    page.run("new Promise(done => setTimeout(done, 600))")
    assert page.run("document.getElementById('said').textContent") == f"{len(fitting)} of 1,000 rows shown"


def test_search_finds_ids_and_reasons(show: Show) -> None:
    made, entries = sample(1_000)
    page = show(made, entries)
    choose(page, "search", entries[500].thing.id)
    assert [row["name"] for row in shown(page)] == [entries[500].thing.name]
    choose(page, "search", "hold tag")
    assert page.run(COUNT) == f"{made.kept_by['on hold']} of 1,000 rows"


def test_filters_for_decision_reason_status_and_kind_combine(show: Show) -> None:
    made, entries = sample(1_000)
    page = show(made, entries)
    press(page, "input[value=due]")
    assert page.run(COUNT) == f"{made.due} of 1,000 rows"
    choose(page, "status", "active")
    expected = [one for one in entries if one.decision.action and one.thing.status == "active"]
    assert page.run(COUNT) == f"{len(expected)} of 1,000 rows"
    assert {row["status"] for row in shown(page)} == {"active"}
    press(page, "#clear")
    assert page.run(COUNT) == "All 1,000 rows"
    assert focused(page, "id") == "search"
    choose(page, "reason", "kind:too young")
    assert page.run(COUNT) == f"{made.kept_by['too young']} of 1,000 rows"
    choose(page, "kind", "tag")
    young = [one for one in entries if one.decision.kind == "too young" and one.thing.resource is Resource.TAG]
    assert page.run(COUNT) == f"{len(young)} of 1,000 rows"


def test_owners_and_templates_are_shown_by_name_and_by_id_where_no_name_is_known(show: Show) -> None:
    made, entries = sample(200)
    page = show(made, entries, NAMES)
    [entry] = [one for one in entries if one.thing.template_id][:1]
    number = next(iter(entry.thing.owners or ()))
    choose(page, "search", entry.thing.id)
    cell = "document.querySelector('#body .c-whose')"
    assert page.run(f"{cell}.querySelector('.owner').textContent") == NAMES.owners.get(number, number)
    template = entry.thing.template_id or ""
    assert page.run(f"{cell}.querySelector('.template').textContent") == NAMES.templates.get(template, template)
    press(page, "#body .name")
    facts = page.run("document.getElementById('detail-facts').textContent")
    assert (f"{NAMES.owners[number]} ({number})" if number in NAMES.owners else f"Owners{number}") in facts
    assert template in facts


def test_filters_for_owner_template_and_rule_combine_with_the_search(show: Show) -> None:
    made, entries = sample(1_000)
    page = show(made, entries, NAMES)
    template = next(
        str(one.thing.template_id)
        for one in entries
        if (one.decision.rule, one.thing.owners) == ("completed", frozenset({"4701"})) and one.decision.action
    )
    labels = page.run("[...document.getElementById('owner').options].map(option => option.textContent)")
    mine = [one for one in entries if "4701" in (one.thing.owners or ())]
    assert f"Bo Lindgren, 4701 ({len(mine)})" in labels
    assert any(label.startswith("4708 (") for label in labels)
    choose(page, "owner", "4701")
    assert page.run(COUNT) == f"{len(mine)} of 1,000 rows"
    choose(page, "template", template)
    mine = [one for one in mine if one.thing.template_id == template]
    assert page.run(COUNT) == f"{len(mine)} of 1,000 rows"
    choose(page, "reason", "rule:completed")
    mine = [one for one in mine if one.decision.action and one.decision.rule == "completed"]
    assert page.run(COUNT) == f"{len(mine)} of 1,000 rows"
    word = (mine[0].thing.name or "").split(":")[0]
    choose(page, "search", word)
    assert page.run(COUNT) == f"{len([one for one in mine if word in (one.thing.name or '')])} of 1,000 rows"


def test_the_address_keeps_the_filters_and_brings_them_back(show: Show) -> None:
    made, entries = sample(1_000)
    page = show(made, entries, NAMES)
    choose(page, "owner", "4701")
    choose(page, "search", "krüger & co #1")
    choose(page, "search", "krüger")
    press(page, "input[value=due]")
    press(page, "th[data-sort=age] button")
    expected = page.run(COUNT)
    assert expected != "All 1,000 rows"
    page.run("new Promise(done => setTimeout(done, 600))")
    address = page.run("location.hash")
    assert address == "#q=kr%C3%BCger&owner=4701&decision=due&sort=age"
    press(page, "#clear")
    page.run("new Promise(done => setTimeout(done, 600))")
    assert page.run("location.hash") == "#sort=age"
    go(page, address)
    assert page.run(COUNT) == expected
    assert page.run("document.querySelector('th[data-sort=age]').getAttribute('aria-sort')") == "ascending"
    page.events.clear()
    page.call("Page.reload")
    page.browser.until(lambda: bool(page.of("Page.loadEventFired")))
    assert page.run(COUNT) == expected
    go(page, "#owner=nobody&sort=constructor")
    assert page.run(COUNT) == "All 1,000 rows"
    assert page.of("Runtime.exceptionThrown") == []


def test_a_link_to_a_part_of_the_page_changes_no_filter(show: Show) -> None:
    page = show(*sample(100))
    press(page, "input[value=due]")
    expected = page.run(COUNT)
    go(page, "#totals")
    assert (page.run(COUNT), page.run("location.hash")) == (expected, "#totals")


@pytest.mark.parametrize("chosen", ["", "4701"])
def test_the_download_is_the_same_csv_as_the_commands_for_the_chosen_rows(
    show: Show, page: Page, tmp_path: Path, chosen: str
) -> None:
    made, plain = sample(300)
    formulas = ("=1+1", "+1", "-1", "@sum", "\uff1d1", 'a "quoted", name', "\tdone")
    entries = [
        replace(one, thing=replace(one.thing, name=formulas[place % 7], tags=frozenset({"=x", "y"})))
        for place, one in enumerate(plain)
    ]
    names = Names({**NAMES.owners, "4701": '=HYPERLINK("http://x")'}, NAMES.templates)
    show(made, entries, names)
    page.browser.call("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    if chosen:
        choose(page, "owner", chosen)
    press(page, "#csv")
    file = tmp_path / f"lifecycle-plan-{made.hash[:12]}.csv"
    page.browser.until(lambda: page.run("1") and file.exists())
    wanted = [one for one in entries if not chosen or chosen in (one.thing.owners or ())]
    head, *lines = "".join(csv_lines(made, wanted, names)).splitlines(keepends=True)
    found_head, *found = file.read_bytes().decode("utf-8").splitlines(keepends=True)
    assert (found_head, sorted(found)) == (head, sorted(lines))
    assert page.trouble() == []


def test_all_chosen_rows_are_printed_and_no_controls(show: Show, page: Page) -> None:
    made, entries = sample(1_000)
    show(made, entries, NAMES)
    choose(page, "owner", "4701")
    wanted = [one.thing.id for one in entries if "4701" in (one.thing.owners or ())]
    page.run("dispatchEvent(new Event('beforeprint'))")
    page.call("Emulation.setEmulatedMedia", media="print")
    printed = page.run("[...document.querySelectorAll('#paper tbody code')].map(code => code.textContent)")
    assert sorted(printed) == sorted(wanted)
    assert page.run("document.getElementById('paper').checkVisibility()")
    assert "Bo Lindgren, 4701" in page.run("document.querySelector('#paper caption').textContent")
    for control in ("#tools", "#csv", "#print", "#frame", "nav"):
        assert not page.run(f"document.querySelector('{control}').checkVisibility()"), control
    page.run("dispatchEvent(new Event('afterprint'))")
    assert page.run("document.getElementById('paper').childElementCount") == 0
    page.call("Emulation.setEmulatedMedia", media="")
    pdf = page.call("Page.printToPDF")["data"]
    assert len(pdf) > 50_000, "the browser itself sends these events when it prints"


def test_a_search_without_results_says_so_and_offers_a_reset(show: Show) -> None:
    page = show(*sample(100))
    choose(page, "search", "no such thing")
    assert shown(page) == []
    assert page.run("document.getElementById('none').checkVisibility()")
    press(page, "#clear-too")
    assert page.run(COUNT) == "All 100 rows"
    assert not page.run("document.getElementById('none').checkVisibility()")


def test_a_rule_and_a_reason_in_the_totals_lead_to_their_rows(show: Show) -> None:
    made, entries = sample(1_000)
    page = show(made, entries)
    press(page, "[data-value=stalled-trials] button")
    expected = next(rule.due for rule in made.rules if rule.name == "stalled-trials")
    assert page.run(COUNT) == f"{expected} of 1,000 rows"
    assert focused(page, "id") == "list"
    press(page, "[data-value='on hold'] button")
    assert page.run(COUNT) == f"{made.kept_by['on hold']} of 1,000 rows"


def test_columns_sort_in_both_directions_and_show_the_direction(show: Show) -> None:
    made, entries = sample(1_000)
    page = show(made, entries)
    sorted_by = (
        "[...document.querySelectorAll('th[aria-sort]')].map(th => [th.textContent, th.getAttribute('aria-sort')])"
    )
    assert page.run(sorted_by) == [["Decision", "ascending"]]
    final = sum(rule.due for rule in made.rules if rule.irreversible)
    assert [row["doing"] for row in shown(page)][:12] == (["delete"] * final + ["archive"] * made.due)[:12]
    press(page, "th[data-sort=age] button")
    assert page.run(sorted_by) == [["Age", "ascending"]]
    young = [int(row["age"].split()[0].replace(",", "")) for row in shown(page)]
    assert young == sorted(young)
    press(page, "th[data-sort=age] button")
    assert page.run(sorted_by) == [["Age", "descending"]]
    old = [int(row["age"].split()[0].replace(",", "")) for row in shown(page)]
    assert old == sorted(old, reverse=True)
    assert old[0] > young[-1]
    press(page, "th[data-sort=name] button")
    names = [row["name"] for row in shown(page)]
    assert names == sorted(names, key=lambda name: unicodedata.normalize("NFKD", name).casefold())
    assert names != sorted(names), "as people sort, not as machines do"
    assert page.run("document.querySelectorAll('th[data-sort] button').length") == 6


def test_only_visible_rows_are_in_the_document(show: Show) -> None:
    page = show(*sample(20_000))
    assert 10 < len(shown(page)) < 60
    assert page.run("document.querySelector('table.rows').getAttribute('aria-rowcount')") == "20001"
    page.run("document.getElementById('frame').scrollTop = 1e9")
    settle(page)
    assert 10 < len(shown(page)) < 60
    indexes = [int(row["index"]) for row in shown(page)]
    assert indexes == list(range(indexes[0], 20_002)), "in their order in the document, too"
    lowest = page.run(f"Math.max(...{ROWS}.map(tr => tr.getBoundingClientRect().bottom))")
    assert lowest == pytest.approx(page.run("document.getElementById('frame').getBoundingClientRect().bottom"), abs=3)


def test_scrolling_back_and_forth_keeps_the_rows_few_and_in_order(show: Show) -> None:
    page = show(*sample(2_000))
    for top in (300, 900, 9_000, 8_700, 8_400, 8_900, 200, 0):
        page.run(f"document.getElementById('frame').scrollTop = {top}")
        settle(page)
        indexes = [int(row["index"]) for row in shown(page)]
        assert indexes == list(range(indexes[0], indexes[-1] + 1))
        assert len(indexes) < 40


def test_the_list_can_be_used_by_keyboard_only(show: Show) -> None:
    page = show(*sample(500))
    page.run("document.querySelector('.skip').focus()")
    page.key("Enter", code=13, text="\r")
    assert focused(page, "id") == "list"
    for _ in range(40):
        page.key("Tab", code=9)
        if focused(page, "className") == "name":
            break
    first = focused(page, "textContent")
    for _ in range(60):
        page.key("ArrowDown", code=40)
    assert focused(page, "closest('tr').getAttribute('aria-rowindex')") == "62"
    inside = (
        "(() => { const row = document.activeElement.closest('tr').getBoundingClientRect(),"
        " frame = document.getElementById('frame').getBoundingClientRect(),"
        " head = document.querySelector('.rows thead').getBoundingClientRect();"
        " return row.top >= head.bottom - 1 && row.bottom <= frame.bottom + 1 })()"
    )
    assert page.run(inside)
    for _ in range(60):
        page.key("ArrowUp", code=38)
    assert focused(page, "textContent") == first
    assert page.run(inside)


def test_a_row_opens_completely_and_closes_in_place(show: Show) -> None:
    made, entries = sample(500)
    page = show(made, entries)
    name = f"{ROWS}.find(tr => tr.querySelector('.kind').textContent === 'process').querySelector('.name')"
    page.run(f"{name}.focus()")
    opened = focused(page, "textContent")
    page.key("Enter", code=13, text="\r")
    assert page.run("document.getElementById('detail').open")
    assert page.run("document.getElementById('detail-h').textContent") == opened
    said = page.run("document.getElementById('detail-facts').textContent")
    [entry] = [one for one in entries if one.thing.id in said]
    assert entry.decision.reason in said
    [link] = page.run(
        "[...document.querySelectorAll('#detail a')].map(a => [a.href, a.rel, a.target, a.referrerPolicy])"
    )
    address = f"https://go.tallyfy.com/{made.org_id}/process/{entry.thing.id}"
    assert link == [address, "noopener noreferrer", "_blank", "no-referrer"]
    page.key("Escape", code=27)
    assert not page.run("document.getElementById('detail').open")
    assert focused(page, "textContent") == opened


def test_focus_stays_in_the_list_when_its_row_scrolls_away(show: Show) -> None:
    page = show(*sample(500))
    page.run("document.querySelector('#body .name').focus(); document.getElementById('frame').scrollTop = 9000")
    settle(page)
    assert focused(page, "id") == "frame"


def test_the_next_command_can_be_copied(show: Show, page: Page) -> None:
    page.browser.call("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    made, entries = sample(100)
    show(made, entries)
    page.call("Page.bringToFront")
    press(page, "#copy")
    settle(page)
    assert page.run("document.getElementById('copy').textContent") == "Copied"
    assert page.run("navigator.clipboard.readText()") == f"lifecycle apply {made.hash}"


@pytest.mark.parametrize("width", [320, 390, 600, 768, 1024, 1280, 1920])
def test_no_width_makes_the_page_scroll_sideways(show: Show, page: Page, width: int) -> None:
    page.size(width, 844, mobile=width < 500)
    show(*sample(300, failed=1, person=("Why.",), stops=("x" * 300,)))
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("document.getElementById('frame').scrollWidth <= document.getElementById('frame').clientWidth")
    press(page, "#body .name")
    assert page.run("document.getElementById('detail').scrollWidth <= document.getElementById('detail').clientWidth")


def test_on_a_phone_rows_become_cards_with_every_field(show: Show, page: Page) -> None:
    page.size(390, 844, mobile=True)
    show(*sample(300))
    boxes = page.run(
        f"(tr => ['.name', '.badge', '.c-status', '.age', '.why'].map(part => tr.querySelector(part)"
        f".getBoundingClientRect()).map(box => [box.left >= 0, box.right <= 390, box.height > 0]))({ROWS}[3])"
    )
    assert boxes == [[True, True, True]] * 5
    tops = page.run(
        f"['.name', '.badge', '.why'].map(part => {ROWS}[3].querySelector(part).getBoundingClientRect().top)"
    )
    assert tops == sorted(set(tops)), "one below the other"
    assert page.run("document.querySelectorAll('[role=row] [role=cell]').length") > 0


@pytest.mark.parametrize("change", ["a narrow window", "large letters"])
def test_rows_keep_their_places_when_they_grow(show: Show, page: Page, change: str) -> None:
    page.size(1280, 500)
    show(*sample(300))
    if change == "large letters":
        page.run("document.documentElement.style.fontSize = '24px'")
    else:
        page.size(390, 844, mobile=True)
    settle(page)
    apart = f"{ROWS}.slice(0, 5).map((tr, at, all) => at && Math.round(tr.getBoundingClientRect().top - all[at - 1]"
    assert page.run(apart + ".getBoundingClientRect().bottom))") == [0] * 5


# Contrast as WCAG 2 counts it, of every piece of text that is in sight, against what lies behind it.
_CONTRAST = """
(() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode, at = node.parentElement;
    if (!node.textContent.trim() || at.closest('.unseen, :disabled')) continue;
    if (!at.checkVisibility({ opacityProperty: true })) continue;
    const style = getComputedStyle(at);
    const [one, other] = [light(parse(at.closest('svg') ? style.fill : style.color)), light(behind(at))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const big = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (big ? 3 : 4.5)) found.push([node.textContent.trim().slice(0, 40), at.className, ratio.toFixed(2)]);
  }
  return found;
})()
"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [1280, 390])
def test_all_text_has_enough_contrast(show: Show, page: Page, theme: str, width: int) -> None:
    page.size(width, 844)
    page.media(prefers_color_scheme=theme)
    show(*sample(400, failed=1, person=("Why.",), stops=("Why.",), notes=("Why.",)))
    page.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.run(_CONTRAST) == []


def test_the_contrast_check_finds_faint_text(show: Show) -> None:
    """The test above could fail."""
    page = show(*sample(10))
    page.run("document.querySelector('h1').style.color = '#aaa'")
    assert [found[0][:2] for found in page.run(_CONTRAST)] == [page.run("document.querySelector('h1').textContent")[:2]]


def test_the_page_is_dark_if_the_reader_prefers_dark(show: Show, page: Page) -> None:
    show(*sample(10))
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    assert page.run(colour) == "rgb(247, 247, 245)"
    page.media(prefers_color_scheme="dark")
    assert page.run(colour) == "rgb(18, 19, 22)"


def test_nothing_moves_if_the_reader_prefers_reduced_motion(show: Show, page: Page) -> None:
    page.media(prefers_reduced_motion="reduce")
    show(*sample(10))
    assert page.run("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert page.run("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"


def test_the_focused_element_is_visibly_marked(show: Show) -> None:
    page = show(*sample(50))
    for _ in range(25):
        page.key("Tab", code=9)
        look = (
            "(at => getComputedStyle(at.matches('.choice input') ? at.nextElementSibling : at))(document.activeElement)"
        )
        assert page.run(f"{look}.outlineStyle") != "none", focused(page, "outerHTML")


def test_without_javascript_the_first_rows_are_shown(show: Show, page: Page) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.size(390, 844, mobile=True)
    made, entries = sample(1_000)
    show(made, entries)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    rows = shown(page)
    assert len(rows) == 200
    affected = min(made.due, 200)
    assert ["keep" not in row["doing"] for row in rows] == [True] * affected + [False] * (200 - affected)
    assert not page.run("document.getElementById('tools').checkVisibility()")
    assert page.run("document.querySelector('noscript p').checkVisibility()")
    assert page.run("document.documentElement.scrollWidth") <= 390
    boxes = page.run(f"{ROWS}.slice(0, 9).map(tr => tr.getBoundingClientRect()).map(box => [box.top, box.bottom])")
    assert all(above[1] == pytest.approx(below[0]) for above, below in pairwise(boxes))


def test_an_empty_plan_also_makes_a_page(show: Show) -> None:
    page = show(plan([]), [])
    assert page.run(COUNT) == "All 0 rows"
    assert page.trouble() == []


@pytest.mark.parametrize(
    ("name", "width", "height", "theme", "first", "until"),
    [
        ("light", 1280, 520, "light", "html", "#list"),
        ("dark", 1280, 520, "dark", "html", "#list"),
        ("phone", 390, 844, "light", "html", "#totals"),
        ("list", 1280, 900, "light", "#list", "#list"),
    ],
)
def test_screenshots_for_the_documents_are_written(
    show: Show, page: Page, name: str, width: int, height: int, theme: str, first: str, until: str
) -> None:
    page.size(width, height, mobile=width < 500)
    page.media(prefers_color_scheme=theme)
    show(*sample(2_431), NAMES)
    settle(page)
    top = page.run(f"Math.max(0, document.querySelector('{first}').getBoundingClientRect().top + scrollY - 24)")
    bottom = page.run(f"document.querySelector('{until}').getBoundingClientRect().bottom + scrollY + 24")
    path = DOCS / f"report-{name}.png"
    page.picture(path, top=top, height=bottom - top)
    assert 20_000 < path.stat().st_size < 300_000
