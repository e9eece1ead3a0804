"""What should become of a thing that nobody asked about?

Pure: the thing, the policy, the holds and *now* in; one decision, with its reason and the rule that made it, out.

Every condition is answered with yes, no or "cannot be told". What cannot be told keeps: a date that is missing,
unreadable, impossible or in the future, a tag list or an owner that Tallyfy does not show. Holds and rules that keep
come before every rule that acts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from unicodedata import normalize
from zoneinfo import ZoneInfo

from lifecycle.domain.capabilities import Action, Resource, State
from lifecycle.domain.commands import ID_PATTERN
from lifecycle.domain.kinds import KINDS
from lifecycle.domain.resources import ResourceSnapshot, known_status
from lifecycle.holds.rules import Holds, alike
from lifecycle.policy.policy import Conditions, Doing, Policy, Rule

_EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
"""Older than Tallyfy: a date before this is a default of some system, not something that happened."""


class Mode(StrEnum):
    """What a sweep does with what is due."""

    REPORT = "report"
    APPLY = "apply"


class Tristate(StrEnum):
    """The answer to one condition."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition asked of one thing. ``kind`` groups equal answers for a report."""

    answer: Tristate
    kind: str
    seen: str
    """A clause about the thing, such as "it was completed 12 days ago, more than 30 are needed"."""
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, ``None`` for "keep"; why, in a sentence; by which rule, empty where none decided.

    ``kind`` groups equal reasons for a report.
    """

    action: Action | None
    kind: str
    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule and how each of its conditions was answered; ``fits`` is its answer as a whole."""

    rule: Rule
    when: tuple[Check, ...]
    unless: tuple[Check, ...]

    @property
    def applies(self) -> Tristate:
        """Yes only if every condition in ``when`` holds."""
        return _every({check.answer for check in self.when})

    @property
    def fits(self) -> Tristate:
        """Yes only if it applies and no condition in ``unless`` holds."""
        return _every({self.applies, *(_not(check.answer) for check in self.unless)})


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, and every rule that was asked on the way to it."""

    decision: Decision
    rules: tuple[Judged, ...]


def decide(thing: ResourceSnapshot, policy: Policy, holds: Holds, now: datetime) -> Decision:
    """Judge one thing."""
    return _before_any_rule(thing, holds) or _by_rules(thing, policy, _judge(thing, policy, now))


def explain(thing: ResourceSnapshot, policy: Policy, holds: Holds, now: datetime) -> Explanation:
    """Judge one thing, and say how each rule that speaks of its kind and state was answered."""
    judge = _judge(thing, policy, now)
    asked = tuple(judge(rule) for rule in policy.rules if _speaks_of(rule, thing))
    return Explanation(decide(thing, policy, holds, now), asked)


def whole_days(since: datetime, now: datetime, zone: ZoneInfo) -> int | None:
    """Calendar days between two moments as people in ``zone`` count them; ``None`` where the zone has no such date."""
    try:
        return (now.astimezone(zone).date() - since.astimezone(zone).date()).days
    except OverflowError:
        # The first hours of year 1, a common way to write "never", have no date west of Greenwich.
        return None


def _before_any_rule(thing: ResourceSnapshot, holds: Holds) -> Decision | None:
    if not re.fullmatch(ID_PATTERN, thing.id):
        return Decision(None, "no id", "It has no readable id, so it cannot be named.")
    hold = holds.on(thing)
    if hold is not None:
        return Decision(None, "on hold", hold)
    other = _another_kind(thing)
    if other:
        return Decision(None, "another kind", f"It is listed as a {thing.resource.label} and says it is a {other}.")
    if thing.resource.shows("one_off") and (thing.run_id is not None or thing.one_off is False):
        return Decision(None, "task of a process", "It belongs to a process and goes with it.")
    if thing.resource.shows("one_off") and thing.one_off is None:
        return Decision(None, "task of unknown kind", "Tallyfy does not say whether it belongs to a process.")
    return None


def _another_kind(thing: ResourceSnapshot) -> str:
    """The label of the kind that the facts prove, if not its own: an id of one kind is never used for another."""
    for fact in thing.resource.kind.never_shows:
        if getattr(thing, fact) is not None:
            return next(kind.label for kind in KINDS.values() if fact in kind.facts)
    return ""


def _by_rules(thing: ResourceSnapshot, policy: Policy, judge: Callable[[Rule], Judged]) -> Decision:
    for rule in policy.keeping:
        if _speaks_of(rule, thing) and judge(rule).fits is not Tristate.NO:
            return Decision(None, f"rule {rule.name}", f"{_why(judge(rule))}, so it is kept.", rule.name)
    missed: list[Judged] = []
    for rule in policy.acting:
        if not _speaks_of(rule, thing):
            continue
        judged = judge(rule)
        if judged.applies is Tristate.NO:
            missed.append(judged)
            continue
        if judged.fits is Tristate.YES:
            return Decision(rule.capability.action, f"rule {rule.name}", f"{_why(judged)}.", rule.name)
        # An exception keeps, from later rules too: writing one must never lead to more.
        excluded = next(_where(Tristate.YES, judged.unless), None)
        unclear = excluded or next(_where(Tristate.UNKNOWN, (*judged.when, *judged.unless)))
        kind = "excluded" if excluded else unclear.kind
        return Decision(None, kind, f"{_said(rule, [unclear])}, so it is kept.", rule.name)
    if not missed:
        # "Active" is also a status: a process that is complete and not archived would be called active here.
        state = "not archived" if thing.state is State.ACTIVE else thing.state
        return Decision(None, "no rule", f"No rule acts on a {thing.resource.label} that is {state}.")
    return _missed(missed[0], len(missed) - 1)


def _missed(judged: Judged, others: int) -> Decision:
    """Kept because no rule applies. The first rule's answer is told; it is the one most people have in mind."""
    check = next(_where(Tristate.NO, judged.when))
    more = {0: "", 1: " The other rule does not fit either."}.get(
        others, f" The {others} other rules do not fit either."
    )
    return Decision(None, check.kind, f"{_said(judged.rule, [check])}.{more}")


