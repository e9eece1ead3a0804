"""Keeps verified deliveries that became no command, so that an operator can replay them.

A delivery is kept as a dead letter, which SQS encrypts and removes after 14 days. ``lifecycle source replay`` puts it
into the events queue inside of a ``Replay``. Only operators may send a ``Replay`` to that queue; EventBridge only puts
events there. Nothing of an unverified request is ever kept.
"""

import gzip
import json
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from lifecycle.intake.payload import Untranslatable, unpacked

MOST_KEPT = 240_000
"""How many bytes a kept delivery has at most. Attributes count too, and SQS promises 262,144 for both."""
_LONGEST_HEADER = 200
_MOST_HEADERS = 20
_USEFUL = re.compile(r"event|topic|type|resource|action|trigger")
_SECRET = re.compile(r"sign|secret|token|auth|key|hmac|mac$|cookie|password")


class KeptDelivery(BaseModel):
    """The body of a dead letter with a kept delivery."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """As in ``sources.toml``; ``bus`` for a message that is no event of EventBridge."""
    delivery: str
    """The delivery's id: what the source signed, the id of the event, or the digest of the body."""
    received_at: AwareDatetime
    payload: str
    """The body, or the event. If it is ``gzip``, in base64."""
    headers: Mapping[str, str] = {}
    """The headers that say what kind of event it is. Never a signature, a key or a token."""
    encoding: Literal["text", "gzip"] = "text"
    """``gzip`` where the payload is no text, or too large to be kept as it is."""
    characters: int | None = None
    """Only the beginning could be kept, of so many characters. It cannot be sent again."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the payload was kept."""
        return self.characters is None

    def raw(self) -> bytes:
        """The payload as it was sent. Raises ``Untranslatable`` if it cannot be unpacked."""
        if self.encoding == "text":
            return self.payload.encode("utf-8", "surrogatepass")
        try:
            return unpacked(b64decode(self.payload, validate=True))
        except NotBase64:
            raise Untranslatable("The kept payload is not base64.") from None

    def text(self) -> str:
        """The payload for people to read."""
        raw = self.raw()
        with suppress(Untranslatable):
            raw = unpacked(raw)
        return raw.decode("utf-8", "replace")

    def body(self) -> str:
        """The text of the dead letter. ASCII JSON: SQS takes neither control characters nor half a surrogate pair."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True))

    @classmethod
    def of(
        cls, source: str, delivery: str, received_at: datetime, raw: bytes, headers: Mapping[str, str]
    ) -> "KeptDelivery":
        """Keep a delivery: whole if it fits into a message, compressed if necessary; otherwise only its beginning."""
        kept = {name: text for name, text in headers.items() if _is_kept(name, text)}
        few = dict(list(kept.items())[:_MOST_HEADERS])
        base = cls(source=source, delivery=delivery, received_at=received_at, payload="", headers=few)
        with suppress(UnicodeDecodeError):
            plain = base.model_copy(update={"payload": raw.decode()})
            if len(plain.body()) <= MOST_KEPT:
                return plain
        packed = b64encode(gzip.compress(raw, mtime=0)).decode()
        whole = base.model_copy(update={"payload": packed, "encoding": "gzip"})
        return whole if len(whole.body()) <= MOST_KEPT else base._beginning(raw.decode("utf-8", "replace"))

    def _beginning(self, text: str) -> "KeptDelivery":
        def cut(most: int) -> "KeptDelivery":
            return self.model_copy(update={"payload": text[:most], "characters": len(text)})

        fits = bisect_right(range(MOST_KEPT), MOST_KEPT, key=lambda most: len(cut(most).body())) - 1
        return cut(max(0, fits))


class Replay(BaseModel):
    """A kept delivery that an operator sends again. ``replay`` names the attempt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replay: str
    kept: KeptDelivery

    def body(self) -> str:
        """The text of the message. It begins with ``lifecycle.intake.service.REPLAY_PREFIX``."""
        return json.dumps({"replay": self.replay, "kept": json.loads(self.kept.body())})


def _is_kept(name: str, text: str) -> bool:
    """Whether a header says what kind of event it is, and nothing that proves who sent it."""
    useful = bool(_USEFUL.search(name)) and not _SECRET.search(name)
    return useful and len(text) <= _LONGEST_HEADER and text.isprintable()
