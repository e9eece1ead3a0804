"""What a source's payload would become, step by step. Offline: nothing is sent, and no stack is asked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import ClassVar, override

from pydantic import InstanceOf

from cli.services.empty_paths import empty_paths
from cli.services.http_capture import read_capture
from cli.services.in_memory_intake import InMemoryIntake
from cli.ui.errors import CliError, Exit
from lifecycle.aws.api_gateway import HttpRequest
from lifecycle.domain.commands import Command
from lifecycle.domain.errors import LifecycleError, Rejected
from lifecycle.intake.expressions import search
from lifecycle.intake.mapping import Translated, translate, wanted
from lifecycle.intake.payload import read_json
from lifecycle.intake.schemes import Scheme, UnverifiedRequest, VerifiedRequest
from lifecycle.intake.schemes.eventbridge import EventBridge
from lifecycle.intake.sources import Source

_NO_ACCOUNT = "0" * 12


@dataclass(frozen=True, slots=True)
class TrialStep:
    """One step. `held` is `None` where nothing was decided."""

    held: bool | None
    what: str
    found: str


@dataclass(slots=True)
class Trial:
    """The steps that were taken, and the commands at the end. `refused` says why there are none."""

    steps: list[TrialStep] = field(default_factory=list)
    commands: list[tuple[Command, str]] = field(default_factory=list)
    """Each with what names its delivery."""
    refused: str = ""
    handshake: str = ""
    """The answer to a request that only checks the URL; empty for a delivery."""

    def note(self, held: bool | None, what: str, found: str) -> None:
        """Add a step."""
        self.steps.append(TrialStep(held, what, found))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialInput:
    """What to try, besides the file: headers, the URL that was called, and the source's secret if it is to be used."""

    headers: Mapping[str, str] = field(default_factory=dict)
    uri: str = ""
    secret: str = ""
    must_verify: bool = False


def try_out(name: str, source: Source, raw: bytes, given: TrialInput, now: datetime) -> Trial:
    """Try a file: a raw body, a captured HTTP request, an event of API Gateway, or one or more events of EventBridge.

    Raises:
        CliError: The file holds nothing that this kind of source sends.
    """
    trial = Trial()
    try:
        if not source.scheme.over_http:
            for event in _events(raw, source):
                _try_event(name, source, event, trial, now)
        else:
            _try_request(name, source, raw, given, trial, now)
    except LifecycleError as error:
        trial.refused = error.reason
    return trial


# --- a request --------------------------------------------------------------------------------------------------------


def _try_request(name: str, source: Source, raw: bytes, given: TrialInput, trial: Trial, now: datetime) -> None:
    request, received = _request(name, raw, given, now)
    if _checks_the_url(source, request, trial):
        return
    if given.secret and source.scheme.carries_proof(request):
        received = _verify(name, source, request, given.secret, trial, received)
        if trial.refused:
            return
        secret = given.secret
    else:
        if given.must_verify:
            raise CliError(
                "There is nothing to verify: set LIFECYCLE_SECRET, and give the headers (--header, or an event of API "
                "Gateway).",
                Exit.USAGE,
            )
        trial.note(
            None, "signature", f"not checked ({source.scheme.name}): that needs LIFECYCLE_SECRET and the headers"
        )
        source = source.model_copy(update={"scheme": _NotVerified(inner=source.scheme)})
        secret, received = "not used", now
    id_header = source.scheme.id_header
    signed_id = request.headers.get(id_header, "trial") if id_header else None
    delivery = signed_id or "the body"
    found: list[Translated] = []
    if source.commands:
        found = _translated(source, source.payload.read(request.body), request.headers, trial)
    else:
        trial.note(None, "rules", "not needed: the body is already a command")
        delivery = signed_id or str(_object(request.body).get("delivery_id") or delivery)
    rehearsal = InMemoryIntake(
        name, source, _organizations(source, found, request.body), secrets=[secret], now=received
    )
    _conclude(rehearsal.accept(request), found, delivery, trial)


