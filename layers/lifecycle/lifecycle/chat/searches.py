"""The chat queue: looks in Tallyfy for what people ask about, and posts later answers. It does nothing to any thing.

What it finds is shown with buttons; a press comes in like any other request, and is checked like one.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.sqs import Later, Message, Queue
from lifecycle.chat.channels import AnswerPosts, is_channel
from lifecycle.chat.grammar import MOST_NAME, Verb
from lifecycle.chat.notices import NoticeJob, NoticeJobs, WarningJob
from lifecycle.chat.service import choice_value
from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.commands import Id, describe
from lifecycle.domain.errors import Code, LifecycleError, Rejected, Retryable, Throttled
from lifecycle.domain.messages import Answer, Button, ButtonKind, Section, quoted
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution.reply_channel import Replies
from lifecycle.holds.store import HoldStore
from lifecycle.pacing import backoff
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.tallyfy.client import Tallyfy

_MOST_SHOWN = 5
_CALLS = 3
"""Calls to Tallyfy that a search needs at most: two lists, or a look in two places, and one more page."""
_MOST_TRIES = 8
"""Receives after which nobody waits for the answer any more: with the backoff, more than half an hour."""
_UNKNOWN = "Tallyfy did not say"

type To = Annotated[str, StringConstraints(min_length=3, max_length=500)]
type Choice = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class _Job(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    to: To


class SearchJob(_Job):
    """Find processes by name, to do ``verb`` to one of them."""

    job: Literal["search"]
    org_id: Id
    verb: Verb
    name: Annotated[str, StringConstraints(min_length=1, max_length=MOST_NAME)]
    choice: Choice


class LookJob(_Job):
    """Say how one thing stands."""

    job: Literal["look"]
    org_id: Id
    resource: Resource
    id: Id
    choice: Choice


class ReplyJob(_Job):
    """Post an answer."""

    job: Literal["reply"]
    answer: Answer


type OwnJob = SearchJob | LookJob | ReplyJob | WarningJob
type ChatJob = OwnJob | NoticeJob
_OWN_JOBS: TypeAdapter[OwnJob] = TypeAdapter(Annotated[OwnJob, Field(discriminator="job")])


def _job_in(body: str) -> ChatJob:
    """The job in a message: one of this stack, or an event of the bus. Raises ``ValidationError``."""
    try:
        return NoticeJob.model_validate_json(body)
    except ValidationError:
        return _OWN_JOBS.validate_json(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatJobs:
    """Works on the chat queue. ``roll`` is a random number in [0, 1)."""

    posts: AnswerPosts
    notices: NoticeJobs
    tallyfy: Tallyfy
    pacing: Pacing
    holds: HoldStore
    replies: Replies
    queue: Queue
    dead_letters: Queue
    metrics: Metrics
    clock: Callable[[], datetime]
    roll: Callable[[], float]

    def handle(self, message: Message) -> None:
        """Carry out one job. Raises ``Later`` if it has to come back; it is hidden until then."""
        try:
            job = _job_in(message.body)
        except ValidationError as error:
            reason = f"The message is no job of the chat queue: {describe(error)}"
            self.dead_letters.send(message.body, {"code": Code.POISON.value, "reason": reason})
            self.metrics.emit(Metric.POISON, {"code": Code.POISON, "reason": reason})
            return
        try:
            self._carry_out(job)
        except Retryable as error:
            self._come_back(message, job, error)
        except Rejected as error:
            self._failed(job, error)

    def _carry_out(self, job: ChatJob) -> None:
        match job:
            case ReplyJob():
                self.posts.post(job.to, job.answer)
            case NoticeJob():
                self.notices.spread(job)
            case WarningJob():
                self.notices.warn(job)
            case SearchJob():
                self._tell(job, self._found(job))
            case LookJob():
                self._tell(job, self._seen(job))

    def _tell(self, job: SearchJob | LookJob, answer: Answer) -> None:
        if not self.replies.reply(job.to, answer):
            raise Retryable(Code.UNAVAILABLE, "The chat queue did not take the answer.")

    def _come_back(self, message: Message, job: ChatJob, error: Retryable) -> None:
        if message.receives >= _MOST_TRIES:
            self._failed(job, error)
            return
        hidden_for = backoff.retry_delay(error.retry_after, message.receives, base=2.0, roll=self.roll())
        self.metrics.emit(Metric.RETRIED, {"code": error.code, "reason": error.reason, "hidden_for": hidden_for})
        with suppress(Retryable):
            self.queue.hide(message, hidden_for)
        raise Later(error.reason) from error

    def _failed(self, job: ChatJob, error: LifecycleError) -> None:
        """Nobody else can be told: an answer that is lost changes nothing, and ``status`` still answers."""
        is_notice = isinstance(job, NoticeJob) or is_channel(job.to)
        lost = Metric.NOTICE_FAILED if is_notice else Metric.REPLY_FAILED
        self.metrics.emit(lost, {"code": error.code, "reason": error.reason, "job": job.job})
        if isinstance(job, SearchJob | LookJob):
            self.replies.reply(job.to, Answer(text=f"That did not work: {quoted(error.reason)} Nothing was done."))

    # --- Tallyfy ---

    def _found(self, job: SearchJob) -> Answer:
        archived = job.verb in {Verb.RESTORE, Verb.DELETE}
        places = (False, True) if job.verb is Verb.STATUS else (archived,)
        self._take_slots(job.org_id)
        things: list[ResourceSnapshot] = []
        total = 0
        for place in places:
            query = {"q": job.name} | ({"archived": "only"} if place else {})
            page = self._calling(job.org_id, lambda query=query: self.tallyfy.page(job.org_id, Resource.RUN, 1, query))  # type: ignore[misc]
            wanted = State.ARCHIVED if place else State.ACTIVE
            fitting = [thing for thing in page.things if thing.state is wanted and _fits(thing, job.name)]
            things += fitting
            total += len(fitting) if page.pages <= 1 else max(page.total or 0, len(fitting))
        if not things:
            state = "" if job.verb is Verb.STATUS else "archived " if archived else "active "
            return Answer(text=f"No {state}process is named “{quoted(job.name)}”. Copy its link from Tallyfy instead.")
        things.sort(key=lambda thing: ((thing.name or "").casefold() != job.name.casefold(), thing.id))
        sections = tuple(_section(thing, job) for thing in things[:_MOST_SHOWN])
        more = f" The first {len(sections)} are shown; a longer name finds fewer." if total > len(sections) else ""
        count = "1 process has" if total == 1 else f"{total} processes have"
        which = "" if job.verb is Verb.STATUS else f" Which one is meant by `{job.verb}`? Nothing was done yet."
        return Answer(text=f"{count} “{quoted(job.name)}” in the name.{which}{more}", sections=sections)

    def _seen(self, job: LookJob) -> Answer:
        self._take_slots(job.org_id)
        thing = self._calling(job.org_id, lambda: self.tallyfy.look(job.org_id, job.resource, job.id))
        if thing is None:
            return Answer(text=f"Tallyfy shows no {job.resource.label} `{job.id}`, neither active nor archived.")
        held = self.holds.reason_for(job.org_id, thing, tags=frozenset())
        lines = (*_facts(thing), f"Hold: {held}" if held else "Hold: none that this stack knows")
        section = Section(lines=tuple(quoted(line) for line in lines))
        return Answer(text=f"{job.resource.label.capitalize()} `{job.id}` is {thing.state}.", sections=(section,))

    def _take_slots(self, org_id: str) -> None:
        given = self.pacing.reserve(org_id, _CALLS)
        if given.calls < _CALLS:
            self.pacing.refund(org_id, given.calls)
            raise Throttled(Code.RATE_LIMITED, "The pace towards Tallyfy is used up for now.", retry_after=given.wait)

    def _calling[T](self, org_id: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except Throttled as error:
            if error.code is Code.THROTTLED and error.retry_after is not None:
                self.pacing.block(org_id, error.retry_after)
            raise


def _fits(thing: ResourceSnapshot, name: str) -> bool:
    """Tallyfy's search may be wider than its name says: every row is compared again."""
    return name.casefold() in (thing.name or "").casefold()


