"""The preflight: checks whether the schedule may act, and informs the operator if it may not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from lifecycle.aws.eventbridge import Bus
from lifecycle.aws.metrics import Metric, Metrics
from lifecycle.aws.secrets import Secrets
from lifecycle.domain.errors import Rejected, Retryable, TokenRefused
from lifecycle.domain.events import SCHEMA_VERSION
from lifecycle.intake.sources import Sources
from lifecycle.policy.policy import Policy
from lifecycle.sweep.preflight_rules import Account, Finding, Mark, closed, of_account, of_policy, of_token
from lifecycle.tallyfy.client import Tallyfy


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Runs the preflight. It makes two calls to Tallyfy; the caller takes their slots of the rate."""

    tallyfy: Tallyfy
    secrets: Secrets
    prefix: str
    policy: Policy
    sources: Sources
    metrics: Metrics
    bus: Bus
    clock: Callable[[], datetime]

    def look(self, org_id: str) -> tuple[Finding, ...]:
        """Check everything. Reads only.

        A refused or missing token and a hidden organization are findings, which a person must fix. Raises ``Retryable``
        if the check is impossible for now: a 429, no network, an outage of Tallyfy or of AWS.
        """
        organization = OrganizationCheck(self.tallyfy, self.secrets, self.prefix, self.policy, self.sources)
        return *organization.look(org_id, self.clock()), *of_policy(self.policy)

    def tell(self, org_id: str, findings: Iterable[Finding]) -> None:
        """Alert a person if one must act; otherwise do nothing. Raises ``Retryable`` if EventBridge is unavailable."""
        found = tuple(findings)
        for finding in found:
            if finding.aging:
                self.metrics.emit(Metric.TOKEN_AGING, {"org_id": org_id, "reason": _sentence(finding)})
        why = reasons(found)
        if not why:
            return
        facts = {"org_id": org_id, "reason": " ".join(why)}
        self.metrics.emit(Metric.PREFLIGHT_FAILED, facts)
        stamp = {"schema_version": SCHEMA_VERSION, "looked_at": self.clock().isoformat()}
        self.bus.announce("lifecycle.preflight.failed", {**stamp, **facts})


@dataclass(frozen=True, slots=True)
class OrganizationCheck:
    """The part of the preflight that is about one organization. ``lifecycle check`` uses it without a schedule."""

    tallyfy: Tallyfy
    secrets: Secrets
    prefix: str
    policy: Policy
    sources: Sources

    def look(self, org_id: str, now: datetime) -> tuple[Finding, ...]:
        """Check the account, its token and Tallyfy's automatic archiving. Raises what ``Preflight.look`` raises."""
        try:
            member, organization = self.tallyfy.account(org_id)
        except (TokenRefused, Rejected) as error:
            # The age of the token may be the reason.
            return closed(org_id, error.reason), of_token(self._stored_at(org_id), now)
        account = Account(
            org_id=org_id, member=member, organization=organization, token_stored_at=self._stored_at(org_id)
        )
        return of_account(account, self.policy, self.sources, now)

    def _stored_at(self, org_id: str) -> datetime | None:
        try:
            return self.secrets.stored_at(f"{self.prefix}/tokens/{org_id}")
        except Retryable:
            return None  # A token of unknown age still works.


def reasons(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Why the schedule must not act: one sentence for each NO. Without a sentence, it may act."""
    return tuple(_sentence(finding) for finding in findings if finding.mark is Mark.NO)


def notes(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The findings that stop nothing, for the readers of the plan: one sentence each."""
    return tuple(_sentence(finding) for finding in findings if finding.mark is Mark.NOTE)


def _sentence(finding: Finding) -> str:
    said = f"{finding.what[:1].upper()}{finding.what[1:]}: {finding.found.removesuffix('.')}."
    return f"{said} {finding.todo}".strip()
