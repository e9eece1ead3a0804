"""Dead letters: seen, sent again, dropped. Nothing here talks to the screen.

A queue can only be read by receiving. So a look hides each letter for a minute and then makes it visible again; and
whatever is done is done to a copy received just before, under a receipt that is fresh.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.clients.stack import Pair, Stack
from cli.ui.errors import CliError, Exit
from lifecycle.aws.sqs import Message, Queue
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import Retryable
from lifecycle.domain.failures import SET_ASIDE_BY_AWS
from lifecycle.domain.intent import DEAD, OPEN, IntentRow
from lifecycle.domain.intent_ids import INTENT_PATTERN
from lifecycle.sweep.jobs import SweepJob

HIDDEN_SECONDS = 60
_MOST_SECONDS = 45.0
"""A look ends before the first letter it has hidden appears again."""
_LEAST_PREFIX = 8
_MOST_LOOKED_AT = 1000
_BEGINNING = re.compile(rf"int_[0-9a-f]{{{_LEAST_PREFIX},47}}")
UNTRANSLATABLE = (
    "It is a payload that sources.toml could not translate, not a command, so it cannot be sent again. Mend the rule, "
    "try it with `lifecycle source try`, deploy, and ask the sender to deliver again; then drop it."
)

type Clock = Callable[[], datetime]


class Payload(BaseModel):
    """What a source sent in vain: the body of such a dead letter.

    ``cut``: only the beginning fitted into a message, of a payload of so many ``characters``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    payload: str
    cut: bool = False
    characters: int = 0


class Event(BaseModel):
    """An event of EventBridge, as far as it is shown."""

    source: str
    detail_type: str = Field(alias="detail-type")


type Content = Command | Payload | Event | SweepJob | None
"""What a body is; `None` if it is nothing known."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. Without an `intent_id` it is no command, so only its message id names it."""

    queue: str
    message: Message
    intent_id: str
    content: Content

    @property
    def name(self) -> str:
        """The id to call it by."""
        return self.intent_id or self.message.id

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others: two letters may be about one intent, and two queues may count alike."""
        return self.queue, self.message.id

    @property
    def what(self) -> str:
        """What was asked for, as far as it can be read."""
        match self.content:
            case Command(find=None) as command:
                return f"{command.action} {command.resource.label} {command.id}"
            case Command() as command:
                return f"{command.action} a {command.resource.label} by what people call it"
            case Payload(source=source):
                return f"a payload of source '{source}'"
            case Event() as event:
                return f"event {event.detail_type} of {event.source}"
            case SweepJob(sweep_id=sweep_id, org_id=org_id):
                return f"sweep {sweep_id} of {org_id or 'every organization'}"
            case None:
                return "not a command"

    @property
    def is_sound(self) -> bool:
        """Whether it may do what it was meant for when it is sent again; poison never does."""
        return bool(self.intent_id) or isinstance(self.content, Event | SweepJob)

    @property
    def is_payload(self) -> bool:
        """Whether it is a payload that could not be translated: nothing to send again."""
        return isinstance(self.content, Payload)

    @property
    def code(self) -> str:
        """Why it is here."""
        return self.message.attributes.get("code", SET_ASIDE_BY_AWS)

    @property
    def reason(self) -> str:
        """Why it is here, in a sentence."""
        set_aside = "AWS set it aside without a reason: a function crashed or timed out each time, or was not reached."
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
    """What was seen. `missed` says, in words, what was not."""

    letters: list[DeadLetter] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def look(pairs: Sequence[Pair], *, most: int, clock: Clock) -> Scan:
    """See up to `most` letters of each queue, and leave them there."""
    seen = Scan()
    for pair in pairs:
        sweep = _Sweep(pair.dead, most, clock)
        try:
            seen.letters += [_letter(pair.name, message) for message in sweep]
            missed = sweep.missed()
        finally:
            sweep.let_go()
        if missed:
            seen.missed.append(f"{pair.name}: {missed}")
    return seen


def choose(letters: Sequence[DeadLetter], ids: Sequence[str]) -> list[DeadLetter]:
    """The letters that are meant: by intent id or message id, whole or the first characters (eight at least).

    Raises:
        CliError: An id fits none, or several.
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
            raise CliError(f"No dead letter matches {prefix[:70]}. See `lifecycle dead-letters list`.")
        if len({one.name for one in fitting}) > 1:
            raise CliError(f"{prefix} fits several dead letters. Give more of the id.", Exit.USAGE)
        chosen.update((one.key, one) for one in fitting)
    return list(chosen.values())


