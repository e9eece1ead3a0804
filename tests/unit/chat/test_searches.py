"""The chat queue: what a search shows, and how an answer is posted, tried again or given up."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import requests

from lifecycle.aws.dynamodb import MemoryTable, Put
from lifecycle.aws.metrics import MemoryMetrics, Metric
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import Later, MemoryQueue
from lifecycle.chat.channels import AnswerPosts
from lifecycle.chat.notices import NoticeJobs
from lifecycle.chat.request import ChatRequest
from lifecycle.chat.searches import ChatJobs
from lifecycle.domain.capabilities import Resource
from lifecycle.domain.errors import Code, Rejected
from lifecycle.domain.messages import Answer, ButtonKind, outcome
from lifecycle.execution.reply_channel import MemoryReplies, QueueReplies
from lifecycle.holds.store import HoldStore
from lifecycle.notices.file import Notices
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Lane, Rate
from lifecycle.plans.warning_marks import SentWarnings
from lifecycle.sweep.state import SweepState, newest_key
from lifecycle.sweep.warn_job import WarningDeliveries
from lifecycle.tallyfy.client import HttpTallyfy, Tokens
from tests.harness.builders import ORG, PREFIX, THING, ChatRoom, Clock, bodies, pressed
from tests.harness.world import World

HOOK = "https://hooks.slack.com/services/T012ABCDE/B1/abc"
NOTICES = """
[channels.operations]
tool = "slack"
[channels.factory]
tool = "teams"
[tell]
approval = ["operations", "factory"]
warning = ["operations"]
"""
TO = "slack:https://hooks.slack.com/commands/T012ABCDE/1/abc"


@dataclass
class Desk:
    """A chat tool that takes what is posted, or does as told."""

    does: list[bool | Exception] = field(default_factory=list)
    posted: list[tuple[str, Answer]] = field(default_factory=list)

    def post(self, address: str, answer: Answer, secret: Callable[[], str]) -> bool:
        what = self.does.pop(0) if self.does else True
        if isinstance(what, Exception):
            raise what
        if what:
            self.posted.append((address, answer))
        return what


@dataclass
class Jobs:
    """The function over memory, beside a simulated Tallyfy."""

    clock: Clock
    notices: Notices = field(default_factory=lambda: Notices.parse(NOTICES))

    def __post_init__(self) -> None:
        self.secrets = MemorySecrets({f"{PREFIX}/notices/operations": f"{HOOK}\n"})
        self.world = World(self.clock)
        self.rows = MemoryTable()
        self.queue, self.dead_letters = MemoryQueue(self.clock), MemoryQueue(self.clock)
        self.desk, self.heard, self.metrics = Desk(), MemoryReplies(), MemoryMetrics()
        session = requests.Session()
        session.mount("https://", self.world.process().transport)
        posts = AnswerPosts(lambda _: self.desk, self.secrets, PREFIX)
        sent = SentWarnings(self.rows)
        deliveries = WarningDeliveries(SweepState(rows=self.rows, clock=self.clock, terms=""), sent)
        self.jobs = ChatJobs(
            posts=posts,
            notices=NoticeJobs(self.notices, self.heard, posts, deliveries, stack=PREFIX),
            tallyfy=HttpTallyfy(
                session,
                "https://go.tallyfy.com/api",
                Tokens(self.world.secrets, PREFIX, frozenset({ORG})),
                capabilities=frozenset(),
                spend=lambda _: None,
                time_left=lambda: 60.0,
            ),
            pacing=Pacing(self.rows, Rate.within(100), self.clock, Lane.PEOPLE),
            holds=HoldStore(self.rows, self.clock),
            replies=self.heard,
            queue=self.queue,
            dead_letters=self.dead_letters,
            metrics=self.metrics,
            clock=self.clock,
            roll=lambda: 0.5,
        )

    def work(self) -> None:
        """Hand over what is visible, once."""
        for message in self.queue.receive():
            try:
                self.jobs.handle(message)
            except Later:
                continue
            self.queue.delete(message)

    def send(self, **job: str) -> None:
        self.queue.send(json.dumps({"to": TO, "org_id": ORG, "choice": "1.2.abc", **job}))

    def found(self, name: str, verb: str = "archive") -> Answer:
        self.send(job="search", verb=verb, name=name)
        self.work()
        [(to, answer)] = self.heard.answers
        assert to == TO
        return answer


@pytest.fixture
def jobs(clock: Clock) -> Jobs:
    return Jobs(clock)


def things(answer: Answer) -> list[str]:
    return [line for section in answer.sections for line in section.lines if line.startswith("Id: ")]


def test_several_processes_are_a_choice_with_template_owner_and_date(jobs: Jobs) -> None:
    for number in range(3):
        jobs.world.add(Resource.RUN, f"{number}a" * 16, name=f"Onboard {number}")
    jobs.world.add(Resource.RUN, THING, name="Something else")
    answer = jobs.found("onboard")
    assert answer.text.startswith("3 processes have “onboard” in the name. Which one is meant by `archive`?")
    assert things(answer) == [f"Id: {number}a{f'{number}a' * 15}" for number in range(3)]
    lines = answer.sections[0].lines
    assert [line.split(":")[0] for line in lines][:4] == ["Name", "Id", "Template", "Owner"]
    [button] = answer.sections[0].buttons
    assert (button.kind, button.value) == (ButtonKind.ARCHIVE, f"run:{'0a' * 16}:1.2.abc")
    assert button.typed == f"archive process {'0a' * 16}"


def test_the_exact_name_comes_first_and_the_rest_is_counted(jobs: Jobs) -> None:
    for number in range(9):
        jobs.world.add(Resource.RUN, f"{number}a" * 16, name=f"Onboard {number}")
    jobs.world.add(Resource.RUN, "ff" * 16, name="ONBOARD")
    answer = jobs.found("onboard")
    assert things(answer)[0] == f"Id: {'ff' * 16}"
    assert len(answer.sections) == 5
    assert "The first 5 are shown" in answer.text


def test_one_match_is_shown_and_nothing_is_done_by_its_name(jobs: Jobs) -> None:
    jobs.world.add(Resource.RUN, THING, name="Onboard")
    before = len(jobs.world.simulator.log.calls)
    answer = jobs.found("onboard")
    assert "Nothing was done yet." in answer.text
    assert {call.method for call in jobs.world.simulator.log.calls[before:]} == {"GET"}


def test_a_name_that_nothing_has_is_answered(jobs: Jobs) -> None:
    answer = jobs.found("`nobody`")
    assert answer.text == "No active process is named “'nobody'”. Copy its link from Tallyfy instead."


@pytest.mark.parametrize(("verb", "shown"), [("archive", 1), ("restore", 1), ("status", 2), ("delete", 1), ("hold", 1)])
def test_a_search_looks_where_the_verb_can_act(jobs: Jobs, verb: str, shown: int) -> None:
    jobs.world.add(Resource.RUN, THING, name="Onboard")
    jobs.world.add(Resource.RUN, "ff" * 16, name="Onboard", archived_days=3)
    answer = jobs.found("onboard", verb)
    assert len(answer.sections) == shown
    assert [bool(section.buttons) for section in answer.sections] == [verb != "status"] * shown


def test_how_a_thing_stands_is_told_with_its_hold(jobs: Jobs) -> None:
    jobs.world.add(Resource.RUN, THING, name="Onboard")
    jobs.jobs.holds.add(ORG, Resource.RUN, THING, reason="audit", by="ada")
    jobs.send(job="look", resource="run", id=THING)
    jobs.work()
    [(_, answer)] = jobs.heard.answers
    assert answer.text == f"Process `{THING}` is active."
    assert any("audit" in line for line in answer.sections[0].lines)


def test_what_tallyfy_does_not_show_is_answered(jobs: Jobs) -> None:
    jobs.send(job="look", resource="run", id=THING)
    jobs.work()
    assert "Tallyfy shows no process" in jobs.heard.answers[0][1].text


def test_a_used_up_pace_postpones_a_search_and_takes_no_slot(jobs: Jobs, clock: Clock) -> None:
    jobs.jobs.pacing.overdraw(ORG, 200)
    jobs.send(job="search", verb="archive", name="x")
    jobs.work()
    assert jobs.heard.answers == []
    assert jobs.queue.depth() == 1
    clock.advance(timedelta(hours=1))
    jobs.work()
    assert len(jobs.heard.answers) == 1


# --- posting ---


def reply(jobs: Jobs, answer: Answer) -> None:
    assert QueueReplies(jobs.queue).reply(TO, answer)


def test_an_answer_is_posted_as_it_was_made(jobs: Jobs) -> None:
    made = outcome("Archive process: done.", "int_1")
    reply(jobs, made)
    jobs.work()
    assert jobs.desk.posted == [(TO.partition(":")[2], made)]
    assert jobs.queue.depth() == 0


def test_a_post_that_fails_is_tried_again_and_given_up_at_last(jobs: Jobs, clock: Clock) -> None:
    reply(jobs, Answer(text="Done."))
    jobs.desk.does = [False] * 20
    for _ in range(20):
        jobs.work()
        clock.advance(timedelta(hours=1))
    assert jobs.queue.depth() == 0
    assert jobs.metrics.counts == {Metric.RETRIED: 7, Metric.REPLY_FAILED: 1}
    assert jobs.dead_letters.depth() == 0


def test_a_post_that_cannot_work_is_given_up_at_once(jobs: Jobs) -> None:
    reply(jobs, Answer(text="Done."))
    jobs.desk.does = [Rejected(Code.REFUSED, "It has expired.")]
    jobs.work()
    assert jobs.metrics.counts == {Metric.REPLY_FAILED: 1}
    assert "hooks.slack.com" not in str(jobs.metrics.notes)


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "{}", '{"job": "reply"}', '{"job": "delete", "to": "slack:x"}', "null"]
)
def test_a_message_that_is_no_job_becomes_a_dead_letter(jobs: Jobs, body: str) -> None:
    jobs.queue.send(body)
    jobs.work()
    assert jobs.queue.depth() == 0
    assert bodies(jobs.dead_letters) == [body]
    assert jobs.metrics.counts == {Metric.POISON: 1}


# --- from the line to the choice ---


def test_a_name_leads_to_a_choice_and_a_press_to_one_command_however_often_it_comes(jobs: Jobs) -> None:
    room = ChatRoom(jobs.clock)
    jobs.world.add(Resource.RUN, THING, name="Onboard Stark")
    line = room.say("archive “Onboard Stark”")
    assert line == "Looking for processes named “Onboard Stark”. The answer follows here."
    assert bodies(room.commands) == []
    [body] = bodies(room.jobs)
    jobs.queue.send(body)
    jobs.work()
    [button] = jobs.heard.answers[0][1].sections[0].buttons
    ada = {"user": {"id": "U034FGHIJ", "team_id": "T012ABCDE"}}
    for trigger in ("1", "2"):
        room.deliver(pressed("archive", button.value, trigger_id=trigger, **ada), path="/chat/slack/actions")
    names = {json.loads(text)["intent_id"] for text in bodies(room.commands)}
    assert len(names) == 1
    assert {json.loads(text)["id"] for text in bodies(room.commands)} == {THING}


# --- notices and warnings ---


WARNING = {
    "job": "warning",
    "to": "slack:@operations",
    "org_id": ORG,
    "plan": "ab" * 32,
    "sweep_id": "night-1",
    "recipient": "operations/owner/4711",
}


def warn(jobs: Jobs) -> None:
    jobs.queue.send(
        json.dumps({**WARNING, "answer": json.loads(Answer(text="2 things will be cleaned up.").to_json())})
    )


def newest(jobs: Jobs, plan: str) -> None:
    [row] = jobs.rows.read(newest_key(ORG))
    jobs.rows.write(Put(newest_key(ORG), {"plan": plan, "sweep_id": "night-1"}, row.version if row else 0))


def test_an_event_becomes_one_message_for_each_channel_that_wants_its_kind(jobs: Jobs) -> None:
    event = {"approval": "ab" * 32, "would_do": "delete", "org_id": ORG, "asked_by": "ada"}
    jobs.queue.send(json.dumps({"detail-type": "lifecycle.approval.asked", "detail": event}))
    jobs.work()
    assert [to for to, _ in jobs.heard.answers] == ["slack:@operations", "teams:@factory"]


def test_only_a_tool_that_proves_who_presses_gets_the_buttons_of_an_approval(jobs: Jobs) -> None:
    event = {"approval": "ab" * 32, "would_do": "delete", "org_id": ORG, "asked_by": "ada"}
    jobs.queue.send(json.dumps({"detail-type": "lifecycle.approval.asked", "detail": event}))
    jobs.work()
    kinds = [[button.kind for part in answer.sections for button in part.buttons] for _, answer in jobs.heard.answers]
    assert kinds == [[ButtonKind.APPROVE, ButtonKind.REJECT], []]


@pytest.mark.parametrize("event", ["lifecycle.command.done", "lifecycle.digest", "something.else"])
def test_an_event_that_no_channel_wants_is_told_to_nobody(jobs: Jobs, event: str) -> None:
    jobs.queue.send(json.dumps({"detail-type": event, "detail": {}}))
    jobs.work()
    assert (jobs.heard.answers, jobs.queue.depth()) == ([], 0)


def test_a_message_to_a_channel_goes_to_the_address_in_its_secret(jobs: Jobs) -> None:
    QueueReplies(jobs.queue).reply("slack:@operations", Answer(text="Hello."))
    jobs.work()
    assert jobs.desk.posted == [(HOOK, Answer(text="Hello."))]


def test_a_warning_that_was_posted_is_recorded_and_not_posted_twice(jobs: Jobs) -> None:
    newest(jobs, "ab" * 32)
    warn(jobs)
    warn(jobs)
    jobs.work()
    assert [address for address, _ in jobs.desk.posted] == [HOOK]
    told = SentWarnings(jobs.rows).deliveries(ORG, "night-1").told
    assert told.keys() == {"operations/owner/4711"}


def test_a_warning_of_an_older_plan_is_not_posted(jobs: Jobs) -> None:
    newest(jobs, "cd" * 32)
    warn(jobs)
    jobs.work()
    assert (jobs.desk.posted, jobs.queue.depth()) == ([], 0)


def test_a_warning_that_the_tool_does_not_take_is_not_recorded_and_comes_back(jobs: Jobs, clock: Clock) -> None:
    newest(jobs, "ab" * 32)
    jobs.desk.does = [False]
    warn(jobs)
    jobs.work()
    assert SentWarnings(jobs.rows).deliveries(ORG, "night-1").told == {}
    clock.advance(timedelta(minutes=20))
    jobs.work()
    assert len(jobs.desk.posted) == 1


def test_a_warning_whose_channel_is_gone_is_counted_and_given_up(jobs: Jobs) -> None:
    newest(jobs, "ab" * 32)
    jobs.desk.does = [Rejected(Code.REFUSED, "The channel is gone.")]
    warn(jobs)
    jobs.work()
    assert (jobs.metrics.counts[Metric.NOTICE_FAILED], jobs.queue.depth()) == (1, 0)
    assert SentWarnings(jobs.rows).deliveries(ORG, "night-1").told == {}


def test_a_notice_whose_channel_is_gone_is_counted_as_a_notice_and_not_as_an_answer(jobs: Jobs) -> None:
    jobs.desk.does = [Rejected(Code.REFUSED, "The channel is gone.")]
    QueueReplies(jobs.queue).reply("slack:@operations", Answer(text="Hello."))
    jobs.work()
    assert (jobs.metrics.counts[Metric.NOTICE_FAILED], jobs.metrics.counts[Metric.REPLY_FAILED]) == (1, 0)


@pytest.mark.parametrize("address", ["@operations", "@"])
def test_nobody_who_writes_can_have_answers_posted_to_a_channel_of_notices(address: str) -> None:
    assert ChatRequest(identities=("T/U",), address=address).usable_address is None
