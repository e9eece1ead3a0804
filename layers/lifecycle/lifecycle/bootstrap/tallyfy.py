"""For the functions that call Tallyfy: ``functions/worker``, ``functions/purge`` and ``functions/sweep``."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from lifecycle.aws.clients import client, late_client
from lifecycle.aws.dynamodb import DynamoTable, VersionedTable
from lifecycle.aws.eventbridge import EventBridgeBus
from lifecycle.aws.sqs import SqsQueue
from lifecycle.bootstrap.common import (
    id_key,
    now,
    objects,
    operators_file,
    rows,
    secrets,
    stopwatch,
)
from lifecycle.bootstrap.observability import metrics
from lifecycle.bootstrap.schedules import schedules
from lifecycle.bootstrap.settings import (
    AnnouncingSettings,
    ChatJobsSettings,
    PurgeSettings,
    SweepSettings,
    TallyfySettings,
    WorkerSettings,
)
from lifecycle.domain.capabilities import ORDINARY, PERMANENT, Capability
from lifecycle.domain.chat_tools import CHAT_TOOLS
from lifecycle.domain.urls import loopback_origin
from lifecycle.execution.announcement_batch import AnnouncementBatch
from lifecycle.execution.command_executor import CommandExecutor, Rights, WorkerLimits
from lifecycle.execution.ledger import Ledger, LedgerTerms
from lifecycle.execution.outcomes import Outcomes
from lifecycle.execution.paced_tallyfy import PacedTallyfy
from lifecycle.execution.read_ahead import ReadAhead
from lifecycle.execution.reply_channel import QueueReplies, Replies
from lifecycle.execution.stop_signals import StopSignals
from lifecycle.execution.target_search import TargetSearch
from lifecycle.execution.worker import Worker
from lifecycle.holds.store import HoldStore
from lifecycle.intake.sources import Sources
from lifecycle.pacing.batch_budget import Budget
from lifecycle.pacing.rate_limiter import Pacing
from lifecycle.pacing.token_bucket import Lane, Rate
from lifecycle.policy.policy import Policy
from lifecycle.tallyfy.client import HttpTallyfy, Tokens, pooled_session

if TYPE_CHECKING:
    from lifecycle.approvals.people import People
    from lifecycle.chat.searches import ChatJobs
    from lifecycle.sweep.service import SweepService

_MOST_ATTEMPTS = 6


@cache
def worker() -> Worker:
    """Build the worker once for each process. It has no code for permanent deletes."""
    return _worker(_settings(WorkerSettings), ORDINARY)


@cache
def purge() -> Worker:
    """Build the purge worker once for each process. It can only delete permanently, and it has the safeguards."""
    # Imported here: the ordinary worker shares this module and needs none of these at start.
    from lifecycle.approvals.people import People  # noqa: PLC0415 - see above
    from lifecycle.approvals.store import ApprovalStore  # noqa: PLC0415 - see above
    from lifecycle.audit.store import AuditStore  # noqa: PLC0415 - see above
    from lifecycle.deletion.exporter import Export  # noqa: PLC0415 - see above
    from lifecycle.deletion.safeguards import Safeguards  # noqa: PLC0415 - see above
    from lifecycle.tallyfy.export_reader import HttpRecords, Patient  # noqa: PLC0415 - see above

    settings = _settings(PurgeSettings)
    made = _worker(settings, PERMANENT)
    table = rows(settings.ledger_table)
    people = People.parse(operators_file("people.toml"))
    tallyfy = _tallyfy(settings, PERMANENT, made.budget.spend)
    safeguards = Safeguards(
        approvals=ApprovalStore(table, timedelta(days=settings.ledger_days), now, least=people.approvals.least),
        people=people,
        export=Export(
            records=HttpRecords(
                tallyfy,
                pooled_session(),
                time_left=stopwatch.left,
                through=Patient(time.sleep, stopwatch.left),
            ),
            objects=objects(settings.exports_bucket),
            clock=now,
        ),
        trail=AuditStore(table),
        schedules=schedules(settings, queue_arn=settings.queue_arn, dead_letter_arn=settings.dead_letter_queue_arn),
        bus=made.outcomes.bus,
        id_key=id_key(settings.id_key_secret_arn),
        clock=now,
    )
    sources = made.executor.rights.of_source
    rights = replace(made.executor.rights, of_source=lambda source, doing: _may_ask(people, sources, source, doing))
    return replace(made, executor=replace(made.executor, safeguards=safeguards, rights=rights))


def _may_ask(people: "People", sources: Callable[[str, Capability], bool], source: str, doing: Capability) -> bool:
    """Whether a sender may ask for a permanent delete: a chat tool if any of its people may."""
    return people.anybody_asks(CHAT_TOOLS[source], doing) if source in CHAT_TOOLS else sources(source, doing)


def worker_token() -> str:
    """Read the token for the first call to Tallyfy at start; with several organizations, one of their tokens."""
    return _first_token(_settings(WorkerSettings))


def purge_token() -> str:
    """See ``worker_token``."""
    return _first_token(_settings(PurgeSettings))


def _first_token(settings: TallyfySettings) -> str:
    return _tokens(settings).of(min(settings.organization_ids))


@cache
def _settings[Kind: TallyfySettings](kind: type[Kind]) -> Kind:
    return kind.read(os.environ)


def _worker(settings: WorkerSettings, capabilities: frozenset[Capability]) -> Worker:
    table = rows(settings.ledger_table)
    batch = AnnouncementBatch(table, timedelta(days=settings.ledger_days), now)
    read_ahead = ReadAhead(table)
    ledger = _ledger(read_ahead, settings, timedelta(seconds=settings.lease_seconds), batch)
    budget = Budget(_pacing(table, settings, settings.lane))
    policy = _policy()
    tallyfy = PacedTallyfy(_tallyfy(settings, capabilities, budget.spend), budget)
    limits = WorkerLimits(
        retry_base=settings.retry_base_seconds,
        minimum_archive_age=timedelta(days=settings.minimum_archive_days),
        patience=timedelta(seconds=settings.queue_retention_seconds * 7 // 8),
    )
    executor = CommandExecutor(
        ledger=ledger,
        stop_signals=StopSignals(table, HoldStore(table, now)),
        tallyfy=tallyfy,
        rights=Rights(
            of_source=Sources.parse(operators_file("sources.toml")).allow,
            by_plan=frozenset(rule.capability for rule in policy.acting),
        ),
        limits=limits,
        clock=now,
        roll=random.random,
        hold_tags=policy.hold_tags or frozenset(),
    )
    return Worker(
        ledger=ledger,
        read_ahead=read_ahead,
        executor=executor,
        search=TargetSearch(ledger=ledger, tallyfy=tallyfy, retry_base=limits.retry_base, roll=random.random),
        budget=budget,
        queue=_queue(settings.queue_url),
        outcomes=_outcomes(settings, ledger, batch, QueueReplies(_queue(settings.chat_queue_url))),
        metrics=metrics,
        capabilities=capabilities,
        limits=limits,
        clock=now,
        roll=random.random,
    )


@cache
def chat_jobs() -> "ChatJobs":
    """Build the jobs of ``functions/chat_jobs`` once for each process. They read Tallyfy and have no capability."""
    # Imported here: the workers share this module and need none of these.
    from lifecycle.chat.channels import AnswerPosts  # noqa: PLC0415 - see above
    from lifecycle.chat.notices import NoticeJobs  # noqa: PLC0415 - see above
    from lifecycle.chat.searches import ChatJobs  # noqa: PLC0415 - see above
    from lifecycle.chat.tool import load_tool  # noqa: PLC0415 - see above
    from lifecycle.notices.file import Notices  # noqa: PLC0415 - see above
    from lifecycle.plans.warning_marks import SentWarnings  # noqa: PLC0415 - see above
    from lifecycle.sweep.state import SweepState  # noqa: PLC0415 - see above
    from lifecycle.sweep.warn_job import WarningDeliveries  # noqa: PLC0415 - see above

    settings = _settings(ChatJobsSettings)
    table = rows(settings.ledger_table)
    session = pooled_session()
    simulator = loopback_origin(settings.tallyfy_base_url)
    posts = AnswerPosts(
        cache(lambda tool: load_tool(tool).poster(session, simulator)), secrets(), settings.secret_prefix
    )
    replies = QueueReplies(_queue(settings.queue_url))
    deliveries = WarningDeliveries(SweepState(rows=table, clock=now, terms=""), SentWarnings(table))
    notices = Notices.parse(operators_file("notices.toml"))
    return ChatJobs(
        posts=posts,
        notices=NoticeJobs(notices, replies, posts, deliveries, stack=settings.secret_prefix),
        # ``ChatJobs`` takes the slots of the rate itself.
        tallyfy=_tallyfy(settings, frozenset(), lambda _: None),
        pacing=_pacing(table, settings, Lane.PEOPLE),
        holds=HoldStore(table, now),
        replies=replies,
        queue=_queue(settings.queue_url),
        dead_letters=_queue(settings.dead_letter_queue_url),
        metrics=metrics,
        clock=now,
        roll=random.random,
    )


@cache
def sweep() -> "SweepService":
    """Build the sweep once for each process. It only lists resources and sends commands."""
    # Imported here: the workers share this module and need none of these at start.
    from lifecycle.approvals.people import People  # noqa: PLC0415 - see above
    from lifecycle.approvals.store import ApprovalStore  # noqa: PLC0415 - see above
    from lifecycle.execution.wakeup_check import WakeupService  # noqa: PLC0415 - see above
    from lifecycle.execution.wakeups import Wakeups  # noqa: PLC0415 - see above
    from lifecycle.notices.file import Notices  # noqa: PLC0415 - see above
    from lifecycle.plans.plan_store import PlanStore  # noqa: PLC0415 - see above
    from lifecycle.policy.evaluate import Mode  # noqa: PLC0415 - see above
    from lifecycle.sweep.assembly import SweepParts, assemble  # noqa: PLC0415 - see above
    from lifecycle.sweep.channel_warner import ChannelWarner  # noqa: PLC0415 - see above
    from lifecycle.sweep.daily_news import DailyNews  # noqa: PLC0415 - see above
    from lifecycle.sweep.digest import Digest  # noqa: PLC0415 - see above
    from lifecycle.sweep.preflight import Preflight  # noqa: PLC0415 - see above
    from lifecycle.tallyfy.directory import TallyfyDirectory  # noqa: PLC0415 - see above

    settings = _settings(SweepSettings)
    table = rows(settings.ledger_table)
    ledger = _ledger(table, settings, timedelta(0))
    outcomes = _outcomes(settings, ledger)
    # The sweep takes its own slots of the rate, one for each page.
    tallyfy = _tallyfy(settings, frozenset(), lambda _: None)
    policy = _policy()
    people = People.parse(operators_file("people.toml"))
    approvals = ApprovalStore(table, timedelta(days=settings.ledger_days), now, least=people.approvals.least)
    parts = SweepParts(
        rows=table,
        ledger=ledger,
        holds=HoldStore(table, now),
        tallyfy=tallyfy,
        directory=TallyfyDirectory(tallyfy),
        pacing=_pacing(table, settings, Lane.PEOPLE),
        queue=_queue(settings.queue_url),
        bulk=_queue(settings.bulk_queue_url),
        purge=_queue(settings.purge_queue_url),
        objects=objects(settings.plans_bucket),
        bus=outcomes.bus,
        outcomes=outcomes,
        metrics=metrics,
        preflight=Preflight(
            tallyfy=tallyfy,
            secrets=secrets(),
            prefix=settings.secret_prefix,
            policy=policy,
            # A sweep does not depend on the rights of senders. `lifecycle check` checks those as well.
            sources=Sources(sources={}),
            metrics=metrics,
            bus=outcomes.bus,
            clock=now,
        ),
        waking=WakeupService(
            wakeups=Wakeups(table),
            ordinary=_queue(settings.bulk_queue_url),
            permanent=_queue(settings.purge_queue_url),
            metrics=metrics,
        ),
        digest=Digest(
            queues={url.rpartition("/")[2]: _queue(url) for url in settings.dead_letter_queue_urls},
            bus=outcomes.bus,
            metrics=metrics,
            clock=now,
            news=DailyNews(
                org_ids=settings.organization_ids,
                rows=table,
                approvals=approvals,
                plans=PlanStore(objects(settings.plans_bucket)),
                clock=now,
            ),
        ),
        approvals=approvals,
        people=people,
        warner=ChannelWarner(
            Notices.parse(operators_file("notices.toml")), people, policy, _queue(settings.chat_queue_url)
        ),
        policy=policy,
        mode=Mode(settings.sweep_mode),
        org_ids=settings.organization_ids,
        id_key=id_key(settings.id_key_secret_arn),
        retry_base=settings.retry_base_seconds,
        clock=now,
        sleep=time.sleep,
        time_left=stopwatch.left,
    )
    return assemble(parts)


def _tallyfy(
    settings: TallyfySettings, capabilities: frozenset[Capability], spend: Callable[[str], None]
) -> HttpTallyfy:
    return HttpTallyfy(
        pooled_session(),
        settings.tallyfy_base_url,
        _tokens(settings),
        capabilities=capabilities,
        spend=spend,
        time_left=stopwatch.left,
    )


def _tokens(settings: TallyfySettings) -> Tokens:
    return Tokens(secrets(), settings.secret_prefix, settings.organization_ids)


def _policy() -> Policy:
    return Policy.parse(operators_file("policy.toml"))


def _ledger(
    table: VersionedTable, settings: AnnouncingSettings, lease: timedelta, batch: AnnouncementBatch | None = None
) -> Ledger:
    keep = timedelta(days=settings.ledger_days)
    return Ledger(table, LedgerTerms(lease=lease, keep=keep, most_attempts=_MOST_ATTEMPTS), now, batch)


def _pacing(table: DynamoTable, settings: TallyfySettings, lane: Lane) -> Pacing:
    return Pacing(table, Rate.within(settings.rate_per_minute), now, lane, metrics)


def _queue(url: str) -> SqsQueue:
    return SqsQueue(late_client("sqs"), url)


def _outcomes(
    settings: AnnouncingSettings,
    ledger: Ledger,
    batch: AnnouncementBatch | None = None,
    replies: Replies | None = None,
) -> Outcomes:
    return Outcomes(
        ledger=ledger,
        dead_letters=_queue(settings.dead_letter_queue_url),
        bus=EventBridgeBus(client("events"), settings.bus_name),
        metrics=metrics,
        clock=now,
        batch=batch,
        replies=replies,
    )