def whole_intent(stack: Stack, name: str, clock: Clock) -> str:
    """An intent id that was given whole, as it is; the beginning of one, completed from the dead letters.

    Raises:
        CliError: It is neither; or no dead letter, or more than one, begins so.
    """
    said = name.strip().lower()
    if re.fullmatch(INTENT_PATTERN, said) or not _BEGINNING.fullmatch(said):
        return name.strip()
    seen = look(stack.pairs(), most=_MOST_LOOKED_AT, clock=clock)
    found = {one.intent_id for one in seen.letters if one.intent_id.startswith(said)}
    if len(found) == 1:
        return found.pop()
    if found:
        raise CliError(f"{len(found)} dead letters begin with {said}. Give more of the id.", Exit.USAGE)
    unseen = f" Not all could be seen. {' '.join(seen.missed)}" if seen.missed else ""
    raise CliError(
        f"No dead letter begins with {said}. Of anything else, give the whole id: int_ and 48 characters.{unseen}",
        Exit.USAGE,
    )


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What became of one chosen letter."""

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
    """Whether an intent that was sent again has come to its end.

    Its old end stands in the ledger until a worker claims it; only a row that was written since counts.
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
        sweep = _Sweep(pair.dead, most, clock)
        try:
            for message in sweep:
                letter = wanted.pop(message.id, None)
                if letter is not None:
                    yield _one(pair, letter, message, do, sweep)
                if not wanted:
                    break
        finally:
            sweep.let_go()
        for letter in wanted.values():
            yield ActionResult(
                letter, done=False, remark="It was not to be seen any more: gone, or hidden for the moment."
            )


def _one(
    pair: Pair, letter: DeadLetter, message: Message, do: Callable[[Pair, Message], None], sweep: "_Sweep"
) -> ActionResult:
    try:
        do(pair, message)
    except Retryable as error:
        return ActionResult(letter, done=False, remark=error.reason)
    sweep.forget(message)
    try:
        pair.dead.delete(message)
    except Retryable as error:
        return ActionResult(
            letter, done=False, remark=f"The dead letter is still there: {error.reason} Doing it again is safe."
        )
    return ActionResult(letter, done=True)


class _Sweep:
    """Receives until a queue is empty, or enough was seen, or time is up; then lets go of what is still held."""

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
            self._held.update((message.id, message) for message in page)  # The newest receipt is the one that counts.
            fresh = [message for message in page if message.id not in self._seen]
            self._seen.update(message.id for message in page)
            yield from fresh
            if not fresh:  # Empty; or they do not stay hidden, and looking on would never end.
                self._emptied = not page
                return

    def forget(self, message: Message) -> None:
        """It is dealt with: do not make it visible again."""
        self._held.pop(message.id, None)

    def missed(self) -> str:
        """What was not seen, in words; call while the sweep holds what it has seen."""
        beyond = max(0, self._queue.depth() - len(self._seen))
        if not self._emptied and (beyond or len(self._seen) < self._most):
            return f"only the first {len(self._seen)} were looked at; about {beyond} more are there. Raise --limit."
        if beyond:
            return f"about {beyond} more are hidden: somebody else looks at them. Try again in a minute."
        return ""

    def let_go(self) -> None:
        """Make what is held visible again. What fails here appears by itself within a minute."""
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
    """Read a body as what its queue is for: the same text means nothing in another one."""
    models: dict[str, tuple[type[Command | Payload | Event | SweepJob], ...]] = {
        "events": (Event,),
        "sweeps": (SweepJob,),
    }
    for model in models.get(queue, (Command, Payload)):
        with suppress(ValidationError):
            return model.model_validate_json(message.body)
    return None
