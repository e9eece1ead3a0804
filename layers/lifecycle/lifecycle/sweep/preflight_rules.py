"""The rules of the preflight: facts in, findings out. Any NO means that the schedule must not act. Pure.

`lifecycle check` shows the same findings, so an operator sees what would stop a sweep before it runs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from lifecycle.domain.capabilities import PERMANENT, Capability, Resource
from lifecycle.domain.commands import ID_PATTERN, one_line
from lifecycle.policy.policy import Caps, Doing, PlanCaps, Policy

if TYPE_CHECKING:  # For type checks only: at run time this import would slow down `lifecycle policy check`.
    from lifecycle.intake.sources import Sources

TOKEN_DAYS = 183
"""A personal access token lives about six months. Tallyfy does not say how old one is: its secret does."""
AGING_DAYS = 150
_SKEW = timedelta(days=1)
"""How far in the future a secret's date may be. The age of a later one is unknown."""
_OFF = frozenset({"none", "false", "0", "", "off", "no"})
_EVERYTHING = 100
_ROLES = ("admin", "standard")


class Mark(StrEnum):
    """How a check came out. Only NO stops anything."""

    YES = "yes"
    NOTE = "note"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``aging``: the token should be replaced soon, and a metric says so."""

    mark: Mark
    what: str
    found: str
    todo: str = ""
    aging: bool = False
    name: str = ""
    """The organization's own name, if the finding is about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What Tallyfy shows to the token of an organization, and when that token was stored."""

    org_id: str
    member: Mapping[str, object]
    """Whose token it is: the answer of ``/organizations/{org}/me``."""
    organization: Mapping[str, object]
    """The answer of ``/organizations/{org}``."""
    token_stored_at: datetime | None


def needed(policy: Policy, sources: "Sources", org_id: str) -> frozenset[Capability]:
    """What the token must permit: every action of the policy's rules, and the permanent deletes of the sources."""
    lasting = {
        doing
        for source in sources.sources.values()
        if source.reaches(org_id)
        for doing in PERMANENT
        if source.allows(doing)
    }
    return frozenset(lasting | {rule.capability for rule in policy.acting})


def of_account(account: Account, policy: Policy, sources: "Sources", now: datetime) -> tuple[Finding, ...]:
    """What concerns one organization: that it is the one, its user's role, Tallyfy's own archiving, the token's age."""
    organization = _organization(account)
    age = of_token(account.token_stored_at, now)
    if organization.mark is Mark.NO:
        return organization, age  # The other facts may belong to another organization.
    doings = needed(policy, sources, account.org_id)
    return organization, _role(account.member, doings), _auto_archive(account.organization, policy), age


def closed(org_id: str, reason: str) -> Finding:
    """The token does not open the organization, or there is none."""
    todo = "Store the token of a dedicated Tallyfy admin user, or correct OrganizationIds."
    return Finding(Mark.NO, f"organization {org_id}", reason, todo)


def of_token(stored_at: datetime | None, now: datetime) -> Finding:
    """How long the token may still live. Its age is that of the secret's version: an old one may have been renewed."""
    what = "age of the token"
    if stored_at is None or stored_at - now > _SKEW:
        return Finding(
            Mark.NOTE, what, "unknown", f"A token lives about {TOKEN_DAYS} days: write down when it was made."
        )
    days = max((now - stored_at).days, 0)
    since = f"stored {_days(days)} ago"
    if days > TOKEN_DAYS:
        found = f"aging, {since}: a token lives about {TOKEN_DAYS} days"
        return Finding(Mark.NOTE, what, found, "Store a new one now; no deploy is needed.", aging=True)
    if days > AGING_DAYS:
        found = f"aging, {since}: {_days(TOKEN_DAYS - days)} left"
        return Finding(Mark.NOTE, what, found, "Store a new one; no deploy is needed.", aging=True)
    return Finding(Mark.YES, what, since)


def of_policy(policy: Policy) -> tuple[Finding, ...]:
    """What the policy does at all, and whether its caps can stop anything."""
    return _summary(policy), *_caps(policy), *_running(policy)


def _organization(account: Account) -> Finding:
    what = f"organization {account.org_id}"
    said = [account.organization.get("id"), account.member.get("organization_id")]
    shown = [str(one).lower() for one in said if one is not None]
    others = [one for one in shown if one != account.org_id]
    if others:
        # A value from Tallyfy is quoted only if it has the expected form.
        other = others[0] if re.fullmatch(ID_PATTERN, others[0]) else "another one"
        return Finding(
            Mark.NO, what, f"Tallyfy answered for {other}", "Correct OrganizationIds, or store its own token."
        )
    if not shown:
        found = "Tallyfy's answer does not say which organization it is for"
        return Finding(Mark.NO, what, found, "Check TallyfyBaseUrl: it may lead to another system.")
    said_name = account.organization.get("name")
    name = one_line(said_name, most=200) if isinstance(said_name, str) and said_name.strip() else ""
    return Finding(Mark.YES, what, f"the token opens {name or 'it'}", name=name)


