"""`make demo`: every promise shown, and believed only if the status endpoint and the simulator's own log agree."""

import re
import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.services.config_files import SOURCES_FILE
from cli.ui.console import NO, YES, plain
from cli.ui.console import console as plain_console
from sandbox.demo import deletes, deliveries, failures, plans
from sandbox.demo.session import LOG, Demo, DemoStep
from sandbox.running import PEOPLE, local_stack, pointed_at


def play(out: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> bool:
    """Set up, play all steps, tear down; whether each outcome was seen."""
    out = out or plain_console()
    started = clock()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        bar = progress.add_task("Starting", total=len(STEPS))
        sources = without_delays(SOURCES_FILE.read_text("utf-8"))
        with local_stack(lambda step: progress.update(bar, description=step), people=PEOPLE, sources=sources) as local:
            ready = clock()
            out.print(f"[bold]The template is deployed[/] to an emulator on loopback, in {ready - started:.0f} s.")
            with pointed_at(local.stack.environment):
                demo = Demo(local, lambda what: progress.update(bar, description=what))
                failures.begin_outage(demo)
                passed = play_steps(demo, progress, bar, out)
            progress.update(bar, description="Stopping everything")
            if not passed:
                LOG.parent.mkdir(parents=True, exist_ok=True)
                LOG.write_text(local.stack.log)
    ended = clock()
    verdict = Text("Every outcome was seen.", "bold green")
    if not passed:
        verdict = Text(f"Not every outcome was seen. The functions' log is in {LOG}.", "bold red")
    out.print(
        verdict, f"{ended - started:.0f} s in all, {ready - started:.0f} s of it to set up. Nothing is left running."
    )
    return passed


def without_delays(sources: str) -> str:
    """The text of a sources.toml in which nothing waits: the demonstration does not last two weeks."""
    return re.sub(r"^after *=.*\n", "", sources, flags=re.MULTILINE)


def play_steps(demo: Demo, progress: Progress, bar: TaskID, out: Console) -> bool:
    """Play each step and print what it saw. A step that breaks has not passed, and the next one is played."""
    passed = True
    for number, (title, act) in enumerate(STEPS, start=1):
        progress.update(bar, description=title)
        step, began = DemoStep(title), time.monotonic()
        try:
            act(demo, step)
        except Exception as error:  # noqa: BLE001 - one step that breaks must not hide the others
            step.check(f"it broke: {type(error).__name__}: {error}", held=False)
        out.print(_told(number, step, time.monotonic() - began))
        progress.advance(bar)
        passed &= step.passed
    stands, all_right = demo.closing_table()
    out.print(stands, soft_wrap=True)
    return passed and all_right


def _told(number: int, step: DemoStep, seconds: float) -> Group:
    lines = Table.grid(padding=(0, 1))
    lines.add_column(width=10, justify="right", style="dim")
    lines.add_column(overflow="fold")
    for label, texts in (("sent", step.sent), ("came back", step.came_back)):
        for text in texts:
            lines.add_row(label, plain(text, most=160))
    if not step.passed:
        lines.add_row("missing", Text("; ".join(what for what, held in step.checks if not held), "red"))
    return Group(
        Text.assemble(YES if step.passed else NO, f" {number}. ", (step.title, "bold"), (f"  {seconds:.1f} s", "dim")),
        lines,
    )


STEPS: tuple[tuple[str, Callable[[Demo, DemoStep], None]], ...] = (
    ("A signed webhook archives a process", deliveries.archive),
    ("The same delivery again: nothing is done twice", deliveries.same_again),
    ("A bad signature is refused", deliveries.bad_signature),
    ("A restore", deliveries.restore),
    ("An undo: archived, and brought back by its intent", deliveries.undo),
    ("A permanent delete: asked, refused to its asker, approved by another, exported, verified, done", deletes.delete),
    ("A permanent delete that is approved too early waits for its day", deletes.grace),
    ("A one-off task", deliveries.task),
    ("A template", deliveries.template),
    ("A tag", deletes.tag),
    ("An event of another system archives the process that bears the project's name", deliveries.event),
    ("A webhook of HubSpot's, as HubSpot sends it", deliveries.hubspot),
    ("A process is completed in Tallyfy itself, and is archived without being asked for", deliveries.tallyfy),
    ("The nightly plan: everything seen, each with its reason, nothing done", plans.plan),
    ("Applied by its hash: done once, and what changed since is left alone", plans.apply),
    ("Far more is due than anyone expects: a cap stops all of it", plans.cap),
    ("A slash command in Slack", deliveries.slack),
    ("A poison message and an outage end in the dead-letter queue, with reasons", failures.dead_letters),
    ("Sent again, and done", failures.sent_again),
)
