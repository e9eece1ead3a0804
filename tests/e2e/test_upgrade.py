"""The last release is deployed, upgraded to this one under work, and rolled back. What waits ends, once.

The fast part of the same promise runs in every `make test`: tests/template/test_upgrade.py and
tests/unit/domain/test_releases.py. This takes minutes, because two releases are built and three times deployed.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from sandbox.build import Build
from sandbox.simulator import DEFAULT_TOKEN, Seed, SeedOrganization, SeedRun, SimulatorServer, make_id
from sandbox.stack import ROOT, LocalStack, StackOptions
from tests.e2e.bench import _PEOPLE, ORG, SECRET, Bench
from tests.e2e.test_triggers import _sweep
from tests.harness.releases import last_release

pytestmark = pytest.mark.prove


@pytest.fixture
def old(tmp_path: Path) -> Build:
    """A build of the last release, from its own source."""
    release = last_release()
    if not release.has_source():
        pytest.skip(f"This copy of the repository has no revision {release.revision}")
    source = release.unpack(tmp_path / "release")
    for file in (ROOT / "layers" / "config").glob("*.toml"):
        kept = source / "layers" / "config" / file.name
        if not kept.exists():  # The build looks for it. The functions of that release do not.
            shutil.copyfile(file, kept)
    return Build(source)


@contextmanager
def running(build: Build) -> Iterator[Bench]:
    with SimulatorServer() as simulator:
        options = StackOptions(
            tallyfy_base_url=simulator.base_url,
            organization_ids=(ORG,),
            sources={"operator": (SECRET,)},
            tokens={ORG: DEFAULT_TOKEN},
            files={"people.toml": (build.root / "layers" / "config" / "people.toml").read_text() + _PEOPLE},
        )
        with LocalStack(options, build=build) as stack:
            yield Bench(stack, simulator.client())


def run_of(bench: Bench, **more: object) -> str:
    made = make_id("upgrade", str(uuid.uuid4()))
    seed = SeedRun(id=made, name="Onboard Initech", **more)  # type: ignore[arg-type] # a seed checks what it is given
    bench.sow(Seed(organizations=[SeedOrganization(id=ORG, runs=[seed])]))
    return made


@contextmanager
def worker_stopped(bench: Bench) -> Iterator[None]:
    """Nothing is taken from the queue of commands: what is sent now waits for the next release."""
    functions = bench.stack.functions
    [mapping] = functions.list_event_source_mappings(FunctionName=bench.stack.physical_id("WorkerFunction"))[
        "EventSourceMappings"
    ]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def layers_of(bench: Bench) -> set[str]:
    """Which versions of the layers the worker runs."""
    function = bench.stack.functions.get_function_configuration(FunctionName=bench.stack.physical_id("WorkerFunction"))
    return {one["Arn"] for one in function["Layers"]}


def plan_of(bench: Bench) -> Any:  # noqa: ANN401 - parsed JSON
    """What the command of this release reads of the stack: the newest plan."""
    runner = CliRunner(env={**bench.stack.environment, "LIFECYCLE_STACK": None})
    shown = runner.invoke(app, ["--stack", bench.stack.options.stack_name, "overview", "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert {part for part in told["unknown"] if part not in {"ages", "alarms"}} == set()
    return told["organizations"][0]["plan"]


def test_work_that_the_last_release_left_waiting_ends_after_the_upgrade_and_after_the_rollback(old: Build) -> None:
    with running(old) as bench:
        ended, waiting, later = run_of(bench), run_of(bench), run_of(bench)
        first, second = run_of(bench, archived_at="-45d"), run_of(bench, archived_at="-45d")
        done = bench.ask("archive", "run", ended, delivery="before")
        assert bench.conclusion(done)["status"] == "done"
        _sweep(bench)
        plan = plan_of(bench)
        assert plan["hash"]
        delete = bench.ask("delete", "run", first)
        bench.asked_for(delete)

        with worker_stopped(bench):
            waits = bench.ask("archive", "run", waiting)
            before = layers_of(bench)
            bench.stack.update(Build(ROOT))
            upgraded = layers_of(bench)
            assert upgraded != before
            assert bench.status(done)["status"] == "done"
            assert bench.ask("archive", "run", ended, delivery="before") == done, "a late copy is the same command"
            assert bench.status(waits)["status"] == "accepted"
        assert bench.conclusion(waits)["status"] == "done"
        bench.approve(delete)
        assert bench.conclusion(delete)["status"] == "done"
        assert plan_of(bench) == plan
        assert bench.writes(ended) == bench.writes(ended)[:1]

        delete = bench.ask("delete", "run", second)
        bench.asked_for(delete)
        with worker_stopped(bench):
            waits = bench.ask("archive", "run", later)
            bench.stack.update(old)
            assert layers_of(bench) != upgraded
            assert {bench.status(one)["status"] for one in (done, waits)} == {"done", "accepted"}
        assert bench.conclusion(waits)["status"] == "done"
        bench.approve(delete)
        assert bench.conclusion(delete)["status"] == "done"
        assert plan_of(bench) == plan
        for one in (ended, waiting, later, first, second):
            assert len(bench.writes(one)) == 1, "one effect each"
