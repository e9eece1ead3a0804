"""Checks that every possible request has an approver: without one it would only expire. Pure; part of `check`."""

from collections.abc import Iterator

from lifecycle.approvals.people import People
from lifecycle.domain.capabilities import PERMANENT, TABLE, Capability
from lifecycle.intake.sources import Sources
from lifecycle.policy.policy import Policy
from lifecycle.sweep.preflight_rules import Finding, Mark


def of_approvers(people: People, sources: Sources, policy: Policy, org_id: str) -> Iterator[Finding]:
    """Return who may approve what in an organization, and whether that covers every possible request there."""
    known = [(doing, _approvers(people, frozenset({doing}), org_id)) for doing in TABLE if doing.irreversible]
    approvers = "; ".join(f"{doing.name}: {', '.join(names)}" for doing, names in known if names)
    if approvers:
        yield Finding(Mark.YES, "who may approve", approvers)
    for doing, names in known:
        asked = any(source.reaches(org_id) and source.allows(doing) for source in sources.sources.values())
        if asked and doing in PERMANENT:
            yield from _enough(f"approval of {doing.name}", names, people.approvals.single)
    lasting = frozenset(rule.capability for rule in policy.acting if rule.irreversible)
    if lasting:
        yield from _enough("approval of a plan", _approvers(people, lasting, org_id), people.approvals.plan)


def of_identities(people: People) -> Iterator[Finding]:
    """Return people whose AWS identity does not prove one person, because several people may assume the role."""
    for name in people.unproven:
        role = (people.people[name].iam or "").split("/")[1]
        todo = (
            "Name the ARN of an IAM user or of a session of Identity Center. Or let the role's trust policy fix the "
            "name (condition sts:RoleSessionName = ${aws:username}) and say so in people.toml: "
            f"[roles.{role}] session_name_fixed = true."
        )
        found = f"a session of {role}, whose name anybody may choose who assumes it: not accepted"
        yield Finding(Mark.NO, f"AWS identity of {name}", found, todo)


def _approvers(people: People, doings: frozenset[Capability], org_id: str) -> list[str]:
    able = (name for name, person in people.people.items() if person.approves_of(doings, org_id))
    return [name for name in able if people.is_reachable(name)]


def _enough(what: str, names: list[str], needed: int) -> Iterator[Finding]:
    if not names:
        yield Finding(Mark.NOTE, what, "nobody can give it: every request expires", "Name approvers in people.toml.")
    elif len(names) < needed:
        found = f"can never be given: {needed} must, only {', '.join(names)} can"
        yield Finding(Mark.NO, what, found, "Add approvers in people.toml, or lower the number under [approvals].")
    elif len(names) == needed:
        found = f"only by {', '.join(names)}: never for their own requests"
        yield Finding(Mark.NOTE, what, found, "Add one more approver in people.toml.")
