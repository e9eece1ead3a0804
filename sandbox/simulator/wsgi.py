"""The simulator as a WSGI application, for any server."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from sandbox.simulator.admin import WithAdmin
from sandbox.simulator.messages import ReceivedRequest, parse_query
from sandbox.simulator.simulator import ConnectionReset, Simulator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class WsgiApp:
    """Turns WSGI requests into calls. It raises ConnectionResetError for a reset, and the server then sends one."""

    def __init__(self, simulator: Simulator) -> None:
        self._calls = WithAdmin(simulator)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        call = ReceivedRequest(
            method=request.method,
            path=request.path,
            query=parse_query(request.query_string.decode("latin-1")),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=request.get_data(),
        )
        try:
            answer = self._calls.handle(call)
        except ConnectionReset as reset:
            raise ConnectionResetError from reset
        body = answer.body if answer.file is None else wrap_file(environ, answer.file())
        response = Response(body, answer.status, direct_passthrough=answer.file is not None)
        response.headers.clear()
        response.headers.extend(answer.headers)
        if answer.status != HTTPStatus.NO_CONTENT and answer.file is None:
            response.headers["Content-Length"] = str(len(answer.body))
        return response(environ, start_response)
