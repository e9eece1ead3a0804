"""POST /webhooks/{source}: a signed command in, 202 with its intent out."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from lifecycle.aws.api_gateway import Request, Response, answer, problem
from lifecycle.aws.metrics import Signal
from lifecycle.bootstrap.intake import intake
from lifecycle.bootstrap.observability import logger, metrics, signals
from lifecycle.domain.errors import LifecycleError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: object, context: "LambdaContext") -> Response:  # noqa: ARG001 - Lambda's signature
    """Answer any event: accepted, or a problem that says what to do next."""
    try:
        commands = intake().accept(Request.of(event))
    except LifecycleError as error:
        signals.note(Signal.REFUSED, {"code": error.code, "reason": error.reason})
        return problem(error)
    if not commands:
        return answer(HTTPStatus.OK, {"status": "ignored", "intent_ids": []})
    first, *others = (command.intent_id for command in commands)
    one = {} if others else {"intent_id": first, "status_url": f"/commands/{first}"}
    return answer(HTTPStatus.ACCEPTED, {"status": "accepted", **one, "intent_ids": [first, *others]})
