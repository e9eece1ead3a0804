"""Writes out the loops of the template (`AWS::LanguageExtensions`), for SAM's translator and checkov.

CloudFormation, the SAM CLI, cfn-lint and the emulator each expand loops themselves. This uses the emulator's
implementation; tests/template/test_loops.py compares it with those of the SAM CLI and of cfn-lint.

    python -m sandbox.language_extensions template.yaml .local/expanded/template.json
"""

import json
import sys
from pathlib import Path
from typing import Any

from ministack.services.cloudformation import language_extensions
from samtranslator.yaml_helper import yaml_parse

__all__ = ["expanded"]

# A parsed template is JSON of any shape.
type Json = Any


def expanded(template: Path) -> Json:
    """The template at a path, with every `Fn::ForEach` and `Fn::FindInMap` replaced by what it stands for."""
    source = yaml_parse(template.read_text(encoding="utf-8"))
    result = language_extensions.apply(source, {})
    transforms = [name for name in source["Transform"] if name != language_extensions.TRANSFORM]
    return {key: value for key, value in result.items() if key != "Mappings"} | {"Transform": transforms}


def main(arguments: list[str]) -> None:
    """Read the template that the first argument names, and write it as JSON to the path that the second names."""
    source, destination = map(Path, arguments)
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_text(json.dumps(expanded(source), indent=2), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
