"""The error of a command that waits for a schedule or an approval.

It has its own module because few functions need the safeguards at start.
"""

from lifecycle.domain.errors import Code, LifecycleError
from lifecycle.domain.intent import Wait


class Deferred(LifecycleError):
    """Deferred: a schedule or an approval enqueues it again. ``wait`` says which."""

    def __init__(self, code: Code, reason: str, wait: Wait) -> None:
        super().__init__(code, reason)
        self.wait = wait
