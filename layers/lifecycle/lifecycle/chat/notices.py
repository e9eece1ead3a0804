"""Notices and warnings on the chat queue: who gets them, what they show, and what is recorded once they arrived."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lifecycle.chat.channels import AnswerPosts, channel_address
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.commands import Id
from lifecycle.domain.errors import Code, Retryable
from lifecycle.domain.messages import Answer, Button, ButtonKind, Confirm, Section, quoted
from lifecycle.execution.reply_channel import Replies
from lifecycle.notices.file import Notices
from lifecycle.notices.texts import Notice, notice_of
from lifecycle.sweep.warn_job import WarningDeliveries

type Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class NoticeJob(BaseModel):
    """An event of the bus, as EventBridge puts it into the queue."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    job: Literal["notice"] = "notice"
    event: Annotated[str, Field(alias="detail-type")]
    detail: Mapping[str, object]


class WarningJob(BaseModel):
    """A warning before a sweep acts. It is posted once, and only while its plan is the newest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    job: Literal["warning"]
    to: Text
    org_id: Id
    plan: Text
    sweep_id: Text
    recipient: Text
    answer: Answer


@dataclass(frozen=True, slots=True)
class NoticeJobs:
    """Carries these jobs out. ``stack`` names the stack in commands that people copy."""

    notices: Notices
    replies: Replies
    posts: AnswerPosts
    deliveries: WarningDeliveries
    stack: str

    def spread(self, job: NoticeJob) -> None:
        """Put one message for each channel into the queue, so that one that fails repeats no other."""
        notice = notice_of(job.event, job.detail, stack=self.stack)
        if notice is None:
            return
        for channel in self.notices.channels_for(notice.kind):
            tool = self.notices.channels[channel].tool
            answer = _shown(notice, buttons=CHAT_TOOLS[tool].proves_person)
            if not self.replies.reply(channel_address(tool, channel), answer):
                raise Retryable(Code.UNAVAILABLE, "The chat queue did not take a notice.")

    def warn(self, job: WarningJob) -> None:
        """Post a warning and record that it arrived. Raises as ``AnswerPosts.post``."""
        if self.deliveries.is_wanted(job.org_id, job.plan, job.sweep_id, job.recipient):
            self.posts.post(job.to, job.answer)
            self.deliveries.record(job.org_id, job.sweep_id, job.recipient)


def _shown(notice: Notice, *, buttons: bool) -> Answer:
    """The notice as an answer. Only a tool that proves who presses gets the buttons of an approval."""
    sections = [Section(lines=tuple(quoted(line) for line in notice.lines))] if notice.lines else []
    if notice.approval and buttons:
        approve = Button(
            kind=ButtonKind.APPROVE,
            label="Approve",
            value=notice.approval,
            danger=True,
            confirm=Confirm(title="Approve?", text="`approvals` shows exactly what would go.", yes="Approve"),
        )
        reject = Button(kind=ButtonKind.REJECT, label="Reject", value=notice.approval)
        sections.append(Section(buttons=(approve, reject)))
    return Answer(text=notice.text, sections=tuple(sections))
