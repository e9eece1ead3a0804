"""`lifecycle check`: check that the stack has everything that it needs. Only reads."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import requests
from botocore.exceptions import BotoCoreError, ClientError

from cli.clients.api import StatusApi
from cli.clients.context import CliContext
from cli.clients.signing import signed_request, unsigned
from cli.clients.stack import Stack, organizations_of, output_of
from cli.clients.tallyfy_reader import ReadOnlySession, read_only
from cli.services.approver_coverage import of_approvers, of_identities
from cli.services.config_files import declared_policy
from cli.services.in_memory_intake import InMemoryIntake
from cli.services.pauses import pauses
from cli.ui.errors import CliError, expected_error
from lifecycle.approvals.people import People
from lifecycle.aws.secrets import Secrets, signing_secrets
from lifecycle.domain.chat_tools import CHAT_TOOLS, ChatToolFacts
from lifecycle.domain.errors import LifecycleError
from lifecycle.intake.schemes.eventbridge import EventBridge
from lifecycle.intake.sources import Source, Sources
from lifecycle.notices.file import NoticeKind, Notices
from lifecycle.policy.policy import Policy
from lifecycle.sweep.preflight import OrganizationCheck, reasons
from lifecycle.sweep.preflight_rules import Finding, Mark, of_policy
from lifecycle.tallyfy.client import HttpTallyfy, Tokens

OUTPUTS = (
    *("ApiUrl", "CommandsQueueUrl", "CommandsDeadLetterQueueUrl", "PurgeQueueUrl", "PurgeDeadLetterQueueUrl"),
    *("LedgerTableName", "SecretPrefix", "OrganizationIds", "TallyfyBaseUrl"),
)
_SECONDS = 15.0
_LEAST_CONCURRENCY = 50
"""The queues alone use 13, the rest is for senders who come at once; a new account may have no more than 10."""
_LEAST_SECRET_BYTES = 24
"""What Standard Webhooks asks of a secret."""

_PARTNER = "aws.partner/"
"""How the sources of partners' events begin. Nobody else can send under such a source."""


@dataclass(frozen=True, slots=True)
class Declared:
    """The files of ``layers/config``."""

    sources: Sources
    people: People
    policy: Policy
    notices: Notices


def check(
    stack: Stack,
    declared: Declared,
    api: Callable[[], StatusApi],
    session: ReadOnlySession,
    *,
    clock: Callable[[], datetime],
) -> Iterator[Finding]:
    """Check everything that can be checked without changing anything; findings come as they are made."""
    sources, people, policy = declared.sources, declared.people, declared.policy
    yield _file("sources.toml", "source", "sources", sources.sources)
    yield _file("people.toml", "person", "people", people.people)
    yield from of_policy(policy)
    missing = [name for name in OUTPUTS if not stack.outputs().get(name)]
    if missing:
        yield Finding(Mark.NO, f"stack {stack.name}", f"no output {', '.join(missing)}", "Deploy this release.")
        return
    yield Finding(Mark.YES, f"stack {stack.name}", f"{len(OUTPUTS)} outputs")
    yield _health(api)
    prefix = output_of(stack, "SecretPrefix")
    organizations = organizations_of(stack, None)
    for name, source in sources.sources.items():
        if source.scheme.over_http:  # The bus itself says who may put events on it.
            yield _source_secret(stack.secrets(), prefix, name, source, clock())
        yield from _strangers(name, source, organizations)
    for tool in CHAT_TOOLS.values():
        if any(person.known_in(tool.name) for person in people.people.values()):
            yield _chat_secret(stack.secrets(), prefix, tool)
    yield from _channels(stack.secrets(), prefix, declared.notices)
    yield from of_warnings(policy, declared.notices, stack.parameters())
    yield from _lost(people, organizations)
    yield from of_identities(people)
    yield from of_parameters(stack.parameters(), sources)
    yield from _account(stack)
    yield from _pauses(stack, organizations)
    for org_id in organizations:
        yield from of_approvers(people, sources, policy, org_id)
        yield from _organization(stack, sources, policy, session, org_id, organizations, clock())


def troubles_of(context: CliContext, stack: Stack, org_id: str) -> tuple[str, ...] | None:
    """What keeps sweeps of an organization from acting now, in sentences; `None` where that cannot be found out."""
    session = read_only(context.session())
    try:
        policy, sources = declared_policy(), Sources(sources={})
        found = list(_organization(stack, sources, policy, session, org_id, [org_id], context.clock()))
    except Exception as error:
        if expected_error(error) is None:
            raise
        return None
    return reasons(found)


def _file(name: str, one: str, many: str, entries: Mapping[str, object]) -> Finding:
    named = f": {', '.join(entries)}" if entries else ""
    return Finding(Mark.YES, f"layers/config/{name}", f"{len(entries)} {one if len(entries) == 1 else many}{named}")


def _health(api: Callable[[], StatusApi]) -> Finding:
    what = "HTTP API"
    try:
        reached = api()
        if reached.healthy():
            return Finding(Mark.YES, what, reached.url)
    except (requests.RequestException, CliError) as error:
        return Finding(Mark.NO, what, _said(error), "Check the URL, and the functions' logs.")
    return Finding(
        Mark.NO, what, f"{reached.url}/health does not answer as it should", "See the status function's log."
    )


