"""Reads of an export: complete lists, unchanged files, and a token that never reaches another host."""

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import requests

from lifecycle.domain.errors import Code, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.tallyfy import bodies
from lifecycle.tallyfy import export_reader as adapter
from lifecycle.tallyfy.client import DoesNotAddUp
from lifecycle.tallyfy.export_reader import HttpRecords, Patient
from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, Fault, Quirks, Simulator, crowd, long_run, make_id
from sandbox.simulator.messages import Response
from tests.harness.builders import NOW, ORG, Clock
from tests.harness.tallyfy import CannedStand, SimulatorStand, Stand, answered, page

FILE = make_id("asset")
OCTETS = {"Content-Type": "application/octet-stream"}
STORAGE = "https://files.tallyfy.test"


def records(stand: Stand, time_left: Callable[[], float] = lambda: 60.0) -> HttpRecords:
    return HttpRecords(stand.client, stand.client._session, time_left=time_left)


def octets(body: bytes, **headers: str) -> Response:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(200, body, {**OCTETS, "Content-Length": str(len(body)), **told})


def sent_on(where: str) -> Response:
    return Response(302, b"", {"Location": where})


def listed(*rows: object, total: object = None, pages: object = 1) -> Response:
    told = {"total": len(rows) if total is None else total, "total_pages": pages}
    return answered(200, {"data": list(rows), "meta": {"pagination": told}})


class TestDocument:
    def test_a_document_is_returned_as_tallyfy_shows_it(self) -> None:
        stand = SimulatorStand()
        found = records(stand).document(ORG, f"/tags/{DefaultIds.USED_TAG}", {"with": "statistics"})
        assert found is not None
        assert found["statistics"]["data"]["active_process"] == 1  # type: ignore[index] # raw JSON
        assert records(stand).document(ORG, f"/tags/{make_id('none')}", {}) is None
        assert len(stand.spent) == 2

    def test_an_answer_that_is_not_an_object_is_an_error(self) -> None:
        with pytest.raises(Retryable, match="not an object"):
            records(CannedStand(answered(200, {"data": [1]}))).document(ORG, "/tags/x", {})


class TestRows:
    def test_every_row_of_every_page_is_returned(self) -> None:
        stand = SimulatorStand(Simulator(crowd(250), clock=Clock(NOW)))
        found = [str(row["id"]) for row in records(stand).rows(ORG, "/runs", {"sort": "created_at"})]
        assert sorted(found) == sorted(make_id("run", n) for n in range(250))
        assert len(stand.spent) == 3
        assert [call.query["page"] for call in stand.simulator.log.calls] == ["1", "2", "3"]

    def test_an_empty_list_is_complete(self) -> None:
        assert list(records(CannedStand(listed())).rows(ORG, "/runs", {})) == []

    @pytest.mark.parametrize(
        "answers",
        [
            [listed({"id": 1}, total=2)],
            [listed({"id": 1}, {"id": 1}, total=2)],
            [listed({"id": 1}, total=0)],
            [listed({"id": 1}, total="1")],
            [listed({"id": 1}, total=2, pages=2), listed({"id": 1}, total=2, pages=2)],
            [listed({"id": 1}, total=2, pages=2), listed({"id": 2}, total=3, pages=2)],
            [listed({"id": 1}, total=3, pages=2), listed({"id": 2}, total=2, pages=2)],
            [listed({"id": 1}, total=3, pages=3), listed(total=3, pages=3)],
            [listed({"id": 1}, "no row")],
            [answered(200, {"data": [{"id": 1}]})],
            [answered(200, {"data": {"id": 1}, "meta": {"pagination": {"total": 1, "total_pages": 1}}})],
        ],
    )
    def test_a_list_with_another_total_than_rows_is_an_error(self, answers: list[Response]) -> None:
        stand = CannedStand(*answers)
        with pytest.raises(DoesNotAddUp):
            list(records(stand).rows(ORG, "/runs", {}))
        assert stand.canned.answers == []

    def test_rows_without_an_id_count_as_well(self) -> None:
        assert len(list(records(CannedStand(listed({"verb": "x"}, {"verb": "x"}))).rows(ORG, "/runs", {}))) == 2

    def test_a_missing_list_differs_from_an_empty_one(self) -> None:
        with pytest.raises(Rejected) as refusal:
            list(records(CannedStand(answered(404, {"error": True}))).rows(ORG, "/runs", {}))
        assert refusal.value.code is Code.NOT_FOUND


