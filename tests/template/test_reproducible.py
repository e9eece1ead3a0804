"""Two builds of the same source give the same bytes and modes, wherever and by whomever they are made."""

import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from sandbox.build import ROOT, Build, Tools, sam_environment

type Artifact = dict[str, tuple[str, str]]
"""The mode and the digest of each file, by its path below the folder."""
WHO_BUILDS = (
    {"umask": "022", "TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"umask": "077", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"},
)


def contents(folder: Path) -> Artifact:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert files
    return {
        str(path.relative_to(folder)): (
            stat.filemode(path.stat().st_mode),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in files
    }


def copied(place: Path, *folders: str) -> Path:
    """The source as another checkout: other times, and what editors and an import leave beside it."""
    for folder in folders:
        shutil.copytree(ROOT / folder, place / folder, copy_function=shutil.copyfile)
    package = place / "layers" / "lifecycle" / "lifecycle"
    (package / ".editor.swp").write_text("left by an editor")
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "gone.cpython-313.pyc").write_bytes(b"left by an import")
    return place


def made(source: Path, target: str, built: Path, who: dict[str, str]) -> Artifact:
    """Make one artifact as `sam build` does, as somebody with this umask and these variables."""
    built.mkdir(parents=True)
    variables = {name: value for name, value in who.items() if name != "umask"}
    done = subprocess.run(
        ["make", "-C", str(source), f"build-{target}"],  # noqa: S607 - the one that `sam build` finds
        env=sam_environment(ROOT, Tools()) | variables | {"ARTIFACTS_DIR": str(built)},
        umask=int(who["umask"], 8),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return contents(built)


@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("functions", "WorkerFunction"),
        ("layers/lifecycle", "LifecycleLayer"),
        ("layers/config", "ConfigLayer"),
    ],
)
def test_two_builds_in_two_folders_by_two_people_are_the_same(tmp_path: Path, folder: str, target: str) -> None:
    first, second = (
        made(copied(tmp_path / f"checkout-{number}", "functions", "layers") / folder, target, tmp_path / name, who)
        for number, (name, who) in enumerate(zip(("a", "folder of another name"), WHO_BUILDS, strict=True))
    )
    assert first == second
    assert not [name for name in first if "/." in name or "gone" in name]


def test_a_difference_between_two_builds_is_found(tmp_path: Path) -> None:
    """The test's own measure: another mode or another byte is another artifact."""
    file = tmp_path / "app.py"
    file.write_text("x = 1\n")
    before = contents(tmp_path)
    file.chmod(0o600)
    modes = contents(tmp_path)
    file.write_text("x = 2\n")
    assert len({str(before), str(modes), str(contents(tmp_path))}) == 3


@pytest.mark.prove
def test_two_builds_of_the_whole_template_are_the_same(tmp_path: Path) -> None:
    """Both without a cache. It takes minutes, because the third-party packages are installed four times."""
    built = []
    for number, who in enumerate(WHO_BUILDS):
        root = copied(tmp_path / f"checkout-{number}", "functions", "layers")
        shutil.copyfile(ROOT / "template.yaml", root / "template.yaml")
        build, before = Build(root, host_layers=False), os.umask(int(who["umask"], 8))
        try:
            build.ensure(Tools())
        finally:
            os.umask(before)
        build.template.chmod(0o644)  # sam writes it with the umask, and uploads it as text.
        built.append(contents(build.directory))
    assert built[0] == built[1]
