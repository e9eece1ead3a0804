"""POST /webhooks/{source}: accept a signed command, and answer 202 with its intent."""

from typing import TYPE_CHECKING

from lifecycle.api.routes import delivery_answer
from lifecycle.aws.api_gateway import HttpRequest, Response, answer, plain, problem
from lifecycle.aws.metrics import Metric
from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.intake import intake
from lifecycle.bootstrap.observability import emf, logger, metrics
from lifecycle.domain.errors import LifecycleError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: object, context: "LambdaContext") -> Response:  # noqa: ARG001 - Lambda's signature
    """Answer any event: accepted, or a problem that says what to do next."""
    source = ""
    try:
        request = HttpRequest.of(event)
        source = intake().declared_name(request)
        reply = intake().handshake(request)
        if reply is not None:
            return plain(reply.status, reply.content_type, reply.body, reply.headers)
        commands = intake().accept(request)
        acknowledged = intake().acknowledgement(request)
    except LifecycleError as error:
        kept = "yes" if error.kept else "no"
        metrics.emit(Metric.REFUSED, {"code": error.code, "reason": error.reason, "source": source, "kept": kept})
        return problem(error)
    if acknowledged is not None:
        return plain(acknowledged.status, acknowledged.content_type, acknowledged.body, acknowledged.headers)
    return answer(*delivery_answer(commands))


at_start(lambda: intake().id_key())
