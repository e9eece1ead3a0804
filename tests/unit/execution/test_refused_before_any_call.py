"""What must not reach Tallyfy does not: the simulator's log stays empty."""

import json
from itertools import product

import pytest

from lifecycle.domain.capabilities import ORDINARY, PERMANENT, TABLE, Action, Capability, Resource
from lifecycle.domain.errors import LifecycleError
from sandbox.simulator import default_seed
from tests.harness.builders import THING, Clock, Entrance, bodies, body, command
from tests.harness.world import World
from tests.unit.domain.test_commands import UNSAFE_IDS

OTHERS = [(r, a) for r, a in product(Resource, Action) if (r, a) not in {(c.resource, c.action) for c in TABLE}]


@pytest.fixture
def world(clock: Clock) -> World:
    made = World(clock)
    made.simulator.load(default_seed())
    return made


def dead_lettered(world: World, text: str, capabilities: frozenset[Capability] = frozenset(TABLE)) -> dict[str, str]:
    world.queue.send(text)
    assert world.process(capabilities).deliver() == 1
    [letter] = world.dead_letters.receive()
    return dict(letter.attributes)


@pytest.mark.parametrize("field", ["id", "org_id"])
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("unsafe", UNSAFE_IDS.values(), ids=UNSAFE_IDS)
def test_an_unsafe_id_is_refused_by_intake_and_by_the_worker(
    world: World, clock: Clock, unsafe: str, action: Action, field: str
) -> None:
    entrance = Entrance(clock)
    with pytest.raises(LifecycleError):
        entrance.accept(body(action=action, **{field: unsafe}))
    assert bodies(entrance.ordinary) + bodies(entrance.permanent) == []

    smuggled = {**json.loads(command(action=action).to_json()), field: unsafe}
    letter = dead_lettered(world, json.dumps(smuggled))
    assert letter["code"] == "poison"
    assert field in letter["reason"]
    assert world.simulator.log.calls == []


@pytest.mark.parametrize(("resource", "action"), [other for other in OTHERS if other != (Resource.TAG, Action.ARCHIVE)])
def test_a_combination_that_does_not_exist_is_dead_lettered_with_its_reason(
    world: World, resource: Resource, action: Action
) -> None:
    letter = dead_lettered(world, command(resource=resource, action=action).to_json())
    assert letter["code"] == "not_possible"
    assert "none can be restored" in letter["reason"]
    assert world.simulator.log.calls == []


@pytest.mark.parametrize(
    ("capabilities", "doing"),
    [(ORDINARY, c) for c in TABLE if c in PERMANENT] + [(PERMANENT, c) for c in TABLE if c in ORDINARY],
    ids=lambda value: value.name if isinstance(value, Capability) else "",
)
def test_each_worker_refuses_the_capabilities_of_the_other(
    world: World, capabilities: frozenset[Capability], doing: Capability
) -> None:
    asked = command(resource=doing.resource, action=doing.action)
    letter = dead_lettered(world, asked.to_json(), capabilities)
    assert letter["code"] == "not_possible"
    assert doing.name in letter["reason"]
    assert world.simulator.log.calls == []


def test_the_ordinary_worker_cannot_archive_a_tag(world: World) -> None:
    letter = dead_lettered(world, command(resource="tag", action="archive").to_json(), ORDINARY)
    assert "tag.delete" in letter["reason"]
    assert world.simulator.log.calls == []


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "{}", json.dumps({"action": "archive"}), "\ud800", f'{{"id": "{THING}"}}']
)
def test_a_message_that_is_not_a_command_is_dead_lettered(world: World, text: str) -> None:
    assert dead_lettered(world, text)["code"] == "poison"
    assert world.simulator.log.calls == []
