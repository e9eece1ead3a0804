"""The real intake with memory adapters: what the stack would make of a delivery. It sends and stores nothing."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.aws.dynamodb import MemoryTable
from lifecycle.aws.eventbridge import MemoryBus
from lifecycle.aws.metrics import MemoryMetrics
from lifecycle.aws.scheduler import MemorySchedules
from lifecycle.aws.secrets import MemorySecrets
from lifecycle.aws.sqs import MemoryQueue
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Code, Poison, Rejected
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.execution.outcomes import Outcomes
from lifecycle.intake.service import Intake
from lifecycle.intake.sources import Source, Sources

_PREFIX = "rehearsal"


class InMemoryIntake:
    """One source and its secrets, in a stack that may act in the organizations named."""

    def __init__(
        self, name: str, source: Source, org_ids: frozenset[str], *, secrets: Sequence[str] = (), now: datetime
    ) -> None:
        self._name = name
        self._dead_letters = MemoryQueue(lambda: now)
        ledger = Ledger(MemoryTable(), LedgerTerms(timedelta(0), timedelta(0), 1), lambda: now)
        metrics = MemoryMetrics()
        self._intake = Intake(
            sources=Sources(sources={name: source}),
            org_ids=org_ids,
            prefix=_PREFIX,
            secrets=MemorySecrets({f"{_PREFIX}/sources/{name}": json.dumps({"secrets": list(secrets)})}),
            id_key=lambda: b"of no stack",
            ledger=ledger,
            ordinary=MemoryQueue(lambda: now),
            permanent=MemoryQueue(lambda: now),
            schedules=MemorySchedules(),
            outcomes=Outcomes(
                ledger=ledger, dead_letters=self._dead_letters, bus=MemoryBus(), metrics=metrics, clock=lambda: now
            ),
            metrics=metrics,
            clock=lambda: now,
        )

    def why_refused(self, request: HttpRequest) -> str:
        """Why the signature is refused; empty if it is not, whatever else is wrong."""
        try:
            self._intake.accept(request)
        except Rejected as error:
            return error.reason if error.code is Code.SIGNATURE_REFUSED else ""
        return ""

    def accept(self, request: HttpRequest) -> list[Command]:
        """As the stack's intake: the commands, none if the delivery is ignored; raises `Rejected`."""
        return self._intake.accept(request)

    def accept_event(self, text: str) -> list[Command]:
        """As the stack's intake; raises `Poison` where the stack would make a dead letter."""
        found = self._intake.accept_event(text)
        for message in self._dead_letters.receive():
            reason = message.attributes["reason"].removeprefix(f"Source '{self._name}': ")
            raise Poison(Code(message.attributes["code"]), reason)
        return found
