"""The generated pages are what the code says now."""

from pathlib import Path

import pytest

from cli import reference
from tests.unit.docs.documents import DOCS, name_of

PAGES = reference.pages()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_generated_page_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path], "run: make docs"


def test_the_folder_of_generated_pages_holds_no_other_file() -> None:
    assert set((DOCS / "reference").iterdir()) == {path for path in PAGES if path.parent.name == "reference"}


def test_angle_brackets_outside_code_are_escaped() -> None:
    assert reference._escaped("name it `<stack>/x` or <y>") == "name it `<stack>/x` or &lt;y>"