def _source_secret(secrets: Secrets, prefix: str, name: str, source: Source, now: datetime) -> Finding:
    what = f"secret of source {name}"
    where = f"{prefix}/sources/{name}"
    found = _stored(secrets, where, what, "Store it, or take the source out of sources.toml.")
    if isinstance(found, Finding):
        return found
    for number, secret in enumerate(found, start=1):
        wrong = _unusable(name, source, secret.decode(), now)
        if wrong:
            return Finding(Mark.NO, what, f"number {number} cannot be used: {wrong}", f"Store another one in {where}.")
    return _sized(what, found, source.scheme.name)


def _chat_secret(secrets: Secrets, prefix: str, tool: ChatToolFacts) -> Finding:
    what = f"signing secret of {tool.label}"
    todo = f"Store it, or take {tool.name} out of people.toml."
    found = _stored(secrets, f"{prefix}/chat/{tool.name}", what, todo)
    return found if isinstance(found, Finding) else _sized(what, found, f"as {tool.label} made it", least=1)


def _channels(secrets: Secrets, prefix: str, notices: Notices) -> Iterator[Finding]:
    for name in sorted({name for names in notices.tell.values() for name in names}):
        what, where = f"address of channel {name}", f"{prefix}/notices/{name}"
        todo = f"Store the URL of the room's incoming webhook as {where}, or take the channel out of notices.toml."
        try:
            secrets.get(where, fresh=True)
        except LifecycleError as error:
            yield Finding(Mark.NO, what, error.reason, todo)
        else:
            yield Finding(Mark.YES, what, "stored")


def of_warnings(policy: Policy, notices: Notices, parameters: Mapping[str, str]) -> Iterator[Finding]:
    """Rules that warn first and can warn nobody, because no channel hears warnings or sweeps only report."""
    names = [rule.name for rule in policy.acting if rule.warn_days is not None]
    if not names:
        return
    what = f"warnings of rule {', '.join(names)}"
    if not notices.channels_for(NoticeKind.WARNING):
        todo = "Give notices.toml a channel for 'warning', or take warn_days and warn out of policy.toml."
        yield Finding(Mark.NO, what, "no channel hears them, so the rule keeps everything", todo)
    elif parameters.get("SweepMode") == "report":
        todo = "Deploy with SweepMode=apply when the reports are as you want them."
        yield Finding(Mark.NOTE, what, "SweepMode is report: nobody is warned, so the rule keeps everything", todo)


def _stored(secrets: Secrets, where: str, what: str, todo: str) -> list[bytes] | Finding:
    try:
        found = signing_secrets(secrets.get(where, fresh=True))
    except LifecycleError as error:
        return Finding(Mark.NO, what, error.reason, todo)
    if not found:
        return Finding(Mark.NO, what, "it holds no signing secret", 'Store the text, or {"secrets": ["new", "old"]}.')
    return found


def _sized(what: str, found: list[bytes], kind: str, *, least: int = _LEAST_SECRET_BYTES) -> Finding:
    size = f"{len(found)} secret{'s' if len(found) > 1 else ''}, {kind}"
    if min(map(len, found)) < least:
        return Finding(Mark.NOTE, what, f"{size}, but short", f"Take {least} random bytes or more.")
    return Finding(Mark.YES, what, size)


def _unusable(name: str, source: Source, secret: str, now: datetime) -> str:
    """Sign a line and let the intake verify it."""
    request = unsigned(b"check", f"https://api.example/webhooks/{name}", source=name)
    try:
        sent = signed_request(source, secret, request, delivery_id="check", timestamp=int(now.timestamp()))
    except ValueError as error:
        return str(error)
    return InMemoryIntake(name, source, frozenset(), secrets=[secret], now=now).why_refused(sent)


def _strangers(name: str, source: Source, organizations: list[str]) -> Iterator[Finding]:
    named = (source.organizations or frozenset()) | {rule.org_id for rule in source.commands}
    strangers = sorted(named - set(organizations))
    if strangers:
        yield Finding(
            Mark.NOTE,
            f"organizations of source {name}",
            f"{', '.join(strangers)}: not the stack's",
            "Add them to OrganizationIds, or take them out of sources.toml.",
        )