def _role(member: Mapping[str, object], doings: frozenset[Capability]) -> Finding:
    what = "role of the token's user"
    said = member.get("role")
    role = said.strip().lower() if isinstance(said, str) else ""
    lasting = sorted(doing.name for doing in doings & PERMANENT)
    if role not in _ROLES:
        shown = role if re.fullmatch(r"[a-z][a-z _-]{0,30}", role) else "unknown"
        return Finding(
            Mark.NO, what, f"{shown}, which may not archive", "Make the user an Admin (or Standard) in Tallyfy."
        )
    if role == "admin":
        return Finding(Mark.YES, what, "admin, which may do everything")
    if lasting:
        return Finding(
            Mark.NO,
            what,
            f"standard, which may archive and restore, but not {', '.join(lasting)}",
            "Make the user an Admin in Tallyfy, or take these out of sources.toml and policy.toml.",
        )
    return Finding(Mark.YES, what, "standard, which may archive and restore: all that is asked for")


def _auto_archive(organization: Mapping[str, object], policy: Policy) -> Finding:
    what = "auto-archive of Tallyfy"
    if "auto_archive" not in organization:
        return Finding(Mark.NOTE, what, "unknown: Tallyfy does not show it", "Look in Tallyfy's settings.")
    if str(organization["auto_archive"]).strip().lower() in _OFF:
        return Finding(Mark.YES, what, "off: Tallyfy archives nothing by itself")
    after = _number(organization.get("auto_archive_processes_after"))
    later = [
        f"'{rule.name}' ({_days(rule.when.completed_days)})"
        for rule in policy.acting
        if rule.resource is Resource.RUN
        and rule.action is Doing.ARCHIVE
        and rule.when.completed_days is not None
        and after is not None
        # A rule acts after *more than* its number of days. If both numbers are equal, Tallyfy archives first.
        and after <= rule.when.completed_days
    ]
    deleting = [
        f"'{rule.name}'" for rule in policy.acting if rule.resource is Resource.RUN and rule.action is Doing.DELETE
    ]
    first = f"Tallyfy archives first, before {_rules(later)}" if later else "Tallyfy may archive processes first"
    found = f"on, after {'some days' if after is None else _days(after)}: {first}"
    if deleting:
        found += f", and {_rules(deleting)} would delete these, too"
    return Finding(Mark.NOTE, what, found, "It ignores holds. Turn it off in Tallyfy if that is not intended.")


def _summary(policy: Policy) -> Finding:
    what = "layers/config/policy.toml"
    count = len(policy.rules)
    rules = f"{count} rule{'' if count == 1 else 's'}: {', '.join(rule.name for rule in policy.rules)}"
    if not policy.acting:
        return Finding(Mark.NOTE, what, f"{rules}; none of them acts", "Add a rule that archives, if one is intended.")
    lasting = [rule.name for rule in policy.acting if rule.irreversible]
    undone = f"; cannot be undone: {', '.join(lasting)}" if lasting else ""
    return Finding(Mark.YES, what, f"{rules}{undone}; a plan does at most {_allowed(policy.caps)}")


def _caps(policy: Policy) -> Iterator[Finding]:
    if policy.caps.percent == _EVERYTHING:
        yield Finding(Mark.NOTE, "caps of a plan", "100 percent is no cap", "Write a smaller percentage.")
    for rule in policy.acting:
        wide = list(_wide(rule.caps, policy.caps)) if rule.caps else []
        if wide:
            yield Finding(
                Mark.NOTE, f"caps of rule '{rule.name}'", ", ".join(wide), "Write smaller ones, or leave them out."
            )


def _running(policy: Policy) -> Iterator[Finding]:
    for rule in policy.acting:
        if rule.takes_running:
            found = f"it archives a {rule.resource.label} although people may still work on it"
            yield Finding(
                Mark.NOTE,
                f"rule '{rule.name}'",
                found,
                'Write status = ["complete"] (or completed_days, or stalled_days) if that is not meant.',
            )


def _wide(caps: Caps, plan: PlanCaps) -> Iterator[str]:
    if caps.count is not None and caps.count > plan.count:
        yield f"count {caps.count} is wider than the plan's {plan.count}"
    if caps.percent == _EVERYTHING:
        yield "100 percent is no cap"
    elif caps.percent is not None and caps.percent > plan.percent:
        yield f"{caps.percent} percent is wider than the plan's {plan.percent}"


def _allowed(caps: PlanCaps) -> str:
    return f"{caps.count} things and {caps.percent} percent of them"


def _rules(named: list[str]) -> str:
    return f"rule{'' if len(named) == 1 else 's'} {', '.join(named)}"


def _days(count: int | None) -> str:
    return f"{count} day{'' if count == 1 else 's'}"


def _number(value: object) -> int | None:
    """A count of days as Tallyfy may write it: a number, or the text of one."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}", value.strip()):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