class TestDownload:
    def test_a_file_is_downloaded_unchanged(self, tmp_path: Path) -> None:
        stand = SimulatorStand()
        assert records(stand).download(ORG, FILE, tmp_path / "file") == 19
        assert (tmp_path / "file").read_bytes() == b"the signed contract"
        assert stand.calls == [("GET", f"file/{FILE}/dl")]
        assert stand.spent == [ORG]

    def test_a_large_file_is_downloaded_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        size = 3 * bodies._PIECE + 17
        stand = SimulatorStand(Simulator(long_run(1, 0, 1, size=size), clock=Clock(NOW)))
        pieces: list[int] = []
        whole = bodies.pieces

        def counted(*args: Any, **more: Any) -> Iterator[bytes]:
            for piece in whole(*args, **more):
                pieces.append(len(piece))
                yield piece

        monkeypatch.setattr(adapter, "pieces", counted)
        assert records(stand).download(ORG, make_id("asset", 0), tmp_path / "file") == size
        assert (tmp_path / "file").stat().st_size == sum(pieces) == size
        assert max(pieces) <= bodies._PIECE

    def test_a_download_asks_for_no_compression(self, tmp_path: Path) -> None:
        stand = CannedStand(octets(b"x"))
        records(stand).download(ORG, FILE, tmp_path / "file")
        asked = stand.canned.asked[0].headers
        assert (asked["Accept-Encoding"], asked["X-Tallyfy-Client"]) == ("identity", "APIClient")
        assert asked["Authorization"] == f"Bearer {DEFAULT_TOKEN}"

    @pytest.mark.parametrize("name", ["", "..", "../runs", f"{FILE}/x", FILE.upper(), f"{FILE}\n", "1"])
    def test_an_invalid_file_id_makes_no_call(self, tmp_path: Path, name: str) -> None:
        stand = CannedStand()
        with pytest.raises(Rejected):
            records(stand).download(ORG, name, tmp_path / "file")
        assert stand.canned.asked == []

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (answered(404, {"error": True}), Code.NOT_FOUND),
            (answered(403, {"error": True}), Code.FORBIDDEN),
            (answered(422, {"message": "no"}), Code.REFUSED),
            (octets(b"", Content_Length=str(200 * 1024**2 + 1)), Code.TOO_LARGE),
            (Response(200, b"who knows how much", OCTETS), Code.UNDETERMINED),
        ],
    )
    def test_a_file_that_cannot_be_read_is_rejected_with_the_reason(
        self, tmp_path: Path, answer: Response, code: Code
    ) -> None:
        with pytest.raises(Rejected) as refusal:
            records(CannedStand(answer)).download(ORG, FILE, tmp_path / "file")
        assert refusal.value.code is code

    @pytest.mark.parametrize(
        "answer",
        [
            answered(500),
            answered(408),
            answered(206, None),
            answered(204),
            page(502),
            page(200),
            answered(200, {"error": True, "message": "Something went wrong.", "code": 500}),
            octets(b"cut off", Content_Length="100"),
            requests.ConnectionError(),
            requests.ReadTimeout(),
        ],
    )
    def test_a_temporary_failure_can_be_retried(self, tmp_path: Path, answer: Response | Exception) -> None:
        with pytest.raises(Retryable):
            records(CannedStand(answer)).download(ORG, FILE, tmp_path / "file")

    def test_a_truncated_file_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Even if the HTTP library does not notice."""
        monkeypatch.setattr(adapter, "pieces", lambda *_, **__: iter([b"half"]))
        with pytest.raises(Retryable, match="4 of 8 bytes"):
            records(CannedStand(octets(b"half it!"))).download(ORG, FILE, tmp_path / "file")

    def test_a_file_without_an_end_is_stopped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adapter, "MOST_FILE_BYTES", 1000)
        endless = Response(200, b"x" * 5000, {**OCTETS, "Transfer-Encoding": "chunked"})
        with pytest.raises(Rejected) as refusal:
            records(CannedStand(endless)).download(ORG, FILE, tmp_path / "file")
        assert refusal.value.code is Code.TOO_LARGE
        assert (tmp_path / "file").stat().st_size <= 1000

    def test_a_download_ends_when_the_time_is_up(self, tmp_path: Path) -> None:
        size = 4 * bodies._PIECE
        stand = SimulatorStand(Simulator(long_run(1, 0, 1, size=size), clock=Clock(NOW)))
        left = chain([30.0, 20.0], repeat(1.5))
        with pytest.raises(Throttled) as wait:
            records(stand, lambda: next(left)).download(ORG, make_id("asset", 0), tmp_path / "file")
        assert wait.value.code is Code.OUT_OF_TIME

    def test_429_and_401_mean_the_same_as_for_other_calls(self, tmp_path: Path) -> None:
        slow = CannedStand(answered(429, {"code": "RATE_LIMIT_EXCEEDED"}, Retry_After="7"))
        with pytest.raises(Throttled) as wait:
            records(slow).download(ORG, FILE, tmp_path / "file")
        assert wait.value.retry_after == 7
        with pytest.raises(TokenRefused):
            records(CannedStand(answered(401), answered(401))).download(ORG, FILE, tmp_path / "file")

    def test_a_full_disk_can_be_retried(self, tmp_path: Path) -> None:
        with pytest.raises(Retryable, match="could not be written to the disk") as trouble:
            records(SimulatorStand()).download(ORG, FILE, tmp_path / "no such folder" / "file")
        assert str(tmp_path) not in trouble.value.reason


class TestSentOn:
    """Tallyfy may redirect a download to the host that stores the file."""

    def test_a_redirect_is_followed_without_the_token(self, tmp_path: Path) -> None:
        stand = SimulatorStand()
        stand.simulator.quirks = Quirks(files_at=STORAGE)
        assert records(stand).download(ORG, FILE, tmp_path / "file") == 19
        assert (tmp_path / "file").read_bytes() == b"the signed contract"
        [ours, theirs] = stand.simulator.log.calls
        assert (ours.status, theirs.status, theirs.path) == (302, 200, f"/storage/{FILE}")
        assert ours.token is not None
        assert theirs.token is None
        assert stand.spent == [ORG], "the other host has a pace of its own"

    def test_the_other_host_gets_no_header_of_ours(self, tmp_path: Path) -> None:
        stand = CannedStand(sent_on(f"{STORAGE}/x?signature=1"), octets(b"x"))
        records(stand).download(ORG, FILE, tmp_path / "file")
        told = stand.canned.asked[1]
        assert told.url == f"{STORAGE}/x?signature=1"
        assert "Authorization" not in told.headers
        assert "X-Tallyfy-Client" not in told.headers
        assert DEFAULT_TOKEN not in str(told.headers) + str(told.url)

    @pytest.mark.parametrize(
        "where",
        [
            *("http://files.tallyfy.test/x", "ftp://files.tallyfy.test/x", "file:///etc/passwd", "//", "https://", ""),
            *("http://127.0.0.1/x", "https://user:secret@files.tallyfy.test/x", "javascript:alert(1)"),
        ],
    )
    def test_a_redirect_is_followed_to_https_only(self, tmp_path: Path, where: str) -> None:
        stand = CannedStand(sent_on(where), *[octets(b"x")] * 9)
        stand.client._session.mount("http://", stand.canned)
        if where in {"", "//", "https://"}:  # The same address again, and https: without the token it is refused there.
            stand.canned.answers[1:] = [answered(401)]
        with pytest.raises((Rejected, Retryable)):
            records(stand).download(ORG, FILE, tmp_path / "file")
        assert all("Authorization" not in asked.headers for asked in stand.canned.asked[1:])
        assert all(str(asked.url).startswith("https://tallyfy.test") for asked in stand.canned.asked)

    def test_a_loopback_server_may_redirect_to_loopback(self, tmp_path: Path) -> None:
        answers = [sent_on("http://127.0.0.1:9/storage/x"), octets(b"x")]
        stand = CannedStand(*answers, base_url="http://127.0.0.1:8/api")
        stand.client._session.mount("http://", stand.canned)
        assert records(stand).download(ORG, FILE, tmp_path / "file") == 1

    def test_a_fourth_redirect_is_refused(self, tmp_path: Path) -> None:
        stand = CannedStand(*[sent_on(f"{STORAGE}/{n}") for n in range(9)])
        with pytest.raises(Rejected, match="more than 3 times"):
            records(stand).download(ORG, FILE, tmp_path / "file")
        assert len(stand.canned.asked) == 4

    @pytest.mark.parametrize(
        ("status", "family"), [(404, Rejected), (403, Rejected), (429, Retryable), (503, Retryable)]
    )
    def test_an_error_of_the_other_host_is_reported(self, tmp_path: Path, status: int, family: type[Exception]) -> None:
        with pytest.raises(family, match="The host of the file"):
            records(CannedStand(sent_on(f"{STORAGE}/x"), answered(status))).download(ORG, FILE, tmp_path / "file")

    def test_the_other_host_may_send_any_content_type(self, tmp_path: Path) -> None:
        kept = Response(200, b"<html>", {"Content-Type": "text/html", "Content-Length": "6"})
        assert records(CannedStand(sent_on(f"{STORAGE}/x"), kept)).download(ORG, FILE, tmp_path / "file") == 6


def test_each_call_goes_through_the_wrapper_of_the_caller(tmp_path: Path) -> None:
    """An operator's machine waits and retries; a download starts again."""
    stand = SimulatorStand()
    stand.simulator.add_fault(Fault.reset(when="before", path="/dl$"), Fault.rate_limit(3, path="/runs$"))
    made: list[str] = []

    class Twice:
        def __call__[T](self, call: Callable[[], T]) -> T:
            for _ in range(2):
                try:
                    return call()
                except Retryable as error:
                    made.append(type(error).__name__)
            raise AssertionError

    patient = HttpRecords(stand.client, stand.client._session, time_left=lambda: 60.0, through=Twice())
    assert patient.download(ORG, FILE, tmp_path / "file") == 19
    assert len(list(patient.rows(ORG, "/runs", {}))) == 2
    assert made == ["Retryable", "Throttled"]


