"""The id of an intent: the same delivery always gets the same id, and nobody else can forge one.

``int_`` + 32 hex (HMAC of source, delivery id and item index) + 16 hex (a check on the first part, so that an id we
issued is recognised before its row exists). The key is never rotated: knowing an id gives no permission.
"""

import hashlib
import hmac
import json
import re

INTENT_PATTERN = r"^int_[0-9a-f]{48}$"
_SHAPE = re.compile(r"int_([0-9a-f]{32})([0-9a-f]{16})")


def _digest(key: bytes, *words: str | int) -> str:
    return hmac.new(key, json.dumps(words).encode(), hashlib.sha256).hexdigest()


def intent_id(key: bytes, source: str, delivery_id: str, index: int = 0) -> str:
    """The id of the ``index``-th command of a delivery. ``key`` is the id key of the stack.

    Raises ``ValueError`` if the key is empty.
    """
    if not key:
        msg = "the id key is empty, so every intent would get an id that can be guessed"
        raise ValueError(msg)
    name = _digest(key, "intent", source, delivery_id, index)[:32]
    return f"int_{name}{_digest(key, 'check', name)[:16]}"


def is_ours(key: bytes, candidate: str) -> bool:
    """Whether this stack issued the id. Any text is allowed."""
    shape = _SHAPE.fullmatch(candidate)
    return shape is not None and hmac.compare_digest(_digest(key, "check", shape[1])[:16], shape[2])
