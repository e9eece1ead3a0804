"""Faults on demand: which fault, on which calls, how often."""

import re
from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sandbox.simulator.messages import ReceivedRequest, Response, as_json, error, rate_limited

type Kind = Literal["delay", "status", "reset", "rate_limit", "html", "error_in_200"]
type When = Literal["before", "after"]


class Fault(BaseModel):
    """One fault, before or after the simulator acts on a call.

    `method`, `path` (a regular expression, searched) and `id` must all match where given. The first `skip` matching
    calls go through. Then the fault applies `times` times, or to every call with -1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    when: When = "before"
    method: str | None = None
    path: str | None = None
    id: str | None = None
    times: int = Field(default=1, ge=-1)
    skip: int = Field(default=0, ge=0)
    seconds: float = Field(default=0, ge=0, le=900)
    """The length of a delay in seconds."""
    status: int = Field(default=503, ge=400, le=599)
    """The status of a `status` or `html` fault."""
    retry_after: int | None = Field(default=None, ge=0)
    """The Retry-After header of a `status` or `rate_limit` fault, in seconds. The default of a rate limit is 1."""

    @field_validator("path")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as problem:
            raise ValueError(f"not a regular expression: {problem}") from problem
        return value

    @classmethod
    def delay(cls, seconds: float, when: When = "before", **match: str | int) -> Self:
        """Answer late. The call takes effect even if the caller's time-out passes first."""
        return cls.model_validate({"kind": "delay", "seconds": seconds, "when": when, **match})

    @classmethod
    def answer_status(cls, status: int, when: When = "before", **match: str | int) -> Self:
        """Answer with an error status, before or after acting."""
        return cls.model_validate({"kind": "status", "status": status, "when": when, **match})

    @classmethod
    def reset(cls, when: When = "before", **match: str | int) -> Self:
        """Reset the connection, before or after acting."""
        return cls.model_validate({"kind": "reset", "when": when, **match})

    @classmethod
    def rate_limit(cls, retry_after: int, **match: str | int) -> Self:
        """Answer 429."""
        return cls.model_validate({"kind": "rate_limit", "retry_after": retry_after, **match})

    @classmethod
    def html(cls, status: int = 502, when: When = "before", **match: str | int) -> Self:
        """Answer with an error page, as the edge does."""
        return cls.model_validate({"kind": "html", "status": status, "when": when, **match})

    @classmethod
    def error_in_200(cls, when: When = "before", **match: str | int) -> Self:
        """Answer 200 with a body that reports an error."""
        return cls.model_validate({"kind": "error_in_200", "when": when, **match})

    def strikes(self, call: ReceivedRequest) -> bool:
        """Return whether a call matches."""
        return (
            (self.method is None or self.method.upper() == call.method)
            and (self.id is None or self.id in call.path.split("/"))
            and (self.path is None or re.search(self.path, call.path) is not None)
        )

    def answer(self) -> Response | None:
        """The answer that the caller gets, or None if the connection is reset."""
        match self.kind:
            case "status":
                answer = error(self.status, "Server Error")
                waiting = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
                return Response(answer.status, answer.body, {**answer.headers, **waiting})
            case "rate_limit":
                return rate_limited(1 if self.retry_after is None else self.retry_after)
            case "html":
                page = f"<html><head><title>{self.status}</title></head><body><h1>{self.status}</h1></body></html>"
                return Response(self.status, page.encode(), {"Content-Type": "text/html; charset=UTF-8"})
            case "error_in_200":
                return as_json(200, {"error": True, "message": "Something went wrong.", "code": 500})
            case "delay" | "reset":
                return None


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    left: int


@dataclass(frozen=True, slots=True)
class Strike:
    """The faults of one call: at most one delay and one other fault."""

    delay: Fault | None = None
    other: Fault | None = None

    @property
    def name(self) -> str | None:
        """Name the faults, for the log."""
        return " ".join(f"{fault.kind}/{fault.when}" for fault in (self.delay, self.other) if fault) or None


@dataclass(slots=True)
class Faults:
    """The armed faults, in order. A call takes the first delay and the first other fault that match."""

    _armed: list[_Armed] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Arm a fault."""
        self._armed.append(_Armed(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Disarm everything."""
        self._armed.clear()

    def pending(self) -> list[Fault]:
        """List the armed faults, each with the number of times it still applies."""
        return [armed.fault.model_copy(update={"skip": armed.skip, "times": armed.left}) for armed in self._armed]

    def take(self, call: ReceivedRequest) -> Strike:
        """Return the faults of a call, and count them as used."""
        if not self._armed:
            return Strike()
        taken: dict[bool, Fault] = {}
        for armed in self._armed:
            is_delay = armed.fault.kind == "delay"
            if is_delay in taken or not armed.fault.strikes(call):
                continue
            if armed.skip:
                armed.skip -= 1
            elif armed.left:
                armed.left -= armed.left > 0
                taken[is_delay] = armed.fault
        self._armed = [armed for armed in self._armed if armed.left]
        return Strike(delay=taken.get(True), other=taken.get(False))
