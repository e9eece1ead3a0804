"""What the operator is told when something does not work, and the exit codes of `lifecycle`."""

import sys
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes. Documented in `lifecycle --help`."""

    DONE = 0
    NOT_DONE = 1
    USAGE = 2
    UNREACHABLE = 3
    PENDING = 4


EXIT_CODES = (
    "Exit codes: 0 done, or accepted; 1 refused, failed, or not confirmed; 2 wrong usage; "
    "3 AWS, the stack or a setting is out of reach; 4 not known yet, it is still under way; 130 interrupted."
)


class CliError(Exception):
    """Something that was to be expected. The message says what to do about it; no traceback is shown."""

    def __init__(self, message: str, code: Exit = Exit.NOT_DONE) -> None:
        super().__init__(message)
        self.code = code


def trouble_in(error: Exception) -> CliError | None:
    """Say an error in words for the operator; `None` for what nobody expected: a bug, and its traceback is wanted."""
    if isinstance(error, CliError):
        return error
    return _ours(error) or _aws(error) or _network(error) or _local(error)


# Only what a command has imported can have raised: nothing heavy is imported here.


def _ours(error: Exception) -> CliError | None:
    errors = sys.modules.get("lifecycle.domain.errors")
    if errors is None or not isinstance(error, errors.LifecycleError):
        return None
    return CliError(error.reason, Exit.UNREACHABLE if isinstance(error, errors.Retryable) else Exit.NOT_DONE)


def _aws(error: Exception) -> CliError | None:
    exceptions = sys.modules.get("botocore.exceptions")
    if exceptions is None:
        return None
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return CliError("There are no AWS credentials. Sign in, or set AWS_PROFILE.", Exit.UNREACHABLE)
    if isinstance(error, exceptions.NoRegionError):
        return CliError("No AWS region is set. Give --region, or set AWS_REGION.", Exit.UNREACHABLE)
    if isinstance(error, exceptions.ClientError):
        told = error.response.get("Error", {})
        what = f"AWS refused {error.operation_name}: {told.get('Code', 'no code')}. {told.get('Message', '')}"
        return CliError(what.strip(), Exit.UNREACHABLE)
    if isinstance(error, exceptions.BotoCoreError):
        return CliError(f"AWS could not be reached: {error}", Exit.UNREACHABLE)
    return None


def _network(error: Exception) -> CliError | None:
    requests = sys.modules.get("requests")
    if requests is None or not isinstance(error, requests.RequestException):
        return None
    address = getattr(error.request, "url", None) or "the address"
    return CliError(f"{address} could not be reached ({type(error).__name__}).", Exit.UNREACHABLE)


def _local(error: Exception) -> CliError | None:
    build = sys.modules.get("sandbox.build")
    if build is None or not isinstance(error, build.LocalStackError):
        return None
    return CliError(str(error), Exit.UNREACHABLE)
