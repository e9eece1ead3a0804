"""Organizations to plan for, and plans that a stack really made."""

from collections.abc import Sequence

from lifecycle.plans.plan_file import Plan
from lifecycle.policy.evaluate import Mode
from lifecycle.policy.policy import Policy
from sandbox.simulator import DEFAULT_TOKEN, Seed, SeedMember, SeedOrganization, SeedRun, SeedTag
from tests.harness.builders import ORG
from tests.harness.sweep_run import SweepRun
from tests.harness.world import World
from tests.unit.cli.harness import CliHarness

RULE = """
zone = "UTC"
[caps]
count = 500
percent = 100
[[rules]]
name = "completed"
resource = "process"
action = "archive"
[rules.when]
status = ["complete"]
completed_days = 30
"""
LASTING = """
[[rules]]
name = "dead-tags"
resource = "tag"
action = "delete"
irreversible = true
[rules.when]
unused = true
created_days = 100
"""


def runs(count: int, *, first: int = 1, completed: str = "-45d") -> list[SeedRun]:
    """Processes that are complete."""
    return [
        SeedRun(id=f"{number:032x}", name=f"Run {number}", status="complete", completed_at=completed)
        for number in range(first, first + count)
    ]


def organization(runs: Sequence[SeedRun] = (), tags: Sequence[SeedTag] = (), name: str = "Example Ltd") -> Seed:
    """One organization with these things."""
    member = SeedMember(token=DEFAULT_TOKEN)
    return Seed(organizations=[SeedOrganization(id=ORG, name=name, members=[member], runs=list(runs), tags=list(tags))])


def at_night(desk: CliHarness, seed: Seed, *, mode: Mode = Mode.REPORT, policy: str = RULE) -> SweepRun:
    """A night of a stack in front of which the desk stands; nothing has begun yet."""
    world = World(desk.clock)
    world.simulator.load(seed)
    made = SweepRun(world, mode=mode, policy=Policy.parse(policy))
    desk.move_to(made)
    return made


def night(desk: CliHarness, seed: Seed, *, mode: Mode = Mode.REPORT, policy: str = RULE) -> Plan:
    """The plan of such a night; in mode apply, its commands are carried out as well."""
    made = at_night(desk, seed, mode=mode, policy=policy)
    made.begin()
    made.drain()
    [plan] = made.plans()
    return plan