def _why(judged: Judged) -> str:
    return _said(judged.rule, judged.when)


def _said(rule: Rule, checks: Iterable[Check]) -> str:
    return f"Rule '{rule.name}': {'; '.join(check.seen for check in checks)}"


def _where(answer: Tristate, checks: Iterable[Check]) -> Iterator[Check]:
    return (check for check in checks if check.answer is answer)


def _every(answers: set[Tristate]) -> Tristate:
    return Tristate.NO if Tristate.NO in answers else Tristate.UNKNOWN if Tristate.UNKNOWN in answers else Tristate.YES


def _not(answer: Tristate) -> Tristate:
    return {Tristate.YES: Tristate.NO, Tristate.NO: Tristate.YES}.get(answer, answer)


def _speaks_of(rule: Rule, thing: ResourceSnapshot) -> bool:
    """A rule that keeps speaks of things in every state."""
    return rule.resource is thing.resource and (rule.action is Doing.KEEP or rule.considers is thing.state)


def _judge(thing: ResourceSnapshot, policy: Policy, now: datetime) -> Callable[[Rule], Judged]:
    def judged(rule: Rule) -> Judged:
        keeps = rule.action is Doing.KEEP
        when = tuple(_checks(thing, rule.when, policy.zone, now, excludes=keeps))
        unless = tuple(_checks(thing, rule.unless, policy.zone, now, excludes=True)) if rule.unless else ()
        return Judged(rule, when, unless)

    return judged


def _checks(
    thing: ResourceSnapshot, conditions: Conditions, zone: ZoneInfo, now: datetime, *, excludes: bool
) -> Iterator[Check]:
    """Ask each condition that was written. Where it ``excludes``, words are compared without regard to case."""
    asking = _Asking(thing, zone, now, excludes)
    for name in conditions.named:
        check = _ASKED[name](asking, getattr(conditions, name))
        yield Check(check.answer, check.kind, check.seen, name)


