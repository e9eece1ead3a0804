"""docs/architecture.md: its folders, rows of imports and keys are those of the tree, the contract and the template."""

import re
import tomllib

from lifecycle.aws.table_keys import Partition
from tests.template.support import load, many
from tests.unit.docs.documents import ROOT, page, rows, sections

TEXT = page("architecture.md")
PARTS = sections(TEXT, 2)
LAYER = ROOT / "layers/lifecycle/lifecycle"


def test_the_list_has_every_folder_and_no_other() -> None:
    listed = set(re.findall(r"^  (\w+)/ ", PARTS["The folders"], re.MULTILINE))
    assert listed == {path.name for path in LAYER.iterdir() if (path / "__init__.py").is_file()}


def test_the_rows_of_imports_match_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [contract] = [one for one in settings["tool"]["importlinter"]["contracts"] if one["id"] == "layers"]
    written = [re.findall(r"`(\w+)`", cells[1]) for cells in rows(TEXT, "| row | folders |")]
    assert written == [row.split(" | ") for row in contract["layers"]]


def test_every_partition_that_a_role_may_touch_is_in_the_table_of_keys() -> None:
    keys = " ".join(cells[0] for cells in rows(TEXT, "| partition key | sort key | holds | kept |"))
    documented = set(re.findall(r"`(\w+)#", keys))
    assert documented == {partition.removesuffix("#") for partition in Partition}
    allowed = {
        pattern.partition("#")[0]
        for resource in load().resources.values()
        for statement in _statements(resource)
        for condition in statement.get("Condition", {}).values()
        for pattern in many(condition.get("dynamodb:LeadingKeys", []))
    }
    assert documented == allowed


def test_the_glossary_has_twenty_words_in_order() -> None:
    words = [cells[0].strip("| ") for cells in rows(TEXT, "| word | meaning |")]
    assert len(words) == 20
    assert words == sorted(words)


def _statements(resource: dict[str, dict[str, object]]) -> list[dict[str, dict[str, dict[str, str]]]]:
    properties: dict[str, object] = resource.get("Properties", {})
    documents = [properties.get("PolicyDocument")]
    documents += [one["PolicyDocument"] for one in many(properties.get("Policies", [])) if isinstance(one, dict)]
    return [one for document in documents if isinstance(document, dict) for one in many(document["Statement"])]
