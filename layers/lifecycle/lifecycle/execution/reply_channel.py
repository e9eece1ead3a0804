"""Where a person hears how a command ended."""

from typing import Protocol


class Replies(Protocol):
    """Where a person hears how it went."""

    def reply(self, url: str, text: str, *, undo: str | None = None) -> bool:
        """Show a text to the person behind the URL. Best effort: ``False`` if it could not be delivered.

        ``undo`` is an intent that the person is offered to take back.
        """
