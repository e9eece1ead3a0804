"""The routes behind AWS_IAM: list, approve, withdraw and reject requests, and undo a command."""

from typing import TYPE_CHECKING

from lifecycle.aws.api_gateway import HttpRequest, Response, answer, problem
from lifecycle.aws.metrics import Metric
from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.observability import emf, logger, metrics
from lifecycle.bootstrap.operating import operating
from lifecycle.domain.errors import LifecycleError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: object, context: "LambdaContext") -> Response:  # noqa: ARG001 - Lambda's signature
    """Answer any event. API Gateway has authenticated the caller."""
    try:
        status, body = operating().answer(HttpRequest.of(event))
    except LifecycleError as error:
        metrics.emit(Metric.REFUSED, {"code": error.code, "reason": error.reason})
        return problem(error)
    return answer(status, body)


at_start(operating)
