"""Which organizations are paused, and by whom."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console

from cli.ui.console import NOTE, plain
from cli.ui.errors import expected_error

if TYPE_CHECKING:
    from cli.clients.stack import Stack


def pauses(stack: "Stack", org_ids: Iterable[str]) -> Mapping[str, str]:
    """Return the paused ones of these organizations, each with the person and the reason."""
    pacing = stack.pacing()
    found = {org_id: pacing.paused_by(org_id) for org_id in org_ids}
    return {org_id: by for org_id, by in found.items() if by}


def known_pauses(stack: "Stack", org_ids: Iterable[str] | None = None) -> Mapping[str, str]:
    """As ``pauses``, of all organizations of the stack by default; empty where AWS cannot be asked."""
    from cli.clients.stack import organizations_of

    try:
        return pauses(stack, organizations_of(stack, None) if org_ids is None else org_ids)
    except Exception as error:
        if expected_error(error) is None:
            raise
        return {}


def print_pauses(out: Console, found: Mapping[str, str]) -> None:
    """Print that nothing is carried out in these organizations until somebody resumes them."""
    for org_id, by in found.items():
        out.print(NOTE, plain(f"Organization {org_id} is paused by {by}."), soft_wrap=True)
    if found:
        out.print("  Only restores are carried out. To continue: lifecycle resume", soft_wrap=True)
