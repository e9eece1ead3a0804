"""Settings: read once, and an error that names the variable."""

import pytest

from lifecycle.bootstrap.settings import (
    AuditSettings,
    ChatJobsSettings,
    ChatSettings,
    IntakeSettings,
    OperatorSettings,
    PurgeSettings,
    Settings,
    StatusSettings,
    SweepSettings,
    WorkerSettings,
)
from lifecycle.domain.errors import Code, Rejected
from tests.harness.builders import ORG

OTHER = "1b" * 16
STATUS = {
    "LEDGER_TABLE": "ledger",
    "ID_KEY_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:id-key",
}
OPERATOR = {
    **STATUS,
    "ORGANIZATION_IDS": ORG,
    "COMMANDS_QUEUE_URL": "https://sqs/commands",
    "PURGE_QUEUE_URL": "https://sqs/purge",
    "SWEEPS_QUEUE_URL": "https://sqs/sweeps",
    "LEDGER_DAYS": "400",
}
CHAT = {**OPERATOR, "SECRET_PREFIX": "stack", "CHAT_QUEUE_URL": "https://sqs/chat"}
INTAKE = {
    **STATUS,
    "SECRET_PREFIX": "stack",
    "ORGANIZATION_IDS": ORG,
    "COMMANDS_QUEUE_URL": "https://sqs/commands",
    "COMMANDS_DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:eu-west-1:123456789012:dead",
    "COMMANDS_QUEUE_ARN": "arn:aws:sqs:eu-west-1:123456789012:commands",
    "COMMANDS_DEAD_LETTER_QUEUE_URL": "https://sqs/dead",
    "PURGE_QUEUE_URL": "https://sqs/purge",
    "BUS_NAME": "bus",
    "LEDGER_DAYS": "400",
    "SCHEDULE_GROUP": "later",
    "SCHEDULE_ROLE_ARN": "arn:aws:iam::123456789012:role/later",
}
CHAT_JOBS = {
    "SECRET_PREFIX": "stack",
    "ORGANIZATION_IDS": ORG,
    "QUEUE_URL": "https://sqs/commands",
    "DEAD_LETTER_QUEUE_URL": "https://sqs/dead",
    "LEDGER_TABLE": "ledger",
    "TALLYFY_BASE_URL": "https://go.tallyfy.com/api/",
    "RATE_PER_MINUTE": "100",
}
TALLYFY = {
    **CHAT_JOBS,
    "BUS_NAME": "bus",
    "LEDGER_DAYS": "400",
    "RETRY_BASE_SECONDS": "30",
}
WORKER = {
    **TALLYFY,
    "MINIMUM_ARCHIVE_DAYS": "30",
    "LANE": "people",
    "LEASE_SECONDS": "90",
    "QUEUE_RETENTION_SECONDS": "345600",
    "CHAT_QUEUE_URL": "https://sqs/chat",
}
PURGE = {
    **WORKER,
    "ID_KEY_SECRET_ARN": STATUS["ID_KEY_SECRET_ARN"],
    "EXPORTS_BUCKET": "exports",
    "QUEUE_ARN": "arn:aws:sqs:eu-west-1:123456789012:purge",
    "DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:eu-west-1:123456789012:dead",
    "SCHEDULE_GROUP": "later",
    "SCHEDULE_ROLE_ARN": "arn:aws:iam::123456789012:role/later",
}
SWEEP = {
    **TALLYFY,
    "ID_KEY_SECRET_ARN": STATUS["ID_KEY_SECRET_ARN"],
    "CHAT_QUEUE_URL": "https://sqs/chat",
    "BULK_QUEUE_URL": "https://sqs/bulk",
    "PURGE_QUEUE_URL": "https://sqs/purge",
    "PLANS_BUCKET": "plans",
    "SWEEP_MODE": "report",
    "DEAD_LETTER_QUEUE_URLS": "https://sqs/dead,https://sqs/purge-dead",
}
ALL: tuple[tuple[type[Settings], dict[str, str]], ...] = (
    (StatusSettings, STATUS),
    (OperatorSettings, OPERATOR),
    (ChatSettings, CHAT),
    (ChatJobsSettings, CHAT_JOBS),
    (IntakeSettings, INTAKE),
    (WorkerSettings, WORKER),
    (PurgeSettings, PURGE),
    (SweepSettings, SWEEP),
    (AuditSettings, {"LEDGER_TABLE": "ledger", "AUDIT_BUCKET": "audit"}),
)


