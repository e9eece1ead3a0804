"""What a function is built with, by its environment alone."""

from collections.abc import Iterator

import pytest

from lifecycle.judgement.pace import Lane
from lifecycle.wiring.bootstrap import common, tallyfy
from lifecycle.words.capabilities import ORDINARY
from tests.builders import SOURCES
from tests.unit.test_settings import WORKER


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each process is built once; here each test is one."""
    for name, value in {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tallyfy, "operators_file", lambda _: SOURCES)
    caches = (tallyfy.worker, common.session, common.secrets)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize("lane", Lane)
def test_a_worker_stands_in_the_line_its_environment_names(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**WORKER, "LANE": lane.value}.items():
        monkeypatch.setenv(name, value)
    assert tallyfy.worker(ORDINARY).budget._pacing._lane is lane
