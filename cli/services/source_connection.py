"""Holds a window open in which a system may hand over the secret that it will sign with."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cli.ui.errors import CliError, Exit
from lifecycle.aws.secrets import Secrets, signing_secrets
from lifecycle.domain.errors import Code, Retryable
from lifecycle.intake.handshakes import Window
from lifecycle.intake.sources import Source

_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """A window that `wait` closes. `key` is the last part of the URL to give to the system."""

    store: Secrets
    stored_as: str
    key: str
    until: datetime

    def wait(self, clock: Callable[[], datetime], sleep: Callable[[float], None]) -> str:
        """Wait until a secret is stored, and return it.

        Raises:
            CliError: The window ended before.
        """
        try:
            while clock() < self.until:
                sleep(_POLL_SECONDS)
                text = self.store.get(self.stored_as, fresh=True)
                found = signing_secrets(text)
                if Window.read(text) is None and found:
                    return found[0].decode()
        finally:
            self._close()
        raise CliError("No secret arrived before the window closed. Run the command again.", Exit.NOT_DONE)

    def _close(self) -> None:
        window = Window.read(self.store.get(self.stored_as, fresh=True))
        if window is not None and window.key == self.key:
            self.store.put(self.stored_as, json.dumps({"secrets": list(window.kept)}))


def open_window(store: Secrets, prefix: str, name: str, source: Source, until: datetime) -> OpenWindow:
    """Open the window. The secrets that are stored stay valid.

    Raises:
        CliError: The source declares no handshake that hands a secret over.
    """
    stored_as = f"{prefix}/sources/{name}"
    if source.handshake is None or source.handshake.kind != "secret":
        raise CliError(
            f"Source '{name}' sends no secret: its handshake is not of kind 'secret'. Store the secret yourself: "
            f"aws secretsmanager create-secret --name {stored_as} --secret-string …",
            Exit.USAGE,
        )
    try:
        kept = tuple(secret.decode() for secret in signing_secrets(store.get(stored_as, fresh=True)))
    except Retryable as error:
        if error.code is not Code.CONFIGURATION:
            raise
        kept = ()
    key = secrets.token_urlsafe(24)
    store.put(stored_as, Window(key, until, kept).write(), create=True)
    return OpenWindow(store, stored_as, key, until)


def window_end(now: datetime, minutes: int) -> datetime:
    """Return the end of a window of this many minutes."""
    return now + timedelta(minutes=minutes)