def of_parameters(parameters: Mapping[str, str], sources: Sources) -> Iterator[Finding]:
    """What was given to the stack when it was deployed, held against what the files ask for. Pure."""
    what = "events on the bus"
    taken = [one for one in parameters.get("IncomingDetailTypes", "").split(",") if one]
    wanted = {one for source in sources.sources.values() for one in source.scheme.wanted_detail_types}
    missing = sorted(wanted - set(taken))
    if missing and "IncomingDetailTypes" in parameters:
        # `sam deploy` cuts a value at a space that stands in no quotes, and says nothing.
        cut = [one for one in missing if taken and one.startswith(f"{taken[-1]} ")]
        why = f": the parameter was cut at a space, after '{taken[-1]}'" if cut else ""
        line = f"'IncomingDetailTypes=\"{','.join(sorted(wanted))}\"'"
        yield Finding(
            Mark.NO,
            what,
            f"the stack takes no {', '.join(missing)}, which sources.toml names{why}",
            f"Write {line} into parameter_overrides of samconfig.toml, quotes included, and deploy.",
        )
    others = {account for source in sources.sources.values() if (account := source.scheme.sender_account)}
    unheard = sorted(others - set(parameters.get("EventSenderAccountIds", "").split(",")))
    if unheard and "EventSenderAccountIds" in parameters:
        found = f"sources.toml names account {', '.join(unheard)}; EventSenderAccountIds does not"
        yield Finding(Mark.NOTE, what, found, "Add it and deploy, unless it is the account of this stack.")
    bus = parameters.get("PartnerBus", "").rpartition("event-bus/")[2]
    schemes = [source.scheme for source in sources.sources.values() if isinstance(source.scheme, EventBridge)]
    partners = sorted({str(scheme.event_source) for scheme in schemes} - {bus})
    unheard = [partner for partner in partners if partner.startswith(_PARTNER)]
    if unheard and "PartnerBus" in parameters:
        found = f"sources.toml takes events of {', '.join(unheard)}; PartnerBus names {bus or 'no bus'}"
        yield Finding(
            Mark.NOTE, what, found, "Name the partner's bus and deploy, unless a rule on it sends to this one."
        )


def _account(stack: Stack) -> Iterator[Finding]:
    """What the account may keep from this stack: secrets that are about to go, and room to run."""
    try:
        for name, gone in stack.secrets_to_be_deleted().items():
            found = f"is deleted for good on {gone:%Y-%m-%d}, and cannot be read until then"
            yield Finding(Mark.NO, f"secret {name}", found, f"aws secretsmanager restore-secret --secret-id {name}")
    except (BotoCoreError, ClientError) as error:
        yield Finding(Mark.NOTE, "secrets about to be deleted", _said(error), "Allow secretsmanager:ListSecrets.")
    what = "concurrency of the account"
    try:
        room = stack.concurrency()
    except (BotoCoreError, ClientError) as error:
        yield Finding(Mark.NOTE, what, _said(error), "Allow lambda:GetAccountSettings.")
        return
    if room < _LEAST_CONCURRENCY:
        found = f"{room} invocations at once, for everything in it: a burst of deliveries would be answered with 503"
        yield Finding(Mark.NOTE, what, found, "Ask for more: Service Quotas, AWS Lambda, Concurrent executions.")
    else:
        yield Finding(Mark.YES, what, f"{room} invocations at once")


def _pauses(stack: Stack, organizations: list[str]) -> Iterator[Finding]:
    """Report a pause as a note: a person wants it, but nothing is carried out before it ends."""
    for org_id in organizations:
        what = f"pause of {org_id}"
        try:
            by = pauses(stack, [org_id]).get(org_id)
        except (LifecycleError, BotoCoreError, ClientError) as error:
            yield Finding(Mark.NO, what, _said(error), "Allow this identity to read the ledger's table.")
            continue
        if by is not None:
            found = f"paused by {by}: only restores are carried out"
            yield Finding(Mark.NOTE, what, found, "To continue: lifecycle resume")


def _lost(people: People, organizations: list[str]) -> Iterator[Finding]:
    """Report people whose every slash command would be refused."""
    for name, person in people.people.items():
        what = f"organization of {name}"
        # Only a line in a chat tool is about no organization of its own.
        if (
            any(map(person.known_in, CHAT_TOOLS))
            and (person.may or person.asks)
            and person.organization is None
            and len(organizations) > 1
        ):
            yield Finding(
                Mark.NOTE,
                what,
                "people.toml names none, and the stack has several",
                "Name this person's organization in people.toml.",
            )
        elif person.organization is not None and person.organization not in organizations:
            yield Finding(Mark.NOTE, what, f"{person.organization}: not the stack's", "Correct people.toml.")


def _organization(
    stack: Stack,
    sources: Sources,
    policy: Policy,
    session: ReadOnlySession,
    org_id: str,
    organizations: list[str],
    now: datetime,
) -> Iterator[Finding]:
    prefix = output_of(stack, "SecretPrefix")
    try:
        tallyfy = HttpTallyfy(
            session,
            output_of(stack, "TallyfyBaseUrl"),
            Tokens(stack.secrets(), prefix, frozenset(organizations)),
            capabilities=frozenset(),  # No capabilities: this client only reads.
            spend=lambda _: None,
            time_left=lambda: _SECONDS,
        )
        # The lines below the organization's are about it.
        yield from OrganizationCheck(tallyfy, stack.secrets(), prefix, policy, sources).look(org_id, now)
    except (LifecycleError, ValueError) as error:
        yield Finding(Mark.NO, f"organization {org_id}", _said(error), "Try again later, or check TallyfyBaseUrl.")


def _said(error: Exception) -> str:
    expected = expected_error(error)
    return str(expected or error)
