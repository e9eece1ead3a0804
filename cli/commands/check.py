"""`lifecycle check`: check that the stack has everything that it needs."""

import typer

from cli.clients.context import context_of, stack_of
from cli.ui.console import NO, NOTE, YES, as_json, console, plain, table
from cli.ui.errors import CliError
from cli.ui.options import ApiUrl, Json, Region, StackName
from cli.ui.progress import spinner


def check(
    ctx: typer.Context, json_: Json = False, api_url: ApiUrl = None, stack: StackName = None, region: Region = None
) -> None:
    """Check settings, secrets, tokens and roles. Only reads; changes nothing."""
    from cli.clients.tallyfy_reader import read_only
    from cli.services import stack_check
    from cli.services.config_files import declared_notices, declared_people, declared_policy, declared_sources
    from lifecycle.sweep.preflight_rules import Mark

    context, target = context_of(ctx), stack_of(ctx, stack, region)
    marks = {Mark.YES: YES, Mark.NOTE: NOTE, Mark.NO: NO}
    rows = table("", "what", "found", "what to do")
    findings = []
    with spinner("checking", json_=json_) as progress:
        for finding in stack_check.check(
            target,
            stack_check.Declared(declared_sources(), declared_people(), declared_policy(), declared_notices()),
            lambda: context.api(target, api_url),
            read_only(context.session()),
            clock=context.clock,
        ):
            progress(f"checked: {finding.what}")
            findings.append(finding)
            rows.add_row(marks[finding.mark], plain(finding.what), plain(finding.found), plain(finding.todo))
    if json_:
        as_json([{name: getattr(one, name) for name in ("mark", "what", "found", "todo")} for one in findings])
    else:
        console().print(rows, soft_wrap=True)
    failed = sum(one.mark is Mark.NO for one in findings)
    if failed:
        raise CliError(f"{failed} of these findings must be corrected before the stack can do its work.")
