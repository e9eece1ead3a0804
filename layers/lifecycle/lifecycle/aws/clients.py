"""The clients of AWS: one of each service, made by botocore alone.

boto3 adds nothing that is used here, and costs 30 ms of a cold start.
"""

import os
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import botocore
import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from botocore.session import Session

USER_AGENT = f"Botocore/{botocore.__version__} lib/tallyfy-lifecycle"
CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    # Otherwise botocore composes its own text twice for each call, which costs more than signing it.
    user_agent=USER_AGENT,
    # The types are checked before anything runs, and the service validates what it gets.
    parameter_validation=False,
)
"""Of every client. The last two options save 30 % of the processor's time of a call of DynamoDB."""
_OTHER_ROOTS = ("cn-", "us-iso", "eu-iso", "eusc-")
"""How the regions begin whose endpoints may not be certified by Amazon Trust Services."""


@cache
def client(service: str) -> Any:  # noqa: ANN401 - botocore makes the class of a client while running
    """The client of a service. Whoever asks for the same service shares its connections."""
    return _session().create_client(service, config=CONFIG, verify=trusted_roots())


def late_client(service: str) -> Any:  # noqa: ANN401 - see ``client``
    """A client that is made at its first call: for a service that few invocations need."""
    return _LateClient(service)


class _LateClient:
    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - see ``client``
        return getattr(client(self._service), name)


def trusted_roots() -> str | None:
    """The file with the certificates that AWS's endpoints are verified against; ``None`` for certifi's.

    It holds the five roots of Amazon Trust Services (https://www.amazontrust.com/repository/). Reading the 140 of
    certifi costs each client 20 ms of a whole processor. ``AWS_CA_BUNDLE`` comes first, as in every SDK.
    """
    if "AWS_CA_BUNDLE" in os.environ or os.environ.get("AWS_REGION", "").startswith(_OTHER_ROOTS):
        return None
    return str(files("lifecycle.aws") / "amazon-roots.pem")


@cache
def _session() -> "Session":
    """One session: a second one would read its data again, 40 ms and 9 MiB."""
    return botocore.session.get_session()
