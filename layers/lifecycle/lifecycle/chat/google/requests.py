"""An event of Google Chat, verified and read. Pure and total over any body.

Google sends an ID token with each event. API Gateway's JWT authorizer verifies it (issuer Google, audience our URL) and
passes its claims; here the service account of our own Chat app must stand in them, since any app could name our URL.
Events are those of a Workspace add-on.
Sources: https://developers.google.com/workspace/chat/verify-requests-from-chat and
https://developers.google.com/workspace/add-ons/concepts/event-objects
"""

import re
from collections.abc import Sequence

from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.chat.json_fields import Fields, at, load, text
from lifecycle.chat.request import ChatRequest, Pressed
from lifecycle.domain.errors import Code, Rejected

_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
_SHARED_ACCOUNT = "chat@system.gserviceaccount.com"
"""Signs for every Chat app that is no Workspace add-on. Somebody else's app could name our URL, and show buttons of its
own choice to our people, so it proves nothing here."""
_PAYLOADS = ("messagePayload", "appCommandPayload", "buttonClickedPayload", "addedToSpacePayload")
_LINK = re.compile(r"<(https?://[^|<>\s]+)\|[^<>]*>")
_SPACE = re.compile(r"spaces/[A-Za-z0-9_-]{1,100}", re.ASCII)


def why_not_google(proofs: Sequence[bytes], request: HttpRequest) -> str:
    """Why our app in Google Chat did not send this; empty if it did. ``proofs`` are e-mails of service accounts."""
    claims = request.claims
    if not claims:
        return "API Gateway has verified no token of it"
    if claims.get("iss") not in _ISSUERS:
        return "its token is not one of Google's"
    if claims.get("email_verified") != "true":
        return "its token names no verified e-mail"
    if claims.get("email", "").lower() == _SHARED_ACCOUNT:
        return "its token is of the account that all Chat apps share. Make the app a Workspace add-on"
    known = {proof.decode("utf-8", "replace").strip().lower() for proof in proofs} - {""}
    return "" if claims.get("email", "").lower() in known else "its token is of another service account"


def read_event(body: bytes) -> ChatRequest:
    """Read an event. Raises ``Rejected`` if it is neither a line nor a press."""
    event = load(body) or {}
    chat = at(event, "chat")
    kind = next((name for name in _PAYLOADS if name in chat), "")
    payload = at(chat, kind)
    message, address = at(payload, "message"), _address(text(payload, "space", "name"))
    who = _identities(at(chat, "user"))
    match kind:
        case "buttonClickedPayload":
            pressed = _pressed(at(event, "commonEventObject"))
            return ChatRequest(identities=who, pressed=pressed, delivery=text(chat, "eventTime"), address=address)
        case "messagePayload" | "appCommandPayload":
            return ChatRequest(identities=who, line=_line(message), delivery=text(message, "name"), address=address)
        case "addedToSpacePayload":
            return ChatRequest(identities=who, line="help")
        case _:
            raise Rejected(Code.INVALID, "The body is no line and no press of Google Chat.")


def _identities(user: Fields) -> tuple[str, ...]:
    """A person of a Workspace domain. Somebody without one, or an app, is nobody here."""
    domain, mail = text(user, "domainId"), text(user, "email").lower()
    is_human = text(user, "type") in {"", "HUMAN"}
    return (f"{domain}/{mail}",) if is_human and domain and mail else ()


def _line(message: Fields) -> str:
    """What was written behind the mention or the slash command. A link is where it leads."""
    written = message.get("argumentText")
    return _LINK.sub(lambda found: found[1], written if isinstance(written, str) else text(message, "text"))


def _pressed(common: Fields) -> Pressed:
    parameters = at(common, "parameters")
    value = text(parameters, "value")
    inputs = at(common, "formInputs", f"reason-{value}", "stringInputs").get("value")
    reason = inputs[0] if isinstance(inputs, list) and inputs and isinstance(inputs[0], str) else ""
    return Pressed(text(parameters, "kind"), value, reason)


def _address(space: str) -> str:
    return space if _SPACE.fullmatch(space) else ""
