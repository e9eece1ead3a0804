"""Settings: read once, and an error that names the variable."""

import pytest

from lifecycle.wiring.settings import StatusSettings, WebhookSettings, WorkerSettings
from lifecycle.words.errors import Code, Rejected
from tests.builders import ORG

OTHER = "1b" * 16
WEBHOOK = {
    "LEDGER_TABLE": "ledger",
    "ID_KEY_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:id-key",
    "SECRET_PREFIX": "stack",
    "ORGANIZATION_IDS": ORG,
    "COMMANDS_QUEUE_URL": "https://sqs/commands",
    "PURGE_QUEUE_URL": "https://sqs/purge",
}
WORKER = {
    "SECRET_PREFIX": "stack",
    "ORGANIZATION_IDS": ORG,
    "QUEUE_URL": "https://sqs/commands",
    "DEAD_LETTER_QUEUE_URL": "https://sqs/dead",
    "LEDGER_TABLE": "ledger",
    "BUS_NAME": "bus",
    "TALLYFY_BASE_URL": "https://go.tallyfy.com/api/",
    "RATE_PER_MINUTE": "100",
    "MINIMUM_ARCHIVE_DAYS": "30",
    "LEDGER_DAYS": "400",
    "RETRY_BASE_SECONDS": "30",
    "LEASE_SECONDS": "90",
    "QUEUE_RETENTION_SECONDS": "345600",
}


def test_the_environment_is_read_by_its_names() -> None:
    settings = WorkerSettings.read({**WORKER, "PATH": "/usr/bin", "UNRELATED": ""})
    assert settings.organization_ids == {ORG}
    assert settings.tallyfy_base_url == "https://go.tallyfy.com/api"
    assert settings.rate_per_minute == 100
    assert settings.retry_base_seconds == 30.0


@pytest.mark.parametrize("name", WORKER)
def test_a_missing_variable_of_the_worker_is_named(name: str) -> None:
    with pytest.raises(Rejected, match=f"{name.lower()}: Field required") as refusal:
        WorkerSettings.read({key: value for key, value in WORKER.items() if key != name})
    assert refusal.value.code is Code.CONFIGURATION


@pytest.mark.parametrize("name", WEBHOOK)
@pytest.mark.parametrize("blank", [True, False])
def test_a_missing_or_blank_variable_of_the_webhook_is_named(name: str, blank: bool) -> None:  # noqa: FBT001 - a case
    environment = {key: value for key, value in WEBHOOK.items() if key != name} | ({name: ""} if blank else {})
    with pytest.raises(Rejected, match=name.lower()):
        WebhookSettings.read(environment)


def test_the_status_function_needs_no_more_than_it_uses() -> None:
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
        ("LEASE_SECONDS", "0"),
        ("QUEUE_RETENTION_SECONDS", "3599"),
    ],
)
def test_a_value_that_would_be_dangerous_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(Rejected, match=name.lower()):
        WorkerSettings.read({**WORKER, name: value})


def test_several_organizations_are_separated_by_commas() -> None:
    assert WorkerSettings.read({**WORKER, "ORGANIZATION_IDS": f"{ORG}, {OTHER}"}).organization_ids == {ORG, OTHER}


def test_an_error_repeats_no_value() -> None:
    with pytest.raises(Rejected) as refusal:
        WorkerSettings.read({**WORKER, "ORGANIZATION_IDS": "private", "TALLYFY_BASE_URL": "ftp://private"})
    assert "private" not in refusal.value.reason