def _checks_the_url(source: Source, request: HttpRequest, trial: Trial) -> bool:
    """Tell of a handshake. Whether the request was one, or could be nothing else."""
    asked = source.handshake
    offered = asked.offered(request) if asked is not None else None
    if asked is None or offered is None:
        if request.method not in {"HEAD", "GET"}:
            return False
        wanted = "does not contain what 'handshake' names" if asked else "needs a 'handshake' in sources.toml"
        trial.refused = f"It is a {request.method} request. It can only check the URL, and {wanted}."
    elif asked.kind == "secret":
        trial.handshake = "its secret is stored if `lifecycle source connect` waits for it"
    else:
        reply = asked.reply(offered)
        parts = (f"200 {reply.content_type}", reply.body, *(f"{key}: {text}" for key, text in reply.headers.items()))
        trial.handshake = " ".join(part for part in parts if part and "nosniff" not in part)
    trial.note(not trial.refused, "handshake", asked.kind if asked else "none")
    return True


def _verify(name: str, source: Source, request: HttpRequest, secret: str, trial: Trial, received: datetime) -> datetime:
    """Tell whether the signature is right. Return as of when: a request that was captured may be too old by now."""

    def why_not(request: HttpRequest, at: datetime) -> str:
        return InMemoryIntake(name, source, frozenset(), secrets=[secret], now=at).why_refused(request)

    why = why_not(request, received)
    signed = _moment(source.scheme.signed_at(request))
    said = f"verified ({source.scheme.name})"
    if why and signed is not None and not why_not(request, signed):
        why, received = "", signed
        said += f" as of {signed:%Y-%m-%d %H:%M} UTC, when it was signed; a stack refuses it by now"
    if why and not why_not(replace(request, body=request.body.rstrip(b"\r\n")), signed or received):
        why += " It would fit without the line break at the end of the file, which the system did not send."
    trial.note(not why, "signature", why or said)
    trial.refused = why
    return received


def _moment(at: float | None) -> datetime | None:
    try:
        return None if at is None else datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _request(name: str, raw: bytes, given: TrialInput, now: datetime) -> tuple[HttpRequest, datetime]:
    """The request and when it was received."""
    headers = {key.lower(): value for key, value in given.headers.items()}
    captured = read_capture(raw, name)
    if captured is not None:
        both = {**captured.headers, **headers}
        return replace(captured, headers=both, uri=given.uri or captured.uri), now
    event = _object(raw)
    called = event.get("requestContext")
    if isinstance(called, dict) and "rawPath" in event:
        sent = HttpRequest.of(event)
        parameters = {**sent.parameters, "source": name}
        sent = replace(sent, headers={**sent.headers, **headers}, uri=given.uri or sent.uri, parameters=parameters)
        at = called.get("timeEpoch")
        return sent, datetime.fromtimestamp(at / 1000, UTC) if isinstance(at, int) else now
    uri = given.uri or f"https://api.example/webhooks/{name}"
    sent = HttpRequest(route="", method="POST", uri=uri, parameters={"source": name}, headers=headers, body=raw)
    return sent, now


class _NotVerified(Scheme):
    """Accepts a payload that came without a signature, so that the real intake can translate it. For trials only."""

    name: ClassVar[str] = "not-verified"
    inner: InstanceOf[Scheme]

    @property
    @override
    def id_header(self) -> str | None:
        return self.inner.id_header

    @override
    def verify(
        self, secrets: Sequence[bytes], request: HttpRequest, *, now: float
    ) -> VerifiedRequest | UnverifiedRequest:
        return VerifiedRequest(request.headers.get(self.id_header, "trial") if self.id_header else None)

    @override
    def sign(self, secret: str, request: HttpRequest, *, delivery_id: str, timestamp: int) -> HttpRequest:
        return request

    @override
    def carries_proof(self, request: HttpRequest) -> bool:
        return True


# --- an event ---------------------------------------------------------------------------------------------------------


def _events(raw: bytes, source: Source) -> list[dict[str, object]]:
    """Events as EventBridge hands them on, as `aws events put-events` takes them, or in a batch of SQS."""
    try:
        found = read_json(raw)
    except LifecycleError as error:
        raise CliError(f"The file holds no event: {error.reason}") from error
    entries = found if isinstance(found, list) else [found]
    records = entries[0].get("Records") if len(entries) == 1 and isinstance(entries[0], dict) else None
    if isinstance(records, list):
        entries = [_object(str(record.get("body", "")).encode()) for record in records if isinstance(record, dict)]
    events = [_as_event(entry, source) for entry in entries if isinstance(entry, dict)]
    if not events or any("detail-type" not in event for event in events):
        raise CliError("The file holds no event of EventBridge: neither detail-type nor DetailType is there.")
    return events


