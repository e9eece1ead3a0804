"""The list of the demonstration's steps: complete, and no step passes where nothing was seen."""

import inspect
from typing import cast

import pytest
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sandbox.demo import deletes, deliveries, failures, plans
from sandbox.demo.play import STEPS, play_steps
from sandbox.demo.session import Demo, DemoStep


class Unreachable:
    """A demonstration of which no part answers."""

    planned = first = outage = None

    def __getattr__(self, name: str) -> object:
        raise ConnectionError(name)

    def closing_table(self) -> tuple[Table, bool]:
        return Table(), True


def test_the_demo_plays_every_step_once() -> None:
    written = {
        step
        for module in (deliveries, deletes, plans, failures)
        for _, step in inspect.getmembers(module, inspect.isfunction)
        if step.__module__ == module.__name__
        and list(inspect.signature(step).parameters) == ["demo", "step"]
        and not step.__name__.startswith("_")
    }
    played = [step for _, step in STEPS]
    assert set(played) == written
    assert len(played) == len(written)
    assert len({title for title, _ in STEPS}) == len(STEPS)


@pytest.mark.parametrize(("title", "act"), STEPS, ids=[title for title, _ in STEPS])
def test_no_step_passes_if_nothing_answers(title: str, act: object) -> None:
    out = Console(record=True, width=200, file=None, quiet=False, force_terminal=False)
    with Progress(console=out, transient=True, disable=True) as progress:
        only = ((title, act),)
        patch = pytest.MonkeyPatch()
        with patch.context() as patched:
            patched.setattr("sandbox.demo.play.STEPS", only)
            passed = play_steps(cast("Demo", Unreachable()), progress, progress.add_task(""), out)
    assert not passed
    assert title in out.export_text().replace("\n", "")


def test_a_step_that_checks_nothing_has_not_passed() -> None:
    seen = []
    step = DemoStep("a step")
    seen.append(step.passed)
    step.check("something", held=True)
    seen.append(step.passed)
    step.check("something else", held=False)
    seen.append(step.passed)
    assert seen == [False, True, False]
