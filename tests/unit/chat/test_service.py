"""A slash command from the line typed to the answer that follows."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import cast, override

import pytest
import requests

from lifecycle.approvals.rules import ApprovalRequest
from lifecycle.aws.api_gateway import problem
from lifecycle.aws.metrics import Metric
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.chat.grammar import HELP
from lifecycle.chat.slack.blocks import Block, SlackAnswer
from lifecycle.chat.slack.replies import SlackPoster
from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Rejected, Retryable
from lifecycle.domain.intent import Status
from lifecycle.domain.intent_ids import intent_id
from lifecycle.domain.messages import Answer, outcome
from lifecycle.execution.ledger import Claim
from lifecycle.execution.reply_channel import MemoryReplies
from sandbox.build import ROOT
from tests.harness.builders import (
    ID_KEY,
    NOW,
    ORG,
    PEOPLE,
    PREFIX,
    THING,
    ChatRoom,
    Clock,
    bodies,
    chat_request,
    pressed,
    slack_headers,
    slash,
    wanted,
)
from tests.harness.chat import Wire
from tests.harness.fault_injection import When
from tests.harness.world import VISIBILITY, World

LINK = f"https://go.tallyfy.com/{ORG}/process/{THING}"
GRACE = {"user_id": "U034FGHIK"}
URL = "https://hooks.slack.com/commands/T012ABCDE/1/abc"
TO = f"slack:{URL}"
ACTIONS = "/chat/slack/actions"


@pytest.fixture
def room(clock: Clock) -> ChatRoom:
    return ChatRoom(clock)


def queued(room: ChatRoom) -> Command:
    [text] = bodies(room.commands)
    return Command.model_validate_json(text)


# --- not set up ---


def test_a_slack_without_a_secret_is_a_404_to_everybody(room: ChatRoom) -> None:
    room.secrets.texts.clear()
    with pytest.raises(Rejected) as refusal:
        room.say("help")
    assert problem(refusal.value)["statusCode"] == 404
    assert PREFIX not in str(problem(refusal.value)["body"])
    with pytest.raises(Rejected, match="not set up"):
        room.deliver(slash("help"), {})
    assert room.metrics.counts == {Metric.SIGNATURE_REFUSED: 2}
    assert all("does not exist" in str(facts["why"]) for _, facts in room.metrics.notes)
    assert room.commands.depth() == 0


def test_a_slack_whose_secret_aws_cannot_read_now_is_a_503(clock: Clock) -> None:
    class Out(MemorySecrets):
        @override
        def get(self, name: str, *, fresh: bool = False) -> str:
            raise Retryable(Code.UNAVAILABLE, "Secrets Manager is out.")

    room = ChatRoom(clock)
    room.secrets = Out()
    with pytest.raises(Retryable) as trouble:
        room.say("help")
    assert problem(trouble.value)["statusCode"] == 503


# --- what is asked for ---


@pytest.mark.parametrize("target", [THING, LINK, f"<{LINK}|go.tallyfy.com>"])
def test_a_line_becomes_a_command_and_says_how_to_follow_it(room: ChatRoom, target: str) -> None:
    line = room.say(f"archive {target}")
    command = queued(room)
    assert line == f"On it: archive process `{THING}`. Ask with `/tallyfy status {command.intent_id}`."
    assert command.model_dump(exclude={"issued_at", "not_after"}) == {
        "action": Action.ARCHIVE,
        "resource": Resource.RUN,
        "org_id": ORG,
        "id": THING,
        "find": None,
        "expect": None,
        "allow_in_use": False,
        "if_none": None,
        "if_changed": None,
        "version": 1,
        "requested_by": "ada",
        "source": "slack",
        "reason": "ada asked for it in Slack.",
        "intent_id": intent_id(ID_KEY, "slack", "1.2.abc"),
        "plan": None,
        "undoes": None,
        "reply_to": TO,
    }
    assert (command.issued_at, command.not_after) == (NOW, NOW + timedelta(days=14))
    assert room.metrics.counts[Metric.ACCEPTED] == 1


def test_the_trigger_names_the_line_and_a_copy_of_it(room: ChatRoom) -> None:
    for trigger in ("a", "a", "b"):
        room.say(f"archive {THING}", trigger_id=trigger)
    names = [Command.model_validate_json(text).intent_id for text in bodies(room.commands)]
    assert names[0] == names[1] != names[2]


def test_without_a_trigger_nothing_is_asked_for(room: ChatRoom) -> None:
    assert "no id of this request" in room.say(f"archive {THING}", trigger_id="")
    assert bodies(room.commands) == []


@pytest.mark.parametrize("url", ["", "https://hooks.slack.com/" + "x" * 480])
def test_a_line_without_a_usable_way_back_is_carried_out_all_the_same(room: ChatRoom, url: str) -> None:
    room.say(f"archive {THING}", response_url=url)
    assert queued(room).reply_to is None


def test_help_is_for_everybody_and_asks_for_nothing(room: ChatRoom) -> None:
    assert room.say("", user_id="U0STRANGER") == room.say("help") == HELP
    assert bodies(room.commands) == []


@pytest.mark.parametrize("text", ["remove it", "archive", f"archive {THING} {THING}", f"archive folder {THING}"])
def test_what_is_not_understood_is_answered_and_noted(room: ChatRoom, text: str) -> None:
    assert room.say(text).endswith(".")
    assert bodies(room.commands) == []
    assert room.metrics.counts[Metric.REFUSED] == 1


def test_a_line_waits_for_no_import_of_what_only_a_button_needs() -> None:
    code = "import sys, functions.chat.app; print('requests' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "False"


# --- who may ---


@pytest.mark.parametrize("text", [f"archive {THING}", "status int_1"])
def test_an_unknown_user_is_told_which_line_an_operator_must_add_to_people_toml(room: ChatRoom, text: str) -> None:
    line = room.say(text, team_id="T099ABCDE")
    assert line == 'I do not know you. An operator adds slack = "T099ABCDE/U034FGHIJ" to people.toml.'
    assert bodies(room.commands) == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (f"archive {THING}", "run.archive"),
        (f"archive task {THING}", "task.archive"),
        (f"restore template {THING}", "template.restore"),
        (f"archive template {THING}", "template.archive"),
        (f"archive tag {THING}", "tag.delete"),
    ],
)
def test_a_missing_right_is_named(room: ChatRoom, text: str, missing: str) -> None:
    assert room.say(text, **GRACE) == f"You may not ask for {missing}. people.toml says who may do what."
    assert bodies(room.commands) == []


def test_restoring_a_tag_is_answered_with_the_reason(room: ChatRoom) -> None:
    assert "Create the tag again" in room.say(f"restore tag {THING}")


def test_a_person_of_one_organization_means_that_one(clock: Clock) -> None:
    room = ChatRoom(clock, frozenset({ORG, "1b" * 16}))
    room.say(f"restore {THING}", **GRACE)
    assert queued(room).org_id == ORG


@pytest.mark.parametrize(
    ("org_ids", "person"), [({ORG, "1b" * 16}, {}), ({"1b" * 16}, GRACE)], ids=["several", "not the stack's"]
)
def test_nobody_guesses_which_organization_is_meant(clock: Clock, org_ids: set[str], person: dict[str, str]) -> None:
    room = ChatRoom(clock, frozenset(org_ids))
    assert "which organization" in room.say(f"restore {THING}", **person)
    assert bodies(room.commands) == []


@pytest.mark.parametrize("spoil", ["signature", "secret", "old", "body"])
def test_what_slack_did_not_sign_is_refused_unread(room: ChatRoom, spoil: str) -> None:
    raw = slash(f"archive {THING}")
    headers = slack_headers(raw, at=NOW.timestamp() - (301 if spoil == "old" else 0))
    if spoil == "signature":
        headers["x-slack-signature"] = "v0="
    if spoil == "secret":
        room.secrets.texts[f"{PREFIX}/chat/slack"] = "{}"
    with pytest.raises(Rejected) as refusal:
        room.deliver(raw + (b"&x=1" if spoil == "body" else b""), headers)
    assert refusal.value.code is Code.SIGNATURE_REFUSED
    assert room.metrics.counts[Metric.SIGNATURE_REFUSED] == 1
    assert bodies(room.commands) == []


# --- status ---


def test_the_status_of_a_command_is_told(room: ChatRoom) -> None:
    room.say(f"archive {THING}")
    name = queued(room).intent_id
    assert room.say(f"status {name}") == f"`{name}`: accepted. It was accepted. No worker has started it yet."
    claim = room.ledger.claim(queued(room))
    assert isinstance(claim, Claim)
    room.ledger.mark(claim)
    assert room.say(f"status {name}").startswith(f"`{name}`: in_progress")


@pytest.mark.parametrize("name", ["int_1", "int_" + "0" * 48, "int_" + "x" * 900])
def test_a_name_that_was_never_given_out_is_answered(room: ChatRoom, name: str) -> None:
    assert "never issued this id" in room.say(f"status {name}")


# --- approvals ---


@pytest.fixture
def asked(room: ChatRoom) -> ApprovalRequest:
    """Ada asked for a permanent delete; Grace may approve it."""
    return room.approvals.ask(wanted())


def standing(room: ChatRoom, name: str) -> ApprovalRequest:
    found = room.approvals.find(ORG, name)
    assert found is not None
    return found


def buttons(message: SlackAnswer) -> list[tuple[object, object]]:
    rows = [block["elements"] for block in message.get("blocks", []) if block["type"] == "actions"]
    return [(button["action_id"], button["value"]) for row in rows for button in cast("list[Block]", row)]


def test_whoever_may_approve_sees_what_waits_with_two_buttons(room: ChatRoom, asked: ApprovalRequest) -> None:
    shown = room.show("approvals", **GRACE)
    assert buttons(shown) == [("approve", asked.hash), ("reject", asked.hash)]
    assert asked.hash[:12] in shown["text"]
    assert "Onboard Initech" in str(shown["blocks"])


def test_who_asked_sees_it_without_a_button_to_approve(room: ChatRoom) -> None:
    asked = room.approvals.ask(wanted(asked_by="grace"))
    assert buttons(room.show("approvals", **GRACE)) == [("reject", asked.hash)]


@pytest.mark.parametrize("person", [{}, {"user_id": "U0STRANGER"}])
def test_whoever_may_not_approve_is_shown_nothing(
    room: ChatRoom, asked: ApprovalRequest, person: dict[str, str]
) -> None:
    shown = room.show("approvals", **person)
    assert "blocks" not in shown
    assert asked.hash[:12] not in shown["text"]
    assert "people.toml" in shown["text"]


def test_nothing_that_waits_is_said(room: ChatRoom) -> None:
    assert room.say("approvals", **GRACE) == "Nothing waits for your approval."


def test_a_press_approves_and_sends_the_command_on(room: ChatRoom, asked: ApprovalRequest) -> None:
    line = room.press("approve", asked.hash)
    assert line.startswith(f"You approved `{asked.hash[:12]}`: 1 of 1. It goes on now.")
    assert room.heard.said == [("slack:https://hooks.slack.com/actions/T012ABCDE/2/def", line)]
    assert standing(room, asked.hash).approved_by == ("grace",)
    assert bodies(room.purge) == [asked.message]
    assert bodies(room.sweeps) == []


def test_a_press_that_is_replayed_counts_once(room: ChatRoom) -> None:
    asked = room.approvals.ask(wanted(needed=2))
    for _ in range(3):
        assert "1 of 2. Others have until 2026-06-04 12:00 UTC." in room.press("approve", asked.hash)
    assert standing(room, asked.hash).approved_by == ("grace",)
    assert bodies(room.purge) == []


def test_a_press_rejects_for_good(room: ChatRoom, asked: ApprovalRequest) -> None:
    assert room.press("reject", asked.hash).startswith(f"You rejected `{asked.hash[:12]}`.")
    assert standing(room, asked.hash).rejected_by == "grace"
    assert room.press("reject", asked.hash).startswith(f"You rejected `{asked.hash[:12]}`.")
    assert room.press("approve", asked.hash) == "This request is rejected already."
    assert standing(room, asked.hash).approved_by == ()


def test_nobody_approves_what_they_asked_for(room: ChatRoom) -> None:
    asked = room.approvals.ask(wanted(asked_by="grace"))
    assert room.press("approve", asked.hash) == "You requested this yourself. Somebody else must approve it."
    assert standing(room, asked.hash).approved_by == ()
    assert bodies(room.purge) == []
    assert room.metrics.counts[Metric.REFUSED] == 1


def test_what_has_expired_is_not_approved(room: ChatRoom, asked: ApprovalRequest, clock: Clock) -> None:
    clock.advance(timedelta(hours=72))
    assert room.press("approve", asked.hash) == "This request is expired already."
    assert bodies(room.purge) == []


ADA_PRESSES = {"user": {"id": "U034FGHIJ", "team_id": "T012ABCDE"}}


@pytest.mark.parametrize("action", ["approve", "reject"])
@pytest.mark.parametrize(
    "fields",
    [
        {"user": {"id": "U0STRANGER", "team_id": "T012ABCDE"}},
        {"user": {"id": "U034FGHIK", "team_id": "T099ABCDE"}},
        {"user": {}},
        ADA_PRESSES,
    ],
    ids=["stranger", "another company's", "nobody", "without the right"],
)
def test_whoever_may_not_approve_is_refused(
    room: ChatRoom, asked: ApprovalRequest, action: str, fields: dict[str, object]
) -> None:
    line = room.press(action, asked.hash, **fields)
    assert "I do not know you" in line or "no request with this hash that you may approve" in line
    assert standing(room, asked.hash) == asked
    assert bodies(room.purge) == []


@pytest.mark.parametrize("action", ["approve", "reject"])
@pytest.mark.parametrize("value", ["", "0" * 64, f"of#{wanted().subject}", "x", wanted().hash[:12], "0" * 2000])
def test_a_value_that_names_no_request_is_unknown(
    room: ChatRoom, asked: ApprovalRequest, action: str, value: str
) -> None:
    assert "no " in room.press(action, value)
    [note] = [facts for signal, facts in room.metrics.notes if signal is Metric.REFUSED]
    assert note["code"] == Code.UNKNOWN_APPROVAL
    assert standing(room, asked.hash) == asked


def test_a_request_of_another_organization_is_unknown(room: ChatRoom) -> None:
    elsewhere = room.approvals.ask(wanted(org_id="1b" * 16))
    assert "no request with this hash" in room.press("approve", elsewhere.hash)
    assert buttons(room.show("approvals", **GRACE)) == []


def test_a_button_that_is_not_ours_does_nothing(room: ChatRoom, asked: ApprovalRequest) -> None:
    assert "This button is unknown" in room.press("delete", asked.hash)
    assert standing(room, asked.hash) == asked


@pytest.mark.parametrize("spoil", ["signature", "old", "body"])
def test_a_press_that_slack_did_not_sign_is_refused_unread(room: ChatRoom, asked: ApprovalRequest, spoil: str) -> None:
    raw = pressed("approve", asked.hash)
    headers = slack_headers(raw, at=NOW.timestamp() - (301 if spoil == "old" else 0))
    if spoil == "signature":
        headers["x-slack-signature"] = "v0="
    with pytest.raises(Rejected) as refusal:
        room.deliver(raw + (b"&x=1" if spoil == "body" else b""), headers, path=ACTIONS)
    assert refusal.value.code is Code.SIGNATURE_REFUSED
    assert standing(room, asked.hash) == asked
    assert room.heard.said == []


def test_a_body_that_tells_of_no_press_is_a_400(room: ChatRoom) -> None:
    raw = slash("approvals")
    with pytest.raises(Rejected) as refusal:
        room.deliver(raw, path=ACTIONS)
    assert problem(refusal.value)["statusCode"] == 400
    assert room.metrics.counts[Metric.REFUSED] == 1


def test_passing_trouble_is_told_where_the_button_is(room: ChatRoom, asked: ApprovalRequest) -> None:
    class Out(MemoryQueue):
        @override
        def send(self, body: str, attributes: Mapping[str, str] | None = None) -> None:
            raise Retryable(Code.UNAVAILABLE, "SQS is out.")

    working, room.purge = room.purge, Out(room.clock)
    with pytest.raises(Retryable):
        room.press("approve", asked.hash)
    [(_, line)] = room.heard.said
    assert line == "It could not be taken now. Try again in a moment; nothing is done twice."
    service = room.chat.service
    again = replace(room.chat, service=replace(service, approving=replace(service.approving, purge=working)))
    raw = pressed("approve", asked.hash)
    again.respond("slack", chat_request(raw, slack_headers(raw), path=ACTIONS))
    assert bodies(working) == [asked.message]


def test_an_answer_that_does_not_arrive_changes_nothing(room: ChatRoom, asked: ApprovalRequest) -> None:
    room.replies = Full()
    room.deliver(pressed("approve", asked.hash), path=ACTIONS)
    assert room.metrics.counts[Metric.REPLY_FAILED] == 1
    assert standing(room, asked.hash).approved_by == ("grace",)
    assert "hooks.slack.com" not in str(room.metrics.notes)


class Full(MemoryReplies):
    """A chat queue that takes nothing."""

    @override
    def reply(self, to: str, answer: Answer) -> bool:
        return False


def test_a_copy_of_a_line_that_is_done_is_answered_with_how_it_ended(clock: Clock) -> None:
    world = World(clock)
    world.add(Resource.RUN, THING)
    room, command = done(world)
    assert room.say(f"archive {THING}") == f"`{command.intent_id}`: done. The process is archived."
    assert bodies(room.commands) == []


# --- undo ---


def done(world: World, text: str = f"archive {THING}") -> tuple[ChatRoom, Command]:
    """What Ada asked for in Slack is done; the room looks into the same ledger."""
    command = spoken(world, text)
    world.drain(world.process())
    room = ChatRoom(world.clock)
    room.ledger = world.ledger
    return room, command


def test_a_result_that_can_be_undone_offers_it(clock: Clock) -> None:
    world = World(clock)
    world.add(Resource.RUN, THING)
    _, command = done(world)
    assert world.replies.offered == [command.intent_id]


@pytest.mark.parametrize("there", [True, False], ids=["archived already", "not there"])
def test_a_result_that_changed_nothing_offers_nothing(clock: Clock, *, there: bool) -> None:
    world = World(clock)
    if there:
        world.add(Resource.RUN, THING, archived_days=3)
    done(world)
    assert world.replies.offered == [None]


def test_what_cannot_be_undone_is_not_offered(clock: Clock) -> None:
    world = World(clock)
    world.add(Resource.TAG, THING)
    world.send(world.command(Resource.TAG, THING, Action.DELETE, "one", reply_to=TO))
    world.drain(world.process())
    assert world.replies.said[0][1].startswith(f"Delete tag `{THING}`: done.")
    assert world.replies.offered == [None]


@pytest.mark.parametrize("way", ["button", "line"])
def test_an_undo_is_asked_for_once_and_its_result_follows(clock: Clock, way: str) -> None:
    world = World(clock)
    world.add(Resource.RUN, THING)
    room, command = done(world)

    def ask() -> str:
        if way == "line":
            return room.say(f"undo {command.intent_id}", response_url=URL)
        return room.press("undo", command.intent_id, response_url=URL, **ADA_PRESSES)

    name = intent_id(ID_KEY, "undo", command.intent_id)
    for _ in range(2):
        assert ask() == f"On it: undo of `{command.intent_id}`. Ask with `/tallyfy status {name}`."
    for text in bodies(room.commands):
        world.queue.send(text)
    world.replies.answers.clear()
    world.drain(world.process())
    assert world.state(Resource.RUN, THING) is State.ACTIVE
    assert [line.split(".")[0] for _, line in world.replies.said] == [f"Restore process `{THING}`: done"]
    assert world.replies.offered == [name]
    sent = len(bodies(room.commands))
    assert ask().startswith(f"Undo of `{command.intent_id}`: done. ")
    assert len(bodies(room.commands)) == sent


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"user": {"id": "U0STRANGER", "team_id": "T012ABCDE"}}, "I do not know you"),
        ({"user": {"id": "U034FGHIJ", "team_id": "T099ABCDE"}}, "I do not know you"),
        ({}, "You may not ask for run.archive"),
    ],
)
def test_an_undo_needs_the_right_to_what_it_does(clock: Clock, fields: dict[str, object], said: str) -> None:
    world = World(clock)
    world.add(Resource.RUN, THING, archived_days=3)
    room, command = done(world, f"restore {THING}")
    assert said in room.press("undo", command.intent_id, **fields)
    assert bodies(room.commands) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("int_" + "0" * 48, "The ledger knows no command"),
        *((value, "This is not a command id.") for value in ("", "x", "int_" + "0" * 4000)),
    ],
)
def test_an_undo_of_what_is_not_known_is_answered(room: ChatRoom, value: str, said: str) -> None:
    assert room.press("undo", value, **ADA_PRESSES).startswith(said)
    [note] = [facts for signal, facts in room.metrics.notes if signal is Metric.REFUSED]
    assert note["code"] == Code.UNKNOWN_INTENT
    assert bodies(room.commands) == []


def test_a_reply_with_an_undo_has_its_button_below_the_text() -> None:
    slack = Wire()
    assert posted(slack, answer=outcome("Done.", "int_1"))
    said = json.loads(slack.posted[0].body or b"")
    assert (said["text"], said["response_type"], said["replace_original"]) == ("Done.", "ephemeral", False)
    text, row = said["blocks"]
    assert text["text"]["text"] == "Done."
    assert [(button["action_id"], button["value"]) for button in row["elements"]] == [("undo", "int_1")]


# --- the answer that follows ---


def spoken(world: World, text: str = f"archive {THING}", url: str = URL) -> Command:
    room = ChatRoom(world.clock, people=PEOPLE)
    room.say(text, response_url=url)
    [body] = bodies(room.commands)
    world.queue.send(body)
    return Command.model_validate_json(body)


def test_the_result_follows_once_however_often_it_is_delivered(clock: Clock) -> None:
    world = World(clock)
    world.add(Resource.RUN, THING)
    command = spoken(world)
    for _ in range(3):
        world.send(command)
    world.drain(world.process())
    assert world.replies.said == [(TO, f"Archive process `{THING}`: done. The process is archived.")]


def test_a_rejection_is_told_with_its_reason(clock: Clock) -> None:
    world = World(clock)
    spoken(world)
    world.drain(world.process())
    [(_, line)] = world.replies.said
    assert line.startswith(f"Archive process `{THING}`: rejected. There is no process with this id")


def test_a_way_back_is_never_announced_or_noted(clock: Clock) -> None:
    world = World(clock)
    world.add(Resource.RUN, THING)
    spoken(world)
    world.drain(world.process())
    assert "hooks.slack.com" not in str(world.bus.announced) + str(world.metrics.notes)
    assert "hooks.slack.com" not in str(world.rows.table)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["claim", "act", "conclude", "announce", "mark_delivered"])
def test_a_worker_killed_at_any_step_still_tells_the_result(clock: Clock, point: str, when: When) -> None:
    world = World(clock)
    world.add(Resource.RUN, THING)
    spoken(world)
    dying = world.process()
    dying.fuse.point, dying.fuse.when = point, when
    dying.deliver()
    world.clock.advance(timedelta(seconds=VISIBILITY))
    world.drain(world.process())
    assert world.state(Resource.RUN, THING) is State.ARCHIVED
    cut_off_between = point == "mark_delivered" and when == "before"
    assert len(world.replies.said) == (2 if cut_off_between else 1)


def poster(slack: Wire, also: str | None = None) -> SlackPoster:
    session = requests.Session()
    session.trust_env = False
    for scheme in ("https://", "http://"):
        session.mount(scheme, slack)
    return SlackPoster(session, also)


def posted(slack: Wire, url: str = URL, answer: Answer | None = None, also: str | None = None) -> bool:
    return poster(slack, also).post(url, answer or Answer(text="Done."), str)


def test_a_reply_is_for_the_asker_alone() -> None:
    slack = Wire()
    assert posted(slack)
    [sent] = slack.posted
    assert (sent.method, sent.url) == ("POST", URL)
    assert json.loads(sent.body or b"") == {"response_type": "ephemeral", "replace_original": False, "text": "Done."}


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.example.com/x",
        "https://hooks.slack.com@example.com/x",
        "https://user@hooks.slack.com/x",
        "https://hooks.slack.com:8443/x",
        "https://example.com/hooks.slack.com",
        "https://169.254.169.254/latest",
        "http://127.0.0.1:8000/x",
        "file:///etc/passwd",
        "https://[",
        "//hooks.slack.com/x",
        "",
    ],
)
def test_nothing_is_posted_to_any_other_place(url: str) -> None:
    slack = Wire()
    for also in (None, "http://127.0.0.1:9000"):
        with pytest.raises(Rejected, match="not one of Slack's"):
            posted(slack, url, also=also)
    assert slack.posted == []


def test_a_simulator_on_loopback_may_play_slack() -> None:
    slack = Wire()
    assert posted(slack, "http://127.0.0.1:9000/slack/1", also="http://127.0.0.1:9000")
    assert len(slack.posted) == 1


@pytest.mark.parametrize(
    "status",
    [429, 500, requests.ConnectionError("gone"), requests.Timeout("slow"), requests.exceptions.InvalidURL("x")],
)
def test_a_post_that_may_work_later_is_tried_again(status: int | Exception) -> None:
    assert not posted(Wire(status))


@pytest.mark.parametrize("status", [302, 404])
def test_an_address_that_has_expired_is_not_tried_again_and_a_redirect_is_not_followed(status: int) -> None:
    slack = Wire(status)
    with pytest.raises(Rejected, match="has expired"):
        posted(slack)
    assert [sent.url for sent in slack.posted] == [URL]


def test_a_chat_queue_that_takes_no_answer_changes_nothing(clock: Clock) -> None:
    world = World(clock)
    world.add(Resource.RUN, THING)
    world.replies = Full()
    command = spoken(world)
    world.drain(world.process())
    assert world.metrics.counts[Metric.REPLY_FAILED] == 1
    assert world.intent(command.intent_id).status is Status.DONE
    assert world.intent(command.intent_id).pending == ()
    assert world.announced(command.intent_id) == ["done"]
