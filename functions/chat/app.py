"""POST /chat/slack: a slash command in, a line for the asker out. POST /chat/slack/actions: a button was pressed."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from lifecycle.aws.api_gateway import HttpRequest, Response, answer, problem
from lifecycle.bootstrap.chat import chat, slack_secret
from lifecycle.bootstrap.common import at_start
from lifecycle.bootstrap.observability import emf, logger
from lifecycle.domain.errors import LifecycleError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@emf.log_metrics
def handler(event: object, context: "LambdaContext") -> Response:  # noqa: ARG001 - Lambda's signature
    """Answer any event within Slack's three seconds; the result of a command follows by itself."""
    try:
        request = HttpRequest.of(event)
        if request.route == "POST /chat/slack/actions":
            chat().press(request)
            return {"statusCode": int(HTTPStatus.OK), "body": ""}  # whoever pressed has been told already
        message = chat().answer(request)
    except LifecycleError as error:
        return problem(error)
    return answer(HTTPStatus.OK, message.body())


at_start(slack_secret, lambda: chat().id_key())