# --- patience ---------------------------------------------------------------------------------------------------------


def _answers(*pauses: float | None) -> Callable[[], str]:
    """A call that is throttled a number of times and then answers."""
    left = list(pauses)

    def call() -> str:
        if left:
            raise Throttled(Code.THROTTLED, "Tallyfy asked for a pause (429).", retry_after=left.pop(0))
        return "all of it"

    return call


def test_a_pause_that_fits_into_the_time_left_is_waited_out() -> None:
    slept: list[float] = []
    assert Patient(slept.append, lambda: 900.0)(_answers(30.0, 60.0)) == "all of it"
    assert slept == [30.0, 60.0]


@pytest.mark.parametrize(("pause", "left"), [(61.0, 120.0), (None, 900.0)])
def test_a_pause_that_leaves_no_time_for_the_next_call_is_raised(pause: float | None, left: float) -> None:
    slept: list[float] = []
    with pytest.raises(Throttled):
        Patient(slept.append, lambda: left)(_answers(pause))
    assert slept == []


def test_a_wait_for_another_reason_is_raised() -> None:
    def paused() -> str:
        raise Throttled(Code.PAUSED, "Paused by Ada.", retry_after=1.0)

    with pytest.raises(Throttled, match="paused"):
        Patient(lambda _: None, lambda: 900.0)(paused)
