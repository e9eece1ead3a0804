"""How far a plan has been applied or reverted: one row for each part of it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put, Row, VersionedTable
from lifecycle.execution import reverted_plans
from lifecycle.plans.plan_file import Plan


class PlanPart(StrEnum):
    """The two halves of a plan, and its revert. The schedule alone applies only the reversible half."""

    REVERSIBLE = "reversible"
    IRREVERSIBLE = "irreversible"
    REVERTED = "reverted"
    """The undo of what was applied."""


class Stage(StrEnum):
    """How far a part has come."""

    CANARY = "canary"
    """The first commands are sent and read back before the rest."""
    REST = "rest"
    DONE = "done"
    STOPPED = "stopped"
    """A canary did not end as planned, or a person reverted the plan. A new plan is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """How far a part of a plan has been applied, and who asked for it. ``sent`` counts commands."""

    stage: str = ""
    sent: int = 0
    requested_by: str = ""
    source: str = ""
    begun_at: str = ""
    why: str = ""
    checked: int = 0
    """How many canary commands have ended and were read back."""
    proven: int = 0
    """How many of those were done, and read back as planned."""
    first: int = 0
    """Act only on this many of the plan's oldest resources (``--first``); 0 for all of them."""
    undos: int = 0
    """How many undos a revert has sent."""
    left: str = "{}"
    """JSON: how many resources a revert left unchanged, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationStore:
    """Reads and writes these rows. Every write is conditional on the version that was read."""

    rows: VersionedTable
    clock: Callable[[], datetime]

    def find(self, plan: Plan, part: PlanPart) -> Application:
        """How far a part has come; an empty record if it never started."""
        return self.read(plan, part)[0]

    def read(self, plan: Plan, part: PlanPart) -> tuple[Application, int]:
        """How far a part has come, and the version of its row (0 if there is none)."""
        [row] = self.rows.read(application_key(plan.org_id, plan.hash, part))
        return application_in(row), row.version if row else 0

    def save(self, plan: Plan, part: PlanPart, state: Application, version: int) -> int:
        """Write the row over this version and return the new one. Raises ``Contention`` if another wrote first."""
        expires_at = int((self.clock() + reverted_plans.KEPT).timestamp())
        key = application_key(plan.org_id, plan.hash, part)
        self.rows.write(Put(key, asdict(state), version, expires_at))
        return version + 1

    def reverted_by(self, plan: Plan) -> str | None:
        """Who reverted the plan; ``None`` if nobody did."""
        [row] = self.rows.read(table_keys.reverted_plan(plan.org_id, plan.hash))
        if row is None:
            return None
        return reverted_plans.reverted_by(row)


def application_key(org_id: str, plan: str, part: PlanPart) -> Key:
    """The key of the row that records how far a part of a plan has come."""
    if part is PlanPart.REVERTED:
        return table_keys.reverted_plan(org_id, plan)
    return table_keys.plan(org_id, plan, part)


def application_in(row: Row | None) -> Application:
    """Read such a row; an empty record if there is none."""
    known = Application.__dataclass_fields__
    return Application(**{n: v for n, v in row.values.items() if n in known}) if row else Application()  # type: ignore[arg-type]


def already_reverted(state: Application) -> str:
    """Why a second revert of the same plan does nothing, as a sentence for people."""
    return (
        f"{state.requested_by} reverted this plan at {state.begun_at[:16].replace('T', ' ')} UTC. {state.why} "
        "Nothing more is sent. Resources that were archived again since, or whose undo was undone, stay as they are. "
        "To undo one command, run `lifecycle undo INTENT`."
    )
