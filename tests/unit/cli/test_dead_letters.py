import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Barrier
from typing import override

import pytest

from cli.clients.stack import Pair
from cli.services import dead_letter_queue
from cli.services.remedies import remedy_for
from lifecycle.aws.sqs import MemoryQueue, Message
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.failures import SET_ASIDE_BY_AWS
from lifecycle.domain.intent import Status
from lifecycle.domain.intent_ids import intent_id
from tests.harness.builders import ID_KEY, NOW, Clock, bodies, command
from tests.unit.cli.harness import CliHarness, sent

FIRST = command()
SECOND = command(id="6f" * 16, intent_id=intent_id(ID_KEY, "operator", "delivery-2"))
THIRD = command(action="delete", id="7a" * 16, intent_id=intent_id(ID_KEY, "operator", "delivery-3"))


@pytest.fixture
def full(desk: CliHarness) -> CliHarness:
    """Three commands and one poison message, dead for three days."""
    desk.dead_letter(FIRST)
    desk.dead_letter(SECOND, Code.WAITED_TOO_LONG)
    desk.dead_letter(THIRD, queue="purge")
    desk.dead_poison()
    desk.clock.advance(timedelta(days=3))
    return desk


def lying(desk: CliHarness, queue: str = "commands") -> list[Message]:
    """What can be received from a dead-letter queue now: nothing that is hidden."""
    found = desk.stack.dead[queue].receive(100, hidden_for=0)
    return sorted(found, key=lambda message: message.id)


# --- seeing -----------------------------------------------------------------------------------------------------------


def test_the_list_shows_both_queues_and_removes_nothing(full: CliHarness) -> None:
    for _ in range(2):
        result = full.run("dead-letters", "list")
        assert result.exit_code == 0, result.output
        for part in (FIRST.intent_id, "archive process", "delete process", "attempts_exhausted", "poison", "3 d"):
            assert part in result.output
        assert "4 dead letters" in result.output
    assert len(lying(full)) == 3
    assert len(lying(full, "purge")) == 1


def test_an_empty_list_succeeds(desk: CliHarness) -> None:
    assert "no dead letters" in desk.run("dead-letters", "list").output


def test_a_long_queue_is_listed_completely(desk: CliHarness) -> None:
    for number in range(57):
        desk.dead_poison(f"no command, number {number}")
    assert "57 dead letters" in desk.run("dead-letters", "list").output
    assert len(lying(desk)) == 57


def test_the_limit_is_observed_and_reported(desk: CliHarness) -> None:
    for number in range(30):
        desk.dead_poison(f"no command, number {number}")
    result = desk.run("dead-letters", "list", "--limit", "25")
    assert "25 dead letters" in result.output
    assert "only the first 25" in result.output
    assert "about 5 more" in result.output
    assert len(lying(desk)) == 30


def test_letters_hidden_by_another_reader_are_reported(full: CliHarness) -> None:
    full.stack.dead["commands"].receive(2, hidden_for=600)
    result = full.run("dead-letters", "list")
    assert "about 2 more are hidden" in result.output


class Restless(MemoryQueue):
    """Hands out the same message again and again, as a queue whose messages do not stay hidden."""

    @override
    def receive(self, most: int = 10, *, hidden_for: int = 30) -> list[Message]:
        return super().receive(most, hidden_for=0)


def test_reading_a_queue_that_repeats_letters_ends(clock: Clock) -> None:
    queue = Restless(clock)
    queue.send("no command")
    seen = dead_letter_queue.look([Pair("commands", queue, MemoryQueue(clock))], most=1000, clock=clock)
    assert len(seen.letters) == 1
    assert seen.missed


class Slow(MemoryQueue):
    """Takes ten seconds for each page."""

    @override
    def receive(self, most: int = 10, *, hidden_for: int = 30) -> list[Message]:
        assert isinstance(self.clock, Clock)
        self.clock.advance(timedelta(seconds=10))
        return super().receive(most, hidden_for=hidden_for)


