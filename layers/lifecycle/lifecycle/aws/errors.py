"""One place where AWS's errors become ours: whatever AWS cannot do now is worth another try."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from lifecycle.domain.errors import Code, Retryable


def error_code(error: ClientError) -> str:
    """AWS's own name for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn any AWS error inside into ``Retryable``, saying what we were doing.

    AWS's own text may quote names; it stays in the chained exception.
    """
    try:
        yield
    except ClientError as error:
        raise Retryable(Code.UNAVAILABLE, f"AWS refused to {doing}: {error_code(error)}.") from error
    except BotoCoreError as error:
        raise Retryable(Code.UNAVAILABLE, f"AWS could not be reached to {doing}: {type(error).__name__}.") from error
