"""What the commands are given: the stack they work on, and the clock. Tests hand in their own."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

    from cli.clients.api import StatusApi
    from cli.clients.stack import Stack

DEFAULT_STACK = "tallyfy-lifecycle-dev"
"""As `sam deploy --config-env dev` names it. Production is never meant by accident."""


def _aws(name: str, region: str | None) -> "Stack":
    from cli.clients.stack import AwsStack

    return AwsStack(name, region)


def _session() -> "requests.Session":
    from lifecycle.tallyfy.client import pooled_session

    return pooled_session()


@dataclass(slots=True)
class CliContext:
    """The outside, behind what is heavy to import."""

    connect: Callable[[str, str | None], "Stack"] = _aws
    session: Callable[[], "requests.Session"] = _session
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    stack_name: str = DEFAULT_STACK
    region: str | None = None
    _stacks: dict[tuple[str, str | None], "Stack"] = field(default_factory=dict)

    def stack(self, name: str | None = None, region: str | None = None) -> "Stack":
        """The stack that was named: on the command itself, before it, or nowhere."""
        key = (name or self.stack_name, region or self.region)
        if key not in self._stacks:
            self._stacks[key] = self.connect(*key)
        return self._stacks[key]

    def api(self, stack: "Stack", url: str | None) -> "StatusApi":
        """The API by its URL, or by the stack's output."""
        from cli.clients.api import StatusApi
        from cli.clients.stack import output_of

        return StatusApi(self.session(), url or output_of(stack, "ApiUrl"))
