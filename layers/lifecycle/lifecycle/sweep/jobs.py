"""What a message on the sweeps queue asks for."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lifecycle.domain.commands import Id, ShortLine

SCHEDULE = "schedule"
"""The requester of scheduled jobs."""


class JobKind(StrEnum):
    """The job to run."""

    SWEEP = "sweep"
    """Read everything, write a plan and, in mode ``apply``, apply it."""
    CHECK = "check"
    """Only check that everything is in order."""
    DIGEST = "digest"
    """Announce what waits in the dead-letter queues, which belong to no single organization."""
    APPLY = "apply"
    """Apply a plan because a person asked for it."""
    WARN = "warn"
    """Tell people what a plan will act on once they were warned."""
    UNDO = "undo"
    """Undo what was applied of a plan."""


class SweepJob(BaseModel):
    """A message that starts or continues a job. Without ``org_id`` it becomes one job for each organization."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    sweep_id: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9:._-]+$")]
    """The permanent name of this job; the schedule uses its own time."""
    org_id: Id | None = None
    kind: JobKind = JobKind.SWEEP
    plan: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    requested_by: ShortLine | None = None
    first: Annotated[int, Field(ge=1)] | None = None
    """Apply only this many of the plan's oldest resources."""

    @model_validator(mode="after")
    def _is_complete(self) -> "SweepJob":
        if self.first is not None and self.kind is not JobKind.APPLY:
            msg = "only a job that applies a plan can have 'first'"
            raise ValueError(msg)
        is_about_plan = self.kind in {JobKind.APPLY, JobKind.UNDO, JobKind.WARN}
        has_all = self.org_id is not None and self.requested_by is not None
        if is_about_plan != (self.plan is not None) or (is_about_plan and not has_all):
            msg = "a job about a plan names the plan, the organization and who asked for it"
            raise ValueError(msg)
        return self
