"""How a scheme is found by its name."""

import subprocess
import sys

import pytest

from lifecycle.intake.schemes import build_scheme, scheme_class, scheme_names
from tests.harness.builders import CONFIG


def test_every_scheme_is_found_under_its_own_name() -> None:
    assert {name: scheme_class(name).name for name in scheme_names()} == {name: name for name in scheme_names()}
    assert {"hmac", "standard-webhooks", "shared-secret", "basic", "eventbridge"} <= set(scheme_names())


@pytest.mark.parametrize("name", ["", "os", "../hmac", "hmac.Signature", "__init__", "HMAC", "\x00"])
def test_an_unknown_name_imports_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="there is no scheme"):
        scheme_class(name)


def test_a_misspelled_scheme_is_refused_with_the_right_name() -> None:
    with pytest.raises(ValueError, match="Did you mean standard-webhooks"):
        scheme_class("standard-webhook")


def test_an_unknown_setting_is_refused_with_the_existing_ones() -> None:
    with pytest.raises(ValueError, match="heder: neither a key of a source nor a setting of the scheme shared-secret"):
        build_scheme("shared-secret", {"heder": "x"})


def test_only_the_scheme_in_use_is_imported() -> None:
    program = f"""
import sys
from lifecycle.intake.sources import Sources
Sources.parse(open({str(CONFIG / "sources.toml")!r}).read())
print(sorted(name for name in sys.modules if name.startswith("lifecycle.intake.")))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "schemes.hmac" in ran.stdout
    assert "basic" not in ran.stdout
