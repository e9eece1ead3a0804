"""The words of each notice, made from the events on the bus. An event that is no notice gives none. Pure and total."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lifecycle.domain.commands import one_line
from lifecycle.domain.failures import Attention, attention
from lifecycle.notices.file import NoticeKind

type Detail = Mapping[str, object]

_MOST_REASONS = 6
_BAR = 20
"""How many characters the longest bar has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message. ``text`` is our own wording; ``lines`` may hold what others wrote, and are shown as plain text."""

    kind: NoticeKind
    text: str
    lines: tuple[str, ...] = ()
    approval: str = ""
    """The request that can be approved or rejected, by its hash; empty if there is none."""


def notice_of(detail_type: str, detail: Detail, *, stack: str) -> Notice | None:
    """The notice of an event; ``None`` if the event is for programs only. ``stack`` names the stack in commands."""
    write = WRITERS.get(detail_type)
    return write(_Facts(detail, stack)) if write else None


@dataclass(frozen=True, slots=True)
class _Facts:
    """The fields of an event, as text on one line. What is missing is empty."""

    detail: Detail
    stack: str

    def __getitem__(self, name: str) -> str:
        value = self.detail.get(name)
        return one_line(str(value), most=300) if value is not None and value != "" else ""

    def number(self, name: str) -> int:
        """A count; 0 if it is missing or no number."""
        return int(self[name]) if self[name].isdecimal() else 0

    @property
    def counts(self) -> Mapping[str, int]:
        """How many things were kept, by reason."""
        try:
            found = json.loads(str(self.detail.get("by_reason") or "{}"))
        except (ValueError, RecursionError):
            return {}
        items = found.items() if isinstance(found, dict) else ()
        return {str(name): count for name, count in items if isinstance(count, int)}


def _asked(facts: _Facts) -> Notice:
    return Notice(
        kind=NoticeKind.APPROVAL,
        text=f"{facts['would_do'] or 'Something'} waits for approval in organization {facts['org_id']}.",
        lines=(
            f"Asked for by {facts['asked_by']}. {facts['given'] or '0'} of {facts['needed']} approvals.",
            f"It expires at {facts['deadline']}.",
            f"At the terminal: lifecycle approve {facts['approval']} --stack {facts.stack}",
        ),
        approval=facts["approval"],
    )


def _reminded(facts: _Facts) -> Notice:
    asked = _asked(facts)
    return Notice(
        kind=asked.kind, text=f"Half of the time is over: {asked.text}", lines=asked.lines, approval=asked.approval
    )


def _expired(facts: _Facts) -> Notice:
    return Notice(
        kind=NoticeKind.APPROVAL,
        text=f"A request for {facts['would_do'] or 'an action'} expired. Nothing was done.",
        lines=(
            f"{facts['asked_by']} had asked for it in organization {facts['org_id']}.",
            f"It had {facts['given'] or '0'} of {facts['needed']} approvals.",
            "If it is still meant, ask again.",
        ),
    )


def _swept(facts: _Facts) -> Notice:
    mode = "applied" if facts["mode"] == "apply" else "only reported"
    stopped = facts["stopped_by"]
    ended = f"It was not applied: {stopped}" if stopped else f"{facts.number('sent')} commands were sent ({mode})."
    return Notice(
        kind=NoticeKind.PLAN,
        text=f"Plan of organization {facts['org_id']}: {facts.number('due')} of {facts.number('seen')} things are due.",
        lines=(
            ended,
            *_bars(facts),
            f"The report: lifecycle report {facts['plan']} --stack {facts.stack}",
        ),
    )


def _applied(facts: _Facts) -> Notice:
    stopped = f" It stopped: {facts['stopped_by']}" if facts["stopped_by"] else ""
    return Notice(
        kind=NoticeKind.PLAN,
        text=f"A plan of organization {facts['org_id']} was applied: {facts.number('sent')} commands were sent.",
        lines=(
            f"Plan {facts['plan'][:12]}.{stopped}",
            f"To undo it: lifecycle undo --plan {facts['plan']} --stack {facts.stack}",
        ),
    )


def _reverted(facts: _Facts) -> Notice:
    return Notice(
        kind=NoticeKind.PLAN,
        text=f"A plan of organization {facts['org_id']} was undone: {facts.number('sent')} undos were sent.",
        lines=(f"Plan {facts['plan'][:12]}.",),
    )


def _dead(facts: _Facts) -> Notice | None:
    """Only what pages: the digest counts the rest."""
    if facts.detail.get("dead_lettered") is not True or attention(facts["code"]) is not Attention.PAGE:
        return None
    what = f"{facts['action']} of {facts['resource']} {facts['id']}" if facts["action"] else "A message"
    return Notice(
        kind=NoticeKind.DEAD_LETTER,
        text=f"{what} failed and waits in the dead-letter queue ({facts['code']}).",
        lines=(facts["reason"], f"Look at it: lifecycle dead-letters list --stack {facts.stack}"),
    )


def _digest(facts: _Facts) -> Notice:
    letters, oldest, requests, plans = map(facts.number, ("total", "oldest", "approvals", "plans"))
    age = f", the oldest for {_counted(oldest, 'day')}" if letters else ""
    news = (
        f"{_counted(letters, 'dead letter')} {'waits' if letters == 1 else 'wait'}{age}",
        f"{_counted(requests, 'request')} {'waits' if requests == 1 else 'wait'} for approval",
        f"{_counted(plans, 'plan')} {'was' if plans == 1 else 'were'} made",
    )
    lines = (
        f"For approval: {facts['approvals_text']}" if requests else "",
        f"Plans: {facts['plans_text']}" if plans else "",
        f"Queues: {facts['queues']}. Reasons: {facts['codes']}." if letters else "",
        f"All at a glance: lifecycle overview --stack {facts.stack}",
    )
    return Notice(kind=NoticeKind.DIGEST, text=f"Today: {', '.join(news)}.", lines=tuple(filter(None, lines)))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _trouble(facts: _Facts) -> Notice:
    return Notice(
        kind=NoticeKind.TROUBLE,
        text=f"The next sweep of organization {facts['org_id']} will not act until this is mended.",
        lines=(facts["reason"], f"Details: lifecycle check --stack {facts.stack}"),
    )


def _bars(facts: _Facts) -> Iterator[str]:
    """Why things were kept: a bar of text for each of the most frequent reasons."""
    counts = sorted(facts.counts.items(), key=lambda one: (-one[1], one[0]))[:_MOST_REASONS]
    most = max((count for _, count in counts), default=0)
    for reason, count in counts:
        if count > 0:
            yield f"{'█' * max(1, round(count / most * _BAR))} {count} kept: {one_line(reason, most=60)}"


WRITERS: Final[Mapping[str, Callable[[_Facts], Notice | None]]] = {
    "lifecycle.approval.asked": _asked,
    "lifecycle.approval.reminded": _reminded,
    "lifecycle.approval.expired": _expired,
    "lifecycle.sweep.finished": _swept,
    "lifecycle.plan.applied": _applied,
    "lifecycle.plan.reverted": _reverted,
    "lifecycle.command.dead_lettered": _dead,
    "lifecycle.command.rejected": _dead,
    "lifecycle.command.expired": _dead,
    "lifecycle.command.poison": _dead,
    "lifecycle.digest": _digest,
    "lifecycle.preflight.failed": _trouble,
}
"""What writes the notice of an event, by its ``detail-type``."""
