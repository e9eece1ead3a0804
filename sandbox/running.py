"""The local stack with the simulator beside it: started together, ended together, described for whoever uses it."""

import base64
import contextlib
import json
import os
import secrets
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import boto3

from cli.clients.delivery import delivery, new_delivery_id, stored_secret
from cli.services.config_files import PEOPLE_FILE, declared_sources
from lifecycle.approvals.people import People
from lifecycle.aws.secrets import ManagedSecrets
from lifecycle.domain.capabilities import PERMANENT, TABLE
from lifecycle.intake.sources import Sources
from sandbox.mailbox import REPLIES, ListeningSimulator
from sandbox.simulator import (
    DEFAULT_TOKEN,
    DefaultIds,
    Seed,
    SeedOrganization,
    SeedRun,
    SeedTag,
    SimulatorServer,
    make_id,
)
from sandbox.stack import REGION, ROOT, LocalStack, StackOptions, StackState, free_port, person_arn

STATE_FILE = ROOT / ".local" / "stack.json"
PORTS_FILE = STATE_FILE.with_name("ports.json")
SOURCE = "operator"
PROJECT, DEAL, SLACK_RUN, JIRA_RUN, GITHUB_RUN, OLD_RUN, _DEAL_TAG = (
    make_id("sample", what) for what in ("project", "deal", "slack", "jira", "github", "old", "tag")
)
TEAMS_RUN, GOOGLE_RUN = (make_id("sample", what) for what in ("teams", "google"))
FINISHED, EDITED, KEPT, _KEEP_TAG = (make_id("sample", what) for what in ("finished", "edited", "kept", "keep"))
"""What the sweep meets: one that is due, one that is edited before it is acted on, one with the tag that keeps."""
SEED = Seed(
    organizations=[
        SeedOrganization(
            id=DefaultIds.ORGANIZATION,
            tags=[SeedTag(id=_DEAL_TAG, title="deal-9172831465"), SeedTag(id=_KEEP_TAG, title="keep")],
            runs=[
                SeedRun(id=PROJECT, name="Website relaunch", checklist_id=DefaultIds.TEMPLATE),
                SeedRun(id=DEAL, name="Onboard Hooli", tags=[_DEAL_TAG]),
                SeedRun(id=JIRA_RUN, name="Off-board Soylent", checklist_id=DefaultIds.TEMPLATE),
                SeedRun(id=GITHUB_RUN, name="Off-board Aperture", checklist_id=DefaultIds.TEMPLATE),
                SeedRun(
                    id=OLD_RUN, name="Onboard Weyland", status="complete", completed_at="-450d", archived_at="-400d"
                ),
                SeedRun(id=SLACK_RUN, name="Onboard Stark", status="complete", completed_at="-3d"),
                SeedRun(id=TEAMS_RUN, name="Onboard Umbrella", status="complete", completed_at="-3d"),
                SeedRun(id=GOOGLE_RUN, name="Onboard Globex", status="complete", completed_at="-3d"),
                SeedRun(id=FINISHED, name="Onboard Wayne", status="complete", completed_at="-45d"),
                SeedRun(id=EDITED, name="Onboard Tyrell", status="complete", completed_at="-50d"),
                SeedRun(id=KEPT, name="Onboard Cyberdyne", status="complete", completed_at="-400d", tags=[_KEEP_TAG]),
            ],
        )
    ]
)
"""What the samples in events/ speak of, beside what the simulator holds anyway: each has something of its own to do."""
ASKER, APPROVER = "ada", "grace"
_LASTING = '["run.delete", "task.delete", "tag.delete", "template.delete"]'
PEOPLE = f"""
[people.{ASKER}]
slack = "T012ABCDE/U034FGHIJ"
iam = "{person_arn(ASKER)}"
may = ["run.archive", "run.restore", "task.archive", "task.restore"]
approves = {_LASTING}

[people.{APPROVER}]
iam = "{person_arn(APPROVER)}"
may = ["run.archive", "run.restore"]
approves = {_LASTING}
"""
"""Who approves and undoes in the demonstration, whatever `layers/config/people.toml` says: that is to be tried out."""
LOCAL_ASKER, LOCAL_APPROVER = "local-ada", "local-grace"
SAMPLE_USERS = {
    "slack": "T012ABCDE/U034FGHIJ",
    "google": "1a2b3c4/ada@example.com",
    "teams": "72f988bf-86f1-41af-91ab-2d7cd011db47/8f0c2a3e-1b2d-4c5e-9f60-718293a4b5c6",
}
"""Who types in the sample of each chat tool."""
SAMPLE_PLACES = {"google": "spaces/AAAA1234567", "teams": "19:operations@thread.tacv2"}
"""Where: the space, and the team."""
GOOGLE_ACCOUNT = "service-123456789012@gcp-sa-gsuiteaddons.iam.gserviceaccount.com"
_SIGNED_SECONDS = 300
"""How long Standard Webhooks takes a signature."""
_ROOT_USER = "test"
"""MiniStack's word for it, as key and as secret."""


