"""The runner of the embedded stack, as far as it goes without starting one (tests/e2e do that)."""

import contextlib
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lifecycle.approvals.people import People
from sandbox.build import Build, LocalStackError, Tools, check_operators_files, run_sam, sam_environment, tail
from sandbox.emulator_gaps import routes
from sandbox.stack import LocalStack, StackOptions, StackState, person_arn
from tests.template.support import ORGANIZATION, ROOT, TransformedTemplate

OPTIONS = StackOptions(tallyfy_base_url="http://127.0.0.1:1/api", organization_ids=(ORGANIZATION,))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository that holds what a build reads."""
    shutil.copy(ROOT / "template.yaml", tmp_path)
    for room in ("functions", "layers"):
        shutil.copytree(ROOT / room, tmp_path / room)
    return tmp_path


@pytest.fixture
def built(copy: Path) -> Build:
    """As if built, by a sam that writes the template and nothing else."""
    build = Build(root=copy)
    fake = copy / "sam"
    fake.write_text(f"#!/bin/sh\nmkdir -p {build.directory}\ncp template.yaml {build.template}\n")
    fake.chmod(0o755)
    build.ensure(Tools(sam=fake, python_bin=Path(sys.executable).parent))
    return build


def state(path: Path, pid: int, directory: Path) -> None:
    kept = {
        "endpoint_url": "",
        "api_url": "http://127.0.0.1:1",
        "stack_name": "",
        "tallyfy_base_url": "",
        "outputs": {},
    }
    path.write_text(json.dumps(kept | {"pid": pid, "directory": str(directory)}))


class TestBuild:
    def test_a_build_is_fresh_until_something_it_reads_changes(self, built: Build) -> None:
        assert built.is_fresh()
        (built.root / "functions" / "worker" / "app.py").write_text("changed = True\n")
        assert not built.is_fresh()

    def test_a_new_file_makes_a_build_stale_and_bytecode_does_not(self, built: Build) -> None:
        cache = built.root / "functions" / "worker" / "__pycache__"
        cache.mkdir(exist_ok=True)
        (cache / "app.cpython-313.pyc").write_bytes(b"")
        assert built.is_fresh()
        (built.root / "layers" / "config" / "more.toml").write_text("")
        assert not built.is_fresh()

    def test_a_build_by_another_tool_is_not_trusted(self, built: Build) -> None:
        os.utime(built.template, ns=(1, 1))
        assert not built.is_fresh()

    def test_layers_for_this_machine_are_built_apart_from_those_for_aws(self, copy: Path) -> None:
        assert Build(copy, host_layers=True).directory != Build(copy, host_layers=False).directory

    @pytest.mark.parametrize(
        ("name", "text", "key", "instead"),
        [
            (
                "sources.toml",
                '[sources.crm]\nscheme = "hmca"\nmay = ["run.archive"]\n',
                "sources.crm",
                "Did you mean hmac?",
            ),
            ("sources.toml", '[sources.crm]\nscheme = "hmac"\nmay = ["run.burn"]\n', "sources.crm", "run.archive"),
            ("sources.toml", "[sources", "sources.toml", "TOML"),
            ("people.toml", '[people.ada]\nslack = "@ada"\nmay = ["run.archive"]\n', "people.ada.slack", "T012ABCDE"),
            ("people.toml", '[people.ada]\nslack = "T0AA/U0BB"\nmay = ["run.delete"]\n', "people.ada", "run.restore"),
            ("policy.toml", 'zone = "Mars/Olympus"\nrules = []\n', "zone", "such as Europe/Berlin"),
            (
                "policy.toml",
                'zone = "UTC"\n[[rules]]\nname = "old"\nresource = "process"\naction = "archive"\n[rules.when]\n',
                "rules[old].when",
                "completed_days",
            ),
        ],
    )
    def test_a_mistake_in_an_operators_file_stops_the_build(
        self, copy: Path, name: str, text: str, key: str, instead: str
    ) -> None:
        (copy / "layers" / "config" / name).write_text(text)
        tools = Tools(sam=Path(sys.executable), python_bin=Path(sys.executable).parent)
        with pytest.raises(LocalStackError, match="nothing was built") as raised:
            Build(root=copy).ensure(tools)
        assert key in str(raised.value)
        assert instead in str(raised.value)
        assert not Build(root=copy).directory.exists()

    @pytest.mark.parametrize("name", ["sources.toml", "people.toml", "policy.toml", "notices.toml"])
    def test_a_missing_operators_file_is_named(self, copy: Path, name: str) -> None:
        (copy / "layers" / "config" / name).unlink()
        with pytest.raises(LocalStackError, match=f"{re.escape(name)} cannot be read"):
            check_operators_files(copy / "layers" / "config")

    def test_the_operators_files_of_the_repository_are_valid(self) -> None:
        check_operators_files(ROOT / "layers" / "config")

    def test_a_missing_tool_says_how_to_get_it(self, tmp_path: Path) -> None:
        with pytest.raises(LocalStackError, match="make setup"):
            Tools(sam=tmp_path / "sam").check()

    def test_a_failed_build_shows_the_end_of_sams_output(self, tmp_path: Path) -> None:
        program = "import sys; print('the beginning\\n' * 90 + 'the reason'); sys.exit(3)"
        with pytest.raises(LocalStackError, match=r"exit code 3:\n(.*\n)+the reason") as raised:
            run_sam([sys.executable, "-c", program], cwd=tmp_path, environment=dict(os.environ), seconds=30)
        assert str(raised.value).count("the beginning") < 90

    def test_a_sam_that_hangs_is_ended(self, tmp_path: Path) -> None:
        program = "import threading; threading.Event().wait()"
        with pytest.raises(LocalStackError, match="longer than"):
            run_sam([sys.executable, "-c", program], cwd=tmp_path, environment=dict(os.environ), seconds=0.2)

    def test_sam_gets_no_credentials_of_the_caller(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "production")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
        environment = sam_environment(tmp_path, Tools())
        assert not {"AWS_PROFILE", "AWS_ACCESS_KEY_ID"} & set(environment)
        assert environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull

    def test_tail_returns_the_last_lines(self) -> None:
        assert tail("one\ntwo\nthree\n", lines=2) == "two\nthree"


class TestFilesOfOneStack:
    @pytest.fixture
    def with_layers(self, built: Build) -> Build:
        """What sam would have built beside the template."""
        shutil.copytree(
            built.root / "layers" / "config", built.directory / "ConfigLayer" / "python" / "lifecycle_config"
        )
        (built.directory / "WorkerFunction").mkdir()
        (built.directory / "WorkerFunction" / "app.py").write_text("built = True\n")
        return built

    def stack(self, build: Build, **files: str) -> LocalStack:
        made = LocalStack(replace(OPTIONS, files={f"{name}.toml": text for name, text in files.items()}), build=build)
        made._directory = build.root / "run"
        made._directory.mkdir()
        return made

    def test_without_own_files_the_build_itself_is_deployed(self, with_layers: Build) -> None:
        assert self.stack(with_layers)._template() == with_layers.template

    def test_own_files_are_deployed_and_the_build_stays_unchanged(self, with_layers: Build) -> None:
        people = f'people.hypatia = {{iam = "{person_arn("hypatia")}", approves = ["run.delete"]}}'
        template = self.stack(with_layers, people=people)._template()

        assert not template.is_symlink()
        assert template.read_bytes() == with_layers.template.read_bytes()
        assert (template.parent / "WorkerFunction" / "app.py").read_text() == "built = True\n"
        config = template.parent / "ConfigLayer" / "python" / "lifecycle_config"
        assert list(People.parse((config / "people.toml").read_text()).people) == ["hypatia"]
        kept = with_layers.directory / "ConfigLayer" / "python" / "lifecycle_config"
        assert (config / "policy.toml").read_bytes() == (kept / "policy.toml").read_bytes()
        assert "hypatia" not in (kept / "people.toml").read_text()
        assert with_layers.is_fresh()

    def test_a_mistake_in_own_files_stops_the_start(self, with_layers: Build) -> None:
        with pytest.raises(LocalStackError, match=r"people\.toml is wrong"):
            self.stack(with_layers, people='[people.grace]\nmay = ["run.burn"]\n')._template()


def test_routes_that_require_an_identity_are_created_with_iam_authorization(template: TransformedTemplate) -> None:
    made = {route: (function, asks) for route, function, asks in routes(template.transformed)}
    assert made["GET /approvals"] == made["POST /commands/{intent_id}/undo"] == ("OperatorFunction", True)
    assert made["GET /commands/{intent_id}"] == ("StatusFunction", False)
    assert {function for function, asks in made.values() if asks} == {"OperatorFunction"}


class TestState:
    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1}', "\x00"])
    def test_an_unreadable_state_file_means_no_stack(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "stack.json"
        path.write_text(text)
        assert StackState.read(path) is None
        assert StackState.stop(path) is False
        assert not path.exists()

    def test_another_process_with_the_same_pid_is_not_ended(self, tmp_path: Path) -> None:
        path = tmp_path / "stack.json"
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            state(path, other.pid, tmp_path / "run" / "x")
            assert StackState.stop(path) is False
            assert other.poll() is None
            other.terminate()

    def test_only_folders_of_the_local_stack_are_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "stack.json"
        precious = tmp_path / "precious"
        ours = tmp_path / "run" / "ab12"
        for folder in (precious, ours):
            folder.mkdir(parents=True)
            state(path, 2**22 + 1, folder)
            StackState.stop(path)
        assert precious.exists()
        assert not ours.exists()

    def test_a_second_stack_is_refused_while_the_first_runs(self, tmp_path: Path) -> None:
        path = tmp_path / "stack.json"
        tools = Tools(sam=Path(sys.executable), python_bin=Path(sys.executable).parent)
        waits = ["-c", "input()", "ministack"]
        with subprocess.Popen([sys.executable, *waits], stdin=subprocess.PIPE, start_new_session=True) as other:
            state(path, other.pid, tmp_path / "run" / "x")
            with pytest.raises(LocalStackError, match="running already"):
                LocalStack(OPTIONS, root=tmp_path, tools=tools, state_file=path).start()
            assert path.exists()
            assert StackState.stop(path) is True
            other.wait(10)
        assert not path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process inherit, and leave, the dead of another")
def test_zombie_processes_are_not_waited_for(tmp_path: Path) -> None:
    """As in a container whose first process collects none: the leader ends, its child stays a zombie of ours."""
    path = tmp_path / "stack.json"
    program = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()']); print(flush=True); input()"
    libc = ctypes.CDLL(None)
    subreaper = 36  # PR_SET_CHILD_SUBREAPER
    libc.prctl(subreaper, 1)
    try:
        with subprocess.Popen(
            [sys.executable, "-c", program, "ministack"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as leader:
            assert leader.stdout is not None
            leader.stdout.readline()
            state(path, leader.pid, tmp_path / "run" / "x")
            before = time.monotonic()
            assert StackState.stop(path) is True
            taken = time.monotonic() - before
        os.killpg(leader.pid, 0)  # The child is still listed; it would raise otherwise.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-leader.pid, 0)
    finally:
        libc.prctl(subreaper, 0)
    assert taken < 4


def test_a_build_that_fails_leaves_nothing_behind(copy: Path) -> None:
    (copy / "sam").write_text("#!/bin/sh\necho no luck\nexit 1\n")
    (copy / "sam").chmod(0o755)
    stack = LocalStack(OPTIONS, root=copy, tools=Tools(sam=copy / "sam", python_bin=Path(sys.executable).parent))
    with pytest.raises(LocalStackError, match="no luck"):
        stack.start()
    assert not stack.is_running()
    assert not (copy / ".local" / "run").exists()
