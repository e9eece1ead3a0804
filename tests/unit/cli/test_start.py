"""How the `lifecycle` command starts."""

import subprocess
import sys

_SCRIPT = """
import gc, sys
sys.argv = ["lifecycle", "--version"]
from cli import start
assert not gc.isenabled()
start.app = lambda: print(gc.isenabled(), gc.get_threshold()[0] > 10_000, gc.get_freeze_count() > 10_000)
start.main()
"""


def test_the_collector_rests_while_modules_are_imported_and_works_in_the_command() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "True", "True"]
