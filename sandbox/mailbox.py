"""Where later answers of chat tools arrive in the demonstration.

The stack posts them to the hosts of the chat tools alone, or to the origin of a simulated Tallyfy on loopback: so the
simulator's own server takes them here, under a path of their own.
"""

import json
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, override

from sandbox.simulator import Simulator
from sandbox.simulator.messages import ReceivedRequest, Response, as_json

REPLIES: Final = "/_slack/replies"


class ListeningSimulator(Simulator):
    """A simulator that also hears what a person in Slack would be shown."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        """The texts, in the order they came."""
        self.buttons: list[tuple[str, str]] = []
        """What each button shown so far asks for, and of what: the action id and the value that a press would send."""
        super().__init__()

    @override
    def handle(self, call: ReceivedRequest, wait: Callable[[float], None] = time.sleep) -> Response:
        """Answer one call; a reply to Slack is none of Tallyfy's, and not in its log."""
        if call.path != REPLIES:
            return super().handle(call, wait)
        said = json.loads(call.body)
        self.buttons += _buttons(said)
        self.heard.put(str(said["text"]) if "text" in said else "".join(_texts(said)))
        return as_json(200, {"ok": True})


def _texts(said: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """What a card says, in the order of its parts."""
    for name, value in said.items() if isinstance(said, dict) else enumerate(said if isinstance(said, list) else ()):
        if name == "text" and isinstance(value, str):
            yield value
        else:
            yield from _texts(value)


def _buttons(said: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - JSON
    rows = [block["elements"] for block in said.get("blocks", []) if block["type"] == "actions"]
    return [(button["action_id"], button["value"]) for row in rows for button in row]
