"""The nightly sweep: list an organization, decide on each thing, then enqueue what is due, or only report it.

First everything is listed, then the first command is sent: acting while paging would shift the pages. Each page's
result is a checkpoint, so that a sweep that is cut off goes on where it stood; intents are named after the sweep and
the thing, so that nothing is asked for twice whatever is repeated.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from lifecycle.adapters.bus import Bus
from lifecycle.adapters.ledger import Ledger
from lifecycle.adapters.pacing import Pacing
from lifecycle.adapters.queues import Later, Message, Queue
from lifecycle.adapters.rows import Change, Contention, Key, Row, Rows
from lifecycle.adapters.signals import Signal, Signals
from lifecycle.adapters.tallyfy import Listing, Tallyfy
from lifecycle.judgement import waiting
from lifecycle.judgement.decide import Mode, Policy, decide
from lifecycle.usecases.budget import CALLS
from lifecycle.usecases.outcomes import Outcomes
from lifecycle.words.capabilities import Action, Resource
from lifecycle.words.commands import SWEEP, Command, Expect, describe
from lifecycle.words.errors import Code, Poison, Rejected, Retryable, Throttled, TokenRefused
from lifecycle.words.intents import intent_id
from lifecycle.words.things import Thing

_NEEDED_SECONDS = 30.0
"""With less time left no further page is read; the message comes back and the sweep goes on."""
_SHORT_WAIT = 10.0
"""Up to so many seconds the sweep waits for its pace itself; there is one of it, and a page needs one call."""
_RETRY_BASE = 30.0
_KEEP = timedelta(days=30)
_DUE_FOR = timedelta(days=2)
"""How long a command of a sweep may wait. After that another night decides anew."""


class Errand(BaseModel):
    """The message that starts or continues a sweep. Without ``org_id``: one sweep for each organization."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1] = 1
    sweep_id: str
    """Names this sweep for good; the schedule gives its own time."""
    org_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a sweep stands. ``kinds`` counts decisions by their kind, as JSON."""

    listed: int = 0
    pages: int = 1
    sent: int = 0
    seen: int = 0
    due: int = 0
    kinds: str = "{}"
    terms: str = ""
    """The mode and the policy it was begun under."""
    done: bool = False

    @property
    def is_listed(self) -> bool:
        """Whether the last page has been read."""
        return self.listed >= self.pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Everything a sweep needs. ``sleep`` takes seconds."""

    rows: Rows
    ledger: Ledger
    tallyfy: Tallyfy
    pacing: Pacing
    queue: Queue
    bulk: Queue
    bus: Bus
    outcomes: Outcomes
    signals: Signals
    policy: Policy
    mode: Mode
    org_ids: frozenset[str]
    id_key: Callable[[], bytes]
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    time_left: Callable[[], float]
    after_page: Callable[[], None] = field(default=lambda: None)
    """Called after each page was recorded; tests end the process there."""

    def handle(self, message: Message) -> None:
        """Carry one message on. Raises ``Later`` when it has to come back; it is hidden until then."""
        try:
            errand = Errand.model_validate_json(message.body)
        except ValidationError as error:
            self.outcomes.bury(message, Poison(Code.POISON, f"The message starts no sweep: {describe(error)}"))
            return
        if message.receives >= waiting.MOST_RECEIVES:
            self.outcomes.bury(message, Poison(Code.WAITED_TOO_LONG, "The sweep could not be carried on for too long."))
            return
        try:
            if errand.org_id is None:
                self._start(errand)
            elif errand.org_id in self.org_ids:
                self._go_on(errand.sweep_id, errand.org_id)
        except Rejected as error:
            self.outcomes.bury(message, Poison(error.code, f"The sweep stopped: {error.reason}"))
        except Contention:
            self._hide(message, Throttled(Code.BUSY, "Another invocation carries this sweep on.", retry_after=60))
        except Retryable as trouble:
            self._hide(message, trouble)

    def _hide(self, message: Message, trouble: Retryable) -> NoReturn:
        refused = isinstance(trouble, TokenRefused)
        if refused or trouble.code is Code.PAUSED:
            wait = waiting.patience(message.receives)
        elif trouble.code is Code.OUT_OF_TIME:
            wait = waiting.clamp(1)  # It was at work for the whole time.
        else:
            wait = waiting.anew(trouble.retry_after, message.receives, base=_RETRY_BASE, roll=1.0)
        waits = Signal.RETRIED if trouble.counted else Signal.THROTTLED
        self.signals.note(Signal.TOKEN_REFUSED if refused else waits, {"code": trouble.code, "reason": trouble.reason})
        self.queue.hide(message, wait)
        raise Later(trouble.reason) from trouble

    def _start(self, errand: Errand) -> None:
        for org_id in sorted(self.org_ids):
            self.queue.send(errand.model_copy(update={"org_id": org_id}).model_dump_json())

    def _go_on(self, sweep_id: str, org_id: str) -> None:
        progress, version = self._progress(sweep_id, org_id)
        if progress.done:
            return
        if progress.terms != self._terms:
            raise Rejected(
                Code.CHANGED,
                "The mode or the policy was changed meanwhile. The next sweep follows the new one.",
            )
        holds = {} if progress.is_listed else self.ledger.holds(org_id)
        while not progress.is_listed:
            progress, version = self._list(sweep_id, org_id, progress, version, holds)
            self.after_page()
        while self.mode is Mode.APPLY and progress.sent < progress.pages:
            progress, version = self._send(sweep_id, org_id, progress, version)
            self.after_page()
        self._report(sweep_id, org_id, progress)
        self._save(sweep_id, org_id, replace(progress, done=True), version)

    def _list(
        self, sweep_id: str, org_id: str, progress: Progress, version: int, holds: dict[str, str]
    ) -> tuple[Progress, int]:
        self._wait_for_turn(org_id)
        number = progress.listed + 1
        listing = self._page(org_id, number)
        kinds, due = Counter(json.loads(progress.kinds)), []
        now = self.clock()
        for thing in listing.things:
            decision = decide(thing, self.policy, holds, now)
            kinds[decision.kind] += 1
            if decision.action is not None:
                due.append(self._command(sweep_id, org_id, thing, decision.action, decision.reason))
        after = replace(
            progress,
            listed=number,
            pages=max(listing.pages, number),
            seen=progress.seen + len(listing.things),
            due=progress.due + len(due),
            kinds=json.dumps(kinds),
        )
        key = _page_key(sweep_id, org_id, number)
        [known] = self.rows.read(key)
        texts = [command.to_json() for command in due]
        page = Change(key, {"due": texts}, known.version if known else 0, self._expiry)
        return after, self._save(sweep_id, org_id, after, version, page)

    def _page(self, org_id: str, number: int) -> Listing:
        """One page of every process. A 429 is everybody's: the shared pace is moved before the error goes on."""
        try:
            # Without a filter: Tallyfy knows none for dates on processes, and what is kept is to be counted too.
            return self.tallyfy.page(org_id, Resource.RUN, number, {"sort": "created_at"})
        except Throttled as wait:
            if wait.code is Code.THROTTLED and wait.retry_after is not None:
                self.pacing.block(org_id, wait.retry_after)
            raise

    def _send(self, sweep_id: str, org_id: str, progress: Progress, version: int) -> tuple[Progress, int]:
        if self.time_left() < _NEEDED_SECONDS:
            raise Throttled(Code.OUT_OF_TIME, "The function's time is nearly up.", retry_after=1)
        number = progress.sent + 1
        [row] = self.rows.read(_page_key(sweep_id, org_id, number))
        self.bulk.send_all(_texts(row))
        after = replace(progress, sent=number)
        return after, self._save(sweep_id, org_id, after, version)

    def _command(self, sweep_id: str, org_id: str, thing: Thing, action: Action, reason: str) -> Command:
        now = self.clock()
        return Command(
            action=action,
            resource=thing.resource,
            org_id=org_id,
            id=thing.id,
            requested_by="schedule",
            source=SWEEP,
            reason=reason,
            issued_at=now,
            not_after=now + _DUE_FOR,
            intent_id=intent_id(self.id_key(), SWEEP, f"{sweep_id}/{org_id}/{thing.resource}/{thing.id}"),
            expect=Expect(status=thing.status, completed_at=thing.completed_at),
        )

    def _wait_for_turn(self, org_id: str) -> None:
        if self.time_left() < _NEEDED_SECONDS:
            raise Throttled(Code.OUT_OF_TIME, "The function's time is nearly up.", retry_after=1)
        given = self.pacing.reserve(org_id, 1)
        if given.paused_by:
            self.pacing.give_back(org_id, given.calls)
            raise Throttled(Code.PAUSED, f"Paused by {given.paused_by}.")
        if not given.calls and given.wait > _SHORT_WAIT:
            raise Throttled(Code.THROTTLED, "The pace towards Tallyfy is used up for now.", retry_after=given.wait)
        if not given.calls:
            self.sleep(given.wait)
            self.pacing.overdraw(org_id)

    def _report(self, sweep_id: str, org_id: str, progress: Progress) -> None:
        per_minute = self.pacing.rate.per_minute
        minutes = -(-progress.due * CALLS // per_minute)
        self.bus.announce(
            "lifecycle.sweep.finished",
            {
                "schema_version": "1",
                "sweep_id": sweep_id,
                "org_id": org_id,
                "mode": self.mode.value,
                "seen": str(progress.seen),
                "due": str(progress.due),
                "kept": str(progress.seen - progress.due),
                "by_reason": progress.kinds,
                "estimated_minutes": str(minutes),
            },
        )
        facts = {"sweep_id": sweep_id, "org_id": org_id, "mode": self.mode.value, "by_reason": progress.kinds}
        counts = {"seen": progress.seen, "due": progress.due, "estimated_minutes": minutes}
        self.signals.note(Signal.SWEEP_FINISHED, {**facts, **counts})

    def _progress(self, sweep_id: str, org_id: str) -> tuple[Progress, int]:
        [row] = self.rows.read(_state_key(sweep_id, org_id))
        if row is None:
            return Progress(terms=self._terms), 0
        known = Progress.__dataclass_fields__
        return Progress(**{n: v for n, v in row.values.items() if n in known}), row.version  # type: ignore[arg-type]

    def _save(self, sweep_id: str, org_id: str, progress: Progress, version: int, *more: Change) -> int:
        self.rows.write(Change(_state_key(sweep_id, org_id), asdict(progress), version, self._expiry), *more)
        return version + 1

    @property
    def _terms(self) -> str:
        return f"{self.mode} {self.policy}"

    @property
    def _expiry(self) -> int:
        return int((self.clock() + _KEEP).timestamp())


def _state_key(sweep_id: str, org_id: str) -> Key:
    return Key(f"sweep#{org_id}#{sweep_id}", "state")


def _page_key(sweep_id: str, org_id: str, number: int) -> Key:
    return Key(f"sweep#{org_id}#{sweep_id}", f"page#{number:06d}")


def _texts(row: Row | None) -> list[str]:
    due = row.values.get("due") if row else None
    return [str(text) for text in due] if isinstance(due, list) else []
