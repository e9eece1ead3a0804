"""Where Tallyfy's documents conflict or are silent: the choices, each with its default."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

type Repeat = Literal[200, 404, 422]


class Quirks(BaseModel):
    """How this simulated Tallyfy behaves where the facts do not say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tag_delete: Literal["permanent", "soft"] = "permanent"
    """`permanent`: 204, also for an unknown id (documents since 2026-03). `soft`: 200 with `deleted_at`."""
    delete_unarchived: Literal[404, 422] = 422
    """Permanent delete of a run or template that is not archived."""
    archive_archived: Repeat = 404
    """Archiving what is archived; 200 means the ordinary success answer, with nothing changed."""
    restore_active: Repeat = 200
    """Restoring what is active."""
    delete_deleted: Repeat = 404
    """Permanent delete of what was deleted before; 200 means an empty success."""
    run_delete: Literal["data", "empty", "no_content"] = "data"
    """The answer to a permanent run delete: 200 with data, 200 without a body, or 204."""
    task_archive: Literal["no_content", "data"] = "no_content"
    """The answer to archiving a one-off task: 204, or 200 with data as the older page has it."""
    restore: Literal["data", "no_content"] = "data"
    """The answer to restoring a task or template, whose shape no page documents."""
    empty_references: Literal["list", "object"] = "list"
    """`deleted_references` when there are none: `[]` or `{}`."""
    archived_parts: Literal["shown", "hidden"] = "shown"
    """What of an archived thing is shown to those who ask for archived tasks and for files: all, or nothing."""
    files_at: str | None = None
    """Where a download is sent on to, such as `https://files.tallyfy.test`; None: its bytes come at once."""


def load_facts(path: Path, otherwise: Quirks) -> Quirks:
    """The choices that `lifecycle probe` saw; for what it did not see, those of ``otherwise``.

    Raises ``ValueError`` (pydantic's ``ValidationError`` is one) where the file is not such a file.
    """
    facts = json.loads(path.read_text(encoding="utf-8"))
    seen = facts.get("quirks") if isinstance(facts, dict) else None
    if not isinstance(seen, dict):
        message = f"{path} has no table 'quirks': it was not written by `lifecycle probe`."
        raise ValueError(message)  # noqa: TRY004 - the file is wrong, not a type of ours
    return Quirks.model_validate({**otherwise.model_dump(), **seen})
