"""`lifecycle source errors`, `replay` and `listen` in front of a stack in memory."""

import json
from collections.abc import Mapping
from datetime import timedelta

import pytest

from cli.clients.stack import LogLine
from cli.services.delivery_log import DeliveryLog
from cli.ui.errors import Exit
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.domain.intent import Status
from lifecycle.intake.replay import Replays
from tests.harness.builders import NOW, ORG, THING, command
from tests.unit.cli.harness import CliHarness

TABLE = f"""
[sources.hubspot]
scheme = "shared-secret"
may = ["run.archive"]
commands = [{{ action = "archive", resource = "run", org_id = "{ORG}", id = "body.run", delivery = "body.n" }}]
[sources.jira]
scheme = "shared-secret"
may = ["run.archive"]
commands = [{{ action = "archive", resource = "run", org_id = "{ORG}", id = "body.run", delivery = "body.n" }}]
"""
GOOD = json.dumps({"run": THING, "n": 1})


class WorkedQueue(MemoryQueue):
    """The events queue with its function behind it."""

    replays: Replays
    broken = False

    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
        if not self.broken:
            self.replays.take(body)


@pytest.fixture
def worked(desk: CliHarness) -> CliHarness:
    """A desk whose stack has the table above, and works on what is sent again."""
    desk.entrance.declared = TABLE
    desk.entrance.dead_letters = desk.stack.dead["commands"]
    queue = WorkedQueue(desk.clock)
    queue.replays = Replays(desk.entrance.intake, desk.stack.table, desk.clock)
    desk.stack.origins["events"] = queue
    return desk


def logged(desk: CliHarness, function: str, message: str, **facts: str) -> None:
    lines = desk.stack.logged.setdefault(function, [])
    written = json.dumps({"level": "INFO", "message": message, **facts})
    lines.append(LogLine(f"stream-{len(lines)}", desk.clock(), written))


def refused(desk: CliHarness, source: str = "hubspot", *, kept: str = "no") -> None:
    logged(desk, "webhook", "SignatureRefused", source=source, why="no match")
    logged(desk, "webhook", "Refused", code="signature_refused", reason="Not signed.", source=source, kept=kept)


def listed(desk: CliHarness, *words: str) -> dict[str, list[dict[str, object]]]:
    result = desk.run("source", "errors", *words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, list[dict[str, object]]] = json.loads(result.stdout)
    return found


def replayed(desk: CliHarness, *words: str, code: int = 0) -> list[dict[str, object]]:
    result = desk.run("source", "replay", *words, "--yes", "--json")
    assert result.exit_code == code, result.output
    found: list[dict[str, object]] = json.loads(result.stdout[: result.stdout.rindex("]") + 1])
    return found


# --- errors -----------------------------------------------------------------------------------------------------------


def test_kept_deliveries_are_listed_with_reason_time_and_id(desk: CliHarness) -> None:
    desk.dead_payload(payload=GOOD)
    result = desk.run("source", "errors")
    assert result.exit_code == 0, result.output
    for part in ("hubspot", "delivery-1", "untranslatable: commands[no. 1].find.tag finds no text.", "06-01 12:00:00"):
        assert part in result.output, part
    assert THING not in result.output


def test_a_kept_payload_is_shown_on_request(desk: CliHarness) -> None:
    desk.dead_payload(payload=GOOD, headers={"x-one-event": "closed"})
    shown = desk.run("source", "errors", "--payload").output
    assert GOOD in shown
    assert "x-one-event: closed" in shown
    [one] = listed(desk, "--payload")["kept"]
    assert (one["payload"], one["headers"]) == (GOOD, {"x-one-event": "closed"})
    assert "payload" not in listed(desk)["kept"][0]


def test_a_delivery_that_was_repeated_is_listed_once(desk: CliHarness) -> None:
    for _ in range(3):
        desk.dead_payload()
    desk.dead_payload(delivery="delivery-2")
    assert [(one["delivery"], one["times"]) for one in listed(desk)["kept"]] == [("delivery-1", 3), ("delivery-2", 1)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--source", "hubspot"), ["old", "new"]),
        (("--since", "1d"), ["new", "other"]),
        (("--since", "2026-06-02T00:00"), ["new", "other"]),
        (("--source", "hubspot", "--since", "12h"), ["new"]),
        (("--delivery", "old", "--delivery", "other"), ["old", "other"]),
        (("--source", "nobody"), []),
    ],
)
def test_kept_deliveries_are_selected_by_source_time_and_id(
    desk: CliHarness, words: tuple[str, ...], expected: list[str]
) -> None:
    desk.dead_payload(delivery="old")
    desk.clock.advance(timedelta(days=2))
    desk.dead_payload(delivery="new")
    desk.dead_payload("jira", delivery="other")
    assert [one["delivery"] for one in listed(desk, *words)["kept"]] == expected