def test_each_setting_is_read_from_its_variable() -> None:
    settings = WorkerSettings.read({**WORKER, "PATH": "/usr/bin", "UNRELATED": ""})
    assert settings.organization_ids == {ORG}
    assert settings.tallyfy_base_url == "https://go.tallyfy.com/api"
    assert settings.rate_per_minute == 100
    assert settings.retry_base_seconds == 30.0


@pytest.mark.parametrize("blank", [True, False])
@pytest.mark.parametrize(
    ("kind", "environment", "name"),
    [
        pytest.param(kind, environment, name, id=f"{kind.__name__}-{name}")
        for kind, environment in ALL
        for name in environment
    ],
)
def test_a_missing_or_blank_variable_is_named(
    kind: type[Settings],
    environment: dict[str, str],
    name: str,
    blank: bool,  # noqa: FBT001 - a case
) -> None:
    changed = {key: value for key, value in environment.items() if key != name} | ({name: ""} if blank else {})
    with pytest.raises(Rejected, match=name.lower()) as refusal:
        kind.read(changed)
    assert refusal.value.code is Code.CONFIGURATION
    assert blank or f"{name.lower()}: this key is missing" in refusal.value.reason


@pytest.mark.parametrize(("kind", "environment"), ALL, ids=[kind.__name__ for kind, _ in ALL])
def test_each_function_reads_exactly_the_variables_of_its_contract(
    kind: type[Settings], environment: dict[str, str]
) -> None:
    assert {name.upper() for name in kind.model_fields} == set(environment)
    kind.read({**environment, "PATH": "/usr/bin"})


def test_the_sweep_mode_is_report_or_apply() -> None:
    assert SweepSettings.read(SWEEP).sweep_mode == "report"
    assert SweepSettings.read({**SWEEP, "SWEEP_MODE": "apply"}).sweep_mode == "apply"


@pytest.mark.parametrize("value", ["delete", "REPORT", "apply ", "report,apply"])
def test_an_unknown_mode_is_refused_by_name(value: str) -> None:
    with pytest.raises(Rejected, match="sweep_mode"):
        SweepSettings.read({**SWEEP, "SWEEP_MODE": value})


def test_the_status_function_needs_only_the_settings_it_uses() -> None:
    assert set(StatusSettings.model_fields) == {"ledger_table", "id_key_secret_arn"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORGANIZATION_IDS", ""),
        ("ORGANIZATION_IDS", f"{ORG},"),
        ("ORGANIZATION_IDS", ORG.upper()),
        ("ORGANIZATION_IDS", f"{ORG};{OTHER}"),
        ("TALLYFY_BASE_URL", "http://go.tallyfy.com/api"),
        ("TALLYFY_BASE_URL", "https://"),
        ("TALLYFY_BASE_URL", ""),
        ("RATE_PER_MINUTE", "0"),
        ("RATE_PER_MINUTE", "6001"),
        ("MINIMUM_ARCHIVE_DAYS", "0"),
        ("MINIMUM_ARCHIVE_DAYS", "-30"),
        ("MINIMUM_ARCHIVE_DAYS", ""),
        ("MINIMUM_ARCHIVE_DAYS", "thirty"),
        ("LEDGER_DAYS", "29"),
        ("RETRY_BASE_SECONDS", "0"),
        ("RETRY_BASE_SECONDS", "nan"),
        ("LANE", "express"),
        ("LANE", "BULK"),
        ("LEASE_SECONDS", "0"),
        ("QUEUE_RETENTION_SECONDS", "3599"),
    ],
)
def test_a_dangerous_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(Rejected, match=name.lower()):
        WorkerSettings.read({**WORKER, name: value})


@pytest.mark.parametrize("value", ["", " ", "0", "-1", "0.5", "none", "00"])
def test_a_grace_period_of_zero_is_refused(value: str) -> None:
    """Blank or zero never means "at once"."""
    with pytest.raises(Rejected, match="minimum_archive_days"):
        PurgeSettings.read({**PURGE, "MINIMUM_ARCHIVE_DAYS": value})


@pytest.mark.parametrize("value", ["", "0", "29", "forever"])
def test_approvals_are_kept_as_long_as_intents(value: str) -> None:
    with pytest.raises(Rejected, match="ledger_days"):
        OperatorSettings.read({**OPERATOR, "LEDGER_DAYS": value})


def test_several_organizations_are_separated_by_commas() -> None:
    assert WorkerSettings.read({**WORKER, "ORGANIZATION_IDS": f"{ORG}, {OTHER}"}).organization_ids == {ORG, OTHER}


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(Rejected) as refusal:
        WorkerSettings.read({**WORKER, "ORGANIZATION_IDS": "private", "TALLYFY_BASE_URL": "ftp://private"})
    assert "private" not in refusal.value.reason
