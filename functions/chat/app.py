"""POST /chat/{tool}: a line or a pressed button in, an answer out. What takes longer follows by the chat queue."""

from typing import TYPE_CHECKING

from lifecycle.aws.api_gateway import HttpRequest, Response, problem
from lifecycle.bootstrap.chat import chat, id_key_and_first_tool
from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.observability import emf, logger
from lifecycle.domain.errors import LifecycleError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: object, context: "LambdaContext") -> Response:  # noqa: ARG001 - Lambda's signature
    """Answer any event within the three seconds that the most impatient tool waits."""
    try:
        request = HttpRequest.of(event)
        # The routes are written out in the template: POST /chat/<tool> and, for buttons, POST /chat/<tool>/actions.
        tool = request.route.removeprefix("POST /chat/").partition("/")[0]
        return chat().respond(tool, request)
    except LifecycleError as error:
        return problem(error)


at_start(id_key_and_first_tool)