def test_a_wrong_time_is_refused_with_an_example(desk: CliHarness) -> None:
    result = desk.run("source", "errors", "--since", "yesterday")
    assert (result.exit_code, "such as 2026-06-01T09:30" in result.output) == (Exit.USAGE, True)


def test_unproven_requests_are_counted_by_source_and_reason(desk: CliHarness) -> None:
    for source in ("hubspot", "hubspot", "jira", ""):
        refused(desk, source)
    refused(desk, "hubspot", kept="yes")
    counts = [(one["source"], one["times"]) for one in listed(desk)["refused"]]
    assert counts == [("hubspot", 2), ("jira", 1), (None, 1)]
    assert [one["source"] for one in listed(desk, "--source", "jira")["refused"]] == ["jira"]
    shown = desk.run("source", "errors").output
    assert "signature_refused: Not signed." in shown
    desk.clock.advance(timedelta(days=8))
    assert listed(desk)["refused"] == []


def test_a_period_without_errors_says_so(desk: CliHarness) -> None:
    assert "was accepted or ignored" in desk.run("source", "errors").output


def test_an_incomplete_count_of_refusals_says_so(desk: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.services.delivery_log._MOST", 4)
    for _ in range(5):
        refused(desk)
    result = desk.run("source", "errors")
    assert "There were more refusals than this command reads" in result.output


# --- replay -----------------------------------------------------------------------------------------------------------


def test_a_kept_delivery_becomes_its_command_and_its_dead_letters_go(worked: CliHarness) -> None:
    worked.dead_payload(payload=GOOD)
    worked.dead_payload(payload=GOOD)
    [one] = replayed(worked, "--source", "hubspot")
    assert one["status"] == "accepted"
    assert worked.entrance.ledger.find(str(one["intent_ids"][0])) is not None  # type: ignore[index]
    assert worked.stack.dead["commands"].depth() == 0
    again = worked.run("source", "replay", "--source", "hubspot", "--yes")
    assert (again.exit_code, "Nothing was sent" in again.output) == (0, True)
    assert worked.entrance.ordinary.depth() == 1


def test_a_delivery_that_was_already_replayed_is_not_sent_again_and_says_so(worked: CliHarness) -> None:
    worked.dead_payload(payload=GOOD)
    replayed(worked, "--all")
    worked.dead_payload(payload=GOOD)  # A dead letter that could not be removed, or a late copy.
    result = worked.run("source", "replay", "--delivery", "delivery-1", "--yes")
    assert result.exit_code == 0, result.output
    assert "was already sent again (accepted: int_" in result.output
    assert worked.entrance.ordinary.depth() == 1
    assert worked.stack.dead["commands"].depth() == 0


def test_a_delivery_that_fails_again_stays_kept_with_its_new_reason(worked: CliHarness) -> None:
    worked.dead_payload(payload='{"n": 1}')
    worked.dead_payload("jira", payload=GOOD)
    result = worked.run("source", "replay", "--all", "--yes")
    assert result.exit_code == Exit.NOT_DONE
    assert "untranslatable: commands[no. 1].id" in result.output
    assert "1 of 2 became no command" in result.output
    [left] = listed(worked)["kept"]
    assert left["source"] == "hubspot"
    assert "finds nothing" in str(left["reason"])


def test_only_selected_deliveries_are_replayed(worked: CliHarness) -> None:
    worked.dead_payload(payload=GOOD)
    worked.dead_payload("jira", payload=GOOD)
    assert [one["source"] for one in replayed(worked, "--source", "jira")] == ["jira"]
    assert [one["source"] for one in listed(worked)["kept"]] == ["hubspot"]


def test_a_delivery_that_was_kept_in_part_is_not_replayed(worked: CliHarness) -> None:
    worked.dead_payload(payload="[1, 2", characters=300_000)
    [one] = replayed(worked, "--all", code=1)
    assert (one["status"], "Ask the sender" in str(one["reason"])) == ("not_sent", True)
    assert worked.stack.dead["commands"].depth() == 1


def test_a_replay_that_does_not_end_in_time_leaves_the_delivery_kept(worked: CliHarness) -> None:
    queue = worked.stack.origins["events"]
    assert isinstance(queue, WorkedQueue)
    queue.broken = True
    worked.dead_payload(payload=GOOD)
    [one] = replayed(worked, "--all", "--timeout", "3", code=Exit.PENDING)
    assert one["status"] == "in_progress"
    assert worked.stack.dead["commands"].depth() == 1


@pytest.mark.parametrize("words", [(), ("--all", "--source", "hubspot")])
def test_replay_needs_a_selection_of_deliveries(worked: CliHarness, words: tuple[str, ...]) -> None:
    assert worked.run("source", "replay", *words).exit_code == Exit.USAGE


def test_replay_asks_for_confirmation(worked: CliHarness) -> None:
    worked.dead_payload(payload=GOOD)
    assert worked.run("source", "replay", "--all", typed="n\n").exit_code == 1
    assert worked.entrance.ordinary.depth() == 0


# --- listen -----------------------------------------------------------------------------------------------------------


def heard(desk: CliHarness, *words: str, seconds: int = 3) -> list[str]:
    """What `listen` prints until Ctrl-C."""
    left = iter(range(seconds))

    def wait() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    desk.while_waiting = wait
    result = desk.run("source", "listen", *words)
    return result.stdout.splitlines()


def test_listen_prints_each_delivery_once_with_its_result(desk: CliHarness) -> None:
    made = command()
    desk.end(made, Status.DONE)
    logged(desk, "webhook", "Accepted", source="hubspot", capability="run.archive", intent_id=made.intent_id)
    logged(desk, "webhook", "Ignored", source="hubspot")
    logged(desk, "webhook", "Ignored", source="asana", handshake="secret")
    refused(desk, "jira", kept="yes")
    logged(desk, "event", "Poison", code="untranslatable", reason="Source 'projects': The event has no id.")
    logged(desk, "webhook", "Poison", code="untranslatable", reason="Source 'jira': Told by Refused.")
    lines = heard(desk, "--json")
    assert [(one["source"], one["became"]) for one in map(json.loads, lines)] == [
        ("hubspot", "accepted"),
        ("hubspot", "ignored"),
        ("asana", "handshake"),
        ("jira", "signature_refused"),
        (None, "untranslatable"),
        ("hubspot", "done"),
    ]


def test_a_repeat_of_an_older_delivery_is_said_to_do_nothing(desk: CliHarness) -> None:
    made = command()
    desk.end(made, Status.DONE)
    for later, repeats in ((1, False), (3600, True)):
        at = desk.clock() + timedelta(seconds=later)
        facts = {"source": "hubspot", "capability": "run.archive", "intent_id": made.intent_id}
        written = json.dumps({"level": "INFO", "message": "Accepted", **facts})
        desk.stack.logged["webhook"] = [LogLine("stream", at, written)]
        [line] = [line for line in heard(desk) if "done" in line]
        assert ("12:00:00 UTC: this delivery repeats an older one, and does nothing" in line) is repeats, line


def test_no_line_is_read_twice_when_the_overlap_ends_within_its_millisecond(desk: CliHarness) -> None:
    """CloudWatch Logs counts whole milliseconds: a search from 20.7 ms on begins at 20 ms."""
    at = NOW.replace(microsecond=20_000)
    desk.stack.logged["webhook"] = [LogLine("stream", at, json.dumps({"message": "Ignored", "source": "hubspot"}))]
    log = DeliveryLog(desk.stack, NOW)
    looks = [log.new(at + timedelta(seconds=later, microseconds=700)) for later in (1, 20, 20, 21)]
    assert [len(found) for found in looks] == [1, 0, 0, 0]


def test_listen_prints_one_line_for_each_delivery(desk: CliHarness) -> None:
    logged(desk, "webhook", "Accepted", source="hubspot", capability="run.archive", intent_id="int_1")
    [line] = heard(desk)
    assert line.endswith("12:00:00 hubspot accepted: run.archive int_1")


def test_listen_leaves_out_other_sources(desk: CliHarness) -> None:
    for source in ("hubspot", "jira"):
        logged(desk, "webhook", "Ignored", source=source)
    assert ["jira" in line for line in heard(desk, "--source", "jira")] == [True]


def test_log_lines_that_are_not_json_are_skipped(desk: CliHarness) -> None:
    desk.stack.logged["webhook"] = [
        LogLine("one", NOW, text) for text in ("START RequestId: 1", "[]", '{"message": 5}')
    ]
    assert heard(desk) == []
