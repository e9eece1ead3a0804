"""An upgrade from the last release replaces nothing that holds rows, messages, files or keys, and asks nothing new."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sandbox.language_extensions import expanded
from tests.harness.releases import broken, last_release, promised, promises, promises_of
from tests.template.support import ROOT

type Json = Any


@pytest.fixture(scope="module")
def template() -> Json:
    return expanded(ROOT / "template.yaml")


def test_the_last_release_can_be_upgraded(template: Json, tmp_path: Path) -> None:
    lost = list(broken(promised(tmp_path), template))
    assert lost == [], "If it is meant, say in docs/upgrade.md what operators do first"


def test_the_recorded_release_equals_its_git_revision(tmp_path: Path) -> None:
    release = last_release()
    if not release.has_source():
        pytest.skip(f"This copy of the repository has no revision {release.revision}")
    assert promised(tmp_path) == promises_of(release.revision, tmp_path)


def _rename(template: Json, name: str) -> None:
    template["Resources"][f"New{name}"] = template["Resources"].pop(name)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda template: _rename(template, "ExportsBucket"), "ExportsBucket is gone"),
        (lambda template: _rename(template, "HttpApi"), "HttpApi is gone"),
        (lambda template: template["Resources"]["LedgerTable"].pop("DeletionPolicy"), "LedgerTable is another one"),
        (
            lambda template: template["Resources"]["IdKeySecret"]["Properties"].pop("GenerateSecretString"),
            "IdKeySecret is another one",
        ),
        (
            lambda template: template["Resources"]["CommandsQueue"]["Properties"].update(FifoQueue=True),
            "CommandsQueue is another one",
        ),
        (lambda template: template["Parameters"].pop("SweepMode"), "parameter SweepMode is gone"),
        (
            lambda template: template["Parameters"]["SweepMode"].update(AllowedValues=["report"]),
            "parameter SweepMode takes fewer values",
        ),
        (
            lambda template: template["Parameters"].update(Region={"Type": "String"}),
            "parameter Region is new and has no default",
        ),
        (lambda template: template["Outputs"].pop("LedgerTableName"), "output LedgerTableName is gone"),
    ],
)
def test_resources_that_an_upgrade_would_lose_are_named(
    template: Json, change: Callable[[Json], object], names: str
) -> None:
    later = deepcopy(template)
    change(later)
    [lost] = broken(promises(template), later)
    assert names in lost


def test_an_upgrade_may_add_outputs_resources_and_parameters_with_a_default(template: Json) -> None:
    later = deepcopy(template)
    later["Parameters"]["Pace"] = {"Type": "String", "Default": "slow"}
    later["Parameters"]["Tracing"]["AllowedValues"].append("Sampled")
    later["Outputs"]["PaceName"] = {"Value": "slow"}
    later["Resources"]["MoreQueue"] = {"Type": "AWS::SQS::Queue"}
    assert list(broken(promises(template), later)) == []
