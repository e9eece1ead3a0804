"""The channel through which a person learns how a command ended."""

from typing import Protocol


class Replies(Protocol):
    """Shows a person how a command ended."""

    def reply(self, url: str, text: str, *, undo: str | None = None) -> bool:
        """Show a text to the person behind the URL. Best effort: ``False`` if it could not be delivered.

        ``undo`` is the id of an intent that the person is offered to undo.
        """
