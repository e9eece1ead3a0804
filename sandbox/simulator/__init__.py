"""The project's one fake of Tallyfy, in process and over HTTP. It follows the facts gathered about Tallyfy's API.

`Simulator` is the fake itself. `SimulatorTransport` puts it behind a `requests` session. `SimulatorServer` and `serve`
put it on a loopback port. `SimulatorClient` controls it from another process.
"""

from sandbox.simulator.client import SimulatorClient
from sandbox.simulator.deliveries import LoggedDelivery
from sandbox.simulator.faults import Fault
from sandbox.simulator.limit import Limit
from sandbox.simulator.log import LoggedCall
from sandbox.simulator.quirks import Quirks
from sandbox.simulator.seed import (
    DEFAULT_TOKEN,
    LIGHT_TOKEN,
    STANDARD_TOKEN,
    DefaultIds,
    Seed,
    SeedActivity,
    SeedAsset,
    SeedMember,
    SeedOrganization,
    SeedRun,
    SeedTag,
    SeedTask,
    SeedTemplate,
    SeedThread,
    crowd,
    default_seed,
    load_seed,
    long_run,
    make_id,
)
from sandbox.simulator.server import SimulatorServer, serve
from sandbox.simulator.simulator import Simulator
from sandbox.simulator.transport import SimulatorTransport

__all__ = [
    "DEFAULT_TOKEN",
    "LIGHT_TOKEN",
    "STANDARD_TOKEN",
    "DefaultIds",
    "Fault",
    "Limit",
    "LoggedCall",
    "LoggedDelivery",
    "Quirks",
    "Seed",
    "SeedActivity",
    "SeedAsset",
    "SeedMember",
    "SeedOrganization",
    "SeedRun",
    "SeedTag",
    "SeedTask",
    "SeedTemplate",
    "SeedThread",
    "Simulator",
    "SimulatorClient",
    "SimulatorServer",
    "SimulatorTransport",
    "crowd",
    "default_seed",
    "load_seed",
    "long_run",
    "make_id",
    "serve",
]
