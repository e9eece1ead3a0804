"""A client of the admin interface, for tests and the demo, which run in other processes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import requests

from sandbox.simulator.admin import DELIVERIES, FAULTS, LOG, ThingState
from sandbox.simulator.deliveries import LoggedDelivery
from sandbox.simulator.faults import Fault
from sandbox.simulator.limit import Limit
from sandbox.simulator.log import LoggedCall
from sandbox.simulator.quirks import Quirks
from sandbox.simulator.seed import Seed


class SimulatorClient:
    """Calls `/_simulator`. `base_url` is the simulator's URL, with or without `/api`."""

    def __init__(self, base_url: str, session: requests.Session | None = None, *, timeout: float = 10) -> None:
        self._url = f"{base_url.rstrip('/').removesuffix('/api')}/_simulator"
        self._session = session or requests.Session()
        self._timeout = timeout

    def log(self, *, acted: bool | None = None, action: str | None = None, id: str | None = None) -> list[LoggedCall]:
        """Read the log of calls."""
        wanted = {"acted": None if acted is None else str(acted).lower(), "action": action, "id": id}
        return LOG.validate_json(self._send("GET", "log", query=wanted).content)

    def clear_log(self) -> None:
        """Clear the log."""
        self._send("DELETE", "log")

    def effects(self, action: str | None = None, id: str | None = None) -> int:
        """Count the calls that changed state."""
        return int(self._send("GET", "effects", query={"action": action, "id": id}).json()["effects"])

    def add_fault(self, *faults: Fault) -> None:
        """Arm faults."""
        for fault in faults:
            self._send("POST", "faults", body=fault.model_dump_json())

    def faults(self) -> list[Fault]:
        """List the armed faults."""
        return FAULTS.validate_json(self._send("GET", "faults").content)

    def clear_faults(self) -> None:
        """Disarm everything."""
        self._send("DELETE", "faults")

    def merge(self, seed: Seed) -> None:
        """Add the objects of a seed. An object with a known id is replaced."""
        self._send("POST", "seed", body=seed.model_dump_json())

    def load(self, seed: Seed) -> None:
        """Replace the whole state with a seed."""
        self._send("PUT", "seed", body=seed.model_dump_json())

    def state(self, id: str) -> ThingState:
        """Return the state of one run, task, tag or template."""
        return ThingState.model_validate_json(self._send("GET", "state", query={"id": id}).content)

    def summary(self) -> dict[str, Any]:
        """Describe every organization with the id and state of each object."""
        found: dict[str, Any] = self._send("GET", "state").json()
        return found

    def now(self) -> datetime:
        """Read the simulator's clock."""
        return datetime.fromisoformat(self._send("GET", "clock").json()["now"])

    def advance(self, seconds: float) -> None:
        """Move the simulator's clock forward."""
        self._send("POST", "clock", json={"seconds": seconds})

    def reset(self) -> None:
        """Return to the seed, with an empty log and no faults."""
        self._send("POST", "reset")

    def limit(self) -> Limit | None:
        """Read the rate limit."""
        found = self._send("GET", "limit").json()
        return None if found is None else Limit.model_validate(found)

    def set_limit(self, limit: Limit | None) -> None:
        """Set or remove the rate limit."""
        if limit is None:
            self._send("DELETE", "limit")
        else:
            self._send("PUT", "limit", body=limit.model_dump_json())

    def quirks(self) -> Quirks:
        """Read the quirks in force."""
        return Quirks.model_validate_json(self._send("GET", "quirks").content)

    def set_quirks(self, quirks: Quirks) -> None:
        """Choose how the simulator behaves where Tallyfy's documents conflict or are silent."""
        self._send("PUT", "quirks", body=quirks.model_dump_json())

    def launch(self, id: str, name: str = "Process", *, organization_id: str | None = None) -> None:
        """As a person in Tallyfy: start a process without a template."""
        self._send("POST", "process", json={"do": "launch", "id": id, "name": name, "organization_id": organization_id})

    def complete(self, id: str) -> None:
        """As a person in Tallyfy: complete a process, with its tasks."""
        self._send("POST", "process", json={"do": "complete", "id": id})

    def reopen(self, id: str) -> None:
        """As a person in Tallyfy: open a completed process again."""
        self._send("POST", "process", json={"do": "reopen", "id": id})

    def deliveries(self) -> list[LoggedDelivery]:
        """List what was sent to the organizations' webhooks since the last reset."""
        return DELIVERIES.validate_json(self._send("GET", "deliveries").content)

    def rotate_token(self, organization_id: str, member_id: int, token: str) -> None:
        """Give a member a new token; the old one stops working."""
        self._send("PUT", "token", json={"organization_id": organization_id, "member_id": member_id, "token": token})

    def _send(
        self,
        method: str,
        name: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: str | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        response = self._session.request(
            method, f"{self._url}/{name}", params=query, data=body, json=json, timeout=self._timeout
        )
        if not response.ok:
            message = f"The simulator answered {response.status_code}: {response.text}"
            raise ValueError(message)
        return response