def with_local_people(text: str) -> str:
    """An operator's people.toml as it is, and two people of this machine below it: that file knows nobody here.

    Raises:
        Rejected: The operator's file is wrong; the message says where.
    """
    known = People.parse(text)  # First by itself: what is wrong with it is not to be blamed on what is added.
    names = {tool: user for tool, user in SAMPLE_USERS.items() if known.find(tool, [user]) is None}
    speaks = "".join(f'{tool} = "{user}"\n' for tool, user in names.items())
    speaks += f"asks = {json.dumps(sorted(doing.name for doing in PERMANENT))}\n"
    added = [
        f"""
# Added by `lifecycle local start`, on this machine alone.
[people.{name}]
iam = "{person_arn(name)}"
may = {json.dumps(sorted(doing.name for doing in TABLE if not doing.irreversible))}
approves = {json.dumps(sorted(doing.name for doing in TABLE if doing.irreversible))}
"""
        for name in (LOCAL_ASKER, LOCAL_APPROVER)
    ]
    return f"{text.rstrip()}\n{added[0]}{speaks}{added[1]}"


@dataclass(frozen=True, slots=True)
class Local:
    """What runs."""

    stack: LocalStack
    simulator: SimulatorServer
    secrets: Mapping[str, str]
    """One signing secret per source."""
    chat_secret: str
    """Slack's signing secret."""
    slack: ListeningSimulator
    """The simulator again, for what people in Slack are shown."""

    @property
    def response_url(self) -> str:
        """Where they are shown it."""
        return _replies_of(self.simulator)


def _replies_of(simulator: SimulatorServer) -> str:
    return simulator.base_url.removesuffix("/api") + REPLIES


@contextlib.contextmanager
def local_stack(
    on_step: Callable[[str], None],
    *,
    state_file: Path | None = None,
    people: str | None = None,
    sources: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[Local]:
    """Simulator and deployed stack, on loopback, with secrets made up for the occasion; all of it ends with the block.

    `people` is the text of a people.toml; without one it is the operator's, with two people more. `sources` is the text
    of a sources.toml; without one it is the operator's. `parameters` are parameters of the template, by name. With a
    `state_file` it takes the ports that it had last time.

    Raises:
        LocalStackError: A step failed.
    """
    made, chat_secret = _new_secrets(declared_sources()), secrets.token_hex(16)
    slack = ListeningSimulator()
    slack.merge(SEED)
    ports = Ports.read(PORTS_FILE) if state_file is not None else Ports()
    names = (LOCAL_ASKER, LOCAL_APPROVER) if people is None else (ASKER, APPROVER)
    files = {"people.toml": with_local_people(PEOPLE_FILE.read_text("utf-8")) if people is None else people}
    files |= {} if sources is None else {"sources.toml": sources}
    with SimulatorServer(slack, port=free_port(ports.simulator)) as simulator:
        options = StackOptions(
            tallyfy_base_url=simulator.base_url,
            organization_ids=(DefaultIds.ORGANIZATION,),
            sources={name: (secret,) for name, secret in made.items()},
            chats={
                "slack": (chat_secret,),
                "teams": (base64.b64encode(secrets.token_bytes(32)).decode(),),
                "google": (GOOGLE_ACCOUNT,),
            },
            chat_replies={tool: {place: _replies_of(simulator)} for tool, place in SAMPLE_PLACES.items()},
            tokens={DefaultIds.ORGANIZATION: DEFAULT_TOKEN},
            files=files,
            people=names,
            port=ports.emulator,
            # Nobody should wait half a minute for the sixth attempt.
            parameters={"RetryBaseSeconds": "0.2", **(parameters or {})},
        )
        with LocalStack(options, state_file=state_file, on_step=on_step) as stack, ending_calmly():
            if state_file is not None:
                Ports(stack.port, simulator.port).write(PORTS_FILE)
            yield Local(stack, simulator, made, chat_secret, slack)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a local stack was last. What was copied from its output then works again after a restart."""

    emulator: int = 0
    simulator: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Those that were kept; none, if that cannot be read."""
        try:
            found = json.loads(path.read_text())
            return cls(*(int(found[name]) for name in ("emulator", "simulator")))
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def write(self, path: Path) -> None:
        """Keep them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)))


def _new_secrets(sources: Sources) -> dict[str, str]:
    signing = {name: source.scheme for name, source in sources.sources.items() if source.scheme.over_http}
    return {name: scheme.new_secret(secrets.token_bytes(32)) for name, scheme in signing.items()}


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Treat a polite kill and a closed terminal as Ctrl-C, so that nothing is left running."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {sign: signal.signal(sign, interrupt) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


@contextlib.contextmanager
def ending_calmly() -> Iterator[None]:
    """After an interruption, let the clean-up outside finish, whatever else is pressed."""
    try:
        yield
    except KeyboardInterrupt:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, signal.SIG_IGN)
        raise


def variables(state: StackState) -> dict[str, str]:
    """The environment that points `lifecycle`, and any AWS tool, at the local stack."""
    return {
        "AWS_ENDPOINT_URL": state.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": _ROOT_USER,
        "AWS_SECRET_ACCESS_KEY": _ROOT_USER,
        "LIFECYCLE_STACK": state.stack_name,
        "LIFECYCLE_API_URL": state.api_url,
        "LIFECYCLE_ORG": DefaultIds.ORGANIZATION,
    }


@contextlib.contextmanager
def pointed_at(variables: Mapping[str, str]) -> Iterator[None]:
    """This process's AWS clients go to the local stack; nothing of the caller's account is used meanwhile."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def curl(state: StackState, now: datetime) -> str:
    """A signed command to paste into a shell: archives a process of the simulator's."""
    session = boto3.Session(_ROOT_USER, _ROOT_USER, region_name=REGION)
    client = session.client("secretsmanager", endpoint_url=state.endpoint_url)
    secret = stored_secret(ManagedSecrets(client), state.outputs["SecretPrefix"], SOURCE)
    asked = {
        "action": "archive",
        "resource": "process",
        "org_id": DefaultIds.ORGANIZATION,
        "id": DefaultIds.ACTIVE_RUN,
        "reason": "Tried by hand",
    }
    packet, _ = delivery(SOURCE, declared_sources().sources[SOURCE], asked, new_delivery_id())
    headers = {**packet.headers(secret, now), "content-type": "application/json"}
    words = ["curl", "-i", f"{state.api_url}/webhooks/{SOURCE}"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, "--data-raw", packet.body.decode()])


