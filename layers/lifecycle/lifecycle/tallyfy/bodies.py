"""Bodies of answers, read as they arrive and within bounds.

A read timeout bounds the wait for the next bytes, not for all of them: an answer that drips would hold a function for
as long as it lives.
"""

from collections.abc import Callable, Iterator

import requests
from urllib3.exceptions import HTTPError

MOST_BYTES = 32 * 1024 * 1024
"""Larger than any page of a list that Tallyfy can mean."""
_PIECE = 64 * 1024


class OutOfBounds(requests.RequestException):
    """The answer was larger, or took longer, than it may. What is behind it is unknown."""


def pieces(
    answer: requests.Response, *, most: int, seconds: Callable[[], float], decode: bool = True
) -> Iterator[bytes]:
    """Read a body piece by piece. Raises ``OutOfBounds`` beyond ``most`` bytes or once ``seconds()`` are used up.

    Raises ``requests.ConnectionError`` where it is cut off.
    """
    size, late, done = 0, False, False
    try:
        while piece := answer.raw.read1(_PIECE, decode_content=decode):
            size += len(piece)
            if size > most:
                raise OutOfBounds(f"it is larger than {most} bytes", response=answer)
            yield piece
            # Most answers are here by now, whole, and the next read only says so: one more is always made.
            if late:
                raise OutOfBounds("it took longer than it may", response=answer)
            late = seconds() <= 0
        done = True
    except HTTPError as error:
        raise requests.ConnectionError(type(error).__name__, response=answer) from error
    finally:
        if not done:
            answer.close()  # What is left of it would be taken for the next answer.


def load(answer: requests.Response, *, seconds: Callable[[], float]) -> requests.Response:
    """Bring the whole body of an answer that was asked for as a stream. Raises as ``pieces``."""
    body = b"".join(pieces(answer, most=MOST_BYTES, seconds=seconds))
    answer._content = body  # noqa: SLF001 - where requests itself keeps it
    return answer
