"""Reads dead letters, sends them again and drops them. Prints nothing.

A queue can only be read by receiving. Reading hides each letter for a minute and then makes it visible again. Each
action works on a copy that was received just before, under its fresh receipt.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from pydantic import BaseModel, Field, ValidationError

from cli.clients.stack import Pair, Stack
from cli.ui.errors import CliError, Exit
from lifecycle.aws.sqs import Message, Queue
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Retryable
from lifecycle.domain.failures import SET_ASIDE_BY_AWS
from lifecycle.domain.intent import DEAD, OPEN, IntentRow
from lifecycle.domain.intent_ids import INTENT_PATTERN
from lifecycle.intake.kept import KeptDelivery
from lifecycle.sweep.jobs import SweepJob

HIDDEN_SECONDS = 60
_MOST_SECONDS = 45.0
"""Reading ends before the first letter that it has hidden appears again."""
_LEAST_PREFIX = 8
_MOST_LOOKED_AT = 1000
_BEGINNING = re.compile(rf"int_[0-9a-f]{{{_LEAST_PREFIX},47}}")
REPLAY = "Correct the rule, test it with `lifecycle source try`, deploy, and run `lifecycle source replay`."
UNTRANSLATABLE = f"It is a delivery that sources.toml could not translate, not a command. {REPLAY}"

type Clock = Callable[[], datetime]


class EventBridgeEvent(BaseModel):
    """The fields of an EventBridge event that are shown."""

    source: str
    detail_type: str = Field(alias="detail-type")


type Content = Command | KeptDelivery | EventBridgeEvent | SweepJob | None
"""What a body is; `None` if it is unknown."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. Without an `intent_id` it is not a command, and only its message id names it."""

    queue: str
    message: Message
    intent_id: str
    content: Content

    @property
    def name(self) -> str:
        """The id that commands accept for it."""
        return self.intent_id or self.message.id

    @property
    def key(self) -> tuple[str, str]:
        """Identifies it: two letters may be about one intent, and message ids are unique in a queue only."""
        return self.queue, self.message.id

    @property
    def what(self) -> str:
        """The requested action, as far as the body can be read."""
        match self.content:
            case Command(find=None) as command:
                return f"{command.action} {command.resource.label} {command.id}"
            case Command() as command:
                return f"{command.action} a {command.resource.label} by its tag or name"
            case KeptDelivery(source=source):
                return f"a delivery of source '{source}'"
            case EventBridgeEvent() as event:
                return f"event {event.detail_type} of {event.source}"
            case SweepJob(sweep_id=sweep_id, org_id=org_id):
                return f"sweep {sweep_id} of {org_id or 'every organization'}"
            case None:
                return "not a command"

    @property
    def is_sound(self) -> bool:
        """Whether sending it again can work. Poison never works."""
        return bool(self.intent_id) or isinstance(self.content, EventBridgeEvent | SweepJob)

    @property
    def is_payload(self) -> bool:
        """Whether it is a delivery that became no command: `lifecycle source replay` sends it again."""
        return isinstance(self.content, KeptDelivery)

    @property
    def code(self) -> str:
        """Why it is here."""
        return self.message.attributes.get("code", SET_ASIDE_BY_AWS)

    @property
    def reason(self) -> str:
        """Why it is here, in a sentence."""
        set_aside = "SQS moved it without a reason: at each attempt the function crashed, timed out or was not reached."
        return self.message.attributes.get("reason", set_aside)

    @property
    def attempts(self) -> str:
        """How many attempts failed."""
        return self.message.attributes.get("attempts", "–")

    @property
    def failed_at(self) -> datetime:
        """When it came here."""
        with suppress(ValueError):
            found = datetime.fromisoformat(self.message.attributes.get("failed_at", ""))
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        return self.message.sent_at


@dataclass(slots=True)
class Scan:
    """The letters that were read. ``missed`` says in sentences which were not."""

    letters: list[DeadLetter] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def look(pairs: Sequence[Pair], *, most: int, clock: Clock) -> Scan:
    """Read up to ``most`` letters of each queue, and leave them there.

    All queues are read at the same time: each receive of an empty queue takes a second.
    """
    seen = Scan()
    with ThreadPoolExecutor(max_workers=max(1, len(pairs))) as pool:
        for letters, missed in pool.map(partial(_look_at, most=most, clock=clock), pairs):
            seen.letters += letters
            seen.missed += missed
    return seen


