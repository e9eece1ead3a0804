"""What `lifecycle smoke` does with a real stack and a real organization: see `cli.services.smoke.Deployed`."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cli.clients.api import StatusApi, is_concluded
from cli.clients.delivery import delivery
from cli.clients.event_tap import EventTap
from cli.clients.signed_api import SignedApi
from cli.clients.stack import Stack
from cli.services import dead_letter_queue
from cli.services.config_files import declared_sources, source_named
from cli.services.probe import Workshop, remove
from cli.ui.errors import CliError, Exit
from lifecycle.audit.chain import hour_of
from lifecycle.audit.store import AuditStore

_MOST_LETTERS = 500
_TITLE = "lifecycle smoke"


@dataclass(slots=True)
class DeployedStack:
    """A stack on AWS, one of its organizations, and the tap that receives its events and notices."""

    stack: Stack
    api: StatusApi
    signed: SignedApi
    tap: EventTap
    shop: Workshop
    source: str
    secret: str
    clock: Callable[[], datetime]
    _begun: datetime = field(init=False)

    def __post_init__(self) -> None:
        """Note when it began: records are looked for from this hour on."""
        self._begun = self.clock()

    def healthy(self) -> bool:
        """See `Deployed`."""
        return self.api.healthy()

    def make_task(self) -> str:
        """See `Deployed`."""
        return self.shop.task(f"{_TITLE} {self._begun:%Y-%m-%d %H:%M:%S}", self.shop.member()).id

    def is_archived(self, task_id: str) -> bool:
        """See `Deployed`."""
        listed = self.shop.client.call("GET", "/tasks", {"is_oneoff": "true", "archived": "only", "sort": "-newest"})
        return any(row.get("id") == task_id for row in listed.rows)

    def archive(self, task_id: str, delivery_id: str) -> str:
        """See `Deployed`."""
        asked = {
            "action": "archive",
            "resource": "task",
            "org_id": self.shop.client.org_id,
            "id": task_id,
            "reason": "lifecycle smoke: proves that the stack works",
        }
        packet, _ = delivery(self.source, source_named(declared_sources(), self.source), asked, delivery_id)
        headers = packet.headers(self.secret, self.clock(), uri=self.api.signed_as(self.source))
        answer = self.api.post(self.source, packet.body, headers)
        if not answer.accepted:
            message = f"The webhook answered {answer.status} {answer.code}: {answer.detail}"
            raise CliError(message.strip(), Exit.UNREACHABLE)
        return answer.intent_id

    def ended(self, intent_id: str) -> str | None:
        """See `Deployed`."""
        status = self.api.status(intent_id)
        return status["status"].value if is_concluded(status) else None

    def undo(self, intent_id: str) -> str:
        """See `Deployed`."""
        return self.signed.undo(intent_id)

    def heard(self, text: str) -> bool:
        """See `Deployed`."""
        return self.tap.heard(text)

    def audited(self, intent_id: str) -> bool:
        """See `Deployed`. A record may stand in the hour after the one in which the proof began."""
        store = AuditStore(self.stack.rows())
        hours = {hour_of(self._begun), hour_of(self._begun + timedelta(hours=1))}
        return any(intent_id in line for hour in hours for line in store.lines(hour))

    def send_poison(self) -> str:
        """See `Deployed`."""
        mark = f"lifecycle smoke {secrets.token_hex(8)}"
        self.stack.pairs()[0].origin.send(mark)
        return mark

    def dead_letters(self, mark: str) -> int:
        """See `Deployed`."""
        return len(self._letters(mark))

    def drop(self, mark: str) -> None:
        """See `Deployed`."""
        pairs = self.stack.pairs()[:1]
        for result in dead_letter_queue.drop(pairs, self._letters(mark), most=_MOST_LETTERS, clock=self.clock):
            if not result.done:
                raise CliError(f"The dead letter could not be dropped. {result.remark}")

    def subscribers(self) -> int:
        """See `Deployed`."""
        return self.tap.others()

    def remove(self) -> bool:
        """See `Deployed`."""
        try:
            remove(self.shop.client, self.shop.journal)
        finally:
            self.tap.close()
        return not self.shop.journal.left

    def _letters(self, mark: str) -> list[dead_letter_queue.DeadLetter]:
        seen = dead_letter_queue.look(self.stack.pairs()[:1], most=_MOST_LETTERS, clock=self.clock)
        return [letter for letter in seen.letters if letter.message.body == mark]
