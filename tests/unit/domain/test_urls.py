"""Which URLs are on loopback."""

import pytest

from lifecycle.domain.urls import loopback_origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080"),
        ("http://localhost/api", "http://localhost"),
        ("http://[::1]:9/api", "http://[::1]:9"),
        ("https://go.tallyfy.com/api", None),
        ("http://127.0.0.1.example.com/api", None),
        ("http://127.0.0.1@example.com/api", None),
        ("", None),
    ],
)
def test_only_a_loopback_url_has_a_loopback_origin(url: str, origin: str | None) -> None:
    assert loopback_origin(url) == origin
