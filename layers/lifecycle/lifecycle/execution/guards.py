"""Decides whether a command may act on the resource that was just read. Every answer carries a code and a sentence.

A fact that is blank, unknown, unreadable or in the future keeps the resource.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lifecycle.domain.capabilities import Capability, State
from lifecycle.domain.commands import Command, Expect
from lifecycle.domain.errors import Code
from lifecycle.domain.resources import ResourceSnapshot, known_status


class Verdict(StrEnum):
    """What to do about a command."""

    ACT = "act"
    NOTHING = "nothing"
    """The resource is already in the requested state."""
    REACHED = "reached"
    """An earlier attempt of the same command did it."""
    OVERTAKEN = "overtaken"
    """Something newer happened to the resource, so the command ends without a call and without a dead letter."""
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class GuardResult:
    """The verdict and why."""

    verdict: Verdict
    code: Code
    reason: str
    until: datetime | None = None
    """The command may act from this time on, if nothing changes."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What happened to the resource since the command that is being undone."""

    newer: str
    """The newer intent that was concluded on the resource; empty if there is none."""
    archived_by: datetime | None
    """A resource archived after this time was archived by somebody else; ``None`` if the command has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardContext:
    """What the decision depends on besides the resource itself."""

    now: datetime
    minimum_archive_age: timedelta
    may_be_irreversible: bool
    undone: Undone | None = None
    """For an undo: what happened since the command that it undoes."""
    in_doubt: bool = False
    """An earlier attempt of this command may have acted."""
    touched: bool = False
    """The resource was changed since that attempt, so its state is not the result of that attempt alone."""
    deleted_before: bool = False
    """The newest command concluded on this id was a delete by this stack."""


def rule(command: Command, seen: ResourceSnapshot | None, facts: GuardContext) -> GuardResult:
    """Decide one command from one read of the resource. Total: every combination has an answer."""
    doing = command.capability
    label = doing.resource.label
    if seen is None:
        return _gone(doing, facts)
    refusal = _not_one_off(doing, seen)
    if refusal:
        return refusal
    if seen.state is doing.reaches:
        if facts.in_doubt:
            return GuardResult(
                Verdict.REACHED, Code.CONFIRMED, f"An earlier attempt did it: the {label} is {seen.state}."
            )
        return GuardResult(Verdict.NOTHING, Code.NOTHING_TO_DO, f"The {label} is {seen.state} already.")
    if facts.in_doubt and facts.touched:
        return _reject(
            Code.CHANGED,
            f"An earlier attempt got no answer, and the {label} was changed since: somebody may have undone it. It "
            f"is {seen.state}, and is left alone.",
        )
    overtaken = _overtaken(seen, facts.undone) if facts.undone is not None and not facts.in_doubt else ""
    if overtaken:
        return GuardResult(Verdict.OVERTAKEN, Code.SUPERSEDED, f"The {label} is left alone. {overtaken}")
    if doing.irreversible and not facts.may_be_irreversible:
        return _reject(
            Code.RIGHT_MISSING,
            f"{doing.name} cannot be undone, and source '{command.source}' has no right to such actions.",
        )
    unexpected = _unexpected(command, seen)
    if unexpected:
        return unexpected
    refusal = _too_fresh(command, seen, facts) if doing.archived_first else None
    if doing.resource.shows("uses") and not command.allow_in_use:
        refusal = _used(seen)
    if refusal:
        return refusal
    return GuardResult(Verdict.ACT, Code.ACTED, f"The {label} was {seen.state} and is to be {doing.reaches}.")


def _overtaken(seen: ResourceSnapshot, undone: Undone) -> str:
    """Why there is nothing to undo any more: somebody did the same again since. Empty if nobody did."""
    if undone.newer:
        return f"A newer command ({undone.newer}) was carried out since. To undo it, give its id."
    archived_at = seen.archived_at if seen.state is State.ARCHIVED else None
    if archived_at is not None and undone.archived_by is not None and archived_at > undone.archived_by:
        return f"Somebody archived it again at {_day(archived_at)}, after the command that is to be undone."
    return ""


def _gone(doing: Capability, facts: GuardContext) -> GuardResult:
    label = doing.resource.label
    if doing.reaches is State.GONE and facts.in_doubt:
        return GuardResult(Verdict.REACHED, Code.CONFIRMED, f"An earlier attempt did it: the {label} is gone.")
    if doing.reaches is State.GONE and facts.deleted_before:
        return GuardResult(Verdict.NOTHING, Code.NOTHING_TO_DO, f"The {label} was deleted before.")
    return _reject(
        Code.NOT_FOUND,
        f"There is no {label} with this id in the organization, active or archived. Check the id and the kind.",
    )


def _not_one_off(doing: Capability, seen: ResourceSnapshot) -> GuardResult | None:
    if seen.run_id is not None or (doing.resource.shows("one_off") and seen.one_off is False):
        return _reject(
            Code.PROCESS_TASK, "The task belongs to a process. Archive, restore or delete the process instead."
        )
    if doing.resource.shows("one_off") and seen.one_off is None:
        return _reject(Code.UNDETERMINED, "Tallyfy does not say whether the task belongs to a process, so it is kept.")
    return None


def _too_fresh(command: Command, seen: ResourceSnapshot, facts: GuardContext) -> GuardResult | None:
    label = seen.resource.label
    if seen.state is not State.ARCHIVED:
        return _reject(
            Code.NOT_ARCHIVED, f"The {label} is {seen.state}. Archive it first; only then can it be deleted."
        )
    if seen.archived_at is None or seen.archived_at > facts.now:
        return _reject(Code.AGE_UNKNOWN, f"Tallyfy does not say since when the {label} is archived, so it is kept.")
    if facts.now - seen.archived_at < facts.minimum_archive_age:
        free = seen.archived_at + facts.minimum_archive_age
        in_time = free < command.not_after
        then = "Send the command again then" if in_time else "This command expires before that. Send a new one then"
        reason = f"The {label} was archived at {_day(seen.archived_at)}; it can be deleted after {_day(free)}. {then}."
        return GuardResult(Verdict.REJECT, Code.TOO_YOUNG, reason, free if in_time else None)
    return None


def _day(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


def _used(seen: ResourceSnapshot) -> GuardResult | None:
    if seen.uses is None:
        return _reject(
            Code.USE_UNKNOWN, "Tallyfy does not say which templates or processes carry this tag, so the tag is kept."
        )
    if seen.uses > 0:
        return _reject(
            Code.IN_USE,
            f"{seen.uses} templates or processes carry this tag and would lose it. To delete it, set allow_in_use.",
        )
    return None


def _unexpected(command: Command, seen: ResourceSnapshot) -> GuardResult | None:
    changed = _changed(command.expect, seen)
    if not changed:
        return None
    reason = f"The {seen.resource.label} is not as the sender saw it: {', '.join(changed)} changed since."
    if command.if_changed == "ignore":
        return GuardResult(Verdict.OVERTAKEN, Code.SUPERSEDED, f"{reason} It is left alone.")
    return _reject(Code.CHANGED, reason)


def _changed(expect: Expect | None, seen: ResourceSnapshot) -> list[str]:
    if expect is None:
        return []
    named = sorted(expect.model_fields_set)
    # Tallyfy did not return these fields. They may have changed, so they count as changed.
    hidden = {name for name in ("tags", "owners") if getattr(seen, name) is None}
    worded = seen.resource.shows("status") and seen.state is not State.ARCHIVED
    if worded and known_status(seen.status) is None:
        hidden.add("status")
    return [name for name in named if name in hidden or _plain(getattr(expect, name)) != _plain(getattr(seen, name))]


def _plain(value: object) -> object:
    """Times in whole seconds, because Tallyfy writes the same moment with and without milliseconds. Names as a set."""
    if isinstance(value, datetime):
        return value.replace(microsecond=0)
    if isinstance(value, (tuple, frozenset)):
        return frozenset(name.strip() for name in value)
    return value


def _reject(code: Code, reason: str) -> GuardResult:
    return GuardResult(Verdict.REJECT, code, reason)
