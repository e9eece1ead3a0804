"""Reading the text of a secret."""

import json

import pytest

from lifecycle.aws.secrets import MemorySecrets, signing_secrets, token_in
from lifecycle.domain.errors import Code, Retryable


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("whsec_YWJj", [b"whsec_YWJj"]),
        ("  pasted by hand\n", [b"pasted by hand"]),
        ("8472619350\n", [b"8472619350"]),
        ("0012345678", [b"0012345678"]),
        ("1.5e300", [b"1.5e300"]),
        ("9" * 5000, [b"9" * 5000]),
        ("true", []),
        ('{"secrets": ["new"]}', [b"new"]),
        ('{"secrets": ["new", "old"]}', [b"new", b"old"]),
        ('{"secrets": [" new\\n", "old"]}', [b"new", b"old"]),
        ('{"secrets": ["new", "old", "older"]}', [b"new", b"old"]),
        ('{"secrets": ["", "new"]}', [b"new"]),
        ('{"secrets": ["   ", "new"]}', [b"new"]),
        ('{"secrets": [1, null, ["x"]]}', []),
        ('{"secrets": "new"}', []),
        ('{"secrets": []}', []),
        ('{"secret": "new"}', []),
        ("{}", []),
        ("[]", []),
        ("null", []),
        ('"quoted"', []),
        ("", []),
        ("   ", []),
    ],
)
def test_the_signing_secrets_of_a_source_are_read_from_text_or_json(text: str, secrets: list[bytes]) -> None:
    assert signing_secrets(text) == secrets


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("a.token.here", "a.token.here"),
        (" a.token.here\n", "a.token.here"),
        ('{"token": "a.token.here"}', "a.token.here"),
        ('{"token": "two\\nlines"}', None),
        ('{"token": "no\\u00e4scii"}', None),
        ('{"token": "  "}', None),
        ('{"token": ""}', None),
        ('{"token": 7}', None),
        ('{"Token": "x"}', None),
        ("[]", None),
        ("", None),
        ("two\nlines", None),
        ("tökén", None),
    ],
)
def test_the_token_of_an_organization_is_read_from_text_or_json(text: str, token: str | None) -> None:
    assert token_in(text) == token


def test_a_secret_may_be_any_json_text_without_raising() -> None:
    assert signing_secrets(json.dumps({"secrets": ["\ud800"]})) == [b"\xed\xa0\x80"]


def test_a_missing_secret_is_a_configuration_error() -> None:
    with pytest.raises(Retryable, match="does not exist") as trouble:
        MemorySecrets().get("stack/sources/crm")
    assert trouble.value.code is Code.CONFIGURATION


def test_a_secret_in_memory_may_have_an_unknown_age() -> None:
    assert MemorySecrets({"stack/sources/crm": "text"}).stored_at("stack/sources/crm") is None