def _look_at(pair: Pair, *, most: int, clock: Clock) -> tuple[list[DeadLetter], list[str]]:
    reading = _Reading(pair.dead, most, clock)
    try:
        letters = [_letter(pair.name, message) for message in reading]
        missed = reading.missed()
    finally:
        reading.let_go()
    return letters, [f"{pair.name}: {missed}"] if missed else []


def choose(letters: Sequence[DeadLetter], ids: Sequence[str]) -> list[DeadLetter]:
    """The letters with these intent ids or message ids, each whole or at least its first eight characters.

    Raises:
        CliError: An id matches none, or several.
    """
    chosen: dict[tuple[str, str], DeadLetter] = {}
    for wanted in ids:
        prefix = wanted.strip()
        fitting = [one for one in letters if prefix in {one.intent_id, one.message.id}] or [
            one
            for one in letters
            if len(prefix.removeprefix("int_")) >= _LEAST_PREFIX
            and (one.intent_id.startswith(prefix) or one.message.id.startswith(prefix))
        ]
        if not fitting:
            short = len(prefix.removeprefix("int_")) < _LEAST_PREFIX
            least = f" A beginning needs {_LEAST_PREFIX} characters, `int_` not counted." if short else ""
            raise CliError(f"No dead letter matches {prefix[:70]}.{least} See `lifecycle dead-letters list`.")
        if len({one.name for one in fitting}) > 1:
            raise CliError(f"{prefix} matches several dead letters. Give more of the id.", Exit.USAGE)
        chosen.update((one.key, one) for one in fitting)
    return list(chosen.values())


