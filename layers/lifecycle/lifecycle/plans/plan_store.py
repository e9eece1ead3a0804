"""Reads plans back from where they are kept, and believes them only if their lines have the plan's hash."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from lifecycle.aws.s3 import Objects
from lifecycle.domain.errors import Code, Rejected
from lifecycle.plans.plan_file import Plan, PlanFooter, PlanHeader


def key_of(org_id: str, plan: str, name: str) -> str:
    """Where a file of a plan is kept. ``name`` is ``plan.jsonl``, ``plan.json`` or ``report.html``."""
    return f"plans/{org_id}/{plan}/{name}"


@dataclass(frozen=True, slots=True)
class PlanStore:
    """The plans of all organizations."""

    objects: Objects

    @contextmanager
    def open(self, org_id: str, plan_hash: str) -> Iterator[tuple[Plan, Path]]:
        """A plan's summary and a file of its lines, which is removed at the end.

        Raises ``Rejected`` if there is no such plan, if this release cannot read it, or if the summary and the lines
        disagree.
        """
        with tempfile.TemporaryDirectory() as scratch:
            plan, lines = self._summary(org_id, plan_hash), Path(scratch, "plan.jsonl")
            if not self.objects.fetch(key_of(org_id, plan_hash, "plan.jsonl"), lines):
                raise Rejected(Code.PLAN_STOPPED, f"The lines of plan {plan_hash} are gone. Make a new plan.")
            difference = what_differs(plan, lines)
            if difference:
                raise Rejected(Code.PLAN_STOPPED, difference)
            yield plan, lines

    def _summary(self, org_id: str, plan_hash: str) -> Plan:
        body = self.objects.get(key_of(org_id, plan_hash, "plan.json"))
        if body is None:
            raise Rejected(Code.PLAN_STOPPED, f"Organization {org_id} has no plan {plan_hash}.")
        try:
            plan = Plan.model_validate_json(body)
        except ValidationError:
            raise Rejected(
                Code.PLAN_STOPPED, f"Plan {plan_hash} was written by another release. Make a new plan."
            ) from None
        if (plan.org_id, plan.hash) != (org_id, plan_hash):
            raise Rejected(Code.PLAN_STOPPED, f"The file of plan {plan_hash} contains another plan. Nothing was done.")
        return plan


def what_differs(plan: Plan, lines: Path) -> str:
    """Why a summary and its lines are not the same plan, as a sentence; empty if they are.

    The plan's name is the hash of its lines. Its summary must say what the first and the last of them say.
    """
    with lines.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != plan.hash:
            return f"The lines of plan {plan.hash} were changed: their hash is {found}. Make a new plan."
        file.seek(0)
        first = last = file.readline()
        for line in file:
            last = line
    try:
        header, footer = PlanHeader.model_validate_json(first), PlanFooter.model_validate_json(last)
    except ValidationError:
        return f"The lines of plan {plan.hash} were written by another release. Make a new plan."
    summary = plan.model_dump()
    terms = {**header.model_dump(), **footer.model_dump()}
    same = all(summary[name] == value for name, value in terms.items())
    return "" if same else f"plan.json of plan {plan.hash} does not match its lines. Make a new plan."
