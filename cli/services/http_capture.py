"""Reads a request as it was captured on the wire: the request line, headers, an empty line, the body."""

import re
from urllib.parse import unquote

from cli.ui.errors import CliError, Exit
from lifecycle.aws.api_gateway import HttpRequest

_REQUEST_LINE = re.compile(rb"([A-Z]+) (\S+)(?: HTTP/[0-9.]+)\r?\n")


def read_capture(raw: bytes, source: str) -> HttpRequest | None:
    """The request, as the stack would see it; `None` if the file does not begin with a request line.

    Raises:
        CliError: A header has no colon, or the empty line before the body is missing.
    """
    begins = _REQUEST_LINE.match(raw)
    if begins is None:
        return None
    rest = raw[begins.end() :]
    if rest.startswith((b"\r\n", b"\n")):
        head, body = b"", rest.removeprefix(b"\r").removeprefix(b"\n")
    else:
        head, separator, body = rest.partition(b"\r\n\r\n" if b"\r\n\r\n" in rest else b"\n\n")
        if not separator:
            raise CliError("The capture has no empty line between its headers and its body.", Exit.USAGE)
    headers = dict(_header(line, number) for number, line in enumerate(head.decode("latin-1").splitlines(), start=2))
    target = begins[2].decode("latin-1")
    uri = target if "://" in target else f"https://{headers.get('host', 'api.example')}{target}"
    path = uri.partition("?")[0].partition(f"/webhooks/{source}/")[2].removesuffix("/")
    parameters = {"source": source, **({"key": unquote(path)} if path else {})}
    method = begins[1].decode()
    return HttpRequest(route="", method=method, uri=uri, parameters=parameters, headers=headers, body=body)


def _header(line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise CliError(f"Line {number} of the capture is not a header: it has no colon.", Exit.USAGE)
    return name.strip().lower(), value.strip()