def whole_intent(stack: Stack, name: str, clock: Clock) -> str:
    """A whole intent id, unchanged; the beginning of one, completed from the dead letters.

    Raises:
        CliError: No dead letter begins with it, or more than one does.
    """
    given = name.strip().lower()
    if re.fullmatch(INTENT_PATTERN, given) or not _BEGINNING.fullmatch(given):
        return name.strip()
    seen = look(stack.pairs(), most=_MOST_LOOKED_AT, clock=clock)
    found = {one.intent_id for one in seen.letters if one.intent_id.startswith(given)}
    if len(found) == 1:
        return found.pop()
    if found:
        raise CliError(f"{len(found)} dead letters begin with {given}. Give more of the id.", Exit.USAGE)
    unseen = f" Not all of them were read. {' '.join(seen.missed)}" if seen.missed else ""
    raise CliError(
        f"No dead letter begins with {given}. For any other command give the whole id: int_ and 48 characters.{unseen}",
        Exit.USAGE,
    )


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result for one letter."""

    letter: DeadLetter
    done: bool
    remark: str = ""


def send_again(
    pairs: Sequence[Pair], chosen: Sequence[DeadLetter], *, most: int, clock: Clock
) -> Iterator[ActionResult]:
    """Send each chosen letter to the queue it came from, then delete it.

    A crash in between leaves both copies, and the ledger lets only one of them act. What cannot be sent again stays.
    """
    for letter in chosen:
        if letter.is_payload:
            yield ActionResult(letter, done=False, remark=UNTRANSLATABLE)

    def send(pair: Pair, message: Message) -> None:
        pair.origin.send(message.body, {"redrive": str(message.redrive + 1)})

    yield from _each(pairs, [one for one in chosen if not one.is_payload], send, most=most, clock=clock)


def drop(pairs: Sequence[Pair], chosen: Sequence[DeadLetter], *, most: int, clock: Clock) -> Iterator[ActionResult]:
    """Delete each chosen letter for good."""
    return _each(pairs, chosen, lambda _, __: None, most=most, clock=clock)


def is_answered(letter: DeadLetter, before: IntentRow | None, now: IntentRow | None) -> bool:
    """Whether a command that was sent again has ended.

    Its old outcome stays in the ledger until a worker claims it. Only a row that was written since counts.
    """
    if now is None or now.status in OPEN:
        return False
    redriven = now.redrive > letter.message.redrive
    return now.status not in DEAD or redriven or before is None or now.concluded_at != before.concluded_at


def _each(
    pairs: Sequence[Pair],
    chosen: Sequence[DeadLetter],
    do: Callable[[Pair, Message], None],
    *,
    most: int,
    clock: Clock,
) -> Iterator[ActionResult]:
    for pair in pairs:
        wanted = {letter.message.id: letter for letter in chosen if letter.queue == pair.name}
        if not wanted:
            continue
        reading = _Reading(pair.dead, most, clock)
        try:
            for message in reading:
                letter = wanted.pop(message.id, None)
                if letter is not None:
                    yield _one(pair, letter, message, do, reading)
                if not wanted:
                    break
        finally:
            reading.let_go()
        for letter in wanted.values():
            yield ActionResult(
                letter, done=False, remark="It no longer exists, or somebody else is reading it. Try again in a minute."
            )


def _one(
    pair: Pair, letter: DeadLetter, message: Message, do: Callable[[Pair, Message], None], reading: "_Reading"
) -> ActionResult:
    try:
        do(pair, message)
    except Retryable as error:
        return ActionResult(letter, done=False, remark=error.reason)
    reading.forget(message)
    try:
        pair.dead.delete(message)
    except Retryable as error:
        return ActionResult(
            letter, done=False, remark=f"The dead letter is still there: {error.reason} It is safe to try again."
        )
    return ActionResult(letter, done=True)


class _Reading:
    """Receives until a queue is empty, or enough was read, or time is up; then lets go of what it still holds."""

    def __init__(self, queue: Queue, most: int, clock: Clock) -> None:
        self._queue = queue
        self._most = most
        self._clock = clock
        self._held: dict[str, Message] = {}
        self._seen: set[str] = set()
        self._emptied = False

    def __iter__(self) -> Iterator[Message]:
        started = self._clock()
        while len(self._seen) < self._most and (self._clock() - started).total_seconds() < _MOST_SECONDS:
            page = self._queue.receive(min(10, self._most - len(self._seen)), hidden_for=HIDDEN_SECONDS)
            self._held.update((message.id, message) for message in page)  # Only the newest receipt works.
            fresh = [message for message in page if message.id not in self._seen]
            self._seen.update(message.id for message in page)
            yield from fresh
            if not fresh:  # Empty; or messages do not stay hidden, and reading on would never end.
                self._emptied = not page
                return

    def forget(self, message: Message) -> None:
        """Do not make it visible again: it was handled."""
        self._held.pop(message.id, None)

    def missed(self) -> str:
        """What was not read, as a sentence. Call it while the letters are still held."""
        beyond = max(0, self._queue.depth() - len(self._seen))
        if not self._emptied and (beyond or len(self._seen) < self._most):
            return f"only the first {len(self._seen)} were read; about {beyond} more are there. Raise --limit."
        if beyond:
            return f"about {beyond} more are hidden, because somebody else reads them. Try again in a minute."
        return ""

    def let_go(self) -> None:
        """Make what is held visible again. If that fails, it becomes visible by itself within a minute."""
        while self._held:
            _, message = self._held.popitem()
            with suppress(Retryable):
                self._queue.hide(message, 0)


def _letter(queue: str, message: Message) -> DeadLetter:
    content = _content(queue, message)
    intent_id = message.attributes.get("intent_id", "")
    if not intent_id and isinstance(content, Command) and "code" not in message.attributes:
        intent_id = content.intent_id  # SQS itself moved it here, after too many crashes.
    return DeadLetter(queue, message, intent_id, content)


def _content(queue: str, message: Message) -> Content:
    """Read a body by what its queue is for."""
    models: dict[str, tuple[type[Command | KeptDelivery | EventBridgeEvent | SweepJob], ...]] = {
        "events": (EventBridgeEvent,),
        "sweeps": (SweepJob,),
    }
    for model in models.get(queue, (Command, KeptDelivery)):
        with suppress(ValidationError):
            return model.model_validate_json(message.body)
    return None
