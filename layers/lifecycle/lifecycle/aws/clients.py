"""AWS clients: one for each service, made by botocore without boto3.

This code needs nothing that boto3 adds, and boto3 costs 30 ms of a cold start.
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
    # A fixed text: otherwise botocore builds its user agent twice for each call, which costs more than the signature.
    user_agent=USER_AGENT,
    # Not needed: mypy checks the types of our calls, and the service validates them again.
    parameter_validation=False,
)
"""Of every client. The last two options save 30 % of the processor's time of a call of DynamoDB."""
_OTHER_ROOTS = ("cn-", "us-iso", "eu-iso", "eusc-")
"""Prefixes of regions whose endpoints may have certificates of other authorities than Amazon Trust Services."""


@cache
def client(service: str) -> Any:  # noqa: ANN401 - botocore makes the class of a client while running
    """The client of a service. All callers share its connections."""
    return _session().create_client(service, config=CONFIG, verify=trusted_roots())


def late_client(service: str) -> Any:  # noqa: ANN401 - see ``client``
    """A client that is created at its first call, for a service that few invocations need."""
    return _LateClient(service)


class _LateClient:
    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - see ``client``
        return getattr(client(self._service), name)


def trusted_roots() -> str | None:
    """The file with the root certificates that verify AWS's endpoints; ``None`` means certifi's.

    It holds the five roots of Amazon Trust Services (https://www.amazontrust.com/repository/). Reading the 140 of
    certifi costs each client 20 ms of processor time. ``AWS_CA_BUNDLE`` has priority, as in every SDK.
    """
    if "AWS_CA_BUNDLE" in os.environ or os.environ.get("AWS_REGION", "").startswith(_OTHER_ROOTS):
        return None
    return str(files("lifecycle.aws") / "amazon-roots.pem")


@cache
def _session() -> "Session":
    """The shared session. A second one would read its data again, which costs 40 ms and 9 MiB."""
    return botocore.session.get_session()
