"""`lifecycle explain`: why a thing was archived or not, from its facts, the policy and its history."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cli.clients.context import context_of
from cli.ui.console import NOTE, YES, as_json, console, plain, status_text, table
from cli.ui.errors import Exit
from cli.ui.options import BaseUrl, Json, Org, PolicyFile, Region, StackName, TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from cli.clients.stack import Stack
    from cli.clients.tallyfy_reader import Access
    from lifecycle.domain.capabilities import Resource
    from lifecycle.domain.intent import IntentRow
    from lifecycle.domain.resources import ResourceSnapshot
    from lifecycle.policy.conditions import Check, Conditions, Tristate
    from lifecycle.policy.evaluate import Explanation, RuleEvaluation
    from lifecycle.policy.policy import Policy

_RATE = 100
_STATES = {"active": "not archived"}


def explain(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID|LINK", help="its id, or a link to it copied from the browser")],
    kind: Annotated[
        str, typer.Option("--kind", help="process (run), task, template (checklist, blueprint) or tag")
    ] = "process",
    policy: PolicyFile = None,
    org: Org = None,
    token_file: TokenFile = None,
    base_url: BaseUrl = None,
    json_: Json = False,
    stack: StackName = None,
    region: Region = None,
) -> None:
    """Show rule by rule why a thing was archived or not, and what was done to it. Only reads.

    The token comes from LIFECYCLE_TALLYFY_TOKEN or a file. Without one, or with --stack, the command reads the stack's
    token, holds, ledger and newest plan.
    """
    from cli.clients.tallyfy_reader import TallyfyReader, access
    from cli.services.config_files import POLICY_FILE, declared_policy
    from cli.ui.ids import id_in, kind_in

    context, out = context_of(ctx), console()
    resource = kind_in(kind)
    judged = declared_policy(policy or POLICY_FILE)
    what = access(ctx, org, token_file, base_url, stack, region)
    thing_id = id_in(name, org_id=what.org_id)
    reader = TallyfyReader(
        context.session(),
        what,
        per_minute=_RATE,
        clock=context.clock,
        sleep=context.sleep,
        tell=lambda line: console(errors=True).print(NOTE, plain(line), soft_wrap=True),
    )
    thing = reader.patiently(lambda: reader.tallyfy.look(what.org_id, resource, thing_id))
    if json_:
        _write(thing, what, resource, thing_id, judged, context.clock())
        return
    if thing is None:
        note = "It was permanently deleted, or it is of another kind: see --kind."
        out.print(NOTE, f"Tallyfy has no {resource.label} {thing_id}. {note}", soft_wrap=True)
    else:
        _facts(out, thing)
        _judged(out, thing, what.stack, what.org_id, judged, context.clock())
    known = False
    if what.stack is None:
        note = "No stack was named, so holds and earlier commands, including restores, were not read."
        out.print(NOTE, note, soft_wrap=True)
    else:
        known = _history(out, what.stack, what.org_id, resource, thing_id)
        _planned(out, what.stack, what.org_id, thing_id)
    if thing is None and not known:
        raise typer.Exit(Exit.NOT_DONE)


def _write(
    thing: "ResourceSnapshot | None",
    what: "Access",
    resource: "Resource",
    thing_id: str,
    policy: "Policy",
    now: datetime,
) -> None:
    """Return the whole explanation as JSON fields."""
    from pydantic_core import to_jsonable_python

    from cli.services import plans

    stack, org_id = what.stack, what.org_id
    found = _explanation(thing, stack, org_id, policy, now) if thing else None
    plan = plans.newest_of(stack, org_id) if stack else None
    entry = plans.said_of(stack, plan, thing_id) if stack and plan else None
    intents = _intents(stack, org_id, resource, thing_id) if stack else []
    as_json(
        {
            "id": thing_id,
            "resource": resource,
            "thing": to_jsonable_python(thing),
            "decision": to_jsonable_python(found.decision) if found else None,
            "rules": [
                {
                    "rule": one.rule.name,
                    "action": one.rule.action,
                    "fits": one.fits,
                    "when": to_jsonable_python(one.when),
                    "unless": to_jsonable_python(one.unless),
                }
                for one in (found.rules if found else ())
            ],
            "done_to_it": to_jsonable_python(intents) if stack else None,
            "planned": {"plan": plan.hash, "decision": to_jsonable_python(entry.decision) if entry else None}
            if plan
            else None,
        }
    )
    if thing is None and not intents:
        raise typer.Exit(Exit.NOT_DONE)


def _facts(out: "Console", thing: "ResourceSnapshot") -> None:
    out.print(plain(f"{thing.resource.label} '{thing.name or 'without a name'}' {thing.id}"), style="bold")
    several = {"owners": thing.owners, "tags": thing.tags}
    moments = {
        "created": thing.created_at,
        "completed": thing.completed_at,
        "last touched": thing.last_updated,
        "archived": thing.archived_at,
    }
    facts = {
        # "active" is also a status, of a process that nobody has completed.
        "state": _STATES.get(thing.state, thing.state) + (f", status {thing.status}" if thing.status else ""),
        **{what: _moment(when) for what, when in moments.items() if when is not None},
        "template": thing.template_id or "",
        **{what: ", ".join(sorted(names)) for what, names in several.items() if names is not None},
        "uses": "" if thing.uses is None else str(thing.uses),
    }
    for what, fact in facts.items():
        if fact:
            out.print(f"  {what:<13}", plain(fact), soft_wrap=True)


def _judged(
    out: "Console", thing: "ResourceSnapshot", stack: "Stack | None", org_id: str, policy: "Policy", now: datetime
) -> None:
    found = _explanation(thing, stack, org_id, policy, now)
    decision = found.decision
    out.print()
    note = f"A sweep would {decision.action} it now." if decision.action else "A sweep would not change it now."
    out.print(NOTE if decision.action else YES, f"{note}", plain(decision.reason), soft_wrap=True)
    _rules(out, found)


def _explanation(
    thing: "ResourceSnapshot", stack: "Stack | None", org_id: str, policy: "Policy", now: datetime
) -> "Explanation":
    """Return what a sweep would do with it now and why, from the policy, the holds, warnings and earlier restores."""
    from cli.services.plans import warn_first
    from lifecycle.domain.capabilities import Action
    from lifecycle.execution.restored_by_person import by_a_person
    from lifecycle.holds.rules import Holds
    from lifecycle.plans.builder import as_restored
    from lifecycle.policy import evaluate

    ledger = stack.ledger() if stack else None
    held = stack.holds().reasons(org_id) if stack else {}
    found = evaluate.explain(thing, policy, Holds(held, policy.hold_tags or frozenset()), now)
    newest = ledger.newest_on(org_id, [thing]) if ledger else {}
    kept = by_a_person(thing, newest.get((thing.resource, thing.id)))
    if kept and found.decision.action is Action.ARCHIVE:
        return replace(found, decision=as_restored(found.decision, kept))
    decision, _ = warn_first(stack, org_id, policy, now).decide(thing, found.decision)
    return replace(found, decision=decision)


def _rules(out: "Console", found: "Explanation") -> None:
    from lifecycle.policy.conditions import Tristate
    from lifecycle.policy.policy import Doing

    styles = {Tristate.YES: "green", Tristate.NO: "red", Tristate.UNKNOWN: "yellow"}
    if not found.rules:
        out.print("  The policy has no rule for this kind of thing.")
        return
    rows = table("rule", "asks", "answer", "seen")
    for evaluated in sorted(found.rules, key=lambda one: one.rule.action is not Doing.KEEP):
        for place, (asked, answer, seen) in enumerate(_answers(evaluated)):
            rule = Text(f"{evaluated.rule.name} ({evaluated.rule.action})") if place == 0 else Text()
            rows.add_row(rule, plain(asked), Text(answer, styles[answer]), plain(seen))
    out.print(rows, soft_wrap=True)


def _answers(found: "RuleEvaluation") -> "list[tuple[str, Tristate, str]]":
    from lifecycle.policy.policy import Doing

    keeps = found.rule.action is Doing.KEEP
    rows = _asked("when", found.rule.when, found.when, excludes=keeps)
    if found.rule.unless is not None:
        rows += _asked("unless", found.rule.unless, found.unless, excludes=True)
    return [*rows, ("does the rule match?", found.fits, "")]


def _asked(
    word: str, conditions: "Conditions", checks: "Iterable[Check]", *, excludes: bool
) -> "list[tuple[str, Tristate, str]]":
    return [
        (f"{word} {conditions.sentence(check.condition, excludes=excludes)}", check.answer, check.seen)
        for check in checks
    ]


def _intents(stack: "Stack", org_id: str, resource: "Resource", thing_id: str) -> "list[IntentRow]":
    """Return the last command that ended on it, and the one in progress."""
    from lifecycle.aws import table_keys
    from lifecycle.execution.ledger_rows import intents_on

    [row] = stack.rows().read(table_keys.resource(org_id, resource, thing_id))
    names = intents_on(row)
    return [found for name in names if (found := stack.intent(name)) is not None]


def _history(out: "Console", stack: "Stack", org_id: str, resource: "Resource", thing_id: str) -> bool:
    """Print the last and the current command on it. Return whether there was any."""
    intents = _intents(stack, org_id, resource, thing_id)
    out.print()
    if not intents:
        out.print("[bold]done to it[/]  nothing that the ledger still holds")
        return False
    for intent in intents:
        out.print("[bold]done to it[/] ", f"{intent.action}, asked for {_at(intent.issued_at)}", soft_wrap=True)
        ended = f" {_at(intent.concluded_at)}" if intent.concluded_at else ""
        out.print("  by       ", plain(f"{intent.requested_by} ({intent.source})"), soft_wrap=True)
        out.print("  why      ", plain(intent.why), soft_wrap=True)
        out.print("  outcome  ", status_text(intent.status), plain(f"{ended} {intent.reason}".strip()), soft_wrap=True)
        out.print("  intent   ", intent.intent_id, soft_wrap=True)
    return True


def _planned(out: "Console", stack: "Stack", org_id: str, thing_id: str) -> None:
    from cli.services import plans

    plan = plans.newest_of(stack, org_id)
    if plan is None:
        out.print("[bold]planned[/]     no plan of the stack yet")
        return
    entry = plans.said_of(stack, plan, thing_id)
    out.print("[bold]planned[/]    ", f"{_moment(plan.made_at)}, plan {plans.short(plan)}", soft_wrap=True)
    if entry is None:
        out.print(
            "  The plan does not contain it, because none of the lists that the policy reads contains it.",
            soft_wrap=True,
        )
    else:
        out.print(" ", plain(f"{entry.decision.action or 'keep'}: {entry.decision.reason}"), soft_wrap=True)


def _at(milliseconds: int) -> str:
    return _moment(datetime.fromtimestamp(milliseconds / 1000, UTC))


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
