"""Holds that belong to a case: what would become due without them."""

from datetime import datetime

from cli.clients.stack import Stack
from cli.services.plans import lines_of, newest_of
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.plans.plan_file import Plan, entries, open_lines
from lifecycle.policy.evaluate import Decision, evaluate
from lifecycle.policy.policy import Policy

_ON_HOLD = "on hold"


def due_without(
    stack: Stack, org_id: str, case: str, policy: Policy, now: datetime
) -> tuple[Plan | None, list[tuple[ResourceSnapshot, Decision]]]:
    """What the newest plan kept on hold, and the policy would act on if no hold of the case stood.

    Warnings and what people restored are not taken into account: a sweep may still keep some of it. Raises as
    ``lines_of``.
    """
    plan = newest_of(stack, org_id)
    if plan is None:
        return None, []
    standing = stack.holds().holds(org_id)
    left = Holds(
        {hold.key: hold.reason for hold in standing if set(hold.cases) - {case}}, policy.hold_tags or frozenset()
    )
    found: list[tuple[ResourceSnapshot, Decision]] = []
    with lines_of(stack, plan) as path, open_lines(path) as lines:
        for entry in entries(lines):
            if entry.decision.kind == _ON_HOLD:
                decision = evaluate(entry.thing, policy, left, now)
                if decision.action:
                    found.append((entry.thing, decision))
    return plan, found