def test_reading_ends_before_hidden_letters_become_visible(clock: Clock) -> None:
    queue = Slow(clock)
    for number in range(200):
        queue.send(f"no command, number {number}")
    seen = dead_letter_queue.look([Pair("commands", queue, MemoryQueue(clock))], most=1000, clock=clock)
    assert len(seen.letters) == len({letter.message.id for letter in seen.letters}) == 50
    assert "about 150 more" in seen.missed[0]
    assert (clock() - NOW).total_seconds() <= dead_letter_queue.HIDDEN_SECONDS


def test_show_prints_everything_known_about_a_letter(full: CliHarness) -> None:
    result = full.run("dead-letters", "show", FIRST.intent_id)
    assert result.exit_code == 0, result.output
    for part in (FIRST.intent_id, "attempts_exhausted", "6 attempts failed", "2026-06-01 12:00:00", '"org_id"'):
        assert part in result.output
    assert "dead_lettered" in result.output
    assert len(lying(full)) == 3


def test_text_in_a_message_cannot_move_the_cursor_or_style_the_screen(desk: CliHarness) -> None:
    desk.dead_poison("\x1b[2J[red]\x07 no command")
    [message] = lying(desk)
    result = desk.run("dead-letters", "show", message.id)
    assert "[red]" in result.output
    assert "\x1b[2J" not in result.output
    assert "\x07" not in result.output


def test_a_letter_that_sqs_moved_is_shown_with_its_cause(desk: CliHarness) -> None:
    desk.stack.dead["commands"].send(FIRST.to_json())
    result = desk.run("dead-letters", "list")
    assert SET_ASIDE_BY_AWS in result.output
    assert FIRST.intent_id[:12] in result.output


@pytest.mark.parametrize(
    ("wanted", "said", "code"),
    [("int_" + "0" * 48, "No dead letter", 1), ("int_", "No dead letter", 1), ("poison", "No dead letter", 1)],
)
def test_showing_an_unknown_letter_is_refused(full: CliHarness, wanted: str, said: str, code: int) -> None:
    result = full.run("dead-letters", "show", wanted)
    assert (result.exit_code, said in result.output) == (code, True)


def test_a_unique_beginning_of_an_id_is_enough(full: CliHarness) -> None:
    assert full.run("dead-letters", "show", FIRST.intent_id[:12]).exit_code == 0


def test_an_ambiguous_beginning_of_an_id_is_refused(desk: CliHarness) -> None:
    for number in range(12):
        desk.dead_poison(f"no command, number {number}")
    result = desk.run("dead-letters", "show", "message-")
    assert (result.exit_code, "matches several" in result.output) == (2, True)
    assert desk.run("dead-letters", "show", "message-1").exit_code == 0  # Whole, although others begin so.


# --- sending again ----------------------------------------------------------------------------------------------------


def test_sending_again_sends_the_same_body_and_counts_it(full: CliHarness) -> None:
    result = full.run("dead-letters", "send-again", FIRST.intent_id, "--yes")
    assert result.exit_code == 0, result.output
    [entry] = full.entrance.ordinary.entries.values()
    assert entry.message.body == FIRST.to_json()
    assert entry.message.attributes == {"redrive": "1"}
    assert len(lying(full)) == 2
    assert not full.entrance.permanent.entries


def test_sending_again_twice_increases_the_count(desk: CliHarness) -> None:
    desk.dead_letter(FIRST, redrive=4)
    assert desk.run("dead-letters", "send-again", FIRST.intent_id, "--yes").exit_code == 0
    [entry] = desk.entrance.ordinary.entries.values()
    assert entry.message.attributes == {"redrive": "5"}


def test_all_letters_return_to_their_queues_except_poison(full: CliHarness) -> None:
    result = full.run("dead-letters", "send-again", "--all", "--yes")
    assert result.exit_code == 0, result.output
    assert {str(one["intent_id"]) for one in sent(full.entrance.ordinary)} == {FIRST.intent_id, SECOND.intent_id}
    assert [str(one["intent_id"]) for one in sent(full.entrance.permanent)] == [THIRD.intent_id]
    assert "they are not commands: 1" in result.output
    assert [message.attributes["code"] for message in lying(full)] == ["poison"]


