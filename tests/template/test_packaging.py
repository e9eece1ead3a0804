"""What is uploaded: built for the right machine, compiled beforehand, and able to start with nothing but itself.

The emulator would not notice any of it: it runs on this machine, and its own packages are visible to the functions.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import botocore
import pytest
from botocore.regions import EndpointResolver

from sandbox.build import Build, Tools
from tests.template.support import FUNCTIONS, Json, TransformedTemplate, load, target

MEBIBYTE = 1024 * 1024
LAYERS = ("DependenciesArm64Layer", "DependenciesX86Layer", "LifecycleLayer", "ConfigLayer")
MACHINES = {"DependenciesArm64Layer": 0xB7, "DependenciesX86Layer": 0x3E}  # ELF's words for aarch64 and x86-64
HASH_BASED_UNCHECKED = 0b01
CALLED = {"dynamodb", "events", "s3", "scheduler", "secretsmanager", "sqs"}
"""The services of AWS that the functions call."""

# Says which modules came from where, after importing the handler as Lambda does.
START = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import app
assert callable(app.handler)
print(json.dumps({name: getattr(sys.modules[name], "__file__", None) for name in ("app", "lifecycle", "pydantic")}))
"""


@pytest.fixture(scope="module")
def build() -> Build:
    """What a deploy to AWS would take."""
    made = Build(host_layers=False)
    made.ensure(Tools())
    return made


@pytest.fixture(scope="module")
def host_build() -> Build:
    """The same, with compiled parts that this machine can load: on Linux, the very same."""
    made = Build()
    made.ensure(Tools())
    return made


@pytest.fixture(scope="module")
def here() -> TransformedTemplate:
    return load(Architecture="arm64" if os.uname().machine in {"arm64", "aarch64"} else "x86_64")


def environment(template: TransformedTemplate, function: str) -> dict[str, str]:
    """The function's variables, each with a value of the right kind."""

    def text(value: Json) -> str:
        chosen = template.choose(value)
        return chosen if isinstance(chosen, str) else str(chosen if isinstance(chosen, int) else target(chosen))

    variables: dict[str, Json] = template.properties(function)["Environment"]["Variables"]
    return {name: text(value) for name, value in variables.items()} | {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_LAMBDA_FUNCTION_NAME": function,
    }


def layers_of(template: TransformedTemplate) -> list[str]:
    """The layers as they are built: the translator adds a hash to their names."""
    return [target(layer) for layer in template.choose(template.source["Globals"]["Function"]["Layers"])]


def size(folder: Path) -> int:
    assert folder.is_dir()
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stale(folder: Path) -> Iterator[str]:
    """The modules that Lambda would have to compile at each cold start."""
    for source in sorted(folder.rglob("*.py")):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        if not compiled.exists():
            yield f"{source}: no bytecode"
            continue
        head = compiled.read_bytes()[:16]
        if head[:4] != importlib.util.MAGIC_NUMBER:
            yield f"{source}: bytecode of another Python"
        elif int.from_bytes(head[4:8], "little") != HASH_BASED_UNCHECKED:
            yield f"{source}: bytecode by date, or checked"
        elif head[8:16] != importlib.util.source_hash(source.read_bytes()):
            yield f"{source}: bytecode of another source"


@pytest.mark.parametrize("layer", MACHINES)
def test_every_compiled_part_is_for_the_layers_machine(build: Build, layer: str) -> None:
    parts = sorted((build.directory / layer).rglob("*.so*"))
    assert parts, "pydantic alone brings one"
    for part in parts:
        head = part.read_bytes()[:20]
        assert head[:4] == b"\x7fELF", part
        assert int.from_bytes(head[18:20], "little") == MACHINES[layer], part


@pytest.mark.parametrize("artifact", [*FUNCTIONS, *LAYERS])
def test_no_module_would_be_compiled_at_start(build: Build, artifact: str) -> None:
    folder = build.directory / artifact
    assert list(folder.rglob("*.py"))
    assert list(stale(folder)) == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_folder_holds_only_its_handler(build: Build, function: str) -> None:
    files = {str(path.relative_to(build.directory / function)) for path in (build.directory / function).rglob("*.*")}
    assert files == {"app.py", "__pycache__/app.cpython-313.pyc"}


