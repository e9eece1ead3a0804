"""Turns errors of AWS into ours. All of them can be retried."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from lifecycle.domain.errors import Code, Retryable


def error_code(error: ClientError) -> str:
    """The error code of AWS, such as ``AccessDenied``."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn any AWS error inside into ``Retryable``; ``doing`` completes the sentence "AWS refused to".

    The text of AWS can quote names, so it stays in the chained exception.
    """
    try:
        yield
    except ClientError as error:
        raise Retryable(Code.UNAVAILABLE, f"AWS refused to {doing}: {error_code(error)}.") from error
    except BotoCoreError as error:
        raise Retryable(Code.UNAVAILABLE, f"AWS could not be reached to {doing}: {type(error).__name__}.") from error