def test_code_selects_letters_with_that_code(full: CliHarness) -> None:
    assert full.run("dead-letters", "send-again", "--code", "waited_too_long", "--yes").exit_code == 0
    assert [one["intent_id"] for one in sent(full.entrance.ordinary)] == [SECOND.intent_id]


def test_poison_is_sent_again_only_by_its_message_id(full: CliHarness) -> None:
    [poison] = [message for message in lying(full) if message.attributes["code"] == "poison"]
    assert full.run("dead-letters", "send-again", "--code", "poison", "--yes").exit_code == 0
    assert not full.entrance.ordinary.entries
    assert full.run("dead-letters", "send-again", poison.id, "--yes").exit_code == 0
    [entry] = full.entrance.ordinary.entries.values()
    assert entry.message.body == poison.body


def test_sending_again_asks_for_confirmation(full: CliHarness) -> None:
    refused = full.run("dead-letters", "send-again", "--all", typed="n\n")
    assert refused.exit_code == 1
    assert not full.entrance.ordinary.entries
    assert len(lying(full)) == 3
    assert full.run("dead-letters", "send-again", "--all", typed="y\n").exit_code == 0
    assert len(full.entrance.ordinary.entries) == 2


@pytest.mark.parametrize("words", [(), ("--all", "--code", "held"), ("int_1", "--all")])
def test_letters_must_be_chosen_in_exactly_one_way(full: CliHarness, words: tuple[str, ...]) -> None:
    assert full.run("dead-letters", "send-again", *words, "--yes").exit_code == 2


def test_nothing_to_send_is_not_a_failure(desk: CliHarness) -> None:
    result = desk.run("dead-letters", "send-again", "--all", "--yes")
    assert (result.exit_code, "no dead letters to send" in result.output) == (0, True)


@dataclass(slots=True)
class Failing(MemoryQueue):
    """A queue of which some calls fail."""

    broken: tuple[str, ...] = ()

    @override
    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
        self._check("send")
        MemoryQueue.send(self, body, attributes)

    @override
    def delete(self, message: Message) -> None:
        self._check("delete")
        MemoryQueue.delete(self, message)

    @override
    def hide(self, message: Message, seconds: int) -> None:
        self._check("hide")
        MemoryQueue.hide(self, message, seconds)

    def _check(self, what: str) -> None:
        if what in self.broken:
            raise Retryable(Code.UNAVAILABLE, f"AWS refused to {what} (made up).")


def test_a_letter_that_cannot_be_sent_stays_in_its_queue(full: CliHarness) -> None:
    full.entrance.ordinary = Failing(full.clock, broken=("send",))
    result = full.run("dead-letters", "send-again", "--all", "--yes")
    assert result.exit_code == 1
    assert "2 of 3 stayed" in result.output
    assert len(lying(full)) == 3
    assert not lying(full, "purge")


def test_a_crash_between_send_and_delete_has_one_effect(desk: CliHarness) -> None:
    queue = Failing(desk.clock)
    desk.stack.dead["commands"] = queue
    desk.dead_letter(FIRST)
    queue.broken = ("delete",)
    result = desk.run("dead-letters", "send-again", "--all", "--yes")
    assert (result.exit_code, "It is safe to try again" in result.output) == (1, True)
    desk.work()
    desk.clock.advance(timedelta(seconds=dead_letter_queue.HIDDEN_SECONDS))
    queue.broken = ()
    assert desk.run("dead-letters", "send-again", "--all", "--yes").exit_code == 0
    row = desk.stack.intent(FIRST.intent_id)
    assert row is not None
    concluded = row.concluded_at
    desk.work()
    row = desk.stack.intent(FIRST.intent_id)
    assert row is not None
    assert (row.status, row.concluded_at, row.attempts) == (Status.DONE, concluded, 1)


def test_a_failure_to_make_letters_visible_again_is_ignored(full: CliHarness) -> None:
    queue = Failing(full.clock, broken=("hide",))
    queue.entries = full.stack.dead["commands"].entries
    full.stack.dead["commands"] = queue
    assert full.run("dead-letters", "list").exit_code == 0
    full.clock.advance(timedelta(seconds=dead_letter_queue.HIDDEN_SECONDS))
    assert len(lying(full)) == 3


