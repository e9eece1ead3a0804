"""POST /webhooks/{source}: a signed command in, 202 with its intent out."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from lifecycle.aws.api_gateway import HttpRequest, Response, answer, problem
from lifecycle.aws.metrics import Metric
from lifecycle.bootstrap.intake import intake
from lifecycle.bootstrap.observability import emf, logger, metrics
from lifecycle.domain.errors import LifecycleError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: object, context: "LambdaContext") -> Response:  # noqa: ARG001 - Lambda's signature
    """Answer any event: accepted, or a problem that says what to do next."""
    try:
        commands = intake().accept(HttpRequest.of(event))
    except LifecycleError as error:
        metrics.emit(Metric.REFUSED, {"code": error.code, "reason": error.reason})
        return problem(error)
    if not commands:
        return answer(HTTPStatus.OK, {"status": "ignored", "intent_ids": []})
    first, *others = (command.intent_id for command in commands)
    one = {} if others else {"intent_id": first, "status_url": f"/commands/{first}"}
    return answer(HTTPStatus.ACCEPTED, {"status": "accepted", **one, "intent_ids": [first, *others]})