def describe(state: StackState, now: datetime) -> str:
    """What somebody needs who wants to use the local stack."""
    until = (now + timedelta(seconds=_SIGNED_SECONDS)).astimezone()
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables(state).items())
    as_people = "\n".join(
        f'{_shell_name(name)}() {{ AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={shlex.quote(secret)} "$@"; }}'
        for name, (key, secret) in state.people.items()
    )
    as_somebody = _as_somebody(state) if state.people else ""
    return f"""\
API           {state.api_url}
AWS endpoint  {state.endpoint_url}
Tallyfy       {state.tallyfy_base_url} (simulated; every call: {state.tallyfy_base_url}/_simulator/log)
organization  {DefaultIds.ORGANIZATION}
token         {DEFAULT_TOKEN}

To point `lifecycle` here, paste:
{exports}

{as_people}

Then each of these has something to do:
  lifecycle send task archive {DefaultIds.TASK} --wait
  lifecycle source play automation events/command-run-archive.json --wait
  lifecycle source play crm events/webhook-hmac.json --wait
  lifecycle source play hubspot events/hubspot-deal-won.json --wait   # of its two deals one has a process: it exits 1
  lifecycle source play jira events/jira-issue-resolved.json --wait
  lifecycle source play github events/github-issue-closed.json --wait
  lifecycle source play slack events/chat-archive.json --wait
  lifecycle source play teams events/chat-teams.json --wait
  lifecycle source play google events/chat-google.json --wait
  lifecycle source play projects events/put-events.json
  lifecycle sweep start
  lifecycle source listen   # in another terminal: each delivery, and what it became
  lifecycle tallyfy connect   # then complete a process as a person in Tallyfy does:
  curl -d '{json.dumps({"do": "complete", "id": DefaultIds.ACTIVE_RUN})}' {state.tallyfy_base_url}/_simulator/process
{as_somebody}
Signed, good for {_SIGNED_SECONDS // 60} minutes (until {until:%H:%M:%S}), `lifecycle local show` makes another:
{curl(state, now)}
"""


def _shell_name(person: str) -> str:
    return f"as_{person.replace('-', '_')}"


def _as_somebody(state: StackState) -> str:
    """What asks who it is, typed by somebody whom people.toml knows."""
    ask, approve = (_shell_name(name) for name in state.people)
    return f"""
As a person whom people.toml knows (two were added to yours: {", ".join(state.people)}):
  lifecycle send process delete {OLD_RUN} --requested-by {next(iter(state.people))} --yes
  {approve} lifecycle approvals
  {approve} lifecycle approve HASH
  {ask} lifecycle undo INTENT --wait   # of one of the commands above
"""


def running(state_file: Path = STATE_FILE) -> StackState | None:
    """The local stack that runs now, if any."""
    state = StackState.read(state_file)
    return state if state is not None and state.is_running() else None


def stop(state_file: Path = STATE_FILE) -> bool:
    """Stop the local stack, whoever started it; False if none runs.

    The process that started it sees the emulator end, and ends the simulator with itself.
    """
    return StackState.stop(state_file)


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)
