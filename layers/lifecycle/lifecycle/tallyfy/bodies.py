"""Reads bodies of answers in pieces, with limits on their size and time.

A read timeout limits only the wait for the next bytes. Without a limit on the whole body, a slow answer could keep a
function busy until its timeout.
"""

from collections.abc import Callable, Iterator

import requests
from urllib3.exceptions import HTTPError

MOST_BYTES = 32 * 1024 * 1024
"""In bytes. No page of a list from Tallyfy is larger."""
_PIECE = 64 * 1024


class OutOfBounds(requests.RequestException):
    """The answer was too large or took too long. Whether the call had an effect is unknown."""


def pieces(
    answer: requests.Response, *, most: int, seconds: Callable[[], float], decode: bool = True
) -> Iterator[bytes]:
    """Read a body piece by piece. Raises ``OutOfBounds`` beyond ``most`` bytes or after ``seconds()``.

    Raises ``requests.ConnectionError`` if the connection ends early.
    """
    size, late, done = 0, False, False
    try:
        while piece := answer.raw.read1(_PIECE, decode_content=decode):
            size += len(piece)
            if size > most:
                raise OutOfBounds(f"it is larger than {most} bytes", response=answer)
            yield piece
            # Most answers are complete here, and the next read only confirms it, so one more read is always made.
            if late:
                raise OutOfBounds("it took too long", response=answer)
            late = seconds() <= 0
        done = True
    except HTTPError as error:
        raise requests.ConnectionError(type(error).__name__, response=answer) from error
    finally:
        if not done:
            answer.close()  # The rest of the body would be read as the next answer.


def load(answer: requests.Response, *, seconds: Callable[[], float]) -> requests.Response:
    """Read the whole body of a streamed answer. Raises what ``pieces`` raises."""
    body = b"".join(pieces(answer, most=MOST_BYTES, seconds=seconds))
    answer._content = body  # noqa: SLF001 - where requests itself keeps it
    return answer
