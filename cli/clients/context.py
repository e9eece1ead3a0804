"""What commands depend on: the stack, its API and the clock. Tests pass their own."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import typer

from cli.ui.options import DEFAULT_STACK

if TYPE_CHECKING:
    import requests

    from cli.clients.api import StatusApi
    from cli.clients.footprint import Footprint
    from cli.clients.signed_api import SignedApi
    from cli.clients.stack import Stack


def _aws(name: str, region: str | None) -> "Stack":
    from cli.clients.stack import AwsStack

    return AwsStack(name, region)


def _session() -> "requests.Session":
    from lifecycle.tallyfy.client import pooled_session

    return pooled_session()


def _footprint(name: str, region: str | None) -> "Footprint":
    from cli.clients.footprint import AwsFootprint

    return AwsFootprint(name, region)


@dataclass(slots=True)
class CliContext:
    """The real context, whose slow modules are imported on first use."""

    connect: Callable[[str, str | None], "Stack"] = _aws
    session: Callable[[], "requests.Session"] = _session
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    stack_name: str = DEFAULT_STACK
    region: str | None = None
    footprint: Callable[[str, str | None], "Footprint"] = _footprint
    _stacks: dict[tuple[str, str | None], "Stack"] = field(default_factory=dict)

    def stack(self, name: str | None = None, region: str | None = None) -> "Stack":
        """The stack that was named after the command, before the command, or by default."""
        key = (name or self.stack_name, region or self.region)
        if key not in self._stacks:
            self._stacks[key] = self.connect(*key)
        return self._stacks[key]

    def api(self, stack: "Stack", url: str | None) -> "StatusApi":
        """The public routes of a stack's API. The URL is the given one, or the output of the stack."""
        from cli.clients.api import StatusApi
        from cli.clients.stack import output_of

        return StatusApi(self.session(), url or output_of(stack, "ApiUrl"))

    def signed_api(self, stack: "Stack", url: str | None) -> "SignedApi":
        """The routes of a stack's API that require an AWS identity, called with the operator's own."""
        from cli.clients.signed_api import SignedApi

        return SignedApi(self.session(), self.api(stack, url).url, stack.identity(), self.clock)


def context_of(ctx: typer.Context) -> CliContext:
    """The context of this invocation."""
    return cast("CliContext", ctx.find_root().obj)


def stack_of(ctx: typer.Context, name: str | None, region: str | None) -> "Stack":
    """The stack of this invocation."""
    return context_of(ctx).stack(name, region)