def test_a_letter_that_vanished_meanwhile_is_reported(full: CliHarness) -> None:
    pairs = full.stack.pairs()
    seen = dead_letter_queue.look(pairs, most=100, clock=full.clock)
    full.stack.dead["commands"].entries.clear()
    results = list(dead_letter_queue.send_again(pairs, seen.letters, most=100, clock=full.clock))
    assert [deed.done for deed in results] == [False, False, False, True]
    assert "It no longer exists" in results[0].remark


def test_a_letter_that_fails_at_once_is_not_sent_in_a_loop(full: CliHarness) -> None:
    pairs = full.stack.pairs()
    seen = dead_letter_queue.look(pairs, most=100, clock=full.clock)
    chosen = dead_letter_queue.choose(seen.letters, [FIRST.intent_id])
    for _ in dead_letter_queue.send_again(pairs, chosen, most=100, clock=full.clock):
        full.stack.dead["commands"].send(FIRST.to_json(), {"code": "held", "intent_id": FIRST.intent_id})
    assert len(full.entrance.ordinary.entries) == 1


# --- letters of other kinds ------------------------------------------------------------------------------------------

EVENT = json.dumps({"id": "1", "source": "com.example.projects", "detail-type": "project.closed", "detail": {}})
JOB = json.dumps({"sweep_id": "2026-06-01T04:10:00Z"})


def test_every_queue_is_read_and_each_letter_returns_to_its_own(desk: CliHarness) -> None:
    desk.dead_letter(FIRST, queue="bulk")
    desk.stack.dead["events"].send(EVENT)
    desk.stack.dead["sweeps"].send(JOB, {"code": "forbidden", "reason": "The sweep stopped."})
    listed = desk.run("dead-letters", "list").output
    for part in ("3 dead letters", "event project.closed", "sweep 2026-06-01T04:10:00Z of every organization"):
        assert part in listed
    result = desk.run("dead-letters", "send-again", "--all", "--yes")
    assert result.exit_code == 0, result.output
    assert {name: bodies(queue) for name, queue in desk.stack.origins.items() if bodies(queue)} == {
        "bulk": [FIRST.to_json()],
        "events": [EVENT],
        "sweeps": [JOB],
    }
    assert not any(lying(desk, name) for name in desk.stack.dead)


@pytest.mark.parametrize("queue", ["events", "sweeps"])
def test_a_message_that_is_neither_event_nor_job_is_poison(desk: CliHarness, queue: str) -> None:
    desk.stack.dead[queue].send(FIRST.to_json())
    assert "they are not commands: 1" in desk.run("dead-letters", "send-again", "--all", "--yes").output
    assert not bodies(desk.stack.origins[queue])


def test_a_payload_that_could_not_be_translated_is_never_sent_again(desk: CliHarness) -> None:
    desk.dead_payload()
    desk.dead_letter(FIRST)
    result = desk.run("dead-letters", "send-again", "--all", "--yes")
    assert result.exit_code == 0, result.output
    assert "could not translate them: 1. Correct the rule" in result.output
    assert "lifecycle source try" in result.output
    assert bodies(desk.entrance.ordinary) == [FIRST.to_json()]
    [letter] = lying(desk)
    named = desk.run("dead-letters", "send-again", letter.id, "--yes")
    assert (named.exit_code, "lifecycle source replay" in named.output) == (1, True)
    assert len(lying(desk)) == 1
    assert bodies(desk.entrance.ordinary) == [FIRST.to_json()]


def test_show_with_payload_prints_the_payload_for_a_trial(desk: CliHarness) -> None:
    desk.dead_payload(payload='[{"eventId": 1, "name": "Zoë"}]\n')
    [letter] = lying(desk)
    assert "a delivery of source 'hubspot'" in desk.run("dead-letters", "show", letter.id).output
    assert desk.run("dead-letters", "show", letter.id, "--payload").output == '[{"eventId": 1, "name": "Zoë"}]\n'


