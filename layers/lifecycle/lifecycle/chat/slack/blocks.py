"""What Slack shows: texts with buttons, in its Block Kit and within its limits. Pure, and total over what was kept.

Whatever others wrote (a title, a reason, a name) stands in plain text, where Slack reads no links, mentions or marks.
Sources: https://docs.slack.dev/reference/block-kit/blocks and
https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal, NotRequired, TypedDict

from lifecycle.approvals.rules import About, ApprovalRequest, ApprovalStatus
from lifecycle.domain.capabilities import TABLE, Resource
from lifecycle.domain.commands import one_line

MOST_TEXT = 3000
MOST_CHARACTERS = 12_000
"""Of all blocks of a message together. Slack names no such limit, and refuses from about 13,000 on."""
_MOST_LINE = 300
_MOST_RULES = 20
_MOST_CONFIRMED = 300
_SHORT = 12
_NOT_SHOWN = "Tallyfy did not say"
_MORE = "lifecycle approvals"
_BY_NAME = {doing.name: doing for doing in TABLE}

type Block = dict[str, object]
type Facts = Mapping[str, object]


class SlackAnswer(TypedDict):
    """What Slack shows to the person who typed. The result follows at the `response_url`."""

    response_type: Literal["ephemeral"]
    text: str
    blocks: NotRequired[list[Block]]
    """Slack shows these instead of the text."""


class Button(StrEnum):
    """What a button asks for. Its value names the request, or the intent."""

    APPROVE = "approve"
    REJECT = "reject"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """A text, and what stands in its place where blocks can be shown."""

    text: str
    blocks: tuple[Block, ...] = ()

    def body(self) -> SlackAnswer:
        """As JSON, for one person alone."""
        body = SlackAnswer(response_type="ephemeral", text=self.text)
        if self.blocks:
            body["blocks"] = list(self.blocks)
        return body


def result(text: str, undo: str | None) -> SlackMessage:
    """How something went; ``undo`` is the intent that a button below takes back."""
    if undo is None:
        return SlackMessage(text)
    return SlackMessage(text, (_section(_marked(text)), _actions(_button(Button.UNDO, "Undo", undo))))


def waiting(requests: Sequence[ApprovalRequest], who: str, now: int) -> SlackMessage:
    """What one person may approve or refuse, each with all that its approvers are shown."""
    if not requests:
        return SlackMessage("Nothing waits for your approval.")
    told = "1 request waits" if len(requests) == 1 else f"{len(requests)} requests wait"
    text = f"{told} for approval: {', '.join(short(request) for request in requests[:_MOST_RULES])}. {_MORE}"
    blocks, size = [_section(_marked(f"{told} for approval."))], 0
    for place, request in enumerate(requests):
        group = _asked(request, who, now)
        size += len(json.dumps(group, ensure_ascii=False))
        if size > MOST_CHARACTERS:  # long before there are 50 blocks, the most that Slack takes
            blocks.append(_section(_marked(f"… and {len(requests) - place} more: `{_MORE}`")))
            break
        blocks += group
    return SlackMessage(text, tuple(blocks))


def approved(request: ApprovalRequest, now: int) -> str:
    """What somebody is told who has just approved."""
    count = f"You approved `{short(request)}`: {len(request.approved_by)} of {request.needed}."
    back = f"To take that back: `/tallyfy withdraw {request.hash}`"
    if request.stands(now) is not ApprovalStatus.APPROVED:
        return f"{count} Others have until {_moment(request.deadline)}. {back}"
    return (
        f"{count} It goes on now. Its age, its holds and its export are looked at before anything is destroyed. {back}"
    )


def refused(request: ApprovalRequest) -> str:
    """What somebody is told who has just refused."""
    return f"You refused `{short(request)}`. What was asked for is not done."


def withdrawn(request: ApprovalRequest) -> str:
    """What somebody is told who has taken their approval back."""
    left = f"{len(request.approved_by)} of {request.needed} are left"
    return f"You took your approval of `{short(request)}` back: {left}."


def short(request: ApprovalRequest) -> str:
    """The beginning of its hash, for people."""
    return request.hash[:_SHORT]


def _asked(request: ApprovalRequest, who: str, now: int) -> list[Block]:
    shown = _shown(request)
    what = "What cannot be undone in a plan" if request.about == About.PLAN else _deed(request)
    lines = [*(_facts(request, shown, now) if shown else ()), *_terms(request)]
    reject = _button(
        Button.REJECT,
        "Reject",
        request.hash,
        confirm=_confirm("Reject", request, "It is not done, and this request is over for good."),
    )
    buttons = [reject]
    if not shown:
        lines.append(f"What it is about cannot be shown here. Look at it with: {_MORE}")
    elif who == request.asked_by:
        lines.append("You requested this yourself. Somebody else must approve it.")
    elif who in request.approved_by:
        lines.append("You have approved it.")
    else:
        sure = _confirm("Approve", request, _lasting(request, shown))
        buttons.insert(0, _button(Button.APPROVE, "Approve", request.hash, style="danger", confirm=sure))
    return [
        _section(_marked(f"*{what}* `{short(request)}`")),
        _section(_plain("\n".join(_cut(line, _MOST_LINE) for line in lines), MOST_TEXT)),
        _actions(*buttons),
    ]


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


def _marked(text: str) -> Block:
    """Text in which Slack reads marks: for our own words only."""
    return {"type": "mrkdwn", "text": _cut(text, MOST_TEXT) or "-"}


def _plain(text: str, most: int) -> Block:
    return {"type": "plain_text", "text": _cut(text, most) or "-", "emoji": False}


def _section(text: Block) -> Block:
    return {"type": "section", "text": text}


def _actions(*buttons: Block) -> Block:
    return {"type": "actions", "elements": list(buttons)}


def _button(kind: Button, label: str, value: str, *, style: str | None = None, confirm: Block | None = None) -> Block:
    made: Block = {"type": "button", "action_id": kind.value, "text": _plain(label, 75), "value": value}
    return {**made, **({"style": style} if style else {}), **({"confirm": confirm} if confirm else {})}


def _confirm(verb: str, request: ApprovalRequest, text: str) -> Block:
    return {
        "title": _plain(f"{verb} {short(request)}?", 100),
        "text": _plain(text, _MOST_CONFIRMED),
        "confirm": _plain(verb, 30),
        "deny": _plain("Cancel", 30),
        "style": "danger",
    }
