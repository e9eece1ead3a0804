"""For ``functions/chat``."""

import os
from functools import cache

from lifecycle.bootstrap.common import now, secrets
from lifecycle.bootstrap.observability import metrics
from lifecycle.bootstrap.operating import operating
from lifecycle.bootstrap.settings import ChatSettings
from lifecycle.chat.slack.replies import SlackReplies
from lifecycle.chat.slack.service import Chat
from lifecycle.execution.reply_channel import Replies
from lifecycle.execution.status import StatusService

_REPLY_SECONDS = 1.5
"""Slack waits for three seconds for the answer to a press, and the press itself comes first."""


class _LateReplies:
    """Slack's, built at the first press: lines, which are far more, must not wait for the import of requests."""

    def reply(self, url: str, text: str, *, undo: str | None = None) -> bool:
        """See ``Replies``."""
        return _replies().reply(url, text, undo=undo)


@cache
def chat() -> Chat:
    """Build it once for each process. It shares what people under their AWS identity have."""
    settings = ChatSettings.read(os.environ)
    shared = operating()
    undoing = shared.undoing
    return Chat(
        people=shared.people,
        org_ids=settings.organization_ids,
        prefix=settings.secret_prefix,
        secrets=secrets(),
        id_key=undoing.id_key,
        lookup=StatusService(ledger=undoing.ledger, id_key=undoing.id_key, clock=now),
        commands=undoing.commands,
        approving=shared.approving,
        undoing=undoing,
        replies=_LateReplies(),
        metrics=metrics,
        clock=now,
    )


def slack_secret() -> str:
    """Read at start what the first request needs to be verified; it stays in the cache of ``secrets``."""
    name = f"{chat().prefix}/chat/slack"
    return secrets().get(name)


@cache
def _replies() -> Replies:
    from lifecycle.tallyfy.client import pooled_session  # noqa: PLC0415 - see above

    return SlackReplies(pooled_session(), seconds=_REPLY_SECONDS)
