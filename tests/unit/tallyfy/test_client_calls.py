"""Calls to Tallyfy: where the token is sent, timeouts, and refused tokens."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests

from lifecycle.aws.secrets import MemorySecrets
from lifecycle.domain.capabilities import Action, Resource, State, capability
from lifecycle.domain.errors import Code, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.domain.urls import checked_base_url
from lifecycle.tallyfy.client import Tokens, moment, pooled_session, retry_after, thing_from
from sandbox.simulator import DEFAULT_TOKEN, Fault
from sandbox.simulator.messages import Response
from tests.harness.builders import NOW, PREFIX, THING
from tests.harness.tallyfy import ORG, CannedStand, SimulatorStand, answered

ARCHIVE = capability(Resource.RUN, Action.ARCHIVE)
FOUND = answered(200, {"data": {"id": THING}})
REFUSED = answered(401, {"error": True, "message": "Unauthenticated.", "code": 401})


def look(stand: CannedStand) -> None:
    stand.client.look(ORG, Resource.RUN, THING)


def act(stand: CannedStand) -> None:
    stand.client.act(ARCHIVE, ORG, THING)


@pytest.mark.parametrize("call", [look, act])
def test_every_call_carries_the_three_headers_and_no_body(call: Callable[[CannedStand], None]) -> None:
    stand = CannedStand(FOUND)
    call(stand)
    [asked] = stand.canned.asked
    assert asked.headers["Authorization"] == f"Bearer {DEFAULT_TOKEN}"
    assert asked.headers["Accept"] == "application/json"
    assert asked.headers["X-Tallyfy-Client"] == "APIClient"
    assert asked.body is None


def test_pages_and_retries_carry_the_headers_too() -> None:
    stand = CannedStand(REFUSED, answered(404), answered(200, {"data": [], "meta": {"pagination": {"total": 0}}}))
    look(stand)
    assert [asked.headers["X-Tallyfy-Client"] for asked in stand.canned.asked] == ["APIClient"] * 3


@pytest.mark.parametrize(
    "url",
    [
        "https://go.tallyfy.com/api",
        "https://api.tallyfy.com",
        "http://127.0.0.1:8080/api",
        "http://localhost:8080",
        "http://[::1]:8080",
    ],
)
def test_the_token_is_sent_to_https_or_loopback(url: str) -> None:
    assert checked_base_url(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "go.tallyfy.com/api",
        "//go.tallyfy.com",
        "http://go.tallyfy.com/api",
        "ftp://go.tallyfy.com",
        "file:///etc/passwd",
        "http://127.0.0.1@evil.test/",
        "http://127.0.0.1.evil.test/",
        "http://localhost.evil.test/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "https://",
        "https:///api",
        "https://user@go.tallyfy.com/api",
        "https://user:password@go.tallyfy.com/api",
        "https://go.tallyfy.com/api?x=",
        "https://go.tallyfy.com/api?x=1",
        "https://go.tallyfy.com/api#x",
        "http://[::1",
    ],
)
def test_any_other_base_url_is_rejected_so_the_token_is_not_sent_there(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        CannedStand(base_url=url)


def test_netrc_and_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine tallyfy.test login thief password stolen\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.test:3128")
    assert requests.utils.get_netrc_auth("https://tallyfy.test/api") == ("thief", "stolen")
    stand = CannedStand(FOUND)
    look(stand)
    assert stand.canned.asked[0].headers["Authorization"] == f"Bearer {DEFAULT_TOKEN}"
    assert not stand.canned.proxies[0]


def test_the_http_library_does_not_retry() -> None:
    session = pooled_session()
    for prefix in ("https://", "http://"):
        adapter = session.get_adapter(prefix)
        assert isinstance(adapter, requests.adapters.HTTPAdapter)
        assert adapter.max_retries.total == 0


# --- tokens ---


def test_a_refused_token_is_fetched_again_once() -> None:
    stand = CannedStand(REFUSED, FOUND)

    class Rotated(MemorySecrets):
        def get(self, name: str, *, fresh: bool = False) -> str:
            super().get(name, fresh=fresh)
            return "new" if fresh else "old"

    stand.client._tokens = Tokens(Rotated(stand.secrets.texts), PREFIX, frozenset({ORG}))
    look(stand)
    assert [a.headers["Authorization"] for a in stand.canned.asked] == ["Bearer old", "Bearer new"]
    assert stand.spent == [ORG, ORG]


@pytest.mark.parametrize("call", [look, act])
def test_a_token_refused_twice_needs_a_person(call: Callable[[CannedStand], None]) -> None:
    stand = CannedStand(REFUSED, REFUSED)
    with pytest.raises(TokenRefused, match="no deploy is needed") as refusal:
        call(stand)
    assert refusal.value.code is Code.TOKEN_REFUSED
    assert not refusal.value.counted
    assert len(stand.canned.asked) == 2
    assert stand.secrets.fetched == {stand.secret: 1}
    assert DEFAULT_TOKEN not in refusal.value.reason


def test_a_dead_token_in_the_simulator_has_no_effect() -> None:
    stand = SimulatorStand()
    stand.secrets.texts[stand.secret] = "dead"
    with pytest.raises(TokenRefused):
        stand.client.act(ARCHIVE, ORG, THING)
    assert stand.simulator.effects() == 0


def test_an_organization_that_is_not_configured_is_refused_before_any_call() -> None:
    stand = CannedStand()
    with pytest.raises(Rejected) as refusal:
        stand.client.look("1b" * 16, Resource.RUN, THING)
    assert refusal.value.code is Code.ORGANIZATION_UNKNOWN
    assert stand.canned.asked == []
    assert stand.spent == []


@pytest.mark.parametrize("text", ["", "{}", '{"token": ""}', "two\nlines"])
def test_a_secret_without_a_token_needs_a_person(text: str) -> None:
    stand = CannedStand()
    stand.secrets.texts[stand.secret] = text
    with pytest.raises(TokenRefused, match="holds no token"):
        look(stand)
    assert stand.canned.asked == []


def test_a_missing_secret_needs_a_person() -> None:
    stand = CannedStand()
    del stand.secrets.texts[stand.secret]
    with pytest.raises(TokenRefused, match="does not exist"):
        look(stand)


def test_a_secret_that_cannot_be_read_now_is_retried_later() -> None:
    class Down(MemorySecrets):
        def get(self, name: str, *, fresh: bool = False) -> str:
            raise Retryable(Code.UNAVAILABLE, "Secrets Manager is down.")

    with pytest.raises(Retryable) as trouble:
        Tokens(Down(), PREFIX, frozenset({ORG})).of(ORG)
    assert not isinstance(trouble.value, TokenRefused)


# --- time ---


@pytest.mark.parametrize("left", [2.0, 2.5, 4.0, 8.0, 15.0, 60.0, 900.0])
def test_connecting_and_reading_end_before_the_function_does(left: float) -> None:
    stand = CannedStand(FOUND, time_left=lambda: left)
    look(stand)
    [timeout] = stand.canned.timeouts
    assert isinstance(timeout, tuple)
    connect, read = timeout
    assert connect is not None
    assert read is not None
    assert 0 < connect <= 3.05
    assert 0 < read <= 10
    assert connect + read <= left - 1


@pytest.mark.parametrize("left", [1.99, 0.0, -5.0])
def test_no_call_is_made_without_time_left(left: float) -> None:
    stand = CannedStand(time_left=lambda: left)
    for call in (look, act):
        with pytest.raises(Throttled) as wait:
            call(stand)
        assert (wait.value.code, wait.value.retry_after) == (Code.OUT_OF_TIME, 1)
    assert stand.canned.asked == []
    assert stand.spent == []


def test_the_time_left_is_checked_before_each_attempt() -> None:
    times = iter([60.0, 1.0])
    stand = CannedStand(REFUSED, time_left=lambda: next(times))
    with pytest.raises(Throttled):
        look(stand)


# --- 429 ---


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17),
        (" 17 ", 17),
        ("0", 1),
        ("99999999999999999999", 3600),
        (format_datetime(NOW + timedelta(seconds=42), usegmt=True), 42),
        (format_datetime(NOW - timedelta(seconds=42), usegmt=True), 1),
        (format_datetime(NOW + timedelta(days=42), usegmt=True), 3600),
        ("Mon, 01 Jun 2026 12:01:00 -0000", 60),
        ("Mon, 01 Jun 2026 14:01:00 +0200", 60),
        (None, 60),
        ("", 60),
        ("soon", 60),
        ("-5", 60),
        ("1.5", 60),
        ("Mon, 99 Jun 2026 12:00:00 GMT", 60),
        ("Mon, 01 Jun 99999 12:00:00 GMT", 60),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


def test_a_429_with_a_date_is_respected() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    with pytest.raises(Throttled) as wait:
        look(CannedStand(answered(429, None, Retry_After=until)))
    assert wait.value.retry_after == pytest.approx(120, abs=5)


@pytest.mark.parametrize("answer", [answered(429), Response(429, b"<html>", {"Retry-After": "later"})])
def test_a_429_without_a_readable_delay_means_a_minute(answer: Response) -> None:
    with pytest.raises(Throttled) as wait:
        act(CannedStand(answer))
    assert wait.value.retry_after == 60


def test_the_simulators_429_is_understood() -> None:
    stand = SimulatorStand()
    stand.simulator.add_fault(Fault.rate_limit(3))
    with pytest.raises(Throttled) as wait:
        stand.client.look(ORG, Resource.RUN, THING)
    assert wait.value.retry_after == 3


# --- what an object says ---

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-05-04T03:02:01Z", AT),
        ("2026-05-04T03:02:01.000Z", AT),
        ("2026-05-04T05:02:01+02:00", AT),
        ("2026-05-04 03:02:01", None),
        ("2020-01-01", None),
        ("2020-01-01T00:00:00", None),
        ("2020-W01-1", None),
        ("0000-00-00 00:00:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1780000000, None),
        ({"date": "2026-05-04"}, None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_an_unreadable_time_is_unknown(text: object, read: datetime | None) -> None:
    assert moment(text) == read


@pytest.mark.parametrize(
    ("row", "state", "archived_at"),
    [
        ({}, State.ACTIVE, None),
        ({"archived_at": None, "deleted_at": None}, State.ACTIVE, None),
        ({"archived_at": "2026-05-04T03:02:01Z"}, State.ARCHIVED, AT),
        ({"deleted_at": "2026-05-04T03:02:01Z"}, State.ARCHIVED, AT),
        ({"archived_at": "some day"}, State.ARCHIVED, None),
        ({"archived_at": 1780000000}, State.ARCHIVED, None),
        ({"status": "archived"}, State.ARCHIVED, None),
        ({"status": "complete"}, State.ACTIVE, None),
    ],
)
def test_an_archived_resource_is_recognised_by_its_dates(
    row: dict[str, object], state: State, archived_at: datetime | None
) -> None:
    seen = thing_from(Resource.RUN, {"id": THING, **row})
    assert (seen.state, seen.archived_at) == (state, archived_at)


def test_a_tag_with_a_deletion_date_is_gone() -> None:
    assert thing_from(Resource.TAG, {"deleted_at": "2026-05-04T03:02:01Z"}).state is State.GONE


COUNTS = {"active_template": 1, "archived_template": 2, "active_process": 3, "archived_process": 4}


@pytest.mark.parametrize(
    ("statistics", "uses"),
    [
        (COUNTS, 10),
        ({"data": COUNTS}, 10),
        ({"data": dict.fromkeys(COUNTS, 0)}, 0),
        ({"data": {name: count for name, count in COUNTS.items() if name != "archived_process"}}, None),
        ({**COUNTS, "active_process": "3"}, None),
        ({**COUNTS, "active_process": None}, None),
        ({**COUNTS, "active_process": -1}, None),
        ({**COUNTS, "active_process": True}, None),
        ({"data": []}, None),
        ([], None),
        ({}, None),
        (None, None),
    ],
)
def test_the_use_of_a_tag_is_known_only_if_every_count_is(statistics: object, uses: int | None) -> None:
    assert thing_from(Resource.TAG, {"id": THING, "statistics": statistics}).uses == uses


def test_unknown_and_missing_fields_are_accepted() -> None:
    seen = thing_from(Resource.TASK, {"id": THING, "title": "Badge", "is_oneoff_task": "yes", "run_id": "", "new": {}})
    assert (seen.name, seen.status, seen.one_off, seen.run_id) == ("Badge", None, None, None)


@pytest.mark.parametrize(
    ("row", "one_off"),
    [
        ({"is_oneoff_task": True, "run_id": None}, True),
        ({"is_oneoff_task": False, "run_id": None}, False),
        ({"run_id": None}, True),
        ({"run_id": "5e" * 16}, None),
        ({"run_id": ""}, None),
        ({"run_id": 0}, None),
        ({}, None),
        ({"is_oneoff_task": "yes"}, None),
        ({"is_oneoff_task": 1}, None),
    ],
)
def test_a_task_is_one_off_only_if_tallyfy_says_so(row: dict[str, object], one_off: bool | None) -> None:  # noqa: FBT001 - a case
    assert thing_from(Resource.TASK, {"id": THING, **row}).one_off is one_off
