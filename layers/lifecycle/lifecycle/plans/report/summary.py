"""The parts of the page about the plan as a whole."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lifecycle.domain.capabilities import Action, Resource
from lifecycle.plans.approval_question import ASKED, approval_question
from lifecycle.plans.plan_file import Plan
from lifecycle.plans.report.text import counted, done, duration, escape, moment, number, plural
from lifecycle.policy.evaluate import Mode


@dataclass(frozen=True, slots=True)
class Headline:
    """The headline of the page and its title."""

    sentence: str
    lead: str
    title: str


def applies_itself(plan: Plan) -> bool:
    """Whether the sweep that made the plan also applies its reversible actions."""
    return plan.mode is Mode.APPLY and plan.due > _final(plan) and not (plan.unseen or plan.stops or plan.person)


def _final(plan: Plan) -> int:
    """The number of irreversible actions, which wait for a person."""
    return sum(rule.due for rule in plan.rules if rule.irreversible)


def headline(plan: Plan) -> Headline:
    """What the plan would do, and whether the sweep applies it."""
    if plan.due:
        sentence = f"{_listed(_due_of(plan))}."
    else:
        sentence = f"Nothing would be done: {counted(plan.seen, 'thing')} looked at, nothing due."
    lead = "Nothing has been done."
    if applies_itself(plan):
        lead = "The sweep that made this plan applies it by itself."
        lead += " Irreversible actions wait for a person." if _final(plan) else " No further step is needed."
    return Headline(sentence, lead, f"{sentence} {plan.org_name or plan.org_id}")


def _due_of(plan: Plan) -> list[str]:
    """Such as "120 of 2,431 processes would be archived", for each action on a kind."""
    listed: Counter[Resource] = Counter()
    for bar in plan.ages:
        listed[bar.resource] += bar.things
    due: Counter[tuple[Resource, Action, str]] = Counter()
    for rule in plan.rules:
        will = "will be" if applies_itself(plan) and not rule.irreversible else "would be"
        due[rule.resource, rule.action, will] += rule.due
    return [
        f"{number(count)} of {counted(max(listed[resource], count), resource.label)} {will} {done(action)}"
        for (resource, action, will), count in due.items()
        if count
    ]


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


_AGAIN = "then make a new plan: <code>lifecycle sweep start</code>."


def notices(plan: Plan) -> str:
    """The reasons that stop the plan or make it incomplete, each with what to do about it."""
    return "".join(
        _notice(look, heading, said, then)
        for look, heading, said, then in (
            (
                "stop",
                "This plan is incomplete",
                plan.unseen,
                f"An incomplete plan is never applied. Correct the problems listed here, {_AGAIN}",
            ),
            (
                "stop",
                "This plan is not applied",
                plan.stops,
                f"Check that the policy says what you mean, correct the problems listed here, {_AGAIN}"
                + (' Or begin with the oldest things: <a href="#next">Next step</a>.' if plan.can_begin else ""),
            ),
            ("person", "A person has to apply this plan", plan.person, _for_a_person(plan)),
            ("note", "Worth knowing", plan.notes, ""),
        )
        if said
    )


def _for_a_person(plan: Plan) -> str:
    if not _can_be_applied(plan):
        return "First correct the problems above."
    return 'Look through <a href="#list">the list</a>. The command is at the end, under <a href="#next">Next step</a>.'


def _notice(look: str, heading: str, said: Iterable[str], then: str) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in said)
    todo = f'<p class="then"><strong>What to do next:</strong> {then}</p>' if then else ""
    return f'<section class="notice {look}"><h2>{heading}</h2><ul>{lines}</ul>{todo}</section>'


def places(plan: Plan) -> str:
    """The links to the sections of the page."""
    has_step = _can_be_applied(plan) or plan.can_begin
    step = '<li><a href="#next">Next step</a></li>' if has_step else '<li><a href="#facts">Facts</a></li>'
    return (
        '<li><a href="#totals">Totals</a></li><li><a href="#ages">Ages</a></li><li><a href="#list">The list</a></li>'
        + step
    )


def totals(plan: Plan) -> str:
    """How many resources were seen, and how many of them are due, kept or unreadable."""
    tiles = (
        ("", "", "seen", plan.seen, "seen"),
        ("=", "equals", "due", plan.due, "due"),
        ("+", "plus", "kept", plan.kept, "kept"),
        ("+", "plus", "failed", plan.failed, "not readable"),
    )
    tiled = "".join(
        f'<li class="{look}">{_sign(sign, word)}<span class="many">{number(count)}</span> '
        f'<span class="what">{what}</span></li>'
        for sign, word, look, count, what in tiles
    )
    return f'<ul class="sum">{tiled}</ul><div class="pair">{_by_rule(plan)}{_kept_by(plan)}</div>'


def _sign(sign: str, word: str) -> str:
    if not sign:
        return ""
    return f'<span class="sign"><span aria-hidden="true">{sign}</span><span class="unseen">{word} </span></span>'


def _by_rule(plan: Plan) -> str:
    if not plan.rules:
        return ""
    rows = "".join(
        f'<tr><th scope="row"><span data-pick="rule" data-value="{escape(rule.name)}">{escape(rule.name)}</span>'
        f'<span class="sub">{escape(rule.action)} {escape(plural(rule.resource.label))}</span>'
        + ('<span class="mark">cannot be undone</span>' if rule.irreversible else "")
        + f'</th><td class="n">{number(rule.considered)}</td><td class="n"><strong>{number(rule.due)}</strong></td>'
        f"<td>{_meter(rule.due, rule.considered, 'due')}</td></tr>"
        for rule in plan.rules
    )
    return (
        '<div class="card"><table class="plain"><caption>By rule</caption><thead><tr><th scope="col">Rule</th>'
        '<th scope="col" class="n">Considered</th><th scope="col" class="n">Due</th>'
        f"<td></td></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _kept_by(plan: Plan) -> str:
    if not plan.kept_by:
        return ""
    rows = "".join(
        f'<tr><th scope="row"><span data-pick="kind" data-value="{escape(kind)}">{escape(kind)}</span></th>'
        f'<td class="n">{number(count)}</td><td>{_meter(count, plan.kept, "kept")}</td></tr>'
        for kind, count in plan.kept_by.items()
    )
    total = f'<th scope="row">Kept in all</th><td class="n"><strong>{number(plan.kept)}</strong></td><td></td>'
    return (
        '<div class="card"><table class="plain"><caption>Kept, by reason</caption><thead><tr>'
        '<th scope="col">Reason</th><th scope="col" class="n">Things</th><td></td></tr></thead>'
        f"<tbody>{rows}</tbody><tfoot><tr>{total}</tr></tfoot></table></div>"
    )


def _meter(part: int, whole: int, look: str) -> str:
    """A bar that shows a share. Screen readers skip it, because the numbers stand beside it."""
    share = 100 * part / whole if whole else 0
    return (
        '<svg class="meter" aria-hidden="true" focusable="false" width="100%" height="6">'
        '<rect class="rail" width="100%" height="6" rx="3"/>'
        + (f'<rect class="{look}" width="{max(share, 1.5):.1f}%" height="6" rx="3"/>' if part else "")
        + "</svg>"
    )


def facts(plan: Plan) -> str:
    """The terms under which the plan was made."""
    said = (
        ("Plan", f"<code>{escape(plan.hash)}</code>"),
        ("Organization", _organization(plan)),
        ("Sweep", f"<code>{escape(plan.sweep_id)}</code>"),
        ("Policy", f"<code>{escape(plan.policy)}</code>"),
        ("Ages counted at", moment(plan.made_at, plan.zone)),
        ("Time zone", escape(plan.zone)),
        ("Mode", _MODES[plan.mode]),
        ("Time to apply", f"{duration(plan.estimated_minutes)} at {counted(plan.per_minute, 'call')} a minute"),
    )
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in said)


_MODES = {Mode.REPORT: "report: sweeps only write plans", Mode.APPLY: "apply: sweeps apply reversible actions"}


def _organization(plan: Plan) -> str:
    name = f"<bdi>{escape(plan.org_name)}</bdi> " if plan.org_name else ""
    return f"{name}<code>{escape(plan.org_id)}</code>"


def _can_be_applied(plan: Plan) -> bool:
    return bool(_final(plan) if applies_itself(plan) else plan.due) and not (plan.unseen or plan.stops)


def next_step(plan: Plan) -> str:
    """The next command to run, or the reason why there is none."""
    if _can_be_applied(plan):
        takes = f"{duration(plan.estimated_minutes)} at {counted(plan.per_minute, 'call')} a minute"
        what = "To do exactly what is listed here, and nothing else:"
        if applies_itself(plan):
            what = "To apply the irreversible actions as well; the sweep applies the others by itself:"
        return (
            f"<p>{what}</p>"
            f'<div class="command"><code id="command">lifecycle apply {escape(plan.hash)}</code>'
            '<button type="button" id="copy" hidden>Copy</button></div>'
            f'<p class="sub">It takes {takes}. Each thing is read again first. '
            "After a change of <code>policy.toml</code>, or after some days, make a new plan.</p>"
        )
    if applies_itself(plan):
        return "<p>None: the sweep applies this plan by itself.</p>"
    if plan.can_begin:
        return (
            "<p>Only caps stop this plan. If this many are intended, a person can begin with the oldest:</p>"
            f'<div class="command"><code id="command">lifecycle apply {escape(plan.hash)} --first N</code></div>'
            '<p class="sub">N is no more than the cap on the count. The rest stays due. '
            "Otherwise change <code>policy.toml</code> and make a new plan.</p>"
        )
    if plan.unseen or plan.stops:
        return f"<p>This plan must not be applied. Correct the problems at the top, {_AGAIN}</p>"
    return "<p>None: there is nothing to do.</p>"


def approval(plan: Plan) -> str:
    """The exact question to an approver of this plan; empty if no approval is needed or possible."""
    question = approval_question(plan)
    if question is None or not _can_be_applied(plan):
        return ""
    facts = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(' '.join(text.split()))}</dd></div>"
        for label, text in question.facts
    )
    lines = "".join(f"<li>{escape(text)}</li>" for text in question.consequences)
    return (
        '<section id="approval" aria-labelledby="approval-h"><h2 id="approval-h">What approvers are asked</h2>'
        "<p>When a person applies this plan, other people are asked to approve what cannot be undone. "
        f"<code>{escape(question.command)}</code> shows them this:</p>"
        f'<div class="card question"><h3>{escape(question.heading)}</h3><dl>{facts}</dl><ul>{lines}</ul>'
        f"<p><strong>{ASKED}</strong></p></div></section>"
    )
