"""What can stop a command right before its call to Tallyfy: a restore, a hold, a reverted plan, a pause."""

from dataclasses import dataclass

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import VersionedTable
from lifecycle.domain.capabilities import Action
from lifecycle.domain.errors import Code
from lifecycle.domain.intent import IntentRow, Outcome, Status
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.execution import reverted_plans
from lifecycle.execution.accepted_restores import AcceptedRestores, accepted_restore_in, stopped_by_restore
from lifecycle.execution.ledger import Claim, LeaseLost
from lifecycle.execution.ledger_rows import resource_key, version_of
from lifecycle.holds.store import HoldStore, hold_row_keys, reason_among


@dataclass(frozen=True, slots=True)
class StopSignal:
    """Why a call must not be made: the command ends with ``outcome``, or waits for the end of ``paused_by``'s pause."""

    outcome: Outcome | None = None
    paused_by: str | None = None


class StopSignals:
    """Reads everything that can stop a command."""

    def __init__(self, rows: VersionedTable, holds: HoldStore) -> None:
        self._rows = rows
        self._holds = holds
        self._restores = AcceptedRestores(rows)

    def before_call(
        self, claim: Claim, seen: ResourceSnapshot, *, hold_tags: frozenset[str], plan: str | None = None
    ) -> StopSignal:
        """Read all signals at once, strongly consistent, right before a call.

        Nothing stops a restore, not even a pause. Raises ``LeaseLost`` if another worker has taken over the claim.
        """
        intent = claim.rows.intent
        keys = [
            resource_key(intent),
            table_keys.restore(intent.org_id, intent.resource, intent.id),
            table_keys.pace(intent.org_id),
        ]
        plan_keys = [table_keys.reverted_plan(intent.org_id, plan)] if plan else []
        hold_keys = hold_row_keys(intent.org_id, seen)
        resource, restore, pace, *rest = self._rows.read(*keys, *plan_keys, *(hold_keys or ()))
        reverted, found = rest[: len(plan_keys)], rest[len(plan_keys) :]
        if version_of(resource) != claim.versions[1]:
            raise LeaseLost
        if intent.action == Action.RESTORE:
            return StopSignal()
        if hold_keys is None:
            holds = self._holds.rows_of(intent.org_id)
        else:
            holds = {key.sk: row for key, row in zip(hold_keys, found, strict=True) if row is not None}
        outcome = (
            stopped_by_restore(intent, accepted_restore_in(restore))
            or (reverted_plans.outcome(reverted[0]) if reverted else None)
            or _held(seen, reason_among(holds, seen, hold_tags, since=intent.issued_at))
        )
        return StopSignal(outcome, str(pace.values.get("paused_by") or "") or None if pace else None)

    def reason_to_keep(self, intent: IntentRow, thing: ResourceSnapshot) -> str | None:
        """Why a restore or a hold stops a waiting intent, as a sentence; ``None`` if nothing stops it."""
        restore = stopped_by_restore(intent, self._restores.newest(intent.org_id, thing.resource, thing.id))
        if restore is not None:
            return restore.reason
        return self._holds.reason_for(intent.org_id, thing, tags=frozenset(), since=intent.issued_at)

    def plan_reverted_by(self, org_id: str, plan: str) -> str | None:
        """Who reverted a plan; ``None`` if nobody did."""
        [row] = self._rows.read(table_keys.reverted_plan(org_id, plan))
        return reverted_plans.reverted_by(row) if row is not None else None


def _held(thing: ResourceSnapshot, reason: str | None) -> Outcome | None:
    if reason is None:
        return None
    return Outcome(Status.REJECTED, Code.HELD, f"The {thing.resource.label} is left alone. {reason}")
