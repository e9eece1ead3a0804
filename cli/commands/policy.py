"""`lifecycle policy`: check policy.toml, describe it in words, and show the effect of a change."""

import json
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.clients.context import stack_of
from cli.ui.console import NOTE, YES, as_json, console, plain, table
from cli.ui.errors import CliError, Exit
from cli.ui.options import Json, Org, Region, StackName
from cli.ui.progress import spinner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.services.policy_diff import Comparison
    from lifecycle.plans.plan_file import Plan

app = typer.Typer(
    no_args_is_help=True,
    help="Check policy.toml, which says what sweeps do, and compare two policies on the things of a plan.",
)

_FIRST = 50


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="(default: layers/config/policy.toml)"),
    ] = None,
    json_: Json = False,
) -> None:
    """Check a policy, and describe in words what it does, in the order in which its rules are evaluated."""
    from cli.services.config_files import POLICY_FILE, declared_policy
    from cli.ui.policy_text import in_words
    from lifecycle.sweep.preflight_rules import Mark, of_policy

    path = file or POLICY_FILE
    policy = declared_policy(path)
    if json_:
        findings = [asdict(one) for one in of_policy(policy)]
        as_json({"digest": policy.digest, "policy": json.loads(policy.to_json()), "findings": findings})
        return
    out = console()
    out.print(YES, plain(f"{path.name} is right."), soft_wrap=True)
    out.print(in_words(policy), soft_wrap=True)
    for finding in of_policy(policy):
        if finding.mark is not Mark.YES:
            out.print(NOTE, plain(f"{finding.what}: {finding.found}. {finding.todo}"), soft_wrap=True)


@app.command()
def diff(
    ctx: typer.Context,
    old: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a policy.toml")],
    new: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="another one")],
    plan: Annotated[
        str | None,
        typer.Option(
            "--plan",
            metavar="FILE|HASH",
            help="The things to compare on: a plan.jsonl.gz, or a plan of the stack. (default: the newest)",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help=f"List all, not only the first {_FIRST}.")] = False,
    json_: Json = False,
    org: Org = None,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show what a change of the policy would change, for all things in a plan, at the plan's time."""
    from cli.services.config_files import declared_policy
    from cli.services.policy_diff import compare

    before, after = declared_policy(old), declared_policy(new)
    with spinner("comparing", json_=json_), _lines(ctx, plan, org, stack, region) as path:
        found = compare(path, before, after)
    if json_:
        _write(found)
    else:
        _tell(found, all_)


@contextmanager
def _lines(
    ctx: typer.Context, plan: str | None, org: str | None, stack: str | None, region: str | None
) -> "Iterator[Path]":
    if plan is not None and Path(plan).is_file():
        yield Path(plan)
        return
    from cli.services import plans

    if plan is not None and ("/" in plan or plan.endswith(".jsonl")):
        raise CliError(f"There is no file {plan}.", Exit.USAGE)
    target = stack_of(ctx, stack, region)
    found: Plan = plans.find(target, plan, org) if plan else plans.newest(target, org)
    with plans.lines_of(target, found) as path:
        yield path


def _write(found: "Comparison") -> None:
    changes = [
        {
            "what": change.what,
            "id": change.thing.id,
            "resource": change.thing.resource,
            "name": change.thing.name,
            "from": change.before.action,
            "to": change.after.action,
            "because": change.after.reason,
        }
        for change in found.changes
    ]
    counted = {"made_at": found.made_at.isoformat(), "things": found.things, "counts": dict(found.counts)}
    as_json({**counted, "missing": found.missing, "changes": changes})


def _tell(found: "Comparison", every: bool) -> None:
    out = console()
    out.print(f"[bold]{found.things}[/] things, as seen at {found.made_at:%Y-%m-%d %H:%M} UTC", soft_wrap=True)
    for said, count in found.counts.items():
        out.print(f"  {count:>7}  {said}")
    for missing in found.missing:
        out.print(NOTE, plain(missing), soft_wrap=True)
    if not found.changes:
        out.print(YES, "Both policies treat everything the same.")
        return
    rows = table("what", "id", "thing", "from", "to", "because")
    listed = found.changes if every else found.changes[:_FIRST]
    for change in listed:
        before, after = (said.action or "keep" for said in (change.before, change.after))
        rows.add_row(
            change.what,
            change.thing.id,
            plain(f"{change.thing.resource.label} {change.thing.name or ''}", most=80),
            before,
            after,
            plain(change.after.reason),
        )
    out.print(rows, soft_wrap=True)
    if len(listed) < len(found.changes):
        out.print(f"  {len(found.changes) - len(listed)} more: --all", soft_wrap=True)
