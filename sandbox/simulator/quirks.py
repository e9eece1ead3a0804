"""Choices of behaviour where Tallyfy's documents conflict or are silent, each with its default."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

type Repeat = Literal[200, 404, 422]


class Quirks(BaseModel):
    """How this simulated Tallyfy behaves where the documents conflict or are silent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tag_delete: Literal["permanent", "soft"] = "permanent"
    """`permanent`: 204, also for an unknown id (documents since 2026-03). `soft`: 200 with `deleted_at`."""
    delete_unarchived: Literal[404, 422] = 422
    """The answer to a permanent delete of a run or template that is not archived."""
    archive_archived: Repeat = 404
    """The answer to archiving an archived object. 200 is the ordinary success answer, with nothing changed."""
    restore_active: Repeat = 200
    """The answer to restoring an active object."""
    delete_deleted: Repeat = 404
    """The answer to deleting a deleted object again. 200 is an empty success."""
    run_delete: Literal["data", "empty", "no_content"] = "data"
    """The answer to a permanent run delete: 200 with data, 200 without a body, or 204."""
    task_archive: Literal["no_content", "data"] = "no_content"
    """The answer to archiving a one-off task: 204, or 200 with data as on the older page."""
    restore: Literal["data", "no_content"] = "data"
    """The answer to restoring a task or template, whose shape no page documents."""
    empty_references: Literal["list", "object"] = "list"
    """`deleted_references` when there are none: `[]` or `{}`."""
    archived_parts: Literal["shown", "hidden"] = "shown"
    """Whether a read that asks for archived tasks and files gets all parts of an archived object, or none."""
    watchers: Literal["rolled_out", "missing"] = "rolled_out"
    """Whether the organization has the webhook of an organization. Where it has not, its calls answer 404."""
    watcher_rows: Literal["data", "bare"] = "data"
    """Whether the registrations stand under `data`."""
    watcher_url: Literal["webhook", "webhook_url", "url"] = "webhook"
    """The field of a registration that holds its URL."""
    second_watcher: Literal["beside", "replaces"] = "beside"
    """What a second registration does to the first."""
    webhook_payload: Literal["flat", "process", "run", "data"] = "flat"
    """Where the process stands beside the `event`."""
    files_at: str | None = None
    """The base URL that a download redirects to, such as `https://files.tallyfy.test`. None: the bytes come at once."""


def load_facts(path: Path, otherwise: Quirks) -> Quirks:
    """The choices that `lifecycle probe` observed; the rest come from ``otherwise``.

    Raises ``ValueError`` (pydantic's ``ValidationError`` is one) if `lifecycle probe` did not write the file.
    """
    facts = json.loads(path.read_text(encoding="utf-8"))
    seen = facts.get("quirks") if isinstance(facts, dict) else None
    if not isinstance(seen, dict):
        message = f"{path} has no table 'quirks': it was not written by `lifecycle probe`."
        raise ValueError(message)  # noqa: TRY004 - the content of the file is wrong, not a caller's type
    return Quirks.model_validate({**otherwise.model_dump(), **seen})
