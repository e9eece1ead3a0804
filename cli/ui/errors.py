"""Errors that an operator can act on, and the exit codes of `lifecycle`."""

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
    "Exit codes: 0 done, or accepted; 1 rejected, failed, or not confirmed; 2 wrong usage; "
    "3 AWS, the stack or a setting cannot be reached; 4 still in progress; 130 interrupted."
)


class CliError(Exception):
    """An expected error. The message says what to do about it, and no traceback is shown."""

    def __init__(self, message: str, code: Exit = Exit.NOT_DONE) -> None:
        super().__init__(message)
        self.code = code


def expected_error(error: Exception) -> CliError | None:
    """Return the error as a message for the operator, or `None` for a bug, which needs its traceback."""
    if isinstance(error, CliError):
        return error
    return _ours(error) or _aws(error) or _network(error) or _local(error)


# Only a module that a command has imported can have raised, so nothing heavy is imported here.


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
        details = error.response.get("Error", {})
        message = f"AWS refused {error.operation_name}: {details.get('Code', 'no code')}. {details.get('Message', '')}"
        return CliError(message.strip(), Exit.UNREACHABLE)
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
