"""Requests for approval, in memory and in DynamoDB."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from lifecycle.approvals import rules
from lifecycle.approvals.rules import ApprovalRequest, ApprovalStatus
from lifecycle.approvals.store import ApprovalStore
from lifecycle.aws.dynamodb import Contention, Key, Put, Row, Value, VersionedTable
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Rejected, Throttled
from tests.harness.builders import NOW, ORG, Clock

KEEP = timedelta(days=400)
ELSEWHERE = "e0" * 16


@pytest.fixture
def approvals(rows: VersionedTable, clock: Clock) -> ApprovalStore:
    return ApprovalStore(rows, KEEP, clock)


def request(number: int = 1, **more: object) -> ApprovalRequest:
    made = ApprovalRequest(
        hash=f"{number:064x}",
        about="command",
        org_id=ORG,
        subject=f"intent-{number}",
        asked_by="ada",
        asked_at=millis(NOW) + number,
        deadline=millis(NOW + timedelta(hours=72)),
        needed=2,
        shown='{"title": "Onboard Ä"}',
        message='{"a": 1}',
        capabilities=("run.delete", "tag.delete"),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def approve(approvals: ApprovalStore, who: str, number: int = 1) -> ApprovalRequest | None:
    return approvals.change(ORG, f"{number:064x}", lambda known: rules.approve(known, who, millis(NOW)))


def test_a_request_is_read_back_unchanged(approvals: ApprovalStore) -> None:
    assert approvals.find(ORG, request().hash) is None
    assert approvals.newest(ORG, "intent-1") is None
    assert approvals.ask(request()) == request()
    assert approvals.find(ORG, request().hash) == request()
    assert approvals.newest(ORG, "intent-1") == request()
    assert approvals.find(ELSEWHERE, request().hash) is None
    assert approvals.newest(ELSEWHERE, "intent-1") is None


def test_asking_again_returns_the_open_request_with_its_votes(approvals: ApprovalStore) -> None:
    approvals.ask(request())
    approve(approvals, "bob")
    again = approvals.ask(request(asked_by="grace", asked_at=0, deadline=1))
    assert (again.asked_by, again.approved_by, again.deadline) == ("ada", ("bob",), request().deadline)
    assert approvals.find(ORG, request().hash) == again


@pytest.mark.parametrize("ended", ["approved", "rejected"])
def test_a_decided_request_stays_decided_after_its_expiry(approvals: ApprovalStore, clock: Clock, ended: str) -> None:
    approvals.ask(request())
    if ended == "approved":
        approve(approvals, "bob")
        approve(approvals, "cleo")
    else:
        approvals.change(ORG, request().hash, lambda known: rules.reject(known, "bob", "No.", millis(NOW)))
    clock.advance(timedelta(days=30))
    again = approvals.ask(request(deadline=millis(clock()) + 1))
    assert again.stands(millis(clock())) == ended


def test_an_expired_request_is_made_again_without_votes(approvals: ApprovalStore, clock: Clock) -> None:
    approvals.ask(request())
    approve(approvals, "bob")
    clock.advance(timedelta(hours=72))
    renewed = request(deadline=millis(clock() + timedelta(hours=72)))
    assert approvals.ask(renewed) == renewed
    assert approvals.find(ORG, renewed.hash) == renewed
    assert renewed.stands(millis(clock())) is ApprovalStatus.OPEN


def test_only_the_newest_request_of_a_subject_counts(approvals: ApprovalStore) -> None:
    approvals.ask(request(1, subject="s"))
    approve(approvals, "bob")
    approvals.ask(request(2, subject="s"))
    assert approvals.newest(ORG, "s") == request(2, subject="s")
    assert approvals.open(ORG) == [request(2, subject="s")]
    assert approvals.ask(request(1, subject="s")).approved_by == ()
    assert approvals.newest(ORG, "s") == request(1, subject="s")


def test_two_people_at_once_are_both_counted(approvals: ApprovalStore) -> None:
    """Both read the request before either writes."""
    approvals.ask(request())
    meet = threading.Barrier(2, timeout=10)
    first: dict[str, bool] = {}

    def approving(who: str) -> None:
        def change(known: ApprovalRequest) -> ApprovalRequest:
            if who not in first:
                first[who] = True
                meet.wait()
            return rules.approve(known, who, millis(NOW))

        approvals.change(ORG, request().hash, change)

    with ThreadPoolExecutor() as pool:
        list(pool.map(approving, ("bob", "cleo")))
    known = approvals.find(ORG, request().hash)
    assert known is not None
    assert set(known.approved_by) == {"bob", "cleo"}
    assert known.stands(millis(NOW)) is ApprovalStatus.APPROVED


def test_two_concurrent_requests_make_one(approvals: ApprovalStore) -> None:
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda number: approvals.ask(request(asked_at=number)), range(6)))
    assert len({one.asked_at for one in made}) == 1
    assert approvals.open(ORG) == made[:1]


def test_a_change_without_effect_writes_nothing(approvals: ApprovalStore, rows: VersionedTable) -> None:
    approvals.ask(request())
    approve(approvals, "bob")
    [before] = rows.read(Key(f"approval#{ORG}", request().hash))
    assert approve(approvals, "bob") == approvals.find(ORG, request().hash)
    assert rows.read(Key(f"approval#{ORG}", request().hash)) == [before]


def test_a_refused_vote_changes_nothing(approvals: ApprovalStore) -> None:
    approvals.ask(request())
    with pytest.raises(Rejected) as refused:
        approve(approvals, "ada")
    assert refused.value.code is Code.OWN_REQUEST
    assert approvals.find(ORG, request().hash) == request()
    assert approve(approvals, "bob", 99) is None


def test_open_requests_are_listed_oldest_first(approvals: ApprovalStore, clock: Clock) -> None:
    assert approvals.open(ORG) == []
    for number in (3, 1, 2, 4, 5):
        approvals.ask(request(number))
    approvals.ask(request(6, org_id=ELSEWHERE))
    approvals.ask(request(7, deadline=millis(NOW) + 1))
    approve(approvals, "bob", 1)
    for who in ("bob", "cleo"):
        approve(approvals, who, 2)
    approvals.change(ORG, request(4).hash, lambda known: rules.reject(known, "bob", "", millis(NOW)))
    clock.advance(timedelta(seconds=1))
    assert [one.subject for one in approvals.open(ORG)] == ["intent-1", "intent-3", "intent-5"]
    clock.advance(timedelta(hours=72))
    assert approvals.open(ORG) == []


@dataclass
class Crowded:
    """Rows that another writer changes first, a given number of times."""

    rows: VersionedTable
    times: int
    tried: int = field(default=0)

    def read(self, *keys: Key) -> list[Row | None]:
        return self.rows.read(*keys)

    def write(self, *changes: Put) -> None:
        self.tried += 1
        if self.tried <= self.times:
            raise Contention
        self.rows.write(*changes)

    def insert(self, change: Put) -> Row | None:
        return self.rows.insert(change)

    def partition(self, pk: str) -> dict[str, Row]:
        return self.rows.partition(pk)


def test_a_caller_that_always_loses_the_race_is_told_to_wait(rows: VersionedTable, clock: Clock) -> None:
    def crowded(times: int) -> ApprovalStore:
        return ApprovalStore(Crowded(rows, times), KEEP, clock)

    assert crowded(7).ask(request()) == request()
    with pytest.raises(Throttled):
        crowded(8).ask(request(2))
    assert approve(crowded(7), "bob") is not None
    with pytest.raises(Throttled):
        approve(crowded(8), "cleo")
    known = crowded(0).find(ORG, request().hash)
    assert known is not None
    assert known.approved_by == ("bob",)


def partition_of(rows: VersionedTable, pk: str) -> dict[str, dict[str, object]]:
    return {sk: dict(row.values) for sk, row in rows.partition(pk).items()}


def forge(rows: VersionedTable, **values: Value) -> None:
    """Write what the right to write requests allows: the row of the request, and no votes."""
    key = Key(f"approval#{ORG}", request().hash)
    [row] = rows.read(key)
    assert row is not None
    rows.write(Put(key, {**row.values, **values}, row.version))


def found(approvals: ApprovalStore) -> ApprovalRequest:
    known = approvals.find(ORG, request().hash)
    assert known is not None
    return known


def test_a_vote_has_its_own_row_that_names_the_person(approvals: ApprovalStore, rows: VersionedTable) -> None:
    approvals.ask(request())
    approvals.change(
        ORG, request().hash, lambda known: rules.approve(known, "bob", millis(NOW), frozenset({"iam:arn:bob"}))
    )
    [vote] = partition_of(rows, f"vote#{ORG}").values()
    assert (vote["by"], vote["ids"], vote["withdrawn"]) == ("bob", "iam:arn:bob", False)
    assert "bob" not in str(partition_of(rows, f"approval#{ORG}")), "the request's row says nothing of who approved"
    assert found(approvals).approved_ids == ("iam:arn:bob",)


def test_write_access_to_requests_alone_approves_nothing(approvals: ApprovalStore, rows: VersionedTable) -> None:
    approvals.ask(request())
    forge(rows, approved_by=["bob", "cleo"], approved_ids=["iam:b", "iam:c"], votes=["a", "b"])
    assert (found(approvals).approved_by, found(approvals).stands(millis(NOW))) == ((), ApprovalStatus.OPEN)
    forge(rows, needed=0)
    assert found(approvals).stands(millis(NOW)) is ApprovalStatus.OPEN, "nothing is approved by nobody"


@pytest.mark.parametrize(
    "changed",
    [
        {"shown": '{"title": "Something else"}'},
        {"message": '{"a": 2}'},
        {"about": "plan"},
        {"capabilities": ["run.delete", "template.delete"]},
        {"needed": 1},
        {"asked_by": "dan"},
        {"asked_ids": ["iam:arn:dan"]},
        {"subject": "intent-2"},
        {"deadline": millis(NOW + timedelta(days=300))},
    ],
)
def test_a_vote_counts_only_for_the_request_as_it_was_read(
    approvals: ApprovalStore, rows: VersionedTable, changed: dict[str, Value]
) -> None:
    approvals.ask(request())
    approve(approvals, "bob")
    approve(approvals, "cleo")
    assert found(approvals).stands(millis(NOW)) is ApprovalStatus.APPROVED
    forge(rows, **changed)
    assert (found(approvals).approved_by, found(approvals).stands(millis(NOW))) == ((), ApprovalStatus.OPEN)


def test_a_withdrawn_vote_does_not_count_even_if_the_request_names_it(
    approvals: ApprovalStore, rows: VersionedTable
) -> None:
    approvals.ask(request(needed=1))
    approve(approvals, "bob")
    [before] = rows.read(Key(f"approval#{ORG}", request().hash))
    assert before is not None
    approvals.change(ORG, request().hash, lambda known: rules.withdraw_approval(known, "bob"))
    forge(rows, **before.values)
    assert found(approvals).approved_by == ()
    assert approve(approvals, "bob") == found(approvals), "who withdrew may approve again"
    assert found(approvals).stands(millis(NOW)) is ApprovalStatus.APPROVED


def test_votes_of_an_expired_request_do_not_count_for_the_next(
    approvals: ApprovalStore, rows: VersionedTable, clock: Clock
) -> None:
    approvals.ask(request())
    approve(approvals, "bob")
    [old] = rows.read(Key(f"approval#{ORG}", request().hash))
    clock.advance(timedelta(hours=72))
    assert old is not None
    approvals.ask(request(asked_at=millis(clock()), deadline=millis(clock() + timedelta(hours=72))))
    forge(rows, votes=old.values["votes"])
    assert found(approvals).approved_by == ()


def test_at_least_as_many_people_are_needed_as_the_file_says(rows: VersionedTable, clock: Clock) -> None:
    asked = ApprovalStore(rows, KEEP, clock).ask(request(needed=1))
    strict = ApprovalStore(rows, KEEP, clock, least={"command": 2})
    approve(strict, "bob")
    assert found(strict).needed == 2
    assert found(strict).stands(millis(NOW)) is ApprovalStatus.OPEN
    approve(strict, "cleo")
    assert found(strict).stands(millis(NOW)) is ApprovalStatus.APPROVED
    assert asked.needed == 1


def test_a_request_of_another_release_is_read(approvals: ApprovalStore, rows: VersionedTable) -> None:
    approvals.ask(request())
    approve(approvals, "bob")
    forge(rows, colour="blue")
    assert found(approvals).approved_by == ("bob",)


def test_a_vote_and_its_record_are_written_together(rows: VersionedTable, clock: Clock) -> None:
    class Recorded(Crowded):
        written: list[list[str]] = []  # noqa: RUF012 — one test's

        def write(self, *changes: Put) -> None:
            self.written.append([change.key.pk.partition("#")[0] for change in changes])
            super().write(*changes)

    recorded = Recorded(rows, 0)
    approvals = ApprovalStore(recorded, KEEP, clock)
    approvals.ask(request())
    approve(approvals, "bob")
    assert sorted(recorded.written[-1]) == ["approval", "audit", "vote"]
