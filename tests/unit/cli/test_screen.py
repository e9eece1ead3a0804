"""What is shown keeps its words and ids whole, however narrow the screen."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.ui import progress
from cli.ui.console import YES, WrappingTable, plain, table

INTENT = "int_" + "4f" * 24
WORDS = st.lists(
    st.lists(st.text("abcdefghijklmnop_", min_size=1, max_size=24), min_size=1, max_size=6).map(" ".join),
    min_size=3,
    max_size=3,
)


def drawn(shown: WrappingTable, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(shown, soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def made(*rows: list[str]) -> WrappingTable:
    shown = table("when", "what", "why")
    for row in rows:
        shown.add_row(*(plain(cell) for cell in row))
    return shown


@given(st.lists(WORDS, min_size=1, max_size=4), st.integers(30, 120))
def test_no_screen_width_breaks_or_loses_a_word(rows: list[list[str]], width: int) -> None:
    text = drawn(made(*rows), width)
    shown = text.split()
    for row in rows:
        for word in " ".join(row).split():
            assert word in shown
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


@pytest.mark.parametrize("width", [60, 80, 200])
def test_an_id_is_never_split(width: int) -> None:
    text = drawn(
        made(["2026-06-01 12:00", INTENT, "It is on hold, until the audit of March has been finished."]), width
    )
    assert INTENT in text.split()


def test_a_wide_screen_shows_a_table_and_a_narrow_one_a_block_for_each_row() -> None:
    rows = (["today", INTENT, "held"], ["yesterday", INTENT, "changed"])
    assert len(drawn(made(*rows), 100).splitlines()) == 3
    assert drawn(made(*rows), 62).splitlines() == [
        "when  today",
        f"what  {INTENT}",
        "why   held",
        "",
        "when  yesterday",
        f"what  {INTENT}",
        "why   changed",
    ]


def test_a_heading_counts_as_a_word_too() -> None:
    shown = table("approvals", "expires")
    shown.add_row("0 of 1", "today")
    assert (
        drawn(shown, 16).splitlines()[0].split() == ["approvals", "expires"] or "approvals" in drawn(shown, 16).split()
    )
    assert "…" not in drawn(shown, 12)


def test_the_mark_of_a_row_stands_before_its_first_value() -> None:
    shown = table("", "what", "found")
    shown.add_row(YES, "organization", INTENT)
    assert drawn(shown, 62).splitlines() == ["what   ✓ organization", f"found  {INTENT}"]


def test_a_value_longer_than_the_screen_gets_its_own_line() -> None:
    lines = drawn(made(["today", INTENT, "held"]), 40).splitlines()
    assert INTENT in lines


@pytest.mark.parametrize("charset", ["latin-1", "ascii", "utf-8"])
@pytest.mark.parametrize("words", [("policy", "check"), ("source", "list"), ("--help",), ("hold", "--help")])
def test_a_character_that_a_terminal_cannot_show_ends_no_command(charset: str, words: tuple[str, ...]) -> None:
    shown = CliRunner(charset=charset, env={"TERM": "dumb", "COLUMNS": "80"}).invoke(app, list(words))
    assert shown.exit_code == 0, shown.output
    assert shown.exception is None
    if words == ("policy", "check"):
        assert shown.output.startswith("✓ policy" if charset == "utf-8" else "+ policy")


def test_a_character_that_a_terminal_cannot_show_becomes_the_nearest_ascii() -> None:
    assert "✓ ✗ – … ’ ×".encode("ascii", "plainer") == b"+ x - ... ' x"
    assert "Zoë 中".encode("latin-1", "plainer") == b"Zo\xeb ?"


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal on stderr, and what is written to it."""
    stream = io.StringIO()
    monkeypatch.setattr(
        progress, "console", lambda *, errors: Console(file=stream, force_terminal=errors, width=80, highlight=False)
    )
    return stream


def test_progress_is_shown_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    assert list(progress.tracked("abc", "reading segments", 3)) == ["a", "b", "c"]
    with progress.spinner("waiting"):
        pass
    assert "reading segments" in stream.getvalue()
    assert "waiting" in stream.getvalue()


def test_no_progress_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    assert list(progress.tracked("abc", "reading segments", 3, json_=True)) == ["a", "b", "c"]
    with progress.spinner("waiting", json_=True):
        pass
    assert stream.getvalue() == ""


def test_no_progress_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.tracked("abc", "reading segments", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_a_cell_of_many_lines_makes_each_row_a_block() -> None:
    row = ["today", INTENT, "there is no such thing in the organization"]
    assert len(drawn(made(row), 90).splitlines()) == 3
    assert drawn(made(row), 73).splitlines()[:2] == ["when  today", f"what  {INTENT}"]