def _section(thing: ResourceSnapshot, job: SearchJob) -> Section:
    lines = tuple(quoted(line) for line in _facts(thing))
    if job.verb is Verb.STATUS:
        return Section(lines=lines)
    button = Button(
        kind=ButtonKind(job.verb.value),
        label="Ask for approval" if job.verb is Verb.DELETE else job.verb.capitalize(),
        value=choice_value(thing.resource, thing.id, job.choice),
        typed=f"{job.verb} process {thing.id}",
    )
    return Section(lines=lines, buttons=(button,))


def _facts(thing: ResourceSnapshot) -> tuple[str, ...]:
    at = thing.archived_at or thing.completed_at or thing.last_updated or thing.created_at
    what = next(
        (
            word
            for word, value in (
                ("archived", thing.archived_at),
                ("completed", thing.completed_at),
                ("last changed", thing.last_updated),
                ("created", thing.created_at),
            )
            if value is not None
        ),
        "date",
    )
    owners = ", ".join(sorted(thing.owners)) if thing.owners else _UNKNOWN if thing.owners is None else "nobody"
    return (
        f"Name: {thing.name or _UNKNOWN}",
        f"Id: {thing.id}",
        f"Template: {thing.template_id or _UNKNOWN}",
        f"Owner: {owners}",
        f"{what.capitalize()}: {f'{at:%Y-%m-%d}' if at else _UNKNOWN}; status {thing.status or _UNKNOWN}",
    )