@pytest.mark.parametrize("layer", MACHINES)
def test_both_processors_get_the_same_packages(build: Build, layer: str) -> None:
    def packages(name: str) -> set[str]:
        return {path.name for path in (build.directory / name / "python").glob("*.dist-info")}

    assert packages(layer) == packages("DependenciesX86Layer")


@pytest.mark.parametrize("layer", MACHINES)
def test_the_layer_has_only_the_used_parts_of_the_tested_sdk(build: Build, layer: str) -> None:
    site = build.directory / layer / "python"
    assert not {path.name for path in site.iterdir()} & {"boto3", "bin", "tests", "charset_normalizer"}
    assert not [*site.glob("charset_normalizer*"), *site.glob("*__mypyc*")]
    assert (site / f"botocore-{botocore.__version__}.dist-info").is_dir()
    services = {path.name for path in (site / "botocore" / "data").iterdir() if path.is_dir()}
    assert services == CALLED


@pytest.mark.parametrize("layer", MACHINES)
def test_each_regional_endpoint_equals_that_of_the_whole_sdk(build: Build, layer: str) -> None:
    data = build.directory / layer / "python" / "botocore" / "data"
    original = Path(botocore.__file__).parent / "data"
    trimmed, whole = (
        EndpointResolver(json.loads((place / "endpoints.json").read_text())) for place in (data, original)
    )
    asked = 0
    for partition in whole.get_available_partitions():
        assert partition in trimmed.get_available_partitions()
        for service in CALLED:
            regions = whole.get_available_endpoints(service, partition, allow_non_regional=True)
            assert trimmed.get_available_endpoints(service, partition, allow_non_regional=True) == regions
            for region in [*regions, "eu-west-99"]:  # One that is newer than the file.
                asked += 1
                assert trimmed.construct_endpoint(service, region) == whole.construct_endpoint(service, region)
    assert asked > 200
    for name in ("partitions.json", "sdk-default-configuration.json", "_retry.json"):
        assert (data / name).read_bytes() == (original / name).read_bytes()
    for service in CALLED:
        for file in (data / service).rglob("*.*"):
            assert file.read_bytes() == (original / file.relative_to(data)).read_bytes()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_package_is_well_below_lambdas_limit(build: Build, here: TransformedTemplate, function: str) -> None:
    unzipped = sum(size(build.directory / name) for name in (function, *layers_of(here)))
    assert unzipped < 250 * MEBIBYTE, "what Lambda takes"
    assert unzipped < 40 * MEBIBYTE, "what we mean it to be: size is cold start"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_with_only_its_folder_and_the_layers(
    host_build: Build, here: TransformedTemplate, function: str
) -> None:
    folder = host_build.directory
    path = [
        str(folder / function),
        *(str(folder / layer / "python") for layer in layers_of(here)),
    ]
    # -I -S: no site-packages, no variables, no current folder. -B: importing must not mend what is not compiled.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", START, json.dumps(path)],
        env=environment(here, function),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for module, file in json.loads(done.stdout.splitlines()[-1]).items():
        assert file.startswith(str(folder)), module


@pytest.mark.parametrize("name", ["sources.toml", "people.toml", "policy.toml", "notices.toml"])
def test_the_configuration_layer_can_be_read(build: Build, name: str) -> None:
    package = build.directory / "ConfigLayer" / "python" / "lifecycle_config"
    assert (package / name).read_bytes() == (build.root / "layers" / "config" / name).read_bytes()


@pytest.mark.parametrize("name", ["page.html", "page.css", "page.js"])
def test_the_parts_of_the_report_travel_with_the_package(build: Build, name: str) -> None:
    part = build.directory / "LifecycleLayer" / "python" / "lifecycle" / "plans" / "report" / name
    assert part.stat().st_size > 0


def test_both_workers_are_the_same_code(build: Build) -> None:
    worker, bulk = (build.directory / name / "app.py" for name in ("WorkerFunction", "BulkWorkerFunction"))
    assert worker.read_bytes() == bulk.read_bytes()
