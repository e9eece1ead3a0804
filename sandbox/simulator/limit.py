"""The rate limit, as a fixed window or a token bucket."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Limit(BaseModel):
    """At most `requests` in `seconds` for each organization. A bucket holds `requests` tokens and refills evenly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: int = Field(ge=1)
    seconds: float = Field(default=60, gt=0)
    kind: Literal["window", "bucket"] = "window"


@dataclass(slots=True)
class Meter:
    """Counts the calls of one organization against a limit."""

    limit: Limit
    _at: datetime | None = None
    _left: float = field(default=0)

    def admit(self, now: datetime) -> int | None:
        """Count one call. Return None if it is allowed, or else the whole seconds to wait (at least 1)."""
        passed = self.limit.seconds if self._at is None else (now - self._at).total_seconds()
        rate = self.limit.requests / self.limit.seconds
        if self.limit.kind == "window":
            if passed >= self.limit.seconds or passed < 0:
                self._at, self._left, passed = now, self.limit.requests, 0
            wait = self.limit.seconds - passed
        else:
            self._left = min(self.limit.requests, self._left + max(0.0, passed) * rate)
            self._at = now
            wait = (1 - self._left) / rate
        if self._left >= 1:
            self._left -= 1
            return None
        return max(1, math.ceil(wait))
