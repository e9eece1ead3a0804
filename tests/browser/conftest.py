"""One Chromium for all tests here, and a new page in it for each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lifecycle.plans.plan_file import Entry, Names, Plan
from lifecycle.plans.report import render
from tests.browser.chromium import Browser, Page, program

type Show = Callable[..., Page]
"""Opens the report of a plan, its entries and, if given, names."""


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if program() is None:
        pytest.skip("Chromium is not installed (Debian, Ubuntu: apt install chromium).")
    with Browser.start(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.page()
    page.size(1280, 900)
    page.media(prefers_color_scheme="light")
    yield page
    page.call("Page.close")


@pytest.fixture
def show(page: Page, tmp_path: Path) -> Show:
    """Open the report of a plan, as a file on a disk."""

    def opened(plan: Plan, entries: list[Entry], names: Names | None = None) -> Page:
        path = tmp_path / "report.html"
        path.write_text("".join(render(plan, entries, names)), encoding="utf-8")
        page.open(path)
        return page

    return opened
