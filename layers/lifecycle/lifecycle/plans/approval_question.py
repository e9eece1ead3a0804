"""The question to the approvers of a plan's irreversible actions. Its report and the command line use these words.

Pure. It reads no field of the plan that a request for approval leaves out (``ages`` and ``kept_by``).

"""

from dataclasses import dataclass
from datetime import UTC

from lifecycle.deletion.manifest import NOT_AN_UNDO
from lifecycle.plans.plan_file import Plan, RuleTotals

ASKED = "Approve exactly this?"
_SHORT = 12
"""The characters of a hash that ``lifecycle approve`` needs."""


@dataclass(frozen=True, slots=True)
class ApprovalQuestion:
    """One question: a heading, facts with their labels, and the effects of an approval."""

    heading: str
    facts: tuple[tuple[str, str], ...]
    consequences: tuple[str, ...]
    command: str

    @property
    def lines(self) -> tuple[str, ...]:
        """All of its words, one line each."""
        return (self.heading, *(f"{label} {text}" for label, text in self.facts), *self.consequences, ASKED)


def approval_question(plan: Plan) -> ApprovalQuestion | None:
    """The question to the approvers of a plan; ``None`` if nothing in it needs an approval."""
    irreversible = [rule for rule in plan.rules if rule.irreversible and rule.due]
    count = sum(rule.due for rule in irreversible)
    if not count:
        return None
    place = f"{plan.org_name} ({plan.org_id})" if plan.org_name else plan.org_id
    return ApprovalQuestion(
        heading=f"The irreversible actions of a plan: {count} {'thing' if count == 1 else 'things'}",
        facts=(
            ("made", f"{plan.made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {place}"),
            ("things", totals_line(plan)),
            *(("rule", rule_line(rule)) for rule in irreversible),
            *(("incomplete", why) for why in plan.unseen),
            *(("not applied", why) for why in plan.stops),
            *(("for a person", why) for why in plan.person),
            *(("note", why) for why in plan.notes),
            ("hash", plan.hash),
        ),
        consequences=(
            "Once enough other people have approved, the stack enqueues these actions: five first, then the rest.",
            "Each thing is read again and exported. It is deleted only if the export is complete.",
            NOT_AN_UNDO,
        ),
        command=f"lifecycle approve {plan.hash[:_SHORT]}",
    )


def totals_line(plan: Plan) -> str:
    """The sum of due, kept and unreadable resources, which always equals the number seen."""
    return f"{plan.seen} seen = {plan.due} due + {plan.kept} kept + {plan.failed} not readable"


def rule_line(rule: RuleTotals, width: int = 0) -> str:
    """What one rule does, to how many resources. The rule's name is padded to ``width`` characters."""
    line = f"{rule.name:<{width}}  {rule.action} {rule.resource.label}: {rule.due} of {rule.considered}"
    return f"{line}  cannot be undone" if rule.irreversible else line
