"""The scheme ``eventbridge``: events on the stack's bus or a partner's bus. IAM says who may send them."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self, override

from pydantic import StringConstraints, model_validator

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.domain.events import OWN_EVENTS
from lifecycle.intake.schemes import Scheme, UnverifiedRequest, VerifiedRequest


class EventBridge(Scheme):
    """Selects events by their source, detail type and account."""

    name: ClassVar[str] = "eventbridge"
    over_http: ClassVar[bool] = False

    event_source: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,256}$")] | None = None
    """The event's own ``source``. The sender chooses it."""
    detail_types: frozenset[str] = frozenset()
    """The ``detail-type`` values that the source takes."""
    account: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")] | None = None
    """The AWS account that must have sent it. EventBridge sets it; a sender cannot."""

    @model_validator(mode="after")
    def _says_which_events(self) -> Self:
        if not (self.event_source and self.detail_types):
            msg = "an eventbridge source needs 'event_source' and at least one of 'detail_types'"
            raise ValueError(msg)
        if self.event_source == OWN_EVENTS:
            msg = f"'event_source' is {OWN_EVENTS}, this project's own source: its events must never start a command"
            raise ValueError(msg)
        return self

    @property
    @override
    def names_deliveries(self) -> bool:
        return True

    @property
    @override
    def wanted_detail_types(self) -> frozenset[str]:
        return self.detail_types

    @property
    @override
    def sender_account(self) -> str | None:
        return self.account

    @property
    @override
    def why_not_irreversible(self) -> str:
        if self.account is not None:
            return ""
        return "anybody on the bus can claim a source: irreversible actions over the bus need 'account'"

    @override
    def verify(
        self, secrets: Sequence[bytes], request: HttpRequest, *, now: float
    ) -> VerifiedRequest | UnverifiedRequest:
        return UnverifiedRequest("events come over the bus")

    @override
    def sign(self, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int) -> HttpRequest:
        msg = "events on the bus are not signed"
        raise ValueError(msg)

    @override
    def carries_proof(self, request: HttpRequest) -> bool:
        return False

    @override
    def sends(self, event_source: object, detail_type: object, account: object) -> bool:
        return (
            event_source == self.event_source
            and isinstance(detail_type, str)
            and detail_type in self.detail_types
            and (self.account is None or self.account == account)
        )


SCHEME = EventBridge
