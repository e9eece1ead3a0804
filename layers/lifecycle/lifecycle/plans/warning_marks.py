"""The marks of things that people are warned about: a file beside each plan, which the next plan starts from.

A plan and its marks are written together and never changed. What was delivered meanwhile is one row for each sweep.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from lifecycle.aws import table_keys
from lifecycle.aws.dynamodb import Put, Value, VersionedTable
from lifecycle.aws.s3 import Objects
from lifecycle.domain.clock import millis
from lifecycle.domain.errors import Code, Rejected
from lifecycle.plans.plan_store import key_of
from lifecycle.policy.warnings import Deliveries, ThingKey, WarningMark

WARNINGS: Final = "warnings.jsonl.gz"
"""The name of the file of marks."""
_KEEP = timedelta(days=400)
"""Longer than a warning can run (365 days)."""
_MARK: TypeAdapter[WarningMark] = TypeAdapter(WarningMark)


@dataclass(frozen=True, slots=True)
class SentWarnings:
    """What was sent for each sweep: one row."""

    rows: VersionedTable

    def deliveries(self, org_id: str, sweep_id: str) -> Deliveries:
        """What was sent for a sweep."""
        return self._row(org_id, sweep_id)[0]

    def try_to(self, org_id: str, sweep_id: str, recipient: str, at: datetime) -> None:
        """Record that a message is about to be sent: what it promises binds even if its delivery is never recorded.

        Raises ``Contention`` if somebody else wrote at the same time.
        """
        sent, version = self._row(org_id, sweep_id)
        self._save(org_id, sweep_id, sent._replace(tried={**sent.tried, recipient: millis(at)}), version, at)

    def deliver(self, org_id: str, sweep_id: str, recipient: str, at: datetime) -> None:
        """Record that a recipient has the message. Raises what ``try_to`` raises."""
        sent, version = self._row(org_id, sweep_id)
        self._save(org_id, sweep_id, sent._replace(told={**sent.told, recipient: millis(at)}), version, at)

    def _row(self, org_id: str, sweep_id: str) -> tuple[Deliveries, int]:
        [row] = self.rows.read(table_keys.warned(org_id, sweep_id))
        if row is None:
            return Deliveries(), 0
        return Deliveries(*(json.loads(str(row.values[name])) for name in Deliveries._fields)), row.version

    def _save(self, org_id: str, sweep_id: str, sent: Deliveries, version: int, at: datetime) -> None:
        values: dict[str, Value] = {name: json.dumps(moments) for name, moments in sent._asdict().items()}
        expires_at = int((at + _KEEP).timestamp())
        self.rows.write(Put(table_keys.warned(org_id, sweep_id), values, version, expires_at))


@dataclass(frozen=True, slots=True)
class WarningMarks:
    """Reads the marks of all organizations."""

    objects: Objects
    sent: SentWarnings

    def of_plan(self, org_id: str, plan_hash: str) -> Iterator[WarningMark]:
        """The marks beside a plan, as they were when it was made. None for a plan without warnings.

        Raises ``Rejected`` if the file cannot be read: what people were promised is not known then.
        """
        key = key_of(org_id, plan_hash, WARNINGS)
        packed = self.objects.get(key)
        try:
            yield from read_marks(packed) if packed is not None else ()
        except (OSError, EOFError, zlib.error, ValueError):
            raise Rejected(
                Code.PLAN_STOPPED,
                f"The warnings of the newest plan cannot be read: {key}. Nothing is done without them. Restore an "
                "earlier version of this object in the plans bucket; or delete it, and people are warned again.",
            ) from None

    def load(self, org_id: str, plan_hash: str) -> dict[ThingKey, WarningMark]:
        """The marks beside a plan, with what was delivered since."""
        marks: dict[ThingKey, WarningMark] = {}
        sent: dict[str, Deliveries] = {}
        for mark in self.of_plan(org_id, plan_hash):
            if mark.pending and mark.sweep_id not in sent:
                sent[mark.sweep_id] = self.sent.deliveries(org_id, mark.sweep_id)
            marks[mark.key] = mark.with_deliveries(sent.get(mark.sweep_id, Deliveries()))
        return marks


@dataclass(slots=True)
class MarkWriter:
    """Writes a file of marks. The same marks give the same bytes."""

    file: gzip.GzipFile
    count: int = 0

    def add(self, mark: WarningMark) -> None:
        """One more line."""
        facts = _MARK.dump_python(mark, mode="json", exclude_defaults=True)
        for name in ("pending", "told"):
            if name in facts:
                facts[name] = sorted(facts[name])
        self.file.write(json.dumps(facts).encode() + b"\n")
        self.count += 1


def read_marks(packed: bytes) -> Iterator[WarningMark]:
    """Read a file of marks. Raises ``ValueError`` if this release does not understand it."""
    return (_MARK.validate_json(line) for line in gzip.decompress(packed).splitlines())


def store_marks(objects: Objects, org_id: str, plan_hash: str, file: Path) -> None:
    """Keep a file of marks beside its plan."""
    objects.put_file(key_of(org_id, plan_hash, WARNINGS), file, kind="application/gzip")