def test_a_cut_payload_is_printed_with_a_note(desk: CliHarness) -> None:
    desk.dead_payload(payload="[1, 2", characters=300_000)
    (letter,) = desk.stack.dead["commands"].receive(hidden_for=0)
    assert "first 5 of 300000 characters" in desk.run("dead-letters", "show", letter.id, "--payload").output


def test_show_payload_refuses_a_dead_letter_that_is_a_command(full: CliHarness) -> None:
    result = full.run("dead-letters", "show", FIRST.intent_id, "--payload")
    assert (result.exit_code, "is not a payload" in result.output) == (1, True)


def test_a_command_that_finds_its_process_is_described_by_what_it_looks_for(desk: CliHarness) -> None:
    desk.stack.dead["commands"].send(command(id=None, find={"tag": "deal-1"}).to_json())
    assert "archive a process by its tag or name" in desk.run("dead-letters", "list").output


# --- waiting for the end ----------------------------------------------------------------------------------------------


def test_wait_reports_the_new_outcome_and_not_the_old_one(full: CliHarness) -> None:
    waits: list[None] = []

    def work_later() -> None:
        waits.append(None)
        if len(waits) == 3:
            full.work(reason="The process is archived.")

    full.while_waiting = work_later
    result = full.run("dead-letters", "send-again", FIRST.intent_id, "--yes", "--wait")
    assert result.exit_code == 0, result.output
    assert "The process is archived." in result.output
    assert len(waits) == 3


def test_wait_reports_a_command_that_fails_again(full: CliHarness) -> None:
    full.while_waiting = lambda: full.work(Status.REJECTED, Code.HELD, "The process is on hold.")
    result = full.run("dead-letters", "send-again", FIRST.intent_id, "--yes", "--wait")
    assert result.exit_code == 1
    assert "on hold" in result.output
    assert "1 failed again" in result.output


def test_wait_reports_a_command_still_in_progress(full: CliHarness) -> None:
    result = full.run("dead-letters", "send-again", FIRST.intent_id, "--yes", "--wait", "--timeout", "3")
    assert (result.exit_code, "still in progress" in result.output) == (4, True)


def test_wait_also_follows_a_letter_that_sqs_moved(desk: CliHarness) -> None:
    desk.stack.dead["commands"].send(FIRST.to_json())
    desk.while_waiting = desk.work
    assert desk.run("dead-letters", "send-again", "--all", "--yes", "--wait").exit_code == 0


# --- dropping ---------------------------------------------------------------------------------------------------------


def test_dropping_needs_confirmation(full: CliHarness) -> None:
    for typed in ("", "\n", "n\n", FIRST.intent_id + "\n"):
        assert full.run("dead-letters", "drop", FIRST.intent_id, typed=typed).exit_code == 1
    assert len(lying(full)) == 3
    result = full.run("dead-letters", "drop", FIRST.intent_id, typed="y\n")
    assert result.exit_code == 0, result.output
    assert FIRST.intent_id not in {message.attributes.get("intent_id") for message in lying(full)}
    assert len(lying(full)) == 2
    assert not full.entrance.ordinary.entries


def test_dropping_several_letters_shows_their_number(full: CliHarness) -> None:
    result = full.run("dead-letters", "drop", FIRST.intent_id, THIRD.intent_id, typed="y\n")
    assert (result.exit_code, "Drop all 2?" in result.output) == (0, True)
    assert len(lying(full)) == 2
    assert not lying(full, "purge")


def test_poison_can_be_dropped_by_its_code(full: CliHarness) -> None:
    assert full.run("dead-letters", "drop", "--code", "poison", typed="y\n").exit_code == 0
    assert len(lying(full)) == 2
    assert "no dead letters to drop" in full.run("dead-letters", "drop", "--code", "poison").output


def test_no_option_skips_the_question_of_drop(full: CliHarness) -> None:
    assert full.run("dead-letters", "drop", FIRST.intent_id, "--yes").exit_code == 2
    assert full.run("dead-letters", "drop").exit_code == 2
    assert len(lying(full)) == 3


