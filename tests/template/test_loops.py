"""The loops of the template (`Fn::ForEach`) mean the same to everyone who expands them."""

import json
import tomllib
from subprocess import run

import pytest
from samtranslator.yaml_helper import yaml_parse

from sandbox.build import Tools
from sandbox.language_extensions import expanded
from tests.template.support import ROOT, Json

SAM_PYTHON = Tools().sam.with_name("python")
SAM_CLI = """
import json
from samcli.lib.cfn_language_extensions.sam_integration import process_template_for_sam_cli
from samcli.yamlhelper import yaml_parse
source = yaml_parse(open("template.yaml").read())
for parameter in source["Parameters"].values():
    parameter.pop("Default", None)  # It would replace references to parameters by their defaults.
print(json.dumps(process_template_for_sam_cli(source)))
"""
CFN_LINT = """
import json
from cfnlint.decode import decode
from cfnlint.template import Template
from cfnlint.template.transforms._language_extensions import language_extension
source, _ = decode("template.yaml")
print(json.dumps(language_extension(Template("template.yaml", source, ["eu-west-1"]))[1]))
"""


def by(program: str) -> Json:
    """The template as a program of the SAM CLI's environment expands it."""
    done = run([SAM_PYTHON, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def normal(value: Json) -> Json:
    """A value with one spelling for what has several; as the SAM CLI does, references in a text become text."""
    match value:
        case {"Fn::GetAtt": str() as path}:
            return {"Fn::GetAtt": path.split(".", maxsplit=1)}
        case {"Fn::Join": [separator, list() as parts]}:
            return str(separator).join(str(normal(part)) for part in parts)
        case {"Fn::Sub": [str() as text, dict() as variables]}:
            for name, made in variables.items():
                text = text.replace(f"${{{name}}}", str(normal(made)))
            return text
        case {"Fn::Sub": str() as text}:
            return text
        case dict():
            return {key: normal(inner) for key, inner in value.items()}
        case list():
            return [normal(item) for item in value]
        case _:
            return value


@pytest.mark.parametrize("program", [SAM_CLI, CFN_LINT], ids=["SAM CLI", "cfn-lint"])
def test_another_implementation_expands_the_loops_to_the_same_resources(program: str) -> None:
    source = yaml_parse((ROOT / "template.yaml").read_text())
    ours, theirs = expanded(ROOT / "template.yaml"), by(program)
    for section in ("Resources", "Outputs"):
        assert ours[section].keys() == theirs[section].keys()
        made_by_loops = ours[section].keys() - source[section].keys()
        assert len(made_by_loops) >= 10
        for name in made_by_loops:
            assert normal(ours[section][name]) == normal(theirs[section][name]), name


def test_each_loop_and_each_mapping_is_used() -> None:
    source = yaml_parse((ROOT / "template.yaml").read_text())
    text = json.dumps({"Resources": source["Resources"], "Outputs": source["Outputs"]})
    assert [name for name in source["Mappings"] if f'["{name}", {{"Ref": ' not in text] == []
    made = expanded(ROOT / "template.yaml")
    assert "Fn::ForEach" not in json.dumps(made)
    assert "Fn::FindInMap" not in json.dumps(made)


def test_a_plain_sam_build_or_deploy_expands_the_loops() -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
    environments = {name: made for name, made in settings.items() if name != "version"}
    assert {name: made["global"]["parameters"]["language_extensions"] for name, made in environments.items()} == (
        dict.fromkeys(environments, True)
    )
