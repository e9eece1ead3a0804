"""What people are shown of requests for approval, in words for every chat tool. Pure, and total over what was kept."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from lifecycle.approvals.rules import About, ApprovalRequest, ApprovalStatus
from lifecycle.domain.capabilities import TABLE, Resource
from lifecycle.domain.commands import one_line
from lifecycle.domain.messages import Answer, Button, ButtonKind, Confirm, Section

_MOST_LINE = 300
_MOST_RULES = 20
_SHORT = 12
_NOT_SHOWN = "Tallyfy did not say"
MORE = "lifecycle approvals"
"""The command that shows all of it at the terminal."""
_BY_NAME = {doing.name: doing for doing in TABLE}

type Facts = Mapping[str, object]


def waiting(requests: Sequence[ApprovalRequest], who: str, now: int) -> Answer:
    """What one person may approve or reject, each with all that its approvers are shown.

    ``now`` is in milliseconds since 1970, UTC.
    """
    if not requests:
        return Answer(text="Nothing waits for your approval.")
    count = "1 request waits" if len(requests) == 1 else f"{len(requests)} requests wait"
    names = ", ".join(short(request) for request in requests[:_MOST_RULES])
    sections = (_asked(request, who, now) for request in requests)
    return Answer(text=f"{count} for approval: {names}. `{MORE}` shows them at the terminal.", sections=tuple(sections))


def approved(request: ApprovalRequest, now: int) -> str:
    """What somebody is told who has just approved."""
    count = f"You approved `{short(request)}`: {len(request.approved_by)} of {request.needed}."
    back = f"To take that back, write `withdraw {request.hash}`."
    if request.stands(now) is not ApprovalStatus.APPROVED:
        return f"{count} Others have until {_moment(request.deadline)}. {back}"
    return f"{count} It goes on now. Its age, its holds and its export are checked before anything is destroyed. {back}"


def rejected(request: ApprovalRequest) -> str:
    """What somebody is told who has just rejected."""
    return f"You rejected `{short(request)}`. What was asked for is not done."


def withdrawn(request: ApprovalRequest) -> str:
    """What somebody is told who has taken their approval back."""
    left = f"{len(request.approved_by)} of {request.needed} are left"
    return f"You took your approval of `{short(request)}` back: {left}."


def short(request: ApprovalRequest) -> str:
    """The beginning of its hash, for people."""
    return request.hash[:_SHORT]


def _asked(request: ApprovalRequest, who: str, now: int) -> Section:
    shown = _shown(request)
    what = "What cannot be undone in a plan" if request.about == About.PLAN else _deed(request)
    lines = [*(_facts(request, shown, now) if shown else ()), *_terms(request)]
    reject = Button(
        kind=ButtonKind.REJECT,
        label="Reject",
        value=request.hash,
        typed=f"reject {request.hash}",
        confirm=_confirm("Reject", request, "It is not done, and this request is over for good."),
    )
    buttons = [reject]
    if not shown:
        lines.append(f"What it is about cannot be shown here. Look at it with: {MORE}")
    elif who == request.asked_by:
        lines.append("You requested this yourself. Somebody else must approve it.")
    elif who in request.approved_by:
        lines.append("You have approved it.")
    else:
        approve = Button(
            kind=ButtonKind.APPROVE,
            label="Approve",
            value=request.hash,
            danger=True,
            confirm=_confirm("Approve", request, _lasting(request, shown)),
        )
        buttons.insert(0, approve)
    return Section(
        text=f"{what} `{short(request)}`",
        lines=tuple(_cut(line, _MOST_LINE) for line in lines),
        buttons=tuple(buttons),
        reason_for=request.hash,
    )


def _shown(request: ApprovalRequest) -> Facts:
    try:
        found = json.loads(request.shown)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _facts(request: ApprovalRequest, shown: Facts, now: int) -> Iterator[str]:
    return _of_plan(shown) if request.about == About.PLAN else _of_command(request, shown, now)


def _of_command(request: ApprovalRequest, shown: Facts, now: int) -> Iterator[str]:
    doing = _BY_NAME.get(next(iter(request.capabilities), ""))
    kind = doing.resource.label if doing else "thing"
    yield f"{kind.capitalize()}: {_said(shown.get('title'))}"
    yield f"Id: {_said(shown.get('id'))}, organization {request.org_id}"
    if doing and doing.resource.shows("status"):
        if doing.resource.shows("template_id"):
            yield f"Template: {_said(shown.get('template'))}"
        yield f"Owners: {_listed(shown.get('owners'))}"
    problem = ", with an open problem" if shown.get("has_open_issue") is True else ""
    yield f"Status: {_said(shown.get('status'))}{problem}"
    for name, key in (("Archived", "archived_at"), ("Completed", "completed_at"), ("Last changed", "last_updated")):
        if shown.get(key) is not None or key == "archived_at":
            yield f"{name}: {_since(shown.get(key), now)}"
    if doing is None or doing.resource.shows("tasks"):
        yield f"Tasks: {_said(shown.get('tasks'))}; comments: {_said(shown.get('comments'))}"
    if shown.get("tags"):
        yield f"Tags: {_listed(shown.get('tags'))}"
    if doing and doing.resource.shows("uses"):
        yield f"Carried by: {_said(shown.get('carried_by'))}"
    yield f"Why: {_said(shown.get('reason'))}"
    if doing:
        yield f"{doing.remark}{_EVIDENCE if doing.permanent else ''}"


_EVIDENCE = " Its export, made before, is evidence and no undo."


def _of_plan(shown: Facts) -> Iterator[str]:
    yield f"Plan: {_said(shown.get('hash'))}"
    yield f"Organization: {_said(shown.get('org_name'))} ({_said(shown.get('org_id'))})"
    counts = ", ".join(f"{name} {_said(shown.get(name))}" for name in ("seen", "due", "kept", "failed"))
    yield f"Made: {_said(shown.get('made_at'))}; {counts}"
    rules = _rules(shown)
    for rule in rules[:_MOST_RULES]:
        lasting = " CANNOT BE UNDONE" if rule.get("irreversible") is True else ""
        doing = f"{_said(rule.get('action'))} {_label(rule.get('resource'))}"
        yield f"Rule {_said(rule.get('name'))}: {doing}, {_said(rule.get('due'))} due.{lasting}"
    if len(rules) > _MOST_RULES:
        yield f"… and {len(rules) - _MOST_RULES} rules more, in the report."
    yield f"Cannot be undone: {_deeds(shown)}.{_EVIDENCE}"
    yield f"Its report: lifecycle report {_said(shown.get('hash'))}"


def _terms(request: ApprovalRequest) -> Iterator[str]:
    yield f"Asked for by {_said(request.asked_by)}, {_moment(request.asked_at)}"
    by = f" (by {', '.join(_said(name) for name in request.approved_by)})" if request.approved_by else ""
    yield f"Approved: {len(request.approved_by)} of {request.needed}{by}; expires {_moment(request.deadline)}"


def _lasting(request: ApprovalRequest, shown: Facts) -> str:
    if request.about == About.PLAN:
        return f"It approves: {_deeds(shown)}. Nothing brings that back; exports are evidence and no undo."
    title = _cut(_said(shown.get("title")), 100)
    return f"{_deed(request)} “{title}”. Nothing brings it back; its export is evidence and no undo."


def _deed(request: ApprovalRequest) -> str:
    doing = _BY_NAME.get(next(iter(request.capabilities), ""))
    return f"{doing.action.capitalize()} {doing.resource.label}" if doing else "Do what cannot be undone"


def _deeds(shown: Facts) -> str:
    lasting = [rule for rule in _rules(shown) if rule.get("irreversible") is True]
    told = (
        f"{_said(rule.get('action'))} {_label(rule.get('resource'))} × {_said(rule.get('due'))}" for rule in lasting
    )
    return ", ".join(told) or "nothing"


def _rules(shown: Facts) -> list[Facts]:
    """Those by which something is due, what cannot be undone first."""
    found = shown.get("rules")
    rules = [rule for rule in found if isinstance(rule, dict)] if isinstance(found, list) else []
    return sorted((rule for rule in rules if rule.get("due")), key=lambda rule: rule.get("irreversible") is not True)


def _label(resource: object) -> str:
    return next((kind.label for kind in Resource if kind == resource), None) or _said(resource)


def _said(value: object) -> str:
    """A fact on one line. What Tallyfy did not say is never shown as if it were nothing."""
    return _NOT_SHOWN if value is None else one_line(str(value), most=_MOST_LINE)


def _listed(value: object) -> str:
    if not isinstance(value, list):
        return _said(value)
    return ", ".join(_said(one) for one in value) or "none"


def _since(value: object, now: int) -> str:
    if value is None:
        return _NOT_SHOWN
    try:
        days = (datetime.fromtimestamp(now / 1000, UTC) - datetime.fromisoformat(str(value))).days
    except (ValueError, TypeError):
        return _said(value)
    return f"{_said(value)} ({days} days ago)" if days >= 0 else _said(value)


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _confirm(verb: str, request: ApprovalRequest, text: str) -> Confirm:
    return Confirm(title=f"{verb} {short(request)}?", text=text, yes=verb)