# --- ids, and what to do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_the_list_shows_whole_ids_on_any_screen(full: CliHarness, columns: str) -> None:
    result = full.run("dead-letters", "list", env={"COLUMNS": columns})
    for letter in (FIRST, SECOND, THIRD):
        assert letter.intent_id in result.output.split()
    for word in ("attempts_exhausted:", "waited_too_long:", "3 dead letters", FIRST.id or ""):
        assert word.split()[0] in result.output.split()


def test_every_command_accepts_the_ids_of_the_list(full: CliHarness) -> None:
    [shown] = [word for word in full.run("dead-letters", "list").output.split() if word == FIRST.intent_id]
    assert "dead_lettered" in full.run("status", shown).output
    assert full.run("dead-letters", "show", shown).exit_code == 0
    assert full.run("audit", "show", "--thing", shown).exit_code == 0


def test_every_command_accepts_a_unique_beginning_of_an_id(full: CliHarness) -> None:
    beginning = FIRST.intent_id[:14]
    status = full.run("status", beginning)
    assert (status.exit_code, "dead_lettered" in status.output) == (1, True), status.output
    assert FIRST.intent_id in re.sub(r"\s", "", full.run("audit", "show", "--thing", beginning).output)
    undone = full.run("undo", beginning)
    assert "Was it copied whole" not in undone.output
    assert FIRST.intent_id in "".join(str(call.path_url) for call in full.front.asked)


def test_a_beginning_that_matches_no_letter_is_refused_with_the_expected_form(full: CliHarness) -> None:
    for words in (("status",), ("undo",)):
        result = full.run(*words, "int_" + "0" * 10)
        assert (result.exit_code, "give the whole id" in result.output) == (2, True), result.output


def test_status_refuses_an_ambiguous_beginning(desk: CliHarness) -> None:
    for last in "ab":
        desk.stack.dead["commands"].send("{}", {"intent_id": "int_" + "0" * 47 + last, "code": "held"})
    result = desk.run("status", "int_" + "0" * 20)
    assert (result.exit_code, "2 dead letters begin with" in result.output) == (2, True)


@pytest.mark.parametrize("code", ["attempts_exhausted", "held", SET_ASIDE_BY_AWS, "of_another_release"])
def test_show_says_what_to_do(desk: CliHarness, code: str) -> None:
    desk.stack.dead["commands"].send(FIRST.to_json(), {"code": code, "reason": "x", "intent_id": FIRST.intent_id})
    output = desk.run("dead-letters", "show", FIRST.intent_id).output
    assert f"what to do  {remedy_for(code)}" in output


def test_json_holds_the_same_facts(full: CliHarness) -> None:
    listed = json.loads(full.run("dead-letters", "list", "--json").output)
    assert [one["intent_id"] for one in listed].count(FIRST.intent_id) == 1
    shown = json.loads(full.run("dead-letters", "show", FIRST.intent_id, "--json").output)
    assert shown["todo"] == remedy_for("attempts_exhausted")
    assert shown["ledger"]["status"] == "dead_lettered"
    assert json.loads(shown["body"])["id"] == FIRST.id
    status = full.run("status", FIRST.intent_id, "--json")
    assert (status.exit_code, json.loads(status.output)["status"]) == (1, "dead_lettered")


class MeetingQueue(MemoryQueue):
    """A queue whose first receive goes on only once all queues are being received from."""

    def __init__(self, clock: Callable[[], datetime], meeting: Barrier) -> None:
        super().__init__(clock)
        self.meeting: Barrier | None = meeting

    @override
    def receive(self, most: int = 10, *, hidden_for: int = 30) -> list[Message]:
        if self.meeting is not None:
            meeting, self.meeting = self.meeting, None
            meeting.wait()
        return super().receive(most, hidden_for=hidden_for)


def test_all_dead_letter_queues_are_read_at_the_same_time(desk: CliHarness) -> None:
    meeting = Barrier(len(desk.stack.dead), timeout=20)
    for name in desk.stack.dead:
        desk.stack.dead[name] = MeetingQueue(desk.clock, meeting)
    desk.dead_letter(command())
    result = desk.run("dead-letters", "list")
    assert result.exit_code == 0, result.output
    assert "1 dead letter" in result.output
    assert not meeting.broken
