"""Reads stored plans, and accepts them only if their lines have the plan's hash."""

import hashlib
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from lifecycle.aws.s3 import Objects
from lifecycle.domain.errors import Code, Rejected
from lifecycle.plans.plan_file import LINES, Plan, PlanFooter, PlanHeader, open_lines


def key_of(org_id: str, plan: str, name: str) -> str:
    """Where a file of a plan is kept. ``name`` is ``plan.jsonl.gz``, ``plan.json`` or ``report.html``."""
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
            plan, lines = self.summary(org_id, plan_hash), Path(scratch, LINES)
            if not self.objects.fetch(key_of(org_id, plan_hash, LINES), lines):
                raise Rejected(Code.PLAN_STOPPED, f"The lines of plan {plan_hash} are gone. Make a new plan.")
            difference = what_differs(plan, lines)
            if difference:
                raise Rejected(Code.PLAN_STOPPED, difference)
            yield plan, lines

    def summary(self, org_id: str, plan_hash: str) -> Plan:
        """A plan's summary, not compared with its lines. Raises ``Rejected`` if there is none that can be read."""
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

    The plan's name is the hash of its lines. Its summary must agree with the first and the last line.
    """
    try:
        found, first, last = _read_through(lines)
    except (OSError, EOFError, zlib.error):
        return f"The lines of plan {plan.hash} were changed: they cannot be decompressed. Make a new plan."
    if found != plan.hash:
        return f"The lines of plan {plan.hash} were changed: their hash is {found}. Make a new plan."
    try:
        header, footer = PlanHeader.model_validate_json(first), PlanFooter.model_validate_json(last)
    except ValidationError:
        return f"The lines of plan {plan.hash} were written by another release. Make a new plan."
    summary = plan.model_dump()
    terms = {**header.model_dump(), **footer.model_dump()}
    same = all(summary[name] == value for name, value in terms.items())
    return "" if same else f"plan.json of plan {plan.hash} does not match its lines. Make a new plan."


def _read_through(lines: Path) -> tuple[str, bytes, bytes]:
    """The hash of all lines, the first line, and the last one."""
    digest = hashlib.sha256()
    with open_lines(lines) as file:
        first = last = file.readline()
        digest.update(first)
        for last in file:
            digest.update(last)
    return digest.hexdigest(), first, last
