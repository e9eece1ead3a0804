"""Starts the `lifecycle` command, and keeps the garbage collector out of the way of its imports.

Most commands end within a second: a tenth of their processor time was the collector's, which looked again and again at
modules that stay. It runs as usual once a command has made a hundred thousand objects.
"""

import atexit
import gc

gc.disable()

from cli.main import app  # noqa: E402 - imports are what the collector is kept out of

_OBJECTS = 100_000


def main() -> None:
    """Run the command that was typed."""
    gc.freeze()
    gc.set_threshold(_OBJECTS, 50, 50)
    gc.enable()
    atexit.register(gc.freeze)  # At its end nothing has to be looked at once more.
    app()


if __name__ == "__main__":
    main()
