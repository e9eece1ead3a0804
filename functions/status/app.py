"""GET /commands/{intent_id} and GET /health."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from lifecycle.api.routes import status_answer
from lifecycle.api.schemas.commands import Health
from lifecycle.aws.api_gateway import HttpRequest, Response, answer, problem
from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.lookup import lookup
from lifecycle.bootstrap.observability import logger
from lifecycle.domain.errors import LifecycleError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
def handler(event: object, context: "LambdaContext") -> Response:  # noqa: ARG001 - Lambda's signature
    """Answer any event: a status, health, or a problem that says what to do next."""
    try:
        request = HttpRequest.of(event)
        if request.route == "GET /health":
            return answer(HTTPStatus.OK, Health(status="ok"))
        intent_id = request.parameters.get("intent_id", "")
        state = lookup().status_of(intent_id)
    except LifecycleError as error:
        logger.info("refused", extra={"code": error.code, "reason": error.reason})
        return problem(error)
    return answer(HTTPStatus.OK, status_answer(intent_id, state))


at_start(lambda: lookup().id_key())
