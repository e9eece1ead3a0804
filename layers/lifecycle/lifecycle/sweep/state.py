"""The rows of an organization's sweeps: the progress of each, the lock, and the newest plan."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Key, Put, Value, VersionedTable
from lifecycle.domain.errors import Code, Throttled
from lifecycle.plans.pagination_check import PaginationCheck
from lifecycle.plans.plan_file import Plan
from lifecycle.sweep.jobs import SweepJob

_KEEP = timedelta(days=30)
_LOCKED = timedelta(hours=6)
"""Longer than any wait of a sweep between two invocations. After this, a crashed sweep no longer blocks others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a sweep has come. ``lists``, ``stops`` and ``notes`` are JSON."""

    terms: str = ""
    """The mode and the policy digest it was started with."""
    begun_at: str = ""
    lists: str = "[]"
    """A ``PaginationCheck`` for each list."""
    org_name: str = ""
    stops: str = "[]"
    notes: str = "[]"
    plan: str = ""
    """The hash of its plan, once there is one."""
    seen: int = 0
    due: int = 0
    done: bool = False

    @property
    def checks(self) -> list[PaginationCheck]:
        """How far each list has been read."""
        return [PaginationCheck(**check) for check in json.loads(self.lists)]

    def with_check(self, number: int, check: PaginationCheck) -> "Progress":
        """A copy with the new progress of one list."""
        checks = self.checks
        checks[number] = check
        return replace(self, lists=json.dumps([asdict(one) for one in checks]))


class NewestPlan(NamedTuple):
    """The newest plan of an organization, by its hash, and the sweep that made it."""

    plan: str
    sweep_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepState:
    """Reads and writes these rows. Every write is conditional; another writer in between raises ``Contention``."""

    rows: VersionedTable
    clock: Callable[[], datetime]
    terms: str
    """The mode and the policy digest of this release's configuration."""

    def progress(self, sweep_id: str, org_id: str) -> tuple[Progress, int]:
        """How far a sweep has come, and the version of its row (0 if there is none)."""
        [row] = self.rows.read(state_key(sweep_id, org_id))
        if row is None:
            return Progress(terms=self.terms), 0
        known = Progress.__dataclass_fields__
        return Progress(**{n: v for n, v in row.values.items() if n in known}), row.version  # type: ignore[arg-type]

    def save(self, sweep_id: str, org_id: str, progress: Progress, version: int) -> int:
        """Write the progress over this version and return the new version."""
        expires_at = int((self.clock() + _KEEP).timestamp())
        self.rows.write(Put(state_key(sweep_id, org_id), asdict(progress), version, expires_at))
        return version + 1

    def lock(self, job: SweepJob, org_id: str) -> None:
        """Take the lock, so that one job runs at a time. Raises ``Throttled`` if another job has it.

        With two at once, a hold set between their reads would count for only one of them.
        """
        [row] = self.rows.read(lock_key(org_id))
        now = self.clock()
        holder = str(row.values.get("sweep_id", "")) if row else ""
        until = int(str(row.values.get("until", 0))) if row else 0
        if holder not in {"", job.sweep_id} and until > now.timestamp():
            raise Throttled(Code.BUSY, f"Sweep {holder} of this organization is not finished.", retry_after=600)
        values: dict[str, Value] = {
            "sweep_id": job.sweep_id,
            "until": int((now + _LOCKED).timestamp()),
            "plan": job.plan or "",
        }
        self.rows.write(Put(lock_key(org_id), values, row.version if row else 0))

    def unlock(self, job: SweepJob) -> None:
        """Release the lock, if this job has it."""
        if job.org_id is None:
            return
        [row] = self.rows.read(lock_key(job.org_id))
        if row is not None and row.values.get("sweep_id") == job.sweep_id:
            self._release(job.org_id, row.version)

    def unlock_plan(self, org_id: str, plan: str) -> None:
        """Release the lock of a job whose plan was reverted. That job sends nothing more and may be paused."""
        [row] = self.rows.read(lock_key(org_id))
        holder = str(row.values.get("sweep_id") or "") if row else ""
        if row is None or not holder:
            return
        if plan in {row.values.get("plan"), self.progress(holder, org_id)[0].plan}:
            self._release(org_id, row.version)

    def remember_newest(self, plan: Plan) -> None:
        """Record which plan is the newest, for people who do not know its hash."""
        [row] = self.rows.read(newest_key(plan.org_id))
        values: dict[str, Value] = {"sweep_id": plan.sweep_id, "plan": plan.hash}
        self.rows.write(Put(newest_key(plan.org_id), values, row.version if row else 0))

    def newest(self, org_id: str) -> NewestPlan | None:
        """The newest plan; ``None`` if there was none yet."""
        [row] = self.rows.read(newest_key(org_id))
        return NewestPlan(str(row.values["plan"]), str(row.values["sweep_id"])) if row else None

    def _release(self, org_id: str, version: int) -> None:
        self.rows.write(Put(lock_key(org_id), {"sweep_id": "", "until": 0}, version))


def state_key(sweep_id: str, org_id: str) -> Key:
    """The key of a sweep's progress."""
    return table_keys.sweep_state(org_id, sweep_id)


def newest_key(org_id: str) -> Key:
    """The key of the row that names the newest plan of an organization."""
    return table_keys.sweeps(org_id, "newest")


def lock_key(org_id: str) -> Key:
    """The key of the lock of an organization."""
    return table_keys.sweeps(org_id, "current")
