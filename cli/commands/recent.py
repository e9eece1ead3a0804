"""`lifecycle recent`: the latest commands that ended, with their outcomes."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cli.clients.context import context_of, stack_of
from cli.ui.console import NOTE, as_json, console, plain, status_text, table
from cli.ui.options import Json, Orgs, Region, StackName
from cli.ui.progress import spinner

if TYPE_CHECKING:
    from cli.clients.context import CliContext
    from cli.services.recent import Filter
    from lifecycle.audit.chain import Record
    from lifecycle.audit.store import AuditStore

_MOST_HOURS = 24 * 30
_EVERY = 3.0
"""The seconds between two polls with ``--follow``."""


def recent(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The most commands to list.")] = 20,
    hours: Annotated[int, typer.Option("--hours", min=1, max=_MOST_HOURS, help="The most hours to look back.")] = 24,
    source: Annotated[str, typer.Option("--source", help="Only commands of this source in sources.toml.")] = "",
    status: Annotated[
        str, typer.Option("--status", help="Only commands with this status or code, such as rejected or held.")
    ] = "",
    thing: Annotated[str, typer.Option("--thing", metavar="ID", help="Only commands on the thing with this id.")] = "",
    by: Annotated[
        str, typer.Option("--by", metavar="WHO", help="Only commands of people whose name contains this text.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing new commands until Ctrl-C.")] = False,
    org: Orgs = None,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """List the latest commands that ended, with source, thing and outcome. The newest comes last.

    A command that has not ended is not listed: see `lifecycle status`. With --follow and --json each command is one
    line of JSON.
    """
    from cli.clients.stack import organizations_of
    from cli.services.recent import Filter, newest
    from lifecycle.audit.store import AuditStore

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    org_id = organizations_of(target, org)[0] if org else ""
    wanted = Filter(org_id=org_id, source=source, status=status, thing=thing.strip(), by=by)
    store = AuditStore(target.rows())
    began = context.clock()
    with spinner("reading the audit rows", json_=json_):
        found = newest(store, wanted, began, most=limit, hours=hours)
    if follow:
        _follow(context, store, wanted, found, json_=json_)
    elif json_:
        as_json([_as_json(one) for one in found])
    elif found:
        rows = table("ended (UTC)", "command", "source", "asked for by", "outcome", "reason")
        for one in found:
            rows.add_row(*_cells(one))
        console().print(rows, soft_wrap=True)
    else:
        console().print(NOTE, f"No matching command ended in the last {hours} hours. See --hours.")


def _follow(
    context: "CliContext", store: "AuditStore", wanted: "Filter", found: "list[Record]", *, json_: bool
) -> None:
    from cli.services.recent import HOUR, since

    printed: set[tuple[str, int]] = set()
    while True:
        for one in found:
            name = (one.intent_id, one.redrive)
            if name not in printed:
                printed.add(name)
                _print(one, json_=json_)
        context.sleep(_EVERY)
        # Read the previous hour too, because a record of its last moments may become visible late.
        now = context.clock()
        found = list(since(store, wanted, now - HOUR, now))


def _print(one: "Record", *, json_: bool) -> None:
    if json_:
        sys.stdout.write(json.dumps(_as_json(one)) + "\n")
        sys.stdout.flush()
        return
    at, what, source, by, outcome, reason = _cells(one)
    console().print(at, what, outcome, f"({source}, {by})", reason, soft_wrap=True)


def _cells(one: "Record") -> tuple[str, Text, Text, Text, Text, Text]:
    from lifecycle.domain.clock import moment

    kind = "process" if one.resource == "run" else one.resource
    outcome = status_text(one.status).append(f": {one.code}" if one.code else "")
    return (
        f"{moment(one.at):%m-%d %H:%M:%S}",
        plain(f"{one.action} {kind} {one.id}"),
        plain(one.source),
        plain(one.by, most=100),
        outcome,
        plain(one.reason, most=160),
    )


def _as_json(one: "Record") -> dict[str, object]:
    from lifecycle.domain.clock import moment

    fields = ("intent_id", "org_id", "action", "resource", "id", "source", "by", "status", "code", "reason", "why")
    return {"ended_at": moment(one.at).isoformat(), **{name: getattr(one, name) or None for name in fields}}
