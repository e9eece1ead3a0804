"""Reads the answers of a stack's API as the models of ``lifecycle.api.schemas``."""

import requests
from pydantic import TypeAdapter, ValidationError

from cli.ui.errors import CliError, Exit


def read[T](model: type[T], response: requests.Response) -> T:
    """Parse one answer.

    Raises:
        CliError: The answer is not of this model.
    """
    try:
        found: T = TypeAdapter(model).validate_json(response.content)
    except ValidationError as error:
        message = (
            f"The answer of the API cannot be read (HTTP {response.status_code}). Check the URL of the API; the stack "
            "may also run another release than this command."
        )
        raise CliError(message, Exit.UNREACHABLE) from error
    return found


def fields_of(response: requests.Response) -> dict[str, object]:
    """The fields of an answer of any shape, such as a problem or an error of API Gateway; none if it has none."""
    try:
        found = response.json()
    except requests.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