@dataclass(frozen=True, slots=True)
class _Asking:
    thing: ResourceSnapshot
    zone: ZoneInfo
    now: datetime
    excludes: bool

    def status(self, wanted: tuple[str, ...]) -> Check:
        said = (self.thing.status or "").strip().lower()
        if said == State.ARCHIVED:
            # It stands where the status was, which comes back when the thing is restored.
            return Check(Tristate.UNKNOWN, "no status", "Tallyfy does not say which status it had when it was archived")
        status = _status(self.thing)
        if status is None:
            return _no_status(self.thing)
        # Tallyfy's own filter for problems shows what somebody has an open issue on as well.
        trouble = "problem" in wanted and (status == "issue" or self.thing.has_open_issue is True)
        return Check(_if(trouble or status in wanted), "status", f"its status is {status}")

    def templates(self, wanted: tuple[str, ...]) -> Check:
        own = self.thing.id if self.thing.resource is Resource.TEMPLATE else self.thing.template_id
        if own is None:
            return Check(Tristate.UNKNOWN, "no template", "Tallyfy does not say its template")
        named = "is" if own in wanted else "is not"
        return Check(_if(own in wanted), "template", f"its template {named} one of those named")

    def owners(self, wanted: tuple[int, ...]) -> Check:
        owners = self.thing.owners
        if owners is None:
            return Check(Tristate.UNKNOWN, "no owner", "Tallyfy does not say who owns it")
        meant = owners & {str(user) for user in wanted}
        # Who acts on one person's things must not act on what somebody else owns as well.
        answer = bool(meant) if self.excludes else bool(owners) and meant == owners
        said = ", ".join(sorted(owners)) or "nobody"
        return Check(_if(answer), "owner", f"it is owned by {said}")

    def tags(self, wanted: tuple[str, ...]) -> Check:
        tags = self.thing.tags
        if tags is None:
            return Check(Tristate.UNKNOWN, "no tags", "Tallyfy does not show its tags")
        same: Callable[[str], str] = alike if self.excludes else str
        carried = sorted(tag for tag in tags if same(tag) in {same(word) for word in wanted})
        said = f"it carries the tag '{carried[0]}'" if carried else "it carries none of the tags named"
        return Check(_if(carried), "tags", said)

    def title(self, wanted: tuple[str, ...]) -> Check:
        name = self.thing.name
        if name is None:
            return Check(Tristate.UNKNOWN, "no name", "Tallyfy does not say its name")
        fitting = [pattern for pattern in wanted if _fits(name, pattern)]
        return Check(_if(fitting), "title", f"its name fits '{fitting[0]}'" if fitting else "its name does not fit")

    def completed_days(self, wanted: int) -> Check:
        status = _status(self.thing)
        archived = self.thing.state is State.ARCHIVED and (self.thing.status or "").strip().lower() == State.ARCHIVED
        if status is None and not archived:
            return _no_status(self.thing)
        if status != "complete" and self.thing.state is not State.ARCHIVED:
            # Whatever date it still has, somebody opened it again.
            return Check(Tristate.NO, "not complete", f"it is not complete (status: {status})")
        return self._age("completed", self.thing.completed_at, wanted, after=(self.thing.created_at,))

    def created_days(self, wanted: int) -> Check:
        return self._age("created", self.thing.created_at, wanted)

    def archived_days(self, wanted: int) -> Check:
        if self.thing.state is State.ACTIVE:
            return Check(Tristate.NO, "not archived", "it is not archived")
        # What was archived while it was active has no completion.
        after = (self.thing.created_at, self.thing.completed_at or self.thing.created_at)
        return self._age("archived", self.thing.archived_at, wanted, after=after)

    def stalled_days(self, wanted: int) -> Check:
        if self.thing.state is not State.ACTIVE:
            # Its status may not say any more that it was complete.
            return Check(Tristate.NO, "not stalled", f"it is {self.thing.state}, not stalled")
        status = _status(self.thing)
        if status is None:
            return _no_status(self.thing)
        if status == "complete":
            return Check(Tristate.NO, "not stalled", "it is complete, not stalled")
        return self._age("last touched", self.thing.last_updated, wanted, after=(self.thing.created_at,))

    def unused(self, _: bool) -> Check:  # noqa: FBT001 - the value of a key, true
        uses = self.thing.uses
        if uses is None:
            return Check(Tristate.UNKNOWN, "use unknown", "Tallyfy does not say what carries it")
        return Check(_if(uses == 0), "in use", f"{uses or 'no'} templates or processes carry it")

    def _age(
        self, what: str, moment: datetime | None, wanted: int, *, after: tuple[datetime | None, ...] = ()
    ) -> Check:
        """How old it is since that moment, which must lie ``after`` others: one that is not known proves nothing."""
        if moment is None:
            return Check(Tristate.UNKNOWN, "no date", f"Tallyfy does not say when it was {what}")
        if moment > self.now:
            return Check(Tristate.UNKNOWN, "future date", f"it was {what} in the future")
        if moment < _EARLIEST or any(earlier is not None and moment < earlier for earlier in after):
            return Check(Tristate.UNKNOWN, "odd date", f"it was {what} before it can have been")
        if None in after:
            return Check(Tristate.UNKNOWN, "no date", f"it was {what}, but Tallyfy does not say when it was created")
        days = whole_days(moment, self.now, self.zone)
        if days is None:
            return Check(Tristate.UNKNOWN, "no date", f"when it was {what} has no date in {self.zone}")
        said = f"it was {what} {days} {'day' if days == 1 else 'days'} ago"
        if days > wanted:
            return Check(Tristate.YES, "age", f"{said}, more than {wanted}")
        return Check(Tristate.NO, "too young", f"{said}; more than {wanted} are needed")


_ASKED: Mapping[str, Callable[..., Check]] = {name: getattr(_Asking, name) for name in Conditions.model_fields}


def _fits(name: str, pattern: str) -> bool:
    """Brackets stand for themselves: "[Test] *" must not mean everything that begins with T, e, s or t."""
    name, literal = normalize("NFC", name), normalize("NFC", pattern).replace("[", "[[]")
    # Folding makes two letters of some, such as "ß", and then "?" does not fit them: so it is tried unfolded as well.
    return any(fnmatchcase(fold(name), fold(literal)) for fold in (str.casefold, str.lower))


def _if(holds: object) -> Tristate:
    return Tristate.YES if holds else Tristate.NO


def _status(thing: ResourceSnapshot) -> str | None:
    return known_status(thing.status)


def _no_status(thing: ResourceSnapshot) -> Check:
    """What is not said, and what is said in a word that nobody here knows, cannot be told."""
    if not (thing.status or "").strip():
        return Check(Tristate.UNKNOWN, "no status", "Tallyfy does not say its status")
    return Check(Tristate.UNKNOWN, "unknown status", "its status is a word that this release does not know")
