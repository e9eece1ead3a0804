"""For ``functions/chat``."""

import os
from functools import cache

from lifecycle.adapters.queues import SqsQueue
from lifecycle.judgement.people import People
from lifecycle.usecases.chat import Chat
from lifecycle.usecases.lookup import Lookup
from lifecycle.wiring.bootstrap.common import CONFIG, id_key, now, operators_file, reading_ledger, secrets, session
from lifecycle.wiring.observability import signals
from lifecycle.wiring.settings import ChatSettings


@cache
def chat() -> Chat:
    """Build it once for each process."""
    settings = ChatSettings.read(os.environ)
    key = id_key(settings.id_key_secret_arn)
    return Chat(
        people=People.parse(operators_file("people.toml")),
        org_ids=settings.organization_ids,
        prefix=settings.secret_prefix,
        secrets=secrets(),
        id_key=key,
        lookup=Lookup(ledger=reading_ledger(settings.ledger_table), id_key=key),
        commands=SqsQueue(session().client("sqs", config=CONFIG), settings.commands_queue_url),
        signals=signals,
        clock=now,
    )
