"""Plans to look at, made by the real policy and the real rules from things that were drawn by lot."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from lifecycle.domain.capabilities import Resource, State
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.holds.rules import Holds
from lifecycle.plans.plan_file import Entry, Names, Plan, PlanFooter, PlanHeader, PlanWriter
from lifecycle.policy.evaluate import Mode, evaluate
from lifecycle.policy.policy import Policy
from tests.harness.builders import NOW, ORG

POLICY = Policy.parse("""
zone = "Europe/Berlin"
hold_tags = ["keep"]

[[rules]]
name = "audits"
resource = "process"
action = "keep"
[rules.when]
title = ["*audit*"]

[[rules]]
name = "completed"
resource = "process"
action = "archive"
[rules.when]
status = ["complete"]
completed_days = 90

[[rules]]
name = "stalled-trials"
resource = "process"
action = "archive"
[rules.when]
title = ["Trial *"]
stalled_days = 60

[[rules]]
name = "unused-tags"
resource = "tag"
action = "delete"
irreversible = true
[rules.when]
unused = true
created_days = 180
""")

_WHAT = (
    "Client onboarding", "Employee onboarding", "Purchase request", "Trial set-up", "Internal audit", "Trial hand-over",
    "Contract renewal", "Travel booking", "Equipment return", "Incident review", "Invoice approval", "Content release",
)  # fmt: skip
_WHO = (
    "Abbott & Sons", "Ångström Labs", "Benedikt Krüger", "Cheng Wei", "Delgado Hermanos", "Αθηνά Μελά", "Fatima Zahra",
    "Green Valley Co-op", "Hélène Dubois", "Iyer Textiles", "José Álvarez", "Kowalski GmbH", "Lindqvist AB", "Moreau",
    "Nordwind Logistik", "O’Connor Dairy", "Patel Pharmacy", "Quist Shipping", "Rossi Ceramiche", "Schäfer Bau",
)  # fmt: skip
_TAGS = (
    "2023",
    "Berlin",
    "beta",
    "campaign",
    "draft",
    "EMEA",
    "import",
    "legacy",
    "onboarding",
    "pilot",
    "priority",
    "Q3",
)


NAMES = Names(
    {str(4700 + place): name for place, name in enumerate(("Ada Nwosu", "Bo Lindgren", "Chidi Rao", "Dora Süß"))},
    {
        hashlib.md5(str(place).encode(), usedforsecurity=False).hexdigest(): name
        for place, name in enumerate(_WHAT[:11])
    },
)
"""Some owners and one template have no name that could be read."""


def things(count: int, seed: int = 7) -> Iterator[ResourceSnapshot]:
    """Processes mostly, and some tags."""
    lot = random.Random(seed)
    for place in range(count):
        yield _tag(lot) if place % 160 == 17 else _process(lot)


def _process(lot: random.Random) -> ResourceSnapshot:
    status = lot.choices(("complete", "active", "delayed", "problem"), (62, 26, 8, 4))[0]
    created = NOW - timedelta(days=lot.expovariate(1 / 75) + 1, hours=lot.random() * 24)
    completed = created + (NOW - created) * lot.random() ** 2 if status == "complete" and lot.random() < 0.99 else None
    return ResourceSnapshot(
        resource=Resource.RUN,
        id=f"{lot.getrandbits(128):032x}",
        state=State.ACTIVE,
        name=f"{lot.choice(_WHAT)}: {lot.choice(_WHO)}",
        status=status,
        created_at=created,
        completed_at=completed,
        last_updated=completed or created + (NOW - created) * lot.random(),
        template_id=hashlib.md5(str(lot.randrange(12)).encode(), usedforsecurity=False).hexdigest(),
        owners=frozenset({str(4700 + lot.randrange(9))}),
        tags=frozenset({"keep"} if lot.random() < 0.03 else {lot.choice(_TAGS)} if lot.random() < 0.4 else ()),
    )


def _tag(lot: random.Random) -> ResourceSnapshot:
    return ResourceSnapshot(
        resource=Resource.TAG,
        id=f"{lot.getrandbits(128):032x}",
        state=State.ACTIVE,
        name=f"{lot.choice(_TAGS)} {lot.randrange(2019, 2026)}",
        created_at=NOW - timedelta(days=lot.randrange(700)),
        uses=lot.choice((0, 0, 1, 3, 14)),
    )


def entry(thing: ResourceSnapshot, now: datetime = NOW) -> Entry:
    """The thing, judged."""
    return Entry(thing, evaluate(thing, POLICY, Holds({}, POLICY.hold_tags or frozenset()), now))


def plan(entries: Iterable[Entry], *, failed: int = 0, **changes: object) -> Plan:
    """The summary of such a plan, or of what ``changes`` make of it."""
    heading = PlanHeader(
        org_id=ORG, sweep_id="2026-06-01T12:00:00Z", made_at=NOW, policy=POLICY.digest, zone="Europe/Berlin"
    )
    writer = PlanWriter(heading, POLICY)
    writer.begin()
    for each in entries:
        writer.add(each)
    writer.fail(failed)
    writer.end(PlanFooter(**writer.totals().model_dump()))
    totals = writer.totals()
    said: dict[str, object] = {
        **heading.model_dump(),
        **totals.model_dump(),
        "hash": writer.digest,
        "mode": Mode.REPORT,
        "org_name": "Brightwater Services",
        "per_minute": 100,
        "estimated_minutes": -(-totals.due * 2 // 100),
    }
    return Plan.model_validate({**said, **changes})


def sample(count: int, *, failed: int = 0, **changes: object) -> tuple[Plan, list[Entry]]:
    """A plan and its entries."""
    entries = [entry(thing) for thing in things(count)]
    return plan(entries, failed=failed, **changes), entries
