"""Each function's settings: one frozen model, read once from the environment; an error names the variable."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lifecycle.domain.commands import Id, describe
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.urls import checked_base_url
from lifecycle.pacing.token_bucket import Lane

type Name = Annotated[str, Field(min_length=1)]
type OrgIds = Annotated[
    frozenset[Id],
    BeforeValidator(lambda text: [part.strip() for part in text.split(",")] if isinstance(text, str) else text),
    Field(min_length=1),
]


class Settings(BaseModel):
    """The settings of every function. The variable is the field's name in capitals."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)  # A function uses one model.

    ledger_table: Name

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment, or raise ``Rejected`` naming each variable that is missing or wrong."""
        try:
            return cls.model_validate({name.lower(): value for name, value in environment.items()})
        except ValidationError as error:
            raise Rejected(
                Code.CONFIGURATION, f"Environment of this function (variables in capitals): {describe(error)}"
            ) from None


class StatusSettings(Settings):
    """``functions/status``."""

    id_key_secret_arn: Name


class OperatorSettings(StatusSettings):
    """``functions/operator``."""

    organization_ids: OrgIds
    commands_queue_url: Name
    purge_queue_url: Name
    sweeps_queue_url: Name
    ledger_days: Annotated[int, Field(ge=30)]


class ChatSettings(OperatorSettings):
    """``functions/chat``: the settings of ``functions/operator``, and those for chat tools."""

    secret_prefix: Name
    chat_queue_url: Name


class IntakeSettings(StatusSettings):
    """``functions/webhook`` and ``functions/event``."""

    secret_prefix: Name
    organization_ids: OrgIds
    commands_queue_url: Name
    commands_queue_arn: Name
    commands_dead_letter_queue_url: Name
    commands_dead_letter_queue_arn: Name
    purge_queue_url: Name
    bus_name: Name
    schedule_group: Name
    schedule_role_arn: Name
    ledger_days: Annotated[int, Field(ge=30)]


class TallyfySettings(Settings):
    """The settings of every function that calls Tallyfy."""

    secret_prefix: Name
    organization_ids: OrgIds
    queue_url: Name
    dead_letter_queue_url: Name
    tallyfy_base_url: Annotated[str, AfterValidator(checked_base_url)]
    rate_per_minute: Annotated[int, Field(ge=1, le=6000)]


class ChatJobsSettings(TallyfySettings):
    """``functions/chat_jobs``."""


class AnnouncingSettings(TallyfySettings):
    """The settings of every function that records and announces how commands end."""

    bus_name: Name
    ledger_days: Annotated[int, Field(ge=30)]
    retry_base_seconds: Annotated[float, Field(gt=0, le=600)]


class WorkerSettings(AnnouncingSettings):
    """``functions/worker``, for people's commands and for the bulk of sweeps, and ``functions/purge``."""

    minimum_archive_days: Annotated[int, Field(ge=1)]
    lane: Lane
    lease_seconds: Annotated[int, Field(ge=1)]
    queue_retention_seconds: Annotated[int, Field(ge=3600)]
    chat_queue_url: Name


class PurgeSettings(WorkerSettings):
    """``functions/purge``."""

    id_key_secret_arn: Name
    exports_bucket: Name
    queue_arn: Name
    dead_letter_queue_arn: Name
    schedule_group: Name
    schedule_role_arn: Name


class SweepSettings(AnnouncingSettings):
    """``functions/sweep``."""

    id_key_secret_arn: Name
    bulk_queue_url: Name
    purge_queue_url: Name
    chat_queue_url: Name
    plans_bucket: Name
    sweep_mode: Literal["report", "apply"]
    dead_letter_queue_urls: Annotated[
        tuple[Name, ...],
        BeforeValidator(lambda text: tuple(text.split(",")) if isinstance(text, str) else text),
        Field(min_length=1),
    ]
    """Every dead-letter queue that holds work for people."""


class AuditSettings(Settings):
    """``functions/audit``."""

    audit_bucket: Name