def _as_event(entry: dict[str, object], source: Source) -> dict[str, object]:
    """An entry for `put-events` as the bus would hand it on. The declared account stands in for the sender's."""
    if "DetailType" not in entry:
        return entry
    detail = _object(str(entry.get("Detail", "")).encode())
    account = source.scheme.account if isinstance(source.scheme, EventBridge) else None
    kept = {"detail-type": entry["DetailType"], "source": entry.get("Source"), "detail": detail}
    return {"version": "0", "id": "trial", "account": account or _NO_ACCOUNT, **kept}


def _try_event(name: str, source: Source, event: dict[str, object], trial: Trial, now: datetime) -> None:
    given = tuple(event.get(key) for key in ("source", "detail-type", "account"))
    scheme = source.scheme
    if not isinstance(scheme, EventBridge):
        return
    if not scheme.sends(*given):
        wanted_types = " or ".join(sorted(scheme.detail_types))
        account = f" from account {scheme.account}" if scheme.account else ""
        trial.note(False, "sender", f"source {given[0]}, detail-type {given[1]}, account {given[2]}")
        trial.refused = (
            f"It is not an event of this source, which sends {wanted_types} as {scheme.event_source}{account}."
        )
        return
    trial.note(True, "sender", f"{given[0]}, {given[1]}" + (f", account {given[2]}" if scheme.account else ""))
    found: list[Translated] = []
    if source.commands:
        found = _translated(source, event, {}, trial)
    else:
        trial.note(None, "rules", "not needed: the event's detail is already a command")
    text = json.dumps(event)
    organizations = _organizations(source, found, json.dumps(event.get("detail")).encode())
    made = InMemoryIntake(name, source, organizations, now=now).accept_event(text)
    _conclude(made, found, f"event {event.get('id')}", trial)


# --- both -------------------------------------------------------------------------------------------------------------


def _translated(source: Source, body: object, headers: Mapping[str, str], trial: Trial) -> list[Translated]:
    """Tell of the filter and of each rule. Raises `Rejected` where the intake would, and in its words."""
    if source.when is None:
        trial.note(None, "filter", "none")
    else:
        held = wanted(source.when, body, headers)
        missing = "" if held else _missing(source.when, {"body": body, "headers": dict(headers)})
        trial.note(held, "filter", f"{str(held).lower()}: {source.when}{missing}")
        if not held:
            return []
    for number, rule in enumerate(source.commands):
        what = f"commands[no. {number + 1}]"
        try:
            new = len(translate((rule,), body, headers))
        except Rejected:
            trial.note(False, what, "makes no command from this payload")
            continue
        root = {"body": body, "headers": dict(headers)}
        listed = search(rule.each, root)
        items = listed if isinstance(listed, list) else []
        passed = f", {new} of them by its filter: {rule.when}" if rule.when else ""
        missing = _missing(rule.when, {**root, "item": items[0]}) if rule.when and items and not new else ""
        trial.note(bool(new), what, f"{len(items)} item{'' if len(items) == 1 else 's'}{passed}{missing}")
    return translate(source.commands, body, headers)


def _missing(when: str, scope: Mapping[str, object]) -> str:
    """What to add to a filter that is false; empty if each of its paths finds something."""
    paths = empty_paths(when, scope)
    return f". Nothing is at {', '.join(paths)}" if paths else ""


def _conclude(made: list[Command], found: list[Translated], delivery: str, trial: Trial) -> None:
    names = [one.delivery or f"{delivery}, place {one.index}" for one in found] or [delivery] * len(made)
    trial.commands += zip(made, names, strict=True)
    if len({command.intent_id for command in made}) < len(made):
        trial.note(False, "names", "some of these commands are equal and have the same name: each is carried out once")


def _organizations(source: Source, found: list[Translated], body: bytes) -> frozenset[str]:
    """Every organization that is named: offline, the stack's own are not known."""
    named = {one.request.org_id for one in found} | (source.organizations or set())
    asked = _object(body).get("org_id")
    return frozenset(named | ({asked} if isinstance(asked, str) else set()))


def _object(raw: bytes) -> dict[str, object]:
    try:
        found = read_json(raw)
    except LifecycleError:
        return {}
    return found if isinstance(found, dict) else {}
